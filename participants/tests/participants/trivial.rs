use std::sync::Arc;

use amends_participants::run_trivial;
use amends_sdk::Outcome;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Shop, Sink, charge, compensate, done, execute, notice, order, refused, wanted};

/// Mappings of a saga read parts of answers: the trivial ones must have the parts that the real ones have.
#[tokio::test]
async fn trivial_answers_are_shaped_like_real_ones() {
    let commands = [
        execute(1, "order.create", order(1)),
        execute(1, "payment.charge", charge(1, "pm_ok")),
        execute(1, "inventory.reserve", wanted(1, &[("LAPTOP001", 1)])),
        execute(1, "notification.send", notice(1, "u1", "order_confirmed")),
    ];
    let shop = Shop::open().await;
    for command in commands {
        let real = done(shop.ask(command.clone()).await);
        assert_eq!(done(ask(command).await), real);
    }
    assert_eq!(done(ask(compensate(1, "payment.charge", charge(1, "pm_ok"))).await), Value::Null);
    assert_eq!(refused(ask(execute(1, "order.paint", json!({}))).await).0, "UNKNOWN_COMMAND");
}

async fn ask(command: amends_sdk::Command) -> Outcome {
    let (sender, receiver) = mpsc::channel(1);
    sender.send(command).await.unwrap();
    drop(sender);
    let sink = Arc::new(Sink::default());
    run_trivial(receiver, sink.clone(), CancellationToken::new()).await;
    sink.0.lock().unwrap().remove(0).outcome
}
