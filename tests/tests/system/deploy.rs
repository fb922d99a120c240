//! The files that deploy: `docker-compose.yml` and `Dockerfile` may name only what exists. No container is started; what
//! a container would be told is put before the real program, and the rest is compared.

mod asked;
mod compose;
mod dockerfile;
mod rules;

use std::path::{Path, PathBuf};

use self::compose::Compose;
use self::dockerfile::Dockerfile;

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).expect(name)
}

/// Everything that is wrong with the two files.
fn complaints(compose: &str, dockerfile: &str) -> Vec<String> {
    let dockerfile = Dockerfile::parse(dockerfile);
    match Compose::parse(compose) {
        Ok(compose) => [dockerfile::check(&dockerfile, &root()), rules::check(&compose, &dockerfile)].concat(),
        Err(error) => vec![format!("docker-compose.yml: {error}")],
    }
}

#[test]
fn what_is_deployed_exists() {
    let wrong = complaints(&read("docker-compose.yml"), &read("Dockerfile"));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A change to the compose file, and what must be complained about then.
const BROKEN_COMPOSE: [(&str, &str, &str); 19] = [
    (r#"command: ["serve"]"#, r#"command: ["server"]"#, "amends server: "),
    ("amends bus ensure", "amends bus make", "setup: amends bus make: "),
    (r#""order", "--http""#, r#""order", "--htpp""#, "order: amends worker order --htpp 0.0.0.0:8001: "),
    (r#""worker", "payment""#, r#""worker", "paymnt""#, "payment: amends worker paymnt"),
    ("  AMENDS_LISTEN:", "  AMENDS_LISTN:", "AMENDS_LISTN is no variable of the program"),
    ("AMENDS_LISTEN: 0.0.0.0:7400", "AMENDS_LISTEN: 7400", "engine-1: "),
    ("AMENDS_PARTICIPANTS_ORDER_HTTP", "AMENDS_PARTICIPANTS_ORDERS_HTTP", "there is no participant orders"),
    ("http://inventory:8003", "http://inventory:8030", "nobody listens at inventory:8030"),
    ("AMENDS_BUS: kafka:9092", "AMENDS_BUS: kafka:19092", "is meant for the host"),
    ("postgres/amends_payment", "postgres/amends_payments", "there is no database amends_payments"),
    ("AMENDS_ADVERTISE: engine-2:7400", "AMENDS_ADVERTISE: engine-1:7400", "engine-2: advertises engine-1:7400"),
    (r#"127.0.0.1}:8003:8003""#, r#"127.0.0.1}:8030:8003""#, "the ports published are not those of the interface"),
    (r#"["CMD", "ready", "8004"]"#, r#"["CMD", "ready", "8001"]"#, "notification: asks port 8001 for its health"),
    ("  setup:\n    condition", "  set-up:\n    condition", "depends on set-up, which is no service"),
    (r#"restart: "no""#, "restart: always", "is waited for to end, but is started again"),
    ("apache/kafka:4.1.1", "apache/kafka", "kafka: the image apache/kafka has no tag"),
    ("volumes:\n  postgres:\n", "volumes:\n", "the volume postgres is not declared"),
    (
        "    healthcheck:\n      <<: *ready\n      test: [\"CMD\", \"ready\", \"8002\"]\n",
        "",
        "payment: has no health check",
    ),
    (
        r#"AUTO_CREATE_TOPICS_ENABLE: "false""#,
        r#"AUTO_CREATE_TOPICS_ENABLE: "true""#,
        "topics would be made by being used",
    ),
];

/// The same for the Dockerfile.
const BROKEN_DOCKERFILE: [(&str, &str, &str); 7] = [
    ("USER amends\n", "", "runs as root"),
    ("USER amends\n", "USER root\n", "runs as root"),
    ("useradd --system", "true", "nobody makes the user amends"),
    ("release/amends /usr", "release/amend /usr", "target/release/amend is not what cargo builds"),
    ("COPY . .", "COPY engin engine", "COPY engin: there is no such file"),
    ("COPY --from=build", "COPY --from=builder", "there is no stage builder"),
    ("EXPOSE 7400 ", "EXPOSE 7500 ", "engine-1: port 7400 is not exposed"),
];

#[test]
fn what_is_broken_is_noticed() {
    let (compose, dockerfile) = (read("docker-compose.yml"), read("Dockerfile"));
    let mut missed = Vec::new();
    let mut expect = |found: Vec<String>, change: &str, expected: &str| {
        if !found.iter().any(|complaint| complaint.contains(expected)) {
            missed.push(format!("{change}: expected {expected:?} among {found:#?}"));
        }
    };
    for (from, to, expected) in BROKEN_COMPOSE {
        assert!(compose.contains(from), "docker-compose.yml no longer holds {from:?}; break it otherwise");
        expect(complaints(&compose.replace(from, to), &dockerfile), to, expected);
    }
    for (from, to, expected) in BROKEN_DOCKERFILE {
        assert!(dockerfile.contains(from), "Dockerfile no longer holds {from:?}; break it otherwise");
        expect(complaints(&compose, &dockerfile.replace(from, to)), to, expected);
    }
    assert!(missed.is_empty(), "\n{}", missed.join("\n"));
}
