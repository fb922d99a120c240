//! `amends doctor`: looks at everything that an installation consists of, and says what to do about what is not well.

#[cfg(feature = "kafka")]
mod bus;
mod server;
mod store;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::args::{Global, OutputFormat};
use crate::config::{self, ConfigArgs, Flags, Settings};
use crate::error::{CliError, Exit};
use crate::output::tone::Tone;
use crate::output::{format, json, terminal};

/// How long one part may take to answer; longer is not well either.
const PATIENCE: Duration = Duration::from_secs(5);

/// Arguments of `amends doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends doctor --store postgres://amends@127.0.0.1/amends --bus 127.0.0.1:9092\n\n\
                        Looks at what is configured, and at the engine of --server. Ends with 1 if anything is wrong.")]
pub(crate) struct DoctorArgs {
    /// The engine's database
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// The brokers, HOST:PORT,…
    #[arg(long, value_name = "BROKERS")]
    bus: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Failure,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Of which part.
    area: &'static str,
    state: State,
    what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The findings so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, area: &'static str, what: impl Into<String>) {
        self.0.push(Finding { area, state: State::Ok, what: what.into(), next: None });
    }

    fn warn(&mut self, area: &'static str, what: impl Into<String>, next: impl Into<String>) {
        self.0.push(Finding { area, state: State::Warning, what: what.into(), next: Some(next.into()) });
    }

    fn fail(&mut self, area: &'static str, what: impl Into<String>, next: impl Into<String>) {
        self.0.push(Finding { area, state: State::Failure, what: what.into(), next: Some(next.into()) });
    }

    /// A failure as the other commands would report it.
    fn error(&mut self, area: &'static str, error: &CliError) {
        let (what, why, next) = error.parts();
        let what = why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"));
        self.fail(area, what, next.unwrap_or("amends doctor --help"));
    }

    fn is_healthy(&self) -> bool {
        self.0.iter().all(|finding| finding.state != State::Failure)
    }
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: DoctorArgs) -> Result<(), CliError> {
    let flags = Flags::default().set("store.url", "--store", args.store.as_ref());
    let loaded = config::load(&args.config, flags.set("bus.url", "--bus", args.bus.as_ref()));
    let mut findings = Findings::default();
    match loaded {
        Err(error) => findings.error("config", &error),
        Ok(loaded) => {
            let file = loaded.file.as_ref().map(|file| file.display().to_string());
            findings.ok("config", file.unwrap_or_else(|| "no file; environment, flags and defaults".to_owned()));
            parts(&loaded.settings, &mut findings).await;
        }
    }
    server::look(global, &mut findings).await;
    print(global, &findings)?;
    let bad = findings.0.iter().filter(|finding| finding.state == State::Failure).count();
    match bad {
        0 => Ok(()),
        1 => Err(failed("one thing is wrong")),
        bad => Err(failed(&format!("{bad} things are wrong"))),
    }
}

fn failed(what: &str) -> CliError {
    CliError::new(Exit::Other, what).next("do what stands behind each ✗, the first one first")
}

async fn parts(settings: &Settings, findings: &mut Findings) {
    let topics = match &settings.store.url {
        Some(url) => store::look(url, settings, findings).await,
        None => None,
    };
    #[cfg(feature = "kafka")]
    if settings.bus.url.is_some() {
        bus::look(settings, topics, findings).await;
    }
    #[cfg(not(feature = "kafka"))]
    drop(topics);
    server::participants_http(settings, findings).await;
}

fn print(global: &Global, findings: &Findings) -> Result<(), CliError> {
    terminal::out(&match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => {
            let report = serde_json::json!({ "healthy": findings.is_healthy(), "checks": findings.0 });
            json::one(&report, global.output)?
        }
        _ => render(findings),
    })
}

fn render(findings: &Findings) -> String {
    let width = findings.0.iter().map(|finding| finding.area.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { area, state, what, next } in &findings.0 {
        let mark = match state {
            State::Ok => Tone::Good.paint("✓"),
            State::Warning => Tone::Warn.paint("!"),
            State::Failure => Tone::Bad.paint("✗"),
        };
        text += &format!("{mark} {area:width$}  {}\n", format::clean(what));
        if let Some(next) = next {
            text += &format!("  {:width$}  {}\n", "", Tone::Faint.paint(format!("→ {}", format::clean(next))));
        }
    }
    text
}

/// Says how many there are of something.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_stands_above_what_to_do_about_it() {
        let mut findings = Findings::default();
        findings.ok("config", "no file");
        findings.warn("bus", "one copy of each topic", "amends bus ensure --replication 3");
        assert!(findings.is_healthy());
        findings.fail("store", "it lacks 1 of 3 migrations", "amends migrate up");
        assert!(!findings.is_healthy());
        let expected = "\
✓ config  no file
! bus     one copy of each topic
          → amends bus ensure --replication 3
✗ store   it lacks 1 of 3 migrations
          → amends migrate up
";
        assert_eq!(anstream::adapter::strip_str(&render(&findings)).to_string(), expected);
    }
}
