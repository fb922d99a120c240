//! The published page `docs/wire.md`: its tables and its example against what is read and written.

use std::collections::{BTreeMap, BTreeSet};

use amends_core::record::{
    ReplyTo, command_headers, event_headers, read_command, read_event, read_reply, read_reply_to, reply_record,
};
use amends_core::{CommandId, Failure, Millis, Outcome, Shard, Timestamp};

/// Shards of a new installation, which the example is from.
const SHARDS: u16 = 16;

fn page() -> &'static str {
    include_str!("../../../../docs/wire.md")
}

/// A record of the page's example.
struct Example {
    key: String,
    headers: BTreeMap<String, String>,
    value: String,
}

impl Example {
    fn of(topic: &str) -> Self {
        let (_, block) = page().split_once(&format!("```text\ntopic {topic}, ")).unwrap();
        let (record, _) = block.split_once("\n```").unwrap();
        let (head, value) = record.split_once("\n\n").unwrap();
        let (place, headers) = head.split_once('\n').unwrap();
        let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        Self {
            key: place.rsplit(' ').next().unwrap().to_owned(),
            headers: headers.lines().map(pair).collect(),
            value: value.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(String::as_bytes)
    }

    fn time(&self) -> Timestamp {
        self.headers["ce_time"].parse().unwrap()
    }
}

fn text(headers: &[(&'static str, String)]) -> BTreeMap<String, String> {
    headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The names in the first column of the table under a heading.
fn table(heading: &str) -> BTreeSet<String> {
    let (_, section) = page().split_once(&format!("### {heading}\n")).unwrap();
    let section = section.split("\n#").next().unwrap();
    let names = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    names.map(str::to_owned).collect()
}

fn names(headers: &[(&'static str, String)]) -> BTreeSet<String> {
    headers.iter().map(|(name, _)| (*name).to_owned()).collect()
}

#[test]
fn the_command_of_the_page_is_one() {
    let page = Example::of("amends.payment.commands");
    let command = read_command("payment", |name| page.header(name), Some(page.value.as_bytes())).unwrap();
    let to = read_reply_to(|name| page.header(name)).unwrap();
    assert_eq!(text(&command_headers(&command, &to, page.time())), page.headers);
    assert_eq!(CommandId::derive(command.saga_id, &command.step, command.operation, 0), command.id);
    assert_eq!(page.key, command.saga_id.to_string());
    let partition = i32::from(Shard::of(command.saga_id, SHARDS).0);
    assert_eq!(to, ReplyTo { topic: "amends.replies".to_owned(), partition });
}

#[test]
fn the_reply_of_the_page_is_one() {
    let page = Example::of("amends.replies");
    let reply = read_reply(|name| page.header(name), Some(page.value.as_bytes())).unwrap();
    let (headers, value) = reply_record(&reply, "/payment", page.time());
    assert_eq!((text(&headers), value.as_str()), (page.headers, page.value.as_str()));
    assert_eq!(page.key, reply.saga_id.to_string());
}

#[test]
fn the_tables_name_every_header() {
    let page = Example::of("amends.payment.commands");
    let mut command = read_command("payment", |name| page.header(name), Some(page.value.as_bytes())).unwrap();
    command.cause = Some(Failure::new("OUT_OF_STOCK", "none is left"));
    let to = read_reply_to(|name| page.header(name)).unwrap();
    assert_eq!(names(&command_headers(&command, &to, page.time())), table("A command"));

    let page = Example::of("amends.replies");
    let mut reply = read_reply(|name| page.header(name), Some(page.value.as_bytes())).unwrap();
    reply.outcome = Outcome::TryAgain { failure: Failure::new("BUSY", "later"), after: Some(Millis(1500)) };
    assert_eq!(names(&reply_record(&reply, "/payment", page.time()).0), table("A reply"));
}

#[test]
fn what_is_required_is_required() {
    let (command, reply) = (Example::of("amends.payment.commands"), Example::of("amends.replies"));
    let read = |without: &str| {
        let header = |name: &str| if name == without { None } else { reply.header(name) };
        read_reply(header, Some(reply.value.as_bytes()))
    };
    let (_, section) = page().split_once("### A reply\n").unwrap();
    for line in section.split("\n#").next().unwrap().lines() {
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once("` | ")) else { continue };
        assert_eq!(read(name).is_err(), rest.starts_with("**yes**"), "{name}");
    }
    let header = |name: &str| if name == "amends-reply-partition" { None } else { command.header(name) };
    assert!(read_reply_to(header).is_err());
}

#[test]
fn the_page_names_the_headers_of_domain_events() {
    let page_event = Example {
        key: String::new(),
        headers: [
            ("ce_id", "885f87eb-1c85-5559-a238-dfaaccdbc424"),
            ("ce_subject", "0190163d-8694-739b-aea5-966c26f8ad91"),
            ("ce_time", "2026-01-31T12:00:00.000Z"),
            ("amends-saga-type", "order"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        value: "{}".to_owned(),
    };
    let event = read_event("order_created", |name| page_event.header(name), Some(b"{}")).unwrap();
    let (_, section) = page().split_once("### Domain events\n").unwrap();
    let section = section.split("\n#").next().unwrap();
    for (name, _) in event_headers(&event) {
        assert!(section.contains(&format!("`{name}`")), "{name}");
    }
}
