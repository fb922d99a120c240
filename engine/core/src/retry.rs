//! How long to wait before the next attempt.

use crate::definition::RetryPolicy;
use crate::ids::{SagaId, StepName};
use crate::time::Millis;

/// The wait after a failed attempt: exponential, capped, and spread over the upper half of its span.
///
/// The spread is a digest of saga, step and attempt: sagas that failed together do not come back together, and a
/// replay computes the same number. A participant's own wish (`wanted`) is honoured when it is longer, up to the cap
/// or one minute, whichever is more.
pub(crate) fn backoff(
    policy: &RetryPolicy,
    saga: SagaId,
    step: &StepName,
    attempt: u32,
    wanted: Option<Millis>,
) -> Millis {
    /// No participant may put a saga to sleep for longer than this, unless the definition's cap allows it.
    const WISH_MAX_MS: u64 = 60_000;

    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    let grown = policy.initial.0 as f64 * policy.factor.powi(exponent);
    let span = if grown.is_finite() { (grown as u64).min(policy.max.0) } else { policy.max.0 };
    let seed = crate::ids::derive(&[&saga.to_string(), step.as_str(), &attempt.to_string()]).as_u128() as u64;
    let waited = span - span / 2 + (seed % (span / 2 + 1));
    let wish = wanted.map_or(0, |wish| wish.0.min(policy.max.0.max(WISH_MAX_MS)));
    Millis(waited.max(wish))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_to_the_cap_and_repeat_exactly(id: u128, attempt in 1u32..200, initial in 1u64..5_000, cap in 1u64..600_000) {
            let policy = RetryPolicy { attempts: 5, initial: Millis(initial), factor: 2.0, max: Millis(cap) };
            let saga = SagaId::from_uuid(uuid::Uuid::from_u128(id));
            let step = StepName::new("pay").unwrap();
            let wait = backoff(&policy, saga, &step, attempt, None);
            prop_assert!(wait.0 <= cap);
            prop_assert!(wait.0 >= initial.min(cap) / 2);
            prop_assert_eq!(wait, backoff(&policy, saga, &step, attempt, None));
            prop_assert!(backoff(&policy, saga, &step, attempt, Some(Millis(30_000))).0 >= 30_000);
        }
    }
}
