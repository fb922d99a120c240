//! `amends bus`: topics are made, compared and shown.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use amends_core::Definition;
use amends_engine::Definitions;
use amends_engine::courier::Courier;
use amends_engine::courier::kafka::admin::{EnsureOptions, TopicKind, TopicState, ensure, wanted};
use amends_engine::courier::kafka::tail::{TailFrom, tail, topics};
use amends_engine::courier::kafka::{KafkaConfig, KafkaCourier};
use amends_engine::store::TopicBook;
use futures::StreamExt;
use rdkafka::admin::{AdminOptions, AlterConfig, ResourceSpecifier};

use crate::support::{Book, Topics, bus, config, lease, reply, until};

const OPTIONS: EnsureOptions = EnsureOptions { partitions: 2, replication: None, adopt: false };

fn definitions(event_topic: &str) -> Definitions {
    let source = format!(
        r#"
saga = "trip"
version = 1
[[step]]
name = "book"
command = "hotel.book"
kind = "compensatable"
timeout = "5s"
[[step]]
name = "pay"
command = "bank.pay"
kind = "pivot"
timeout = "5s"
[[event]]
on = "pay.succeeded"
topic = "{event_topic}"
"#
    );
    let mut definitions = Definitions::default();
    definitions.add(Arc::new(Definition::parse(&source).expect("valid"))).expect("the first");
    definitions
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_made_once_and_written_down() {
    let made = Topics::new(&bus());
    let prefix = config(&bus(), 4).prefix;
    let definitions = definitions(&format!("{prefix}paid"));
    let config = KafkaConfig { prefix: prefix.clone(), ..KafkaConfig::new(bus(), 4, &definitions) };
    let topics_wanted = wanted(&config, &definitions);
    let names: Vec<String> = topics_wanted.iter().map(|topic| topic.name.replace(&prefix, "")).collect();
    assert_eq!(names, ["bank.commands", "hotel.commands", "replies", "dead-letters", "paid"]);
    topics_wanted.iter().for_each(|topic| made.own(&topic.name));

    let book = Book::default();
    let reports = ensure(&config, &book, &topics_wanted, OPTIONS).await.unwrap();
    assert!(reports.iter().all(|report| report.state == TopicState::Created), "{reports:?}");
    let again = ensure(&config, &book, &topics_wanted, OPTIONS).await.unwrap();
    assert!(again.iter().all(|report| report.state == TopicState::Unchanged), "{again:?}");
    let rows = book.topics().await.unwrap();
    assert_eq!(rows.len(), 5);
    assert!(rows.iter().all(|row| !row.topic_id.is_nil()));

    let described = topics(&config, &[config.replies_topic(), format!("{prefix}paid")]).await.unwrap();
    assert_eq!((described[0].partitions.len(), described[1].partitions.len()), (4, 2));
    assert_eq!(described[0].id, rows.iter().find(|row| row.name == config.replies_topic()).map(|row| row.topic_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_lose_replies_differs_and_says_what_to_do() {
    let made = Topics::new(&bus());
    let config = config(&bus(), 2);
    let replies: Vec<_> =
        wanted(&config, &Definitions::default()).into_iter().filter(|topic| topic.kind == TopicKind::Replies).collect();
    let name = config.replies_topic();
    made.create(&name, 3).await;
    let book = Book::default();
    let reports = ensure(&config, &book, &replies, OPTIONS).await.unwrap();
    let TopicState::Differs { why, next } = &reports[0].state else { panic!("{reports:?}") };
    assert!(why.contains("3 partitions") && next.contains("delete the topic"), "{why}: {next}");
    assert_eq!(book.topics().await.unwrap(), [], "a wrong topic is not written down");

    made.delete(&name).await;
    ensure(&config, &book, &replies, OPTIONS).await.unwrap();
    let settings =
        AlterConfig::new(ResourceSpecifier::Topic(&name)).set("cleanup.policy", "compact").set("retention.ms", "60000");
    made.admin().alter_configs(&[settings], &AdminOptions::new()).await.unwrap();
    let reports = until("the setting is seen", || async {
        let reports = ensure(&config, &book, &replies, OPTIONS).await.unwrap();
        matches!(reports[0].state, TopicState::Differs { .. }).then_some(reports)
    })
    .await;
    let TopicState::Differs { next, .. } = &reports[0].state else { unreachable!() };
    assert!(next.contains("cleanup.policy=delete"), "{next}");
    assert!(reports[0].warnings[0].contains("for a day"), "{reports:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_is_made_anew_only_if_that_is_asked_for() {
    let made = Topics::new(&bus());
    let config = config(&bus(), 1);
    let all = wanted(&config, &Definitions::default());
    all.iter().for_each(|topic| made.own(&topic.name));
    let book = Book::default();
    ensure(&config, &book, &all, OPTIONS).await.unwrap();
    made.delete(&config.replies_topic()).await;
    let reports = ensure(&config, &book, &all, OPTIONS).await.unwrap();
    let of_replies = reports.iter().find(|report| report.kind == TopicKind::Replies).unwrap();
    assert!(matches!(&of_replies.state, TopicState::Differs { why, .. } if why.contains("deleted")), "{of_replies:?}");
    made.until_partitions(&config.replies_topic(), None).await;

    ensure(&config, &book, &all, EnsureOptions { adopt: true, ..OPTIONS }).await.unwrap();
    assert_eq!(book.rewinds.load(Ordering::SeqCst), 1);
    made.until_partitions(&config.replies_topic(), Some(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_shows_records_and_the_lag_is_true() {
    let made = Topics::new(&bus());
    let config = config(&bus(), 1);
    made.create(&config.replies_topic(), 1).await;
    made.create(&config.commands_topic("suite"), 1).await;
    let world = crate::support::World::on(config.clone(), made, Arc::default(), Arc::default());
    let replies: Vec<_> = (0..5).map(|number| reply(0, 1, number)).collect();
    world.reply(0, &replies).await;

    let name = config.replies_topic();
    let offsets = |from| {
        let (config, name) = (config.clone(), name.clone());
        async move {
            let stream = tail(&config, &name, from, false).await.unwrap();
            stream.map(|record| record.unwrap().offset).collect::<Vec<_>>().await
        }
    };
    assert_eq!(offsets(TailFrom::Beginning).await, [0, 1, 2, 3, 4]);
    assert_eq!(offsets(TailFrom::End(2)).await, [3, 4]);
    assert_eq!(offsets(TailFrom::End(50)).await, [0, 1, 2, 3, 4]);
    assert_eq!(offsets(TailFrom::End(0)).await, Vec::<i64>::new());
    let mut followed = Box::pin(tail(&config, &name, TailFrom::End(1), true).await.unwrap());
    assert_eq!(followed.next().await.unwrap().unwrap().offset, 4);
    world.reply(0, &[reply(0, 1, 9)]).await;
    assert_eq!(followed.next().await.unwrap().unwrap().offset, 5);

    let courier: &KafkaCourier = &world.courier;
    courier.assigned(&lease(0, 1, 2));
    world.records(0, 6).await;
    until("the position is committed", || async {
        let described = topics(&config, std::slice::from_ref(&name)).await.unwrap();
        let partition = &described[0].partitions[0];
        (partition.committed == Some(6)).then(|| assert_eq!((partition.lag(), partition.high), (Some(0), 6)))
    })
    .await;
}
