use serde_json::json;

use super::*;

const TRIP: &str = r#"
saga = "trip"
version = 1
deadline = "1m"

[[step]]
name = "book"
command = "hotel.book"
kind = "compensatable"
retry = { attempts = 2, initial = "100ms" }

[[step]]
name = "pay"
command = "bank.pay"
kind = "pivot"
input = { room = "/book/room" }
retry = { attempts = 2, initial = "100ms" }

[[step]]
name = "tell"
command = "mail.send"
kind = "retriable"
on_exhausted = "park"
retry = { attempts = 1 }

[[event]]
on = "saga.completed"
topic = "trip_booked"
"#;

fn trip() -> SagaTest {
    SagaTest::given(Definition::parse(TRIP).unwrap(), json!({"nights": 2}))
}

#[test]
fn a_good_story_is_told() {
    trip()
        .expect_command("hotel.book")
        .with_input(json!({"nights": 2}))
        .reply_try_again()
        .expect_command("hotel.book")
        .reply_done(json!({"room": 7}))
        .expect_command("bank.pay")
        .with_input(json!({"room": 7}))
        .reply_done(json!({}))
        .expect_command("mail.send")
        .reply_done(json!({}))
        .expect_completed()
        .expect_published("trip_booked");
}

#[test]
fn bad_ones_too() {
    let booked = || trip().expect_command("hotel.book").reply_done(json!({"room": 7}));
    let undone = |test: SagaTest| test.expect_compensation("hotel.book").reply_done(()).expect_compensated();
    undone(booked().expect_command("bank.pay").reply_refused("NO_MONEY"));
    undone(booked().cancel().expect_compensation("bank.pay").reply_done(()));
    undone(booked().deadline_passes().expect_compensation("bank.pay").reply_done(()));
    let silent = booked().expect_command("bank.pay").timeout().expect_command("bank.pay").timeout();
    undone(silent.expect_compensation("bank.pay").reply_done(()));
    let paid = booked().expect_command("bank.pay").reply_done(());
    let parked = paid.expect_command("mail.send").reply_try_again().expect_parked();
    parked.retry().expect_command("mail.send").reply_done(()).expect_completed();
}

#[test]
#[should_panic(expected = "expected that bank.pay is asked to execute\nThe story so far:\n       0 ms  saga_started")]
fn a_story_that_goes_otherwise_is_told_as_it_went() {
    let _ = trip().expect_command("bank.pay");
}

#[test]
#[should_panic(expected = "bank.pay was asked to execute, unexpectedly")]
fn a_command_that_nobody_expected_fails_the_test() {
    let held = trip().expect_command("hotel.book").reply_done(());
    let _ = held.expect_status(Status::Running);
}

#[test]
#[should_panic(expected = "has the input")]
fn a_wrong_input_fails_the_test() {
    let _ = trip().expect_command("hotel.book").with_input(json!({"nights": 3}));
}
