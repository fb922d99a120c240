//! What must be true of the compose file.

use std::collections::BTreeSet;

use super::asked::{is_participant, refused, variables_read};
use super::compose::{Compose, Condition, Service};
use super::dockerfile::Dockerfile;

/// Ports of the host and who is behind them, as the interface fixes them.
const PORTS: [(u16, &str); 8] = [
    (5432, "postgres"),
    (8000, "engine-1"),
    (8001, "order"),
    (8002, "payment"),
    (8003, "inventory"),
    (8004, "notification"),
    (8080, "engine-2"),
    (9092, "kafka"),
];

/// Where Postgres listens.
const POSTGRES_PORT: u16 = 5432;

/// Everything that is wrong with it.
pub(super) fn check(compose: &Compose, dockerfile: &Dockerfile) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, service) in &compose.services {
        let found = [
            tagged(service),
            healthy(service),
            dependencies(compose, service),
            mounts(compose, service),
            commands(service),
            variables(service),
            addresses(compose, name, service),
            ports(service, dockerfile),
        ];
        wrong.extend(found.concat().into_iter().map(|why| format!("{name}: {why}")));
    }
    wrong.extend(kafka(compose));
    wrong.extend(published(compose));
    wrong.extend(unused(compose));
    wrong
}

fn tagged(service: &Service) -> Vec<String> {
    match service.image.rsplit('/').next().and_then(|image| image.split_once(':')) {
        None | Some((_, "" | "latest")) => vec![format!("the image {} has no tag", service.image)],
        Some(_) => Vec::new(),
    }
}

fn healthy(service: &Service) -> Vec<String> {
    match &service.healthcheck {
        None if service.is_one_shot() => Vec::new(),
        None => vec!["has no health check, and does not end".to_owned()],
        Some(check) if service.is_ours() => match check.test.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["CMD", "ready", port] if port.parse().ok() == service.http_port() => Vec::new(),
            ["CMD", "ready", port] => vec![format!("asks port {port} for its health, and does not serve there")],
            _ => vec!["its health is not asked by `ready`".to_owned()],
        },
        Some(_) => Vec::new(),
    }
}

fn dependencies(compose: &Compose, service: &Service) -> Vec<String> {
    let wrong = |(name, condition): (&String, Condition)| {
        let Some(other) = compose.services.get(name) else {
            return Some(format!("depends on {name}, which is no service"));
        };
        match condition {
            Condition::ServiceHealthy if other.healthcheck.is_none() => {
                Some(format!("waits for {name} to be healthy, which nobody checks"))
            }
            Condition::ServiceCompletedSuccessfully if !other.is_one_shot() => {
                Some(format!("{name} is waited for to end, but is started again"))
            }
            _ => None,
        }
    };
    service.depends_on.iter().map(|(name, dependency)| (name, dependency.condition)).filter_map(wrong).collect()
}

fn mounts(compose: &Compose, service: &Service) -> Vec<String> {
    let volumes = service.volumes.iter().map(|volume| volume.split(':').next().unwrap_or_default());
    let volumes = volumes.filter(|volume| !compose.volumes.contains_key(*volume));
    let volumes = volumes.map(|volume| format!("the volume {volume} is not declared"));
    let configs = service.configs.iter().filter(|mount| !compose.configs.contains_key(&mount.source));
    volumes.chain(configs.map(|mount| format!("the config {} is not declared", mount.source))).collect()
}

fn commands(service: &Service) -> Vec<String> {
    if !service.is_ours() {
        return Vec::new();
    }
    match service.command_lines() {
        Err(why) => vec![why],
        Ok(lines) => {
            let wrong = |words: &Vec<String>| Some(format!("amends {}: {}", words.join(" "), refused(words)?));
            lines.iter().filter_map(wrong).collect()
        }
    }
}

fn variables(service: &Service) -> Vec<String> {
    let ours = service.environment.iter().filter(|(name, _)| name.starts_with("AMENDS_"));
    let ours: std::collections::BTreeMap<_, _> = ours.map(|(name, value)| (name.clone(), value.clone())).collect();
    if !service.is_ours() {
        return ours.keys().map(|name| format!("{name} is set where our program does not run")).collect();
    }
    let read = match variables_read(&ours) {
        Ok(read) => read,
        Err(why) => return vec![why],
    };
    let unread = ours.keys().filter(|name| !read.contains(*name));
    let unread = unread.map(|name| format!("{name} is no variable of the program"));
    let participants = ours.keys().filter_map(|name| name.strip_prefix("AMENDS_PARTICIPANTS_")?.rsplit_once('_'));
    let strangers = participants.map(|(name, _)| name.to_ascii_lowercase()).filter(|name| !is_participant(name));
    unread.chain(strangers.map(|name| format!("there is no participant {name}"))).collect()
}

