//! `amends bus`: the topics of an installation.

use amends_core::record::header;
use amends_engine::courier::SourceRecord;
use amends_engine::courier::kafka::KafkaConfig;
use amends_engine::courier::kafka::admin::{self, BusError, EnsureOptions, TopicReport, TopicState};
use amends_engine::courier::kafka::tail::{self, TailFrom, TopicStatus};
use amends_engine::store::Storage;
use clap::{Args, Subcommand};
use futures::StreamExt as _;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::args::{Global, OutputFormat};
use crate::config::{self, ConfigArgs, Flags, Settings};
use crate::engine_store::{self, EngineStore};
use crate::error::{CliError, Exit};
use crate::output::table::Table;
use crate::output::tone::Tone;
use crate::output::{View, format, json, terminal};
use crate::{bus, installed, log};

/// Records of each partition that `tail` begins with.
const LAST: u16 = 10;

/// Arguments of `amends bus`.
#[derive(Debug, Args)]
pub(crate) struct BusArgs {
    #[command(subcommand)]
    command: BusCommand,
}

#[derive(Debug, Subcommand)]
enum BusCommand {
    /// Make the topics that are missing, compare the others, and record their ids in the database
    Ensure(EnsureArgs),
    /// List the topics, what they hold, and how far behind their readers are
    Topics(TopicsArgs),
    /// Print the records of a topic, one JSON object a line
    Tail(TailArgs),
}

/// Where bus and database are.
#[derive(Debug, Args)]
struct Place {
    /// The brokers, HOST:PORT,…
    #[arg(long, value_name = "BROKERS")]
    bus: Option<String>,
    /// The engine's database
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Arguments of `amends bus ensure`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends bus ensure --bus 127.0.0.1:9092 --store postgres://amends@127.0.0.1/amends")]
struct EnsureArgs {
    #[command(flatten)]
    place: Place,
    /// Partitions of each topic that is made, but that of replies, which has one a shard [default: bus.partitions, 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1024))]
    partitions: Option<i32>,
    /// Copies of each topic that is made [default: the broker's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=15))]
    replication: Option<i32>,
    /// Take a topic that was deleted and made anew in the place of the recorded one: what the old one held is given up,
    /// and commands without an answer are sent again
    #[arg(long)]
    adopt: bool,
}

/// Arguments of `amends bus topics`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends bus topics -o json")]
struct TopicsArgs {
    #[command(flatten)]
    place: Place,
}

/// Arguments of `amends bus tail`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  amends bus tail amends.replies -f\n  amends bus tail order_created --from-beginning --limit 5"
)]
struct TailArgs {
    /// The topic
    topic: String,
    /// Go on as records come
    #[arg(short, long)]
    follow: bool,
    /// Begin with the oldest record instead of the last few of each partition
    #[arg(long)]
    from_beginning: bool,
    /// Stop after so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// The brokers, HOST:PORT,…
    #[arg(long, value_name = "BROKERS")]
    bus: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: BusArgs) -> Result<(), CliError> {
    log::init_plain();
    match args.command {
        BusCommand::Ensure(args) => ensure(global, args).await,
        BusCommand::Topics(args) => topics(global, args).await,
        BusCommand::Tail(args) => tail(args).await,
    }
}

/// Bus and database, open.
struct Opened {
    settings: Settings,
    store: EngineStore,
    storage: Storage,
    config: KafkaConfig,
}

impl Place {
    async fn open(&self, command: &str) -> Result<Opened, CliError> {
        let flags = Flags::default().set("bus.url", "--bus", self.bus.as_ref());
        let settings = config::load(&self.config, flags.set("store.url", "--store", self.store.as_ref()))?.settings;
        // Before the database is waited for.
        bus::config(&settings, 1, installed::participants())?;
        let url: SecretString = engine_store::url(&settings, command)?;
        let store = EngineStore::open(&url, &settings).await?;
        let config = bus::config(&settings, store.shards(), installed::participants())?;
        Ok(Opened { settings, storage: store.storage(), store, config })
    }
}

