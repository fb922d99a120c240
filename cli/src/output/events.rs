//! The journal of a saga, one event a line.

use amends_proto::amends::v1::JournalEvent;

use super::table::Table;
use super::tone::Tone;
use super::{View, format};

/// Kinds that tell of something gone wrong.
const FAILURES: [&str; 5] = ["step_refused", "step_timed_out", "retry_scheduled", "step_exhausted", "saga_parked"];

/// Whether an event tells of something gone wrong.
pub(crate) fn is_failure(event: &JournalEvent) -> bool {
    FAILURES.contains(&event.kind.as_str())
}

/// Draws events.
pub(crate) fn render(view: &View, events: &[JournalEvent]) -> String {
    let mut table = Table::new(view, &["SEQ", "TIME", "STEP", "KIND", "ATT", "DETAIL"]);
    for event in events {
        table.row(vec![
            Tone::Faint.cell(event.seq),
            Tone::Faint.cell(format::clock(view, event.time.as_ref())),
            Tone::Plain.cell(format::clean(&event.step)),
            tone(event).cell(format::clean(&event.kind)),
            Tone::Plain.cell(attempt(event)),
            Tone::Plain.cell(format::clean(&event.detail)),
        ]);
    }
    table.render()
}

/// One event on a line of its own, for following: columns cannot be measured before they have come.
pub(crate) fn line(view: &View, event: &JournalEvent) -> String {
    let line = format!(
        "{:<4} {}  {:<20} {} {:<3} {}",
        event.seq,
        Tone::Faint.paint(format::clock(view, event.time.as_ref())),
        format::clean(&event.step),
        tone(event).paint(format!("{:<25}", format::clean(&event.kind))),
        attempt(event),
        format::clean(&event.detail),
    );
    line.trim_end().to_owned() + "\n"
}

fn attempt(event: &JournalEvent) -> String {
    if event.attempt == 0 { String::new() } else { event.attempt.to_string() }
}

fn tone(event: &JournalEvent) -> Tone {
    match event.kind.as_str() {
        "step_refused" | "step_exhausted" | "saga_parked" => Tone::Bad,
        "step_timed_out" | "retry_scheduled" | "saga_overdue" | "saga_paused" => Tone::Warn,
        "step_succeeded" | "saga_completed" => Tone::Good,
        "compensation_started" | "step_compensation_started" | "step_compensated" | "saga_compensated" => Tone::Undone,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn event(seq: u64, ms: i64, step: &str, kind: &str, attempt: u32, detail: &str) -> JournalEvent {
        JournalEvent {
            seq,
            time: samples::at(ms),
            step: step.to_owned(),
            kind: kind.to_owned(),
            attempt,
            detail: detail.to_owned(),
            data: "{}".to_owned(),
        }
    }

    #[test]
    fn events_are_listed_one_a_line() {
        let events = [
            event(1, -1_500, "", "saga_started", 0, "accepted as order version 1"),
            event(1, -1_500, "charge_payment", "step_started", 1, "payment.charge goes to payment"),
            event(2, -1_000, "charge_payment", "step_refused", 0, "refused by payment (CARD_DECLINED)"),
        ];
        let text = anstream::adapter::strip_str(&render(&samples::view(), &events)).to_string();
        let expected = "\
SEQ  TIME          STEP            KIND          ATT  DETAIL
1    11:59:58.500                  saga_started       accepted as order version 1
1    11:59:58.500  charge_payment  step_started  1    payment.charge goes to payment
2    11:59:59.000  charge_payment  step_refused       refused by payment (CARD_DECLINED)
";
        assert_eq!(text, expected);
        assert_eq!(events.map(|event| is_failure(&event)), [false, false, true]);
    }

    #[test]
    fn a_followed_event_has_its_own_line() {
        let event = event(2, -1_000, "charge_payment", "step_succeeded", 0, "confirmed by payment");
        let text = anstream::adapter::strip_str(&line(&samples::view(), &event)).to_string();
        assert_eq!(
            text,
            "2    11:59:59.000  charge_payment       step_succeeded                confirmed by payment\n"
        );
    }
}
