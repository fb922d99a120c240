//! What the broker says of topics: partitions, leaders, and the id that tells a topic from its namesake.
//!
//! The client library's safe interface leaves ids out, so one plain Metadata request asks for them. Where connections
//! are encrypted or authenticated, the library is asked instead, and ids are not known.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use rdkafka::ClientContext;
use rdkafka::client::Client;
use uuid::Uuid;

use super::config::KafkaConfig;

/// The first version of the request whose answer has ids and whose question may name topics; brokers since 2.8 know it.
const METADATA_VERSION: i16 = 12;

/// A broker that takes longer counts as one that cannot be reached.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer taken: some ten thousand partitions.
const LONGEST_ANSWER: usize = 8 << 20;

/// Where brokers listen unless somebody says otherwise.
const DEFAULT_PORT: u16 = 9092;

/// The broker's code for a topic that is not there.
const UNKNOWN_TOPIC: i16 = 3;

/// And for one of whose partitions some have no leader.
const LEADER_NOT_AVAILABLE: i16 = 5;

/// A topic as the broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TopicFacts {
    /// Its id, where it can be known.
    pub(super) id: Option<Uuid>,
    pub(super) partitions: i32,
    /// Copies of its first partition.
    pub(super) replication: i32,
    /// Partitions that nobody leads at present.
    pub(super) leaderless: Vec<i32>,
}

/// Topics by name; `None` for those that are not there.
pub(super) type Facts = BTreeMap<String, Option<TopicFacts>>;

/// Asks for topics. Blocks, for each bootstrap server at most a few times [`PATIENCE`].
pub(super) fn facts<C: ClientContext>(
    config: &KafkaConfig,
    client: &Client<C>,
    names: &[String],
) -> Result<Facts, String> {
    if config.plaintext() { ask_plainly(&config.bootstrap, names) } else { ask_library(client, names) }
}

fn ask_plainly(bootstrap: &str, names: &[String]) -> Result<Facts, String> {
    let mut why = "no bootstrap server is named".to_owned();
    for server in bootstrap.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        match ask_server(server, names) {
            Ok(facts) => return Ok(facts),
            Err(error) => why = format!("{server}: {error}"),
        }
    }
    Err(why)
}

fn ask_server(server: &str, names: &[String]) -> Result<Facts, String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = connect(server).map_err(words)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(words)?;
    stream.write_all(&question(names)?).map_err(words)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).map_err(words)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST_ANSWER {
        return Err("does not answer as a broker does".to_owned());
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).map_err(words)?;
    read_answer(answer.into())
}

/// Connects to whichever of a server's addresses takes it: a name may stand for one of each family.
fn connect(server: &str) -> std::io::Result<TcpStream> {
    let mut failed = std::io::Error::other("has no address");
    for address in address(server).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// A bootstrap server as the client library reads it: the protocol may stand before it, and the port may be left out.
fn address(server: &str) -> String {
    let server = server.rsplit_once("//").map_or(server, |(_, address)| address);
    match server.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => server.to_owned(),
        _ => format!("{server}:{DEFAULT_PORT}"),
    }
}

/// The request as it goes over the wire, behind its length.
fn question(names: &[String]) -> Result<Vec<u8>, String> {
    let words = |error| format!("the question cannot be written: {error}");
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(TopicName(text(name)))));
    let request = MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false);
    let header = RequestHeader::default()
        .with_request_api_key(ApiKey::Metadata as i16)
        .with_request_api_version(METADATA_VERSION)
        .with_client_id(Some(text("amends")));
    let mut body = BytesMut::new();
    header.encode(&mut body, ApiKey::Metadata.request_header_version(METADATA_VERSION)).map_err(words)?;
    request.encode(&mut body, METADATA_VERSION).map_err(words)?;
    let length = u32::try_from(body.len()).map_err(|_| "too many topics are asked for".to_owned())?;
    Ok([&length.to_be_bytes()[..], &body].concat())
}

fn read_answer(mut answer: Bytes) -> Result<Facts, String> {
    let words = |error| format!("its answer cannot be read: {error}");
    ResponseHeader::decode(&mut answer, ApiKey::Metadata.response_header_version(METADATA_VERSION)).map_err(words)?;
    let response = MetadataResponse::decode(&mut answer, METADATA_VERSION).map_err(words)?;
    let mut facts = Facts::new();
    for topic in response.topics {
        let name = topic.name.map(|name| name.0.to_string()).unwrap_or_default();
        let found = match topic.error_code {
            UNKNOWN_TOPIC => None,
            0 | LEADER_NOT_AVAILABLE => Some(TopicFacts {
                id: Some(topic.topic_id),
                partitions: count(topic.partitions.len()),
                replication: topic.partitions.first().map_or(0, |first| count(first.replica_nodes.len())),
                leaderless: topic
                    .partitions
                    .iter()
                    .filter(|partition| partition.leader_id.0 < 0)
                    .map(|partition| partition.partition_index)
                    .collect(),
            }),
            code => return Err(format!("the broker does not tell about the topic {name} (its error {code})")),
        };
        facts.insert(name, found);
    }
    Ok(facts)
}

fn ask_library<C: ClientContext>(client: &Client<C>, names: &[String]) -> Result<Facts, String> {
    let mut facts = Facts::new();
    for name in names {
        let answer = client.fetch_metadata(Some(name), PATIENCE).map_err(|error| error.to_string())?;
        let topic = answer.topics().iter().find(|topic| topic.name() == name);
        let found = topic.filter(|topic| !topic.partitions().is_empty()).map(|topic| TopicFacts {
            id: None,
            partitions: count(topic.partitions().len()),
            replication: topic.partitions().first().map_or(0, |first| count(first.replicas().len())),
            leaderless: topic.partitions().iter().filter(|one| one.leader() < 0).map(|one| one.id()).collect(),
        });
        facts.insert(name.clone(), found);
    }
    Ok(facts)
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_as_the_library_reads_them() {
        for (given, meant) in
            [("kafka-1:19092", "kafka-1:19092"), ("kafka-1", "kafka-1:9092"), ("PLAINTEXT://[::1]:7", "[::1]:7")]
        {
            assert_eq!(address(given), meant);
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error_and_no_panic() {
        for answer in [&b""[..], b"\0\0\0\0", b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 64]] {
            assert!(read_answer(Bytes::copy_from_slice(answer)).is_err(), "{answer:?}");
        }
    }
}