async fn ensure(global: &Global, args: EnsureArgs) -> Result<(), CliError> {
    let Opened { settings, store, storage, config } = args.place.open("amends bus ensure").await?;
    let replication = args.replication.or(settings.bus.replication);
    let partitions = args.partitions.unwrap_or(settings.bus.partitions);
    let options = EnsureOptions { partitions, replication, adopt: args.adopt };
    let reports = bus::ensure(&config, &*storage.topics, &installed::definitions(), options).await;
    store.close().await;
    let reports = reports?;
    let lines: Vec<Value> = reports.iter().map(report_json).collect();
    terminal::out(&match global.output {
        OutputFormat::Json => json::array(lines.iter())?,
        OutputFormat::Jsonl => json::lines(lines.iter())?,
        OutputFormat::Id => reports.iter().map(|report| format!("{}\n", report.name)).collect(),
        _ => report_table(&View::of(global), &reports),
    })?;
    bus::differing(&reports).map_or(Ok(()), Err)
}

fn report_json(report: &TopicReport) -> Value {
    json!({ "topic": report.name, "state": report.state.to_string(), "warnings": report.warnings })
}

fn report_table(view: &View, reports: &[TopicReport]) -> String {
    let mut table = Table::new(view, &["TOPIC", "STATE", "REMARKS"]);
    for report in reports {
        let tone = match report.state {
            TopicState::Created | TopicState::Adopted => Tone::Good,
            TopicState::Unchanged => Tone::Plain,
            TopicState::Differs { .. } => Tone::Bad,
        };
        let remarks = format::clean(&report.warnings.join("; "));
        table.row(vec![
            Tone::Strong.cell(&report.name),
            tone.cell(format::clean(&report.state.to_string())),
            Tone::Warn.cell(remarks),
        ]);
    }
    table.render()
}

async fn topics(global: &Global, args: TopicsArgs) -> Result<(), CliError> {
    let Opened { store, storage, config, .. } = args.place.open("amends bus topics").await?;
    let recorded = storage.topics.topics().await;
    store.close().await;
    let recorded = recorded.map_err(|error| {
        CliError::new(Exit::Unreachable, "the recorded topics cannot be read").why(error).next("amends doctor")
    })?;
    let wanted = admin::wanted(&config, &installed::definitions());
    let names: Vec<String> = wanted.into_iter().map(|topic| topic.name).collect();
    let found = tail::topics(&config, &names).await.map_err(|error| bus::unusable(&config, &error))?;
    let state = |topic: &TopicStatus| {
        let row = recorded.iter().find(|row| row.name == topic.name);
        match (row, topic.partitions.is_empty()) {
            (None, true) => "missing",
            (Some(_), true) => "deleted",
            (None, false) => "not recorded",
            (Some(row), false) if topic.id.is_some_and(|id| id != row.topic_id && !row.topic_id.is_nil()) => {
                "made anew"
            }
            (Some(_), false) => "ok",
        }
    };
    let lines: Vec<Value> = found.iter().map(|topic| topic_json(topic, state(topic))).collect();
    terminal::out(&match global.output {
        OutputFormat::Json => json::array(lines.iter())?,
        OutputFormat::Jsonl => json::lines(lines.iter())?,
        OutputFormat::Id => names.iter().map(|name| format!("{name}\n")).collect(),
        _ => {
            let header = ["TOPIC", "PARTITIONS", "REPLICATION", "RECORDS", "LAG", "STATE"];
            let mut table = Table::new(&View::of(global), &header);
            for topic in &found {
                let state = state(topic);
                table.row(vec![
                    Tone::Strong.cell(&topic.name),
                    Tone::Plain.cell(topic.partitions.len()),
                    Tone::Plain.cell(topic.replication),
                    Tone::Plain.cell(records(topic)),
                    Tone::Plain.cell(lag(topic).map_or(String::new(), |lag| lag.to_string())),
                    if state == "ok" { Tone::Good } else { Tone::Bad }.cell(state),
                ]);
            }
            table.render()
        }
    })
}

