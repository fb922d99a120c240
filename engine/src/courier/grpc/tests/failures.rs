//! A participant that is not there, dies, or answers with errors of gRPC's own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amends_core::{Command, Epoch, Millis, Outcome, Reply, Shard, Timestamp};
use async_trait::async_trait;
use rstest::rstest;
use tonic::Code;

use super::far_end::{Answer, FarEnd, done};
use super::{Pair, command, commands, target};
use crate::courier::conformance::Kept;
use crate::courier::grpc::{GrpcCourier, GrpcLimits};
use crate::courier::{Courier, Inlet, Records};
use crate::shard::now;

#[rstest]
#[tokio::test]
async fn what_is_sent_to_nobody_waits_and_leaves_with_its_whole_time(#[values(true, false)] streams: bool) {
    let mut pair = Pair::new(FarEnd::absent(streams).await, GrpcLimits::default());
    let brief = |number| Command { deadline: now().after(Millis(1_500)), attempt: 3, ..command(number) };
    let sent: Vec<_> = (0..600).map(brief).collect();
    let deadline = sent[0].deadline;
    pair.courier.send(sent).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_600)).await;
    assert!(pair.courier.holds("suite", Timestamp(0)), "the engine's clocks stand still");
    let held = pair.courier.served().remove(0).held.unwrap();
    assert!(held.starts_with("the connection failed: "), "{held}");

    let back_at = now();
    pair.far_end.revive().await;
    pair.replies(600).await;
    pair.holds(false).await;
    assert!(pair.courier.served()[0].held.is_none());
    let received = pair.far_end.received(600).await;
    assert_eq!(received.len(), 600, "each once");
    let order: Vec<_> = received.iter().map(|one| one.command.saga_id.clone()).collect();
    if streams {
        assert!(order.is_sorted(), "in order");
    }
    for one in received {
        let command = super::untranslate(one.command);
        assert_eq!(command.attempt, 3, "no attempt is used up");
        let left = command.deadline.since(back_at).0;
        assert!(command.deadline > deadline && (1_500..20_000).contains(&left), "a fresh deadline: {left} ms");
    }
}

#[rstest]
#[tokio::test]
async fn what_a_dead_participant_had_not_answered_comes_again(#[values(true, false)] streams: bool) {
    let mut pair = Pair::connected(streams, GrpcLimits::default()).await;
    pair.far_end.plan(|_| Answer::Never);
    pair.courier.send(commands(300)).await.unwrap();
    assert_eq!(pair.far_end.received(256).await.len(), 256);
    pair.far_end.kill();
    pair.holds(true).await;
    pair.far_end.plan(|_| done());
    pair.far_end.revive().await;
    let replies = pair.replies(300).await;
    let ids: BTreeSet<_> = replies.iter().map(|reply| reply.command_id.as_uuid()).collect();
    assert_eq!((ids.len(), replies.len()), (300, 300), "each answered once");
    pair.holds(false).await;
}

#[rstest]
#[tokio::test]
async fn of_two_attempts_that_wait_only_the_newer_leaves(#[values(true, false)] streams: bool) {
    let mut pair = Pair::new(FarEnd::absent(streams).await, GrpcLimits { queue_max: 2, ..GrpcLimits::default() });
    pair.courier.send(commands(2)).await.unwrap();
    pair.courier.send(vec![Command { attempt: 2, ..command(0) }]).await.expect("no more room is needed");
    pair.far_end.revive().await;
    let replies = pair.replies(2).await;
    let mut attempts: Vec<_> = pair.far_end.received(2).await.iter().map(|one| one.command.attempt).collect();
    attempts.sort_unstable();
    assert_eq!((attempts, replies.len()), (vec![1, 2], 2));
}

#[tokio::test]
async fn errors_of_grpc_s_own_are_told_to_nobody() {
    let pair = Pair::connected(false, GrpcLimits::default()).await;
    let codes = [
        Code::Cancelled,
        Code::Unknown,
        Code::InvalidArgument,
        Code::DeadlineExceeded,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::ResourceExhausted,
        Code::FailedPrecondition,
        Code::Aborted,
        Code::OutOfRange,
        Code::Unimplemented,
        Code::Internal,
        Code::DataLoss,
        Code::Unauthenticated,
    ];
    let ids = commands(codes.len() as u128).into_iter().map(|command| command.id.to_string());
    let table: Vec<_> = ids.zip(codes).collect();
    pair.far_end.plan(move |command| {
        let code = table.iter().find(|(id, _)| *id == command.id).map(|(_, code)| *code);
        code.map_or_else(done, Answer::Error)
    });
    pair.courier.send(commands(codes.len() as u128)).await.unwrap();
    pair.silence().await;
    assert_eq!(pair.far_end.received(codes.len()).await.len(), codes.len(), "none is tried again here");
    assert!(!pair.courier.holds("suite", Timestamp(0)), "business errors do not open the breaker");
    pair.courier.send(vec![command(99)]).await.unwrap();
    pair.replies(1).await;
}

