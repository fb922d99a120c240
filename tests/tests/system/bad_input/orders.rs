//! Orders that cannot be.

use super::{Bad, assert_untouched, refuse_all};
use crate::http::Call;
use crate::program::Program;

/// Deeper than any reader of JSON goes without care.
const DEEP: usize = 1_000;

/// Bodies with one thing wrong. Texts, as most of them are no values of any language.
fn bodies() -> Vec<(&'static str, String, u16, &'static str)> {
    let item = |item: &str| format!(r#"{{"user_id":"u","items":[{item}]}}"#);
    let quantity = |quantity: &str| item(&format!(r#"{{"product_id":"MOUSE001","quantity":{quantity},"price":1}}"#));
    let price = |price: &str| item(&format!(r#"{{"product_id":"MOUSE001","quantity":2,"price":{price}}}"#));
    let order = |members: &str| {
        format!(r#"{{"user_id":"u",{members},"items":[{{"product_id":"MOUSE001","quantity":1,"price":1}}]}}"#)
    };
    let user = |user: &str| format!(r#"{{"user_id":{user},"items":[{{"product_id":"M","quantity":1,"price":1}}]}}"#);
    let product = |product: &str| item(&format!(r#"{{"product_id":{product},"quantity":1,"price":1}}"#));
    let priced =
        |currency: &str| format!(r#"{{"product_id":"MOUSE001","quantity":1,"price":1,"currency":"{currency}"}}"#);
    let half = r#"{"product_id":"MOUSE001","quantity":1,"price":50000000000000000}"#;
    let deep = format!("{}{}", "[".repeat(DEEP), "]".repeat(DEEP));
    let long = format!("\"{}\"", "x".repeat(1_001));
    let megabyte = format!("\"{}\"", "x".repeat(1024 * 1024));
    vec![
        ("no items", r#"{"user_id":"u","items":[]}"#.to_owned(), 400, "items"),
        ("items missing", r#"{"user_id":"u"}"#.to_owned(), 400, "items"),
        ("quantity 0", quantity("0"), 400, "items[0].quantity"),
        ("quantity -1", quantity("-1"), 400, "items[0].quantity"),
        ("quantity 2^63", quantity("9223372036854775808"), 400, "items[0].quantity"),
        ("quantity 2^64 + 1", quantity("18446744073709551617"), 400, "items[0].quantity"),
        ("quantity 1.5", quantity("1.5"), 400, "items[0].quantity"),
        ("quantity 1e400", quantity("1e400"), 400, "items[0].quantity"),
        ("quantity null", quantity("null"), 400, "items[0].quantity"),
        ("price -1", price("-1"), 400, "items[0].price"),
        ("price \"NaN\"", price("\"NaN\""), 400, "items[0].price"),
        ("price NaN, which no JSON is", price("NaN"), 400, "body"),
        ("price 1e400", price("1e400"), 400, "items[0].price"),
        ("price \"1e400\"", price("\"1e400\""), 400, "items[0].price"),
        ("price 1e-400", price("1e-400"), 400, "items[0].price"),
        ("price \"\"", price("\"\""), 400, "items[0].price"),
        ("three decimals", price("1.999"), 400, "items[0].price"),
        ("price times quantity overflows", price("92233720368547758.07"), 400, "items[0].price"),
        ("the sum overflows", item(&format!("{half},{half}")), 400, "items"),
        (
            "item in another currency",
            order(r#""currency":"EUR""#).replace("1}]", r#"1,"currency":"USD"}]"#),
            400,
            "items[0].currency",
        ),
        ("two currencies", item(&format!("{},{}", priced("USD"), priced("EUR"))), 400, "items[1].currency"),
        ("unknown currency", order(r#""currency":"XYZ""#), 400, "currency"),
        ("unknown currency of an item", item(&priced("XYZ")), 400, "items[0].currency"),
        (
            "decimals in yen",
            order(r#""currency":"JPY""#).replace("\"price\":1", "\"price\":1.5"),
            400,
            "items[0].price",
        ),
        ("unknown field", order(r#""coupon":"x""#), 400, "coupon"),
        ("unknown field of an item", quantity(r#"1,"colour":"red""#), 400, "items[0].colour"),
        ("field given twice", order(r#""user_id":"v""#), 400, "user_id"),
        ("user missing", r#"{"items":[{"product_id":"M","quantity":1,"price":1}]}"#.to_owned(), 400, "user_id"),
        ("user empty", user("\"\""), 400, "user_id"),
        ("NUL in the user", user(r#""a\u0000b""#), 400, "user_id"),
        ("user of 1,001 characters", user(&long), 400, "user_id"),
        ("user nested 1,000 deep", user(&deep), 400, "body"),
        ("NUL in the product", product(r#""a\u0000b""#), 400, "items[0].product_id"),
        ("product of 1,001 characters", product(&long), 400, "items[0].product_id"),
        ("payment method with spaces", order(r#""payment_method":"pm ok""#), 400, "payment_method"),
        ("nested 1,000 deep", deep.clone(), 400, "body"),
        ("items nested 1,000 deep", format!(r#"{{"user_id":"u","items":{deep}}}"#), 400, "body"),
        ("a megabyte", user(&megabyte), 413, "body"),
        ("no JSON", "user_id=u".to_owned(), 400, "body"),
        ("cut off", r#"{"user_id":"u","items":["#.to_owned(), 400, "body"),
        ("nothing", String::new(), 400, "items"),
    ]
}

#[tokio::test]
async fn an_order_that_cannot_be_is_refused_by_field() {
    let requests = bodies()
        .into_iter()
        .map(|(what, body, status, field)| Bad::new(what, Call::post("/orders", &body), status, field))
        .collect();
    refuse_all(requests).await;
}

/// The same over gRPC, as far as the CLI's reader lets them through; what it refuses itself it must name as well.
#[tokio::test]
async fn an_order_that_cannot_be_is_refused_on_the_command_line() {
    let program = Program::start().await;
    for (what, body, status, field) in bodies() {
        // More than a command line takes, or no argument at all.
        if status == 413 || body.is_empty() || body.contains('\0') {
            continue;
        }
        let run = program.cli(&["order", "submit", "-d", &body]).await;
        assert_eq!(run.code, Some(2), "{what}: {run:?}");
        let named = field == "body" || run.stderr.contains(field);
        assert!(named && run.stderr.contains("help: "), "{what}: {run:?}");
    }
    assert_untouched(&program).await;
}
