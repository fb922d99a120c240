//! The orders of the crash test, what must become of each, and clients that insist.

use std::time::{Duration, Instant};

use amends_tests::random::Random;
use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::mpsc::UnboundedSender;

use crate::http::{Answer, Call, Client};
use crate::program::SOON;

/// Ordered, this is more than there is of anything.
const TOO_MANY: u64 = 500_000;

/// Enough of the common products that no order which should succeed is refused for want of it.
const STOCK: i64 = 100_000;

/// Between two tries of a client.
const TRY_AGAIN: Duration = Duration::from_millis(10);

/// How an order must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Completed,
    Compensated,
    /// Done and paid for, but the customer cannot be told: parked after the pivot.
    ConfirmedUntold,
    /// Undone, but the customer cannot be told: parked after the compensation.
    CancelledUntold,
    /// Depends on what comes first: completed or compensated.
    Either,
}

/// An order to be submitted.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) number: usize,
    /// No two orders have the same, so that an order is found by it.
    pub(super) user: String,
    pub(super) key: Option<String>,
    pub(super) body: String,
    /// In minor units.
    pub(super) total: i64,
    pub(super) end: End,
    /// Cancelled by the customer as soon as it is acknowledged.
    cancel: bool,
}

/// What the client knows in the end.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fate {
    Acknowledged {
        order_id: String,
        saga_id: String,
    },
    /// The connection broke before the answer, and without a key it cannot ask again.
    Unknown,
}

/// Method, product, whether too many of it are ordered, whether the user can be reached, how it ends.
type Kind = (&'static str, &'static str, bool, bool, End);

/// The happy ones are listed more often.
const KINDS: [Kind; 20] = [
    ("pm_ok", "MOUSE001", false, true, End::Completed),
    ("pm_ok", "MOUSE001", false, true, End::Completed),
    ("pm_ok", "PHONE001", false, true, End::Completed),
    ("pm_ok", "PHONE001", false, true, End::Completed),
    ("pm_ok", "MOUSE001", true, true, End::Compensated),
    ("pm_ok", "PHONE001", true, true, End::Compensated),
    ("pm_declined", "MOUSE001", false, true, End::Compensated),
    ("pm_declined", "MOUSE001", false, false, End::CancelledUntold),
    ("pm_insufficient_funds", "MOUSE001", false, true, End::Compensated),
    ("pm_flaky", "MOUSE001", false, true, End::Completed),
    ("pm_flaky", "PHONE001", true, true, End::Compensated),
    ("pm_slow", "MOUSE001", false, true, End::Completed),
    ("pm_slow", "PHONE001", false, true, End::Completed),
    ("pm_slow", "MOUSE001", true, true, End::Compensated),
    ("pm_refund_fails", "MOUSE001", false, true, End::Completed),
    ("pm_refund_fails", "MOUSE001", true, true, End::Compensated),
    ("pm_ok", "PHONE001", false, false, End::ConfirmedUntold),
    ("pm_ok", "MOUSE001", true, false, End::CancelledUntold),
    // There are a hundred laptops: the last who ask get none.
    ("pm_ok", "LAPTOP001", false, true, End::Either),
    ("pm_flaky", "LAPTOP001", false, true, End::Either),
];

impl Plan {
    pub(super) fn draw(number: usize, random: &mut Random) -> Self {
        let kind = usize::try_from(random.within(0..KINDS.len() as u64)).unwrap_or(0);
        let (method, product, too_many, reachable, mut end) = KINDS[kind];
        let quantity = if too_many { TOO_MANY } else { random.within(1..6) };
        let cents = random.within(1..100_000);
        let cancel = reachable && random.within(0..10) == 0;
        if cancel && end == End::Completed {
            end = End::Either;
        }
        let user = format!("{}_{number:03}", if reachable { "crash" } else { "unreachable" });
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        let items = json!([{ "product_id": product, "quantity": quantity, "price": price }]);
        let body = json!({ "user_id": user, "payment_method": method, "items": items }).to_string();
        let key = (random.within(0..3) > 0).then(|| format!("crash-{number}"));
        let total = i64::try_from(cents * quantity).expect("a total in range");
        Self { number, user, key, body, total, end, cancel }
    }

    /// The request; the same each time.
    pub(super) fn call(&self) -> Call {
        let call = Call::post("/orders", &self.body);
        match &self.key {
            Some(key) => call.key(key),
            None => call,
        }
    }
}

/// Fills the shelves up.
pub(super) async fn stock_up(http: &Client) {
    for product in ["MOUSE001", "PHONE001"] {
        let body = json!({ "on_hand": STOCK }).to_string();
        let answer = http.call(&Call::put(&format!("/inventory/{product}"), &body)).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
}

/// Submits an order as a careful client does: again and again under its key; without one only while it is certain that
/// nothing has been sent. Tells when it is acknowledged.
pub(super) async fn submit(http: Client, plan: Plan, acknowledge: UnboundedSender<()>) -> (usize, Fate) {
    let started = Instant::now();
    let fate = loop {
        let trouble = match http.send(&plan.call()).await {
            Ok(answer) if answer.status != StatusCode::SERVICE_UNAVAILABLE => break acknowledged(&plan, &answer),
            // Whether an order that is answered so was taken is not certain either.
            Ok(_) if plan.key.is_none() => break Fate::Unknown,
            Err(error) if plan.key.is_none() && !error.is_connect() => break Fate::Unknown,
            Ok(answer) => answer.text,
            Err(error) => format!("{error:?}"),
        };
        assert!(started.elapsed() < SOON, "order {} is not taken: {trouble}", plan.number);
        tokio::time::sleep(TRY_AGAIN).await;
    };
    if fate != Fate::Unknown {
        // In the end nobody listens any more.
        let _ = acknowledge.send(());
    }
    if let (true, Fate::Acknowledged { order_id, .. }) = (plan.cancel, &fate) {
        // Too late, or without an answer: both are fine.
        let _ = http.send(&Call::post(&format!("/orders/{order_id}:cancel"), "")).await;
    }
    (plan.number, fate)
}

fn acknowledged(plan: &Plan, answer: &Answer) -> Fate {
    assert_eq!(answer.status, StatusCode::CREATED, "order {}: {}", plan.number, answer.text);
    let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
    Fate::Acknowledged { order_id: text("order_id"), saga_id: text("saga_id") }
}
