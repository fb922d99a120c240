//! The table `audit`: what operators did.

use super::commit::Columns;
use super::decode::text;
use crate::store::AuditEntry;

/// The part of a commit that writes entries; parameters 50 to 55. A second one for a journal row is a conflict.
pub(super) const INSERT: &str = "\
noted AS (
  INSERT INTO audit (saga_id, seq, at, who, action, reason)
  SELECT entry.* FROM passed CROSS JOIN unnest($50::UUID[], $51::BIGINT[], $52::BIGINT[], $53::TEXT[], $54::TEXT[],
      $55::TEXT[]) AS entry (saga_id, seq, at, who, action, reason)
)";

/// Binds the columns of [`INSERT`].
pub(super) fn bind(columns: &mut Columns, entries: &[AuditEntry]) {
    columns.push(entries.iter().map(|entry| entry.saga_id.as_uuid()));
    columns.push(entries.iter().map(|entry| entry.seq.cast_signed()));
    columns.push(entries.iter().map(|entry| entry.at.0));
    columns.push(entries.iter().map(|entry| text(&entry.who)));
    columns.push(entries.iter().map(|entry| text(&entry.action)));
    columns.push(entries.iter().map(|entry| text(&entry.reason)));
}
