//! The participants in Python of `participants/examples/python` behind the real engine: what crosses the wire is enough
//! to write one in another language.
//!
//! The Python process stands in the place of the built-in notification; the other three are built-in workers. Each test
//! has a database of its own on the server that `AMENDS_STORE` names, and topics of its own on that of `AMENDS_BUS`.

mod installation;
mod venv;

use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use self::installation::{Installation, PARTICIPANT, Transport};
use self::venv::{EXAMPLES, python};
use crate::program::eventually;

/// Longer than a test: a reply that is to come after it does not come.
const NEVER: &str = "600";

/// How long Python may take to end when it is told to: it looks up twice a second.
const END_MAX: Duration = Duration::from_secs(10);

fn order(user: &str, method: &str) -> Value {
    let item = json!({ "product_id": "LAPTOP001", "quantity": 1, "price": 1299.99 });
    json!({ "user_id": user, "payment_method": method, "items": [item] })
}

#[tokio::test]
async fn orders_end_with_python_over_kafka() {
    orders_end(Transport::Kafka).await;
}

#[tokio::test]
async fn orders_end_with_python_over_grpc() {
    orders_end(Transport::Grpc).await;
}

/// One story, told over either transport.
async fn orders_end(transport: Transport) {
    let mut installation = Installation::start(transport).await;
    installation.start_python(&[]).await;

    // It is done, refused, and done for an order that was undone before.
    let ends = [
        ("python_1", "pm_ok", "COMPLETED"),
        ("guest_1", "pm_ok", "PARKED"),
        ("python_2", "pm_declined", "COMPENSATED"),
    ];
    for (user, method, end) in ends {
        let saga = installation.order(&order(user, method)).await;
        let ended = installation.http.saga_reaches(&saga, end).await;
        assert_eq!(ended.to_string().contains("NO_ACCOUNT"), end == "PARKED", "{ended}");
    }
    assert_eq!(installation.points("python_1").await, [1299]);
    assert!(installation.points("guest_1").await.is_empty());
    assert_eq!(installation.points("python_2").await, [0]);
    assert!(installation.reached("payment", "over a stream"), "a worker serves streams, and the engine uses them");
    if transport == Transport::Grpc {
        assert!(installation.reached(PARTICIPANT, "as single calls"), "Python serves single calls alone");
    }

    // Killed after its commit and before its reply: the command comes again, its effect does not.
    installation.terminate_python().await;
    installation.start_python(&["--reply-after", NEVER]).await;
    let saga = installation.order(&order("python_3", "pm_ok")).await;
    eventually("the points are given", async || (!installation.points("python_3").await.is_empty()).then_some(()))
        .await;
    installation.kill_python();
    installation.start_python(&[]).await;
    installation.http.saga_reaches(&saga, "COMPLETED").await;
    assert_eq!(installation.points("python_3").await, [1299]);
    let said = installation.python_said();
    let since = said.rsplit(" answers ").next().unwrap_or_default();
    assert!(since.contains(&saga), "the command did not come again:\n{said}");

    installation.finish().await;
}

#[tokio::test]
async fn the_barrier_in_python_keeps_its_promises() {
    let tests = Command::new(python()).args(["-B", "-m", "unittest"]).current_dir(EXAMPLES).output();
    let tests = tests.expect("Python runs");
    assert!(tests.status.success(), "{}", String::from_utf8_lossy(&tests.stderr));
}
