//! `amends version`

use std::time::Duration;

use amends_proto::amends::v1::{GetVersionRequest, GetVersionResponse};

use crate::args::{Global, OutputFormat};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::output::{format, json, terminal};

/// The server is asked in passing; a person who only wants the program's version does not wait longer.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// Runs the command.
pub(crate) async fn run(global: &Global) -> Result<(), CliError> {
    let server = ask(global).await;
    if matches!(global.output, OutputFormat::Json | OutputFormat::Jsonl) {
        let version = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "server": server.ok() });
        return terminal::out(&json::one(&version, global.output)?);
    }
    terminal::out(&format!("amends {}\n", env!("CARGO_PKG_VERSION")))?;
    match server {
        Ok(server) => terminal::out(&format!(
            "server {} · {} · {}\n",
            format::clean(&server.version),
            format::clean(&server.store),
            global.server
        )),
        Err(error) => {
            let (what, why, _) = error.parts();
            terminal::note(&format!("{what}{}", why.map(|why| format!(" ({why})")).unwrap_or_default()));
            Ok(())
        }
    }
}

async fn ask(global: &Global) -> Result<GetVersionResponse, CliError> {
    let client = Client::connect_within(global, global.timeout.unwrap_or(SERVER_TIMEOUT)).await?;
    let doing = Doing::read("version", "ask the server for its version");
    client.call(&doing, client.cluster().get_version(client.request(GetVersionRequest {}))).await
}
