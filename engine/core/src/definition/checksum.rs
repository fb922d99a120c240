//! Digests what a definition means, so that a change under an old version is noticed and a new comment is not.
//!
//! The rendering below is kept by every installation as a digest: changing it makes all deployed definitions look
//! changed. A key added to the format later must therefore leave no trace while it has its default.

use std::fmt::Write;

use super::{Definition, Exhaustion, Mapping, On, Root, Source, StepDefinition, StepIndex, StepKind, Trigger};

impl Definition {
    /// Sets the checksum.
    pub(super) fn sealed(mut self) -> Self {
        self.checksum = crate::ids::digest(meaning(&self).as_bytes());
        self
    }
}

/// One fact a line; free text is quoted, so that no text can pass for a fact.
fn meaning(definition: &Definition) -> String {
    let mut out = String::with_capacity(1024);
    let deadline = definition.deadline.map(|span| span.0);
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "saga {} version {} deadline {deadline:?}", definition.saga_type, definition.version);
    for step in &definition.steps {
        describe_step(definition, step, &mut out);
    }
    for rule in &definition.events {
        let _ = writeln!(out, "event {} topic {}", trigger(definition, rule.on), rule.topic);
        describe_mapping(definition, rule.payload.as_ref(), &mut out);
    }
    out
}

fn describe_step(definition: &Definition, step: &StepDefinition, out: &mut String) {
    let kind = match step.kind {
        StepKind::Compensatable => "compensatable",
        StepKind::Pivot => "pivot",
        StepKind::Retriable => "retriable",
    };
    let on = match step.on {
        On::Forward => "forward",
        On::Compensated => "compensated",
    };
    let exhausted = match step.exhausted {
        Exhaustion::Park => "park",
        Exhaustion::Skip => "skip",
    };
    let mut after: Vec<_> = step.after.iter().map(|index| name(definition, *index)).collect();
    after.sort_unstable();
    let _ = writeln!(out, "step {} command {} participant {}", step.name, step.command, step.participant);
    let _ = writeln!(out, "{kind} {on} after {} timeout {} {exhausted}", after.join(","), step.timeout.0);
    for retry in [&step.retry, &step.compensation_retry] {
        let _ = writeln!(out, "retry {} {} {} {}", retry.attempts, retry.initial.0, retry.factor, retry.max.0);
    }
    describe_mapping(definition, step.input.as_ref(), out);
}

fn describe_mapping(definition: &Definition, mapping: Option<&Mapping>, out: &mut String) {
    let Some(mapping) = mapping else {
        out.push_str("whole input\n");
        return;
    };
    for (member, source) in &mapping.0 {
        let _ = match source {
            Source::Literal(value) => writeln!(out, "member {} literal {}", quoted(member), value.get()),
            Source::Pointer(pointer) => {
                let root = match pointer.root {
                    Root::Input => "input",
                    Root::Failure => "failure",
                    Root::Saga => "saga",
                    Root::Step(index) => name(definition, index),
                };
                writeln!(out, "member {} pointer {root} {}", quoted(member), quoted(&pointer.path))
            }
        };
    }
    out.push_str("end\n");
}

fn trigger(definition: &Definition, on: Trigger) -> String {
    match on {
        Trigger::StepSucceeded(step) => format!("{}.succeeded", name(definition, step)),
        Trigger::StepRefused(step) => format!("{}.refused", name(definition, step)),
        Trigger::StepCompensated(step) => format!("{}.compensated", name(definition, step)),
        Trigger::SagaStarted => "saga.started".to_owned(),
        Trigger::SagaCompleted => "saga.completed".to_owned(),
        Trigger::SagaCompensated => "saga.compensated".to_owned(),
        Trigger::SagaParked => "saga.parked".to_owned(),
    }
}

fn name(definition: &Definition, index: StepIndex) -> &str {
    definition.step(index).name.as_str()
}

fn quoted(text: &str) -> serde_json::Value {
    serde_json::Value::from(text)
}
