//! Commands that a stream has carried away and not answered yet.

use std::collections::HashMap;
use std::time::Duration;

use amends_core::CommandId;
use tokio::time::Instant;

use super::queue::Held;

/// How long an answer is still known for what it is after its attempt's time: one that comes then counts, if the engine
/// has not gone on. A stream alone does not say which saga an answer belongs to.
const LATE_MAX: Duration = Duration::from_secs(60);

/// Late ones kept, for each that may be under way: bounds the memory that a silent participant costs.
const LATE_SHARE: usize = 4;

/// Commands without an answer.
#[derive(Debug)]
pub(super) struct Waiting {
    sent: HashMap<(CommandId, u32), Sent>,
    /// How many of them are late. Those take no place.
    late: usize,
    /// Counts all, so that they can be given back in order.
    number: u64,
    max: usize,
}

#[derive(Debug)]
struct Sent {
    held: Held,
    number: u64,
    late: bool,
}

impl Waiting {
    /// For at most so many under way at a time.
    pub(super) fn new(max: usize) -> Self {
        Self { sent: HashMap::new(), late: 0, number: 0, max }
    }

    /// How many more may leave.
    pub(super) fn room(&self) -> usize {
        self.max.saturating_sub(self.sent.len() - self.late)
    }

    /// One leaves.
    pub(super) fn add(&mut self, held: Held) {
        self.number += 1;
        let key = (held.command.id, held.command.attempt);
        let before = self.sent.insert(key, Sent { held, number: self.number, late: false });
        self.late -= usize::from(before.is_some_and(|before| before.late));
    }

    /// One is answered: the command that it answers, or nothing if it was answered before.
    pub(super) fn answered(&mut self, id: CommandId, attempt: u32) -> Option<Held> {
        let sent = self.sent.remove(&(id, attempt))?;
        self.late -= usize::from(sent.late);
        Some(sent.held)
    }

    /// Frees the places of those whose time is up, and forgets them some time later.
    pub(super) fn sweep(&mut self, now: Instant) {
        let mut late = 0;
        let late_max = self.max * LATE_SHARE;
        self.sent.retain(|_, sent| {
            sent.late = sent.held.due <= now;
            let kept = !sent.late || late < late_max && now < sent.held.due + LATE_MAX;
            late += usize::from(sent.late && kept);
            kept
        });
        self.late = late;
    }

    /// All whose time is not up, in the order in which they left.
    pub(super) fn into_unanswered(self) -> Vec<Held> {
        let mut sent: Vec<_> = self.sent.into_values().filter(|sent| !sent.late).collect();
        sent.sort_unstable_by_key(|sent| sent.number);
        sent.into_iter().map(|sent| sent.held).collect()
    }
}

#[cfg(test)]
mod tests {
    use amends_core::Timestamp;

    use super::*;
    use crate::courier::grpc::tests::command;

    fn held(number: u128, now: Instant) -> Held {
        Held::new(amends_core::Command { deadline: Timestamp(1_000), ..command(number) }, Timestamp(0), now)
    }

    #[test]
    fn a_late_one_frees_its_place_and_its_answer_still_counts() {
        let now = Instant::now();
        let mut waiting = Waiting::new(2);
        waiting.add(held(1, now));
        waiting.add(held(2, now));
        assert_eq!(waiting.room(), 0);
        waiting.sweep(now + Duration::from_secs(1));
        assert_eq!(waiting.room(), 2);
        let id = command(1).id;
        assert!(waiting.answered(id, 9).is_none(), "another attempt's");
        assert!(waiting.answered(id, command(1).attempt).is_some());
        assert!(waiting.answered(id, command(1).attempt).is_none(), "twice");
        assert_eq!(waiting.room(), 2);
        waiting.sweep(now + Duration::from_secs(1) + LATE_MAX);
        assert!(waiting.sent.is_empty() && waiting.late == 0);
    }

    #[test]
    fn the_late_are_bounded() {
        let now = Instant::now();
        let mut waiting = Waiting::new(1);
        for number in 0..100 {
            waiting.add(held(number, now));
            waiting.sweep(now + Duration::from_secs(2));
        }
        assert_eq!((waiting.sent.len(), waiting.room()), (LATE_SHARE, 1));
    }

    #[test]
    fn what_has_no_answer_comes_back_in_order_and_without_the_late() {
        let now = Instant::now();
        let mut waiting = Waiting::new(9);
        waiting.add(held(7, now));
        waiting.sweep(now + Duration::from_secs(1));
        for number in [3, 1, 2] {
            waiting.add(held(number, now));
        }
        let ids: Vec<_> = waiting.into_unanswered().iter().map(|held| held.command.id).collect();
        assert_eq!(ids, [3, 1, 2].map(|number| command(number).id));
    }
}
