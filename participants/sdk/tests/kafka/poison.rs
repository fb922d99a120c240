//! Records that are no commands, and replies that nobody takes: none of them stops the others.

use std::sync::Arc;

use amends_core::record::{self, ReplyTo};
use amends_core::{Outcome, Payload, Timestamp};
use amends_sdk::kafka::{DEAD_LETTERS, INVALID_COMMAND};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

use crate::bus::{Bus, Reader, command, header, saga_id, to_headers, unique};
use crate::worker::{Worker, done, done_with};

/// A good command's headers without one of them.
fn without(bus: &Bus, saga: u128, name: &str) -> OwnedHeaders {
    let mut headers = record::command_headers(&command(saga), &bus.reply_to(saga), Timestamp(0));
    headers.retain(|(header, _)| *header != name);
    to_headers(headers)
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_refused_or_kept_and_stops_nobody() {
    let bus = Bus::new().await;
    let topic = bus.commands();
    let put = |key: &str, headers, value: Option<&[u8]>| bus.put(&topic, 0, key, headers, value);
    // Refused: it can be read who asks.
    put("1", without(&bus, 1, "none"), Some(b"{"));
    put("2", without(&bus, 2, "none"), None);
    put("3", without(&bus, 3, "none"), Some(b"\xff\xfe"));
    put("4", without(&bus, 4, record::header::SAGA_TYPE), Some(b"{}"));
    // Kept.
    let odd = OwnedHeaders::new().insert(Header { key: "odd", value: Some(&[0_u8, 255][..]) });
    put("five", odd, Some(b"\x00\xff anything"));
    put("six", without(&bus, 6, record::header::REPLY_TOPIC), Some(b"{}"));
    put("seven", without(&bus, 7, record::header::ID), Some(b"{}"));
    bus.put_command(0, &command(8), bus.reply_to(8));
    bus.flush();
    let worker = Worker::answering(&bus, &Arc::default());
    let replies = bus.replies().replies(5);
    let mut refused: Vec<u128> = Vec::new();
    for (_, reply) in &replies {
        let saga = reply.saga_id.as_uuid().as_u128();
        match &reply.outcome {
            Outcome::Refused(failure) => {
                assert_eq!((failure.code.as_str(), reply.command_id), (INVALID_COMMAND, command(saga).id));
                refused.push(saga);
            }
            outcome => assert_eq!((saga, outcome), (8, &done(command(8)).outcome)),
        }
    }
    refused.sort_unstable();
    assert_eq!(refused, [1, 2, 3, 4]);
    let mut letters = Reader::new(DEAD_LETTERS).letters_of(&topic, 3);
    letters.sort_by_key(|letter| header(letter, "amends-source-offset"));
    let keys: Vec<&[u8]> = letters.iter().map(|letter| letter.key().unwrap()).collect();
    assert_eq!(keys, [b"five".as_slice(), b"six", b"seven"]);
    assert_eq!(letters[0].payload().unwrap(), b"\x00\xff anything");
    let kept = letters[0].headers().unwrap().get(0);
    assert_eq!((kept.key, kept.value), ("odd", Some(&[0_u8, 255][..])));
    for (letter, offset) in letters.iter().zip(["4", "5", "6"]) {
        assert_eq!(header(letter, record::header::ERROR_CODE).unwrap(), INVALID_COMMAND);
        assert_eq!(header(letter, "amends-source-partition").unwrap(), "0");
        assert_eq!(header(letter, "amends-source-offset").unwrap(), offset);
    }
    worker.stop().await;
    assert_eq!(bus.committed(&topic, &bus.group()), (8, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_that_nobody_takes_becomes_a_dead_letter() {
    let bus = Bus::new().await;
    bus.put_command(0, &command(1), ReplyTo { partition: 99, ..bus.reply_to(1) });
    bus.put_command(0, &command(2), bus.reply_to(2));
    bus.put_command(0, &command(3), bus.reply_to(3));
    bus.put_command(0, &command(4), ReplyTo { topic: unique("nowhere"), partition: 0 });
    bus.flush();
    let worker = Worker::start(&bus, |mut commands, sink, _| async move {
        while let Some(command) = commands.recv().await {
            let large = Payload::encode(&"x".repeat(1_500_000)).unwrap();
            let output = if command.saga_id == saga_id(2) { large } else { Payload::null() };
            sink.send(vec![done_with(&command, output)]).await;
        }
    });
    assert_eq!(bus.replies().replies(1)[0].1.saga_id, saga_id(3));
    let mut letters = Reader::new(DEAD_LETTERS).letters_of(&bus.commands(), 3);
    letters.sort_by_key(|letter| header(letter, "amends-source-offset"));
    let code = |letter| header(letter, record::header::ERROR_CODE).unwrap();
    assert_eq!(letters.iter().map(code).collect::<Vec<_>>(), ["REPLY_UNDELIVERABLE"; 3]);
    let values: Vec<Option<&[u8]>> = letters.iter().map(|letter| letter.payload()).collect();
    assert_eq!(values, [Some(b"null".as_slice()), None, Some(b"null")]);
    assert_eq!(letters[1].key().unwrap(), saga_id(2).to_string().as_bytes());
    bus.all_committed(&bus.commands(), &bus.group()).await;
    worker.stop().await;
}
