//! The suite of all couriers.

use std::time::Duration;

use amends_core::{Command, Reply, Shard, record};
use amends_engine::courier::Courier;
use amends_engine::courier::conformance::{self, Subject};
use async_trait::async_trait;
use rdkafka::message::{Headers, Message};

use crate::support::{Reader, Topics, World, bus, config, until};

const SHARDS: u16 = 4;

struct Under {
    world: World,
    far_end: Reader,
}

#[async_trait]
impl Subject for Under {
    fn courier(&self) -> &dyn Courier {
        &*self.world.courier
    }

    async fn receive(&self) -> Option<Command> {
        let message = self.far_end.next(Duration::from_secs(10)).await?;
        let headers = message.headers().expect("commands have headers");
        let find = |name: &str| headers.iter().find(|header| header.key == name).and_then(|header| header.value);
        let command = record::read_command("suite", find, message.payload()).expect("a command");
        let reply_to = record::read_reply_to(find).expect("a way back");
        assert_eq!(message.key(), Some(command.saga_id.to_string().as_bytes()));
        assert_eq!(reply_to.topic, self.world.config.replies_topic());
        assert!((0..i32::from(SHARDS)).contains(&reply_to.partition), "it has all of them");
        Some(command)
    }

    async fn reply(&self, reply: Reply) {
        self.world.reply(Shard::of(reply.saga_id, SHARDS).0, std::slice::from_ref(&reply)).await;
        until("the reply has come back", || async {
            self.world.inlet.replies.lock().await.contains(&reply).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms() {
    conformance::run(|inlet| async {
        let config = config(&bus(), SHARDS);
        let topics = Topics::new(&bus());
        topics.create(&config.replies_topic(), i32::from(SHARDS)).await;
        topics.create(&config.commands_topic("suite"), 2).await;
        let far_end = topics.reader(&config.commands_topic("suite"), 2);
        let world = World::on(config, topics, Default::default(), inlet);
        for shard in 0..SHARDS {
            world.assign(shard, 1, 0);
        }
        Under { world, far_end }
    })
    .await;
}
