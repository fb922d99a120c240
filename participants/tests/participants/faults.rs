//! Every step through every fault that the SDK's test kit knows (I14, I15, I19 to I21).

use amends_participants::{ChargePayment, CreateOrder, ReserveInventory, SendNotification, open, seed};
use amends_sdk::testkit::check_step;
use amends_sdk::{Database, Outcome};

use crate::fixture::{charge, notice, order, refused, wanted};

const ORDERS: &str = "SELECT order_id || ' ' || status || ' ' || total || ' ' || items FROM orders";
const PAYMENTS: &str = "\
    SELECT order_id || ' ' || kind || ' ' || payment_id || ' ' || amount || ' ' || currency FROM payments ORDER BY kind";
const STOCK: &str = "\
    SELECT line FROM (\
        SELECT 1 AS part, product_id || ' ' || on_hand || ' ' || reserved || ' ' || sold AS line FROM inventory \
        UNION ALL SELECT 2, order_id || ' ' || state || ' ' || items FROM reservations) AS lines ORDER BY part, line";
const NOTIFICATIONS: &str = "SELECT order_id || ' ' || template || ' ' || notification_id FROM notifications";

async fn shop() -> Database {
    let database = open(&crate::place::fresh().await).await.unwrap();
    seed(&database).await.unwrap();
    database
}

#[tokio::test]
async fn order_create() {
    let report = check_step(|| CreateOrder, shop, order(1), ORDERS).await;
    assert_eq!(report.undone, [report.done[0].replace("pending", "cancelled")]);
    let mut empty = order(1);
    empty["items"] = serde_json::json!([]);
    assert_eq!(refused(check_step(|| CreateOrder, shop, empty, ORDERS).await.reply).0, "NO_ITEMS");
}

#[tokio::test]
async fn payment_charge() {
    for method in ["pm_ok", "pm_slow"] {
        let report = check_step(|| ChargePayment, shop, charge(1, method), PAYMENTS).await;
        assert_eq!(report.undone, [report.done[0].clone(), report.done[0].replace("capture", "refund")]);
    }
    let report = check_step(|| ChargePayment, shop, charge(1, "pm_declined"), PAYMENTS).await;
    assert_eq!(refused(report.reply).0, "PAYMENT_DECLINED");
    assert!(report.undone.is_empty());
}

#[tokio::test]
async fn inventory_reserve() {
    let items = [("PHONE001", 2), ("LAPTOP001", 1), ("PHONE001", 1)];
    let report = check_step(|| ReserveInventory, shop, wanted(1, &items), STOCK).await;
    let products = amends_participants::CATALOGUE.len();
    assert_eq!(report.before, report.undone[..products], "everything is back on its shelf");
    assert!(report.done.contains(&"PHONE001 497 3 0".to_owned()), "{:?}", report.done);
    let report = check_step(|| ReserveInventory, shop, wanted(1, &[("LAPTOP001", 1), ("PHONE001", 501)]), STOCK).await;
    assert_eq!(refused(report.reply).0, "OUT_OF_STOCK");
    assert_eq!(report.before, report.undone);
}

#[tokio::test]
async fn notification_send() {
    let step = SendNotification::default;
    let report = check_step(step, shop, notice(1, "u1", "order_confirmed"), NOTIFICATIONS).await;
    assert!(matches!(report.reply, Outcome::Done(_)));
    assert_eq!((report.done.len(), &report.undone), (1, &report.done), "a message cannot be unsent");
}
