//! The engine of `--server`, and through it shards, participants, and what waits for people.

use amends_proto::amends::v1::{
    GetVersionRequest, ListDeadLettersRequest, ListParticipantsRequest, ListSagasRequest, ListShardsRequest,
    SagaStatus, Shard,
};

use super::{Findings, PATIENCE, count};
use crate::args::Global;
use crate::client::{Client, Doing};
use crate::config::Settings;
use crate::error::CliError;

/// Dead letters that are counted; more are many.
const DEAD_LETTERS_MAX: i32 = 1_000;

pub(super) async fn look(global: &Global, findings: &mut Findings) {
    let client = match Client::connect_within(global, global.timeout.unwrap_or(PATIENCE)).await {
        Ok(client) => client,
        Err(error) => {
            let (what, why, _) = error.parts();
            let what = why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"));
            return findings.fail("server", what, "amends serve, or --server URL for another engine");
        }
    };
    if let Err(error) = ask(global, &client, findings).await {
        findings.error("server", &error);
    }
}

async fn ask(global: &Global, client: &Client, findings: &mut Findings) -> Result<(), CliError> {
    let doing = |what: &str| Doing::read("doctor", what);
    let version = client.cluster().get_version(client.request(GetVersionRequest {})).await;
    let version = version.map_err(|status| doing("ask for the version").failed(&status))?.into_inner();
    let what = format!("amends {} on {} answers at {}", version.version, version.store, global.server);
    match version.version == env!("CARGO_PKG_VERSION") {
        true => findings.ok("server", what),
        false => findings.warn("server", what, format!("this program is amends {}", env!("CARGO_PKG_VERSION"))),
    }
    let request = client.request(ListShardsRequest {});
    let shards = client.call(&doing("list the shards"), client.cluster().list_shards(request)).await?.shards;
    self::shards(&shards, findings);
    let request = client.request(ListParticipantsRequest {});
    let answer = client.call(&doing("list the participants"), client.cluster().list_participants(request)).await?;
    for participant in &answer.participants {
        let name = &participant.name;
        match participant.held.as_str() {
            "" => findings.ok("participant", format!("{name} over {} {}", participant.courier, participant.target)),
            held => findings.fail(
                "participant",
                format!("{name}: commands are held back: {held}"),
                format!("amends worker {name} …, or look at its log; nothing is lost meanwhile"),
            ),
        }
    }
    waiting(client, findings).await
}

fn shards(shards: &[Shard], findings: &mut Findings) {
    let ownerless = shards.iter().filter(|shard| shard.owner.is_empty()).count();
    let halted: Vec<&Shard> = shards.iter().filter(|shard| !shard.halted.is_empty()).collect();
    if ownerless > 0 {
        let what = format!("{ownerless} of {} have no owner", shards.len());
        findings.fail("shards", what, "amends serve: an engine takes them within a few seconds");
    }
    for shard in &halted {
        let next = "amends bus topics shows the topic; amends bus ensure --adopt gives up what the old one held";
        findings.fail("shards", format!("shard {} stands still: {}", shard.id, shard.halted), next);
    }
    if ownerless == 0 && halted.is_empty() {
        let mut owners: Vec<&str> = shards.iter().map(|shard| shard.address.as_str()).collect();
        owners.sort_unstable();
        owners.dedup();
        findings.ok("shards", format!("{}, all owned: {}", shards.len(), owners.join(", ")));
    }
}

/// What waits for people: nothing is wrong with the installation, but with somebody's order.
async fn waiting(client: &Client, findings: &mut Findings) -> Result<(), CliError> {
    let statuses = vec![SagaStatus::Parked.into()];
    let request = client.request(ListSagasRequest { page_size: 1, statuses, ..ListSagasRequest::default() });
    let doing = Doing::read("doctor", "count parked sagas");
    let parked = client.call(&doing, client.sagas().list_sagas(request)).await?.total_size;
    match usize::try_from(parked) {
        Ok(0) => findings.ok("sagas", "none is parked"),
        Ok(parked) => findings.warn("sagas", format!("{parked} parked"), "amends list --status parked"),
        Err(_) => findings.warn("sagas", "very many are parked", "amends list --status parked"),
    }
    let request = client.request(ListDeadLettersRequest { page_size: DEAD_LETTERS_MAX, ..Default::default() });
    let doing = Doing::read("doctor", "count dead letters");
    let letters = client.call(&doing, client.dead_letters().list_dead_letters(request)).await?;
    match (letters.dead_letters.len(), letters.next_page_token.is_empty()) {
        (0, _) => findings.ok("dead letters", "none"),
        (found, true) => findings.warn("dead letters", count(found, "dead letter"), "amends dlq list"),
        (found, false) => findings.warn("dead letters", format!("more than {found}"), "amends dlq list"),
    }
    Ok(())
}

/// Whether the participants' own HTTP answers, where it is configured.
pub(super) async fn participants_http(settings: &Settings, findings: &mut Findings) {
    let Ok(client) = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build() else { return };
    for (name, own) in &settings.participants {
        let Some(base) = &own.http else { continue };
        let url = format!("{}/readyz", base.trim_end_matches('/'));
        let answer = client.get(&url).send().await.and_then(reqwest::Response::error_for_status);
        match answer {
            Ok(_) => findings.ok("participant", format!("{name} answers HTTP at {base}")),
            Err(error) => {
                let why = error.status().map_or_else(|| "no answer".to_owned(), |status| status.to_string());
                let next = format!("amends worker {name} --http …, or correct participants.{name}.http");
                findings.fail("participant", format!("{name} is not ready at {base}: {why}"), next);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_shard_without_owner_and_one_that_stands_still_are_failures() {
        let shard = |id, owner: &str, halted: &str| Shard {
            id,
            owner: owner.to_owned(),
            address: "10.0.0.1:7400".to_owned(),
            halted: halted.to_owned(),
            ..Shard::default()
        };
        let states = |all: &[Shard]| {
            let mut findings = Findings::default();
            shards(all, &mut findings);
            findings.0.into_iter().map(|finding| (finding.state, finding.what)).collect::<Vec<_>>()
        };
        let well = states(&[shard(0, "a", ""), shard(1, "a", "")]);
        assert_eq!(well, [(State::Ok, "2, all owned: 10.0.0.1:7400".to_owned())]);
        let bad = states(&[shard(0, "", ""), shard(1, "a", "the topic is gone")]);
        assert_eq!(bad.len(), 2);
        assert_eq!(bad[0], (State::Failure, "1 of 2 have no owner".to_owned()));
        assert_eq!(bad[1], (State::Failure, "shard 1 stands still: the topic is gone".to_owned()));
    }
}
