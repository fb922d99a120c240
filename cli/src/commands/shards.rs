//! `amends shards`

use amends_proto::amends::v1::{ListShardsRequest, ListShardsResponse};
use clap::Args;

use crate::args::{Global, OutputFormat, ReadArgs};
use crate::client::{Client, Doing};
use crate::error::CliError;
use crate::output::table::Table;
use crate::output::tone::Tone;
use crate::output::{Page, View, format, json};
use crate::watch;

/// Arguments of `amends shards`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  amends shards --watch")]
pub(crate) struct ShardsArgs {
    #[command(flatten)]
    read: ReadArgs,
}

/// Runs the command.
pub(crate) async fn run(global: &Global, args: ShardsArgs) -> Result<(), CliError> {
    let client = Client::connect(global).await?;
    let doing = Doing::read("shards", "list the shards");
    watch::run(&args.read, async || {
        let request = client.request(ListShardsRequest {});
        draw(global, &client.call(&doing, client.cluster().list_shards(request)).await?).map(Page::data)
    })
    .await
}

fn draw(global: &Global, answer: &ListShardsResponse) -> Result<String, CliError> {
    match global.output {
        OutputFormat::Json | OutputFormat::Jsonl => json::page(answer, &answer.shards, global.output),
        OutputFormat::Id => Ok(answer.shards.iter().map(|shard| format!("{}\n", shard.id)).collect()),
        _ => Ok(table(&View::of(global), answer)),
    }
}

fn table(view: &View, answer: &ListShardsResponse) -> String {
    let mut header = vec!["SHARD", "OWNER", "ADDRESS", "EPOCH", "LEASE", "JOURNAL", "UNPUBLISHED", "SAGAS"];
    if view.wide {
        header.push("CURSOR");
    }
    // Only where there is one: it is the last column, since reasons are sentences.
    if view.wide || answer.shards.iter().any(|shard| !shard.halted.is_empty()) {
        header.push("HALTED");
    }
    let mut table = Table::new(view, &header);
    for shard in &answer.shards {
        let lease = format::due(view, shard.lease_until.as_ref());
        // An owner without a lease has died or lost touch: the shard waits to be taken over.
        let (lease, tone) = match lease.as_str() {
            "now" => ("expired".to_owned(), Tone::Warn),
            "" => ("none".to_owned(), Tone::Warn),
            due => (due.replacen("in ", "", 1), Tone::Plain),
        };
        let mut row = vec![
            Tone::Strong.cell(shard.id),
            Tone::Plain.cell(view.id(&shard.owner)),
            Tone::Plain.cell(format::clean(&shard.address)),
            Tone::Plain.cell(shard.epoch),
            tone.cell(lease),
            Tone::Plain.cell(shard.journal_head),
            Tone::Plain.cell((shard.journal_head - shard.published_head).max(0)),
            Tone::Plain.cell(shard.sagas),
        ];
        if view.wide {
            row.push(Tone::Plain.cell(shard.reply_cursor));
        }
        if row.len() < header.len() {
            row.push(Tone::Bad.cell(format::clean(&shard.halted)));
        }
        table.row(row);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use amends_proto::amends::v1::Shard;

    use super::*;
    use crate::output::samples;

    #[test]
    fn a_shard_without_an_owner_stands_out() {
        let owned = Shard {
            id: 0,
            owner: "engine-1".to_owned(),
            address: "10.0.0.1:7400".to_owned(),
            epoch: 4,
            lease_until: samples::at(9_500),
            journal_head: 120,
            published_head: 117,
            sagas: 8,
            ..Shard::default()
        };
        let free = Shard { id: 1, ..Shard::default() };
        let text = table(&samples::view(), &ListShardsResponse { shards: vec![owned, free] });
        let expected = "\
SHARD  OWNER     ADDRESS        EPOCH  LEASE  JOURNAL  UNPUBLISHED  SAGAS
0      engine-1  10.0.0.1:7400  4      9.5s   120      3            8
1                               0      none   0        0            0
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }
    #[test]
    fn a_shard_that_stands_still_says_why() {
        let halted = "the topic amends.replies was deleted".to_owned();
        let halted = Shard { id: 3, owner: "a".to_owned(), halted, reply_cursor: 41, ..Shard::default() };
        let answer = ListShardsResponse { shards: vec![halted] };
        let text = |view: &View| anstream::adapter::strip_str(&table(view, &answer)).to_string();
        let narrow = text(&samples::view());
        assert!(narrow.contains("HALTED") && narrow.contains("the topic amends.replies was deleted"), "{narrow}");
        assert!(!narrow.contains("CURSOR"), "{narrow}");
        let wide = text(&View { wide: true, ..samples::view() });
        assert!(wide.contains("CURSOR  HALTED") && wide.contains("41"), "{wide}");
    }
}
