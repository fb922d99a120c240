//! TOML in, definition or all the reasons against it out.

use std::ops::RangeInclusive;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeTable;

use super::check::{self, Node, Order};
use super::mapping::{self, RESERVED, Scope};
use super::read::{Problems, Section, line_of};
use super::word;
use super::{
    Definition, DefinitionError, EventRule, Exhaustion, On, RetryPolicy, StepDefinition, StepIndex, StepKind, Trigger,
};
use crate::ids::{SagaType, StepName};
use crate::time::Millis;

const TOP_KEYS: [&str; 5] = ["saga", "version", "deadline", "step", "event"];
const STEP_KEYS: [&str; 11] = [
    "name",
    "command",
    "participant",
    "kind",
    "on",
    "after",
    "timeout",
    "retry",
    "compensation_retry",
    "on_exhausted",
    "input",
];
const RETRY_KEYS: [&str; 4] = ["attempts", "initial", "factor", "max"];
const EVENT_KEYS: [&str; 3] = ["on", "topic", "payload"];

const KINDS: [(&str, StepKind); 3] =
    [("compensatable", StepKind::Compensatable), ("pivot", StepKind::Pivot), ("retriable", StepKind::Retriable)];
const ONS: [(&str, On); 1] = [("compensated", On::Compensated)];
const EXHAUSTIONS: [(&str, Exhaustion); 2] = [("park", Exhaustion::Park), ("skip", Exhaustion::Skip)];

/// Versions are kept in signed 32-bit columns.
const VERSIONS: RangeInclusive<u32> = 1..=i32::MAX as u32;
/// An attempt that takes longer than a day is not an attempt but a wait; model it as two steps.
const TIMEOUTS: RangeInclusive<Millis> = Millis(1)..=Millis(24 * HOUR_MS);
/// A year: keeps every due time within what stores and people can write as a date.
const DEADLINES: RangeInclusive<Millis> = Millis(1)..=Millis(366 * 24 * HOUR_MS);
/// As for deadlines; no wait at all is fine.
const WAITS: RangeInclusive<Millis> = Millis(0)..=Millis(366 * 24 * HOUR_MS);
/// More attempts than this are an outage that a person should look at.
const ATTEMPTS: RangeInclusive<u32> = 1..=1000;
const HOUR_MS: u64 = 3_600_000;

const TIMEOUT_DEFAULT: Millis = Millis(5_000);
const RETRY_DEFAULT: RetryPolicy = RetryPolicy { attempts: 5, initial: Millis(100), factor: 2.0, max: Millis(10_000) };

/// Reads and checks a definition.
pub(super) fn parse(source: &str) -> Result<Definition, Vec<DefinitionError>> {
    let problems = Problems::default();
    let (document, errors) = DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        // What can be read of a broken file would only give misleading follow-ups.
        for error in errors {
            let at = error.span().map_or(source.len(), |span| span.start);
            problems.report(at, format!("not TOML: {}", error.message()));
        }
        return Err(problems.in_lines(source));
    }
    let top = Section::new(document.get_ref(), 0, &TOP_KEYS, &problems);
    match definition(top, source, &problems) {
        Some(definition) if problems.is_empty() => Ok(definition),
        _ => Err(problems.in_lines(source)),
    }
}

/// `None` only if a problem was reported; the definition is good only if none was.
fn definition(top: Section<'_>, source: &str, problems: &Problems) -> Option<Definition> {
    top.require("saga", "name the type, for example saga = \"order\"");
    top.require("version", "count from version = 1");
    let saga_type = top.parsed("saga", |text| SagaType::new(text));
    let version = top.whole("version", VERSIONS);
    let deadline = top.span("deadline", DEADLINES);
    let drafts: Vec<_> = top.sections("step", &STEP_KEYS).into_iter().map(|step| read_step(step, problems)).collect();
    if !drafts.iter().any(|draft| draft.node.on == On::Forward) {
        problems.report(top.place("step"), "there is no step on the way forward; write at least one [[step]]");
    }
    let (nodes, bodies): (Vec<_>, Vec<_>) = drafts.into_iter().map(|draft| (draft.node, draft.body)).unzip();
    names(&nodes, source, problems);
    let order = check::order(&nodes, source, problems);
    let events = events(top, &nodes, &order, source, problems);
    let steps: Vec<_> = bodies
        .into_iter()
        .enumerate()
        .map(|(index, body)| finish_step(index, body, &nodes, &order, problems))
        .collect();
    Definition {
        saga_type: saga_type?,
        version: version?,
        checksum: uuid::Uuid::nil(),
        source: Arc::from(source),
        deadline,
        steps: steps.into_iter().collect::<Option<_>>()?,
        events,
    }
    .sealed()
    .into()
}

