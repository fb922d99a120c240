//! Some of the participants, as a worker of its own runs them.

use std::sync::Arc;

use amends_sdk::{Database, Host, HostBuilder, Subscriber, Subscriptions};
use axum::Router;

use crate::{
    ChargePayment, ConfirmOrder, CreateOrder, ReserveInventory, SellReserved, SendNotification, inventory,
    notification, order, payment,
};

/// The names of the built-in participants.
pub const PARTICIPANTS: [&str; 4] = ["order", "payment", "inventory", "notification"];

/// There is no such participant among those built in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownParticipant {
    /// None has this name.
    #[error("there is no participant {0:?} built in; there are: {known}", known = PARTICIPANTS.join(", "))]
    Name(String),
    /// No name was given.
    #[error("name at least one participant; built in are: {known}", known = PARTICIPANTS.join(", "))]
    None,
}

/// Hosts these participants on one database, which has been migrated.
pub fn host_for(names: &[&str], database: &Database) -> Result<Host, UnknownParticipant> {
    let names = known(names)?;
    let builder = Host::builder(database.for_participants(&names));
    Ok(names.into_iter().fold(builder, add_steps).build())
}

/// Keeps the tables of these participants up to date by domain events. Those that want none get none.
pub fn subscriptions_for(names: &[&str], database: &Database) -> Result<Subscriptions, UnknownParticipant> {
    let names = known(names)?;
    let subscribers = names.iter().filter_map(|name| subscriber(name)).collect();
    Ok(Subscriptions::new(database.for_participants(&names), subscribers))
}

/// Serves what one participant knows over HTTP; order's reads are `GET /orders…`.
pub fn routes_for(name: &str, database: &Database) -> Result<Router, UnknownParticipant> {
    let names = known(&[name])?;
    let database = database.for_participants(&names);
    Ok(match name {
        "order" => order::routes(database),
        "payment" => payment::routes(database),
        "inventory" => inventory::routes(database),
        _ => notification::routes(database),
    })
}

/// The names in the order of [`PARTICIPANTS`], each once.
fn known(names: &[&str]) -> Result<Vec<&'static str>, UnknownParticipant> {
    if let Some(name) = names.iter().find(|name| !PARTICIPANTS.contains(name)) {
        return Err(UnknownParticipant::Name((*name).to_owned()));
    }
    let known: Vec<_> = PARTICIPANTS.into_iter().filter(|name| names.contains(name)).collect();
    if known.is_empty() { Err(UnknownParticipant::None) } else { Ok(known) }
}

/// Adds the steps of one of [`PARTICIPANTS`].
pub(crate) fn add_steps(builder: HostBuilder, name: &str) -> HostBuilder {
    match name {
        "order" => builder.step(CreateOrder),
        "payment" => builder.step(ChargePayment),
        "inventory" => builder.step(ReserveInventory),
        _ => builder.step(SendNotification::default()),
    }
}

fn subscriber(name: &str) -> Option<Arc<dyn Subscriber>> {
    match name {
        "order" => Some(Arc::new(ConfirmOrder)),
        "inventory" => Some(Arc::new(SellReserved)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_worker_runs_what_it_is_told_to_and_says_what_there_is() {
        let database = Database::open(":memory:").await.unwrap();
        let commands = |names| host_for(names, &database).map(|host| host.commands());
        assert_eq!(commands(&["payment"]).unwrap(), ["payment.charge"]);
        assert_eq!(commands(&["payment", "order", "payment"]).unwrap(), ["order.create", "payment.charge"]);
        let unknown = commands(&["order", "shipping"]).unwrap_err().to_string();
        let known = "order, payment, inventory, notification";
        assert_eq!(unknown, format!("there is no participant \"shipping\" built in; there are: {known}"));
        assert_eq!(commands(&[]).unwrap_err(), UnknownParticipant::None);
        assert!(subscriptions_for(&["Order"], &database).is_err());
        assert!(routes_for("", &database).is_err());
        for name in PARTICIPANTS {
            assert!(routes_for(name, &database).is_ok() && subscriptions_for(&[name], &database).is_ok());
        }
        assert_eq!(commands(&PARTICIPANTS).unwrap(), crate::host(database.clone()).commands());
    }
}
