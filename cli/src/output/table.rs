//! Plain columns: a header, no lines, the last column cut where the terminal ends.

use comfy_table::{Cell, ColumnConstraint, ContentArrangement, Row, Width, presets};

use super::View;
use super::tone::Tone;

/// The least that is left of the last column: where the terminal has no room for it, lines run over instead.
const LAST_COLUMN_MIN: u16 = 16;

/// Columns of text under their names.
pub(crate) struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// Begins a table.
    pub(crate) fn new(view: &View, header: &[&str]) -> Self {
        let mut inner = comfy_table::Table::new();
        let mut names = Row::from(header.iter().map(|name| Tone::Strong.cell(name)));
        names.max_height(1);
        inner.load_preset(presets::NOTHING).set_truncation_indicator("…").set_header(names);
        // Colours are always drawn; the stream that it is printed to takes them out where they are not wanted.
        inner.enforce_styling().style_text_only();
        if let Some(width) = view.width {
            inner.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        for (at, column) in inner.column_iter_mut().enumerate() {
            let is_last = at + 1 == header.len();
            column.set_padding((0, if is_last { 0 } else { 2 }));
            column.set_constraint(match is_last {
                true => ColumnConstraint::LowerBoundary(Width::Fixed(LAST_COLUMN_MIN)),
                false => ColumnConstraint::ContentWidth,
            });
        }
        Self { inner }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        let mut row = Row::from(cells);
        row.max_height(1);
        self.inner.add_row(row);
    }

    /// Whether it has no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// Draws it, or nothing if it has no rows.
    pub(crate) fn render(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        self.inner.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;

    fn render(view: &View) -> String {
        let mut table = Table::new(view, &["ID", "ERROR"]);
        table.row(vec![Tone::Good.cell("3f2a91bc"), Tone::Bad.cell("GATEWAY: the payment gateway does not answer")]);
        table.row(vec![Cell::new("91bc"), Cell::new("")]);
        anstream::adapter::strip_str(&table.render()).to_string()
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let text = "ID        ERROR\n3f2a91bc  GATEWAY: the payment gateway does not answer\n91bc\n";
        assert_eq!(render(&samples::view()), text);
    }

    #[test]
    fn last_column_is_cut_at_the_edge_of_the_terminal() {
        let view = View { width: Some(30), ..samples::view() };
        assert_eq!(render(&view), "ID        ERROR\n3f2a91bc  GATEWAY: the paymen…\n91bc\n");
        let narrow = View { width: Some(8), ..samples::view() };
        assert_eq!(render(&narrow), "ID        ERROR\n3f2a91bc  GATEWAY: the…\n91bc\n");
    }
}
