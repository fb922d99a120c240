//! Requests that must be refused, each with the field at fault; nothing of them is stored.

mod definitions;
mod orders;
mod requests;

use serde_json::Value;

use crate::database::Database;
use crate::http::{Answer, Call};
use crate::program::Program;

/// A request and what must be said of it.
struct Bad {
    what: String,
    call: Call,
    status: u16,
    /// The field at fault; none where no field is, e.g. on a path that does not exist.
    field: &'static str,
}

impl Bad {
    fn new(what: impl Into<String>, call: Call, status: u16, field: &'static str) -> Self {
        Self { what: what.into(), call, status, field }
    }

    /// What is wrong with an answer, if anything is.
    fn judge(&self, answer: &Answer) -> Option<String> {
        let error = &answer.body["error"];
        let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
        let field = details.iter().find_map(|detail| detail["fieldViolations"][0]["field"].as_str());
        let has_reason = details.iter().any(|detail| detail["reason"].as_str().is_some_and(|word| !word.is_empty()));
        let sound = answer.status.as_u16() == self.status
            && error["code"] == self.status
            && error["message"].as_str().is_some_and(|message| message.contains(self.field))
            && field.unwrap_or_default() == self.field
            && has_reason;
        let shown: String = answer.text.chars().take(300).collect();
        (!sound)
            .then(|| format!("{}: wanted {} for {:?}: {} {shown}", self.what, self.status, self.field, answer.status))
    }
}

/// Sends all of them to one server, and checks that it is as it was before.
async fn refuse_all(requests: Vec<Bad>) {
    let program = Program::start().await;
    let stock = program.http.get("/inventory").await;
    let mut wrong = Vec::new();
    for bad in &requests {
        let answer = program.http.call(&bad.call).await;
        wrong.extend(bad.judge(&answer));
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), requests.len(), wrong.join("\n"));
    assert_eq!(program.http.get("/inventory").await, stock);
    assert_untouched(&program).await;
}

/// Nothing is stored, nothing has panicked, and the next good order is taken.
async fn assert_untouched(program: &Program) {
    let engine = Database::open(program.db()).await;
    for table in ["SELECT COUNT(*) FROM sagas", "SELECT COUNT(*) FROM journal"] {
        assert_eq!(engine.number(table).await, 0, "{table}");
    }
    let participants = Database::open(&program.participants_db()).await;
    for table in ["SELECT COUNT(*) FROM orders", "SELECT COUNT(*) FROM barrier", "SELECT COUNT(*) FROM payments"] {
        assert_eq!(participants.number(table).await, 0, "{table}");
    }
    assert!(!program.stderr().contains("panicked"), "{}", program.stderr());
    let good = program.http.order(&good_order()).await;
    program.http.saga_reaches(good["saga_id"].as_str().expect("an id"), "COMPLETED").await;
}

fn good_order() -> Value {
    serde_json::json!({ "user_id": "u", "items": [{ "product_id": "MOUSE001", "quantity": 1, "price": 9.99 }] })
}
