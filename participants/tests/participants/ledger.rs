//! The invariants that the tables themselves must show, after runs in which everything happens in any order.

use serde_json::json;

use crate::fixture::{Shop, charge, compensate, execute, wanted};
use crate::place::ITEMS;

/// I16, the participant's half: no refund without a capture of the same amount in the same currency.
pub(crate) const I16_BROKEN: &str = "\
    SELECT count(*) FROM payments refund LEFT JOIN payments capture \
        ON capture.order_id = refund.order_id AND capture.kind = 'capture' \
        AND capture.payment_id = refund.payment_id AND capture.currency = refund.currency \
    WHERE refund.kind = 'refund' AND (capture.amount IS NULL OR capture.amount <> refund.amount)";

/// I16, in total: what is kept.
const KEPT: &str = "\
    SELECT CAST(COALESCE(SUM(CASE kind WHEN 'capture' THEN amount ELSE -amount END), 0) AS BIGINT) FROM payments";

/// I17: every unit is somewhere, and what is reserved or sold is what reservations say.
pub(crate) fn i17_broken() -> &'static str {
    let sum = |state: &str| {
        format!(
            "(SELECT COALESCE(SUM(quantity), 0) FROM ({ITEMS}) AS item \
              WHERE item.state = '{state}' AND item.product_id = inventory.product_id)"
        )
    };
    let (reserved, sold) = (sum("reserved"), sum("sold"));
    format!(
        "SELECT count(*) FROM inventory WHERE on_hand + reserved + sold <> stocked \
         OR on_hand < 0 OR reserved < 0 OR sold < 0 OR reserved <> {reserved} OR sold <> {sold}"
    )
    .leak()
}

/// A generator with a seed, so that a failure can be run again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[tokio::test]
async fn i16_and_i17_hold_whatever_comes_in_whatever_order() {
    let (mut refunds, mut sold) = (0, 0);
    let i17_broken = i17_broken();
    for seed in 1..=8 {
        let shop = Shop::open().await;
        shop.set_stock("LAPTOP001", 15).await;
        let mut dice = Dice(seed);
        for _ in 0..60 {
            let batch = (0..=dice.below(5)).map(|_| random_command(&mut dice)).collect();
            shop.ask_all(batch).await;
            match dice.below(4) {
                0 => shop.publish("order_completed", json!({ "order_id": format!("o{}", dice.below(40)) })).await,
                1 => shop.set_stock("LAPTOP001", i64::try_from(dice.below(20)).unwrap()).await,
                _ => {}
            }
            assert_eq!(shop.count(I16_BROKEN).await, 0, "seed {seed}");
            assert_eq!(shop.count(i17_broken).await, 0, "seed {seed}");
        }
        refunds += shop.count("SELECT count(*) FROM payments WHERE kind = 'refund'").await;
        sold += shop.count("SELECT count(*) FROM reservations WHERE state = 'sold'").await;
        let not_refunded = "SELECT CAST(SUM(amount) AS BIGINT) FROM payments c WHERE NOT EXISTS \
            (SELECT 1 FROM payments r WHERE r.order_id = c.order_id AND r.kind = 'refund')";
        assert_eq!(shop.count(KEPT).await, shop.count(not_refunded).await, "seed {seed}");
    }
    assert!(refunds > 20 && sold > 10, "{refunds} refunds and {sold} sales are too few to show anything");
}

fn random_command(dice: &mut Dice) -> amends_sdk::Command {
    let n = u128::from(dice.below(40));
    let reserve = wanted(n, &[("PHONE001", 1), ("LAPTOP001", 1), ("PHONE001", 2)]);
    match dice.below(6) {
        0 | 1 => execute(n, "payment.charge", charge(n, "pm_ok")),
        2 => compensate(n, "payment.charge", charge(n, "pm_ok")),
        3 | 4 => execute(n, "inventory.reserve", reserve),
        _ => compensate(n, "inventory.reserve", reserve),
    }
}

#[tokio::test]
async fn the_stock_table_refuses_what_would_break_i17() {
    let shop = Shop::open().await;
    for sql in [
        "UPDATE inventory SET on_hand = on_hand + 1",
        "UPDATE inventory SET on_hand = on_hand - 1000000, stocked = stocked - 1000000",
        "UPDATE inventory SET reserved = reserved - 1, sold = sold + 1",
    ] {
        assert!(shop.db.execute(sql, &[]).await.is_err(), "{sql}");
    }
}
