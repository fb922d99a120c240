//! The sagas that ship with Amends: one folder each.
