//! The participants' database, whichever it is.

use amends_sdk::{Database, DatabaseError};
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::secret::redact;
use crate::engine_store::Place;
use crate::error::{CliError, Exit};
use crate::patience;

/// Opens it when it is up, and brings its tables up to date; many may do so at once.
pub(crate) async fn open(url: &SecretString) -> Result<Database, CliError> {
    let (Place::Sqlite(place) | Place::Postgres(place)) = Place::of(url);
    let connect = || amends_participants::open(place);
    let is_down = |error: &DatabaseError| matches!(error, DatabaseError::Unavailable(_));
    let database = patience::until_up("the participants' database", connect, is_down).await;
    database.map_err(|error| unusable(url, &error))
}

/// What to do about one that cannot be used.
pub(crate) fn unusable(url: &SecretString, error: &DatabaseError) -> CliError {
    let exit = match error {
        DatabaseError::Unavailable(_) => Exit::Unreachable,
        _ => Exit::Other,
    };
    CliError::new(exit, format!("cannot use the participants' database {}", redact(url.expose_secret())))
        .why(error)
        .next("amends config explain worker.store")
}
