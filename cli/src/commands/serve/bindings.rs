//! Which participant is reached how: the configuration held against the definitions.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{CourierKind, Settings};
use crate::error::{CliError, Exit};

/// Commands without an answer that one participant may have, unless configured.
const CONCURRENCY: usize = 256;

/// How one participant is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Binding {
    /// By its topic.
    Kafka,
    /// By calls.
    Grpc {
        /// Where it answers.
        urls: Vec<String>,
        /// Commands without an answer.
        concurrency: usize,
    },
}

/// Binds each participant, or names the first that cannot be.
pub(super) fn bind<'a>(
    settings: &Settings,
    participants: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, Binding>, CliError> {
    participants.map(|name| Ok((name.clone(), one(settings, name)?))).collect()
}

fn one(settings: &Settings, name: &str) -> Result<Binding, CliError> {
    let own = settings.participants.get(name).cloned().unwrap_or_default();
    let (has_url, has_bus) = (own.url.is_some(), settings.bus.url.is_some());
    let kind = own.courier.or(match (has_url, has_bus) {
        (true, _) => Some(CourierKind::Grpc),
        (false, true) => Some(CourierKind::Kafka),
        (false, false) => None,
    });
    match (kind, own.url) {
        (Some(CourierKind::Kafka), _) if has_bus => Ok(Binding::Kafka),
        (Some(CourierKind::Kafka), _) => Err(unbound(name, "it is reached over Kafka, and there is no bus")
            .next("amends serve --bus HOST:9092 …, or set bus.url")),
        (Some(CourierKind::Grpc), Some(url)) => Ok(Binding::Grpc {
            urls: url.split(',').map(|url| url.trim().to_owned()).collect(),
            concurrency: own.concurrency.unwrap_or(CONCURRENCY),
        }),
        (Some(CourierKind::Grpc), None) => Err(unbound(name, "it is reached over gRPC, and its address is not known")
            .next(format!("amends serve --participant {name}=http://HOST:PORT …, or set participants.{name}.url"))),
        (None, _) => Err(unbound(name, "there is neither a bus nor an address of its own")
            .next(format!("amends serve --bus HOST:9092 …, or --participant {name}=http://HOST:PORT"))),
    }
}

fn unbound(name: &str, why: &str) -> CliError {
    CliError::new(Exit::Usage, format!("the participant {name} cannot be reached")).why(why)
}

/// Participants that are configured and that no definition names: most likely a slip of the pen.
pub(super) fn unknown<'a>(settings: &'a Settings, known: &BTreeMap<String, BTreeSet<String>>) -> Vec<&'a str> {
    settings.participants.keys().filter(|name| !known.contains_key(*name)).map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Flags};

    fn settings(flags: Flags) -> Settings {
        // Without what this machine's environment may say.
        config::load_from(None, std::iter::empty(), flags).expect("good flags").settings
    }

    fn flag(flags: Flags, path: &str, value: &str) -> Flags {
        flags.set(path, "--flag", Some(value))
    }

    #[test]
    fn a_participant_is_bound_by_its_own_address_or_else_by_the_bus() {
        let flags = flag(Flags::default(), "bus.url", "k:9092");
        let flags = flag(flags, "participants.payment.url", "http://a:1, http://b:1");
        let flags = flag(flags, "participants.inventory.url", "http://c:1");
        let settings = settings(flag(flags, "participants.inventory.courier", "kafka"));
        let names = ["order", "payment", "inventory"].map(str::to_owned);
        let bound = bind(&settings, names.iter()).expect("all are bound");
        let urls = vec!["http://a:1".to_owned(), "http://b:1".to_owned()];
        assert_eq!(bound["payment"], Binding::Grpc { urls, concurrency: CONCURRENCY });
        assert_eq!((&bound["order"], &bound["inventory"]), (&Binding::Kafka, &Binding::Kafka));
    }

    #[test]
    fn one_that_is_not_bound_is_named_with_the_flag() {
        let names = ["order".to_owned()];
        let next = |flags: Flags| {
            let error = bind(&settings(flags), names.iter()).expect_err("it is not bound");
            assert!(error.parts().0.contains("order"));
            error.parts().2.map(str::to_owned).unwrap_or_default()
        };
        assert!(next(Flags::default()).contains("--participant order=http://HOST:PORT"));
        let courier = |word| flag(Flags::default(), "participants.order.courier", word);
        assert!(next(courier("kafka")).contains("--bus"));
        assert!(next(flag(courier("grpc"), "bus.url", "k:1")).contains("--participant order="));
    }

    #[test]
    fn a_participant_that_nobody_needs_is_noticed() {
        let known = crate::installed::participants();
        assert_eq!(
            unknown(&settings(flag(Flags::default(), "participants.paymnt.url", "http://a:1")), &known),
            ["paymnt"]
        );
    }
}
