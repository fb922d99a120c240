//! The use cases, one a file. The APIs translate to and from these and add nothing.

pub mod error;
pub(crate) mod field;
pub(crate) mod forward;
pub mod operate;
pub mod query;
pub mod start;
pub mod view;
pub mod wait;
pub mod watch;

pub use error::ServiceError;
