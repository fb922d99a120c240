//! What was sent, and who wrote what: topics and the witness are the judges.

use std::collections::{BTreeMap, BTreeSet};

use super::Checks;
use crate::ledger::{Event, Ledger, Record};

/// The commands that a saga's journal says were sent, with their last attempt.
fn commanded(saga: &Record) -> BTreeMap<(String, &'static str), u64> {
    let mut commands = BTreeMap::new();
    for event in saga.kinds() {
        let operation = match event.kind.as_str() {
            "step_started" => "execute",
            "step_compensation_started" => "compensate",
            _ => continue,
        };
        let attempt = event.body["attempt"].as_u64().unwrap_or(u64::MAX);
        let last = commands.entry((event.step().to_owned(), operation)).or_insert(0);
        *last = attempt.max(*last);
    }
    commands
}

/// No command was sent that the journal does not hold.
pub(super) fn i8(checks: &mut Checks, ledger: &Ledger) {
    let nobody = Record::default();
    let mut commands = BTreeMap::new();
    for ((saga, step, operation), attempt) in &ledger.commands {
        let own = commands.entry(saga).or_insert_with(|| commanded(ledger.sagas.get(saga).unwrap_or(&nobody)));
        let known = own.iter().find(|((of, what), _)| of == step && what == operation);
        checks.that(known.is_some_and(|(_, last)| attempt <= last), "I8", || {
            format!(
                "saga {saga}: {operation} of {step} was sent for the {attempt}. time, and the journal says {known:?}"
            )
        });
    }
}

/// The cursors stand at the ends of their logs, and have never gone back.
pub(super) fn i22(checks: &mut Checks, ledger: &Ledger) {
    for (shard, (cursor, end)) in &ledger.cursors {
        checks.that(cursor == end, "I22", || format!("the cursor of shard {shard} is {cursor}, its log ends at {end}"));
    }
    for mark in ledger.marks.iter().filter(|mark| mark.app != "operator") {
        checks.that(mark.cursor >= mark.cursor_before, "I22", || format!("a cursor went back: {mark:?}"));
    }
}

/// The steps of the facts of a kind.
fn of_kind<'s>(saga: &'s Record, kind: &'static str) -> impl Iterator<Item = &'s str> {
    saga.kinds().filter(move |event| event.kind == kind).map(Event::step)
}

/// Every command of a journal was sent at least once, but for those that a compensation overtook: while the broker is
/// away a saga is cancelled, and nothing is left to do of what was never sent.
pub(super) fn i25(checks: &mut Checks, ledger: &Ledger) {
    for (id, saga) in &ledger.sagas {
        let undone: BTreeSet<_> = of_kind(saga, "step_compensation_started").collect();
        let answered: BTreeSet<_> = of_kind(saga, "step_succeeded").collect();
        for ((step, operation), _) in commanded(saga) {
            if operation == "execute" && undone.contains(&*step) && !answered.contains(&*step) {
                continue;
            }
            let sent = ledger.commands.contains_key(&(id.clone(), step.clone(), operation.to_owned()));
            checks.that(sent, "I25", || format!("saga {id}: {operation} of {step} was never sent"));
        }
    }
}

/// The topic of the domain event that follows from a fact, by the definition of the order saga.
fn topic(event: &Event) -> Option<&'static str> {
    match (event.kind.as_str(), event.step()) {
        ("step_succeeded", "create_order") => Some("order_created"),
        ("step_succeeded", "charge_payment") => Some("payment_successful"),
        ("step_refused", "charge_payment") => Some("payment_failed"),
        ("step_succeeded", "reserve_inventory") => Some("inventory_updated"),
        ("step_succeeded", "send_confirmation") => Some("notification_sent"),
        ("saga_completed", _) => Some("order_completed"),
        ("saga_compensated", _) => Some("order_cancelled"),
        _ => None,
    }
}

/// Every domain event of a journal is in its topic, always under the same id; none is there that no journal holds. Of
/// one saga there is one event a topic, so that their order is no question.
pub(super) fn i26(checks: &mut Checks, ledger: &Ledger) {
    let mut ids = BTreeSet::new();
    let mut expected = 0;
    for (id, saga) in &ledger.sagas {
        for topic in saga.kinds().filter_map(topic) {
            expected += 1;
            let known = ledger.events.get(&(topic.to_owned(), id.clone()));
            checks.that(known.is_some(), "I26", || format!("saga {id}: its event is not in {topic}"));
            let Some(known) = known else { continue };
            checks.that(known.len() == 1, "I26", || format!("saga {id}: one event of {topic} has the ids {known:?}"));
            let fresh = known.iter().all(|one| ids.insert(one));
            checks.that(fresh, "I26", || format!("saga {id}: its event in {topic} has the id of another"));
        }
    }
    let found = ledger.events.len();
    checks.that(found <= expected, "I26", || format!("{found} events were published, the journals hold {expected}"));
}

/// Per shard epochs never go back, each is one process' own, and each process writes where the last has ended.
pub(super) fn i27(checks: &mut Checks, ledger: &Ledger) {
    let mut last = BTreeMap::<i32, (i64, i64)>::new();
    let mut owners = BTreeMap::<(i32, i64), &str>::new();
    for mark in &ledger.marks {
        let (epoch, head) = *last.entry(mark.shard).or_insert((mark.epoch_before, mark.head_before));
        let ascends = mark.epoch >= mark.epoch_before && mark.epoch >= epoch;
        checks.that(ascends, "I27", || format!("an epoch went back, from {epoch}: {mark:?}"));
        let appends = mark.head >= mark.head_before && mark.head_before == head;
        checks.that(appends, "I27", || format!("a journal's head went back or leapt, from {head}: {mark:?}"));
        let owner = *owners.entry((mark.shard, mark.epoch)).or_insert(&mark.app);
        checks.that(owner == mark.app, "I27", || format!("its epoch is {owner}'s: {mark:?}"));
        last.insert(mark.shard, (mark.epoch, mark.head));
    }
    let mut heads = BTreeMap::<i32, i64>::new();
    for write in &ledger.writes {
        let owner = owners.get(&(write.shard, write.epoch)).copied().unwrap_or("nobody");
        checks.that(owner == write.app, "I27", || format!("its epoch is {owner}'s: {write:?}"));
        let head = heads.entry(write.shard).or_default();
        let dense = write.first == *head + 1 && write.last - *head == write.count;
        checks.that(dense, "I27", || format!("written after {head}: {write:?}"));
        *head = write.last;
    }
}
