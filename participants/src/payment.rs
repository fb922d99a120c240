//! The payment participant: a ledger of captures and refunds, and a sandbox in place of a gateway.
//!
//! An amount is taken and given back in whole minor units; a refund copies the amount of its capture inside one
//! statement, so that it can never differ from it (I16).

use std::time::Duration;

use amends_sdk::{Database, DriverError, Row, RowRef, Step, StepContext, StepError, Timestamp, Value};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http::{ApiError, ListArguments, ListQuery};
use crate::money;

const CAPTURE: &str = "\
    INSERT INTO payments (order_id, kind, payment_id, saga_id, user_id, amount, currency, method, created_at) \
    VALUES ($1, 'capture', $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (order_id, kind) DO NOTHING";
const REFUND: &str = "\
    INSERT INTO payments (order_id, kind, payment_id, saga_id, user_id, amount, currency, method, created_at) \
    SELECT order_id, 'refund', payment_id, saga_id, user_id, amount, currency, method, $3 FROM payments \
    WHERE order_id = $1 AND kind = 'capture' AND payment_id = $2 ON CONFLICT (order_id, kind) DO NOTHING";
const LIST: &str = "\
    SELECT order_id, kind, payment_id, saga_id, user_id, amount, currency, method, created_at \
    FROM payments WHERE order_id = $1 ORDER BY kind LIMIT $2";

/// How often `pm_flaky` stumbles before it works.
const FLAKY_ATTEMPTS: u32 = 2;

/// How far beyond its deadline `pm_slow` answers: enough that the engine has given up on that attempt.
const SLOW_MARGIN: Duration = Duration::from_millis(500);

/// `payment.charge`: captures an amount; undone by refunding it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ChargePayment;

/// What `payment.charge` is asked.
#[derive(Debug, Deserialize)]
pub struct Charge {
    order_id: String,
    user_id: String,
    /// In minor units.
    amount: i64,
    #[serde(default = "money::default_currency")]
    currency: String,
    #[serde(default, alias = "payment_method")]
    method: Option<String>,
}

/// What `payment.charge` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Receipt {
    payment_id: String,
    amount: i64,
    currency: String,
}

/// The payment methods of the sandbox: each a way in which a gateway may behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Ok,
    Declined,
    InsufficientFunds,
    Flaky,
    Slow,
    RefundFails,
}

impl Method {
    const ALL: [Self; 6] =
        [Self::Ok, Self::Declined, Self::InsufficientFunds, Self::Flaky, Self::Slow, Self::RefundFails];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "pm_ok",
            Self::Declined => "pm_declined",
            Self::InsufficientFunds => "pm_insufficient_funds",
            Self::Flaky => "pm_flaky",
            Self::Slow => "pm_slow",
            Self::RefundFails => "pm_refund_fails",
        }
    }

    /// The method that a charge names; none means `pm_ok`.
    fn of(charge: &Charge) -> Result<Self, StepError> {
        let Some(name) = charge.method.as_deref() else { return Ok(Self::Ok) };
        Self::ALL.into_iter().find(|method| method.as_str() == name).ok_or_else(|| {
            StepError::refused("UNKNOWN_PAYMENT_METHOD", format!("the sandbox has no payment method {name:?}"))
        })
    }

    /// What the method says before any money moves.
    fn authorize(self, attempt: u32) -> Result<(), StepError> {
        match self {
            Self::Ok | Self::Slow | Self::RefundFails => Ok(()),
            Self::Declined => Err(StepError::refused("PAYMENT_DECLINED", "the card was declined")),
            Self::InsufficientFunds => {
                Err(StepError::refused("INSUFFICIENT_FUNDS", "the account does not cover the amount"))
            }
            Self::Flaky if attempt <= FLAKY_ATTEMPTS => {
                Err(StepError::try_again("the sandbox's gateway does not answer yet"))
            }
            Self::Flaky => Ok(()),
        }
    }
}

