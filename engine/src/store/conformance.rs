//! The conformance suite of every [`super::Store`].
