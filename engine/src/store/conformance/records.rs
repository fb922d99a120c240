//! Dead letters, audit, definitions, and the texts in all of them (I33, I36).

use amends_core::{IdempotencyKey, Operation, SagaType, Status, Timestamp};
use uuid::Uuid;

use super::Subject;
use super::fixture::{Scribe, id, letter, saga, state, step, written};
use crate::store::{
    Archive, AuditEntry, DeadLetter, DeadLetterFilter, DeadLetterPage, DefinitionRow, Page, SagaChange, Store,
    StoreError,
};

/// What a person, a program or an attacker may put into a text.
const AWKWARD: &str = "it's \"quoted\"; DROP TABLE sagas; -- \\ %_ ?1 $1 {} \u{1f4b6} e\u{301} \u{202e}\n\t\u{1}";

fn entry(seq: u64, reason: &str) -> AuditEntry {
    AuditEntry {
        saga_id: id(1),
        seq,
        at: Timestamp(6),
        who: "ops".to_owned(),
        action: "retry".to_owned(),
        reason: reason.to_owned(),
    }
}

async fn letters(subject: &impl Subject, filter: DeadLetterFilter) -> Vec<DeadLetter> {
    let page = Page { size: 100, token: String::new() };
    subject.store().dead_letters(&filter, &page).await.expect("a page").rows
}

pub(super) async fn an_action_is_audited_in_its_own_transaction(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    scribe.start(&saga(1, 0, 5));
    scribe.batch.audit.push(entry(1, AWKWARD));
    scribe.commit().await.expect("a commit");
    let found =
        "SELECT count(*) FROM audit WHERE seq = 1 AND who = 'ops' AND action = 'retry' AND reason LIKE 'it''s %'";
    assert_eq!(subject.sql(found).await, Ok(1));
    let before = written(subject).await;
    // Recorded twice for one journal row, it takes the rest of the batch with it.
    scribe.append(&saga(1, 0, 5), 2, 6, super::fixture::PAID);
    scribe.batch.audit.push(entry(1, "again"));
    assert!(matches!(scribe.commit().await, Err(StoreError::Conflict(_))));
    assert_eq!(written(subject).await, before);
}

pub(super) async fn a_dead_letter_is_written_once(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    let first = letter(1, 5);
    scribe.batch.dead_letters.push(first.clone());
    scribe.commit().await.expect("a commit");
    scribe.batch.dead_letters.push(DeadLetter { attempts: 99, at: Timestamp(9), ..first.clone() });
    scribe.batch.dead_letters.push(letter(2, 6));
    scribe.commit().await.expect("a repeated letter is no error");
    assert_eq!(letters(subject, DeadLetterFilter::default()).await, [letter(2, 6), first]);
}

pub(super) async fn a_record_of_no_saga_is_kept(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    let stray = DeadLetter { saga_id: None, step: None, operation: None, attempts: 0, ..letter(1, 5) };
    let half = DeadLetter { step: None, operation: None, ..letter(2, 6) };
    let undo = DeadLetter { operation: Some(Operation::Compensate), attempts: u32::MAX, ..letter(3, 7) };
    scribe.batch.dead_letters.extend([stray.clone(), half.clone(), undo.clone(), stray.clone()]);
    scribe.commit().await.expect("a commit");
    assert_eq!(letters(subject, DeadLetterFilter::default()).await, [undo.clone(), half, stray]);
    let step = DeadLetterFilter { step: Some("ship".to_owned()), ..DeadLetterFilter::default() };
    assert_eq!(letters(subject, step).await, [undo]);
}