/// Whoever is named in a variable is there, and listens.
fn addresses(compose: &Compose, name: &str, service: &Service) -> Vec<String> {
    let mut wrong = Vec::new();
    for (variable, value) in service.environment.iter().filter(|(name, _)| name.starts_with("AMENDS_")) {
        let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = match address.split_once(':') {
            Some((host, port)) => (host, port.parse().unwrap_or(0)),
            None => (address, POSTGRES_PORT),
        };
        match variable.as_str() {
            "AMENDS_LISTEN" => {}
            "AMENDS_ADVERTISE" if host == name && Some(port) == service.http_port() => {}
            "AMENDS_ADVERTISE" => wrong.push(format!("advertises {value}, which is not where it is")),
            _ if !compose.services.get(host).is_some_and(|other| listens(other, port)) => {
                wrong.push(format!("{variable}: nobody listens at {host}:{port} for others here"));
            }
            _ if scheme == "postgres" && !compose.databases().contains(&path) => {
                wrong.push(format!("{variable}: there is no database {path}"));
            }
            _ => {}
        }
    }
    wrong
}

/// Whether others in the same network reach a service at a port.
fn listens(service: &Service, port: u16) -> bool {
    let own = |listener: &str| {
        listener.starts_with("INSIDE://") && listener.rsplit(':').next() == Some(port.to_string().as_str())
    };
    match service.environment.get("KAFKA_ADVERTISED_LISTENERS") {
        Some(listeners) => listeners.split(',').any(own),
        None if service.is_ours() => service.http_port() == Some(port),
        None => port == POSTGRES_PORT && service.environment.contains_key("POSTGRES_DB"),
    }
}

fn ports(service: &Service, dockerfile: &Dockerfile) -> Vec<String> {
    if !service.is_ours() || service.is_one_shot() {
        return Vec::new();
    }
    let Some(port) = service.http_port() else { return vec!["serves nothing".to_owned()] };
    let exposed = (!dockerfile.exposed().contains(&port)).then(|| format!("port {port} is not exposed by the image"));
    let published = service.published().iter().any(|(_, inside)| *inside == port);
    let published = (!published).then(|| format!("port {port} is not published"));
    exposed.into_iter().chain(published).collect()
}

/// One listener for the network and one for the host, and no topics by accident.
fn kafka(compose: &Compose) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(kafka) = compose.services.get("kafka") else { return vec!["there is no kafka".to_owned()] };
    let listeners = |variable: &str| kafka.environment.get(variable).map_or("", String::as_str).split(',');
    let port = |listener: &str| listener.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
    for (inside, outside) in kafka.published().into_iter().map(|(host, inside)| (inside, host)) {
        let bound = listeners("KAFKA_LISTENERS").find(|listener| port(listener) == Some(inside));
        let name = bound.and_then(|listener| listener.split("://").next());
        let told = name.and_then(|name| listeners("KAFKA_ADVERTISED_LISTENERS").find(|one| one.starts_with(name)));
        if told.and_then(port) != Some(outside) {
            wrong.push(format!("kafka: clients on the host come by port {outside} and are sent elsewhere"));
        }
    }
    for variable in ["KAFKA_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"] {
        for name in ["INSIDE:", "OUTSIDE:", "CONTROLLER:"] {
            if !listeners(variable).any(|listener| listener.starts_with(name)) {
                wrong.push(format!("kafka: {variable} lacks {name}"));
            }
        }
    }
    if kafka.environment.get("KAFKA_AUTO_CREATE_TOPICS_ENABLE").is_none_or(|value| value != "false") {
        wrong.push("kafka: topics would be made by being used".to_owned());
    }
    let bus = compose.services.values().filter_map(|service| service.environment.get("AMENDS_BUS"));
    let outside: BTreeSet<u16> = kafka.published().into_iter().map(|(_, inside)| inside).collect();
    let astray = bus.filter(|address| port(address).is_some_and(|port| outside.contains(&port)));
    wrong.extend(astray.map(|address| format!("{address} is meant for the host")));
    wrong
}

fn published(compose: &Compose) -> Vec<String> {
    let own = |(name, service): (&String, &Service)| {
        service.published().into_iter().map(|(host, _)| (host, name.clone())).collect::<Vec<_>>()
    };
    let found: BTreeSet<(u16, String)> = compose.services.iter().flat_map(own).collect();
    let expected = PORTS.iter().map(|(port, name)| (*port, (*name).to_owned())).collect();
    if found == expected {
        return Vec::new();
    }
    vec![format!("the ports published are not those of the interface: {:?}", found.symmetric_difference(&expected))]
}

/// What is declared and used by nobody was renamed in one place.
fn unused(compose: &Compose) -> Vec<String> {
    let services = || compose.services.values();
    let mounted =
        |volume: &str| services().any(|one| one.volumes.iter().any(|own| own.split(':').next() == Some(volume)));
    let volumes = compose.volumes.keys().filter(|volume| !mounted(volume));
    let config = |name: &str| services().any(|one| one.configs.iter().any(|mount| mount.source == name));
    let configs = compose.configs.keys().filter(|name| !config(name));
    let asked =
        |name: &str| services().any(|one| one.environment.values().any(|value| value.ends_with(&format!("/{name}"))));
    let databases = compose.databases().into_iter().filter(|name| !asked(name)).map(str::to_owned);
    volumes.chain(configs).cloned().chain(databases).map(|name| format!("{name} is used by nobody")).collect()
}
