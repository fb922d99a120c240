//! What became of each saga that an operator did something to.

use amends_proto::amends::v1::Saga;

use super::table::Table;
use super::tone::Tone;
use super::{View, format, status};
use crate::error::CliError;

/// One saga and what became of it.
pub(crate) struct Row<'a> {
    /// As the operator named it.
    pub(crate) id: &'a str,
    /// The saga as it is now, or why it was left alone.
    pub(crate) outcome: Result<Option<&'a Saga>, &'a CliError>,
}

/// Draws them.
pub(crate) fn render<'a>(view: &View, rows: impl Iterator<Item = Row<'a>>) -> String {
    let mut table = Table::new(view, &["ID", "TYPE", "STATUS", "DETAIL"]);
    for row in rows {
        table.row(match row.outcome {
            Ok(Some(saga)) => {
                let (status, tone) = status::of_saga(saga.status(), saga.paused);
                let detail = if saga.waiting_for.is_empty() { &saga.why } else { &saga.waiting_for };
                vec![
                    Tone::Strong.cell(view.id(&saga.id)),
                    Tone::Plain.cell(format::clean(&saga.r#type)),
                    tone.cell(status),
                    Tone::Plain.cell(format::clean(detail)),
                ]
            }
            Ok(None) => {
                vec![Tone::Strong.cell(row.id), Tone::Plain.cell(""), Tone::Good.cell("done"), Tone::Plain.cell("")]
            }
            Err(error) => {
                let (what, why, _) = error.parts();
                vec![
                    Tone::Strong.cell(view.id(row.id)),
                    Tone::Plain.cell(""),
                    Tone::Bad.cell("✗ unchanged"),
                    Tone::Bad.cell(format::clean(why.unwrap_or(what))),
                ]
            }
        });
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;
    use crate::output::samples;

    #[test]
    fn failures_stand_among_the_others() {
        let saga = samples::parked();
        let error = CliError::new(Exit::Refused, "cannot cancel saga aa55c0de").why("it is past its pivot");
        let rows = [Row { id: "3f2a91bc", outcome: Ok(Some(&saga)) }, Row { id: "aa55c0de", outcome: Err(&error) }];
        let text = anstream::adapter::strip_str(&render(&samples::view(), rows.into_iter())).to_string();
        let expected = "\
ID        TYPE   STATUS       DETAIL
3f2a91bc  order  ⚠ parked     parked: an operator must retry, skip or resolve it
aa55c0de         ✗ unchanged  it is past its pivot
";
        assert_eq!(text, expected);
    }
}
