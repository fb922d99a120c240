//! The invariants, by number, over all that is stored. Everything that is wrong is collected, so that a failure shows
//! its extent.

use std::collections::BTreeMap;

use reqwest::StatusCode;

use super::ledger::{Ledger, Record};
use super::load::{End, Fate, Plan};
use crate::http::{Call, Client};

/// Violations of one invariant that a failure lists; more would only repeat them.
const SHOWN: usize = 3;

/// What is wrong, by invariant.
#[derive(Default)]
pub(super) struct Checks(BTreeMap<&'static str, Vec<String>>);

/// What a saga amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Completed, or parked after the pivot: its effects stand.
    Done,
    /// Compensated, or parked after the compensation: its effects are taken back.
    Undone,
    /// Neither: wrong.
    Neither,
}

impl Checks {
    fn that(&mut self, holds: bool, invariant: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.0.entry(invariant).or_default().push(what());
        }
    }

    /// Fails with what is wrong.
    pub(super) fn verdict(self, seed: u64) {
        let lines = self.0.iter().flat_map(|(invariant, violations)| {
            let shown = violations.iter().take(SHOWN).map(move |what| format!("\n    {what}"));
            std::iter::once(format!("\n  {invariant}, {} times", violations.len())).chain(shown)
        });
        let lines: String = lines.collect();
        assert!(self.0.is_empty(), "seed {seed}: broken invariants{lines}");
    }

    /// I1, I2 and I5: every saga has one end and a gapless journal, and nobody has heard of any other.
    pub(super) fn sagas(&mut self, ledger: &Ledger) {
        for (id, saga) in &ledger.sagas {
            let terminal = matches!(saga.status.as_str(), "completed" | "compensated");
            let parked = saga.status == "parked" && ledger.parked.contains_key(id);
            self.that(terminal || parked, "I1", || format!("saga {id} is {}", saga.status));
            let ends = (saga.ends, saga.ends_last);
            self.that(ends == (usize::from(terminal), terminal), "I1", || {
                format!("saga {id} is {} with {} ends in its journal", saga.status, saga.ends)
            });
            let gapless = saga.rows.iter().copied().eq(1..=saga.rows.len() as i64) && !saga.rows.is_empty();
            self.that(gapless, "I5", || format!("the journal of saga {id} is {:?}", saga.rows));
        }
        self.that(ledger.torn_shards.is_empty(), "I5", || {
            format!("the journal of shards {:?} does not reach from 1 to its head", ledger.torn_shards)
        });
        self.that(ledger.strangers.is_empty(), "I8", || {
            format!("participants worked for sagas that do not exist: {:?}", ledger.strangers)
        });
        let mut keys = BTreeMap::<&str, usize>::new();
        ledger.sagas.values().filter_map(|saga| saga.key.as_deref()).for_each(|key| *keys.entry(key).or_default() += 1);
        for (key, count) in keys.into_iter().filter(|(_, count)| *count > 1) {
            self.that(false, "I3", || format!("{count} sagas have the key {key}"));
        }
    }

    /// I14, I15 and I18: each effect once and all of them, or each taken back once.
    pub(super) fn effects(&mut self, ledger: &Ledger) {
        for (id, saga) in &ledger.sagas {
            let counts = [saga.orders.len(), saga.captures.len(), saga.refunds.len(), saga.reservations.len()];
            let once = counts.iter().all(|count| *count <= 1) && saga.confirmations <= 1 && saga.cancellations <= 1;
            self.that(once, "I14", || format!("saga {id} has an effect twice: {saga:?}"));
            let silent = saga.status == "parked";
            match standing(ledger, id, saga) {
                Standing::Done => {
                    let order = saga.orders.iter().all(|(status, _)| status == "confirmed");
                    let stock = if silent { "reserved" } else { "sold" };
                    let all = order && counts == [1, 1, 0, 1] && saga.reservations == [stock];
                    self.that(all, "I15", || format!("saga {id} is done, but not all its effects stand: {saga:?}"));
                    self.that(saga.confirmations == usize::from(!silent), "I18", || {
                        format!("saga {id} is done with {} confirmations", saga.confirmations)
                    });
                    self.that(saga.cancellations == 0, "I15", || format!("saga {id} is done, its user told otherwise"));
                }
                Standing::Undone => {
                    let order = saga.orders.iter().all(|(status, _)| status == "cancelled");
                    let money = saga.captures == saga.refunds;
                    let stock = saga.reservations.iter().all(|state| state == "released");
                    self.that(order && money && stock, "I15", || {
                        format!("saga {id} is undone, but not each effect has its inverse: {saga:?}")
                    });
                    self.that(saga.confirmations == 0, "I18", || format!("saga {id} is undone, but was confirmed"));
                    self.that(saga.cancellations == usize::from(!silent), "I14", || {
                        format!("saga {id} is undone and its user was told {} times", saga.cancellations)
                    });
                }
                Standing::Neither => self.that(false, "I1", || format!("saga {id} hangs: {saga:?}")),
            }
            self.barrier(id, saga);
        }
    }

    /// I14: the participants' own account of what they did agrees with the effects.
    fn barrier(&mut self, id: &str, saga: &Record) {
        let done = |step: &str, operation: &str| {
            let wanted = |(at, of, outcome): &&(String, String, Option<String>)| {
                at == step && of == operation && outcome.as_deref() == Some("done")
            };
            saga.barrier.iter().filter(wanted).count()
        };
        let account = [
            ("create_order", saga.orders.len()),
            ("charge_payment", saga.captures.len()),
            ("reserve_inventory", saga.reservations.len()),
            ("send_confirmation", saga.confirmations),
            ("notify_cancelled", saga.cancellations),
        ];
        for (step, effects) in account {
            let said = done(step, "execute");
            self.that(said == effects, "I14", || {
                format!("saga {id}: {effects} effects of {step}, of which {said} are recorded as done")
            });
        }
        let refunded = done("charge_payment", "compensate") >= saga.refunds.len();
        self.that(refunded, "I14", || format!("saga {id}: a refund that is not recorded as done"));
    }

    /// I16: what was captured and not refunded is what completed sagas cost, per order and in total.
    pub(super) fn money(&mut self, ledger: &Ledger) {
        let (mut kept, mut owed) = (0, 0);
        for (id, saga) in &ledger.sagas {
            let captured: i64 = saga.captures.iter().sum();
            let refunded: i64 = saga.refunds.iter().sum();
            let total: i64 = saga.orders.iter().map(|(_, total)| total).sum();
            let cost = if standing(ledger, id, saga) == Standing::Done { total } else { 0 };
            self.that(refunded <= captured, "I16", || format!("saga {id}: {refunded} refunded of {captured}"));
            self.that(captured - refunded == cost, "I16", || {
                format!("saga {id} ({}): {captured} - {refunded} kept for {cost}: {saga:?}", saga.status)
            });
            kept += captured - refunded;
            owed += cost;
        }
        self.that(kept == owed, "I16", || format!("{kept} was kept for orders that cost {owed}"));
    }

    /// I17: no unit is lost or made, and each is where the reservations say.
    pub(super) fn stock(&mut self, ledger: &Ledger) {
        for product in &ledger.products {
            let parts = [product.on_hand, product.reserved, product.sold];
            let sound = parts.iter().sum::<i64>() == product.stocked && parts.iter().all(|part| *part >= 0);
            self.that(sound, "I17", || format!("{product:?}"));
            let agrees = (product.reserved, product.sold) == (product.reservations_held, product.reservations_sold);
            self.that(agrees, "I17", || format!("reservations say something else: {product:?}"));
        }
    }

    /// I2, I3 and the ends that the orders were made for.
    pub(super) fn plans(&mut self, plans: &[Plan], fates: &[Fate], ledger: &Ledger) {
        let mut by_user = BTreeMap::<&str, Vec<(&String, &Record)>>::new();
        for (id, saga) in &ledger.sagas {
            by_user.entry(&saga.user).or_default().push((id, saga));
        }
        for (plan, fate) in plans.iter().zip(fates) {
            let found = by_user.remove(plan.user.as_str()).unwrap_or_default();
            let number = plan.number;
            self.that(found.len() <= 1, "I2", || format!("order {number} exists {} times", found.len()));
            if let Fate::Acknowledged { saga_id, .. } = fate {
                self.that(found.iter().any(|(id, _)| *id == saga_id), "I2", || {
                    format!("order {number} was acknowledged as saga {saga_id}, which does not exist")
                });
            }
            for (id, saga) in found {
                self.that(saga.key == plan.key, "I3", || format!("saga {id} has the key {:?}", saga.key));
                let total = saga.orders.iter().all(|(_, total)| *total == plan.total);
                self.that(total, "I16", || format!("saga {id} should cost {}: {saga:?}", plan.total));
                self.that(plan.end.is(ledger, id, saga), "I15", || {
                    format!("order {number} should end {:?}: saga {id}: {saga:?}", plan.end)
                });
            }
        }
        self.that(by_user.is_empty(), "I2", || format!("sagas that nobody asked for: {:?}", by_user.keys()));
    }

    /// I2 and I3 over HTTP: the order is there; its key again gives the same one, with another body a conflict.
    pub(super) async fn answers(&mut self, http: &Client, plan: &Plan, fate: &Fate, ledger: &Ledger) {
        let Fate::Acknowledged { order_id, saga_id } = fate else { return };
        let number = plan.number;
        let answer = http.call(&Call::get(&format!("/orders/{order_id}"))).await;
        let there = answer.status == StatusCode::OK && answer.body["saga_id"] == saga_id.as_str();
        self.that(there, "I2", || format!("order {number} is not there: {}", answer.text));
        let expected = match ledger.sagas.get(saga_id).map(|saga| saga.status.as_str()) {
            Some("completed") => Some("confirmed"),
            Some("compensated") => Some("cancelled"),
            // What a parked order is called is looked at where orders are looked at.
            _ => None,
        };
        self.that(expected.is_none_or(|word| answer.body["status"] == word), "I15", || {
            format!("order {number} should be {expected:?}: {}", answer.text)
        });
        if plan.key.is_none() {
            return;
        }
        let again = http.call(&plan.call()).await;
        let same = again.status == StatusCode::CREATED && again.body["order_id"] == order_id.as_str();
        self.that(same, "I3", || format!("order {number} was {order_id}, its key again gives {}", again.text));
        let mut other = plan.call();
        other.body = Some(plan.body.replace(&plan.user, "somebody_else"));
        let conflict = http.call(&other).await;
        self.that(conflict.status == StatusCode::CONFLICT, "I3", || {
            format!("order {number}: its key with another body gives {} {}", conflict.status, conflict.text)
        });
    }

    /// I3 and I4: asking again changed nothing.
    pub(super) fn nothing_changed(&mut self, before: &Ledger, after: &Ledger) {
        self.that(before == after, "I3", || "repeated requests have changed something".to_owned());
    }
}

fn standing(ledger: &Ledger, id: &str, saga: &Record) -> Standing {
    match (saga.status.as_str(), ledger.parked.get(id).map(String::as_str)) {
        ("completed", None) | ("parked", Some("send_confirmation")) => Standing::Done,
        ("compensated", None) | ("parked", Some("notify_cancelled")) => Standing::Undone,
        _ => Standing::Neither,
    }
}

impl End {
    fn is(self, ledger: &Ledger, id: &str, saga: &Record) -> bool {
        let end = (standing(ledger, id, saga), saga.status == "parked");
        match self {
            Self::Completed => end == (Standing::Done, false),
            Self::Compensated => end == (Standing::Undone, false),
            Self::ConfirmedUntold => end == (Standing::Done, true),
            Self::CancelledUntold => end == (Standing::Undone, true),
            Self::Either => matches!(end, (Standing::Done | Standing::Undone, false)),
        }
    }
}
