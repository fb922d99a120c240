use amends_core::{Exhaustion, Millis, On, Payload, SagaId, StepKind};
use amends_proto::orders::v1::{OrderItem, SubmitOrderRequest};
use proptest::prelude::*;

use super::amount::{Inexact, scaled};
use super::front::{FieldError, ItemRequest, Order, OrderRequest, parse};
use super::*;

const LAPTOP: &str = r#"{"product_id":"LAPTOP001","product_name":"Gaming Laptop","quantity":1,"price":1299.99}"#;

fn order(items: &str) -> String {
    format!(r#"{{"user_id":"user_123","items":[{items}]}}"#)
}

/// An order of one item with the given quantity and price.
fn item(quantity: &str, price: &str) -> String {
    order(&format!(r#"{{"product_id":"P","quantity":{quantity},"price":{price}}}"#))
}

fn accept(json: &str) -> Order {
    parse(json).and_then(OrderRequest::check).unwrap_or_else(|error| panic!("{json}\n{error}"))
}

fn refuse(json: &str) -> FieldError {
    parse(json).and_then(OrderRequest::check).expect_err(json)
}

#[test]
fn the_definition_is_good() {
    let definition = definition();
    assert_eq!((definition.saga_type.as_str(), definition.version), (SAGA_TYPE, 1));
    let steps: Vec<_> =
        definition.steps.iter().map(|step| (step.name.as_str(), step.command.as_str(), step.kind)).collect();
    assert_eq!(
        steps,
        [
            ("create_order", "order.create", StepKind::Compensatable),
            ("charge_payment", "payment.charge", StepKind::Compensatable),
            ("reserve_inventory", "inventory.reserve", StepKind::Pivot),
            ("send_confirmation", "notification.send", StepKind::Retriable),
            ("notify_cancelled", "notification.send", StepKind::Retriable),
        ]
    );
    for step in &definition.steps {
        assert_eq!((step.retry.attempts, step.retry.initial, step.retry.max), (5, Millis(100), Millis(2_000)));
        assert_eq!((step.retry, step.exhausted), (step.compensation_retry, Exhaustion::Park));
    }
    assert_eq!(definition.steps[1].timeout, Millis(2_000));
    assert_eq!(definition.steps_on(On::Compensated).count(), 1);
    let topics: Vec<_> = definition.events.iter().map(|event| event.topic.as_str()).collect();
    assert_eq!(
        topics,
        [
            "order_created",
            "payment_successful",
            "payment_failed",
            "inventory_updated",
            "notification_sent",
            "order_completed",
            "order_cancelled",
        ]
    );
}

#[test]
fn version_1_never_changes() {
    assert_eq!(definition().checksum.to_string(), "f23737e6-505a-5e13-923c-b6749bcec35b");
}

#[test]
fn a_plain_order_gets_the_defaults() {
    let accepted = accept(&order(LAPTOP));
    assert_eq!(
        (accepted.currency.as_str(), accepted.payment_method.as_str(), accepted.total),
        ("USD", "pm_ok", 129_999)
    );
    let input = accepted.input("ord_1");
    assert_eq!(
        input.as_str(),
        r#"{"order_id":"ord_1","user_id":"user_123","currency":"USD","payment_method":"pm_ok","items":[{"product_id":"LAPTOP001","product_name":"Gaming Laptop","quantity":1,"price":129999}],"total":129999}"#
    );
    assert_eq!(Order::from_input(&input).unwrap(), accepted);
    assert!(Order::from_input(&Payload::null()).is_err());
    let spelled = order(&LAPTOP.replace("1299.99", "\"1299.990\"").replace(":1,", " : 1.0 , "));
    assert_eq!(accept(&spelled).input("ord_1"), input);
}

#[test]
fn amounts_are_exact() {
    for (currency, price, minor) in [
        ("USD", "1299.99", 129_999),
        ("USD", "\"1299.99\"", 129_999),
        ("USD", "1299.990", 129_999),
        ("USD", "1299.9900000000000000000000000000000000000000", 129_999),
        ("USD", "0", 0),
        ("USD", "0.00", 0),
        ("USD", "0e999999999999999999999", 0),
        ("USD", "1.1e1", 1_100),
        ("USD", "129999e-2", 129_999),
        ("USD", "0.0000000000000000000001E+20", 1),
        ("USD", "92233720368547758.07", i64::MAX),
        ("JPY", "1299", 1_299),
        ("JPY", "1299.00", 1_299),
        ("BHD", "1.234", 1_234),
        ("CLF", "0.0001", 1),
    ] {
        let json = item("1", price).replace("\"items\"", &format!("\"currency\":\"{currency}\",\"items\""));
        assert_eq!(accept(&json).total, minor, "{json}");
    }
    assert_eq!(decimal(129_999, "USD"), "1299.99");
    assert_eq!(decimal(-5, "USD"), "-0.05");
    assert_eq!(decimal(5, "JPY"), "5");
    assert_eq!(decimal(i64::MIN, "BHD"), "-9223372036854775.808");
}

#[test]
fn bad_prices_are_refused() {
    for (price, part) in [
        ("-1", "must not be negative"),
        ("-0.01", "must not be negative"),
        ("1299.999", "more decimals than USD has (2)"),
        ("1e-3", "more decimals"),
        ("1e-400", "more decimals"),
        ("1e400", "too large"),
        ("1e99999999999999999999", "too large"),
        ("92233720368547758.08", "too large"),
        ("\"NaN\"", "must be a decimal number"),
        ("\"Infinity\"", "must be a decimal number"),
        ("\"1,299.99\"", "must be a decimal number"),
        ("\" 1\"", "must be a decimal number"),
        ("\"1.\"", "must be a decimal number"),
        ("\".5\"", "must be a decimal number"),
        ("\"+1\"", "must be a decimal number"),
        ("\"1e\"", "must be a decimal number"),
        ("\"1_000\"", "must be a decimal number"),
        ("\"\"", "must be a decimal number"),
        ("\"٣\"", "must be a decimal number"),
        ("\"\\ud800\"", "must be a decimal number"),
        ("true", "must be a decimal number"),
        ("[1]", "must be a decimal number"),
        ("{}", "must be a decimal number"),
        ("null", "is required"),
    ] {
        let error = refuse(&item("1", price));
        assert_eq!(error.field, "items[0].price", "{price}");
        assert!(error.message.contains(part), "{price}: {error}");
    }
    assert_eq!(refuse(&item("2", "92233720368547758.07")).to_string(), "items[0].price times quantity is too large");
    let max = r#"{"product_id":"P","quantity":1,"price":92233720368547758.07}"#;
    assert_eq!(refuse(&order(&[max, max].join(","))).field, "items");
}

#[test]
fn bad_quantities_are_refused() {
    for (quantity, part) in [
        ("-1", "at least 1, not -1"),
        ("0", "at least 1"),
        ("1.5", "a whole number, not 1.5"),
        ("1000001", "at most 1000000"),
        ("9223372036854775808", "at most 1000000"),
        ("1e400", "at most 1000000"),
        ("1e-400", "a whole number"),
        ("\"1\"", "a whole number"),
        ("[]", "a whole number"),
        ("false", "a whole number"),
        ("null", "is required"),
    ] {
        let error = refuse(&item(quantity, "1"));
        assert_eq!(error.field, "items[0].quantity", "{quantity}");
        assert!(error.message.contains(part), "{quantity}: {error}");
    }
    assert_eq!(accept(&item("1e6", "0.01")).total, 1_000_000);
}

#[test]
fn bad_requests_name_the_field() {
    let (long, deep) = ("x".repeat(1001), format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    let many = vec![r#"{"product_id":"P","quantity":1,"price":1}"#; 1001].join(",");
    let user = |user: &str| format!(r#"{{"user_id":{user},"items":[{LAPTOP}]}}"#);
    let with = |member: &str| format!(r#"{{"user_id":"u",{member},"items":[{LAPTOP}]}}"#);
    let within = |from: &str, to: &str| order(&LAPTOP.replace(from, to));
    for (json, field, part) in [
        (String::new(), "body", "is not JSON: EOF while parsing a value at line 1 column 0"),
        ("{\n\"user_id\":".into(), "body", "line 2"),
        ("NaN".into(), "body", "is not JSON"),
        (order(LAPTOP) + "x", "body", "is not JSON"),
        ("[]".into(), "body", "must be a JSON object"),
        (deep.clone(), "body", "must be a JSON object"),
        (order(&deep), "items[0]", "must be a JSON object"),
        (user(&deep), "user_id", "must be a string"),
        ("{}".into(), "items", "is required"),
        (format!(r#"{{"items":[{LAPTOP}]}}"#), "user_id", "is required"),
        (user("null"), "user_id", "is required"),
        (user("\"\""), "user_id", "is empty"),
        (user("\" \""), "user_id", "is empty"),
        (user("7"), "user_id", "must be a string"),
        (user("\"\\ud800\""), "user_id", "must be a string"),
        (user("\"a\\u0000b\""), "user_id", "holds the control character '\\0'"),
        (user(&format!("\"{long}\"")), "user_id", "is longer than 255 characters"),
        (with("\"colour\":1"), "colour", "is not a known field"),
        (with("\"a\\u0000\\n\":1"), "a\\0\\n", "is not a known field"),
        (with("\"user_id\":\"v\""), "user_id", "is given twice"),
        (with("\"currency\":\"usd\""), "currency", "\"usd\" is none"),
        (with("\"currency\":\"XAU\""), "currency", "is none"),
        (with("\"currency\":\"\""), "currency", "is none"),
        (with("\"currency\":5"), "currency", "must be a string"),
        (with("\"payment_method\":\"\""), "payment_method", "1 to 64 characters"),
        (with("\"payment_method\":\"PM\""), "payment_method", "not \"PM\""),
        (with(&format!("\"payment_method\":\"{}\"", "x".repeat(65))), "payment_method", "1 to 64 characters"),
        (order(""), "items", "between 1 and 1000, not 0"),
        (order(&many), "items", "between 1 and 1000, not 1001"),
        (user("\"u\"").replace(&format!("[{LAPTOP}]"), "{}"), "items", "must be a list"),
        (order("5"), "items[0]", "must be a JSON object"),
        (order(&format!("{LAPTOP},{{\"x\":1}}")), "items[1].x", "is not a known field"),
        (within("\"product_id\":\"LAPTOP001\",", ""), "items[0].product_id", "is required"),
        (within("LAPTOP001", ""), "items[0].product_id", "is empty"),
        (within("LAPTOP001", &long), "items[0].product_id", "is longer than 255"),
        (within("LAPTOP001", "a\\u0007"), "items[0].product_id", "holds the control character"),
        (within("Gaming Laptop", &long), "items[0].product_name", "is longer than 255"),
        (within("\"quantity\":1,", ""), "items[0].quantity", "is required"),
        (within(",\"price\":1299.99", ""), "items[0].price", "is required"),
    ] {
        let error = refuse(&json);
        let shown: String = json.chars().take(200).collect();
        assert_eq!(error.field, field, "{shown}\n{error}");
        assert!(error.message.contains(part), "{shown}\n{error}");
        assert!(error.to_string().len() < 300);
    }
}

#[test]
fn an_order_has_one_currency() {
    let of = |own: &str, items: &[&str]| {
        let named = |name: &str| if name.is_empty() { String::new() } else { format!(r#","currency":"{name}""#) };
        let items: Vec<_> =
            items.iter().map(|item| format!(r#"{{"product_id":"P","quantity":1,"price":1{}}}"#, named(item))).collect();
        format!(r#"{{"user_id":"u"{},"items":[{}]}}"#, named(own), items.join(","))
    };
    for (own, items, currency) in
        [("", ["", ""], "USD"), ("EUR", ["", "EUR"], "EUR"), ("", ["EUR", "EUR"], "EUR"), ("", ["", "USD"], "USD")]
    {
        assert_eq!(accept(&of(own, &items)).currency, currency);
    }
    for (own, items, field) in [
        ("USD", ["EUR", "USD"], "items[0].currency"),
        ("", ["EUR", "USD"], "items[0].currency"),
        ("", ["USD", "EUR"], "items[1].currency"),
        ("", ["", "EUR"], "items[1].currency"),
        ("", ["usd", "usd"], "items[0].currency"),
    ] {
        assert_eq!(refuse(&of(own, &items)).field, field, "{own} {items:?}");
    }
}

#[test]
fn both_fronts_make_the_same_order() {
    let laptop = OrderItem {
        product_id: "LAPTOP001".into(),
        product_name: "Gaming Laptop".into(),
        quantity: 1,
        price: "1299.99".into(),
        currency: String::new(),
    };
    let request = SubmitOrderRequest { user_id: "user_123".into(), items: vec![laptop], ..Default::default() };
    assert_eq!(OrderRequest::from(request.clone()).check(), Ok(accept(&order(LAPTOP))));
    let laptop = ItemRequest::new("LAPTOP001", Some("Gaming Laptop"), 1, "1299.99");
    assert_eq!(OrderRequest::new("user_123", None, vec![laptop]), OrderRequest::from(request.clone()));
    let mut bad = request;
    bad.items[0].price = "1299.999\"".into();
    bad.items[0].quantity = -1;
    assert_eq!(OrderRequest::from(bad.clone()).check().unwrap_err().field, "items[0].quantity");
    bad.items[0].quantity = 1;
    assert_eq!(OrderRequest::from(bad).check().unwrap_err().field, "items[0].price");
}

#[test]
fn an_order_id_is_its_saga_id() {
    let saga: SagaId = "0190f3a0-7c5e-7d3a-8000-00000000002a".parse().unwrap();
    let id = OrderId::from(saga);
    assert_eq!(id.to_string(), "ord_0190f3a07c5e7d3a800000000000002a");
    assert_eq!(id.to_string().parse::<OrderId>().unwrap().saga_id(), saga);
    for text in [
        "",
        "ord_",
        "0190f3a07c5e7d3a800000000000002a",
        "ord_0190F3A07C5E7D3A800000000000002A",
        "ord_0190f3a0-7c5e-7d3a-8000-00000000002a",
    ] {
        assert_eq!(text.parse::<OrderId>(), Err(InvalidOrderId), "{text}");
    }
}

proptest! {
    #[test]
    fn amounts_round_trip(minor in 0i64.., currency in prop::sample::select(vec!["USD", "JPY", "BHD", "CLF"])) {
        let text = decimal(minor, currency);
        prop_assert_eq!(scaled(&text, super::amount::decimals(currency).unwrap()), Ok(minor));
        prop_assert_eq!(scaled(&format!("-{text}"), 4), Err(Inexact::Negative));
    }

    #[test]
    fn any_text_is_answered(text in "\\PC*") {
        let _ = parse(&text).and_then(OrderRequest::check);
    }

    #[test]
    fn any_value_anywhere_is_answered(value in "[-+0-9eE.]{1,12}|\"\\PC{0,8}\"|[\\[\\]{}:,\"a1]{0,10}", at in 0usize..5) {
        let json = order(LAPTOP);
        let places = ["\"user_123\"", "\"LAPTOP001\"", "1,\"price\"", "1299.99", LAPTOP];
        let value = if at == 2 { format!("{value},\"price\"") } else { value };
        let _ = parse(&json.replacen(places[at], &value, 1)).and_then(OrderRequest::check);
    }

    #[test]
    fn accepted_orders_add_up(lines in prop::collection::vec((1i64..=1_000_000, 0i64..=1_000_000_000), 1..20)) {
        let items: Vec<_> = lines
            .iter()
            .map(|(quantity, price)| format!(r#"{{"product_id":"P","quantity":{quantity},"price":{}}}"#, decimal(*price, "USD")))
            .collect();
        let total: i64 = lines.iter().map(|(quantity, price)| quantity * price).sum();
        prop_assert_eq!(accept(&order(&items.join(","))).total, total);
    }
}
