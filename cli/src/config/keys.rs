//! Every key of the configuration, described once: the checks, `amends config` and docs/configuration.md read it here.

/// A key, its meaning, and the places where it can be set.
#[derive(Debug)]
pub(crate) struct Key {
    /// Where it stands in the file; `<name>` is a participant's.
    pub(crate) path: &'static str,
    /// What a value looks like.
    pub(crate) kind: Kind,
    /// What holds where nobody has set it.
    pub(crate) default: Fallback,
    /// The environment variable; `<NAME>` is a participant's, in capitals.
    pub(crate) env: &'static str,
    /// The flag, with the commands that have it; empty if none.
    pub(crate) flag: &'static str,
    /// What it does, in a sentence.
    pub(crate) meaning: &'static str,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// `HOST:PORT`.
    Address,
    /// `http://HOST:PORT`.
    Url,
    /// One or several of these between commas.
    Urls,
    /// A database: `postgres://…`, `sqlite:PATH`, or a path. May hold a password.
    Database,
    /// A whole number, from and to.
    Whole(i64, i64),
    /// A span of time with its unit, e.g. `6s`.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Names and texts; the texts may be secret.
    Table,
}

/// What holds where nobody has set a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Nothing: what needs it says so.
    None,
    /// This value.
    Value(&'static str),
    /// What the program finds out, in words.
    Found(&'static str),
}

impl Kind {
    /// The unit or form, in words.
    pub(crate) fn form(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Address => "HOST:PORT".to_owned(),
            Self::Url => "URL, http://HOST:PORT".to_owned(),
            Self::Urls => "URL, http://HOST:PORT, or several with commas".to_owned(),
            Self::Database => "postgres://USER@HOST/DATABASE, sqlite:PATH or a path".to_owned(),
            Self::Whole(from, to) => format!("number from {from} to {to}"),
            Self::Duration => "duration, e.g. 500ms, 6s, 2m".to_owned(),
            Self::Choice(words) => words.join(" or "),
            Self::Table => "table of texts; in the environment NAME=VALUE,…".to_owned(),
        }
    }
}

impl Fallback {
    /// The same in words.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Value(text) | Self::Found(text) => text,
        }
    }
}

impl Key {
    /// Whether it is one of a participant's.
    pub(crate) fn is_per_participant(&self) -> bool {
        self.path.starts_with(PARTICIPANT)
    }

    /// The path with a participant's name in it.
    pub(crate) fn path_for(&self, participant: &str) -> String {
        self.path.replace("<name>", participant)
    }
}

/// What the keys of a participant begin with.
const PARTICIPANT: &str = "participants.<name>.";

/// The key of a path as it is written in a file or asked for: `participants.payment.url` as well as
/// `participants.<name>.url`.
pub(crate) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path).or_else(|| {
        let (_, field) = path.strip_prefix("participants.")?.rsplit_once('.')?;
        KEYS.iter().find(|key| key.path.strip_prefix(PARTICIPANT) == Some(field))
    })
}

/// The key that was probably meant.
pub(crate) fn nearest(path: &str) -> String {
    let participant = path.strip_prefix("participants.").and_then(|rest| rest.rsplit_once('.')).map(|(name, _)| name);
    let known = KEYS.iter().map(|key| participant.map_or_else(|| key.path.to_owned(), |name| key.path_for(name)));
    let best = known.max_by(|a, b| strsim::jaro_winkler(path, a).total_cmp(&strsim::jaro_winkler(path, b)));
    best.unwrap_or_default()
}

