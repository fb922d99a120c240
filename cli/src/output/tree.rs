//! The steps of a saga, one a line; under a step what undid it and what went wrong with it.

use amends_proto::amends::v1::{Saga, Step};

use super::tone::Tone;
use super::{View, format, status};

/// Draws the steps of the way forward, then those that follow a compensation once there is one.
pub(crate) fn render(view: &View, saga: &Saga) -> String {
    let columns = Columns::of(&saga.steps);
    let (after, forward): (Vec<_>, Vec<_>) = saga.steps.iter().partition(|step| step.on == "compensated");
    let mut text: String = forward.into_iter().map(|step| block(view, &columns, step)).collect();
    let has_turned_back = saga.cause.is_some() || after.iter().any(|step| step.state != "pending");
    if has_turned_back && !after.is_empty() {
        text += &format!("{}\n", Tone::Strong.paint("After the compensation"));
        text.extend(after.into_iter().map(|step| block(view, &columns, step)));
    }
    text
}

/// Widths that line the steps up.
struct Columns {
    name: usize,
    command: usize,
    state: usize,
}

impl Columns {
    fn of(steps: &[Step]) -> Self {
        let widest = |text: fn(&Step) -> &str| steps.iter().map(|step| text(step).chars().count()).max().unwrap_or(0);
        Self {
            name: widest(|step| &step.name),
            command: widest(|step| &step.command),
            state: widest(|step| &step.state),
        }
    }
}

/// A step and what belongs to it.
fn block(view: &View, columns: &Columns, step: &Step) -> String {
    let (symbol, tone) = status::of_step(&step.state);
    let mut line = format!(
        "  {} {}  {}  {}",
        tone.paint(symbol),
        padded(Tone::Plain, &step.name, columns.name),
        padded(Tone::Faint, &step.command, columns.command),
        padded(tone, &step.state, columns.state),
    );
    for part in [took(view, step), times(step.attempts), next_attempt(view, step)].into_iter().flatten() {
        line += &format!("  {part}");
    }
    let mut text = line.trim_end().to_owned() + "\n";
    text += &compensation(view, step).map(|line| format!("      {line}\n")).unwrap_or_default();
    if step.state != "succeeded" && !(step.error_code.is_empty() && step.error_message.is_empty()) {
        text += &format!("      {}\n", Tone::Bad.paint(format::error(&step.error_code, &step.error_message)));
    }
    text
}

/// Text in colour, then spaces without, so that those at the end of a line can be trimmed.
fn padded(tone: Tone, text: &str, width: usize) -> String {
    let text = format::clean(text);
    let gap = width.saturating_sub(text.chars().count());
    tone.paint(text) + &" ".repeat(gap)
}

/// How long the execution took, or has been going on.
fn took(view: &View, step: &Step) -> Option<String> {
    match step.state.as_str() {
        "executing" => format::since(view, step.start_time.as_ref()).map(|span| format!("for {span}")),
        _ => format::between(step.start_time.as_ref(), step.end_time.as_ref()),
    }
}

fn times(attempts: u32) -> Option<String> {
    (attempts > 1).then(|| format!("×{attempts}"))
}

fn next_attempt(view: &View, step: &Step) -> Option<String> {
    let of_execution = step.compensation_attempts == 0 && step.next_attempt_time.is_some();
    of_execution.then(|| format!("next attempt {}", format::due(view, step.next_attempt_time.as_ref())))
}

/// What became of the undoing, if there was any.
fn compensation(view: &View, step: &Step) -> Option<String> {
    if step.compensation_attempts == 0 {
        return None;
    }
    let times = times(step.compensation_attempts).map(|times| format!(" {times}")).unwrap_or_default();
    let since = format::since(view, step.compensation_start_time.as_ref());
    Some(match step.state.as_str() {
        "compensating" => {
            let due = format::due(view, step.next_attempt_time.as_ref());
            let next = if due.is_empty() { String::new() } else { format!("  next attempt {due}") };
            Tone::Undone.paint(format!(
                "↩ undoing{}{times}{next}",
                since.map(|span| format!(" for {span}")).unwrap_or_default()
            ))
        }
        "parked" => Tone::Bad.paint(format!("↩ not undone{times}")),
        _ => {
            let span = format::between(step.compensation_start_time.as_ref(), step.compensation_end_time.as_ref());
            Tone::Undone.paint(format!("↩ undone{}{times}", span.map(|span| format!(" in {span}")).unwrap_or_default()))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn plain(saga: &Saga) -> String {
        anstream::adapter::strip_str(&render(&samples::view(), saga)).to_string()
    }

    #[test]
    fn compensated_saga_shows_what_was_undone_and_what_followed() {
        let expected = "\
\x20 ↩ create_order       order.create       compensated  2ms
      ↩ undone in 1ms
  ↩ charge_payment     payment.charge     compensated  4ms  ×2
      ↩ undone in 3ms ×2
  ✗ reserve_inventory  inventory.reserve  refused      3ms
      OUT_OF_STOCK: 0 of LAPTOP001 left
  · send_notification  notification.send  pending
After the compensation
  ✓ tell_customer      notification.send  succeeded    1ms
";
        assert_eq!(plain(&samples::compensated()), expected);
    }

    #[test]
    fn running_saga_shows_what_is_under_way_and_hides_what_may_never_come() {
        let expected = "\
\x20 ✓ create_order       order.create       succeeded  2ms
  ↻ charge_payment     payment.charge     waiting    ×3  next attempt in 1.5s
      GATEWAY: no connection
  ▸ reserve_inventory  inventory.reserve  executing  for 4.2s
  · send_notification  notification.send  pending
";
        assert_eq!(plain(&samples::running()), expected);
    }

    #[test]
    fn parked_compensation_says_that_it_is_not_undone() {
        let expected = "\
\x20 · create_order       order.create       pending
  ⚠ charge_payment     payment.charge     parked   4ms
      ↩ not undone ×5
      REFUND_FAILED: the gateway refuses the refund
  ✗ reserve_inventory  inventory.reserve  refused  3ms
      OUT_OF_STOCK: 0 of LAPTOP001 left
  · send_notification  notification.send  pending
After the compensation
  · tell_customer      notification.send  pending
";
        assert_eq!(plain(&samples::parked()), expected);
    }

    #[test]
    fn compensation_under_way_shows_its_next_attempt() {
        let mut saga = samples::parked();
        saga.steps[1].state = "compensating".to_owned();
        saga.steps[1].compensation_start_time = samples::at(-9_000);
        saga.steps[1].next_attempt_time = samples::at(500);
        assert!(plain(&saga).contains("      ↩ undoing for 9.0s ×5  next attempt in 500ms\n"), "{}", plain(&saga));
    }
}
