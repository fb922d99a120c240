//! The state machine against its promises: a published table, random worlds, and whole runs as text.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test program")]

mod properties;
mod stories;
mod transitions;
mod wire_page;
mod world;
