//! System tests: the real program as real processes.
