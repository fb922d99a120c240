use amends_core::Timestamp;
use rdkafka::message::{Header, OwnedHeaders};

use super::*;
use crate::fixture::command;

const PARTICIPANT: &str = "payment";

fn reply_to() -> ReplyTo {
    ReplyTo { topic: "amends.replies".into(), partition: 5 }
}

/// A good command's headers, but for one that has another value, or none.
fn but(changed: &str, to: Option<&[u8]>) -> OwnedHeaders {
    let good = command(7, Operation::Execute, "{}");
    let headers = record::command_headers(&good, &reply_to(), Timestamp(0));
    headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
        let value = if *key == changed { to } else { Some(value.as_bytes()) };
        match value {
            Some(_) => headers.insert(Header { key, value }),
            None => headers,
        }
    })
}

fn read_but(changed: &str, to: Option<&[u8]>) -> Read {
    read(PARTICIPANT, Some(&but(changed, to)), Some(b"{}"))
}

/// The header that a refusal names.
fn refused(read: Read) -> String {
    match read {
        Read::Answer(Reply { outcome: Outcome::Refused(failure), command_id, .. }, to) => {
            assert_eq!(failure.code, INVALID_COMMAND);
            assert_eq!(command_id, command(7, Operation::Execute, "{}").id);
            assert_eq!(to, reply_to());
            failure.message.split(':').next().unwrap().to_owned()
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// The header that a dead letter names.
fn kept(read: Read) -> &'static str {
    match read {
        Read::Keep(invalid) => invalid.at,
        other => panic!("not kept: {other:?}"),
    }
}

#[test]
fn a_good_command_is_read() {
    let Read::Command(found, to) = read_but("none", None) else { panic!("not read") };
    assert_eq!((*found, to), (command(7, Operation::Execute, "{}"), reply_to()));
}

#[test]
fn what_says_who_asks_is_refused() {
    assert_eq!(refused(read_but(header::TYPE, None)), header::TYPE);
    assert_eq!(refused(read_but(header::SAGA_TYPE, Some(b"NO SUCH"))), header::SAGA_TYPE);
    assert_eq!(refused(read_but(header::ATTEMPT, Some(b"many"))), header::ATTEMPT);
    assert_eq!(refused(read_but(header::DEADLINE, Some(b"\xff"))), header::DEADLINE);
    for value in [None, Some(b"{".as_slice()), Some(b"\xff\xfe"), Some(b"")] {
        assert_eq!(refused(read(PARTICIPANT, Some(&but("none", None)), value)), "value");
    }
}

#[test]
fn what_does_not_say_who_asks_is_kept() {
    for name in [header::ID, header::SUBJECT, header::STEP, header::OPERATION] {
        assert_eq!(kept(read_but(name, Some(b"\xff"))), name);
        assert_eq!(kept(read_but(name, None)), name);
    }
    assert_eq!(kept(read(PARTICIPANT, None::<&OwnedHeaders>, Some(b"{}"))), header::REPLY_TOPIC);
}

#[test]
fn a_command_whose_reply_has_no_place_is_kept_and_not_done() {
    for topic in [None, Some(b"".as_slice()), Some(b"no topic"), Some(b".."), Some(&[b'a'; 250]), Some(b"a\0b")] {
        assert_eq!(kept(read_but(header::REPLY_TOPIC, topic)), header::REPLY_TOPIC);
    }
    for partition in [None, Some(b"-1".as_slice()), Some(b"99999999999"), Some(b"one")] {
        assert_eq!(kept(read_but(header::REPLY_PARTITION, partition)), header::REPLY_PARTITION);
    }
}

/// Panics as the library does on a name that is not UTF-8.
struct Broken;

impl Headers for Broken {
    fn count(&self) -> usize {
        1
    }

    fn try_get(&self, _: usize) -> Option<Header<'_, &[u8]>> {
        panic!("a name that is not UTF-8")
    }
}

#[test]
fn a_header_whose_name_is_not_text_does_not_stop_the_worker() {
    assert_eq!(kept(read(PARTICIPANT, Some(&Broken), Some(b"{}"))), "headers");
}