impl Step for ChargePayment {
    type Input = Charge;
    type Output = Receipt;
    const COMMAND: &'static str = "payment.charge";

    async fn execute(&self, cx: &mut StepContext<'_>, charge: Charge) -> Result<Receipt, StepError> {
        money::check(charge.amount, &charge.currency)?;
        let method = Method::of(&charge)?;
        method.authorize(cx.attempt())?;
        let payment_id = format!("pay_{}", cx.command_id());
        let saga = cx.saga_id().to_string();
        let now = cx.now();
        let row = [
            Value::Text(&charge.order_id),
            Value::Text(&payment_id),
            Value::Text(&saga),
            Value::Text(&charge.user_id),
            Value::Int(charge.amount),
            Value::Text(&charge.currency),
            Value::Text(method.as_str()),
            Value::Int(now.0),
        ];
        if cx.execute(CAPTURE, &row).await? == 0 {
            let message = format!("order {} has been paid for already", charge.order_id);
            return Err(StepError::refused("ALREADY_PAID", message));
        }
        if method == Method::Slow && cx.attempt() == 1 {
            // Only the answer is late: the next attempt finds it stored and gets it at once.
            cx.reply_after(Duration::from(cx.deadline().since(now)) + SLOW_MARGIN);
        }
        Ok(Receipt { payment_id, amount: charge.amount, currency: charge.currency })
    }

    async fn compensate(&self, cx: &mut StepContext<'_>, charge: Charge, done: Receipt) -> Result<(), StepError> {
        if Method::of(&charge) == Ok(Method::RefundFails) && cx.redrive() == 0 {
            return Err(StepError::try_again("refund rejected by the sandbox until an operator retries"));
        }
        let now = cx.now().0;
        let row = [Value::Text(&charge.order_id), Value::Text(&done.payment_id), Value::Int(now)];
        if cx.execute(REFUND, &row).await? == 0 {
            let message = format!("the ledger has no capture {} that is not refunded", done.payment_id);
            return Err(StepError::try_again(message));
        }
        Ok(())
    }
}

/// One row of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRow {
    /// The order that is paid for.
    pub order_id: String,
    /// `capture` or `refund`.
    pub kind: String,
    /// Names the payment: the same for a capture and its refund.
    pub payment_id: String,
    /// The saga that asked.
    pub saga_id: String,
    /// Who pays.
    pub user_id: String,
    /// In minor units of the currency; never negative.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The sandbox's payment method.
    pub method: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Row for PaymentRow {
    fn read(row: &RowRef<'_>) -> Result<Self, DriverError> {
        let (order_id, kind, payment_id, saga_id, user_id, amount, currency, method, created_at) = Row::read(row)?;
        Ok(Self { order_id, kind, payment_id, saga_id, user_id, amount, currency, method, created_at })
    }
}

/// Serves `GET /payments?order_id=`.
pub(crate) fn routes(db: Database) -> Router {
    Router::new().route("/payments", get(list)).with_state(db)
}

async fn list(State(db): State<Database>, query: ListArguments) -> Result<Json<serde_json::Value>, ApiError> {
    let (order_id, limit) = ListQuery::by_order(query)?;
    let rows: Vec<PaymentRow> =
        db.fetch_all(LIST, &[Value::Text(&order_id), Value::Int(limit.into())]).await.map_err(ApiError::unavailable)?;
    let payments: Vec<_> = rows.iter().map(view).collect();
    Ok(Json(json!({ "payments": payments })))
}

fn view(row: &PaymentRow) -> serde_json::Value {
    json!({
        "payment_id": row.payment_id,
        "kind": row.kind,
        "order_id": row.order_id,
        "saga_id": row.saga_id,
        "user_id": row.user_id,
        "amount": money::decimal(row.amount, &row.currency),
        "amount_minor": row.amount,
        "currency": row.currency,
        "method": row.method,
        "created_at": Timestamp(row.created_at).to_string(),
    })
}
