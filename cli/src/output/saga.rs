//! One saga: what it is, what it waits for, its steps, why it is where it is, what to do.

use amends_proto::amends::v1::{JournalEvent, Saga, SagaStatus};

use super::tone::Tone;
use super::{View, events, format, pretty, status, tree};

/// What is shown beside the usual.
#[derive(Debug, Default)]
pub(crate) struct More<'a> {
    /// Input and outputs.
    pub(crate) payloads: bool,
    /// The journal.
    pub(crate) history: Option<&'a [JournalEvent]>,
}

/// Draws a saga.
pub(crate) fn render(view: &View, saga: &Saga, more: &More<'_>) -> String {
    let mut text = header(view, saga);
    match saga.waiting_for.strip_prefix("waiting for ") {
        Some(what) => text += &sentence("Waiting for", what),
        None if saga.waiting_for.is_empty() => {}
        None => text += &sentence("Now", &saga.waiting_for),
    }
    text.push('\n');
    text += &tree::render(view, saga);
    let (why, next) = status::why(saga);
    if !why.is_empty() {
        text.push('\n');
        text += &sentence("Why", why);
    }
    if next.is_some() || saga.status() == SagaStatus::Parked || saga.paused {
        text += &sentence("Try", &status::next_command(saga));
    }
    if more.payloads {
        text += &payloads(saga);
    }
    if let Some(history) = more.history {
        text += &format!("\n{}", events::render(view, history));
    }
    text
}

/// Two lines: which saga, and its times.
fn header(view: &View, saga: &Saga) -> String {
    let (word, tone) = status::of_saga(saga.status(), saga.paused);
    let mut first = vec![Tone::Strong.paint(format!("{} {}", format::clean(&saga.r#type), view.id(&saga.id)))];
    if !saga.idempotency_key.is_empty() {
        first.push(format!("key {}", format::clean(&saga.idempotency_key)));
    }
    if view.wide {
        first.push(format!("version {}", saga.version));
    }
    first.push(tone.paint(word));
    if saga.overdue {
        first.push(Tone::Warn.paint("⚠ overdue"));
    }
    format!("{}\n{}\n", first.join(" · "), Tone::Faint.paint(times(view, saga).join(" · ")))
}

fn times(view: &View, saga: &Saga) -> Vec<String> {
    let started = match view.wide {
        true => format::time(view, saga.start_time.as_ref()),
        false => format!("{} ago", format::age(view, saga.start_time.as_ref())),
    };
    let mut times = vec![format!("started {started}")];
    let has_ended = matches!(saga.status(), SagaStatus::Completed | SagaStatus::Compensated);
    if has_ended {
        times.extend(
            format::between(saga.start_time.as_ref(), saga.update_time.as_ref()).map(|span| format!("took {span}")),
        );
    } else {
        times.push(format!("last moved {} ago", format::age(view, saga.update_time.as_ref())));
        match format::due(view, saga.deadline.as_ref()).as_str() {
            "" => {}
            "now" => times.push("deadline passed".to_owned()),
            due => times.push(format!("deadline {due}")),
        }
    }
    times
}

fn sentence(label: &str, text: &str) -> String {
    format!("{} {}\n", Tone::Strong.paint(format!("{label}:")), format::clean(text))
}

fn payloads(saga: &Saga) -> String {
    let outputs = saga.steps.iter().filter(|step| !step.output.is_empty());
    let outputs = outputs.map(|step| (format!("Output of {}", format::clean(&step.name)), step.output.as_str()));
    std::iter::once(("Input".to_owned(), saga.input.as_str()))
        .chain(outputs)
        .map(|(label, payload)| format!("\n{}\n{}\n", Tone::Strong.paint(label), pretty::json(payload)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn plain(saga: &Saga, more: &More<'_>) -> String {
        anstream::adapter::strip_str(&render(&samples::view(), saga, more)).to_string()
    }

    #[test]
    fn ended_saga_says_why() {
        let text = plain(&samples::compensated(), &More::default());
        let (head, rest) = text.split_once("\n\n").expect("two parts");
        assert_eq!(head, "order 3f2a91bc · key cart-42 · ↩✓ compensated\nstarted 2m ago · took 15ms");
        let why =
            "\nWhy: reserve_inventory was refused (OUT_OF_STOCK: 0 of LAPTOP001 left); all that was done is undone.\n";
        assert!(rest.ends_with(why), "{rest}");
    }

    #[test]
    fn running_saga_says_what_it_waits_for() {
        let text = plain(&samples::running(), &More::default());
        let expected = "\
order 3f2a91bc · key cart-42 · ▸ running
started 2m ago · last moved 2m ago · deadline in 12m 55s
Waiting for: inventory's answer to inventory.reserve (attempt 1 of 5), times out in 800ms
";
        assert!(text.starts_with(expected), "{text}");
    }

    #[test]
    fn parked_saga_says_what_to_try() {
        let text = plain(&samples::parked(), &More::default());
        assert!(text.contains("\nNow: parked: an operator must retry, skip or resolve it\n\n"), "{text}");
        let expected = "\nWhy: The compensation of charge_payment failed 5 times.\nTry: amends retry order/cart-42\n";
        assert!(text.ends_with(expected), "{text}");
        let silent = Saga { why: String::new(), ..samples::parked() };
        let text = plain(&silent, &More::default());
        assert!(text.ends_with("Try: amends retry 3f2a91bc --step charge_payment\n"), "{text}");
    }

    #[test]
    fn paused_saga_is_marked() {
        let saga = Saga { paused: true, overdue: true, why: String::new(), ..samples::running() };
        let text = plain(&saga, &More::default());
        assert!(text.starts_with("order 3f2a91bc · key cart-42 · ⏸ running, paused · ⚠ overdue\n"), "{text}");
        assert!(text.ends_with("\nTry: amends resume 3f2a91bc\n"), "{text}");
    }

    #[test]
    fn payloads_follow_on_demand() {
        let text = plain(&samples::compensated(), &More { payloads: true, history: None });
        let expected =
            "\nInput\n{\n  \"total\": 129999\n}\n\nOutput of charge_payment\n{\n  \"payment_id\": \"p-1\"\n}\n";
        assert!(text.ends_with(expected), "{text}");
    }
}
