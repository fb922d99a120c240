//! An order from JSON as it comes over HTTP. Numbers are handed on as they are written: the engine reads them exactly
//! and is the one to judge them; here only the shape matters.

use std::fmt;

use amends_proto::orders::v1::{OrderItem, SubmitOrderRequest};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::output::format::clean;

/// Names the field at fault, and says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub(crate) struct BodyError {
    field: String,
    message: String,
}

/// The members of a JSON object that have not been looked at yet.
struct Members<'a> {
    path: String,
    members: Object<'a>,
}

/// A JSON object as it is written: a map would drop a member that is given twice.
struct Object<'a>(Vec<(String, &'a RawValue)>);

/// Reads an order.
pub(crate) fn parse(text: &str, idempotency_key: &str) -> Result<SubmitOrderRequest, BodyError> {
    let mut order = Members::of(text, String::new())?;
    let user_id = order.text("user_id")?;
    let currency = order.text("currency")?;
    let payment_method = order.text("payment_method")?;
    let items = match order.take("items")? {
        None => Vec::new(),
        Some(raw) => {
            serde_json::from_str::<Vec<&RawValue>>(raw).map_err(|_| wrong("items".to_owned(), "must be an array"))?
        }
    };
    let items = items.iter().enumerate().map(|(at, raw)| item(raw, at)).collect::<Result<_, _>>()?;
    order.finish()?;
    Ok(SubmitOrderRequest {
        idempotency_key: idempotency_key.to_owned(),
        user_id,
        currency,
        payment_method,
        items,
        wait: false,
    })
}

fn item(raw: &RawValue, at: usize) -> Result<OrderItem, BodyError> {
    let mut item = Members::of(raw.get(), format!("items[{at}]"))?;
    let parsed = OrderItem {
        product_id: item.text("product_id")?,
        product_name: item.text("product_name")?,
        quantity: item.whole("quantity")?,
        price: item.decimal("price")?,
        currency: item.text("currency")?,
    };
    item.finish()?;
    Ok(parsed)
}

impl<'a> Members<'a> {
    fn of(text: &'a str, path: String) -> Result<Self, BodyError> {
        match serde_json::from_str(text) {
            Ok(members) => Ok(Self { path, members }),
            Err(_) if path.is_empty() => Err(wrong("order".to_owned(), "must be a JSON object")),
            Err(_) => Err(wrong(path, "must be a JSON object")),
        }
    }

    fn field(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Takes a member; null counts as absent.
    fn take(&mut self, name: &str) -> Result<Option<&'a str>, BodyError> {
        let mut found = self.members.0.extract_if(.., |(member, _)| member == name);
        let (first, second) = (found.next(), found.next());
        drop(found);
        match second {
            Some(_) => Err(wrong(self.field(name), "is given twice")),
            None => Ok(first.map(|(_, raw)| raw.get()).filter(|raw| *raw != "null")),
        }
    }

    fn text(&mut self, name: &str) -> Result<String, BodyError> {
        let Some(raw) = self.take(name)? else { return Ok(String::new()) };
        serde_json::from_str(raw).map_err(|_| wrong(self.field(name), "must be a string"))
    }

    fn whole(&mut self, name: &str) -> Result<i64, BodyError> {
        let Some(raw) = self.take(name)? else { return Ok(0) };
        serde_json::from_str(raw).map_err(|_| wrong(self.field(name), &format!("must be a whole number, not {raw}")))
    }

    /// A number as its digits stand, or a string.
    fn decimal(&mut self, name: &str) -> Result<String, BodyError> {
        let Some(raw) = self.take(name)? else { return Ok(String::new()) };
        match raw.as_bytes().first() {
            Some(b'-' | b'0'..=b'9') => Ok(raw.to_owned()),
            _ => serde_json::from_str(raw).map_err(|_| wrong(self.field(name), "must be a number, e.g. 1299.99")),
        }
    }

    /// Whatever has not been taken would be lost on the way, so it is refused.
    fn finish(self) -> Result<(), BodyError> {
        match self.members.0.first() {
            Some((name, _)) => Err(wrong(self.field(&clean(name)), "is not a field of an order")),
            None => Ok(()),
        }
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn wrong(field: String, message: &str) -> BodyError {
    BodyError { field, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_handed_on_as_written() {
        let order = parse(
            r#"{"user_id":"user_123","items":[
                {"product_id":"LAPTOP001","product_name":"Gaming Laptop","quantity":1,"price":1299.990},
                {"product_id":"MOUSE001","quantity":2,"price":"19.99"}]}"#,
            "cart-42",
        )
        .expect("an order");
        assert_eq!((order.user_id.as_str(), order.idempotency_key.as_str()), ("user_123", "cart-42"));
        assert_eq!(order.items[0].price, "1299.990");
        assert_eq!(order.items[1].price, "19.99");
        assert_eq!(order.items[1].quantity, 2);
    }

    #[test]
    fn faults_are_named_by_field() {
        let cases = [
            ("[]", "order: must be a JSON object"),
            (r#"{"user_id":7}"#, "user_id: must be a string"),
            (r#"{"items":{}}"#, "items: must be an array"),
            (r#"{"items":[5]}"#, "items[0]: must be a JSON object"),
            (r#"{"items":[{"quantity":1.5}]}"#, "items[0].quantity: must be a whole number, not 1.5"),
            (r#"{"items":[{"quantity":1},{"quantity":"2"}]}"#, "items[1].quantity: must be a whole number, not \"2\""),
            (r#"{"items":[{"price":true}]}"#, "items[0].price: must be a number, e.g. 1299.99"),
            (r#"{"user_id":"a","user_id":"b"}"#, "user_id: is given twice"),
            (r#"{"usr_id":"x"}"#, "usr_id: is not a field of an order"),
            (r#"{"items":[{"colour":"red"}]}"#, "items[0].colour: is not a field of an order"),
        ];
        for (text, message) in cases {
            assert_eq!(parse(text, "").map_err(|error| error.to_string()), Err(message.to_owned()), "{text}");
        }
    }
}
