//! SDK for participant authors: the Step trait, the barrier, the hosts, the test kit.
