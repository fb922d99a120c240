//! Pages and counts.

use amends_core::{Status, Timestamp};

use super::Subject;
use super::fixture::{COMPLETED, Scribe, id, list, numbers, saga, state};
use crate::store::{Archive, DeadLetterFilter, Page, SagaChange, SagaFilter, SagaRow, StoreError};

pub(super) async fn pages_are_newest_first_and_stable(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    // Several in one millisecond, and not in the order in which they are written.
    for n in 1..=9 {
        scribe.start(&saga(n, (n % 4) as u16, [30, 10, 20][n as usize % 3]));
    }
    scribe.commit().await.expect("a commit");
    let whole = list(store, SagaFilter::default()).await;
    assert_eq!((whole.rows.len(), whole.total), (9, 9));
    assert!(whole.rows.windows(2).all(|pair| pair[0].started_at >= pair[1].started_at));

    let (mut paged, mut token, mut later) = (Vec::new(), String::new(), 100);
    loop {
        let page = store.list(&SagaFilter::default(), &Page { size: 2, token }).await.expect("a page");
        assert!(page.rows.len() <= 2 && page.total >= 9);
        paged.extend(numbers(&page));
        // What arrives meanwhile is newer, and on no page that is still to come.
        scribe.start(&saga(later, 0, 40));
        scribe.commit().await.expect("a commit");
        later += 1;
        if page.next.is_empty() {
            break;
        }
        token = page.next;
    }
    assert_eq!(paged, numbers(&whole));
    let filter = SagaFilter { statuses: vec![Status::Running], until: Some(Timestamp(40)), ..SagaFilter::default() };
    let first = store.list(&filter, &Page { size: 5, token: String::new() }).await.expect("a page");
    let second = store.list(&filter, &Page { size: 5, token: first.next.clone() }).await.expect("a page");
    assert_eq!([numbers(&first), numbers(&second)].concat(), numbers(&whole), "with a filter too");
    assert_eq!((first.total, second.total, second.next.as_str()), (9, 9, ""));
    let exact = store.list(&filter, &Page { size: 9, token: String::new() }).await.expect("a page");
    assert!(exact.next.is_empty(), "a full last page is the last");
}

pub(super) async fn a_broken_token_is_a_conflict(subject: &impl Subject) {
    for token in ["x", "1", "1.", ".1", "1.x", "1.2.3", "9999999999999999999999.1", "1' OR TRUE --"] {
        let page = Page { size: 2, token: token.to_owned() };
        let sagas = subject.store().list(&SagaFilter::default(), &page).await;
        assert!(matches!(sagas, Err(StoreError::Conflict(_))), "{token}");
        let letters = subject.store().dead_letters(&DeadLetterFilter::default(), &page).await;
        assert!(matches!(letters, Err(StoreError::Conflict(_))), "{token}");
    }
}

pub(super) async fn large_archives_are_counted_up_to_a_bound(subject: &impl Subject) {
    let store = subject.store();
    let mut scribe = Scribe::new(store).await;
    // The oldest two: one unfinished, one ended.
    scribe.start(&saga(0xaaaa, 0, 1));
    let ended = |n, at| SagaRow { state: state(id(n), Status::Completed, at), ..saga(n, 0, at) };
    scribe.batch.started.push(ended(0xbbbb, 2));
    for n in 0x10_0000..0x10_0000 + 9_998 {
        scribe.batch.started.push(ended(n, 10));
    }
    scribe.commit().await.expect("a commit");
    let whole = list(store, SagaFilter::default()).await;
    assert_eq!((whole.total, whole.rows.len()), (10_000, 100));
    assert_eq!(store.by_suffix("bbbb").await.expect("ids"), [id(0xbbbb)]);

    let failed = SagaChange { error_code: Some("E".to_owned()), ..state(id(0x20_0000), Status::Compensated, 10) };
    scribe.batch.started.push(SagaRow { state: failed, ..saga(0x20_0000, 0, 10) });
    let last = saga(0x20_0001, 0, 11);
    scribe.start(&last);
    scribe.change(&last, 2, COMPLETED, state(last.id, Status::Completed, 12));
    scribe.commit().await.expect("a commit");
    let whole = list(store, SagaFilter::default()).await;
    assert_eq!((whole.total, whole.rows.len()), (-1, 100));
    let compensated = SagaFilter { statuses: vec![Status::Compensated], ..SagaFilter::default() };
    assert_eq!(list(store, compensated).await.total, 1);
    // A suffix is looked for among the unfinished and the 10,000 newest.
    assert_eq!(store.by_suffix("aaaa").await.expect("ids"), [id(0xaaaa)]);
    assert!(store.by_suffix("bbbb").await.expect("ids").is_empty());
}
