//! A participant that is slow.

use std::sync::atomic::Ordering;
use std::time::Duration;

use amends_core::{Command, Millis, Timestamp};
use rstest::rstest;

use super::far_end::Answer;
use super::{Pair, command, commands};
use crate::courier::grpc::GrpcLimits;
use crate::courier::{Courier, CourierError};

#[rstest]
#[tokio::test]
async fn no_more_are_under_way_than_allowed(#[values(true, false)] streams: bool, #[values(1, 3)] connections: usize) {
    let limits = GrpcLimits { in_flight_max: 9, connections, ..GrpcLimits::default() };
    let pair = Pair::connected(streams, limits).await;
    pair.far_end.plan(|_| Answer::After(Duration::from_millis(2)));
    pair.courier.send(commands(400)).await.unwrap();
    pair.replies(400).await;
    let peak = pair.far_end.state.peak.load(Ordering::SeqCst);
    assert!((1..=9).contains(&peak), "{peak} at a time");
}

#[rstest]
#[tokio::test]
async fn a_full_queue_is_said_and_never_waited_for(#[values(true, false)] streams: bool) {
    let limits = GrpcLimits { in_flight_max: 4, queue_max: 10, ..GrpcLimits::default() };
    let pair = Pair::connected(streams, limits).await;
    pair.far_end.plan(|_| Answer::Never);
    pair.courier.send(commands(4)).await.unwrap();
    pair.far_end.received(4).await;
    let rest = (4..50).map(command).collect();
    let answer = tokio::time::timeout(Duration::from_millis(100), pair.courier.send(rest)).await.expect("at once");
    assert!(matches!(answer, Err(CourierError::Unavailable(_))), "{answer:?}");
    assert!(!pair.courier.holds("suite", Timestamp(0)), "slow is not gone");
}

#[rstest]
#[tokio::test]
async fn commands_that_are_never_answered_free_their_places(#[values(true, false)] streams: bool) {
    let limits = GrpcLimits { in_flight_max: 2, ..GrpcLimits::default() };
    let pair = Pair::connected(streams, limits).await;
    pair.far_end.plan(|command| match command.attempt {
        7 => Answer::Never,
        _ => super::far_end::done(),
    });
    let brief = |number| Command { deadline: crate::shard::now().after(Millis(1_000)), attempt: 7, ..command(number) };
    pair.courier.send((0..2).map(brief).collect()).await.unwrap();
    pair.far_end.received(2).await;
    pair.courier.send(vec![command(9)]).await.unwrap();
    assert_eq!(pair.replies(1).await[0].command_id, command(9).id);
}
