//! Where a page of a list ended: a list goes on after that row, whatever was added in front.

use amends_core::Timestamp;

use super::StoreError;

/// The last row of a page, in the order of its list: newest first, and what was written later first.
#[derive(Clone, Copy)]
pub(super) struct Token {
    /// Its time.
    pub(super) at: Timestamp,
    /// Its number in the table.
    pub(super) number: i64,
}

impl Token {
    /// Reads what [`Token::cut`] wrote; nothing for the first page.
    pub(super) fn read(text: &str) -> Result<Option<Self>, StoreError> {
        if text.is_empty() {
            return Ok(None);
        }
        let parts = text.split_once('.').and_then(|(at, number)| Some((at.parse().ok()?, number.parse().ok()?)));
        match parts {
            Some((at, number)) => Ok(Some(Self { at: Timestamp(at), number })),
            None => Err(StoreError::Conflict("the page token is not one that this list gave".to_owned())),
        }
    }

    /// Cuts what was read, one row more than a page holds, down to the page, and says where the next one begins.
    pub(super) fn cut<R>(mut rows: Vec<(i64, R)>, size: u32, at: impl Fn(&R) -> Timestamp) -> (Vec<R>, String) {
        let more = rows.len() > size as usize;
        rows.truncate(size as usize);
        let next = match rows.last() {
            Some((number, row)) if more => format!("{}.{number}", at(row).0),
            _ => String::new(),
        };
        (rows.into_iter().map(|(_, row)| row).collect(), next)
    }
}
