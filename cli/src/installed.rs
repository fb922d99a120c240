//! The sagas that this program brings along.

use std::collections::{BTreeMap, BTreeSet};

use amends_engine::Definitions;

/// The definitions.
pub(crate) fn definitions() -> Definitions {
    let mut definitions = Definitions::default();
    definitions
        .add(amends_sagas::order::definition())
        .unwrap_or_else(|error| unreachable!("one definition contradicts no other: {error}"));
    definitions
}

/// The participants of all of them, with the commands that each must answer to.
pub(crate) fn participants() -> BTreeMap<String, BTreeSet<String>> {
    let mut participants: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for step in definitions().iter().flat_map(|definition| &definition.steps) {
        participants.entry(step.participant.clone()).or_default().insert(step.command.clone());
    }
    participants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_saga_has_four_participants() {
        assert_eq!(participants().keys().collect::<Vec<_>>(), ["inventory", "notification", "order", "payment"]);
    }
}
