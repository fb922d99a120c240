//! Puts a step through every fault that the barrier promises to survive.

use amends_core::Operation::{Compensate, Execute};
use amends_core::{Outcome, Payload};

use super::scene::Scene;
use crate::barrier::{COMMAND_CONFLICT, COMPENSATED_BEFORE};
use crate::database::Database;
use crate::host::Host;
use crate::step::Step;

/// What a step did to the ledger; the same under every fault.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// What it answers.
    pub reply: Outcome,
    /// The ledger before.
    pub before: Vec<String>,
    /// The ledger after the step.
    pub done: Vec<String>,
    /// The ledger after its compensation.
    pub undone: Vec<String>,
}

/// Runs a step through duplicates, late and early commands, crashes and a forged payload, and checks that it answers
/// the same and that the ledger shows its effect exactly once, or not at all.
///
/// `database` opens a fresh, migrated database with whatever the step needs to find there; it is called once per
/// fault. `ledger` is a query of one text column whose rows show the step's effect; leave out what differs from run
/// to run, such as times. The step must be done or refused at its first attempt. A refused one is checked to leave
/// nothing.
///
/// # Panics
/// With the name of the fault, and what was expected and seen, as soon as one goes wrong.
pub async fn check_step<S: Step>(
    step: impl Fn() -> S,
    database: impl AsyncFn() -> Database,
    input: serde_json::Value,
    ledger: &'static str,
) -> StepReport {
    let input = Payload::encode(&input).unwrap_or_else(|error| panic!("the input cannot be written: {error}"));
    let mut report: Option<StepReport> = None;
    for fault in Fault::ALL {
        let database = database().await;
        let host = || Host::builder(database.clone()).step(step()).build();
        let mut scene = Scene::new(fault.name(), host(), database.clone(), input.clone(), ledger);
        let Some(report) = &report else {
            report = Some(reference(&scene).await);
            continue;
        };
        match fault {
            Fault::None => {}
            Fault::Copies => copies(&scene, report).await,
            Fault::CopiesTogether => copies_together(&scene, report).await,
            Fault::OtherPayload => other_payload(&scene, report).await,
            Fault::CompensationFirst => compensation_first(&scene, report).await,
            Fault::BothTogether => both_together(&scene, report).await,
            Fault::BothTogetherReversed => both_together_reversed(&scene, report).await,
            Fault::CrashBeforeCommit => crash_before_commit(&scene, report).await,
            Fault::CrashBeforeReply => {
                for (operation, ledger_after) in [(Execute, &report.done), (Compensate, &report.undone)] {
                    let lost = scene.give(&[operation]).await;
                    scene.restart(host());
                    scene.expect(&[operation], &lost, ledger_after).await;
                }
            }
        }
    }
    report.unwrap_or_else(|| unreachable!("the first fault is none, and gives the report"))
}

/// In the order they are tried; the first gives what the others are compared with.
#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Copies,
    CopiesTogether,
    OtherPayload,
    CompensationFirst,
    BothTogether,
    BothTogetherReversed,
    CrashBeforeCommit,
    CrashBeforeReply,
}

impl Fault {
    const ALL: [Self; 9] = [
        Self::None,
        Self::Copies,
        Self::CopiesTogether,
        Self::OtherPayload,
        Self::CompensationFirst,
        Self::BothTogether,
        Self::BothTogetherReversed,
        Self::CrashBeforeCommit,
        Self::CrashBeforeReply,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::Copies => "a copy of each command",
            Self::CopiesTogether => "copies that arrive together",
            Self::OtherPayload => "another payload under the same id",
            Self::CompensationFirst => "the compensation arrives first",
            Self::BothTogether => "command and compensation arrive together",
            Self::BothTogetherReversed => "compensation and command arrive together",
            Self::CrashBeforeCommit => "a crash before the commit",
            Self::CrashBeforeReply => "a crash between commit and reply",
        }
    }
}

