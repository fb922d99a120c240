//! What every store's lists have in common.

use amends_core::{StepName, Timestamp};

use super::{SagaFilter, SagaRow};

/// Counting stops here: a footer that says "more than" is enough, and the count stays cheap.
pub(super) const TOTAL_MAX: i64 = 10_000;

/// The footer of a list, of which up to one row more than [`TOTAL_MAX`] was counted.
pub(super) fn total(counted: i64) -> i64 {
    if counted > TOTAL_MAX { -1 } else { counted }
}

impl SagaFilter {
    /// Whether it leaves unfinished sagas only.
    pub(super) fn is_unfinished(&self) -> bool {
        let statuses = !self.statuses.is_empty() && !self.statuses.iter().any(|status| status.is_terminal());
        statuses || self.step.is_some() || self.retrying || self.stuck_since.is_some()
    }
}

impl SagaRow {
    /// Brings a row up to date from the journal: when it last moved, the step that it is at, and that step's sends. A
    /// saga that goes from step to step does not rewrite its row.
    pub(super) fn bring_up_to_date(&mut self, moved_at: Option<i64>, step: Option<StepName>, attempt: Option<u32>) {
        let state = &mut self.state;
        let moved_on = moved_at.filter(|at| *at > state.updated_at.0);
        if let Some(at) = moved_on {
            state.updated_at = Timestamp(at);
            state.next_at = None;
        }
        if (moved_on.is_some() || state.step.is_none()) && !state.status.is_terminal() {
            // Some events do not count sends; there has been at least one.
            state.attempt = attempt.unwrap_or(state.attempt.max(1));
            state.step = step;
        }
    }
}