fn topic_json(topic: &TopicStatus, state: &str) -> Value {
    json!({
        "topic": topic.name, "id": topic.id, "partitions": topic.partitions.len(), "replication": topic.replication,
        "records": records(topic), "group": topic.group, "lag": lag(topic), "state": state,
    })
}

fn records(topic: &TopicStatus) -> i64 {
    topic.partitions.iter().map(|partition| partition.high - partition.low).sum()
}

/// Records that the readers have not taken; those of a partition whose reader has said nothing count all.
fn lag(topic: &TopicStatus) -> Option<i64> {
    topic.group.as_ref()?;
    let behind = topic.partitions.iter().map(|partition| partition.lag().unwrap_or(partition.high - partition.low));
    Some(behind.sum())
}

async fn tail(args: TailArgs) -> Result<(), CliError> {
    let settings = config::load(&args.config, Flags::default().set("bus.url", "--bus", args.bus.as_ref()))?.settings;
    let config = bus::config(&settings, 1, installed::participants())?;
    let from = if args.from_beginning { TailFrom::Beginning } else { TailFrom::End(LAST) };
    let unusable = |error: BusError| bus::unusable(&config, &error);
    let found = tail::topics(&config, std::slice::from_ref(&args.topic)).await.map_err(unusable)?;
    if found.iter().all(|topic| topic.partitions.is_empty()) {
        return Err(CliError::new(Exit::NotFound, format!("there is no topic {}", format::clean(&args.topic)))
            .next("amends bus topics"));
    }
    let records = tail::tail(&config, &args.topic, from, args.follow).await.map_err(unusable)?;
    let mut records =
        std::pin::pin!(records.take(usize::try_from(args.limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)));
    while let Some(record) = records.next().await {
        let record = record.map_err(unusable)?;
        terminal::out(&format!("{}\n", record_json(&record)))?;
    }
    Ok(())
}

/// The headers that matter, by their plain names, and the value as JSON where it is JSON.
fn record_json(record: &SourceRecord) -> Value {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut line = json!({ "partition": record.partition, "offset": record.offset });
    for (name, shown) in SHOWN {
        let found =
            record.headers.iter().find(|header| header.name == *name).and_then(|header| header.value.as_deref());
        if let Some(value) = found {
            line[*shown] = Value::String(text(value));
        }
    }
    let value = record.value.as_deref();
    line["value"] =
        value.map_or(Value::Null, |value| serde_json::from_slice(value).unwrap_or_else(|_| Value::String(text(value))));
    line
}

/// Header and the member that it becomes.
const SHOWN: &[(&str, &str)] = &[
    (header::TIME, "time"),
    (header::SUBJECT, "saga"),
    (header::TYPE, "type"),
    (header::STEP, "step"),
    (header::OPERATION, "operation"),
    (header::ATTEMPT, "attempt"),
    (header::OUTCOME, "outcome"),
    (header::ERROR_CODE, "error_code"),
    (header::ERROR_MESSAGE, "error_message"),
];

#[cfg(test)]
mod tests {
    use amends_engine::courier::SourceHeader;

    use super::*;

    #[test]
    fn a_record_shows_what_matters_and_its_value_as_it_is() {
        let header = |name: &str, value: &str| SourceHeader { name: name.to_owned(), value: Some(value.into()) };
        let mut record = SourceRecord {
            topic: "amends.replies".to_owned(),
            partition: 3,
            offset: 41,
            timestamp: 0,
            key: None,
            value: Some(br#"{"amount":1.50}"#.to_vec()),
            headers: vec![header("ce_subject", "s1"), header("traceparent", "t"), header("amends-outcome", "done")],
        };
        let expected =
            json!({ "partition": 3, "offset": 41, "saga": "s1", "outcome": "done", "value": {"amount": 1.5} });
        assert_eq!(record_json(&record), expected);
        record.value = Some(b"\xffno".to_vec());
        assert_eq!(record_json(&record)["value"], json!("\u{fffd}no"));
    }
}
