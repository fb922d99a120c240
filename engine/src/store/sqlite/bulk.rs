//! Statements that take many rows at once.
//!
//! Each comes in a few fixed sizes, because a text seen before is a statement prepared before; what a chunk does not
//! fill is NULL, and the statement passes such rows over.

use sqlx::sqlite::SqliteArguments;

/// Rows per statement. As many parameters as the widest table has columns for 128 rows stay far below SQLite's bound
/// of 32,766, and more rows gained nothing in `store_rate`.
const SIZES: [usize; 4] = [1, 8, 32, 128];

/// One statement, in all sizes.
pub(super) struct Bulk {
    texts: [String; SIZES.len()],
    columns: usize,
}

/// A statement of the size that some rows need.
pub(super) struct Chunk<'b, 'r, R> {
    /// Its text.
    pub(super) sql: &'b str,
    /// The rows.
    pub(super) rows: &'r [R],
    /// Parameters that they leave over.
    pub(super) spare: usize,
}

impl Bulk {
    /// Puts `VALUES` with rows of `columns` parameters between two texts.
    pub(super) fn new(before: &str, columns: usize, after: &str) -> Self {
        let row = format!("({})", vec!["?"; columns].join(", "));
        let texts = SIZES.map(|size| format!("{before} (VALUES {}) {after}", vec![row.as_str(); size].join(", ")));
        Self { texts, columns }
    }

    /// Cuts rows into chunks, each with the smallest statement that takes it.
    pub(super) fn chunks<'b, 'r, R>(&'b self, rows: &'r [R]) -> impl Iterator<Item = Chunk<'b, 'r, R>> {
        rows.chunks(SIZES[SIZES.len() - 1]).map(|rows| {
            let size = SIZES.iter().position(|size| rows.len() <= *size).unwrap_or(SIZES.len() - 1);
            Chunk { sql: &self.texts[size], rows, spare: (SIZES[size] - rows.len()) * self.columns }
        })
    }
}

/// Collects the parameters of statements.
#[derive(Default)]
pub(super) struct Parameters(SqliteArguments);

impl Parameters {
    /// Adds the next.
    pub(super) fn push<'t>(&mut self, value: impl sqlx::Encode<'t, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>) {
        // Only an encoder can fail, and those of integers, texts and bytes do not.
        if let Err(error) = sqlx::Arguments::add(&mut self.0, value) {
            unreachable!("integers, texts and bytes can be encoded: {error}");
        }
    }

    /// Adds that many NULLs.
    pub(super) fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.push(None::<i64>);
        }
    }

    /// Hands them over.
    pub(super) fn finish(self) -> SqliteArguments {
        self.0
    }
}
