//! in-process
