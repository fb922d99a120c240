//! The orders of a run: a mix of outcomes, and what may become of each.

use std::time::SystemTime;

use amends_tests::random::Random;
use serde_json::json;

/// Ordered, this is more than there is of anything.
const TOO_MANY: u64 = 900_000;

/// Runs the same orders again: `AMENDS_TEST_SEED=…`.
const SEED: &str = "AMENDS_TEST_SEED";

/// How an order must end if nothing is broken for longer than its attempts last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Completed,
    Compensated,
    /// Depends on who comes first.
    Either,
}

/// An order to be submitted.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) number: usize,
    /// No two orders have the same, so that an order is found by it.
    pub(crate) user: String,
    pub(crate) key: String,
    pub(crate) body: String,
    /// In minor units.
    pub(crate) total: i64,
    pub(crate) end: End,
    /// Cancelled by the customer as soon as it is acknowledged.
    pub(crate) cancel: bool,
}

/// How often, method, product, whether too many of it are ordered, whether the user can be reached, how it ends.
type Kind = (u64, &'static str, &'static str, bool, bool, End);

/// Per thousand.
const KINDS: [Kind; 14] = [
    (550, "pm_ok", "MOUSE001", false, true, End::Completed),
    (100, "pm_ok", "PHONE001", false, true, End::Completed),
    (80, "pm_declined", "MOUSE001", false, true, End::Compensated),
    (70, "pm_insufficient_funds", "PHONE001", false, true, End::Compensated),
    (70, "pm_ok", "MOUSE001", true, true, End::Compensated),
    (50, "pm_flaky", "MOUSE001", false, true, End::Completed),
    (20, "pm_flaky", "PHONE001", true, true, End::Compensated),
    (10, "pm_slow", "MOUSE001", false, true, End::Completed),
    (5, "pm_slow", "MOUSE001", true, true, End::Compensated),
    (10, "pm_refund_fails", "MOUSE001", false, true, End::Completed),
    (5, "pm_refund_fails", "MOUSE001", true, true, End::Compensated),
    (5, "pm_ok", "PHONE001", false, false, End::Completed),
    (5, "pm_declined", "PHONE001", false, false, End::Compensated),
    // There are a hundred laptops: the last who ask get none.
    (20, "pm_ok", "LAPTOP001", false, true, End::Either),
];

/// Of so many orders whose users can be reached, one is cancelled.
const CANCELLED: u64 = 25;

impl Plan {
    pub(crate) fn draw(number: usize, random: &mut Random) -> Self {
        let mut lot = random.within(0..1_000);
        let wins = |kind: &&Kind| {
            let won = lot < kind.0;
            lot = lot.saturating_sub(kind.0);
            won
        };
        let (_, method, product, too_many, reachable, end) = *KINDS.iter().find(wins).unwrap_or(&KINDS[0]);
        let quantity = if too_many { TOO_MANY } else { random.within(1..6) };
        let cents = random.within(1..100_000);
        let cancel = reachable && random.within(0..CANCELLED) == 0;
        let user = format!("{}_{number}", if reachable { "chaos" } else { "unreachable" });
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        let items = json!([{ "product_id": product, "quantity": quantity, "price": price }]);
        let body = json!({ "user_id": user, "payment_method": method, "items": items }).to_string();
        let total = i64::try_from(cents * quantity).expect("a total in range");
        Self { number, user, key: format!("chaos-{number}"), body, total, end, cancel }
    }

    /// Whether this is an end that it may have; `cause` is why it was undone.
    pub(crate) fn allows(&self, completed: bool, cause: Option<&str>) -> bool {
        match cause {
            _ if completed => self.end != End::Compensated,
            Some("cancelled") => self.cancel,
            _ => self.end != End::Completed,
        }
    }
}

/// Of this run.
pub(crate) fn seed() -> u64 {
    if let Ok(text) = std::env::var(SEED) {
        return text.parse().expect("a seed is a whole number");
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock past 1970");
    let seed = u64::try_from(now.as_micros()).unwrap_or(0);
    crate::process::say(&format!("{SEED}={seed}"));
    seed
}