pub(super) async fn dead_letters_are_filtered_and_paged(subject: &impl Subject) {
    let mut scribe = Scribe::new(subject.store()).await;
    for n in 1..=5 {
        let mut letter = letter(n, n as i64 / 2);
        if n % 2 == 0 {
            letter.step = Some(step("pay"));
            letter.error_code = "CARD_DECLINED".to_owned();
        }
        scribe.batch.dead_letters.push(letter);
    }
    scribe.commit().await.expect("a commit");
    let error = |text: &str| DeadLetterFilter { error: Some(text.to_owned()), ..DeadLetterFilter::default() };
    assert_eq!(letters(subject, error("declined")).await.len(), 2);
    assert_eq!(letters(subject, error("NONE LEFT")).await.len(), 5);
    assert_eq!(letters(subject, error("%")).await.len(), 0);
    let step = DeadLetterFilter { step: Some("pay".to_owned()), ..DeadLetterFilter::default() };
    assert_eq!(letters(subject, step).await.len(), 2);

    let whole = letters(subject, DeadLetterFilter::default()).await;
    assert!(whole.windows(2).all(|pair| pair[0].at >= pair[1].at), "newest first");
    let (mut paged, mut token) = (Vec::new(), String::new());
    loop {
        let page = Page { size: 2, token };
        let DeadLetterPage { rows, next } =
            subject.store().dead_letters(&DeadLetterFilter::default(), &page).await.expect("a page");
        paged.extend(rows);
        if next.is_empty() {
            break;
        }
        token = next;
    }
    assert_eq!(paged, whole);
}

pub(super) async fn a_version_of_a_definition_never_changes(subject: &impl Subject) {
    let store = subject.store();
    let row = |version, checksum, source: &str| DefinitionRow {
        saga_type: SagaType::new("order").expect("a name"),
        version,
        checksum: Uuid::from_u128(checksum),
        source: source.to_owned(),
    };
    store.save_definition(&row(1, 1, AWKWARD)).await.expect("the first");
    store.save_definition(&row(2, 2, "two")).await.expect("another version");
    store.save_definition(&row(1, 1, "the same, spaced otherwise")).await.expect("the same meaning");
    assert!(matches!(store.save_definition(&row(1, 3, "other")).await, Err(StoreError::Conflict(_))));
    let mut stored = store.definitions().await.expect("definitions");
    stored.sort_by_key(|row| row.version);
    assert_eq!(stored, [row(1, 1, AWKWARD), row(2, 2, "two")]);
}

pub(super) async fn texts_come_back_as_they_were(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    let mut saga = saga(1, 0, 5);
    saga.key = Some(IdempotencyKey::new("it's \"1\" %_\\ \u{1f4b6}").expect("a key"));
    saga.state = SagaChange {
        error_code: Some(AWKWARD.to_owned()),
        error_message: Some(AWKWARD.repeat(500)),
        ..state(id(1), Status::Running, 5)
    };
    let started = super::fixture::STARTED.replace("{\"a\":1}", "{\"a\":\"\\u0000 '\u{1f4b6}\\\"\",\"n\":1.10e400}");
    scribe.batch.started.push(saga.clone());
    scribe.append(&saga, 1, 5, &started);
    let mut lost = DeadLetter { error_message: AWKWARD.to_owned(), record: started.clone(), ..letter(1, 5) };
    scribe.batch.dead_letters.push(lost.clone());
    scribe.commit().await.expect("a commit");
    assert_eq!(store.saga(id(1)).await.expect("an answer").expect("the saga").row, saga);
    assert_eq!(store.journal_after(saga.shard, 0, 1).await.expect("a row")[0].events, started);
    assert_eq!(letters(subject, DeadLetterFilter::default()).await, [lost.clone()]);

    // Not every database can keep a NUL in a text; one that cannot says where it was, and refuses nothing.
    lost.id = Uuid::from_u128(2);
    lost.error_message = "a\0b".to_owned();
    scribe.batch.dead_letters.push(lost);
    scribe.commit().await.expect("a commit");
    let error = DeadLetterFilter { error: Some("a".to_owned()), step: None };
    let kept = letters(subject, error).await.into_iter().find(|letter| letter.id == Uuid::from_u128(2));
    assert!(matches!(kept.expect("the letter").error_message.as_str(), "a\0b" | "a\u{fffd}b"));
}
