//! Sagas, one a line.

use amends_proto::amends::v1::{ListSagasResponse, SagaSummary};

use super::table::Table;
use super::tone::Tone;
use super::{View, format, status};

/// Draws a page of sagas.
pub(crate) fn render(view: &View, sagas: &[SagaSummary]) -> String {
    let mut header = vec!["ID", "TYPE", "KEY", "STATUS", "STEP", "ATT", "AGE", "NEXT"];
    if view.wide {
        header.extend(["STARTED", "UPDATED"]);
    }
    header.push("ERROR");
    let mut table = Table::new(view, &header);
    for saga in sagas {
        let (status, tone) = status::of_saga(saga.status(), saga.paused);
        let attempt = if saga.attempt == 0 { String::new() } else { saga.attempt.to_string() };
        let mut row = vec![
            Tone::Strong.cell(view.id(&saga.id)),
            Tone::Plain.cell(format::clean(&saga.r#type)),
            Tone::Plain.cell(format::clean(&saga.idempotency_key)),
            tone.cell(status),
            Tone::Plain.cell(format::clean(&saga.step)),
            Tone::Plain.cell(attempt),
            Tone::Faint.cell(format::age(view, saga.start_time.as_ref())),
            Tone::Plain.cell(format::due(view, saga.next_attempt_time.as_ref())),
        ];
        if view.wide {
            row.push(Tone::Faint.cell(format::time(view, saga.start_time.as_ref())));
            row.push(Tone::Faint.cell(format::time(view, saga.update_time.as_ref())));
        }
        row.push(Tone::Bad.cell(format::error(&saga.error_code, &saga.error_message)));
        table.row(row);
    }
    table.render()
}

/// Says how many there are, and how to see the others. `next` is the command line of the next page without its token;
/// `unfinished` says that ended sagas were left out.
pub(crate) fn footer(page: &ListSagasResponse, next: &str, unfinished: bool) -> String {
    let shown = page.sagas.len();
    let total = usize::try_from(page.total_size).ok();
    let what = if unfinished { "unfinished saga" } else { "saga" };
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let mut parts = vec![match total {
        Some(total) if total > shown => format!("{shown} of {total} {what}s"),
        None if !page.next_page_token.is_empty() => format!("{shown} of many {what}s"),
        _ => format!("{shown} {what}{}", plural(shown)),
    }];
    if !page.next_page_token.is_empty() {
        parts.push(format!("next page: {next} --cursor {}", page.next_page_token));
    }
    if unfinished {
        parts.push("ended ones too: amends list --all".to_owned());
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    #[test]
    fn sagas_are_listed_one_a_line() {
        let text = anstream::adapter::strip_str(&render(&samples::view(), &samples::summaries())).to_string();
        let expected = "\
ID        TYPE   KEY      STATUS                  STEP            ATT  AGE  NEXT     ERROR
3f2a91bc  order  cart-42  ▸ running               charge_payment  3    2m   in 1.5s  GATEWAY: no connection
aa55c0de  order           ⏸ compensating, paused  create_order    1    2h
";
        assert_eq!(text, expected);
    }

    #[test]
    fn wide_list_has_whole_ids_and_times() {
        let view = View { wide: true, whole_ids: true, ..samples::view() };
        let text = anstream::adapter::strip_str(&render(&view, &samples::summaries())).to_string();
        assert!(text.contains("0198c2f1-7f3a-7000-8000-00003f2a91bc  order  cart-42"), "{text}");
        assert!(text.contains("2026-01-31 11:57:55  2026-01-31 11:59:58  GATEWAY: no connection"), "{text}");
    }

    #[test]
    fn footer_counts_and_names_the_next_page() {
        let page = |total_size, token: &str| ListSagasResponse {
            sagas: samples::summaries(),
            next_page_token: token.to_owned(),
            total_size,
        };
        assert_eq!(footer(&page(2, ""), "amends list", true), "2 unfinished sagas · ended ones too: amends list --all");
        assert_eq!(
            footer(&page(12, "abc"), "amends list --status parked", false),
            "2 of 12 sagas · next page: amends list --status parked --cursor abc"
        );
        assert_eq!(
            footer(&page(-1, "abc"), "amends list", false),
            "2 of many sagas · next page: amends list --cursor abc"
        );
        let empty = ListSagasResponse::default();
        assert_eq!(footer(&empty, "amends list", false), "0 sagas");
    }
}
