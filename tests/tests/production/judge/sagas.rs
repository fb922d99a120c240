//! What the engines store about sagas.

use std::collections::{BTreeMap, BTreeSet};

use super::Checks;
use crate::ledger::{Event, Ledger, Record};

fn is_end(event: &Event) -> bool {
    event.kind == "saga_completed" || event.kind == "saga_compensated"
}

/// Every accepted saga has ended, as it should.
pub(super) fn i1(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let terminal = matches!(saga.status.as_str(), "completed" | "compensated");
        checks.that(terminal, "I1", || format!("saga {id} is {}", saga.status));
        let ends = saga.kinds().filter(|event| is_end(event)).count();
        checks.that(ends == 1, "I1", || format!("saga {id} has {ends} ends in its journal"));
    }
    let by_user: BTreeMap<&str, (&String, &Record)> =
        ledger.sagas.iter().map(|(id, saga)| (saga.user.as_str(), (id, saga))).collect();
    for order in &ledger.submitted {
        let Some((id, saga)) = by_user.get(order.plan.user.as_str()) else { continue };
        let fine = order.plan.allows(saga.completed(), saga.cause());
        checks.that(fine, "I1", || {
            let (plan, cause) = (&order.plan, saga.cause());
            format!("saga {id} of {plan:?} ended {} because of {cause:?}: {}", saga.status, saga.story())
        });
    }
}

/// What was acknowledged exists, what was not exists at most once, and nobody has heard of anything else.
pub(super) fn i2(checks: &mut Checks, ledger: &Ledger) {
    let mut by_user = BTreeMap::<&str, Vec<&str>>::new();
    for (id, saga) in &ledger.sagas {
        by_user.entry(&saga.user).or_default().push(id);
    }
    for order in &ledger.submitted {
        let found = by_user.remove(order.plan.user.as_str()).unwrap_or_default();
        checks.that(found.len() <= 1, "I2", || format!("order {} exists {} times", order.plan.number, found.len()));
        let there = order.saga.as_deref().is_none_or(|saga| found.contains(&saga));
        checks.that(there, "I2", || format!("order {} was acknowledged and is not there", order.plan.number));
    }
    checks.that(by_user.is_empty(), "I2", || format!("sagas that nobody asked for: {by_user:?}"));
    checks.that(ledger.strangers.is_empty(), "I2", || {
        format!("participants worked for sagas that do not exist: {:?}", ledger.strangers)
    });
}

/// One key, one saga.
pub(super) fn i3(checks: &mut Checks, ledger: &Ledger) {
    let mut keys = BTreeMap::<&str, usize>::new();
    ledger.sagas.values().filter_map(|saga| saga.key.as_deref()).for_each(|key| *keys.entry(key).or_default() += 1);
    for (key, count) in keys.into_iter().filter(|(_, count)| *count > 1) {
        checks.that(false, "I3", || format!("{count} sagas have the key {key}"));
    }
}

/// Nothing follows a saga's end.
pub(super) fn i4(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let after = saga.kinds().skip_while(|event| !is_end(event)).skip(1).map(|event| event.kind.as_str());
        let after: Vec<&str> = after.collect();
        checks.that(after.is_empty(), "I4", || format!("saga {id} has ended, and then: {after:?}"));
    }
}

/// The journals are gapless, of each saga and of each shard.
pub(super) fn i5(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let rows: BTreeSet<i64> = saga.events.iter().map(|(seq, _)| *seq).collect();
        let gapless = !rows.is_empty() && rows.iter().copied().eq(1..=rows.len() as i64);
        checks.that(gapless, "I5", || format!("the journal of saga {id} is {rows:?}"));
    }
    for (shard, rows, highest, head) in &ledger.heads {
        checks.that(rows == highest && highest == head, "I5", || {
            format!("the journal of shard {shard} has {rows} rows up to {highest}, its head is {head}")
        });
    }
}

/// A saga's row says what its journal amounts to.
pub(super) fn i6(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let folded = fold(saga);
        checks.that(folded == saga.status, "I6", || format!("saga {id} is {}, its journal says {folded}", saga.status));
    }
}

fn fold(saga: &Record) -> &'static str {
    let (mut status, mut undoing) = ("", false);
    for event in saga.kinds() {
        undoing |= event.kind == "compensation_started";
        status = match event.kind.as_str() {
            "saga_completed" => "completed",
            "saga_compensated" => "compensated",
            "saga_parked" => "parked",
            "compensation_started" => "compensating",
            "saga_started" => "running",
            "step_redriven" | "step_skipped" if undoing => "compensating",
            "step_redriven" | "step_skipped" => "running",
            _ => status,
        };
    }
    status
}

/// Once a compensation has begun no step that can be undone is commanded, and none is undone that was confirmed by the
/// pivot.
pub(super) fn i12(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let undoing = saga.kinds().skip_while(|event| event.kind != "compensation_started");
        let forward = undoing.filter(|event| event.kind == "step_started" && event.step() != "notify_cancelled");
        checks.that(forward.count() == 0, "I12", || format!("saga {id} goes forward while it is undone"));
        let past =
            saga.kinds().skip_while(|event| !(event.kind == "step_succeeded" && event.step() == "reserve_inventory"));
        let back = past.filter(|event| event.kind == "compensation_started");
        checks.that(back.count() == 0, "I12", || format!("saga {id} is undone after its pivot"));
    }
}

/// An answer is taken only while its command is outstanding: one for each.
pub(super) fn i24(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let mut outstanding = BTreeSet::new();
        let mut confirmed = BTreeSet::new();
        for event in saga.kinds() {
            let step = event.step().to_owned();
            match event.kind.as_str() {
                "step_started" => drop(outstanding.insert((step, "execute"))),
                "step_compensation_started" => drop(outstanding.insert((step, "compensate"))),
                "step_succeeded" | "step_refused" => {
                    let asked = outstanding.contains(&(step.clone(), "execute"));
                    let once = confirmed.insert((step.clone(), "execute"));
                    checks.that(asked && once, "I24", || format!("saga {id}: {} of {step} out of turn", event.kind));
                }
                "step_compensated" => {
                    let asked = outstanding.contains(&(step.clone(), "compensate"));
                    let once = confirmed.insert((step.clone(), "compensate"));
                    checks.that(asked && once, "I24", || format!("saga {id}: {step} compensated out of turn"));
                }
                _ => {}
            }
        }
    }
}

/// What an operator did has one audit entry, and nothing else has.
pub(super) fn i36(checks: &mut Checks, ledger: &Ledger) {
    let acted = ledger.sagas.iter().flat_map(|(id, saga)| {
        let acted = saga.events.iter().filter(|(_, event)| event.kind == "operator_acted");
        acted.map(|(seq, _)| (id.clone(), *seq))
    });
    let acted: BTreeSet<_> = acted.collect();
    let differ: Vec<_> = acted.symmetric_difference(&ledger.audit).collect();
    checks.that(differ.is_empty(), "I36", || format!("actions and audit entries without one another: {differ:?}"));
}