async fn reference(scene: &Scene) -> StepReport {
    let before = scene.ledger().await;
    let reply = scene.give_one(Execute).await;
    let done = scene.ledger().await;
    match &reply {
        Outcome::Done(_) => assert_ne!(before, done, "the step is done, and the ledger query does not show it"),
        Outcome::Refused(failure) => assert_eq!(before, done, "the step was refused ({failure:?}) and left something"),
        Outcome::TryAgain { failure, .. } => {
            panic!("the step must be done or refused at its first attempt: {failure:?}")
        }
    }
    let compensated = scene.give_one(Compensate).await;
    assert_eq!(compensated, compensated_reply(), "the step cannot be compensated");
    let undone = scene.ledger().await;
    StepReport { reply, before, done, undone }
}

async fn copies(scene: &Scene, report: &StepReport) {
    let reply = scene.give_one(Execute).await;
    scene.expect(&[Execute], std::slice::from_ref(&reply), &report.done).await;
    scene.expect(&[Compensate], &[compensated_reply()], &report.undone).await;
    scene.expect(&[Compensate], &[compensated_reply()], &report.undone).await;
    // A late copy of what was done is told what was done; it is not done again.
    scene.expect(&[Execute], &[reply], &report.undone).await;
}

async fn copies_together(scene: &Scene, report: &StepReport) {
    let replies = scene.give(&[Execute, Execute, Execute]).await;
    scene.expect(&[Execute], &replies[..1], &report.done).await;
    assert!(replies.iter().all(|reply| *reply == replies[0]), "{}: different answers {replies:?}", scene.fault);
    scene.expect(&[Compensate; 2], &[compensated_reply(), compensated_reply()], &report.undone).await;
}

async fn other_payload(scene: &Scene, report: &StepReport) {
    let reply = scene.give_one(Execute).await;
    let forged = scene.give_commands(vec![scene.forged()]).await;
    expect_refused(scene, &forged[0], COMMAND_CONFLICT);
    scene.expect(&[Execute], &[reply], &report.done).await;
}

async fn compensation_first(scene: &Scene, report: &StepReport) {
    scene.expect(&[Compensate], &[compensated_reply()], &report.before).await;
    let late = scene.give_one(Execute).await;
    expect_refused(scene, &late, COMPENSATED_BEFORE);
    scene.expect(&[Compensate], &[compensated_reply()], &report.before).await;
    let late = scene.give_one(Execute).await;
    expect_refused(scene, &late, COMPENSATED_BEFORE);
}

async fn both_together(scene: &Scene, report: &StepReport) {
    let replies = scene.give(&[Execute, Compensate]).await;
    scene.expect(&[Execute, Compensate], &replies, &report.undone).await;
    assert_eq!(replies[1], compensated_reply(), "{}", scene.fault);
}

async fn both_together_reversed(scene: &Scene, report: &StepReport) {
    let replies = scene.give(&[Compensate, Execute]).await;
    expect_refused(scene, &replies[1], COMPENSATED_BEFORE);
    scene.expect(&[Compensate], &[compensated_reply()], &report.before).await;
}

async fn crash_before_commit(scene: &Scene, report: &StepReport) {
    scene.crash_before_commit(Execute).await;
    scene.expect_ledger(&report.before).await;
    let reply = scene.give_one(Execute).await;
    scene.expect(&[Execute], &[reply], &report.done).await;
    scene.crash_before_commit(Compensate).await;
    scene.expect_ledger(&report.done).await;
    scene.expect(&[Compensate], &[compensated_reply()], &report.undone).await;
}

fn compensated_reply() -> Outcome {
    Outcome::Done(Payload::null())
}

#[track_caller]
fn expect_refused(scene: &Scene, outcome: &Outcome, code: &str) {
    let refused = matches!(outcome, Outcome::Refused(failure) if failure.code == code);
    assert!(refused, "{}: expected a refusal {code}, got {outcome:?}", scene.fault);
}
