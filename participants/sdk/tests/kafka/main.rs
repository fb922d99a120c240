//! The workers against a real Kafka, whose address is in `AMENDS_BUS`; `cargo xtask up` starts one.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod bus;
mod commands;
mod events;
mod poison;
mod worker;
