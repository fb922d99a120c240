//! A disk that fills up under a running server, and is freed again.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::skip;
use crate::http::Call;
use crate::program::{Program, eventually};

/// Orders after which a full disk must have shown: each writes several pages.
const ENOUGH: usize = 200;

/// A small disk in memory.
struct Disk(TempDir);

impl Disk {
    /// None, with a message, where nothing may be mounted.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path()).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(folder));
        }
        skip("nothing can be mounted here, so no disk can be full");
        None
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A server that was just killed may hold it for a moment.
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

/// Writes until nothing more fits.
fn fill(file: &Path) {
    let mut file = File::create(file).expect("a file");
    for size in [64 * 1024, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

fn order(number: usize) -> Call {
    let items = json!([{ "product_id": "MOUSE001", "quantity": 1, "price": 9.99 }]);
    let body = json!({ "user_id": "u", "items": items }).to_string();
    Call::post("/orders", &body).key(&format!("disk-{number}"))
}

fn saga(answer: &Value) -> String {
    answer["saga_id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let Some(disk) = Disk::mount() else { return };
    let program = Program::start_on(&disk.0.path().join("amends.db")).await;
    let first = program.http.call(&order(0)).await;
    program.http.saga_reaches(&saga(&first.body), "COMPLETED").await;

    let filler = disk.0.path().join("filler");
    fill(&filler);
    let mut acknowledged = vec![saga(&first.body)];
    let mut refused = None;
    for number in 1..ENOUGH {
        let answer = program.http.call(&order(number)).await;
        match answer.status {
            StatusCode::CREATED => acknowledged.push(saga(&answer.body)),
            _ => {
                refused = Some((number, answer));
                break;
            }
        }
    }
    let (number, answer) = refused.expect("a full disk is noticed");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{}", answer.text);
    assert!(answer.text.contains("disk"), "{}", answer.text);
    assert_eq!(program.http.get(&format!("/v1/sagas/{}", acknowledged[0])).await["status"], "COMPLETED");

    std::fs::remove_file(&filler).expect("the filler goes");
    let again = eventually("the same order is taken once there is room", || async {
        Some(program.http.call(&order(number)).await).filter(|answer| answer.status == StatusCode::CREATED)
    })
    .await;
    acknowledged.push(saga(&again.body));
    for saga in &acknowledged {
        eventually(&format!("saga {saga} ends or waits for an operator"), || async {
            let found = program.http.get(&format!("/v1/sagas/{saga}")).await;
            ["COMPLETED", "COMPENSATED", "PARKED"].iter().any(|status| found["status"] == *status).then_some(())
        })
        .await;
    }
    let last = program.http.call(&order(ENOUGH)).await;
    program.http.saga_reaches(&saga(&last.body), "COMPLETED").await;
    assert!(!program.stderr().contains("panicked"), "{}", program.stderr());
}
