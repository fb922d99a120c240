//! What the participants have done: their own tables are the judges.

use std::collections::BTreeMap;

use super::Checks;
use crate::ledger::{Ledger, Record};

/// Each effect at most once; at rest exactly one for every step that was confirmed. The participants' own account of
/// what they did agrees.
pub(super) fn i14(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let counts = effects(saga);
        checks.that(counts.iter().all(|(_, count)| *count <= 1) && saga.refunds.len() <= 1, "I14", || {
            format!("saga {id} has an effect twice: {saga:?}")
        });
        for (step, count) in counts {
            let recorded = saga.barrier.iter().filter(|entry| {
                entry.step == step && entry.operation == "execute" && entry.outcome.as_deref() == Some("done")
            });
            let recorded = recorded.count();
            checks.that(recorded == count, "I14", || {
                format!("saga {id}: {count} effects of {step}, of which {recorded} are recorded as done")
            });
            let confirmed = saga.kinds().any(|event| event.kind == "step_succeeded" && event.step() == step);
            checks.that(count == 1 || !confirmed, "I14", || {
                format!("saga {id}: {step} was confirmed, and has no effect")
            });
        }
    }
}

fn effects(saga: &Record) -> [(&'static str, usize); 5] {
    [
        ("create_order", saga.orders.len()),
        ("charge_payment", saga.captures.len()),
        ("reserve_inventory", saga.reservations.len()),
        ("send_confirmation", saga.confirmations),
        ("notify_cancelled", saga.cancellations),
    ]
}

/// Passed over by an operator: its effect is not to be expected.
fn untold(saga: &Record) -> bool {
    saga.kinds().any(|event| event.kind == "step_skipped")
}

/// What is completed has all its effects and no inverse, what is compensated each effect with its inverse.
pub(super) fn i15(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let told = usize::from(!untold(saga));
        let order = |wanted: &str| saga.orders.iter().all(|order| order.status == wanted);
        match saga.status.as_str() {
            "completed" => {
                let counts = [saga.orders.len(), saga.captures.len(), saga.refunds.len(), saga.confirmations];
                let all = order("confirmed") && counts == [1, 1, 0, told] && saga.reservations == ["sold"];
                checks.that(all && saga.cancellations == 0, "I15", || {
                    format!("saga {id} is completed, but not all its effects stand: {saga:?}")
                });
            }
            "compensated" => {
                let money = saga.captures == saga.refunds;
                let stock = saga.reservations.iter().all(|state| state == "released");
                let told = saga.cancellations == told;
                checks.that(order("cancelled") && money && stock && told, "I15", || {
                    format!("saga {id} is compensated, but not each effect has its inverse: {saga:?}")
                });
            }
            _ => {}
        }
    }
}

/// What was captured and not refunded is what completed sagas cost: per order, per currency and in total.
pub(super) fn i16(checks: &mut Checks, ledger: &Ledger) {
    let mut balance = BTreeMap::<&str, i64>::new();
    let totals: BTreeMap<&str, i64> =
        ledger.submitted.iter().map(|order| (order.plan.user.as_str(), order.plan.total)).collect();
    for (id, saga) in &ledger.sagas {
        let captured: i64 = saga.captures.iter().map(|(_, amount)| amount).sum();
        let refunded: i64 = saga.refunds.iter().map(|(_, amount)| amount).sum();
        checks.that(refunded <= captured, "I16", || format!("saga {id}: {refunded} refunded of {captured}"));
        let wanted = totals.get(saga.user.as_str()).copied().unwrap_or_default();
        let cost = if saga.completed() { wanted } else { 0 };
        checks.that(captured - refunded == cost, "I16", || {
            format!("saga {id} ({}): {captured} - {refunded} kept for {cost}", saga.status)
        });
        saga.captures.iter().for_each(|(currency, amount)| *balance.entry(currency).or_default() += amount);
        saga.refunds.iter().for_each(|(currency, amount)| *balance.entry(currency).or_default() -= amount);
        for order in saga.orders.iter().filter(|_| saga.completed()) {
            *balance.entry(&order.currency).or_default() -= order.total;
        }
    }
    for (currency, rest) in balance {
        checks.that(rest == 0, "I16", || format!("{rest} {currency} more kept than the orders cost"));
    }
}

/// No unit is lost or made, and each is where the reservations say; at rest none is reserved.
pub(super) fn i17(checks: &mut Checks, ledger: &Ledger) {
    for product in &ledger.products {
        let parts = [product.on_hand, product.reserved, product.sold];
        let sound = parts.iter().sum::<i64>() == product.stocked && parts.iter().all(|part| *part >= 0);
        checks.that(sound, "I17", || format!("{product:?}"));
        let agrees = (product.reserved, product.sold) == (product.reservations_held, product.reservations_sold);
        checks.that(agrees && product.reserved == 0, "I17", || format!("reservations say something else: {product:?}"));
    }
}

/// At most one confirmation, and none of what was undone.
pub(super) fn i18(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let most = usize::from(saga.completed());
        checks.that(saga.confirmations <= most, "I18", || {
            format!("saga {id} is {} with {} confirmations", saga.status, saga.confirmations)
        });
    }
}

/// Where a compensation came first, nothing was done after it, and nothing is undone (I20).
pub(super) fn i19(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        for tombstone in saga.barrier.iter().filter(|entry| entry.tombstone) {
            let effect = effects(saga).into_iter().any(|(step, count)| step == tombstone.step && count > 0);
            let inverse = tombstone.step == "charge_payment" && !saga.refunds.is_empty();
            checks
                .that(!effect && !inverse, "I19", || format!("saga {id}: {} came after its tombstone", tombstone.step));
        }
    }
}
