//! Chooses the courier of a command by the binding of its participant.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amends_core::{Command, DomainEvent, Shard, Timestamp};
use async_trait::async_trait;

use super::{Courier, CourierError, Publisher, Served, Source};
use crate::store::{DeadLetter, Lease};

/// Several couriers as one.
pub struct ByParticipant {
    /// Each courier once.
    couriers: Vec<Arc<dyn Courier>>,
    /// By participant, the position of its courier.
    bound: BTreeMap<String, usize>,
    /// The position of the courier of all others.
    default: Option<usize>,
}

impl ByParticipant {
    /// Binds participants to couriers; `default` serves those that are not bound. Two participants that share a courier
    /// share it.
    pub fn new(bound: BTreeMap<String, Arc<dyn Courier>>, default: Option<Arc<dyn Courier>>) -> Self {
        let mut couriers: Vec<Arc<dyn Courier>> = Vec::new();
        let mut position = |courier: Arc<dyn Courier>| {
            couriers.iter().position(|known| Arc::ptr_eq(known, &courier)).unwrap_or_else(|| {
                couriers.push(courier);
                couriers.len() - 1
            })
        };
        let bound = bound.into_iter().map(|(participant, courier)| (participant, position(courier))).collect();
        let default = default.map(position);
        Self { couriers, bound, default }
    }

    fn position(&self, participant: &str) -> Option<usize> {
        self.bound.get(participant).copied().or(self.default)
    }
}

#[async_trait]
impl Courier for ByParticipant {
    /// Tells one failure where there are several: what nobody serves before what passes by itself.
    async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError> {
        let mut result = Ok(());
        let mut batches: Vec<Vec<Command>> = vec![Vec::new(); self.couriers.len()];
        for command in commands {
            match self.position(&command.participant) {
                Some(position) => batches[position].push(command),
                None => result = Err(CourierError::Unserved(command.command)),
            }
        }
        let batches = self.couriers.iter().zip(batches).filter(|(_, batch)| !batch.is_empty());
        // At the same time: a courier that takes a moment must not hold up the others.
        let sent = futures::future::join_all(batches.map(|(courier, batch)| courier.send(batch))).await;
        sent.into_iter().fold(result, worse)
    }

    /// What each courier says of the participants that are its own here, and of nobody else's.
    fn served(&self) -> Vec<Served> {
        let mut served = Vec::new();
        let mut named = BTreeSet::new();
        for (position, courier) in self.couriers.iter().enumerate() {
            for one in courier.served() {
                if self.position(&one.participant) == Some(position) && named.insert(one.participant.clone()) {
                    served.push(one);
                }
            }
        }
        served.sort_by(|a, b| a.participant.cmp(&b.participant));
        served
    }

    fn holds(&self, participant: &str, sent: Timestamp) -> bool {
        self.position(participant).is_some_and(|position| self.couriers[position].holds(participant, sent))
    }

    fn hindered(&self, participant: &str) -> Timestamp {
        let courier = self.position(participant).map(|position| &self.couriers[position]);
        courier.map_or(Timestamp(0), |courier| courier.hindered(participant))
    }

    /// By the one that keeps a log.
    async fn send_on(&self, replies: &[(Shard, Source)]) -> Result<(), CourierError> {
        let mut result = Err(CourierError::Unavailable("there is no courier".to_owned()));
        for courier in &self.couriers {
            result = courier.send_on(replies).await;
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn assigned(&self, lease: &Lease) {
        self.couriers.iter().for_each(|courier| courier.assigned(lease));
    }

    fn revoked(&self, shard: Shard) {
        self.couriers.iter().for_each(|courier| courier.revoked(shard));
    }
}

/// Of two results, the one to tell: what nobody serves or takes needs a person, what is full passes by itself.
pub(super) fn worse(first: Result<(), CourierError>, second: Result<(), CourierError>) -> Result<(), CourierError> {
    match (&first, &second) {
        (Err(CourierError::Unserved(_) | CourierError::Refused(_)), _) | (_, Ok(())) => first,
        _ => second,
    }
}

/// Several publishers as one: all must take what is published.
pub struct Publishers(Vec<Arc<dyn Publisher>>);

impl Publishers {
    /// In no particular order.
    pub fn new(publishers: Vec<Arc<dyn Publisher>>) -> Self {
        Self(publishers)
    }
}

#[async_trait]
impl Publisher for Publishers {
    /// After a failure of one, all are given the same events again: at least once, and the order is kept.
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
        let published = self.0.iter().map(|publisher| publisher.publish(events));
        futures::future::join_all(published).await.into_iter().collect()
    }

    async fn show_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), CourierError> {
        let shown = self.0.iter().map(|publisher| publisher.show_dead_letters(letters));
        futures::future::join_all(shown).await.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use amends_core::Epoch;

    use super::*;

    /// Notes what it is given, and fails as told.
    #[derive(Default)]
    struct Noted {
        participants: Vec<&'static str>,
        fails: Option<CourierError>,
        notes: Mutex<Vec<String>>,
    }

    impl Noted {
        fn of(participants: &[&'static str], fails: Option<CourierError>) -> Arc<Self> {
            Arc::new(Self { participants: participants.to_vec(), fails, notes: Mutex::default() })
        }

        fn note(&self, note: String) -> Result<(), CourierError> {
            self.notes.lock().unwrap().push(note);
            self.fails.clone().map_or(Ok(()), Err)
        }

        fn notes(&self) -> Vec<String> {
            std::mem::take(&mut *self.notes.lock().unwrap())
        }
    }

    #[async_trait]
    impl Courier for Noted {
        async fn send(&self, commands: Vec<Command>) -> Result<(), CourierError> {
            self.note(commands.iter().map(|command| command.command.clone()).collect::<Vec<_>>().join(" "))
        }

        fn served(&self) -> Vec<Served> {
            let served = |participant: &&str| Served {
                participant: (*participant).to_owned(),
                courier: "grpc",
                target: String::new(),
                commands: Vec::new(),
                held: None,
            };
            self.participants.iter().map(served).collect()
        }

        fn holds(&self, participant: &str, _: Timestamp) -> bool {
            self.participants.contains(&participant)
        }

        fn assigned(&self, lease: &Lease) {
            self.note(format!("assigned {}", lease.shard)).unwrap();
        }

        fn revoked(&self, shard: Shard) {
            self.note(format!("revoked {shard}")).unwrap();
        }
    }

    #[async_trait]
    impl Publisher for Noted {
        async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
            self.note(format!("{} events", events.len()))
        }

        async fn show_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), CourierError> {
            self.note(format!("{} letters", letters.len()))
        }
    }

