use std::collections::HashMap;

use uuid::Uuid;

use super::*;
use crate::ids::{CommandId, SagaId, StepName};

fn lookup<'h>(headers: &'h Headers) -> impl Fn(&str) -> Option<&'h [u8]> {
    let by_name: HashMap<&str, &'h [u8]> = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    move |name| by_name.get(name).copied()
}

fn command(cause: Option<Failure>) -> Command {
    let saga_id = SagaId::from_uuid(Uuid::from_u128(0x0190_163d_8694_739b_aea5_966c_26f8_ad91));
    let step = StepName::new("charge_payment").unwrap();
    Command {
        id: CommandId::derive(saga_id, &step, Operation::Execute, 1),
        saga_id,
        saga_type: SagaType::new("order").unwrap(),
        step,
        operation: Operation::Execute,
        command: "payment.charge".to_owned(),
        participant: "payment".to_owned(),
        attempt: 3,
        revision: 1,
        redrive: 2,
        deadline: Timestamp(1_700_000_000_123),
        payload: Payload::from_json(r#"{"amount":1299.990}"#.to_owned()).unwrap(),
        cause,
    }
}

fn reply(outcome: Outcome) -> Reply {
    let Command { id, saga_id, step, operation, attempt, .. } = command(None);
    Reply { command_id: id, saga_id, step, operation, attempt, outcome }
}

#[test]
fn a_command_comes_back_as_it_went() {
    let to = ReplyTo { topic: "amends.replies".to_owned(), partition: 7 };
    for cause in [None, Some(Failure::new("OUT_OF_STOCK", "none \"left\" – ä"))] {
        let sent = command(cause);
        let headers = command_headers(&sent, &to, Timestamp(0));
        let value = Some(sent.payload.as_str().as_bytes());
        assert_eq!(read_command("payment", lookup(&headers), value).unwrap(), sent);
        assert_eq!(read_reply_to(lookup(&headers)).unwrap(), to);
    }
}

#[test]
fn the_trace_of_a_saga_is_its_id() {
    let trace = command(None).traceparent();
    assert!(trace.starts_with("00-0190163d8694739baea5966c26f8ad91-"), "{trace}");
    assert_eq!((trace.len(), &trace[52..]), (55, "-01"));
}

#[test]
fn a_reply_comes_back_as_it_went() {
    let failure = Failure::new("NO", "not \"today\"\n");
    let outcomes = [
        Outcome::Done(Payload::from_json("[1,2.50]".to_owned()).unwrap()),
        Outcome::Refused(failure.clone()),
        Outcome::TryAgain { failure: failure.clone(), after: Some(Millis(1_500)) },
        Outcome::TryAgain { failure, after: None },
    ];
    for sent in outcomes.map(reply) {
        let (headers, value) = reply_record(&sent, "/payment", Timestamp(0));
        assert_eq!(read_reply(lookup(&headers), Some(value.as_str().as_bytes())).unwrap(), sent);
    }
}

#[test]
fn an_event_comes_back_as_it_went() {
    let sent = DomainEvent {
        id: Uuid::from_u128(5),
        topic: "order_created".to_owned(),
        saga_id: command(None).saga_id,
        saga_type: SagaType::new("order").unwrap(),
        at: Timestamp(1_700_000_000_123),
        payload: Payload::null(),
    };
    assert_eq!(read_event("order_created", lookup(&event_headers(&sent)), Some(b"null")).unwrap(), sent);
}

#[test]
fn what_is_wrong_is_named_and_never_quotes_the_value() {
    let (headers, _) = reply_record(&reply(Outcome::Done(Payload::null())), "/payment", Timestamp(0));
    fn at(headers: &Headers, value: Option<&[u8]>) -> InvalidRecord {
        read_reply(lookup(headers), value).unwrap_err()
    }
    assert_eq!(at(&headers, None).at, "value");
    assert_eq!(at(&headers, Some(b"\xff")).at, "value");
    assert_eq!(at(&headers, Some(b"{\"card\":41")).to_string(), "value: is not JSON");
    for missing in [header::OUTCOME, header::COMMAND_ID, header::SUBJECT, header::STEP, header::OPERATION] {
        let rest: Headers = headers.iter().filter(|(name, _)| *name != missing).cloned().collect();
        assert_eq!(at(&rest, Some(b"null")).at, missing);
    }
    for (name, value) in [(header::OUTCOME, "perhaps"), (header::SUBJECT, "x"), (header::ATTEMPT, "-1")] {
        let mut broken = headers.clone();
        broken.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, text)| *text = value.to_owned());
        assert_eq!(at(&broken, Some(b"null")).at, name);
    }
}
