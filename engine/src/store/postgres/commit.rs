//! The one transaction that writes: all of a batch or nothing.
//!
//! It is one statement, and so one message to the server and one back: with a transaction of several statements, most of
//! a small commit's time was the network's. Its parts are data-modifying WITH queries, one of each table:
//!
//! - `fence` updates the rows of the batch's shards, in their order. That locks them, and compares their epochs: a
//!   statement sees the rows as they were when it began, but an update that had to wait for another transaction looks at
//!   its row again as that one left it (READ COMMITTED), so the epoch compared is the one that is stored when the lock is
//!   held. Another epoch ends the statement.
//! - Every other part reads `passed`, which is there when the fence has let all shards through. Nothing is written, and
//!   no other lock is waited for, before the shards are locked.
//! - What the parts do not see is each other's rows. Journal rows of sagas that start in the same batch take their
//!   numbers from `numbers`; changes of such sagas are made to the rows before they are sent.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use amends_core::SagaId;
use sqlx::postgres::{PgArguments, PgConnection, PgHasArrayType, Postgres};
use sqlx::{Arguments, AssertSqlSafe, Encode, Executor, Type, query_with};

use super::{audit, dead_letters, journal, sagas, shards};
use crate::store::Batch;

/// The parts beside the fence, in the order in which they run; each batch has those that it has rows for.
const PARTS: [(Part, &str); 6] = [
    (Part::Numbers, sagas::NUMBERS),
    (Part::Started, sagas::INSERT),
    (Part::Journal, journal::APPEND),
    (Part::Changed, sagas::UPDATE),
    (Part::Letters, dead_letters::INSERT),
    (Part::Audit, audit::INSERT),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Numbers,
    Started,
    Journal,
    Changed,
    Letters,
    Audit,
}

impl Part {
    const fn bit(self) -> usize {
        1 << self as usize
    }

    fn is_in(self, batch: &Batch) -> bool {
        match self {
            Self::Numbers => !batch.started.is_empty() || !batch.journal.is_empty(),
            Self::Started => !batch.started.is_empty(),
            Self::Journal => !batch.journal.is_empty(),
            Self::Changed => !batch.changed.is_empty(),
            Self::Letters => !batch.dead_letters.is_empty(),
            Self::Audit => !batch.audit.is_empty(),
        }
    }
}

/// One text for every set of parts, by the bits of the set. Each is prepared when a connection first needs it, and
/// batches need a handful.
static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| (0..1 << PARTS.len()).map(text).collect());

/// Puts the parts of a set together.
fn text(set: usize) -> String {
    let has = |part: Part| set & part.bit() != 0;
    let mut sql = format!("WITH {}", shards::FENCE);
    for (_, part) in PARTS.iter().filter(|(part, _)| has(*part)) {
        sql.push_str(", ");
        sql.push_str(part);
    }
    sql.push_str(if has(Part::Changed) { sagas::CHECK } else { shards::CHECK });
    sql
}

/// Every text that there is, for the tests of their plans.
#[cfg(test)]
pub(super) fn every_text() -> impl Iterator<Item = &'static str> {
    // What refers to the numbers is never without them.
    let numbered = Part::Started.bit() | Part::Journal.bit();
    let sets = (0..TEXTS.len()).filter(move |set| set & Part::Numbers.bit() != 0 || set & numbered == 0);
    sets.map(|set| TEXTS[set].as_str())
}

/// The statement for a batch.
pub(super) fn statement(batch: &Batch) -> &'static str {
    &TEXTS[PARTS.iter().filter(|(part, _)| part.is_in(batch)).map(|(part, _)| part.bit()).sum::<usize>()]
}

/// Collects the parameters: every column of every part is an array, in the same order for all texts, so that a part's
/// numbers are fixed. Those of parts that are not there are empty.
#[derive(Default)]
pub(super) struct Columns(PgArguments);

impl Columns {
    /// Adds the next column.
    pub(super) fn push<'t, T>(&mut self, values: impl IntoIterator<Item = T>)
    where
        T: Encode<'t, Postgres> + Type<Postgres> + PgHasArrayType + 't,
    {
        let values: Vec<T> = values.into_iter().collect();
        // Only an encoder can fail, and those of numbers, texts and ids do not.
        if let Err(error) = self.0.add(values) {
            unreachable!("numbers, texts and ids can be encoded: {error}");
        }
    }
}

/// A batch whose changes of sagas that it starts itself are in their rows. Mostly it is that already. A change of one
/// that starts as ended stays a change: it finds no saga, and the commit is refused behind the fence.
pub(super) fn merged(batch: Arc<Batch>) -> Arc<Batch> {
    if batch.started.is_empty() || batch.changed.is_empty() {
        return batch;
    }
    let alive = batch.started.iter().enumerate().filter(|(_, row)| !row.state.status.is_terminal());
    let places: HashMap<SagaId, usize> = alive.map(|(at, row)| (row.id, at)).collect();
    if !batch.changed.iter().any(|change| places.contains_key(&change.id)) {
        return batch;
    }
    let mut batch = Arc::unwrap_or_clone(batch);
    let (own, others): (Vec<_>, Vec<_>) = batch.changed.drain(..).partition(|change| places.contains_key(&change.id));
    batch.changed = others;
    for change in own {
        let place = places[&change.id];
        batch.started[place].state = change;
    }
    Arc::new(batch)
}

/// Sends a batch. When this returns, it is committed, or the error says what is known of it.
pub(super) async fn send(connection: &mut PgConnection, batch: &Batch) -> sqlx::Result<()> {
    let mut columns = Columns::default();
    shards::bind_fence(&mut columns, &batch.shards);
    sagas::bind_started(&mut columns, &batch.started);
    journal::bind(&mut columns, &batch.journal, &batch.started);
    sagas::bind_changed(&mut columns, &batch.changed);
    dead_letters::bind(&mut columns, &batch.dead_letters);
    audit::bind(&mut columns, &batch.audit);
    connection.execute(query_with(AssertSqlSafe(statement(batch)), columns.0)).await?;
    Ok(())
}
