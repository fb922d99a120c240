//! The notification participant: tells users what became of their orders.
//!
//! A message is a row of the table `notifications`, whose key allows one message of a kind per order (I18); a
//! [`Channel`] hands it over. Messages cannot be unsent: definitions make this step a retriable one.

mod channel;
mod message;

use std::sync::Arc;

use amends_sdk::{Database, DriverError, Row, RowRef, Step, StepContext, StepError, Timestamp, Value};
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http::{ApiError, ListArguments, ListQuery};
pub use channel::{Channel, LogChannel, Medium, Message, Undelivered};
pub use message::Text;

const INSERT: &str = "\
    INSERT INTO notifications \
        (order_id, template, notification_id, saga_id, user_id, channel, subject, body, created_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (order_id, template) DO NOTHING";
const SENT: &str = "SELECT notification_id FROM notifications WHERE order_id = $1 AND template = $2";
const LIST: &str = "\
    SELECT notification_id, saga_id, order_id, user_id, template, channel, subject, body, created_at \
    FROM notifications WHERE user_id = $1 ORDER BY created_at DESC, order_id DESC, template LIMIT $2";

/// Users whose id begins so cannot be told anything: the sandbox's way to see a retriable step fail.
const UNREACHABLE: &str = "unreachable";

/// `notification.send`: tells a user about an order, once per template.
#[derive(Clone)]
pub struct SendNotification {
    channel: Arc<dyn Channel>,
}

impl SendNotification {
    /// Sends through a channel.
    pub fn new(channel: Arc<dyn Channel>) -> Self {
        Self { channel }
    }
}

impl Default for SendNotification {
    fn default() -> Self {
        Self::new(Arc::new(LogChannel))
    }
}

/// What `notification.send` is asked; all members are there for the template.
#[derive(Debug, Deserialize, Serialize)]
pub struct Notice {
    order_id: String,
    user_id: String,
    template: String,
    #[serde(default)]
    channel: Medium,
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

/// What `notification.send` answers.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sent {
    notification_id: String,
}

impl Step for SendNotification {
    type Input = Notice;
    type Output = Sent;
    const COMMAND: &'static str = "notification.send";

    async fn execute(&self, cx: &mut StepContext<'_>, notice: Notice) -> Result<Sent, StepError> {
        if notice.user_id.starts_with(UNREACHABLE) {
            return Err(StepError::try_again("user cannot be reached"));
        }
        let text = message::render(&notice.template, &notice)
            .map_err(|error| StepError::refused("TEMPLATE_ERROR", error.to_string()))?;
        let notification_id = format!("ntf_{}", cx.command_id());
        let Notice { order_id, user_id, template, channel: medium, .. } = notice;
        let message = Message { notification_id, user_id, medium, text };
        let saga = cx.saga_id().to_string();
        let now = cx.now().0;
        let row = [
            Value::Text(&order_id),
            Value::Text(&template),
            Value::Text(&message.notification_id),
            Value::Text(&saga),
            Value::Text(&message.user_id),
            Value::Text(medium.as_str()),
            Value::Text(&message.text.subject),
            Value::Text(&message.text.body),
            Value::Int(now),
        ];
        if cx.execute(INSERT, &row).await? == 0 {
            // An operator has had the step run under a new identity: the user has been told, and hears it once.
            let sent = cx.fetch_optional::<(String,)>(SENT, &[Value::Text(&order_id), Value::Text(&template)]).await?;
            let (notification_id,) = sent.ok_or_else(|| StepError::try_again("the message sent has vanished"))?;
            return Ok(Sent { notification_id });
        }
        self.channel.deliver(&message).await.map_err(StepError::try_again)?;
        Ok(Sent { notification_id: message.notification_id })
    }

    async fn compensate(&self, cx: &mut StepContext<'_>, _: Notice, done: Sent) -> Result<(), StepError> {
        let Sent { notification_id } = done;
        tracing::warn!(saga_id = %cx.saga_id(), notification_id, "a message cannot be unsent; it is left as it is");
        Ok(())
    }
}

/// One message as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationRow {
    /// Names the message.
    pub notification_id: String,
    /// The saga that asked.
    pub saga_id: String,
    /// The order that it is about.
    pub order_id: String,
    /// Who was told.
    pub user_id: String,
    /// What kind of message it is.
    pub template: String,
    /// `email`, `sms` or `push`.
    pub channel: String,
    /// Its first line.
    pub subject: String,
    /// Its text.
    pub body: String,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

impl Row for NotificationRow {
    fn read(row: &RowRef<'_>) -> Result<Self, DriverError> {
        let (notification_id, saga_id, order_id, user_id, template, channel, subject, body, created_at) =
            Row::read(row)?;
        Ok(Self { notification_id, saga_id, order_id, user_id, template, channel, subject, body, created_at })
    }
}

/// Serves `GET /notifications?user_id=`.
pub(crate) fn routes(db: Database) -> Router {
    Router::new().route("/notifications", get(list)).with_state(db)
}

async fn list(State(db): State<Database>, query: ListArguments) -> Result<Json<serde_json::Value>, ApiError> {
    let (user_id, limit) = ListQuery::by_user(query)?;
    let rows: Vec<NotificationRow> =
        db.fetch_all(LIST, &[Value::Text(&user_id), Value::Int(limit.into())]).await.map_err(ApiError::unavailable)?;
    let notifications: Vec<_> = rows.iter().map(view).collect();
    Ok(Json(json!({ "notifications": notifications })))
}

fn view(row: &NotificationRow) -> serde_json::Value {
    json!({
        "notification_id": row.notification_id,
        "saga_id": row.saga_id,
        "order_id": row.order_id,
        "user_id": row.user_id,
        "template": row.template,
        "channel": row.channel,
        "subject": row.subject,
        "body": row.body,
        "created_at": Timestamp(row.created_at).to_string(),
    })
}
