//! The invariants, by number, over all that is stored and was sent. Everything that is wrong is collected, so that a
//! failure shows its extent.

mod effects;
mod messages;
mod sagas;

use std::collections::BTreeMap;

use reqwest::StatusCode;

use crate::cluster::Cluster;
use crate::ledger::Ledger;
use crate::process::say;

/// Violations of one invariant that a failure lists; more would only repeat them.
const SHOWN: usize = 4;

/// Orders that are asked for again.
const ASKED_AGAIN: usize = 200;

/// What is wrong, by invariant.
#[derive(Debug, Default)]
pub(crate) struct Checks(BTreeMap<&'static str, Vec<String>>);

impl Checks {
    pub(crate) fn that(&mut self, holds: bool, invariant: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.0.entry(invariant).or_default().push(what());
        }
    }

    /// The invariants that are broken.
    pub(crate) fn broken(&self) -> Vec<&'static str> {
        self.0.keys().copied().collect()
    }

    /// Fails with what is wrong.
    pub(crate) fn verdict(&self, seed: u64) {
        let lines = self.0.iter().flat_map(|(invariant, violations)| {
            let shown = violations.iter().take(SHOWN).map(move |what| format!("\n    {what}"));
            std::iter::once(format!("\n  {invariant}, {} times", violations.len())).chain(shown)
        });
        let lines: String = lines.collect();
        assert!(self.0.is_empty(), "seed {seed}: broken invariants{lines}");
    }
}

/// All that can be told from what is stored and was sent.
pub(crate) fn judge(ledger: &Ledger) -> Checks {
    let mut checks = Checks::default();
    sagas::i1(&mut checks, ledger);
    sagas::i2(&mut checks, ledger);
    sagas::i3(&mut checks, ledger);
    sagas::i4(&mut checks, ledger);
    sagas::i5(&mut checks, ledger);
    sagas::i6(&mut checks, ledger);
    sagas::i12(&mut checks, ledger);
    sagas::i24(&mut checks, ledger);
    sagas::i36(&mut checks, ledger);
    effects::i14(&mut checks, ledger);
    effects::i15(&mut checks, ledger);
    effects::i16(&mut checks, ledger);
    effects::i17(&mut checks, ledger);
    effects::i18(&mut checks, ledger);
    effects::i19(&mut checks, ledger);
    messages::i8(&mut checks, ledger);
    messages::i22(&mut checks, ledger);
    messages::i25(&mut checks, ledger);
    messages::i26(&mut checks, ledger);
    messages::i27(&mut checks, ledger);
    checks
}

/// I2 and I3 over HTTP, on any engine: the order is there; its key again gives the same saga, with another body a conflict.
/// And by the API every saga is what its row says (I6): the API folds the journal.
pub(crate) async fn ask_again(checks: &mut Checks, cluster: &Cluster, ledger: &Ledger) {
    let acknowledged: Vec<_> = ledger.submitted.iter().filter(|order| order.saga.is_some()).collect();
    let step = (acknowledged.len() / ASKED_AGAIN).max(1);
    for (number, order) in acknowledged.into_iter().step_by(step).enumerate() {
        let (plan, saga) = (&order.plan, order.saga.as_deref().unwrap_or_default());
        let url = cluster.engines[number % cluster.engines.len()].url();
        let post = |body: String| {
            let request = cluster.http.post(format!("{url}/orders")).header("content-type", "application/json");
            request.header("idempotency-key", &plan.key).body(body).send()
        };
        let again = post(plan.body.clone()).await.expect("an answer");
        let status = again.status();
        let body: serde_json::Value = again.json().await.unwrap_or_default();
        let same = status == StatusCode::CREATED && body["saga_id"] == saga;
        checks
            .that(same, "I3", || format!("order {} was saga {saga}, its key again gives {status} {body}", plan.number));
        let other = post(plan.body.replace(&plan.user, "somebody_else")).await.expect("an answer").status();
        checks.that(other == StatusCode::CONFLICT, "I3", || {
            format!("order {}: its key with another body gives {other}", plan.number)
        });
        let seen = cluster.http.get(format!("{url}/v1/sagas/{saga}")).send().await.expect("an answer");
        let seen: serde_json::Value = seen.json().await.unwrap_or_default();
        let stored = ledger.sagas.get(saga).map(|saga| saga.status.to_uppercase()).unwrap_or_default();
        checks
            .that(seen["status"] == stored.as_str(), "I6", || format!("saga {saga} is {stored}, but folds to {seen}"));
    }
}

/// What a run amounts to, for those who look on.
pub(crate) fn summary(ledger: &Ledger) -> String {
    let count = |test: &dyn Fn(&crate::ledger::Record) -> bool| ledger.sagas.values().filter(|saga| test(saga)).count();
    format!(
        "{} sagas: {} completed, {} compensated ({} refused, {} cancelled, {} given up on)",
        ledger.sagas.len(),
        count(&|saga| saga.completed()),
        count(&|saga| saga.status == "compensated"),
        count(&|saga| saga.cause() == Some("refused")),
        count(&|saga| saga.cause() == Some("cancelled")),
        count(&|saga| saga.cause() == Some("exhausted")),
    )
}

/// Why attempts failed, and how often.
fn failures(ledger: &Ledger) -> String {
    let mut by_reason = BTreeMap::<&str, usize>::new();
    for event in ledger.sagas.values().flat_map(|saga| saga.kinds()).filter(|event| event.kind == "retry_scheduled") {
        *by_reason.entry(event.body["failure"]["message"].as_str().unwrap_or_default()).or_default() += 1;
    }
    format!("attempts that failed: {by_reason:?}")
}

/// Reads, judges and fails with what is wrong.
pub(crate) async fn judge_all(cluster: &Cluster, submitted: Vec<crate::load::Submitted>, seed: u64) {
    let ledger = Ledger::read(cluster, submitted).await;
    say(&summary(&ledger));
    say(&failures(&ledger));
    let mut checks = judge(&ledger);
    ask_again(&mut checks, cluster, &ledger).await;
    checks.verdict(seed);
    cluster.assert_no_panic();
}
