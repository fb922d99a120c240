//! The program against an engine made up here: what scripts rely on is its exit code and where it prints.

use std::pin::Pin;
use std::process::{Output, Stdio};
use std::time::Duration;

use amends_proto::amends::v1::saga_service_server::{SagaService, SagaServiceServer};
use amends_proto::amends::v1::*;
use futures::Stream;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, async_trait};

type Answer<T> = Result<Response<T>, Status>;

/// Answers according to the id that it is asked for.
struct MadeUp;

impl MadeUp {
    async fn saga(id: &str) -> Result<Saga, Status> {
        let saga = |status: SagaStatus, why: &str| Saga {
            id: format!("0198c2f1-7f3a-7000-8000-0000{:08x}", id.len()),
            r#type: "order".to_owned(),
            status: status.into(),
            why: why.to_owned(),
            ..Saga::default()
        };
        match id {
            "done" => Ok(saga(SagaStatus::Completed, "All 4 steps were confirmed in 12ms.")),
            "undone" => Ok(saga(SagaStatus::Compensated, "charge_payment was refused.")),
            "parked" => Ok(saga(SagaStatus::Parked, "It failed. Try: amends retry parked")),
            "running" => Ok(saga(SagaStatus::Running, "")),
            "secret" => Err(Status::permission_denied("only operators may see it")),
            "away" => Err(Status::unavailable("the shard has no owner")),
            "silent" => std::future::pending().await,
            _ => Err(Status::not_found(format!("there is no saga {id}"))),
        }
    }

    async fn act(id: &str) -> Answer<Saga> {
        match id {
            "done" => Err(Status::failed_precondition("the saga has ended")),
            id => Self::saga(id).await.map(Response::new),
        }
    }
}

#[async_trait]
impl SagaService for MadeUp {
    type WatchSagaStream = Pin<Box<dyn Stream<Item = Result<Saga, Status>> + Send>>;

    async fn start_saga(&self, _: Request<StartSagaRequest>) -> Answer<StartSagaResponse> {
        Err(Status::already_exists("the key belongs to another input"))
    }

    async fn get_saga(&self, request: Request<GetSagaRequest>) -> Answer<Saga> {
        Self::saga(&request.into_inner().id).await.map(Response::new)
    }

    async fn list_sagas(&self, _: Request<ListSagasRequest>) -> Answer<ListSagasResponse> {
        let saga = SagaSummary { id: "a".to_owned(), error_message: "bad\x1b[2J".to_owned(), ..SagaSummary::default() };
        Ok(Response::new(ListSagasResponse { sagas: vec![saga], next_page_token: String::new(), total_size: 1 }))
    }

    async fn list_events(&self, _: Request<ListEventsRequest>) -> Answer<ListEventsResponse> {
        Ok(Response::new(ListEventsResponse::default()))
    }

    async fn watch_saga(&self, request: Request<WatchSagaRequest>) -> Answer<Self::WatchSagaStream> {
        let saga = Self::saga(&request.into_inner().id).await?;
        let is_running = saga.status() == SagaStatus::Running;
        let rest = futures::stream::once(async move {
            if is_running { std::future::pending().await } else { Err(Status::unavailable("the engine stops")) }
        });
        let first = futures::stream::iter([Ok(saga)]);
        Ok(Response::new(Box::pin(futures::StreamExt::chain(first, rest))))
    }

    async fn cancel_saga(&self, request: Request<CancelSagaRequest>) -> Answer<CancelSagaResponse> {
        let saga = Self::act(&request.into_inner().id).await?.into_inner();
        Ok(Response::new(CancelSagaResponse { saga: Some(saga), plan: Vec::new() }))
    }

    async fn retry_saga(&self, request: Request<RetrySagaRequest>) -> Answer<Saga> {
        Self::act(&request.into_inner().id).await
    }

    async fn pause_saga(&self, request: Request<PauseSagaRequest>) -> Answer<Saga> {
        Self::act(&request.into_inner().id).await
    }

    async fn resume_saga(&self, request: Request<ResumeSagaRequest>) -> Answer<Saga> {
        Self::act(&request.into_inner().id).await
    }

    async fn skip_step(&self, request: Request<SkipStepRequest>) -> Answer<Saga> {
        Self::act(&request.into_inner().id).await
    }

    async fn resolve_saga(&self, request: Request<ResolveSagaRequest>) -> Answer<Saga> {
        Self::act(&request.into_inner().id).await
    }
}

/// Starts the engine; it lives as long as the test.
async fn engine() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = tonic::transport::Server::builder().add_service(SagaServiceServer::new(MadeUp));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    format!("http://{address}")
}

