//! What a client asks for, and the checks between asking and an accepted order.

use amends_proto::orders::v1::{OrderItem, SubmitOrderRequest};

use super::amount::{self, Inexact};
use super::json::{Fields, quote};

pub use super::accepted::{Item, Order};

/// Longest user or product id and product name, in characters.
const TEXT_MAX: usize = 255;
/// Longest name of a payment method, in characters.
const METHOD_MAX: usize = 64;
/// Most items of one order: it travels whole in commands and events.
const ITEMS_MAX: usize = 1000;
/// Most pieces of one item.
const QUANTITY_MAX: i64 = 1_000_000;
const CURRENCY_DEFAULT: &str = "USD";
const METHOD_DEFAULT: &str = "pm_ok";

const ORDER_FIELDS: [&str; 4] = ["user_id", "currency", "payment_method", "items"];
const ITEM_FIELDS: [&str; 5] = ["product_id", "product_name", "quantity", "price", "currency"];

/// An order as a client asks for it, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRequest {
    /// Who orders.
    pub user_id: String,
    /// ISO 4217; by default that of the items, or else USD.
    pub currency: Option<String>,
    /// By default `pm_ok`.
    pub payment_method: Option<String>,
    /// What is ordered.
    pub items: Vec<ItemRequest>,
}

/// One item of an [`OrderRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemRequest {
    /// Which product.
    pub product_id: String,
    /// What to call it.
    pub product_name: Option<String>,
    /// JSON text of a whole number, with every digit that the client sent.
    pub quantity: String,
    /// JSON text of a decimal number, or of a string holding one, in units of the currency.
    pub price: String,
    /// If given it must be the order's.
    pub currency: Option<String>,
}

/// Says which field of a request is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} {message}")]
pub struct FieldError {
    /// The field as a path, e.g. `items[0].quantity`; `body` for the text as a whole.
    pub field: String,
    /// What is wrong; reads on from the field's name.
    pub message: String,
}

impl FieldError {
    pub(super) fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

/// Reads a request from JSON. Only its shape is checked; [`OrderRequest::check`] looks at the values.
pub fn parse(json: &str) -> Result<OrderRequest, FieldError> {
    let fields = Fields::of_text(json, &ORDER_FIELDS)?;
    let mut items = Vec::new();
    for (index, item) in fields.list("items")?.into_iter().enumerate() {
        let item = Fields::of_value(item, format!("items[{index}]"), &ITEM_FIELDS)?;
        items.push(ItemRequest {
            product_id: item.text("product_id")?,
            product_name: item.optional_text("product_name")?,
            quantity: item.value("quantity")?.get().to_owned(),
            price: item.value("price")?.get().to_owned(),
            currency: item.optional_text("currency")?,
        });
    }
    Ok(OrderRequest {
        user_id: fields.text("user_id")?,
        currency: fields.optional_text("currency")?,
        payment_method: fields.optional_text("payment_method")?,
        items,
    })
}

impl OrderRequest {
    /// Puts a request together in the default currency.
    pub fn new(user_id: impl Into<String>, payment_method: Option<String>, items: Vec<ItemRequest>) -> Self {
        Self { user_id: user_id.into(), currency: None, payment_method, items }
    }

    /// Checks every value and works out the total, exactly.
    pub fn check(self) -> Result<Order, FieldError> {
        text("user_id", &self.user_id)?;
        let payment_method = self.payment_method.as_deref().unwrap_or(METHOD_DEFAULT);
        method(payment_method)?;
        if self.items.is_empty() || self.items.len() > ITEMS_MAX {
            return Err(FieldError::new(
                "items",
                format!("must be between 1 and {ITEMS_MAX}, not {}", self.items.len()),
            ));
        }
        let (currency_field, currency) = self.currency();
        let Some(decimals) = amount::decimals(currency) else {
            let message = format!("must be an ISO 4217 code such as \"USD\"; \"{}\" is none", quote(currency));
            return Err(FieldError::new(currency_field, message));
        };
        let mut items = Vec::with_capacity(self.items.len());
        let mut total: i64 = 0;
        for (index, item) in self.items.iter().enumerate() {
            let item = item.check(index, currency, decimals)?;
            let cost = item.price.checked_mul(item.quantity);
            let cost =
                cost.ok_or_else(|| FieldError::new(format!("items[{index}].price"), "times quantity is too large"))?;
            let sum = total.checked_add(cost);
            total = sum.ok_or_else(|| FieldError::new("items", "cost too much together"))?;
            items.push(item);
        }
        let (currency, payment_method) = (currency.to_owned(), payment_method.to_owned());
        Ok(Order { user_id: self.user_id, currency, payment_method, total, items })
    }

