//! `amends migrate`: the tables of engine and participants.

#[cfg(feature = "postgres")]
use amends_engine::store::postgres::{Migration, PostgresStore};
use amends_engine::store::sqlite::SqliteStore;
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use crate::args::{Global, OutputFormat};
use crate::config::secret::redact;
use crate::config::{self, ConfigArgs, Flags};
use crate::engine_store::{self, Place};
use crate::error::{CliError, Exit};
use crate::output::table::Table;
use crate::output::tone::Tone;
use crate::output::{View, json, terminal};
use crate::{log, participants_store};

/// Arguments of `amends migrate`.
#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    #[command(subcommand)]
    command: MigrateCommand,
}

#[derive(Debug, Subcommand)]
enum MigrateCommand {
    /// List the engine's migrations and whether its database has them; ends with 4 if it lacks any
    Status(StatusArgs),
    /// Make what tables and shards are missing; many may do so at once
    Up(UpArgs),
}

/// Arguments of `amends migrate status`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends migrate status --store postgres://amends@127.0.0.1/amends")]
struct StatusArgs {
    /// The engine's database
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Arguments of `amends migrate up`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends migrate up --store postgres://amends@127.0.0.1/amends --shards 16\n\n\
                        Workers bring their own tables up to date when they start; --participants does so beforehand.")]
struct UpArgs {
    /// The engine's database
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Shards of a new installation, fixed from then on [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    shards: Option<u16>,
    /// The tables of the built-in participants too
    #[arg(long)]
    participants: bool,
    /// Where those are, if not in the engine's database
    #[arg(long, value_name = "URL")]
    participants_store: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: MigrateArgs) -> Result<(), CliError> {
    log::init_plain();
    match args.command {
        MigrateCommand::Status(args) => status(global, args).await,
        MigrateCommand::Up(args) => up(args).await,
    }
}

async fn up(args: UpArgs) -> Result<(), CliError> {
    let flags = Flags::default()
        .set("store.url", "--store", args.store.as_ref())
        .set("engine.shards", "--shards", args.shards)
        .set("worker.store", "--participants-store", args.participants_store.as_ref());
    let settings = config::load(&args.config, flags)?.settings;
    let url = engine_store::url(&settings, "amends migrate up")?;
    for line in engine(&url, settings.engine.shards).await? {
        terminal::out(&format!("{line}\n"))?;
    }
    if args.participants || args.participants_store.is_some() {
        let url = settings.worker.store.as_ref().unwrap_or(&url);
        participants_store::open(url).await?.close().await;
        terminal::out(&format!("participants: up to date in {}\n", redact(url.expose_secret())))?;
    }
    Ok(())
}

/// Brings the engine's tables up to date and says what was done.
pub(crate) async fn engine(url: &SecretString, shards: Option<u16>) -> Result<Vec<String>, CliError> {
    match Place::of(url) {
        Place::Sqlite(path) => {
            let store = match shards {
                Some(shards) => SqliteStore::open(path, shards).await,
                None => SqliteStore::open_as_installed(path).await,
            };
            let store = store.map_err(|error| {
                CliError::new(Exit::Other, format!("cannot make tables in {path}"))
                    .why(error)
                    .next("amends config explain store.url")
            })?;
            let line = format!("engine: up to date, {} shards, in {path}", store.shard_count());
            store.close().await;
            Ok(vec![line])
        }
        #[cfg(feature = "postgres")]
        Place::Postgres(address) => {
            let migrate = || PostgresStore::migrate(address, shards);
            let migrated = crate::patience::until_up("the database", migrate, engine_store::is_down).await;
            let (applied, shards) = migrated.map_err(|error| engine_store::unusable(address, &error))?;
            let done = applied.iter().map(|one| format!("engine: applied {:04} {}", one.version, one.name));
            let end = format!("engine: up to date, {shards} shards, in {}", redact(address));
            let lines: Vec<String> = done.chain([end]).collect();
            lines.iter().for_each(|line| tracing::info!("{line}"));
            Ok(lines)
        }
        #[cfg(not(feature = "postgres"))]
        Place::Postgres(_) => Err(crate::features::without_postgres()),
    }
}

/// A migration as it is shown.
#[derive(Serialize)]
struct Line {
    version: i64,
    name: String,
    state: &'static str,
}

async fn status(global: &Global, args: StatusArgs) -> Result<(), CliError> {
    let flags = Flags::default().set("store.url", "--store", args.store.as_ref());
    let settings = config::load(&args.config, flags)?.settings;
    let url = engine_store::url(&settings, "amends migrate status")?;
    let lines = migrations(&url).await?;
    terminal::out(&match global.output {
        OutputFormat::Json => json::array(lines.iter())?,
        OutputFormat::Jsonl => json::lines(lines.iter())?,
        OutputFormat::Id => lines.iter().map(|line| format!("{:04}\n", line.version)).collect(),
        _ => table(&View::of(global), &lines),
    })?;
    let shown = redact(url.expose_secret());
    if lines.iter().any(|line| line.state == NEWER) {
        return Err(CliError::new(Exit::Refused, "a newer program has migrated this database")
            .why("this one does not know what the newer tables mean")
            .next("run the version that migrated it, or a later one"));
    }
    match lines.iter().filter(|line| line.state == MISSING).count() {
        0 => Ok(()),
        count => Err(CliError::new(Exit::Refused, format!("the database lacks {count} of {} migrations", lines.len()))
            .next(format!("amends migrate up --store {shown}"))),
    }
}

const APPLIED: &str = "applied";
const MISSING: &str = "missing";
const NEWER: &str = "newer than this program";

#[cfg(feature = "postgres")]
impl From<Migration> for Line {
    fn from(migration: Migration) -> Self {
        let Migration { version, name, applied, known } = migration;
        let state = match (applied, known) {
            (_, false) => NEWER,
            (true, true) => APPLIED,
            (false, true) => MISSING,
        };
        Self { version, name, state }
    }
}

async fn migrations(url: &SecretString) -> Result<Vec<Line>, CliError> {
    match Place::of(url) {
        Place::Sqlite(path) => Err(CliError::new(Exit::Usage, format!("{path} is an SQLite file"))
            .why("its tables are brought up to date whenever it is opened")
            .next(format!("amends serve --store {path} …"))),
        #[cfg(feature = "postgres")]
        Place::Postgres(address) => {
            let status = PostgresStore::migration_status(address).await;
            let status = status.map_err(|error| engine_store::unusable(address, &error))?;
            Ok(status.into_iter().map(Line::from).collect())
        }
        #[cfg(not(feature = "postgres"))]
        Place::Postgres(_) => Err(crate::features::without_postgres()),
    }
}

fn table(view: &View, lines: &[Line]) -> String {
    let mut table = Table::new(view, &["MIGRATION", "NAME", "STATE"]);
    for line in lines {
        let tone = if line.state == APPLIED { Tone::Good } else { Tone::Warn };
        table.row(vec![
            Tone::Strong.cell(format!("{:04}", line.version)),
            Tone::Plain.cell(&line.name),
            tone.cell(line.state),
        ]);
    }
    table.render()
}
