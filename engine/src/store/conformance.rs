//! The conformance suite: what is right for every [`super::Store`] and [`Archive`], whatever database is below.
//!
//! For the authors of adapters. An adapter's test implements [`Subject`] for its store and calls [`run`]; a store that
//! passes can stand under the engine.

mod commits;
pub(super) mod fixture;
mod journals;
mod leases;
mod lists;
mod loads;
mod pages;
mod records;
mod topics;

use std::panic::AssertUnwindSafe;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;

use super::{Archive, Leases, Store, TopicBook};

/// Shards that a fresh store of the suite has.
pub const SHARDS: u16 = 4;

/// A store under test, with a way to reach below its ports.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// The store.
    type Store: Store + Archive + Leases + TopicBook;

    /// The store.
    fn store(&self) -> &Self::Store;

    /// Sends one statement straight to the database, as a person with a client would: to see what no port shows, and
    /// that the database itself refuses what must not happen. Answers the number in the first column of the first row
    /// of a query, 0 for anything else.
    async fn sql(&self, statement: &'static str) -> Result<i64, String>;
}

type Case<S> = for<'s> fn(&'s S) -> BoxFuture<'s, ()>;

/// Runs every case, each on a fresh store of [`SHARDS`] shards that `make` gives.
///
/// # Panics
///
/// After the last case, if any failed; the message names them.
pub async fn run<S: Subject, F: Future<Output = S>>(make: impl Fn() -> F) {
    let cases = cases::<S>();
    let mut failed = Vec::new();
    for (name, case) in &cases {
        let subject = make().await;
        if AssertUnwindSafe(case(&subject)).catch_unwind().await.is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed: {}", failed.len(), cases.len(), failed.join(", "));
}

macro_rules! cases {
    ($($module:ident: $($case:ident),* $(,)?;)*) => {
        fn cases<S: Subject>() -> Vec<(&'static str, Case<S>)> {
            vec![$($((stringify!($case), |subject| $module::$case(subject).boxed())),*),*]
        }
    };
}

cases! {
    leases:
        a_free_shard_is_claimed_with_a_new_epoch,
        a_live_shard_is_left_to_its_owner,
        of_two_claims_at_once_one_wins,
        marks_go_from_owner_to_owner,
        a_heartbeat_renews_and_tells_who_lives,
        an_expired_lease_is_renewed_unless_it_was_taken,
        a_released_shard_keeps_its_marks,
        who_leaves_frees_everything,
        a_halt_is_noted_until_the_next_claim,
        what_is_said_late_of_a_lease_changes_nothing,
        an_engine_may_move_and_come_back,
        a_long_lease_is_no_error;
    commits:
        an_old_epoch_writes_nothing,
        a_batch_fenced_in_one_shard_writes_nothing,
        a_batch_must_bring_the_epoch_of_every_shard,
        a_taken_number_undoes_the_whole_batch,
        a_taken_position_is_a_conflict,
        a_saga_starts_once,
        only_stored_sagas_change,
        a_saga_changes_once_and_under_its_shard,
        marks_move_alone,
        epochs_and_marks_only_go_up,
        terminal_is_absorbing,
        the_journal_is_append_only,
        batches_of_every_size_are_kept,
        a_commit_outlives_its_caller;
    records:
        an_action_is_audited_in_its_own_transaction,
        a_dead_letter_is_written_once,
        a_record_of_no_saga_is_kept,
        dead_letters_are_filtered_and_paged,
        a_version_of_a_definition_never_changes,
        texts_come_back_as_they_were;
    loads:
        recovery_gives_what_moves_by_itself,
        ended_sagas_load_without_their_journals,
        a_suffix_finds_a_saga;
    journals:
        the_journal_of_a_shard_is_read_in_order,
        an_unknown_event_is_corrupt,
        a_gap_or_an_unknown_format_is_corrupt;
    topics:
        a_topic_is_recorded_once,
        a_replaced_topic_fences_only_if_it_is_rewound;
    lists:
        each_filter_keeps_what_it_says,
        a_list_shows_where_running_sagas_are,
        what_a_saga_waited_for_is_forgotten_when_it_moves_on,
        stuck_sagas_are_those_that_need_somebody;
    pages:
        pages_are_newest_first_and_stable,
        a_broken_token_is_a_conflict,
        large_archives_are_counted_up_to_a_bound;
}
