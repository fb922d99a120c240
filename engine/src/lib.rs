//! The async shell of Amends: shards, stores, couriers, services, APIs.
