//! The engine on a real store, with faults put in between: commits that fail, are fenced, or succeed unheard.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "a test program")]

mod attempts;
mod commits;
#[cfg(feature = "postgres")]
mod forwards;
mod logs;
mod owners;
mod restarts;
mod starts;
mod world;
