//! Types of saga: a line each, or one with its steps.

use amends_proto::amends::v1::SagaDefinition;

use super::table::Table;
use super::tone::Tone;
use super::{View, format};

/// Draws the types.
pub(crate) fn render(view: &View, definitions: &[SagaDefinition]) -> String {
    let mut table = Table::new(view, &["TYPE", "VERSION", "STEPS", "DEADLINE", "TOPICS"]);
    for definition in definitions {
        table.row(vec![
            Tone::Strong.cell(format::clean(&definition.r#type)),
            Tone::Plain.cell(definition.version),
            Tone::Plain.cell(definition.steps.len()),
            Tone::Plain.cell(format::clean(&definition.deadline)),
            Tone::Plain.cell(format::clean(&definition.topics.join(", "))),
        ]);
    }
    table.render()
}

/// Draws one type with its steps.
pub(crate) fn details(view: &View, definition: &SagaDefinition) -> String {
    let mut header = vec![Tone::Strong.paint(title(definition))];
    if !definition.deadline.is_empty() {
        header.push(format!("deadline {}", format::clean(&definition.deadline)));
    }
    header.push(Tone::Faint.paint(format!("checksum {}", format::clean(&definition.checksum))));
    let mut text = format!("{}\n", header.join(" · "));
    if !definition.topics.is_empty() {
        text += &format!("publishes {}\n", format::clean(&definition.topics.join(", ")));
    }
    text + "\n" + &steps(view, definition)
}

/// Type and version, as people say it.
pub(crate) fn title(definition: &SagaDefinition) -> String {
    format!("{} version {}", format::clean(&definition.r#type), definition.version)
}

fn steps(view: &View, definition: &SagaDefinition) -> String {
    let mut table = Table::new(view, &["STEP", "COMMAND", "PARTICIPANT", "KIND", "ON", "TIMEOUT", "ATT", "AFTER"]);
    for step in &definition.steps {
        table.row(vec![
            Tone::Strong.cell(format::clean(&step.name)),
            Tone::Plain.cell(format::clean(&step.command)),
            Tone::Plain.cell(format::clean(&step.participant)),
            Tone::Plain.cell(format::clean(&step.kind)),
            Tone::Plain.cell(format::clean(&step.on)),
            Tone::Plain.cell(format::clean(&step.timeout)),
            Tone::Plain.cell(step.attempts),
            Tone::Plain.cell(format::clean(&step.after.join(", "))),
        ]);
    }
    table.render()
}