/// A step as far as it can be read alone.
struct Draft<'t> {
    node: Node<'t>,
    body: Body<'t>,
}

/// What does not concern the order; parts that could not be read are `None`.
struct Body<'t> {
    command: Option<String>,
    participant: Option<String>,
    timeout: Millis,
    retry: RetryPolicy,
    compensation_retry: RetryPolicy,
    exhausted: Exhaustion,
    input: Option<&'t DeTable<'t>>,
}

fn read_step<'t>(section: Section<'t>, problems: &Problems) -> Draft<'t> {
    section.require("name", "every step has one, for example name = \"charge_payment\"");
    section.require("command", "write \"participant.verb\", for example command = \"payment.charge\"");
    section.require("kind", "write kind = \"compensatable\", \"pivot\" or \"retriable\"");
    let on = section.choice("on", &ONS).map_or(On::Forward, Spanned::into_inner);
    let node = Node {
        at: section.at,
        name: section.text("name"),
        kind: section.choice("kind", &KINDS),
        on,
        after: section.texts("after"),
    };
    let command = section.parsed("command", word::command);
    let owner = command.as_ref().and_then(|command| command.split('.').next()).map(str::to_owned);
    let retry = retry(section, "retry", RETRY_DEFAULT);
    let exhausted = exhaustion(section, &node, problems);
    let body = Body {
        participant: if section.get("participant").is_some() {
            section.parsed("participant", word::participant)
        } else {
            owner
        },
        command,
        timeout: section.span("timeout", TIMEOUTS).unwrap_or(TIMEOUT_DEFAULT),
        retry,
        compensation_retry: self::retry(section, "compensation_retry", retry),
        exhausted,
        input: section.table("input"),
    };
    Draft { node, body }
}

fn retry(section: Section<'_>, key: &str, base: RetryPolicy) -> RetryPolicy {
    let Some(written) = section.section(key, &RETRY_KEYS) else { return base };
    RetryPolicy {
        attempts: written.whole("attempts", ATTEMPTS).unwrap_or(base.attempts),
        initial: written.span("initial", WAITS).unwrap_or(base.initial),
        factor: written.number("factor", 1.0).unwrap_or(base.factor),
        max: written.span("max", WAITS).unwrap_or(base.max),
    }
}

fn exhaustion(section: Section<'_>, node: &Node<'_>, problems: &Problems) -> Exhaustion {
    let chosen = section.choice("on_exhausted", &EXHAUSTIONS);
    let label = node.label();
    let Some(kind) = &node.kind else { return Exhaustion::Park };
    let retriable = *kind.get_ref() == StepKind::Retriable;
    if retriable && section.get("on_exhausted").is_none() {
        let message = format!(
            "{label} is a retriable step with no policy for exhaustion; write on_exhausted = \"park\" (wait for an \
             operator) or \"skip\""
        );
        problems.report(section.at, message);
    }
    if !retriable && section.get("on_exhausted").is_some() {
        let message = format!("{label} has on_exhausted, which only a retriable step may have; this one is undone");
        problems.report(section.place("on_exhausted"), message);
    }
    if retriable && section.get("compensation_retry").is_some() {
        let message = format!("{label} has compensation_retry, but a retriable step is never undone");
        problems.report(section.place("compensation_retry"), message);
    }
    chosen.map_or(Exhaustion::Park, Spanned::into_inner)
}

