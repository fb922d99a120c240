use amends_core::Operation::{Compensate, Execute};

use super::*;
use crate::fixture::command;

const SEEN: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn own(operation: Operation, revision: u32, answer: Answer) -> Entry {
    Entry { operation, revision, mark: Mark::Own { digest: SEEN, answer } }
}

fn done(output: &str) -> Answer {
    Answer::Done(Payload::from_json(output.into()).unwrap())
}

fn refused() -> Answer {
    Answer::Refused(Failure::new("DECLINED", "no money"))
}

fn tombstone() -> [Entry; 2] {
    let mark = Mark::Tombstone;
    [Entry { operation: Execute, revision: 0, mark }, own(Compensate, 0, done("null"))]
}

fn verdict(operation: Operation, revision: u32, stored: &[Entry]) -> Verdict {
    let command = Command { revision, ..command(1, operation, "{}") };
    judge(&command, SEEN, stored)
}

fn refusal_code(verdict: Verdict) -> String {
    match verdict {
        Verdict::Answer(Answer::Refused(failure)) => failure.code,
        other => panic!("not a refusal: {other:?}"),
    }
}

#[test]
fn an_execution_runs_once_and_is_answered_the_same_ever_after() {
    assert_eq!(verdict(Execute, 0, &[]), Verdict::Execute);
    assert_eq!(verdict(Execute, 0, &[own(Execute, 0, done("7"))]), Verdict::Answer(done("7")));
    assert_eq!(verdict(Execute, 0, &[own(Execute, 0, refused())]), Verdict::Answer(refused()));
    assert_eq!(verdict(Execute, 1, &[own(Execute, 0, refused())]), Verdict::Execute);
}

#[test]
fn an_execution_after_its_compensation_is_too_late_i19() {
    assert_eq!(refusal_code(verdict(Execute, 0, &tombstone())), COMPENSATED_BEFORE);
    assert_eq!(refusal_code(verdict(Execute, 0, &tombstone()[..1])), COMPENSATED_BEFORE);
    let undone = [own(Execute, 0, done("7")), own(Compensate, 0, done("null"))];
    assert_eq!(refusal_code(verdict(Execute, 1, &undone)), COMPENSATED_BEFORE);
    assert_eq!(verdict(Execute, 0, &undone), Verdict::Answer(done("7")));
}

#[test]
fn a_compensation_undoes_what_was_done_and_nothing_else() {
    assert_eq!(verdict(Compensate, 0, &[]), Verdict::Entomb);
    assert_eq!(verdict(Compensate, 0, &[own(Execute, 0, refused())]), Verdict::Undo(Vec::new()));
    let Answer::Done(seven) = done("7") else { unreachable!() };
    assert_eq!(verdict(Compensate, 0, &[own(Execute, 0, done("7"))]), Verdict::Undo(vec![seven.clone()]));
    let revised = [own(Execute, 0, refused()), own(Execute, 1, done("7"))];
    assert_eq!(verdict(Compensate, 0, &revised), Verdict::Undo(vec![seven]));
}

#[test]
fn a_compensation_undoes_once_whatever_its_identity_i15() {
    let undone = [own(Execute, 0, done("7")), own(Compensate, 0, done("null"))];
    assert_eq!(verdict(Compensate, 0, &undone), Verdict::Answer(done("null")));
    assert_eq!(verdict(Compensate, 1, &undone), Verdict::Undo(Vec::new()));
    assert_eq!(verdict(Compensate, 0, &tombstone()), Verdict::Answer(done("null")));
}

#[test]
fn another_payload_under_the_same_id_is_refused_i21() {
    let stored = [own(Execute, 0, done("7")), own(Compensate, 0, done("null"))];
    for operation in [Execute, Compensate] {
        let forged = judge(&command(1, operation, "{}"), OTHER, &stored);
        assert_eq!(refusal_code(forged), COMMAND_CONFLICT);
    }
}

#[test]
fn of_two_identities_one_takes_effect_whichever_comes_first_i14() {
    assert_eq!(
        verdict(Execute, 1, &[own(Execute, 0, done("7"))]),
        Verdict::Answer(done("7")),
        "the old copy was first"
    );
    assert_eq!(verdict(Execute, 0, &[own(Execute, 1, done("8"))]), Verdict::Answer(done("8")), "the new one was first");
    assert_eq!(refusal_code(verdict(Execute, 0, &[own(Execute, 1, refused())])), SUPERSEDED);
}
