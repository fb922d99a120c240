//! Journals, put together from the rows that a store reads.

use std::collections::HashMap;

use amends_core::{JOURNAL_FORMAT, SagaId, Timestamp, Transition};

use super::{SagaRow, StoredSaga};

/// A row of a journal as it is stored.
pub(super) struct RawTransition<'r> {
    /// The saga's number in its table.
    pub(super) saga: i64,
    /// Position within the saga.
    pub(super) seq: i64,
    /// When it was decided.
    pub(super) at: i64,
    /// Encoding of `events`.
    pub(super) format: i16,
    /// Its events, a JSON array.
    pub(super) events: &'r str,
}

/// Collects the journals of some sagas. Rows come in order, saga by saga.
pub(super) struct Journals {
    ids: HashMap<i64, SagaId>,
    read: HashMap<i64, (Vec<Transition>, Option<String>)>,
}

impl Journals {
    /// For these sagas, by their numbers.
    pub(super) fn of(sagas: &[(i64, SagaRow)]) -> Self {
        let ids = sagas.iter().map(|(number, row)| (*number, row.id)).collect();
        Self { ids, read: HashMap::with_capacity(sagas.len()) }
    }

    /// Takes the next row; what follows one that cannot be read is passed over.
    pub(super) fn push(&mut self, row: &RawTransition<'_>) {
        let (journal, unreadable) = self.read.entry(row.saga).or_default();
        if unreadable.is_some() {
            return;
        }
        let next = journal.len() as u64 + 1;
        match transition(row, next) {
            Ok(transition) => journal.push(transition),
            Err(wrong) => {
                let id = self.ids.get(&row.saga).map(SagaId::to_string).unwrap_or_default();
                *unreadable = Some(format!("journal of saga {id}, row {next}: {wrong}"));
            }
        }
    }

    /// Joins the sagas with their journals, in the order given.
    pub(super) fn join(mut self, sagas: Vec<(i64, SagaRow)>) -> Vec<StoredSaga> {
        let joined = sagas.into_iter().map(|(number, row)| {
            let (journal, unreadable) = self.read.remove(&number).unwrap_or_default();
            StoredSaga { row, journal, unreadable }
        });
        joined.collect()
    }
}

fn transition(row: &RawTransition<'_>, next: u64) -> Result<Transition, String> {
    let seq = row.seq.cast_unsigned();
    if seq != next {
        return Err(format!("number {seq} follows"));
    }
    if row.format != JOURNAL_FORMAT {
        return Err(format!("format {} is not known", row.format));
    }
    // The parser's own words may quote what a client sent (I37).
    let unknown =
        |error: serde_json::Error| format!("its events are not known to this program, from column {}", error.column());
    Ok(Transition { seq, at: Timestamp(row.at), events: serde_json::from_str(row.events).map_err(unknown)? })
}