fn amends(server: &str, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_amends"));
    for name in ["NO_COLOR", "AMENDS_STORE", "AMENDS_BUS", "AMENDS_CONFIG", "AMENDS_WORKER_STORE"] {
        command.env_remove(name);
    }
    command.args(line.split_whitespace()).env("AMENDS_SERVER", server).stdin(Stdio::null());
    command
}

async fn run(server: &str, line: &str) -> (i32, String, String) {
    let Output { status, stdout, stderr } = amends(server, line).output().await.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("a code"), text(stdout), text(stderr))
}

#[tokio::test]
async fn every_end_has_its_exit_code() {
    let server = engine().await;
    let cases = [
        ("show done", 0),
        ("show parked", 0),
        ("wait done", 0),
        ("no-such-command", 2),
        ("list --limit 0", 2),
        ("start order -d {", 2),
        ("resolve parked --as completed", 2),
        ("config show", 0),
        ("config explain participants.payment.url", 0),
        ("config explain stor.url", 3),
        ("config show --config /no/such/file.toml", 2),
        ("serve --store :memory:", 2),
        ("serve --bus 127.0.0.1:1", 2),
        ("serve --participant payment", 2),
        ("worker", 2),
        ("worker shipping", 2),
        ("worker payment --store :memory:", 2),
        ("worker payment --bus 127.0.0.1:1 --grpc 127.0.0.1:0", 2),
        ("migrate up", 2),
        ("migrate up --store mysql://a:b@c/d", 2),
        ("migrate status --store ./file.db", 2),
        ("bus topics", 2),
        ("doctor --timeout 300ms", 1),
        ("cancel --where status=parked", 2),
        ("show nothing", 3),
        ("cancel done", 4),
        ("start order --key k", 4),
        ("wait done --for compensated", 4),
        ("show secret", 5),
        ("show away", 6),
        ("show silent --timeout 300ms", 6),
        ("wait running --timeout 300ms", 6),
        ("wait undone", 7),
        ("wait undone --for compensated", 0),
        ("wait parked", 8),
    ];
    for (line, code) in cases {
        let (exit, stdout, stderr) = run(&server, line).await;
        assert_eq!(exit, code, "amends {line}\n{stdout}{stderr}");
        assert_eq!(stderr.is_empty(), code == 0 && line != "config show", "amends {line}\n{stderr}");
    }
    assert_eq!(run("http://127.0.0.1:1", "list").await.0, 6);
}

#[tokio::test]
async fn failures_say_what_why_and_what_to_try() {
    let server = engine().await;
    let (_, stdout, stderr) = run(&server, "show nothing").await;
    assert_eq!(stdout, "");
    let expected = "  × cannot show saga nothing\n  ╰─▶ there is no saga nothing\n  help: amends list --all\n";
    assert_eq!(stderr, expected);
}

#[tokio::test]
async fn several_sagas_are_told_apart() {
    let server = engine().await;
    let (exit, stdout, stderr) = run(&server, "pause parked done running").await;
    assert_eq!(exit, 4);
    assert_eq!(stdout.lines().count(), 4, "{stdout}");
    assert!(stdout.contains("✗ unchanged  the saga has ended"), "{stdout}");
    assert!(stderr.contains("1 of 3 sagas were not paused"), "{stderr}");
    let (_, stdout, _) = run(&server, "pause parked done running -o jsonl").await;
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
}

#[tokio::test]
async fn pipes_get_neither_colour_nor_control_characters() {
    let server = engine().await;
    let (_, stdout, stderr) = run(&server, "list").await;
    assert!(!stdout.contains('\x1b') && !stderr.contains('\x1b'), "{stdout}{stderr}");
    let (_, stdout, _) = run(&server, "--color always list").await;
    assert!(stdout.contains("\x1b[1mID\x1b[0m") && !stdout.contains("\x1b[2J"), "{stdout}");
    let (_, stdout, _) = run(&server, "list -o id").await;
    assert_eq!(stdout, "a\n");
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_failure() {
    let mut child =
        amends("", "completion bash").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().await.expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[cfg(unix)]
#[tokio::test]
async fn an_interrupt_ends_with_130() {
    let server = engine().await;
    let mut child = amends(&server, "wait running").stderr(Stdio::piped()).spawn().expect("it runs");
    // Long enough for the program to be waiting; earlier the signal's default would end it without a code.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let id = child.id().expect("it still runs").to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.expect("kill runs").success());
    assert_eq!(child.wait().await.expect("it ends").code(), Some(130));
}