/// In the order in which they are shown.
pub(crate) const KEYS: &[Key] = &[
    Key {
        path: "listen",
        kind: Kind::Address,
        default: Fallback::Value("127.0.0.1:7400"),
        env: "AMENDS_LISTEN",
        flag: "--listen (serve)",
        meaning: "Where the engine serves gRPC, HTTP and the order gateway.",
    },
    Key {
        path: "advertise",
        kind: Kind::Address,
        default: Fallback::Found("`listen`; this machine's name where that is 0.0.0.0"),
        env: "AMENDS_ADVERTISE",
        flag: "--advertise (serve)",
        meaning: "Where the other engines reach this one; it stands beside its shards in the database.",
    },
    Key {
        path: "store.url",
        kind: Kind::Database,
        default: Fallback::None,
        env: "AMENDS_STORE",
        flag: "--store (serve, migrate, bus, doctor)",
        meaning: "The engine's database; SQLite serves a single engine.",
    },
    Key {
        path: "store.connections",
        kind: Kind::Whole(2, 1_000),
        default: Fallback::Value("16"),
        env: "AMENDS_STORE_CONNECTIONS",
        flag: "",
        meaning: "Most connections that one engine opens to its database.",
    },
    Key {
        path: "bus.url",
        kind: Kind::Text,
        default: Fallback::None,
        env: "AMENDS_BUS",
        flag: "--bus (serve, worker, bus, doctor)",
        meaning: "The Kafka brokers to begin with, HOST:PORT,…; without them participants are reached over gRPC.",
    },
    Key {
        path: "bus.prefix",
        kind: Kind::Text,
        default: Fallback::Value("amends."),
        env: "AMENDS_BUS_PREFIX",
        flag: "",
        meaning: "What the names of the engine's own topics begin with; domain events have their own names.",
    },
    Key {
        path: "bus.partitions",
        kind: Kind::Whole(1, 1024),
        default: Fallback::Value("4"),
        env: "AMENDS_BUS_PARTITIONS",
        flag: "--partitions (bus ensure)",
        meaning: "Partitions of each topic that is created but that of replies, which has one a shard: as many as a participant may have workers. Each costs the broker requests.",
    },
    Key {
        path: "bus.replication",
        kind: Kind::Whole(1, 15),
        default: Fallback::Found("the broker's own default"),
        env: "AMENDS_BUS_REPLICATION",
        flag: "--replication (bus ensure)",
        meaning: "Copies of each topic that is created.",
    },
    Key {
        path: "bus.properties",
        kind: Kind::Table,
        default: Fallback::None,
        env: "AMENDS_BUS_PROPERTIES",
        flag: "",
        meaning: "Passed to librdkafka as they are, e.g. \"security.protocol\"; values are never shown.",
    },
    Key {
        path: "engine.lanes",
        kind: Kind::Whole(1, 256),
        default: Fallback::Found("the number of cores"),
        env: "AMENDS_ENGINE_LANES",
        flag: "",
        meaning: "Tasks that move sagas: fewer write bigger batches, more use more cores.",
    },
    Key {
        path: "engine.in_flight_max",
        kind: Kind::Whole(1, 1_000_000),
        default: Fallback::Value("2048"),
        env: "AMENDS_ENGINE_IN_FLIGHT_MAX",
        flag: "",
        meaning: "Unfinished sagas per shard in memory; starts beyond it are refused with a delay to come back after.",
    },
    Key {
        path: "engine.lease_ttl",
        kind: Kind::Duration,
        default: Fallback::Value("6s"),
        env: "AMENDS_ENGINE_LEASE_TTL",
        flag: "",
        meaning: "How long a shard stays with an engine that says nothing; the longest time that a dead one holds it up.",
    },
    Key {
        path: "engine.shards",
        kind: Kind::Whole(1, 4_096),
        default: Fallback::Found("16"),
        env: "AMENDS_ENGINE_SHARDS",
        flag: "--shards (migrate up)",
        meaning: "Number of shards of a new installation; what is installed stays as it is.",
    },
    Key {
        path: "participants.<name>.courier",
        kind: Kind::Choice(&["kafka", "grpc"]),
        default: Fallback::Found("grpc where `url` is set, else kafka where `bus.url` is"),
        env: "AMENDS_PARTICIPANTS_<NAME>_COURIER",
        flag: "",
        meaning: "How commands reach the participant.",
    },
    Key {
        path: "participants.<name>.url",
        kind: Kind::Urls,
        default: Fallback::None,
        env: "AMENDS_PARTICIPANTS_<NAME>_URL",
        flag: "--participant NAME=URL (serve)",
        meaning: "Where the participant answers over gRPC; of several each takes a share.",
    },
    Key {
        path: "participants.<name>.concurrency",
        kind: Kind::Whole(1, 65_536),
        default: Fallback::Value("256"),
        env: "AMENDS_PARTICIPANTS_<NAME>_CONCURRENCY",
        flag: "",
        meaning: "Most commands under way to the participant over gRPC at the same time.",
    },
    Key {
        path: "participants.<name>.http",
        kind: Kind::Url,
        default: Fallback::None,
        env: "AMENDS_PARTICIPANTS_<NAME>_HTTP",
        flag: "--http-of NAME=URL (serve)",
        meaning: "The participant's own HTTP, to which the gateway passes on the reads that are the participant's.",
    },
    Key {
        path: "worker.store",
        kind: Kind::Database,
        default: Fallback::Found("`store.url`"),
        env: "AMENDS_WORKER_STORE",
        flag: "--store (worker), --participants-store (migrate)",
        meaning: "The database of the participants that `amends worker` runs; it may be the engine's, tables and migrations \
                  have names of their own.",
    },
    Key {
        path: "log.format",
        kind: Kind::Choice(&["json", "text"]),
        default: Fallback::Value("json"),
        env: "AMENDS_LOG_FORMAT",
        flag: "",
        meaning: "The form of the log lines of serve and worker, on standard error.",
    },
    Key {
        path: "log.level",
        kind: Kind::Text,
        default: Fallback::Value("info"),
        env: "AMENDS_LOG",
        flag: "",
        meaning: "error, warn, info, debug or trace, or a filter such as warn,amends_engine=debug.",
    },
];

