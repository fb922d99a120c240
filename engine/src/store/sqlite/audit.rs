//! The table `audit`: what operators did.

use std::sync::LazyLock;

use super::bulk::Bulk;
use super::commit::Plan;
use crate::store::AuditEntry;

static INSERT: LazyLock<Bulk> = LazyLock::new(|| {
    Bulk::new(
        "INSERT INTO audit (saga_id, seq, at, who, action, reason) SELECT * FROM",
        6,
        "AS entry WHERE entry.column1 IS NOT NULL",
    )
});

/// Writes entries; a second one for a journal row is a conflict.
pub(super) fn insert(plan: &mut Plan, entries: &[AuditEntry]) {
    plan.insert(&INSERT, entries, |parameters, entry| {
        parameters.push(entry.saga_id.as_uuid().as_bytes().as_slice());
        parameters.push(entry.seq.cast_signed());
        parameters.push(entry.at.0);
        parameters.push(entry.who.as_str());
        parameters.push(entry.action.as_str());
        parameters.push(entry.reason.as_str());
    });
}
