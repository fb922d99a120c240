//! Files, ports and disks that are not as the program needs them, and how it starts and stops.

mod disk;
mod stop;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::database::change;
use crate::program::{Program, Run, binary, command, free_port, run};

/// Whom root becomes: permissions do not bind root.
const NOBODY: &str = "65534";

/// Starts a server that cannot start.
async fn refused(program: &mut Command, db: &Path) -> Run {
    let port = free_port().to_string();
    let run = run(program.args(["dev", "--port", &port, "--db"]).arg(db)).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains("help: ") && !run.stderr.contains("panicked"), "{run:?}");
    run
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let program = Program::start().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = program.port().to_string();
    let db = folder.path().join("other.db");
    let run = run(command().args(["dev", "--port", &port, "--db"]).arg(&db)).await;
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.stderr.contains(&format!("port {port} is taken")) && run.stderr.contains("--port"), "{run:?}");
    assert!(!db.exists(), "nothing is made before the port is had");
}

#[tokio::test]
async fn a_file_in_use_is_left_alone() {
    let program = Program::start().await;
    let second = refused(&mut command(), program.db()).await;
    assert!(second.stderr.contains("another amends is using"), "{second:?}");
    let port = free_port().to_string();
    let reset = run(command().args(["dev", "--reset", "--port", &port, "--db"]).arg(program.db())).await;
    assert_eq!(reset.code, Some(4), "{reset:?}");
    assert!(program.db().exists());
    program.http.get("/orders?user_id=u").await;
}

#[tokio::test]
async fn a_file_of_a_newer_program_is_refused() {
    let mut program = Program::start().await;
    program.terminate().await;
    let future = "INSERT INTO engine_migrations (version, description, success, checksum, execution_time) \
                  VALUES (9999, 'future', 1, x'00', 0)";
    change(program.db(), future).await;
    let run = refused(&mut command(), program.db()).await;
    assert!(run.stderr.contains("newer amends") && run.stderr.contains("9999"), "{run:?}");

    let mut program = Program::start().await;
    program.terminate().await;
    let future = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                  VALUES (9999, 'future', 1, x'00', 0)";
    change(&program.participants_db(), future).await;
    let run = refused(&mut command(), program.db()).await;
    assert!(run.stderr.contains("participants.db") && run.stderr.contains("9999"), "{run:?}");
    assert!(run.stderr.contains("newer"), "{run:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_kept() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "dear diary, ".repeat(1_000);
    for name in ["diary.db", "diary.participants.db"] {
        let file = folder.path().join(name);
        std::fs::write(&file, &text).expect("a file");
        let run = refused(&mut command(), &folder.path().join("diary.db")).await;
        assert!(run.stderr.contains(name) && run.stderr.contains("not a database"), "{run:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("it is still there"), text);
        std::fs::remove_file(&file).expect("it can be removed");
    }
    let run = refused(&mut command(), folder.path()).await;
    assert!(run.stderr.contains("not a database"), "{run:?}");
    let run = refused(&mut command(), &folder.path().join("nowhere").join("a.db")).await;
    assert!(run.stderr.contains("nowhere") && run.stderr.contains("does not exist"), "{run:?}");
}

#[tokio::test]
async fn a_place_that_cannot_be_written_is_named() {
    let mut program = Program::start().await;
    program.terminate().await;
    let folder = program.db().parent().expect("a folder");
    let copy = folder.join("amends");
    let Some(mut unprivileged) = unprivileged(&copy) else { return };
    let write = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        write(&path, if path == copy { 0o555 } else { 0o444 });
    }
    write(folder, 0o555);
    let existing = refused(&mut unprivileged(), program.db()).await;
    let new = refused(&mut unprivileged(), &folder.join("new.db")).await;
    write(folder, 0o755);
    for (run, name) in [(existing, "amends.db"), (new, "new.db")] {
        assert!(run.stderr.contains(name) && run.stderr.contains("cannot be written"), "{run:?}");
    }
}

/// How to run the program as somebody whom permissions bind: from a copy that anybody can reach, as the build's folder
/// may be its owner's alone. None, with a message, where root cannot become somebody else.
fn unprivileged(copy: &Path) -> Option<impl FnMut() -> Command + use<>> {
    let id = Command::new("id").arg("-u").output().expect("id runs");
    let root = id.stdout.trim_ascii() == b"0";
    let become_nobody = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"];
    if root && !Command::new("setpriv").args(become_nobody).arg("true").status().is_ok_and(|status| status.success()) {
        skip("root cannot become anybody else here");
        return None;
    }
    std::fs::copy(binary(), copy).expect("a copy of the program");
    let copy = copy.to_owned();
    Some(move || {
        if !root {
            return Command::new(&copy);
        }
        let mut command = Command::new("setpriv");
        command.args(become_nobody).arg(&copy);
        command
    })
}

#[allow(clippy::print_stderr, reason = "a test that shows nothing must say so")]
fn skip(why: &str) {
    eprintln!("not tested: {why}");
}
