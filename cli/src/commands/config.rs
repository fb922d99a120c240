//! `amends config`

use clap::{Args, Subcommand};
use serde_json::json;

use crate::args::{Global, OutputFormat};
use crate::config::{self, ConfigArgs, Flags, keys};
use crate::error::{CliError, Exit};
use crate::output::table::Table;
use crate::output::tone::Tone;
use crate::output::{View, format, json, terminal};

/// Arguments of `amends config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigCommandArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print every value and where it came from; passwords are left out
    Show(ShowArgs),
    /// Explain one key: what it means, where it can be set, what it is now
    Explain(ExplainArgs),
}

/// Arguments of `amends config show`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends config show --config ./amends.toml")]
struct ShowArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Arguments of `amends config explain`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends config explain engine.lease_ttl")]
struct ExplainArgs {
    /// The key, e.g. store.url or participants.payment.courier
    key: String,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: ConfigCommandArgs) -> Result<(), CliError> {
    match args.command {
        ConfigCommand::Show(args) => show(global, &args),
        ConfigCommand::Explain(args) => explain(global, &args),
    }
}

fn show(global: &Global, args: &ShowArgs) -> Result<(), CliError> {
    let loaded = config::load(&args.config, Flags::default())?;
    let text = match global.output {
        OutputFormat::Json => json::array(loaded.entries.iter())?,
        OutputFormat::Jsonl => json::lines(loaded.entries.iter())?,
        OutputFormat::Id => loaded.entries.iter().map(|entry| format!("{}\n", entry.key)).collect(),
        _ => {
            let mut table = Table::new(&View::of(global), &["KEY", "SOURCE", "VALUE"]);
            for entry in &loaded.entries {
                let tone = if entry.source == "default" { Tone::Faint } else { Tone::Plain };
                table.row(vec![
                    Tone::Strong.cell(&entry.key),
                    tone.cell(format::clean(&entry.source)),
                    tone.cell(format::clean(entry.value.as_deref().unwrap_or_default())),
                ]);
            }
            table.render()
        }
    };
    terminal::out(&text)?;
    if loaded.file.is_none() && matches!(global.output, OutputFormat::Table | OutputFormat::Wide) {
        terminal::note("no file was read; --config FILE, ./amends.toml or /etc/amends/amends.toml would be");
    }
    Ok(())
}

fn explain(global: &Global, args: &ExplainArgs) -> Result<(), CliError> {
    let Some(key) = keys::find(&args.key) else {
        let nearest = keys::nearest(&args.key);
        return Err(CliError::new(Exit::NotFound, format!("there is no key {}", format::clean(&args.key)))
            .why(format!("the nearest is {nearest}"))
            .next(format!("amends config explain {nearest}")));
    };
    let loaded = config::load(&args.config, Flags::default())?;
    let now = loaded.entries.iter().find(|entry| entry.key == args.key);
    let value = now.and_then(|entry| entry.value.clone());
    let source = now.map_or_else(|| "default".to_owned(), |entry| entry.source.clone());
    if matches!(global.output, OutputFormat::Json | OutputFormat::Jsonl) {
        let explained = json!({
            "key": args.key, "meaning": key.meaning, "form": key.kind.form(), "default": key.default.text(),
            "environment": key.env, "flag": key.flag, "value": value, "source": source,
        });
        return terminal::out(&json::one(&explained, global.output)?);
    }
    let name = Tone::Strong.paint(format::clean(&args.key));
    let flag = if key.flag.is_empty() { "no flag".to_owned() } else { format!("flag {}", key.flag) };
    let value = match value {
        Some(value) => format!("{} (from: {})", format::clean(&value), format::clean(&source)),
        None => format!("{} (from: default)", key.default.text()),
    };
    terminal::out(&format!(
        "{name}\n  {}\n\n  now          {value}\n  form         {}\n  default      {}\n  set it by    {} in the file · \
         environment {} · {flag}\n",
        key.meaning,
        key.kind.form(),
        key.default.text(),
        args.key,
        key.env,
    ))
}
