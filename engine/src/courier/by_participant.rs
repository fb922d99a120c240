//! Chooses the courier of a command by the binding of its participant.
