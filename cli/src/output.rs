//! What goes to the screen: data to standard output, all else to standard error.

pub(crate) mod events;
pub(crate) mod format;
pub(crate) mod graph;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod order;
pub(crate) mod pretty;
pub(crate) mod results;
pub(crate) mod saga;
pub(crate) mod saga_line;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod tone;
pub(crate) mod tree;
pub(crate) mod types;

#[cfg(test)]
pub(crate) mod samples;

use chrono::{DateTime, FixedOffset, Local, Utc};

use crate::args::{Global, OutputFormat};
use crate::error::CliError;

/// The conditions under which something is drawn.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View {
    /// Ages are counted from here.
    pub(crate) now: DateTime<Utc>,
    /// The zone that times are shown in.
    pub(crate) zone: FixedOffset,
    /// Columns of the terminal; `None` where lines may be as long as they like.
    pub(crate) width: Option<u16>,
    /// Whole ids instead of their ends.
    pub(crate) whole_ids: bool,
    /// All columns.
    pub(crate) wide: bool,
}

impl View {
    /// The conditions of this moment.
    pub(crate) fn of(global: &Global) -> Self {
        let wide = global.output == OutputFormat::Wide;
        Self {
            now: Utc::now(),
            zone: *Local::now().offset(),
            width: if global.no_trunc { None } else { terminal::width() },
            whole_ids: global.no_trunc || wide,
            wide,
        }
    }

    /// An id as it is shown.
    pub(crate) fn id(&self, id: &str) -> String {
        if self.whole_ids { format::clean(id) } else { format::short_id(id) }
    }
}

/// One screenful: data, and a remark that is not data.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// For standard output.
    pub(crate) data: String,
    /// For standard error; may be empty.
    pub(crate) footer: String,
}

impl Page {
    /// A page without a remark.
    pub(crate) const fn data(data: String) -> Self {
        Self { data, footer: String::new() }
    }

    /// Prints it.
    pub(crate) fn print(&self) -> Result<(), CliError> {
        terminal::out(&self.data)?;
        if !self.footer.is_empty() {
            terminal::note(&self.footer);
        }
        Ok(())
    }
}