/// The table of docs/configuration.md.
#[cfg(test)]
pub(crate) fn markdown() -> String {
    let mut text = "| key | form | default | environment | flag | meaning |\n|---|---|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let flag = if key.flag.is_empty() { String::new() } else { flag_markdown(key.flag) };
        let (path, form, env) = (key.path, key.kind.form(), key.env);
        let default = match key.default {
            Fallback::Value(value) => format!("`{value}`"),
            other => other.text().to_owned(),
        };
        text += &format!("| `{path}` | {form} | {default} | `{env}` | {flag} | {} |\n", key.meaning);
    }
    text
}

#[cfg(test)]
fn flag_markdown(flag: &str) -> String {
    match flag.split_once(" (") {
        Some((name, commands)) => format!("`{name}` ({commands}"),
        None => format!("`{flag}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand would mean written twice: what it prints when it fails belongs into the page.
    #[test]
    fn the_page_shows_this_table() {
        let page = include_str!("../../../docs/configuration.md");
        let table: String = page.lines().filter(|line| line.starts_with('|')).map(|line| format!("{line}\n")).collect();
        let own = markdown();
        assert!(own == table, "the page should say:\n{own}");
    }

    #[test]
    fn keys_of_a_participant_are_found_by_their_own_path() {
        assert_eq!(find("store.url").map(|key| key.env), Some("AMENDS_STORE"));
        assert_eq!(find("participants.payment.http").map(|key| key.path), Some("participants.<name>.http"));
        assert_eq!(find("participants.<name>.http").map(|key| key.path), Some("participants.<name>.http"));
        assert!(find("participants.payment.colour").is_none());
        assert!(find("store").is_none());
    }

    #[test]
    fn the_nearest_key_is_the_one_meant() {
        assert_eq!(nearest("engine.lane"), "engine.lanes");
        assert_eq!(nearest("store.uri"), "store.url");
        assert_eq!(nearest("participants.payment.curier"), "participants.payment.courier");
    }
}
