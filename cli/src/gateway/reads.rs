//! The reads that are the participants' own, passed on to their HTTP where they are processes of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use amends_engine::api::errors::http_error;
use amends_engine::service::ServiceError;
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use reqwest::Client;
use serde::Deserialize;

use super::OrderBook;

/// How long a participant may take; shorter than the API's own limit, so that the caller learns whom it waited for.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Longer is a participant that is not there.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// What of a request, and of an answer, matters beyond method, path and body.
const PASSED_ON: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::ACCEPT,
    header::RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("traceparent"),
];

/// Where the participants answer HTTP, by name.
#[derive(Clone)]
pub(crate) struct Reads {
    client: Client,
    bases: BTreeMap<String, String>,
}

/// One participant's part of it.
#[derive(Clone)]
struct Of {
    reads: Reads,
    participant: &'static str,
}

impl Reads {
    /// `bases` are URLs such as `http://inventory:8003`, by participant.
    pub(crate) fn new(bases: BTreeMap<String, String>) -> Result<Self, reqwest::Error> {
        // Participants are addressed as configured: a proxy meant for the world outside has no part in it.
        let client = Client::builder().no_proxy().timeout(ANSWER_MAX).connect_timeout(CONNECT_MAX).build()?;
        Ok(Self { client, bases })
    }

    /// The routes of payment, inventory and notification; those of orders are the gateway's.
    pub(crate) fn routes(&self) -> Router {
        let of = |participant| Of { reads: self.clone(), participant };
        let payment = Router::new().route("/payments", get(pass_on)).with_state(of("payment"));
        let notification = Router::new().route("/notifications", get(pass_on)).with_state(of("notification"));
        let inventory = Router::new()
            .route("/inventory", get(pass_on))
            .route("/inventory/{product_id}", get(pass_on).put(pass_on))
            .with_state(of("inventory"));
        payment.merge(notification).merge(inventory)
    }

    fn base(&self, participant: &str) -> Result<&str, ServiceError> {
        let base = self.bases.get(participant).map(|base| base.trim_end_matches('/'));
        base.ok_or_else(|| {
            ServiceError::NotFound(format!(
                "this engine does not know where {participant} answers HTTP: set participants.{participant}.http, or \
                 start it with --http-of {participant}=http://HOST:PORT"
            ))
        })
    }
}

async fn pass_on(State(of): State<Of>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    // The limit of the API's own requests holds here too; what is longer fails while it is read.
    match axum::body::to_bytes(body, amends_engine::api::REQUEST_MAX).await {
        Ok(body) => of.ask(parts, body).await.unwrap_or_else(http_error),
        Err(error) => http_error(ServiceError::invalid("body", error)),
    }
}

impl Of {
    async fn ask(&self, parts: axum::http::request::Parts, body: Bytes) -> Result<Response, ServiceError> {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let url = format!("{}{path}", self.reads.base(self.participant)?);
        let mut request = self.reads.client.request(parts.method, &url).body(body);
        for name in &PASSED_ON {
            if let Some(value) = parts.headers.get(name) {
                request = request.header(name, value);
            }
        }
        let answer = request.send().await.map_err(|error| silent(self.participant, &error))?;
        let (status, mut headers) = (answer.status(), answer.headers().clone());
        let mut response = (status, Body::new(reqwest::Body::from(answer))).into_response();
        for name in PASSED_ON {
            if let Some(value) = headers.remove(&name) {
                response.headers_mut().insert(name, value);
            }
        }
        Ok(response)
    }
}

/// The address stays out of what clients read; the log has it.
fn silent(participant: &str, error: &reqwest::Error) -> ServiceError {
    let why: &dyn std::error::Error = error;
    let cause = std::iter::successors(Some(why), |error| error.source()).last().map(ToString::to_string);
    tracing::warn!(
        participant,
        url = error.url().map(reqwest::Url::as_str),
        cause,
        "a participant does not answer a read"
    );
    ServiceError::Unavailable(format!("the {participant} participant does not answer; try again"))
}

