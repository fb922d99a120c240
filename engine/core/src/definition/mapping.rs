//! Reads what a step's input or a domain event is built from: pointers into what the saga knows, and literals.

use std::fmt::Write;

use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::read::{Problems, Value};
use super::{Mapping, Pointer, Root, Source, StepIndex};

/// Words that mean something else than a step in a pointer or trigger, so no step may have them as its name.
pub(super) const RESERVED: [&str; 3] = ["input", "failure", "saga"];

/// Parts of `/failure`.
const FAILURE_PARTS: [&str; 4] = ["/code", "/message", "/step", "/kind"];

/// Parts of `/saga`.
const SAGA_PARTS: [&str; 3] = ["/id", "/type", "/key"];

/// Deepest nesting of a literal: far below the 128 levels at which a participant's JSON reader gives up.
const LITERAL_DEPTH_MAX: usize = 32;

/// What the pointers of one mapping may name.
pub(super) struct Scope<'a> {
    /// The names of all steps; `None` where a name is missing.
    pub(super) names: &'a [Option<&'a str>],
    /// One bit per step whose output is there when the mapping is used.
    pub(super) outputs: u64,
    /// Whether there may be a failure to tell of.
    pub(super) failure: bool,
    /// Whose mapping it is, as the messages put it.
    pub(super) owner: &'a str,
}

/// Reads a mapping. Members are sorted by name, so that their order in the source cannot change a payload's digest.
pub(super) fn read(table: &DeTable<'_>, scope: &Scope<'_>, problems: &Problems) -> Mapping {
    let mut members = Vec::with_capacity(table.len());
    for (name, value) in table.iter() {
        let source = match value.get_ref().as_str() {
            Some(text) if text.starts_with('/') => pointer(text, scope).map(Source::Pointer),
            _ => literal(value).map(Source::Literal),
        };
        match source {
            Ok(source) => members.push((name.get_ref().clone().into_owned(), source)),
            Err(reason) => problems.report(value.span().start, format!("{}: {reason}", scope.owner)),
        }
    }
    members.sort_by(|one, other| one.0.cmp(&other.0));
    Mapping(members)
}

fn pointer(text: &str, scope: &Scope<'_>) -> Result<Pointer, String> {
    let (root, path) = text[1..].find('/').map_or((&text[1..], ""), |slash| text[1..].split_at(slash));
    if path.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
        return Err(format!("in {text:?} a `~` must be written `~0` (and a `/` within a name `~1`)"));
    }
    let root = match root {
        "input" => Root::Input,
        "failure" if !scope.failure => {
            return Err(format!(
                "{text:?}: there is no failure to name on the way forward; only steps with on = \"compensated\" and \
                 events may"
            ));
        }
        "failure" => part(text, path, &FAILURE_PARTS).map(|()| Root::Failure)?,
        "saga" => part(text, path, &SAGA_PARTS).map(|()| Root::Saga)?,
        step => Root::Step(step_output(text, step, scope)?),
    };
    Ok(Pointer { root, path: path.to_owned() })
}

fn part(text: &str, path: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&path) {
        return Ok(());
    }
    let root = text.strip_suffix(path).unwrap_or(text);
    let known = known.iter().map(|part| format!("{root}{part}")).collect::<Vec<_>>().join(", ");
    Err(format!("{text:?} names nothing; there are {known}"))
}

fn step_output(text: &str, name: &str, scope: &Scope<'_>) -> Result<StepIndex, String> {
    let Some(index) = scope.names.iter().position(|step| *step == Some(name)) else {
        return Err(format!("{text:?} begins with {name:?}, which is neither a step nor input, failure or saga"));
    };
    // Beyond the widest set there is an error already, about the number of steps.
    if scope.outputs.checked_shr(index as u32).is_some_and(|rest| rest & 1 == 0) {
        return Err(format!("{text:?} needs the output of step `{name}`, which is not sure to have finished by then"));
    }
    Ok(StepIndex(index))
}

fn literal(value: &Value<'_>) -> Result<Box<RawValue>, String> {
    let mut text = String::new();
    write_json(value.get_ref(), 0, &mut text)?;
    RawValue::from_string(text).map_err(|_| "this value has no counterpart in JSON".to_owned())
}

fn write_json(value: &DeValue<'_>, depth: usize, out: &mut String) -> Result<(), String> {
    if depth > LITERAL_DEPTH_MAX {
        return Err(format!("a literal is nested deeper than {LITERAL_DEPTH_MAX} levels"));
    }
    match value {
        DeValue::String(text) if depth > 0 && text.starts_with('/') => {
            return Err(format!(
                "{text:?}: a pointer must be a member's whole value, it cannot stand inside a literal"
            ));
        }
        DeValue::String(text) => write_text(text, out),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            let number = number.map_err(|_| format!("{integer} does not fit into 64 bits"))?;
            // Writing to a String cannot fail.
            let _ = write!(out, "{number}");
        }
        // The digits pass through as they are written; a sign that JSON does not know is dropped.
        DeValue::Float(float) => match float.as_str().trim_start_matches('+') {
            text if text.contains(['n', 'i']) => return Err(format!("{text} has no counterpart in JSON")),
            text => out.push_str(text),
        },
        DeValue::Boolean(flag) => out.push_str(if *flag { "true" } else { "false" }),
        DeValue::Datetime(moment) => write_text(&moment.to_string(), out),
        DeValue::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                write_json(item.get_ref(), depth + 1, out)?;
            }
            out.push(']');
        }
        DeValue::Table(table) => write_object(table, depth, out)?,
    }
    Ok(())
}

fn write_object(table: &DeTable<'_>, depth: usize, out: &mut String) -> Result<(), String> {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_by(|one, other| one.0.get_ref().cmp(other.0.get_ref()));
    out.push('{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        write_text(name.get_ref(), out);
        out.push(':');
        write_json(value.get_ref(), depth + 1, out)?;
    }
    out.push('}');
    Ok(())
}

fn write_text(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}
