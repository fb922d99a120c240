//! The courier over Kafka against a real broker: the one that `AMENDS_BUS` names.

mod admin;
mod conforms;
mod halts;
mod outages;
mod outgoing;
mod progress;
mod replies;
mod support;