    fn command(name: &str) -> Command {
        let participant = name.split('.').next().unwrap().to_owned();
        let text = format!(
            r#"{{"id":"00000000-0000-0000-0000-000000000001","saga_id":"00000000-0000-0000-0000-000000000002",
            "saga_type":"suite","step":"echo","operation":"execute","command":"{name}","participant":"{participant}",
            "attempt":1,"revision":0,"redrive":0,"deadline":0,"payload":null,"cause":null}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn bind(bound: &[(&str, &Arc<Noted>)], default: Option<&Arc<Noted>>) -> ByParticipant {
        let erase = |courier: &Arc<Noted>| courier.clone() as Arc<dyn Courier>;
        let bound = bound.iter().map(|(name, courier)| ((*name).to_owned(), erase(courier))).collect();
        ByParticipant::new(bound, default.map(erase))
    }

    #[tokio::test]
    async fn a_batch_is_split_by_binding_and_each_courier_is_asked_once() {
        let (wire, other) = (Noted::of(&["a", "b"], None), Noted::of(&["c", "a"], None));
        let courier = bind(&[("a", &wire), ("b", &wire)], Some(&other));
        let batch = ["a.x", "b.x", "c.x", "a.y"].map(command).to_vec();
        courier.send(batch).await.unwrap();
        assert_eq!((wire.notes(), other.notes()), (vec!["a.x b.x a.y".into()], vec!["c.x".into()]));
        let names: Vec<_> = courier.served().into_iter().map(|served| served.participant).collect();
        assert_eq!(names, ["a", "b", "c"], "each once, by whom it is bound to");
        let holds = |participant| courier.holds(participant, Timestamp(0));
        assert!(holds("a") && holds("c") && !holds("d"));
        let lease = Lease { shard: Shard(3), epoch: Epoch(1), journal_head: 0, published_head: 0, reply_cursor: 0 };
        courier.assigned(&lease);
        courier.revoked(Shard(4));
        for noted in [wire, other] {
            assert_eq!(noted.notes(), ["assigned 3", "revoked 4"], "once, though two participants share it");
        }
    }

    #[tokio::test]
    async fn who_is_bound_to_nobody_is_unserved_and_the_rest_leaves() {
        let full = Some(CourierError::Unavailable("full".into()));
        let (wire, busy) = (Noted::of(&["a"], None), Noted::of(&["b"], full));
        let courier = bind(&[("a", &wire), ("b", &busy)], None);
        let answer = courier.send(["x.x", "a.x", "b.x"].map(command).to_vec()).await;
        assert!(matches!(answer, Err(CourierError::Unserved(name)) if name == "x.x"));
        assert_eq!((wire.notes().len(), busy.notes().len()), (1, 1));
        let answer = courier.send(["a.x", "b.x"].map(command).to_vec()).await;
        assert!(matches!(answer, Err(CourierError::Unavailable(_))));
    }

    #[tokio::test]
    async fn all_publishers_must_take_it() {
        let down = Some(CourierError::Unavailable("down".into()));
        let (up, down) = (Noted::of(&[], None), Noted::of(&[], down));
        let both = Publishers::new(vec![down.clone(), up.clone()]);
        assert!(both.publish(&[]).await.is_err() && both.show_dead_letters(&[]).await.is_err());
        assert_eq!(up.notes(), ["0 events", "0 letters"], "one that fails holds back no other");
        assert!(Publishers::new(vec![up]).publish(&[]).await.is_ok());
    }
}
