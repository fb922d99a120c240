use super::*;

fn ends<const N: usize>(of: [(i32, i64); N]) -> Ends {
    of.into()
}

#[test]
fn what_was_sent_before_a_note_is_read_once_every_partition_is() {
    let mut state = State { ends: ends([(0, 5), (3, 7)]), ..State::default() };
    assert!(state.note(Timestamp(10)));
    state.ends = ends([(0, 6), (3, 7)]);
    assert!(state.note(Timestamp(20)));
    assert_eq!(state.pass(&ends([(0, 5)])), None, "partition 3 was never read");
    assert_eq!(state.pass(&ends([(0, 5), (3, 6)])), None);
    assert_eq!(state.pass(&ends([(0, 5), (3, 7)])), Some(Timestamp(10)));
    assert_eq!(state.pass(&ends([(0, 9), (3, 9)])), Some(Timestamp(20)));
    assert!(!state.note(Timestamp(30)), "nothing new was delivered, and all is read");
}

#[test]
fn without_new_commands_the_last_note_moves_on() {
    let mut state = State { ends: ends([(0, 5)]), ..State::default() };
    (1..=1_000).for_each(|at| assert!(state.note(Timestamp(at))));
    assert_eq!(state.notes.len(), 1);
    assert_eq!(state.pass(&ends([(0, 5)])), Some(Timestamp(1_000)));
}

#[test]
fn notes_stay_few_and_in_order_however_long_nobody_reads() {
    let mut state = State::default();
    for at in 1..=10_000 {
        state.ends = ends([(0, at)]);
        state.note(Timestamp(at));
    }
    assert!(state.notes.len() <= NOTES_MAX);
    assert!(state.notes.back().is_some_and(|note| note.until.0 > 9_000));
    let read = state.pass(&ends([(0, 5_000)])).expect("some of them are passed").0;
    assert!((4_000..=5_000).contains(&read), "{read}");
}

/// What is known of one participant, and its topic.
fn progress() -> (Progress, String) {
    let mut config = KafkaConfig::new("127.0.0.1:1", 1, &crate::Definitions::default());
    config.participants.insert("suite".to_owned(), [].into());
    (Progress::new(&config), config.commands_topic("suite"))
}

#[test]
fn workers_that_never_committed_are_waited_for_as_long_as_they_may_take_to_start() {
    let (progress, topic) = progress();
    let (log, mut look) = (&progress.by_topic[&topic], Look::new(topic.clone()));
    progress.delivered(&topic, 0, 0);
    let sent = now();
    log.state().note(sent);
    look.found(log, Ends::new());
    assert!(progress.is_unread(&topic, sent), "they may not be up yet");
    log.state().notes[0].since = Timestamp(sent.0 - 31_000);
    look.found(log, Ends::new());
    assert!(!progress.is_unread(&topic, sent), "they are of another group");
    look.found(log, ends([(0, 0)]));
    assert!(progress.is_unread(&topic, sent), "they are of this group after all");
    look.found(log, ends([(0, 1)]));
    assert!(!progress.is_unread(&topic, sent));
}

#[test]
fn a_log_that_was_made_anew_is_another() {
    let (progress, topic) = progress();
    progress.delivered(&topic, 0, 1_000);
    progress.by_topic[&topic].state().note(Timestamp(10));
    progress.delivered(&topic, 0, 0);
    let mut state = progress.by_topic[&topic].state();
    state.note(Timestamp(20));
    assert_eq!(state.pass(&ends([(0, 1)])), Some(Timestamp(20)), "nobody waits for what the old one held");
}

#[test]
fn a_partition_that_is_gone_is_not_waited_for() {
    let mut state = State { ends: ends([(0, 5), (1, 5)]), ..State::default() };
    state.note(Timestamp(10));
    state.forget(1);
    assert_eq!(state.pass(&ends([(0, 5)])), Some(Timestamp(10)));
}
