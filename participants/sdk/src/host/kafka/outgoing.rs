//! What leaves a worker: replies, and dead letters of what nobody could deal with.

use std::sync::Arc;
use std::time::Instant;

use amends_core::record::{self, ReplyTo, header};
use amends_core::{Payload, Reply, Timestamp};
use rdkafka::message::{BorrowedMessage, Header, Message, OwnedHeaders};

use super::offsets::Ticket;

/// Headers of a dead letter: where its record came from.
const SOURCE_TOPIC: &str = "amends-source-topic";
const SOURCE_PARTITION: &str = "amends-source-partition";
const SOURCE_OFFSET: &str = "amends-source-offset";
const SOURCE_TIME: &str = "amends-source-time";

/// The code of a reply that its topic does not take.
const REPLY_UNDELIVERABLE: &str = "REPLY_UNDELIVERABLE";

/// One record on its way out. When it is delivered, the record that caused it is dealt with.
pub(super) struct Outgoing {
    pub(super) body: Body,
    pub(super) ticket: Ticket,
    /// How often the brokers have said that they will not have it.
    pub(super) refused: u32,
    /// When to send it, if not at once.
    pub(super) not_before: Option<Instant>,
    /// The command's span, open until here.
    _span: tracing::Span,
}

/// What a record says.
pub(super) enum Body {
    Reply { reply: Reply, to: Arc<ReplyTo>, source: Arc<str> },
    DeadLetter(DeadLetter),
}

/// A record that nobody could deal with, as it came, with the reason in its headers.
pub(super) struct DeadLetter {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: OwnedHeaders,
    /// The record's own time. Not that of the dead letter: it would be deleted when its record would.
    at: Option<Timestamp>,
}

/// A record ready to be produced.
pub(super) struct Encoded {
    pub(super) topic: Topic,
    pub(super) partition: Option<i32>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Value,
    pub(super) headers: OwnedHeaders,
}

pub(super) enum Topic {
    Reply(Arc<ReplyTo>),
    DeadLetters,
}

impl Topic {
    /// Its name; that of the dead letters depends on the configuration.
    pub(super) fn name<'n>(&'n self, dead_letters: &'n str) -> &'n str {
        match self {
            Self::Reply(to) => &to.topic,
            Self::DeadLetters => dead_letters,
        }
    }
}

pub(super) enum Value {
    None,
    Bytes(Vec<u8>),
    Payload(Payload),
}

impl Value {
    pub(super) fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::None => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Payload(payload) => Some(payload.as_str().as_bytes()),
        }
    }
}

impl Outgoing {
    pub(super) fn reply(
        reply: Reply,
        to: Arc<ReplyTo>,
        source: Arc<str>,
        ticket: Ticket,
        span: tracing::Span,
    ) -> Box<Self> {
        Self::new(Body::Reply { reply, to, source }, ticket, span)
    }

    pub(super) fn dead_letter(letter: DeadLetter, ticket: Ticket) -> Box<Self> {
        Self::new(Body::DeadLetter(letter), ticket, tracing::Span::none())
    }

    fn new(body: Body, ticket: Ticket, span: tracing::Span) -> Box<Self> {
        Box::new(Self { body, ticket, refused: 0, not_before: None, _span: span })
    }

    /// Builds the record.
    pub(super) fn encode(&self, now: Timestamp) -> Encoded {
        match &self.body {
            Body::Reply { reply, to, source } => {
                let (headers, value) = record::reply_record(reply, source, now);
                Encoded {
                    topic: Topic::Reply(Arc::clone(to)),
                    partition: Some(to.partition),
                    key: Some(reply.saga_id.to_string().into_bytes()),
                    value: Value::Payload(value),
                    headers: to_headers(&headers),
                }
            }
            Body::DeadLetter(letter) => Encoded {
                topic: Topic::DeadLetters,
                partition: None,
                key: letter.key.clone(),
                value: letter.value.clone().map_or(Value::None, Value::Bytes),
                headers: letter.headers.clone(),
            },
        }
    }

    /// Makes a dead letter of a reply that its topic does not take, so that it is at least to be found; `None` if it is
    /// one already. `too_large` leaves the value out.
    pub(super) fn into_dead_letter(self, why: &str, too_large: bool, now: Timestamp) -> Option<Box<Self>> {
        let Body::Reply { .. } = &self.body else { return None };
        let Encoded { key, value, headers, .. } = self.encode(now);
        let value = value.as_bytes().filter(|_| !too_large).map(<[u8]>::to_vec);
        let letter = DeadLetter { key, value, headers, at: None };
        Some(Self::dead_letter(letter.because(&self.ticket, REPLY_UNDELIVERABLE, why), self.ticket))
    }
}

impl DeadLetter {
    /// Keeps a record as it came.
    pub(super) fn keep(record: &BorrowedMessage<'_>) -> Self {
        Self {
            key: record.key().map(<[u8]>::to_vec),
            value: record.payload().map(<[u8]>::to_vec),
            headers: record.headers().map_or_else(OwnedHeaders::new, |headers| headers.detach()),
            at: record.timestamp().to_millis().map(Timestamp),
        }
    }

    /// Adds where it came from, and why it is one.
    pub(super) fn because(mut self, ticket: &Ticket, code: &str, why: &str) -> Self {
        let mut headers = add(self.headers, header::ERROR_CODE, code);
        headers = add(headers, header::ERROR_MESSAGE, why);
        headers = add(headers, SOURCE_TOPIC, &ticket.topic);
        headers = add(headers, SOURCE_PARTITION, &ticket.partition.to_string());
        headers = add(headers, SOURCE_OFFSET, &ticket.offset.to_string());
        if let Some(at) = self.at {
            headers = add(headers, SOURCE_TIME, &at.to_string());
        }
        self.headers = headers;
        self
    }
}

fn to_headers(pairs: &record::Headers) -> OwnedHeaders {
    let headers = OwnedHeaders::new_with_capacity(pairs.len());
    pairs.iter().fold(headers, |headers, (name, value)| add(headers, name, value))
}

fn add(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}
