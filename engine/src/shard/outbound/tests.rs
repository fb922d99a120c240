//! What a mark says is out must be out.

use amends_core::{Operation, Payload, SagaId, SagaType, Timestamp};
use async_trait::async_trait;
use uuid::Uuid;

use super::*;
use crate::courier::CourierError;

/// Remembers what it was given.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<Uuid>>,
    letters: Mutex<Vec<Uuid>>,
}

#[async_trait]
impl Publisher for Heard {
    async fn publish(&self, events: &[DomainEvent]) -> Result<(), CourierError> {
        self.events.lock().unwrap().extend(events.iter().map(|event| event.id));
        Ok(())
    }

    async fn show_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), CourierError> {
        self.letters.lock().unwrap().extend(letters.iter().map(|letter| letter.id));
        Ok(())
    }
}

fn event(id: u128) -> DomainEvent {
    DomainEvent {
        id: Uuid::from_u128(id),
        topic: "order_cancelled".to_owned(),
        saga_id: SagaId::from_uuid(Uuid::from_u128(id)),
        saga_type: SagaType::new("order").unwrap(),
        at: Timestamp(0),
        payload: Payload::null(),
    }
}

fn letter(id: u128) -> DeadLetter {
    DeadLetter {
        id: Uuid::from_u128(id),
        saga_id: None,
        shard: Shard(0),
        step: None,
        operation: Some(Operation::Execute),
        attempts: 5,
        error_code: "TRY_AGAIN".to_owned(),
        error_message: String::new(),
        at: Timestamp(0),
        record: "{}".to_owned(),
    }
}

/// A queue whose other end the test holds.
fn queue(rounds: usize) -> (PublishQueue, mpsc::Receiver<Outgoing>) {
    let (queue, waiting) = mpsc::channel(rounds);
    (PublishQueue { queue, room: Arc::new(Semaphore::new(PUBLISH_MAX)), behind: Arc::default() }, waiting)
}

/// Tells all that waits.
async fn told(waiting: &mut mpsc::Receiver<Outgoing>) -> Heard {
    let (heard, mut rounds) = (Heard::default(), Vec::new());
    while let Ok(round) = waiting.try_recv() {
        rounds.push(round);
    }
    assert!(tell(&heard, &mut rounds, &CancellationToken::new()).await);
    heard
}

fn shards_behind(queue: &PublishQueue) -> Vec<Shard> {
    queue.behind.shards.lock().unwrap().iter().map(|published| published.shard).collect()
}

#[tokio::test]
async fn a_mark_moves_once_its_events_are_out_i26() {
    let (queue, mut waiting) = queue(4);
    let shard = Arc::new(Published::new(Shard(1), 2));
    queue.send(vec![event(1)], vec![letter(2)], vec![(shard.clone(), 3)]);
    assert_eq!(shard.head(), 2);
    let heard = told(&mut waiting).await;
    assert_eq!(heard.events.into_inner().unwrap(), [Uuid::from_u128(1)]);
    assert_eq!(heard.letters.into_inner().unwrap(), [Uuid::from_u128(2)]);
    assert_eq!((shard.head(), shards_behind(&queue)), (3, Vec::new()));
}

/// A round of two shards, of which one is behind, that has a dead letter too.
#[tokio::test]
async fn events_left_in_the_journal_are_read_from_there_i26() {
    let (queue, mut waiting) = queue(4);
    let (late, other) = (Arc::new(Published::new(Shard(0), 0)), Arc::new(Published::new(Shard(1), 2)));
    queue.catch_up(&late);
    queue.send(vec![event(1)], vec![letter(2)], vec![(late.clone(), 7), (other.clone(), 3)]);
    let heard = told(&mut waiting).await;
    assert_eq!(heard.letters.into_inner().unwrap(), [Uuid::from_u128(2)]);
    assert!(heard.events.into_inner().unwrap().is_empty(), "it would overtake what is in the journal");
    assert_eq!((late.head(), other.head()), (0, 2), "the events are not out");
    assert_eq!(shards_behind(&queue), [Shard(0), Shard(1)]);
}

#[tokio::test]
async fn events_that_find_no_room_are_read_from_the_journal_i26() {
    let (queue, mut waiting) = queue(1);
    let (first, second) = (Arc::new(Published::new(Shard(0), 0)), Arc::new(Published::new(Shard(1), 0)));
    queue.send(vec![event(1)], Vec::new(), vec![(first.clone(), 1)]);
    queue.send(vec![event(2)], Vec::new(), vec![(second.clone(), 1)]);
    let heard = told(&mut waiting).await;
    assert_eq!(heard.events.into_inner().unwrap(), [Uuid::from_u128(1)]);
    assert_eq!((first.head(), second.head(), shards_behind(&queue)), (1, 0, vec![Shard(1)]));
}
