//! System tests: the real program as real processes. Here is what more than one of them uses.

pub mod program;
pub mod random;
pub mod stock;
