//! Clients that insist: each order is sent under its key, to one engine after the other, until it is acknowledged.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use amends_tests::random::Random;
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Member};
use crate::plan::Plan;
use crate::process::{SOON, eventually};

/// Orders under way at a time.
const CLIENTS: usize = 48;

/// A client that hears nothing for this long asks another engine: shorter than an engine may be stopped.
const ANSWER_MAX: Duration = Duration::from_secs(4);

/// The wait before the next engine is asked, where the last has not said how long.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Longest wait that a client takes an engine's advice for.
const ADVICE_MAX: Duration = Duration::from_secs(2);

/// What came of an order's submission.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) plan: Plan,
    /// The saga's id, once acknowledged.
    pub(crate) saga: Option<String>,
}

/// A load that runs beside the test.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

struct Shared {
    urls: Vec<String>,
    http: reqwest::Client,
    /// Time between two orders; without one each client waits for the end of its order before it sends the next.
    pace: Option<Duration>,
    begun: Instant,
    random: Mutex<(usize, Random)>,
    accepted: AtomicUsize,
    repeated: AtomicUsize,
    submitted: Mutex<Vec<Submitted>>,
    /// What no client could have dealt with by asking again.
    errors: Mutex<Vec<String>>,
    stop: CancellationToken,
}

impl Load {
    /// Begins with order `first`, so many a second; without a rate, as many as can be finished.
    pub(crate) fn start(cluster: &Cluster, first: usize, per_second: Option<u32>, seed: u64) -> Self {
        let shared = Arc::new(Shared {
            urls: cluster.engines.iter().map(Member::url).collect(),
            http: reqwest::Client::builder().timeout(ANSWER_MAX).build().expect("an HTTP client"),
            pace: per_second.map(|rate| Duration::from_secs(1) / rate),
            begun: Instant::now(),
            random: Mutex::new((first, Random::new(seed.wrapping_add(first as u64)))),
            accepted: AtomicUsize::new(0),
            repeated: AtomicUsize::new(0),
            submitted: Mutex::default(),
            errors: Mutex::default(),
            stop: CancellationToken::new(),
        });
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(client(shared.clone(), first));
        }
        Self { shared, clients }
    }

    /// Orders acknowledged so far.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Waits until there are so many more of them.
    pub(crate) async fn more(&self, count: usize) {
        let wanted = self.accepted() + count;
        eventually("orders are taken", || std::future::ready((self.accepted() >= wanted).then_some(()))).await;
    }

    /// Ends it once there are at least so many orders, and fails with what clients could not deal with.
    pub(crate) async fn finish(mut self, at_least: usize) -> Outcome {
        while self.accepted() < at_least {
            self.more(1).await;
        }
        let took = self.shared.begun.elapsed();
        self.shared.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.expect("a client does not panic");
        }
        let take =
            |mutex: &Mutex<Vec<String>>| std::mem::take(&mut *mutex.lock().unwrap_or_else(PoisonError::into_inner));
        let errors = take(&self.shared.errors);
        assert!(
            errors.is_empty(),
            "{} errors that a client cannot retry: {:#?}",
            errors.len(),
            &errors[..errors.len().min(5)]
        );
        let submitted = std::mem::take(&mut *self.shared.submitted.lock().unwrap_or_else(PoisonError::into_inner));
        Outcome { submitted, took, repeated: self.shared.repeated.load(Ordering::Relaxed) }
    }
}

/// What a load has done.
pub(crate) struct Outcome {
    pub(crate) submitted: Vec<Submitted>,
    pub(crate) took: Duration,
    /// Requests that were sent again.
    pub(crate) repeated: usize,
}

async fn client(shared: Arc<Shared>, first: usize) {
    while !shared.stop.is_cancelled() {
        let plan = {
            let mut random = shared.random.lock().unwrap_or_else(PoisonError::into_inner);
            let number = random.0;
            random.0 += 1;
            Plan::draw(number, &mut random.1)
        };
        if let Some(pace) = shared.pace {
            let due = shared.begun + pace * u32::try_from(plan.number - first).expect("not that many");
            let wait = tokio::time::sleep_until(due.into());
            if shared.stop.run_until_cancelled(wait).await.is_none() {
                return;
            }
        }
        let saga = shared.submit(&plan).await;
        if saga.is_some() {
            shared.accepted.fetch_add(1, Ordering::Relaxed);
        }
        shared.submitted.lock().unwrap_or_else(PoisonError::into_inner).push(Submitted { plan, saga });
    }
}

impl Shared {
    async fn submit(&self, plan: &Plan) -> Option<String> {
        let order = |url: &str| {
            let wait = self.pace.is_none();
            let request =
                self.http.post(format!("{url}/orders?wait={wait}")).header("content-type", "application/json");
            request.header("idempotency-key", &plan.key).body(plan.body.clone())
        };
        let answer = self.insist(plan.number, &format!("order {}", plan.number), order, &[StatusCode::CREATED]).await?;
        let (order_id, saga) = (answer["order_id"].as_str()?.to_owned(), answer["saga_id"].as_str()?.to_owned());
        if plan.cancel {
            let cancel = |url: &str| self.http.post(format!("{url}/orders/{order_id}:cancel"));
            let what = format!("the cancellation of order {}", plan.number);
            // Too late is an answer like any other.
            let fine = [StatusCode::OK, StatusCode::CONFLICT, StatusCode::BAD_REQUEST];
            self.insist(plan.number, &what, cancel, &fine).await;
        }
        Some(saga)
    }

    /// Asks one engine after the other; `None` if that is of no use.
    async fn insist(
        &self,
        number: usize,
        what: &str,
        request: impl Fn(&str) -> RequestBuilder,
        fine: &[StatusCode],
    ) -> Option<Value> {
        let begun = Instant::now();
        for attempt in 0.. {
            let url = &self.urls[(number + attempt) % self.urls.len()];
            let (wait, trouble) = match request(url).send().await {
                Ok(answer) if fine.contains(&answer.status()) => match answer.json().await {
                    Ok(body) => return Some(body),
                    Err(error) => (TRY_AGAIN, format!("{error:?}")),
                },
                Ok(answer) => {
                    let status = answer.status();
                    let advice =
                        answer.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
                    let wait = advice.map_or(TRY_AGAIN, Duration::from_secs).min(ADVICE_MAX);
                    let text = format!("{url}: {status} {}", answer.text().await.unwrap_or_default());
                    if ![StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
                        self.fail(format!("{what}: {text}"));
                        return None;
                    }
                    (wait, text)
                }
                Err(error) => (TRY_AGAIN, format!("{error:?}")),
            };
            self.repeated.fetch_add(1, Ordering::Relaxed);
            if begun.elapsed() > SOON {
                self.fail(format!("{what}: not answered within {SOON:?}; at last {trouble}"));
                return None;
            }
            tokio::time::sleep(wait).await;
        }
        None
    }

    fn fail(&self, error: String) {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
    }
}
