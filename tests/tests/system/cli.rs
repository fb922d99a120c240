//! The commands as scripts see them: exit codes, JSON, pipes.

use std::process::Stdio;

use serde_json::Value;

use crate::program::{Program, command, free_port, run};

const ORDER: &str = r#"{"user_id":"cli","items":[{"product_id":"MOUSE001","quantity":1,"price":9.99}]}"#;

/// A server on which an order with the key `done` has been confirmed.
async fn with_an_order() -> Program {
    let program = Program::start().await;
    let run = program.cli(&["order", "submit", "--key", "done", "--wait", "-d", ORDER]).await;
    assert_eq!(run.code, Some(0), "{run:?}");
    program
}

#[tokio::test]
async fn exit_codes_are_the_documented_ones() {
    let program = with_an_order().await;
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let declined = ORDER.replace("\"items\"", "\"payment_method\":\"pm_declined\",\"items\"");
    let unreachable = ORDER.replace("\"cli\"", "\"unreachable_cli\"");
    let other = ORDER.replace("\"quantity\":1", "\"quantity\":2");
    let table: [(i32, &[&str]); 16] = [
        (0, &["show", "order/done"]),
        (0, &["wait", "order/done"]),
        (1, &["definition", "check", "Cargo.toml"]),
        (2, &["explode"]),
        (2, &["list", "--status", "lost"]),
        (2, &["start", "nope"]),
        (2, &["order", "submit", "-d", "{}"]),
        (3, &["show", "order/nope"]),
        (3, &["show", "01a1fde1-562b-75de-9ca0-759c5bef2870"]),
        (3, &["order", "get", "ord_00000000000000000000000000000000"]),
        (4, &["cancel", "order/done", "--yes"]),
        (4, &["retry", "order/done"]),
        (4, &["order", "submit", "--key", "done", "-d", &other]),
        (6, &["list", "--server", &nowhere]),
        (7, &["order", "submit", "--wait", "-d", &declined]),
        (8, &["order", "submit", "--wait", "-d", &unreachable]),
    ];
    for (code, arguments) in table {
        let run = program.cli(arguments).await;
        assert_eq!(run.code, Some(code), "{arguments:?}: {run:?}");
        // What, why, and what to try.
        let explained = code == 0 || run.stderr.contains("help: ") || run.stderr.contains("try '--help'");
        assert!(explained, "{arguments:?}: {run:?}");
    }
}

#[tokio::test]
async fn show_prints_the_documented_json() {
    let program = with_an_order().await;
    let run = program.cli(&["show", "order/done", "-o", "json"]).await;
    let saga: Value = serde_json::from_str(&run.stdout).expect("JSON");
    let expected = [("type", "order"), ("idempotencyKey", "done"), ("status", "COMPLETED")];
    for (name, value) in expected {
        assert_eq!(saga[name], value, "{name}: {saga}");
    }
    assert_eq!(saga["version"], 1, "{saga}");
    for name in ["id", "startTime", "updateTime", "deadline", "input", "why", "journalRows"] {
        assert!(saga[name].is_string(), "{name}: {saga}");
    }
    let steps = saga["steps"].as_array().expect("steps");
    let states: Vec<_> = steps.iter().map(|step| [&step["name"], &step["kind"], &step["state"]]).collect();
    let expected = [
        ["create_order", "compensatable", "succeeded"],
        ["charge_payment", "compensatable", "succeeded"],
        ["reserve_inventory", "pivot", "succeeded"],
        ["send_confirmation", "retriable", "succeeded"],
        ["notify_cancelled", "retriable", "pending"],
    ];
    assert_eq!(states, expected);
    for step in &steps[..4] {
        let done = ["command", "participant", "on", "startTime", "endTime", "output"];
        assert!(done.iter().all(|name| step[name].is_string()) && step["attempts"] == 1, "{step}");
    }
    let over_http = program.http.get("/v1/sagas/order%2Fdone").await;
    assert_eq!(saga, over_http, "the CLI and HTTP say the same");
}

#[tokio::test]
async fn pipes_get_no_colours() {
    let program = with_an_order().await;
    let commands: [&[&str]; 6] = [
        &["list", "--all"],
        &["show", "order/done", "--history"],
        &["events", "order/done"],
        &["types", "order"],
        &["cancel", "order/done", "--yes"],
        &["bench", "--orders", "5"],
    ];
    for arguments in commands {
        let run = program.cli(arguments).await;
        assert!(!run.stdout.contains('\u{1b}') && !run.stderr.contains('\u{1b}'), "{arguments:?}: {run:?}");
    }
    let coloured = program.cli(&["list", "--all", "--color", "always"]).await;
    assert!(coloured.stdout.contains('\u{1b}'), "{coloured:?}");
    assert!(!program.stdout().contains('\u{1b}'), "the server's lines too: {}", program.stdout());
}

#[tokio::test]
async fn commands_print_what_they_are_for() {
    let program = with_an_order().await;
    let table: [(&[&str], &[&str]); 8] = [
        (&["list", "--all"], &["ID", "STATUS", "completed", "done"]),
        (&["list", "--all", "-o", "json"], &["\"COMPLETED\""]),
        (&["events", "order/done"], &["SEQ", "saga_started", "step_succeeded", "saga_completed"]),
        (&["types"], &["TYPE", "order", "order_completed"]),
        (&["types", "order"], &["create_order", "charge_payment", "reserve_inventory", "send_confirmation"]),
        (&["completion", "bash"], &["_amends()", "complete"]),
        (&["version"], &["amends", "server"]),
        (&["order", "list", "--user", "cli"], &["confirmed", "9.99 USD"]),
    ];
    for (arguments, words) in table {
        let run = program.cli(arguments).await;
        assert_eq!(run.code, Some(0), "{arguments:?}: {run:?}");
        assert!(words.iter().all(|word| run.stdout.contains(word)), "{arguments:?}: {run:?}");
    }
    let started = program.stdout();
    let banner = ["amends", "API", "gRPC", "Try", "Stop with Ctrl-C", "create", "notification"];
    assert!(banner.iter().all(|word| started.contains(word)), "banner, then a line per finished saga: {started}");
}

#[tokio::test]
async fn bench_reports_rate_latency_and_outcomes() {
    let program = Program::start().await;
    let mix = ["bench", "--orders", "200", "--concurrency", "16", "--fail-rate", "0.1"];
    for target in [&[][..], &["--target", program.http.server()]] {
        let run = program.cli(&[&mix, target].concat()).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        let words = ["200 orders", "sagas/s", "p50", "p95", "p99", "completed", "0 failed"];
        assert!(words.iter().all(|word| run.stdout.contains(word)), "{run:?}");
    }
    let list = program.http.get("/v1/sagas?page_size=1000").await;
    assert_eq!(list["sagas"].as_array().map(Vec::len), Some(200));
}

#[tokio::test]
async fn a_closed_pipe_is_no_error() {
    let program = with_an_order().await;
    for arguments in [&["list", "--all"][..], &["events", "order/done"], &["completion", "bash"]] {
        let mut child = command()
            .args(arguments)
            .env("AMENDS_SERVER", program.http.server())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        // As `| true` does: nobody ever reads.
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked") && !said.contains('×'), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn help_needs_no_server() {
    for arguments in [&["--help"][..], &["dev", "--help"], &["order", "submit", "--help"], &["--version"]] {
        let run = run(command().args(arguments)).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains("amends"), "{run:?}");
    }
}
