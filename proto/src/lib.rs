//! The wire as generated code: `amends.v1` (sagas) and `orders.v1` (the order domain), with their JSON mapping.

#![allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code; the protos carry the docs")]

/// The engine's own services.
pub mod amends {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("amends.v1");
        include!(concat!(env!("OUT_DIR"), "/amends.v1.serde.rs"));
    }
}

/// The order domain's services.
pub mod orders {
    /// Version 1.
    pub mod v1 {
        tonic::include_proto!("orders.v1");
        include!(concat!(env!("OUT_DIR"), "/orders.v1.serde.rs"));
    }
}

mod timestamp;

pub use pbjson_types::Duration;
pub use timestamp::Timestamp;

/// All descriptors, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
