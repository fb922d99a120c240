//! The sagas that ship with Amends: one folder each, with the definition, the typed front and the tests.

pub mod order;

use std::sync::Arc;

use amends_core::Definition;

/// The newest definition of every saga that ships with Amends.
pub fn definitions() -> Vec<Arc<Definition>> {
    vec![order::definition()]
}
