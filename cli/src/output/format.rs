//! How ids, times and spans of time are written for people.

use amends_proto::Timestamp;
use chrono::{DateTime, Utc};

use super::View;

/// Characters of an id that name it on the screen: unique among millions of sagas, still readable.
const SHORT_ID: usize = 8;

/// Characters of a UUID as it is usually written.
const UUID_LEN: usize = 36;

/// The end of a UUID: with time-ordered ids the part that differs. Other names stay whole.
pub(crate) fn short_id(id: &str) -> String {
    if id.len() != UUID_LEN || !id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') {
        return clean(id);
    }
    id[UUID_LEN - SHORT_ID..].to_owned()
}

/// Makes text from elsewhere safe for a terminal and fit for one line.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// `CODE: message`, or whichever of the two there is.
pub(crate) fn error(code: &str, message: &str) -> String {
    match (code.is_empty(), message.is_empty()) {
        (false, false) => format!("{}: {}", clean(code), clean(message)),
        _ => clean(code) + &clean(message),
    }
}

/// A span of time: `12ms`, `1.2s`, `2m 5s`, `3h 20m`, `4d 6h`.
pub(crate) fn span(ms: i64) -> String {
    let (ms, s) = (ms.max(0), ms.max(0) / 1_000);
    match s {
        0 => format!("{ms}ms"),
        1..60 => format!("{s}.{}s", ms % 1_000 / 100),
        60..3_600 => format!("{}m {}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h {}m", s / 3_600, s % 3_600 / 60),
        _ => format!("{}d {}h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// The span between two points in time, if both are known.
pub(crate) fn between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Option<String> {
    Some(span((utc(to?)? - utc(from?)?).num_milliseconds()))
}

/// How long ago, in one unit: `5s`, `3m`, `2h`, `4d`.
pub(crate) fn age(view: &View, time: Option<&Timestamp>) -> String {
    let Some(time) = time.and_then(utc) else { return String::new() };
    let s = (view.now - time).num_seconds().max(0);
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m", s / 60),
        3_600..86_400 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// How long it has been going on.
pub(crate) fn since(view: &View, time: Option<&Timestamp>) -> Option<String> {
    Some(span((view.now - utc(time?)?).num_milliseconds()))
}

/// When it will be: `in 1.2s`, or `now` if that is over.
pub(crate) fn due(view: &View, time: Option<&Timestamp>) -> String {
    match time.and_then(utc).map(|time| (time - view.now).num_milliseconds()) {
        Some(ms) if ms > 0 => format!("in {}", span(ms)),
        Some(_) => "now".to_owned(),
        None => String::new(),
    }
}

/// Date and time of day to the second.
pub(crate) fn time(view: &View, time: Option<&Timestamp>) -> String {
    formatted(view, time, "%Y-%m-%d %H:%M:%S")
}

/// Time of day to the millisecond, with the date where that is not today's.
pub(crate) fn clock(view: &View, time: Option<&Timestamp>) -> String {
    let today = view.now.with_timezone(&view.zone).date_naive();
    let is_today = time.and_then(utc).is_some_and(|time| time.with_timezone(&view.zone).date_naive() == today);
    formatted(view, time, if is_today { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" })
}

fn formatted(view: &View, time: Option<&Timestamp>, format: &str) -> String {
    let time = time.and_then(utc);
    time.map(|time| time.with_timezone(&view.zone).format(format).to_string()).unwrap_or_default()
}

fn utc(time: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    #[test]
    fn spans_are_short() {
        let cases = [
            (-5, "0ms"),
            (0, "0ms"),
            (999, "999ms"),
            (1_250, "1.2s"),
            (59_999, "59.9s"),
            (125_000, "2m 5s"),
            (12_000_000, "3h 20m"),
            (367_200_000, "4d 6h"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn ages_have_one_unit() {
        let view = samples::view();
        for (ms, text) in [(-900, "0s"), (61_000, "1m"), (7_300_000, "2h"), (200_000_000, "2d")] {
            assert_eq!(age(&view, samples::at(-ms).as_ref()), text);
        }
        assert_eq!(age(&view, None), "");
    }

    #[test]
    fn due_times_that_are_over_are_now() {
        let view = samples::view();
        assert_eq!(due(&view, samples::at(1_500).as_ref()), "in 1.5s");
        assert_eq!(due(&view, samples::at(-1).as_ref()), "now");
    }

    #[test]
    fn clock_names_the_date_unless_it_is_today() {
        let view = samples::view();
        assert_eq!(clock(&view, samples::at(-1_234).as_ref()), "11:59:58.766");
        assert_eq!(clock(&view, samples::at(-86_400_000).as_ref()), "2026-01-30 12:00:00.000");
    }

    #[test]
    fn ids_are_cut_to_their_end_and_text_cannot_steer_the_terminal() {
        assert_eq!(short_id("0198c2f1-7f3a-7000-8000-00003f2a91bc"), "3f2a91bc");
        assert_eq!(short_id("a1"), "a1");
        assert_eq!(short_id("order/cart-with-a-name-of-36-letters"), "order/cart-with-a-name-of-36-letters");
        assert_eq!(clean("a\x1b[2Jb\nc"), "a [2Jb c");
        assert_eq!(error("", "only words"), "only words");
        assert_eq!(error("CODE", ""), "CODE");
    }
}