    /// The order's currency and the field that gives it: its own, else the one that all items name, else the default.
    fn currency(&self) -> (&str, &str) {
        if let Some(own) = &self.currency {
            return ("currency", own);
        }
        let mut named = self.items.iter().map(|item| item.currency.as_deref());
        match named.next().flatten() {
            Some(first) if named.all(|other| other == Some(first)) => ("items[0].currency", first),
            _ => ("currency", CURRENCY_DEFAULT),
        }
    }
}

impl ItemRequest {
    /// Puts an item together; `price` is a decimal number in units of the currency, e.g. `1299.99`.
    pub fn new(product_id: impl Into<String>, product_name: Option<&str>, quantity: i64, price: &str) -> Self {
        Self {
            product_id: product_id.into(),
            product_name: product_name.map(str::to_owned),
            quantity: quantity.to_string(),
            price: serde_json::Value::from(price).to_string(),
            currency: None,
        }
    }

    fn check(&self, index: usize, currency: &str, decimals: u32) -> Result<Item, FieldError> {
        let field = |name: &str| format!("items[{index}].{name}");
        text(&field("product_id"), &self.product_id)?;
        if let Some(name) = &self.product_name {
            text(&field("product_name"), name)?;
        }
        if let Some(own) = self.currency.as_deref().filter(|own| *own != currency) {
            let message = format!("is \"{}\", but the order is in {currency}; an order has one currency", quote(own));
            return Err(FieldError::new(field("currency"), message));
        }
        Ok(Item {
            product_id: self.product_id.clone(),
            product_name: self.product_name.clone(),
            quantity: quantity(&self.quantity).map_err(|message| FieldError::new(field("quantity"), message))?,
            price: price(&self.price, currency, decimals)
                .map_err(|message| FieldError::new(field("price"), message))?,
        })
    }
}

fn text(field: &str, value: &str) -> Result<(), FieldError> {
    let message = if value.trim().is_empty() {
        "is empty".to_owned()
    } else if value.chars().count() > TEXT_MAX {
        format!("is longer than {TEXT_MAX} characters")
    } else if let Some(control) = value.chars().find(|c| c.is_control()) {
        format!("holds the control character {control:?}")
    } else {
        return Ok(());
    };
    Err(FieldError::new(field, message))
}

fn method(value: &str) -> Result<(), FieldError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if (1..=METHOD_MAX).contains(&value.len()) && value.chars().all(allowed) {
        return Ok(());
    }
    let message = format!("must be 1 to {METHOD_MAX} characters from a-z, 0-9 and `_`, not \"{}\"", quote(value));
    Err(FieldError::new("payment_method", message))
}

fn quantity(json: &str) -> Result<i64, String> {
    match amount::scaled(json, 0) {
        Ok(number @ 1..=QUANTITY_MAX) => Ok(number),
        Ok(0) | Err(Inexact::Negative) => Err(format!("must be at least 1, not {}", quote(json))),
        Ok(_) | Err(Inexact::TooLarge) => Err(format!("must be at most {QUANTITY_MAX}, not {}", quote(json))),
        Err(Inexact::TooPrecise | Inexact::NotANumber) => Err(format!("must be a whole number, not {}", quote(json))),
    }
}

fn price(json: &str, currency: &str, decimals: u32) -> Result<i64, String> {
    let text = if json.starts_with('"') { serde_json::from_str(json).unwrap_or_default() } else { json.to_owned() };
    amount::scaled(&text, decimals).map_err(|reason| match reason {
        Inexact::NotANumber => format!("must be a decimal number such as 1299.99, not {}", quote(json)),
        Inexact::Negative => format!("must not be negative, but is {}", quote(json)),
        Inexact::TooPrecise => format!("has more decimals than {currency} has ({decimals}): {}", quote(json)),
        Inexact::TooLarge => format!("is too large: {}", quote(json)),
    })
}

impl From<SubmitOrderRequest> for OrderRequest {
    /// Takes empty texts for missing ones, as the proto does. The idempotency key is not part of the order.
    fn from(request: SubmitOrderRequest) -> Self {
        Self {
            user_id: request.user_id,
            currency: given(request.currency),
            payment_method: given(request.payment_method),
            items: request.items.into_iter().map(ItemRequest::from).collect(),
        }
    }
}

impl From<OrderItem> for ItemRequest {
    fn from(item: OrderItem) -> Self {
        let item_request = Self::new(item.product_id, None, item.quantity, &item.price);
        Self { product_name: given(item.product_name), currency: given(item.currency), ..item_request }
    }
}

fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
