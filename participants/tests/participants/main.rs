//! The built-in participants through their public face: commands and events in, replies, tables and HTTP out.
#![allow(clippy::unwrap_used, reason = "a test says what is wrong by failing")]

mod faults;
mod fixture;
mod http;
mod inventory;
mod ledger;
mod notification;
mod order;
mod payment;
mod trivial;
