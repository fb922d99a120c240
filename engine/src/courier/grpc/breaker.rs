//! Whether a connection is worth a call: the circuit breaker of one link.
//!
//! Written by hand, since tower-resilience-circuitbreaker refuses what comes while it is open, where the courier holds
//! it back; waits the same time before every probe; reads the clock itself; and locks an asynchronous mutex twice a
//! call. What remains is this state machine. The waits are backon's.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// Failures in a row, with no answer between them, after which a link asks whether anybody is there at all.
const FAILURES_MAX: u32 = 3;

/// First and longest wait between two probes, before jitter, which adds up to as much again. The longest bounds how
/// late a participant that has come back is found.
const PROBE_WAIT: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Counts failures; told the time.
#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    waits: ExponentialBackoff,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Calls go through; so many have failed in a row.
    Closed { failures: u32 },
    /// Nothing goes through but a probe, and that not before a moment.
    Open { probe_at: Instant },
}

impl Breaker {
    /// Nobody has answered yet: the first thing to do is to probe.
    pub(super) fn new(now: Instant) -> Self {
        Self { state: State::Open { probe_at: now }, waits: waits() }
    }

    /// The moment of the next probe; `None` while calls go through.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Open { probe_at } => Some(probe_at),
        }
    }

    /// A call was answered, whatever the answer.
    pub(super) fn answered(&mut self) {
        if let State::Closed { failures } = &mut self.state {
            *failures = 0;
            self.waits = waits();
        }
    }

    /// A call found nobody. After some of these in a row a probe is due.
    pub(super) fn failed(&mut self, now: Instant) {
        if let State::Closed { failures } = &mut self.state {
            *failures += 1;
            if *failures >= FAILURES_MAX {
                self.open(now);
            }
        }
    }

    /// The connection is gone, or a probe found nobody: the next probe comes after a wait, which grows until a call is
    /// answered.
    pub(super) fn open(&mut self, now: Instant) {
        let wait = self.waits.next().unwrap_or(PROBE_WAIT.1);
        self.state = State::Open { probe_at: now + wait };
    }

    /// A probe found somebody.
    pub(super) fn close(&mut self) {
        self.state = State::Closed { failures: 0 };
    }
}

fn waits() -> ExponentialBackoff {
    let waits = ExponentialBuilder::new().with_min_delay(PROBE_WAIT.0).with_max_delay(PROBE_WAIT.1).with_jitter();
    waits.without_max_times().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(now);
        assert_eq!(breaker.probe_at(), Some(now), "a link begins with a probe");
        breaker.close();
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = closed(now);
        for _ in 0..10 {
            breaker.failed(now);
            breaker.failed(now);
            breaker.answered();
        }
        assert_eq!(breaker.probe_at(), None);
        (0..FAILURES_MAX).for_each(|_| breaker.failed(now));
        assert!(breaker.probe_at().is_some_and(|at| at > now && at <= now + PROBE_WAIT.0 * 2));
    }

    #[test]
    fn probes_come_less_often_until_a_call_is_answered() {
        let now = Instant::now();
        let mut breaker = closed(now);
        let wait = |breaker: &mut Breaker| {
            breaker.open(now);
            breaker.probe_at().unwrap() - now
        };
        let waits: Vec<_> = (0..20).map(|_| wait(&mut breaker)).collect();
        assert!(waits[0] <= PROBE_WAIT.0 * 2 && waits[3] >= PROBE_WAIT.0 * 8, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= PROBE_WAIT.1 * 2) && waits[19] >= PROBE_WAIT.1, "{waits:?}");
        breaker.close();
        assert!(wait(&mut breaker) >= PROBE_WAIT.1, "somebody who opens the door and does not answer is no better");
        breaker.close();
        breaker.answered();
        assert!(wait(&mut breaker) <= PROBE_WAIT.0 * 2);
    }

    #[test]
    fn what_comes_late_from_before_changes_nothing() {
        let now = Instant::now();
        let mut breaker = closed(now);
        breaker.open(now);
        let probe_at = breaker.probe_at();
        breaker.failed(now);
        breaker.answered();
        assert_eq!(breaker.probe_at(), probe_at);
    }
}