fn names(nodes: &[Node<'_>], source: &str, problems: &Problems) {
    for (index, node) in nodes.iter().enumerate() {
        let Some(name) = &node.name else { continue };
        let at = name.span().start;
        if let Err(reason) = StepName::new(name.get_ref()) {
            problems.report(at, format!("`name` {reason}"));
        }
        if RESERVED.contains(name.get_ref()) {
            problems.report(at, format!("no step may be named `{name}`: that word means something else in pointers"));
        }
        let twin = nodes[..index].iter().filter_map(|other| other.name.as_ref()).find(|other| *other == name);
        if let Some(twin) = twin {
            let line = line_of(source, twin.span().start);
            problems.report(at, format!("the name `{name}` is taken by the step on line {line}"));
        }
    }
}

fn finish_step(
    index: usize,
    body: Body<'_>,
    nodes: &[Node<'_>],
    order: &Order,
    problems: &Problems,
) -> Option<StepDefinition> {
    let node = &nodes[index];
    let names = step_names(nodes);
    let late = node.on == On::Compensated;
    let outputs = order.ancestors[index] | if late { forward(nodes) } else { 0 };
    let owner = node.label();
    let scope = Scope { names: &names, outputs, failure: late, owner: &owner };
    let input = body.input.map(|table| mapping::read(table, &scope, problems));
    Some(StepDefinition {
        name: StepName::new(node.name.as_ref()?.get_ref()).ok()?,
        command: body.command?,
        participant: body.participant?,
        kind: *node.kind.as_ref()?.get_ref(),
        on: node.on,
        after: order.after[index].clone(),
        timeout: body.timeout,
        retry: body.retry,
        compensation_retry: body.compensation_retry,
        exhausted: body.exhausted,
        input,
    })
}

fn events(top: Section<'_>, nodes: &[Node<'_>], order: &Order, source: &str, problems: &Problems) -> Vec<EventRule> {
    let names = step_names(nodes);
    let mut rules = Vec::new();
    let mut written = Vec::new();
    for section in top.sections("event", &EVENT_KEYS) {
        section.require("on", "write for example on = \"charge_payment.refused\" or \"saga.completed\"");
        section.require("topic", "name where the event is published");
        let on = section.parsed("on", |text| trigger(text, nodes));
        let topic = section.parsed("topic", word::topic);
        // Steps that follow a compensation have run, if at all, only when such a step or the end of the saga speaks.
        let outputs = match on {
            Some(Trigger::StepSucceeded(step) | Trigger::StepRefused(step)) if nodes[step.0].on == On::Compensated => {
                order.ancestors[step.0] | forward(nodes) | 1u64.checked_shl(step.0 as u32).unwrap_or(0)
            }
            None | Some(Trigger::SagaCompensated | Trigger::SagaParked) => u64::MAX,
            Some(_) => forward(nodes),
        };
        let owner = section.text("on").map_or_else(|| "an event".to_owned(), |on| format!("the event on `{on}`"));
        let scope = Scope { names: &names, outputs, failure: true, owner: &owner };
        let payload = section.table("payload").map(|table| mapping::read(table, &scope, problems));
        let (Some(on), Some(topic)) = (on, topic) else { continue };
        let twin = rules.iter().position(|rule: &EventRule| rule.on == on && rule.topic == topic);
        if let Some(twin) = twin {
            let line = line_of(source, written[twin]);
            problems.report(section.at, format!("{owner} is published to `{topic}` already, see line {line}"));
        }
        written.push(section.at);
        rules.push(EventRule { on, topic, payload });
    }
    rules
}

fn trigger(text: &str, nodes: &[Node<'_>]) -> Result<Trigger, String> {
    let unknown = || {
        format!(
            "must be STEP.succeeded, STEP.refused, STEP.compensated or saga.started, saga.completed, \
             saga.compensated, saga.parked; {text:?} is none of them"
        )
    };
    let (subject, fact) = text.split_once('.').ok_or_else(unknown)?;
    if subject == "saga" {
        return match fact {
            "started" => Ok(Trigger::SagaStarted),
            "completed" => Ok(Trigger::SagaCompleted),
            "compensated" => Ok(Trigger::SagaCompensated),
            "parked" => Ok(Trigger::SagaParked),
            _ => Err(unknown()),
        };
    }
    let position = nodes.iter().position(|node| node.name.as_ref().is_some_and(|name| *name.get_ref() == subject));
    let step = position.ok_or_else(|| format!("names the step `{subject}`, but there is no such step"))?;
    let retriable = nodes[step].kind.as_ref().is_some_and(|kind| *kind.get_ref() == StepKind::Retriable);
    match fact {
        "succeeded" => Ok(Trigger::StepSucceeded(StepIndex(step))),
        "refused" => Ok(Trigger::StepRefused(StepIndex(step))),
        "compensated" if retriable => Err(format!("waits for ever: `{subject}` is retriable and never undone")),
        "compensated" => Ok(Trigger::StepCompensated(StepIndex(step))),
        _ => Err(unknown()),
    }
}

fn step_names<'t>(nodes: &'t [Node<'t>]) -> Vec<Option<&'t str>> {
    nodes.iter().map(|node| node.name.as_ref().map(|name| *name.get_ref())).collect()
}

/// The steps on the way forward.
fn forward(nodes: &[Node<'_>]) -> u64 {
    let steps = nodes.iter().take(check::STEPS_MAX).enumerate().filter(|(_, node)| node.on == On::Forward);
    steps.fold(0, |mask, (step, _)| mask | 1 << step)
}
