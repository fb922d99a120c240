//! Commands that wait for a free place, or for their participant to come back.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use amends_core::{Command, CommandId, Millis, Timestamp};
use tokio::time::Instant;

/// The least time that a call is given, however late its command comes by: a participant's answer still counts after
/// the engine has stopped waiting.
pub(super) const SPAN_MIN: Duration = Duration::from_millis(100);

/// The most that a call waits: more than steps take, and little enough to be added to any clock.
const SPAN_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Bytes of a command beside its payload, roughly.
const OVERHEAD: usize = 300;

/// A command on its way.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) command: Command,
    /// What its attempt had left when it was handed over.
    left: Millis,
    /// When that is used up.
    pub(super) due: Instant,
    /// It has waited for its participant, and that wait does not count.
    stood: bool,
    /// How often it was on its way when the connection broke or was refused.
    pub(super) losses: u32,
}

impl Held {
    pub(super) fn new(command: Command, now: Timestamp, instant: Instant) -> Self {
        let left = command.deadline.since(now);
        Self { command, left, due: instant + span(left), stood: false, losses: 0 }
    }

    /// Its size on the wire, roughly.
    pub(super) fn size(&self) -> usize {
        self.command.payload.as_str().len() + OVERHEAD
    }

    /// About to leave. What stood still has its whole time before it again.
    fn depart(mut self, now: Timestamp, instant: Instant) -> Self {
        if self.stood {
            self.stood = false;
            self.due = instant + span(self.left);
            self.command.deadline = now.after(self.left);
        }
        self
    }
}

fn span(left: Millis) -> Duration {
    Duration::from(left).clamp(SPAN_MIN, SPAN_MAX)
}

/// In the order of their coming, one copy of each: an attempt that is given again takes the place of the one before.
#[derive(Debug, Default)]
pub(super) struct Queue {
    order: VecDeque<CommandId>,
    held: HashMap<CommandId, Held>,
    /// Entries that stood and have not left yet.
    standing: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether commands are left that waited for their participant.
    pub(super) fn has_standing(&self) -> bool {
        self.standing > 0
    }

    /// Adds one at the end; false if there is no room for it.
    pub(super) fn push(&mut self, mut held: Held, capacity: usize) -> bool {
        if let Some(older) = self.held.get_mut(&held.command.id) {
            held.stood = older.stood;
            *older = held;
            return true;
        }
        if self.order.len() >= capacity {
            return false;
        }
        self.order.push_back(held.command.id);
        self.held.insert(held.command.id, held);
        true
    }

    /// Puts one back at the front that was on its way. Those on their way are bounded, and so is this. A newer attempt
    /// that came in meanwhile stands for it.
    pub(super) fn put_back(&mut self, held: Held) {
        let id = held.command.id;
        if !self.held.contains_key(&id) {
            self.order.push_front(id);
            self.standing += usize::from(held.stood);
            self.held.insert(id, held);
        }
    }

    /// Takes from the front, at most so many and roughly so many bytes, at least one.
    pub(super) fn take(&mut self, count: usize, bytes: usize, now: Timestamp, instant: Instant) -> Vec<Held> {
        let mut taken = Vec::with_capacity(count.min(self.order.len()));
        let mut size = 0;
        while taken.len() < count
            && let Some(held) = self.order.front().and_then(|id| self.held.get(id))
        {
            size += held.size();
            if size > bytes && !taken.is_empty() {
                break;
            }
            let Some(held) = self.order.pop_front().and_then(|id| self.held.remove(&id)) else { break };
            self.standing -= usize::from(held.stood);
            taken.push(held.depart(now, instant));
        }
        taken
    }

    /// The participant is back: all that is here has waited for it.
    pub(super) fn stood(&mut self) {
        self.held.values_mut().for_each(|held| held.stood = true);
        self.standing = self.held.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::courier::grpc::tests::command;

    fn held(number: u128, attempt: u32, now: Instant) -> Held {
        let command = Command { attempt, deadline: Timestamp(5_000), ..command(number) };
        Held::new(command, Timestamp(1_000), now)
    }

    fn attempts(taken: &[Held]) -> Vec<u32> {
        taken.iter().map(|held| held.command.attempt).collect()
    }

    #[test]
    fn a_newer_attempt_takes_the_place_of_the_older() {
        let now = Instant::now();
        let mut queue = Queue::default();
        assert!(queue.push(held(1, 1, now), 2) && queue.push(held(2, 2, now), 2));
        assert!(!queue.push(held(3, 3, now), 2), "full");
        assert!(queue.push(held(1, 9, now), 2), "full, and yet there is room for one that is here already");
        queue.put_back(held(2, 1, now));
        assert_eq!(attempts(&queue.take(9, usize::MAX, Timestamp(0), now)), [9, 2]);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn what_is_put_back_leaves_first() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.push(held(1, 1, now), 9);
        queue.put_back(held(2, 2, now));
        assert_eq!(attempts(&queue.take(1, usize::MAX, Timestamp(0), now)), [2]);
        assert_eq!(attempts(&queue.take(1, 0, Timestamp(0), now)), [1], "one always fits");
    }

    #[test]
    fn the_wait_for_a_participant_does_not_count_and_the_wait_for_a_place_does() {
        let start = Instant::now();
        let mut queue = Queue::default();
        queue.push(held(1, 1, start), 9);
        queue.stood();
        queue.push(held(2, 2, start), 9);
        assert!(queue.has_standing());
        let later = start + Duration::from_secs(60);
        let taken = queue.take(9, usize::MAX, Timestamp(61_000), later);
        assert!(!queue.has_standing());
        assert_eq!((taken[0].command.deadline, taken[0].due), (Timestamp(65_000), later + Duration::from_secs(4)));
        assert_eq!((taken[1].command.deadline, taken[1].due), (Timestamp(5_000), start + Duration::from_secs(4)));
    }

    #[test]
    fn a_late_command_is_given_a_moment() {
        let now = Instant::now();
        let late = Held::new(command(1), Timestamp(i64::MAX), now);
        assert_eq!(late.due, now + SPAN_MIN);
        let endless = Command { deadline: Timestamp(i64::MAX), ..command(1) };
        assert_eq!(Held::new(endless, Timestamp(i64::MIN), now).due, now + SPAN_MAX);
    }
}
