//! A broker that goes away and comes back while it is used. The client library's own mock stands in for it, since nobody
//! else's tests can be run against a broker that is down.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use amends_core::Timestamp;
use amends_engine::courier::{Courier, Publisher};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use crate::outgoing::{command, event};
use crate::support::{Topics, World, config, reply, until};

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
    Timestamp(i64::try_from(since.as_millis()).expect("a time of these days"))
}

/// A broker of the mock's, with our topics.
fn mock() -> (MockCluster<'static, DefaultProducerContext>, World) {
    let cluster = MockCluster::new(1).expect("a broker");
    let bootstrap = cluster.bootstrap_servers();
    let config = config(&bootstrap, 1);
    for topic in [config.replies_topic(), config.commands_topic("suite"), format!("{}events", config.prefix)] {
        cluster.create_topic(&topic, 1, 1).expect("a topic");
    }
    let world = World::on(config, Topics::new(&bootstrap), Arc::default(), Arc::default());
    (cluster, world)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_holds_commands_and_loses_no_reply() {
    let (cluster, world) = mock();
    world.assign(0, 1, 0);
    world.reply(0, &[reply(0, 1, 1)]).await;
    world.records(0, 1).await;
    world.courier.send(vec![command(1)]).await.unwrap();
    world.courier.settle().await;
    assert!(!world.courier.holds("suite", Timestamp(0)));
    assert_eq!(world.courier.hindered("suite"), Timestamp(0));

    cluster.broker_down(1).unwrap();
    until("the outage is noticed with nothing to send", || async {
        world.courier.holds("suite", Timestamp(0)).then_some(())
    })
    .await;
    world.courier.send(vec![command(2)]).await.expect("it is taken and held");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.courier.holds("suite", Timestamp(0)), "for as long as it lasts");

    let before = now();
    cluster.broker_up(1).unwrap();
    until("its end is noticed", || async { (!world.courier.holds("suite", Timestamp(0))).then_some(()) }).await;
    assert!(world.courier.hindered("suite") >= before, "what was on its way until then may be lost, or unread");
    let reader = world.topics.reader(&world.config.commands_topic("suite"), 1);
    for _ in 0..2 {
        assert!(reader.next(Duration::from_secs(10)).await.is_some(), "the command held has left");
    }
    world.reply(0, &[reply(0, 1, 2)]).await;
    assert_eq!(world.records(0, 2).await.iter().flat_map(|run| &run.replies).count(), 2);
    assert!(world.inlet.halts.lock().await.is_empty(), "an outage is no reason to halt");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_that_failed_for_good_is_made_anew() {
    let (cluster, world) = mock();
    let refused = RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
    cluster.request_errors(RDKafkaApiKey::InitProducerId, &[refused; 3]);
    let topic = format!("{}events", world.config.prefix);
    until("events are published again", || async { world.courier.publish(&[event(&topic, 1, 1)]).await.ok() }).await;
}
