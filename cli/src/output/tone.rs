//! The meaning of colours, in one place.

use owo_colors::{OwoColorize as _, Style};

/// What a colour says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Nothing in particular.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Under way.
    Busy,
    /// Somebody should look.
    Warn,
    /// It failed.
    Bad,
    /// Was taken back.
    Undone,
    /// Less important.
    Faint,
    /// More important.
    Strong,
}

impl Tone {
    /// Colours a text. The streams take the colour out again where it is not wanted.
    pub(crate) fn paint(self, text: impl std::fmt::Display) -> String {
        let style = Style::new();
        let style = match self {
            Self::Plain => return text.to_string(),
            Self::Good => style.green(),
            Self::Busy => style.cyan(),
            Self::Warn => style.yellow(),
            Self::Bad => style.red(),
            Self::Undone => style.magenta(),
            Self::Faint => style.dimmed(),
            Self::Strong => style.bold(),
        };
        text.style(style).to_string()
    }

    /// Colours a cell of a table.
    pub(crate) fn cell(self, text: impl std::fmt::Display) -> comfy_table::Cell {
        use comfy_table::{Attribute, Color};
        let text = text.to_string();
        // An empty cell in colour would keep the end of its line from being trimmed.
        let tone = if text.is_empty() { Self::Plain } else { self };
        let cell = comfy_table::Cell::new(text);
        match tone {
            Self::Plain => cell,
            Self::Good => cell.fg(Color::DarkGreen),
            Self::Busy => cell.fg(Color::DarkCyan),
            Self::Warn => cell.fg(Color::DarkYellow),
            Self::Bad => cell.fg(Color::DarkRed),
            Self::Undone => cell.fg(Color::DarkMagenta),
            Self::Faint => cell.add_attribute(Attribute::Dim),
            Self::Strong => cell.add_attribute(Attribute::Bold),
        }
    }
}
