use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const TOPIC: &str = "amends.payment.commands";

fn position(offsets: &Offsets, partition: i32) -> Option<i64> {
    Some(offsets.topics.get(TOPIC)?.get(&partition)?.position())
}

#[test]
fn a_record_in_hand_holds_the_offset_back() {
    let mut offsets = Offsets::default();
    let tickets: Vec<Ticket> = (10..14).map(|offset| offsets.take(TOPIC, 0, offset)).collect();
    for done in [1, 3, 2] {
        offsets.finish(&tickets[done]);
        assert_eq!(position(&offsets, 0), Some(10));
    }
    offsets.finish(&tickets[0]);
    assert_eq!((position(&offsets, 0), offsets.in_hand()), (Some(14), 0));
}

#[test]
fn offsets_with_gaps_count_as_they_come() {
    let mut offsets = Offsets::default();
    let (first, second) = (offsets.take(TOPIC, 0, 5), offsets.take(TOPIC, 0, 900));
    offsets.finish(&first);
    assert_eq!(position(&offsets, 0), Some(900));
    offsets.finish(&second);
    assert_eq!(position(&offsets, 0), Some(901));
}

#[test]
fn what_was_taken_before_a_partition_was_given_away_counts_no_more() {
    let mut offsets = Offsets::default();
    let before = offsets.take(TOPIC, 0, 5);
    offsets.forget(TOPIC, 0);
    assert_eq!((position(&offsets, 0), offsets.in_hand()), (None, 0));
    let again = offsets.take(TOPIC, 0, 5);
    offsets.finish(&before);
    assert_eq!(position(&offsets, 0), Some(5));
    offsets.finish(&again);
    assert_eq!(position(&offsets, 0), Some(6));
}

#[test]
fn a_partition_that_begins_anew_takes_its_position_back() {
    let mut offsets = Offsets::default();
    let old = offsets.take(TOPIC, 0, 1000);
    offsets.finish(&old);
    let new = offsets.take(TOPIC, 0, 0);
    offsets.finish(&new);
    assert_eq!(position(&offsets, 0), Some(1));
}

#[test]
fn a_position_is_committed_when_it_has_moved_and_again_when_that_failed() {
    let mut offsets = Offsets::default();
    let (ours, theirs) = (|topic: &str, _| topic == TOPIC, "amends.order.commands");
    let ticket = offsets.take(TOPIC, 3, 7);
    offsets.take(theirs, 0, 1);
    offsets.finish(&ticket);
    let moved = vec![Position { topic: TOPIC.into(), partition: 3, offset: 8 }];
    assert_eq!(offsets.moved(ours), moved);
    assert!(offsets.moved(ours).is_empty());
    offsets.uncommit();
    assert_eq!(offsets.moved(ours), moved);
    offsets.forget_topic(TOPIC);
    assert!(offsets.moved(ours).is_empty());
    assert_eq!(offsets.in_hand(), 1);
}

#[derive(Clone, Debug)]
enum Act {
    Take(i32),
    /// One of those in hand, wherever it stands.
    Finish(usize),
    Forget(i32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..2).prop_map(Act::Take),
        5 => (0_usize..1000).prop_map(Act::Finish),
        1 => (0..2).prop_map(Act::Forget),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    /// Whatever the order: a position is never beyond a record in hand, and reaches the end when nothing is.
    #[test]
    fn a_position_is_the_first_record_in_hand_or_the_end(acts in acts()) {
        let mut offsets = Offsets::default();
        let mut next = [0_i64; 2];
        let mut in_hand: [BTreeSet<i64>; 2] = Default::default();
        let mut tickets: Vec<Ticket> = Vec::new();
        let mut seen = [false; 2];
        for act in acts {
            match act {
                Act::Take(partition) => {
                    let at = usize::try_from(partition).unwrap();
                    tickets.push(offsets.take(TOPIC, partition, next[at]));
                    in_hand[at].insert(next[at]);
                    next[at] += 1;
                    seen[at] = true;
                }
                Act::Finish(which) if !tickets.is_empty() => {
                    let ticket = tickets.swap_remove(which % tickets.len());
                    offsets.finish(&ticket);
                    in_hand[usize::try_from(ticket.partition).unwrap()].remove(&ticket.offset);
                }
                Act::Finish(_) => {}
                Act::Forget(partition) => {
                    let at = usize::try_from(partition).unwrap();
                    offsets.forget(TOPIC, partition);
                    in_hand[at].clear();
                    seen[at] = false;
                }
            }
            for partition in 0..2 {
                let expected = seen[partition].then(|| in_hand[partition].first().copied().unwrap_or(next[partition]));
                prop_assert_eq!(position(&offsets, i32::try_from(partition).unwrap()), expected);
            }
            prop_assert_eq!(offsets.in_hand(), in_hand[0].len() + in_hand[1].len());
        }
    }
}