#[tokio::test]
async fn an_unavailable_participant_is_asked_again_within_the_attempt() {
    let pair = Pair::connected(false, GrpcLimits::default()).await;
    let tries = std::sync::atomic::AtomicU32::new(0);
    pair.far_end.plan(move |_| {
        let before = tries.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        if before < 5 { Answer::Error(Code::Unavailable) } else { done() }
    });
    pair.courier.send(vec![command(1)]).await.unwrap();
    let reply = pair.replies(1).await.remove(0);
    assert!(matches!(reply.outcome, Outcome::Done(_)) && reply.attempt == 1);
    assert_eq!(pair.far_end.received(6).await.len(), 6);
}

#[tokio::test]
async fn one_command_that_is_never_available_holds_up_no_other_and_is_given_up() {
    let pair = Pair::connected(false, GrpcLimits::default()).await;
    let poison = Command { deadline: now().after(Millis(1_000)), ..command(0) };
    let id = poison.id.to_string();
    pair.far_end.plan(move |command| if command.id == id { Answer::Error(Code::Unavailable) } else { done() });
    pair.courier.send(vec![poison.clone()]).await.unwrap();
    for number in 1..100 {
        pair.courier.send(vec![command(number)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    pair.replies(99).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let tries = |received: Vec<super::far_end::Received>| {
        received.iter().filter(|one| one.command.id == poison.id.to_string()).count()
    };
    let before = tries(pair.far_end.received(1).await);
    assert!((3..60).contains(&before), "{before} tries");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(tries(pair.far_end.received(1).await), before, "its time is up; the engine decides");
    pair.holds(false).await;
}

#[tokio::test]
async fn an_answer_on_a_stream_counts_after_its_time() {
    let pair = Pair::connected(true, GrpcLimits::default()).await;
    pair.far_end.plan(|_| Answer::After(Duration::from_millis(1_500)));
    pair.courier.send(vec![Command { deadline: now().after(Millis(200)), ..command(1) }]).await.unwrap();
    pair.replies(1).await;
}

#[rstest]
#[tokio::test]
async fn a_shutdown_gives_up_what_is_under_way(#[values(true, false)] streams: bool) {
    let pair = Pair::connected(streams, GrpcLimits::default()).await;
    pair.far_end.plan(|_| Answer::Never);
    pair.courier.send(commands(10)).await.unwrap();
    pair.far_end.received(10).await;
    tokio::time::timeout(Duration::from_secs(2), pair.courier.shutdown()).await.expect("at once");
    assert_eq!(Arc::strong_count(&pair.inlet), 1, "the engine is let go");
}

/// An inlet that panics once, as the transport does at some malformed answers.
#[derive(Default)]
struct Panics(AtomicBool, Kept);

#[async_trait]
impl Inlet for Panics {
    async fn replies(&self, replies: Vec<Reply>) {
        assert!(self.0.swap(true, Ordering::SeqCst), "as planned");
        self.1.replies(replies).await;
    }

    async fn records(&self, _: Records) {}

    async fn halt(&self, _: Shard, _: Epoch, _: Option<String>) {}
}

#[rstest]
#[tokio::test]
async fn a_link_that_panics_begins_anew(#[values(true, false)] streams: bool) {
    let far_end = FarEnd::start(streams).await;
    let courier = GrpcCourier::start(vec![target(far_end.url(), GrpcLimits::default())]).unwrap();
    let inlet = Arc::new(Panics::default());
    courier.connect(inlet.clone());
    for number in 0..1_000 {
        courier.send(vec![command(number)]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        if !inlet.1.replies.lock().await.is_empty() && !courier.holds("suite", Timestamp(0)) {
            return;
        }
    }
    panic!("the link is dead");
}
