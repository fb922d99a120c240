//! Typed access to TOML that notes every problem with its place instead of stopping at the first.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::DefinitionError;
use crate::time::Millis;

/// A TOML value and where it stands.
pub(super) type Value<'t> = Spanned<DeValue<'t>>;

/// What is wrong so far, by offset in the source.
#[derive(Default)]
pub(super) struct Problems(RefCell<Vec<(usize, String)>>);

impl Problems {
    /// Notes one problem at a byte of the source.
    pub(super) fn report(&self, at: usize, message: impl Into<String>) {
        self.0.borrow_mut().push((at, message.into()));
    }

    /// Whether nothing is wrong.
    pub(super) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// All of them, in the order of the lines.
    pub(super) fn in_lines(self, source: &str) -> Vec<DefinitionError> {
        let mut found = self.0.into_inner();
        found.sort_by_key(|(at, _)| *at);
        found.into_iter().map(|(at, message)| DefinitionError { line: line_of(source, at), message }).collect()
    }
}

/// The line, from 1, of a byte of the source.
pub(super) fn line_of(source: &str, at: usize) -> usize {
    1 + source.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// One table of the source.
#[derive(Clone, Copy)]
pub(super) struct Section<'t> {
    /// Where it begins, for what is missing in it.
    pub(super) at: usize,
    table: &'t DeTable<'t>,
    problems: &'t Problems,
}

impl<'t> Section<'t> {
    /// Opens a table and reports the keys that it may not have.
    pub(super) fn new(table: &'t DeTable<'t>, at: usize, keys: &[&str], problems: &'t Problems) -> Self {
        for (key, _) in table.iter().filter(|(key, _)| !keys.contains(&key.get_ref().as_ref())) {
            let known = keys.join(", ");
            problems.report(key.span().start, format!("unknown key `{}`; known here: {known}", key.get_ref()));
        }
        Self { at, table, problems }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&'t Value<'t>> {
        self.table.get(key)
    }

    /// The place of a key's value, or of the table where the key is missing.
    pub(super) fn place(&self, key: &str) -> usize {
        self.get(key).map_or(self.at, |value| value.span().start)
    }

    /// Notes that a key is missing, if it is.
    pub(super) fn require(&self, key: &str, hint: &str) {
        if self.get(key).is_none() {
            self.problems.report(self.at, format!("`{key}` is missing; {hint}"));
        }
    }

    /// A text.
    pub(super) fn text(&self, key: &str) -> Option<Spanned<&'t str>> {
        self.typed(key, "a string", |value| value.as_str())
    }

    /// A text that must satisfy `parse`; the reason for a refusal is reported.
    pub(super) fn parsed<T, E: Display>(&self, key: &str, parse: impl Fn(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text(key)?;
        match parse(text.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(reason) => {
                self.problems.report(text.span().start, format!("`{key}` {reason}"));
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<Spanned<T>> {
        let text = self.text(key)?;
        let chosen = words.iter().find(|(word, _)| word == text.get_ref());
        if chosen.is_none() {
            let known = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(" or ");
            self.problems.report(text.span().start, format!("`{key}` must be {known}, not {:?}", text.get_ref()));
        }
        chosen.map(|(_, choice)| Spanned::new(text.span(), *choice))
    }

    /// A span of time within bounds.
    pub(super) fn span(&self, key: &str, bounds: RangeInclusive<Millis>) -> Option<Millis> {
        let span = self.parsed(key, str::parse::<Millis>)?;
        if bounds.contains(&span) {
            return Some(span);
        }
        let (least, most) = bounds.into_inner();
        let message = format!("`{key}` must be between {least} and {most}");
        self.problems.report(self.place(key), message);
        None
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, key: &str, bounds: RangeInclusive<u32>) -> Option<u32> {
        let integer = self.typed(key, "a whole number", |value| value.as_integer())?;
        let number = u32::from_str_radix(integer.get_ref().as_str(), integer.get_ref().radix()).ok();
        let number = number.filter(|number| bounds.contains(number));
        if number.is_none() {
            let message = format!("`{key}` must be between {} and {}", bounds.start(), bounds.end());
            self.problems.report(integer.span().start, message);
        }
        number
    }

    /// A finite number of at least `least`.
    pub(super) fn number(&self, key: &str, least: f64) -> Option<f64> {
        let text = self.typed(key, "a number", |value| match value {
            DeValue::Integer(integer) if integer.radix() == 10 => Some(integer.as_str()),
            DeValue::Float(float) => Some(float.as_str()),
            _ => None,
        })?;
        let number = text.get_ref().parse().ok().filter(|number: &f64| number.is_finite() && *number >= least);
        if number.is_none() {
            self.problems.report(text.span().start, format!("`{key}` must be finite and at least {least}"));
        }
        number
    }

    /// A list of texts.
    pub(super) fn texts(&self, key: &str) -> Option<Vec<Spanned<&'t str>>> {
        let list = self.typed(key, "a list of strings", |value| value.as_array())?;
        let mut texts = Vec::new();
        for item in list.get_ref().iter() {
            match item.get_ref().as_str() {
                Some(text) => texts.push(Spanned::new(item.span(), text)),
                None => self.wrong(key, item, "a list of strings"),
            }
        }
        Some(texts)
    }

    /// A table in which only the given keys may stand.
    pub(super) fn section(&self, key: &str, keys: &[&str]) -> Option<Self> {
        let table = self.typed(key, "a table", |value| value.as_table())?;
        Some(Self::new(table.get_ref(), table.span().start, keys, self.problems))
    }

    /// A table with keys of the author's choice.
    pub(super) fn table(&self, key: &str) -> Option<&'t DeTable<'t>> {
        self.typed(key, "a table", |value| value.as_table()).map(Spanned::into_inner)
    }

    /// A list of tables, written `[[key]]`, in which only the given keys may stand.
    pub(super) fn sections(&self, key: &str, keys: &[&str]) -> Vec<Self> {
        let written = format!("written [[{key}]]");
        let Some(list) = self.typed(key, &written, |value| value.as_array()) else { return Vec::new() };
        let mut sections = Vec::new();
        for item in list.get_ref().iter() {
            match item.get_ref().as_table() {
                Some(table) => sections.push(Self::new(table, item.span().start, keys, self.problems)),
                None => self.wrong(key, item, &written),
            }
        }
        sections
    }

    fn typed<T>(&self, key: &str, wanted: &str, read: impl Fn(&'t DeValue<'t>) -> Option<T>) -> Option<Spanned<T>> {
        let value = self.get(key)?;
        let read = read(value.get_ref());
        if read.is_none() {
            self.wrong(key, value, wanted);
        }
        let span: Range<usize> = value.span();
        read.map(|read| Spanned::new(span, read))
    }

    fn wrong(&self, key: &str, value: &Value<'_>, wanted: &str) {
        let message = format!("`{key}` must be {wanted}, not {}", kind_of(value.get_ref()));
        self.problems.report(value.span().start, message);
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
