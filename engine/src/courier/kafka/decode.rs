//! From a message to a record kept bit for bit, and from a record to a reply or to what is wrong with it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use amends_core::record::read_reply;
use amends_core::{Reply, Shard};
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::reroute::REROUTED;
use crate::courier::{Poison, Source, SourceHeader, SourceRecord};

/// The record cannot be read as a reply.
pub(super) const INVALID_REPLY: &str = "INVALID_REPLY";

/// Stands for a header's name that is no text.
const UNREADABLE_NAME: &str = "\u{fffd}";

/// Keeps a message.
pub(super) fn source_record(message: &BorrowedMessage<'_>) -> SourceRecord {
    SourceRecord {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: message.headers().map(source_headers).unwrap_or_default(),
    }
}

fn source_headers(headers: &impl Headers) -> Vec<SourceHeader> {
    let keep = |index| {
        let header = headers.try_get(index)?;
        Some(SourceHeader { name: header.key.to_owned(), value: header.value.map(<[u8]>::to_vec) })
    };
    let all = || (0..headers.count()).filter_map(keep).collect();
    // The library panics over a name that is not UTF-8, and has no other way to it. A record must not stop its shard
    // (I35), so such a header is kept as one that says so; nobody who speaks our protocol writes one.
    catch_unwind(AssertUnwindSafe(all)).unwrap_or_else(|_| {
        let one = |index| catch_unwind(AssertUnwindSafe(|| keep(index)));
        let unreadable = || Some(SourceHeader { name: UNREADABLE_NAME.to_owned(), value: None });
        (0..headers.count()).filter_map(|index| one(index).unwrap_or_else(|_| unreadable())).collect()
    })
}

/// What a record turns out to be.
pub(super) enum Verdict {
    /// A reply to a saga of this shard.
    Reply(Shard, Reply),
    /// No reply.
    Poison(Poison),
}

/// Judges a record.
pub(super) fn judge(source: &Source, shards: u16) -> Verdict {
    match read_reply(|name| find(source, name), source.value.as_deref()) {
        Ok(reply) => Verdict::Reply(Shard::of(reply.saga_id, shards), reply),
        Err(invalid) => {
            let (source, message) = (Arc::clone(source), invalid.to_string());
            Verdict::Poison(Poison { source, code: INVALID_REPLY, message })
        }
    }
}

/// Whether a reply was sent on before.
pub(super) fn is_rerouted(source: &SourceRecord) -> bool {
    find(source, REROUTED).is_some()
}

/// The last header of a name is the one that counts, as in Kafka's own clients.
fn find<'s>(source: &'s SourceRecord, name: &str) -> Option<&'s [u8]> {
    let header = source.headers.iter().rev().find(|header| header.name == name);
    header.and_then(|header| header.value.as_deref())
}

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    /// As the library does with a name that is not UTF-8.
    struct Odd;

    impl Headers for Odd {
        fn count(&self) -> usize {
            3
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            assert_ne!(index, 1, "not UTF-8");
            Some(Header { key: "name", value: (index == 2).then_some(&[0xff][..]) })
        }
    }

    #[test]
    fn a_header_name_that_is_no_text_panics_nobody_and_costs_no_other_header() {
        let kept: Vec<_> = source_headers(&Odd).into_iter().map(|header| (header.name, header.value)).collect();
        let name = |name: &str| name.to_owned();
        assert_eq!(kept, [(name("name"), None), (name(UNREADABLE_NAME), None), (name("name"), Some(vec![0xff]))]);
    }
}
