//! Reads what sagas there are, and who carries out their steps.

use std::collections::{BTreeMap, BTreeSet};

use amends_core::{Definition, StepDefinition};
use amends_proto::amends::v1 as proto;

use crate::service::view::{kind_word, on_word};
use crate::service::{ServiceError, field};
use crate::{Definitions, Engine};

/// Lists all definitions, by type and version.
pub fn definitions(engine: &Engine) -> proto::ListDefinitionsResponse {
    proto::ListDefinitionsResponse { definitions: engine.definitions().iter().map(|known| describe(known)).collect() }
}

/// Shows one definition; version 0 means the newest.
pub fn definition(
    engine: &Engine,
    request: &proto::GetDefinitionRequest,
) -> Result<proto::SagaDefinition, ServiceError> {
    let saga_type = field::saga_type("type", &request.r#type)?;
    let known = engine.definitions();
    let found = match request.version {
        0 => known.newest(&saga_type),
        version => known.get(&saga_type, version),
    };
    found.map(|found| describe(found)).ok_or_else(|| {
        let version = if request.version == 0 { String::new() } else { format!(" version {}", request.version) };
        ServiceError::NotFound(format!("there is no saga type {saga_type}{version}; there are: {}", names(known)))
    })
}

fn names(known: &Definitions) -> String {
    let names: Vec<_> = known.iter().map(|known| format!("{} version {}", known.saga_type, known.version)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Checks a definition and stores nothing.
pub fn check_definition(request: &proto::CheckDefinitionRequest) -> proto::CheckDefinitionResponse {
    match Definition::parse(&request.source) {
        Ok(definition) => {
            proto::CheckDefinitionResponse { definition: Some(describe(&definition)), problems: Vec::new() }
        }
        Err(errors) => {
            let problems = errors.into_iter().map(|error| proto::DefinitionProblem {
                line: u32::try_from(error.line).unwrap_or(u32::MAX),
                message: error.message,
            });
            proto::CheckDefinitionResponse { definition: None, problems: problems.collect() }
        }
    }
}

/// A definition as clients see it.
pub fn describe(definition: &Definition) -> proto::SagaDefinition {
    let topics: BTreeSet<_> = definition.events.iter().map(|rule| rule.topic.clone()).collect();
    proto::SagaDefinition {
        r#type: definition.saga_type.to_string(),
        version: definition.version,
        checksum: definition.checksum.to_string(),
        source: definition.source.to_string(),
        steps: definition.steps.iter().map(|step| describe_step(definition, step)).collect(),
        topics: topics.into_iter().collect(),
        deadline: definition.deadline.map(|span| span.to_string()).unwrap_or_default(),
    }
}

fn describe_step(definition: &Definition, step: &StepDefinition) -> proto::StepDefinition {
    proto::StepDefinition {
        name: step.name.to_string(),
        command: step.command.clone(),
        participant: step.participant.clone(),
        kind: kind_word(step.kind).to_owned(),
        on: on_word(step.on).to_owned(),
        after: step.after.iter().map(|index| definition.step(*index).name.to_string()).collect(),
        timeout: step.timeout.to_string(),
        attempts: step.retry.attempts,
    }
}

/// Lists participants: those that the definitions name and those that a courier can reach, with their commands.
pub fn participants(engine: &Engine) -> proto::ListParticipantsResponse {
    let served: BTreeMap<_, _> =
        engine.courier().served().into_iter().map(|served| (served.participant.clone(), served)).collect();
    let mut commands: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for step in engine.definitions().iter().flat_map(|definition| &definition.steps) {
        commands.entry(step.participant.clone()).or_default().insert(step.command.clone());
    }
    for (name, served) in &served {
        commands.entry(name.clone()).or_default().extend(served.commands.iter().cloned());
    }
    let participants = commands.into_iter().map(|(name, commands)| {
        let served = served.get(&name);
        proto::Participant {
            courier: served.map_or("", |served| served.courier).to_owned(),
            target: served.map(|served| served.target.clone()).unwrap_or_default(),
            held: served.and_then(|served| served.held.clone()).unwrap_or_default(),
            commands: commands.into_iter().collect(),
            name,
        }
    });
    proto::ListParticipantsResponse { participants: participants.collect() }
}
