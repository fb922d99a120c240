//! `amends definition`: looks at definitions in files; needs no engine.

use std::path::PathBuf;

use amends_core::{Definition, DefinitionError, On, StepKind};
use amends_proto::amends::v1::{CheckDefinitionResponse, DefinitionProblem, SagaDefinition, StepDefinition};
use clap::{Args, Subcommand};

use crate::args::{Global, OutputFormat};
use crate::error::{CliError, Exit};
use crate::output::tone::Tone;
use crate::output::{View, json, terminal, types};

/// Arguments of `amends definition`.
#[derive(Debug, Args)]
pub(crate) struct DefinitionArgs {
    #[command(subcommand)]
    command: DefinitionCommand,
}

#[derive(Debug, Subcommand)]
enum DefinitionCommand {
    /// Check a definition: print its steps, or everything that is wrong with it
    Check(CheckArgs),
}

/// Arguments of `amends definition check`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends definition check order.toml")]
struct CheckArgs {
    /// The definition, in TOML
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Runs the command.
pub(crate) fn run(global: &Global, args: DefinitionArgs) -> Result<(), CliError> {
    let DefinitionCommand::Check(CheckArgs { file }) = args.command;
    let name = file.display().to_string();
    let source = std::fs::read_to_string(&file).map_err(|error| {
        CliError::new(Exit::Usage, format!("{name} cannot be read")).why(error).next("amends definition check FILE")
    })?;
    let result = Definition::parse(&source);
    let count = result.as_ref().map_or_else(Vec::len, |_| 0);
    terminal::out(&match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::one(&answer(&result), global.output)?,
        _ => draw(&View::of(global), &name, &source, &result),
    })?;
    match result {
        Ok(_) => Ok(()),
        Err(_) => Err(CliError::new(Exit::Other, format!("{name} is not a definition that can be used"))
            .why(if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") })
            .next(format!("mend it, then: amends definition check {name}"))),
    }
}

/// A summary, or a line for each problem with the line of the file under it.
fn draw(view: &View, name: &str, source: &str, result: &Result<Definition, Vec<DefinitionError>>) -> String {
    let problems = match result {
        Ok(definition) => return types::details(view, &to_proto(definition)),
        Err(problems) => problems,
    };
    let draw = |problem: &DefinitionError| {
        let place = Tone::Strong.paint(format!("{name}:{}", problem.line));
        let quoted = problem.line.checked_sub(1).and_then(|at| source.lines().nth(at)).map(str::trim);
        let quoted = quoted.filter(|line| !line.is_empty());
        let quoted = quoted.map(|line| format!("    {}\n", Tone::Faint.paint(line))).unwrap_or_default();
        format!("{place}: {}\n{quoted}", Tone::Bad.paint(&problem.message))
    };
    problems.iter().map(draw).collect()
}

/// The same answer that the engine's check gives.
fn answer(result: &Result<Definition, Vec<DefinitionError>>) -> CheckDefinitionResponse {
    let problem = |error: &DefinitionError| DefinitionProblem {
        line: u32::try_from(error.line).unwrap_or(u32::MAX),
        message: error.message.clone(),
    };
    match result {
        Ok(definition) => CheckDefinitionResponse { definition: Some(to_proto(definition)), problems: Vec::new() },
        Err(problems) => CheckDefinitionResponse { definition: None, problems: problems.iter().map(problem).collect() },
    }
}

fn to_proto(definition: &Definition) -> SagaDefinition {
    let step = |step: &amends_core::StepDefinition| StepDefinition {
        name: step.name.to_string(),
        command: step.command.clone(),
        participant: step.participant.clone(),
        kind: kind(step.kind).to_owned(),
        on: on(step.on).to_owned(),
        after: step.after.iter().map(|after| definition.step(*after).name.to_string()).collect(),
        timeout: step.timeout.to_string(),
        attempts: step.retry.attempts,
    };
    let mut topics: Vec<String> = definition.events.iter().map(|event| event.topic.clone()).collect();
    topics.sort_unstable();
    topics.dedup();
    SagaDefinition {
        r#type: definition.saga_type.to_string(),
        version: definition.version,
        checksum: definition.checksum.to_string(),
        source: definition.source.to_string(),
        steps: definition.steps.iter().map(step).collect(),
        topics,
        deadline: definition.deadline.map(|deadline| deadline.to_string()).unwrap_or_default(),
    }
}

const fn kind(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Compensatable => "compensatable",
        StepKind::Pivot => "pivot",
        StepKind::Retriable => "retriable",
    }
}

const fn on(on: On) -> &'static str {
    match on {
        On::Forward => "forward",
        On::Compensated => "compensated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    #[test]
    fn problems_are_printed_with_their_lines() {
        let problems = Err(vec![
            DefinitionError { line: 2, message: "a version is a whole number from 1".to_owned() },
            DefinitionError { line: 9, message: "there is no step".to_owned() },
        ]);
        let source = "saga = \"order\"\nversion = 0\n";
        let text = draw(&samples::view(), "order.toml", source, &problems);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "order.toml:2: a version is a whole number from 1\n    version = 0\norder.toml:9: there is no step\n"
        );
    }
}
