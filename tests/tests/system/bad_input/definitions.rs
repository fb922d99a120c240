//! `amends definition check` on definitions that cannot be.

use crate::program::{command, run};

const HEAD: &str = "saga = \"s\"\nversion = 1\n\n";

fn step(name: &str, kind: &str, more: &str) -> String {
    format!("[[step]]\nname = \"{name}\"\ncommand = \"p.{name}\"\nkind = \"{kind}\"\n{more}\n")
}

/// Checks a definition; gives exit code and the line that is named.
async fn check(source: &str) -> (Option<i32>, Option<usize>, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("s.toml");
    std::fs::write(&file, source).expect("a file");
    let run = run(command().args(["definition", "check"]).arg(&file)).await;
    let place = run.stdout.split_once("s.toml:").and_then(|(_, rest)| rest.split_once(':'));
    (run.code, place.and_then(|(line, _)| line.parse().ok()), format!("{run:?}"))
}

#[tokio::test]
async fn a_definition_that_cannot_be_is_refused_by_line() {
    let (undoable, pivot, retriable) = ("compensatable", "pivot", "retriable");
    let table = [
        (
            "a cycle",
            step("a", undoable, "after = [\"b\"]") + &step("b", undoable, "after = [\"a\"]"),
            4,
            "wait for each other",
        ),
        ("a duplicate step", step("a", undoable, "") + &step("a", undoable, ""), 10, "taken"),
        ("two pivots", step("a", pivot, "") + &step("b", pivot, ""), 12, "second pivot"),
        (
            "a compensatable step after the pivot",
            step("a", pivot, "") + &step("b", undoable, ""),
            12,
            "after the pivot",
        ),
        ("no policy", step("a", pivot, "") + &step("b", retriable, ""), 9, "on_exhausted"),
        ("an unknown step", step("a", undoable, "after = [\"z\"]"), 8, "z"),
        ("an unknown kind", step("a", "sometimes", ""), 7, "sometimes"),
        ("no steps", String::new(), 1, "step"),
        ("no TOML", "[[step".to_owned(), 4, ""),
    ];
    for (what, steps, line, words) in table {
        let (code, named, text) = check(&format!("{HEAD}{steps}")).await;
        assert_eq!((code, named), (Some(1), Some(line)), "{what}: {text}");
        assert!(text.contains(words), "{what}: {text}");
    }
    let sound = step("a", undoable, "") + &step("b", pivot, "") + &step("c", retriable, "on_exhausted = \"park\"");
    let (code, _, text) = check(&format!("{HEAD}{sound}")).await;
    assert_eq!(code, Some(0), "{text}");
}
