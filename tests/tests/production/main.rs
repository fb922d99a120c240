//! System tests of the production set-up: several engines and workers as processes, a real Postgres and a real Kafka.
//! Processes are killed, stopped and replaced under load and the services restarted; then the databases and the topics
//! are the judges, invariant by invariant.

mod bus;
mod chaos;
mod cluster;
mod database;
mod judge;
mod judge_tests;
mod ledger;
mod load;
mod plan;
mod poison;
mod process;
mod settle;
mod topics;
