//! Calls participants over gRPC.
