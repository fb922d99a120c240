//! What a message says: its templates, rendered strictly, so that a missing member is an error and not a hole.

use std::sync::LazyLock;

use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use crate::money;

/// The templates by name: the first line is the subject, the rest the body.
const TEMPLATES: [(&str, &str); 2] = [
    ("order_confirmed", include_str!("templates/order_confirmed.txt")),
    ("order_cancelled", include_str!("templates/order_cancelled.txt")),
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("money", money_filter);
    for (name, source) in TEMPLATES {
        if let Err(error) = environment.add_template(name, source) {
            // The tests render every template, so this is for whoever edits one: its messages are refused.
            tracing::error!(name, %error, "a template does not compile");
        }
    }
    environment
});

/// A subject and a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// One line.
    pub subject: String,
    /// The rest.
    pub body: String,
}

/// Renders a template; fails if there is none of this name, or a member that it needs is missing.
pub(super) fn render(template: &str, members: impl Serialize) -> Result<Text, Error> {
    let text = ENVIRONMENT.get_template(template)?.render(members)?;
    let (subject, body) = text.split_once('\n').unwrap_or((&text, ""));
    Ok(Text { subject: subject.to_owned(), body: body.to_owned() })
}

/// `{{ total | money("USD") }}`: minor units as people write them.
fn money_filter(minor: i64, currency: &str) -> Result<String, Error> {
    if money::check(minor, currency).is_err() {
        return Err(Error::new(ErrorKind::InvalidOperation, format!("{minor} {currency:?} is not an amount")));
    }
    Ok(format!("{} {currency}", money::decimal(minor, currency)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_confirmation_names_the_amount_and_the_items() {
        let order = json!({
            "order_id": "o1", "user_id": "u1", "total": 129_999, "currency": "USD",
            "items": [{ "product_id": "LAPTOP001", "product_name": "Gaming Laptop", "quantity": 1 },
                      { "product_id": "MOUSE001", "quantity": 2 }],
        });
        let text = render("order_confirmed", order).unwrap();
        assert_eq!(text.subject, "Your order o1 is confirmed");
        assert_eq!(
            text.body,
            "Hello u1,\n\nthank you for your order o1. Everything in it is reserved for you and on its way.\n\n\
             You have paid 1299.99 USD.\n\n  1 x Gaming Laptop\n  2 x MOUSE001"
        );
    }

    #[test]
    fn what_only_decorates_may_be_missing() {
        let bare = json!({ "order_id": "o1", "user_id": "u1" });
        for (template, _) in TEMPLATES {
            assert!(render(template, &bare).unwrap().subject.contains("o1"), "{template}");
        }
        let text = render("order_cancelled", json!({ "order_id": "o", "user_id": "u", "reason": "no stock" })).unwrap();
        assert!(text.body.contains("The reason: no stock."), "{}", text.body);
    }

    #[test]
    fn a_missing_member_or_template_or_a_wrong_amount_is_an_error() {
        assert!(render("order_confirmed", json!({ "order_id": "o1" })).is_err());
        assert!(render("welcome", json!({})).is_err());
        let wrong = json!({ "order_id": "o", "user_id": "u", "total": 5, "currency": "???" });
        assert!(render("order_confirmed", wrong).is_err());
    }
}
