//! Reading rows: what a row can become, and what one of its columns can.

use super::DriverError;

/// One row of a result, as the driver has it; each database adds its own.
#[derive(Debug)]
pub enum RowRef<'r> {
    /// A row of an SQLite statement.
    Sqlite(&'r rusqlite::Row<'r>),
    /// A row of a Postgres statement.
    #[cfg(feature = "postgres")]
    Postgres(&'r sqlx::postgres::PgRow),
}

impl RowRef<'_> {
    /// Reads one column, counted from 0.
    pub fn get<C: Column>(&self, index: usize) -> Result<C, DriverError> {
        C::read(self, index)
    }
}

/// What a column can be read as.
pub trait Column: Sized {
    /// Reads one column, counted from 0.
    fn read(row: &RowRef<'_>, index: usize) -> Result<Self, DriverError>;
}

/// What a row can be read as: tuples of up to sixteen [`Column`]s, and what an author makes of one.
pub trait Row: Sized + Send + 'static {
    /// Reads a row.
    fn read(row: &RowRef<'_>) -> Result<Self, DriverError>;
}

macro_rules! column {
    ($($kind:ty),*) => {$(
        impl Column for $kind {
            fn read(row: &RowRef<'_>, index: usize) -> Result<Self, DriverError> {
                match row {
                    RowRef::Sqlite(row) => Ok(row.get(index)?),
                    #[cfg(feature = "postgres")]
                    RowRef::Postgres(row) => super::postgres::required(row, index),
                }
            }
        }

        impl Column for Option<$kind> {
            fn read(row: &RowRef<'_>, index: usize) -> Result<Self, DriverError> {
                match row {
                    RowRef::Sqlite(row) => Ok(row.get(index)?),
                    #[cfg(feature = "postgres")]
                    RowRef::Postgres(row) => super::postgres::FromPostgres::read(row, index),
                }
            }
        }
    )*};
}

column!(i64, String, Vec<u8>);

macro_rules! tuple {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Column + Send + 'static),*> Row for ($($name,)*) {
            fn read(row: &RowRef<'_>) -> Result<Self, DriverError> {
                Ok(($(row.get::<$name>($index)?,)*))
            }
        }
    };
}

tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7, I 8, J 9, K 10, L 11, M 12, N 13, O 14, P 15);
