//! A host whose database is away.

use tokio::time::timeout;

use super::streams::{A_WHILE, Line, SOON, nothing_waits, open, take};
use super::*;

const WHY: &str = "the participant's database is not available";

#[track_caller]
fn comes_again<T: std::fmt::Debug>(ended: Result<T, Status>, why: &str) {
    let status = ended.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, why));
    assert!(status.get_details_retry_info().unwrap().retry_delay.is_some());
}

impl Scene {
    async fn describe(&self) -> Result<proto::DescribeResponse, Status> {
        self.client.clone().describe(proto::DescribeRequest {}).await.map(tonic::Response::into_inner)
    }

    /// Until the health service says so of both services.
    async fn health_is(&self, serving: bool) {
        let channel = Channel::from_shared(format!("http://{}", self.address)).unwrap().connect().await.unwrap();
        let mut health = HealthClient::new(channel);
        for service in ["amends.v1.ParticipantService", "amends.v1.ParticipantStreamService"] {
            let request = HealthCheckRequest { service: service.to_owned() };
            let mut watch = health.watch(request).await.unwrap().into_inner();
            let said = async { while (watch.message().await.unwrap().unwrap().status == 1) != serving {} };
            timeout(SOON, said).await.expect("it is said");
        }
    }
}

#[tokio::test]
async fn nobody_waits_while_the_database_is_away_and_all_goes_on_when_it_is_back() {
    let (scene, host, mut commands, sink) = open().await;
    for _ in 0..2 {
        let mut line = Line::to(&scene).await;
        line.send([message(1, "{}")]).await;
        let call = scene.call(message(2, "{}"));
        let held = take(&mut commands, 2).await;
        sink.suspended(true);
        comes_again(timeout(SOON, call).await.expect("it waits no longer").unwrap(), WHY);
        comes_again(timeout(SOON, line.answers.message()).await.expect("the stream ends"), WHY);
        comes_again(scene.describe().await, WHY);
        comes_again(scene.call(message(2, "{}")).await.unwrap(), WHY);
        comes_again(Line::try_to(&scene).await.map(|_| ()), WHY);
        scene.health_is(false).await;
        nothing_waits(&host.shared).await;

        sink.suspended(false);
        scene.health_is(true).await;
        sink.send(held.iter().map(|command| reply_to(command, Outcome::Done(Payload::null()))).collect()).await;
        assert!(scene.describe().await.is_ok());
        let mut line = Line::to(&scene).await;
        line.send([message(1, "{}")]).await;
        let call = scene.call(message(2, "{}"));
        let again = take(&mut commands, 2).await;
        sink.send(again.iter().map(|command| reply_to(command, Outcome::Done(Payload::null()))).collect()).await;
        assert!(call.await.unwrap().is_ok());
        line.answers(1).await;
    }
}

#[tokio::test]
async fn a_stream_whose_caller_has_said_all_ends_with_the_database_too() {
    let (scene, _host, mut commands, sink) = open().await;
    let mut line = Line::to(&scene).await;
    line.send([message(1, "{}")]).await;
    take(&mut commands, 1).await;
    line.calls = mpsc::channel(1).0;
    tokio::time::sleep(A_WHILE).await;
    sink.suspended(true);
    comes_again(timeout(SOON, line.answers.message()).await.expect("the stream ends"), WHY);
}

#[tokio::test]
async fn a_host_that_stops_is_not_opened_by_its_database() {
    let (scene, host, mut commands, sink) = open().await;
    sink.suspended(true);
    host.shared.stop();
    for away in [false, true, false] {
        sink.suspended(away);
        comes_again(scene.describe().await, "the participant is stopping");
    }
    scene.health_is(false).await;
    assert!(commands.recv().await.is_none());
}
