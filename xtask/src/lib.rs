//! What the chores share with the system tests: the services that both run against.

pub mod services;
