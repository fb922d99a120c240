//! The commands, one a file.

pub(crate) mod bench;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod definition;
pub(crate) mod dev;
pub(crate) mod dlq;
pub(crate) mod events;
pub(crate) mod list;
pub(crate) mod order;
pub(crate) mod participants;
pub(crate) mod pause;
pub(crate) mod resolve;
pub(crate) mod resume;
pub(crate) mod retry;
pub(crate) mod shards;
pub(crate) mod show;
pub(crate) mod skip;
pub(crate) mod start;
pub(crate) mod types;
pub(crate) mod version;
pub(crate) mod wait;
pub(crate) mod worker;
