//! Talks to a server as any client would.

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::program::{SOON, eventually};

/// A client of one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    server: String,
    http: reqwest::Client,
}

/// What a request was answered.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Null if the text is not JSON.
    pub(crate) body: Value,
    pub(crate) text: String,
}

/// A request that can be sent again and again.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Option<String>,
}

impl Client {
    pub(crate) fn new(server: &str) -> Self {
        let http = reqwest::Client::builder().timeout(SOON).build().expect("an HTTP client");
        Self { server: server.to_owned(), http }
    }

    /// The server's address, as `--server` takes it.
    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// Sends a request; an error if there is no answer.
    pub(crate) async fn send(&self, call: &Call) -> reqwest::Result<Answer> {
        let mut request = self.http.request(call.method.clone(), format!("{}{}", self.server, call.path));
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let response = request.send().await?;
        let status = response.status();
        let text = response.text().await?;
        Ok(Answer { status, body: serde_json::from_str(&text).unwrap_or_default(), text })
    }

    /// Sends a request that must be answered.
    pub(crate) async fn call(&self, call: &Call) -> Answer {
        self.send(call).await.unwrap_or_else(|error| panic!("{} {}: {error:?}", call.method, call.path))
    }

    /// Reads something that must be there.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.call(&Call::get(path)).await;
        assert_eq!(answer.status, StatusCode::OK, "GET {path}: {}", answer.text);
        answer.body
    }

    /// Sends an order that must be accepted; gives the answer.
    pub(crate) async fn order(&self, body: &Value) -> Value {
        let answer = self.call(&Call::post("/orders", &body.to_string())).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        answer.body
    }

    /// Waits until a saga is in a status.
    pub(crate) async fn saga_reaches(&self, id: &str, status: &str) -> Value {
        let path = format!("/v1/sagas/{}", id.replace('/', "%2F"));
        eventually(&format!("saga {id} becomes {status}"), || async {
            Some(self.get(&path).await).filter(|saga| saga["status"] == status)
        })
        .await
    }
}

impl Call {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: None }
    }

    pub(crate) fn post(path: &str, body: &str) -> Self {
        let headers = vec![("content-type", "application/json".to_owned())];
        Self { method: Method::POST, path: path.to_owned(), headers, body: Some(body.to_owned()) }
    }

    pub(crate) fn put(path: &str, body: &str) -> Self {
        Self { method: Method::PUT, ..Self::post(path, body) }
    }

    pub(crate) fn key(mut self, key: &str) -> Self {
        self.headers.push(("idempotency-key", key.to_owned()));
        self
    }
}
