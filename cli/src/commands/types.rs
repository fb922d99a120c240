//! `amends types`

use amends_proto::amends::v1::{GetDefinitionRequest, ListDefinitionsRequest};
use clap::Args;

use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::{Client, Doing};
use crate::error::{CliError, Exit};
use crate::output::{Page, View, graph, json, types};
use crate::watch;

/// Arguments of `amends types`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends types order --graph\n  amends types order@1 -o mermaid")]
pub(crate) struct TypesArgs {
    /// One type, its newest version or NAME@VERSION; without it all
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Draw the order between its steps
    #[arg(long, requires = "name")]
    graph: bool,
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: TypesArgs) -> Result<(), CliError> {
    if args.name.is_none() && global.output == OutputFormat::Mermaid {
        return Err(CliError::new(Exit::Usage, "a diagram shows one type").next("amends types NAME -o mermaid"));
    }
    let named = args.name.as_deref().map(named).transpose()?;
    let client = Client::connect(global).await?;
    watch::run(&args.read, async || match &named {
        Some(request) => one(global, &client, request.clone(), args.graph).await.map(Page::data),
        None => all(global, &client).await.map(Page::data),
    })
    .await
}

fn named(name: &str) -> Result<GetDefinitionRequest, CliError> {
    let (saga_type, version) = match name.split_once('@') {
        None => (name, Ok(0)),
        Some((saga_type, version)) => (saga_type, version.parse()),
    };
    let version = version.map_err(|error| {
        CliError::new(Exit::Usage, format!("`{name}` names no version")).why(error).next("amends types order@1")
    })?;
    Ok(GetDefinitionRequest { r#type: saga_type.to_owned(), version })
}

async fn all(global: &Global, client: &Client) -> Result<String, CliError> {
    let doing = Doing::read("types", "list the types of saga");
    let request = client.request(ListDefinitionsRequest {});
    let answer = client.call(&doing, client.definitions().list_definitions(request)).await?;
    Ok(match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::page(&answer, &answer.definitions, global.output)?,
        OutputFormat::Id => answer.definitions.iter().map(|definition| format!("{}\n", definition.r#type)).collect(),
        _ => types::render(&View::of(global), &answer.definitions),
    })
}

async fn one(global: &Global, client: &Client, request: GetDefinitionRequest, graph: bool) -> Result<String, CliError> {
    let doing = Doing::read("types", format!("show the type {}", request.r#type)).among("amends types");
    let definition = client.call(&doing, client.definitions().get_definition(client.request(request))).await?;
    Ok(match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::one(&definition, global.output)?,
        OutputFormat::Id => format!("{}\n", definition.r#type),
        OutputFormat::Mermaid => graph::definition_mermaid(&definition),
        _ if graph => graph::definition_tree(&definition),
        _ => types::details(&View::of(global), &definition),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_may_be_named() {
        let request = |name| named(name).ok().map(|request| (request.r#type, request.version));
        assert_eq!(request("order"), Some(("order".to_owned(), 0)));
        assert_eq!(request("order@3"), Some(("order".to_owned(), 3)));
        assert_eq!(request("order@new"), None);
    }
}
