//! Carries commands, replies, dead letters and domain events over Kafka.