#[derive(Deserialize)]
struct OrderList {
    orders: Vec<ListedOrder>,
}

#[derive(Deserialize)]
struct ListedOrder {
    order_id: String,
}

#[async_trait]
impl OrderBook for Reads {
    async fn by_user(&self, user_id: &str, limit: u32) -> Result<Vec<String>, ServiceError> {
        let url = format!("{}/orders", self.base("order")?);
        let limit = limit.to_string();
        let request = self.client.get(url).query(&[("user_id", user_id), ("limit", &limit)]);
        let answer = request.send().await.and_then(reqwest::Response::error_for_status);
        let answer = answer.map_err(|error| silent("order", &error))?;
        let list: OrderList = answer.json().await.map_err(|error| silent("order", &error))?;
        Ok(list.orders.into_iter().map(|order| order.order_id).collect())
    }
}

#[cfg(test)]
mod tests {
    use axum::Json;
    use axum::extract::RawQuery;
    use axum::http::StatusCode;
    use axum::routing::put;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;

    use super::*;

    async fn serve(router: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    /// A participant that answers with what it was asked.
    async fn participant() -> String {
        let list = get(|RawQuery(query): RawQuery| async move { Json(json!({ "asked": query })) });
        let set = put(|body: String| async move { (StatusCode::BAD_REQUEST, Json(json!({ "body": body }))) });
        let orders = get(|RawQuery(query): RawQuery| async move {
            Json(json!({"orders": [{"order_id": query.unwrap_or_default(), "more": 1}]}))
        });
        let router = Router::new().route("/inventory", list).route("/inventory/{id}", set).route("/orders", orders);
        serve(router).await
    }

    async fn gateway(bases: &[(&str, String)]) -> (String, Reads) {
        let bases = bases.iter().map(|(name, base)| ((*name).to_owned(), base.clone())).collect();
        let reads = Reads::new(bases).expect("a client");
        (serve(reads.routes()).await, reads)
    }

    async fn json_of(response: reqwest::Response) -> (u16, Value) {
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    #[tokio::test]
    async fn requests_and_answers_pass_as_they_are() {
        let base = participant().await;
        let (gateway, reads) = gateway(&[("inventory", format!("{base}/")), ("order", base)]).await;
        let client = Client::new();
        let list = client.get(format!("{gateway}/inventory?a=b%20c&limit=3")).send().await.expect("an answer");
        assert_eq!(list.headers()["content-type"], "application/json");
        assert_eq!(json_of(list).await, (200, json!({ "asked": "a=b%20c&limit=3" })));
        let set = client.put(format!("{gateway}/inventory/A%2FB")).body("{\"on_hand\":3}").send().await;
        assert_eq!(json_of(set.expect("an answer")).await, (400, json!({ "body": "{\"on_hand\":3}" })));
        assert_eq!(reads.by_user("a&b", 7).await.expect("a list"), ["user_id=a%26b&limit=7"]);
    }

    #[tokio::test]
    async fn what_is_not_configured_says_which_key_is_missing() {
        let (gateway, reads) = gateway(&[]).await;
        let (status, body) = json_of(reqwest::get(format!("{gateway}/payments?order_id=x")).await.expect("one")).await;
        assert_eq!((status, body["error"]["details"][0]["reason"].as_str()), (404, Some("NOT_FOUND")));
        assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("set participants.payment.http")));
        assert!(matches!(reads.by_user("u", 1).await, Err(ServiceError::NotFound(_))));
    }

    #[tokio::test]
    async fn a_silent_participant_is_named_without_its_address() {
        let (gateway, _) = gateway(&[("notification", "http://127.0.0.1:1".to_owned())]).await;
        let answer = reqwest::get(format!("{gateway}/notifications?user_id=u")).await.expect("an answer");
        assert!(answer.headers().contains_key("retry-after"));
        let (status, body) = json_of(answer).await;
        let message = "the notification participant does not answer; try again";
        assert_eq!((status, body["error"]["message"].as_str()), (503, Some(message)));
    }
}
