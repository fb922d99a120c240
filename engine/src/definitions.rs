//! The definitions that this engine knows, by type and version.

use std::collections::BTreeMap;
use std::sync::Arc;

use amends_core::{Definition, SagaType};

/// All known definitions; fixed once the engine runs.
#[derive(Debug, Default, Clone)]
pub struct Definitions(BTreeMap<(SagaType, u32), Arc<Definition>>);

/// Two definitions claim the same type and version.
#[derive(Debug, thiserror::Error)]
#[error(
    "{saga_type} version {version} is defined twice with different contents; a changed definition needs a new version"
)]
pub struct DefinitionsError {
    saga_type: SagaType,
    version: u32,
}

impl Definitions {
    /// Adds one. The same meaning again is ignored.
    pub fn add(&mut self, definition: Arc<Definition>) -> Result<(), DefinitionsError> {
        let at = (definition.saga_type.clone(), definition.version);
        match self.0.get(&at) {
            Some(known) if known.checksum != definition.checksum => {
                Err(DefinitionsError { saga_type: at.0, version: at.1 })
            }
            Some(_) => Ok(()),
            None => {
                self.0.insert(at, definition);
                Ok(())
            }
        }
    }

    /// The newest of a type.
    pub fn newest(&self, saga_type: &SagaType) -> Option<&Arc<Definition>> {
        self.0.range((saga_type.clone(), 0)..=(saga_type.clone(), u32::MAX)).next_back().map(|(_, found)| found)
    }

    /// A certain one.
    pub fn get(&self, saga_type: &SagaType, version: u32) -> Option<&Arc<Definition>> {
        self.0.get(&(saga_type.clone(), version))
    }

    /// All, by type and version.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Definition>> {
        self.0.values()
    }
}
