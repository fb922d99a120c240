//! Sans-IO core of Amends: definitions, the saga state machine, retry, ids.
