//! The engine's database, whichever it is.

use std::sync::Arc;

use amends_core::Millis;
use amends_engine::store::Storage;
#[cfg(feature = "postgres")]
use amends_engine::store::StoreError;
#[cfg(feature = "postgres")]
use amends_engine::store::postgres::{OpenError, PostgresOptions, PostgresStore};
use amends_engine::store::sqlite::SqliteStore;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Settings;
#[cfg(feature = "postgres")]
use crate::config::secret::redact;
use crate::error::{CliError, Exit};
#[cfg(feature = "postgres")]
use crate::patience;

/// Connections that an engine keeps for its leases, beside those for commits and reads.
#[cfg(feature = "postgres")]
const FOR_LEASES: u32 = 2;

/// An open database.
pub(crate) enum EngineStore {
    /// A file, for one engine.
    Sqlite(SqliteStore),
    /// A server, for any number of engines.
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
}

/// What a database's URL names.
pub(crate) enum Place<'a> {
    /// A file's path.
    Sqlite(&'a str),
    /// The whole URL.
    Postgres(&'a str),
}

impl<'a> Place<'a> {
    /// Tells one from the other.
    pub(crate) fn of(url: &'a SecretString) -> Self {
        let url = url.expose_secret();
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Self::Postgres(url);
        }
        Self::Sqlite(url.strip_prefix("sqlite:").unwrap_or(url))
    }
}

/// The URL that is configured, or what to do about it.
pub(crate) fn url(settings: &Settings, command: &str) -> Result<SecretString, CliError> {
    settings.store.url.clone().ok_or_else(|| {
        CliError::new(Exit::Usage, "no database is named")
            .why("neither --store nor AMENDS_STORE nor store.url in a file says which")
            .next(format!("{command} --store postgres://USER@HOST/DATABASE"))
    })
}

impl EngineStore {
    /// Opens it; one that is not up yet is waited for.
    pub(crate) async fn open(url: &SecretString, settings: &Settings) -> Result<Self, CliError> {
        match Place::of(url) {
            Place::Sqlite(path) => {
                let store = SqliteStore::open_as_installed(path).await;
                store.map(Self::Sqlite).map_err(|error| {
                    CliError::new(Exit::Other, format!("cannot use the database {path}"))
                        .why(error)
                        .next("amends config explain store.url")
                })
            }
            #[cfg(feature = "postgres")]
            Place::Postgres(address) => {
                let connect = || PostgresStore::connect(address, options(settings));
                let store = patience::until_up("the database", connect, is_down).await;
                store.map(Self::Postgres).map_err(|error| unusable(address, &error))
            }
            #[cfg(not(feature = "postgres"))]
            Place::Postgres(_) => {
                let _ = settings;
                Err(crate::features::without_postgres())
            }
        }
    }

    /// Opens a Postgres database, at once or not at all.
    #[cfg(feature = "postgres")]
    pub(crate) async fn connect(address: &str, settings: &Settings) -> Result<Self, CliError> {
        let store = PostgresStore::connect(address, options(settings)).await;
        store.map(Self::Postgres).map_err(|error| unusable(address, &error))
    }

    /// Its ports.
    pub(crate) fn storage(&self) -> Storage {
        match self {
            Self::Sqlite(store) => Storage::new(Arc::new(store.clone())),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => Storage::new(Arc::new(store.clone())),
        }
    }

    /// Number of shards, fixed at install.
    pub(crate) fn shards(&self) -> u16 {
        match self {
            Self::Sqlite(store) => store.shard_count(),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.shard_count(),
        }
    }

    /// The word for it.
    pub(crate) const fn word(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "postgres",
        }
    }

    /// How long leases hold; `None` where no other engine can be.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "only Postgres is shared"))]
    pub(crate) fn lease(&self, settings: &Settings) -> Option<Millis> {
        match self {
            Self::Sqlite(_) => None,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Some(lease_ttl(settings)),
        }
    }

    /// Lets go of it.
    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.close(),
        }
    }
}

/// `engine.lanes`, or one a core.
pub(crate) fn lanes(settings: &Settings) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    settings.engine.lanes.unwrap_or_else(cores)
}

#[cfg(feature = "postgres")]
fn lease_ttl(settings: &Settings) -> Millis {
    Millis(u64::try_from(settings.engine.lease_ttl.as_millis()).unwrap_or(u64::MAX))
}

/// A connection for each lane, a few for leases, the rest for reads.
#[cfg(feature = "postgres")]
fn options(settings: &Settings) -> PostgresOptions {
    let all = settings.store.connections.saturating_sub(FOR_LEASES);
    let lanes = u32::try_from(lanes(settings)).unwrap_or(u32::MAX);
    // Recovery of one shard should not hold up the commits of all others.
    let writers = lanes.saturating_add(1).min(all.saturating_sub(1)).max(1);
    let readers = all.saturating_sub(writers).max(1);
    PostgresOptions { writers, readers, lease_ttl: lease_ttl(settings) }
}

/// Whether trying again may help.
#[cfg(feature = "postgres")]
pub(crate) fn is_down(error: &OpenError) -> bool {
    matches!(error, OpenError::Store { error: StoreError::Unavailable(_), .. })
}

/// What to do about a Postgres database that cannot be used.
#[cfg(feature = "postgres")]
pub(crate) fn unusable(url: &str, error: &OpenError) -> CliError {
    let shown = redact(url);
    let (exit, next) = match error {
        OpenError::NotMigrated { .. } | OpenError::NotInstalled { .. } => {
            (Exit::Refused, format!("amends migrate up --store {shown}"))
        }
        OpenError::Newer { .. } | OpenError::Differs { .. } => {
            (Exit::Refused, format!("amends migrate status --store {shown}"))
        }
        OpenError::Store { .. } => (Exit::Unreachable, "amends doctor".to_owned()),
        OpenError::Lease { .. } => (Exit::Usage, "amends config explain engine.lease_ttl".to_owned()),
        OpenError::Shards { .. } => (Exit::Refused, "amends config explain engine.shards".to_owned()),
        OpenError::Url(_) | OpenError::Server { .. } | OpenError::Refused { .. } => {
            (Exit::Usage, "amends config explain store.url".to_owned())
        }
    };
    CliError::new(exit, format!("cannot use the database {shown}")).why(error).next(next)
}
