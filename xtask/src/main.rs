//! Repository chores: `cargo xtask test`, `cargo xtask tidy`.

mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

/// Chores of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Run every check and every test: tidy, formatting, lints, unit and system tests
    Test {
        /// Passed on to `cargo test`, e.g. a test's name
        args: Vec<String>,
    },
    /// Check the rules of the house: crate arrows, purity of the core, where SQL may stand, migrations, file length
    Tidy,
}

fn main() -> ExitCode {
    let root = root();
    let result = match Cli::parse().chore {
        Chore::Tidy => tidy::run(&root),
        Chore::Test { args } => test(&root, &args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            say(&message);
            ExitCode::FAILURE
        }
    }
}

/// The whole of it; the tests come last so that their closing lines are the last lines.
fn test(root: &Path, args: &[String]) -> Result<(), String> {
    tidy::run(root)?;
    cargo(root, &["fmt", "--all", "--check"], &[])?;
    cargo(root, &["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[])?;
    // The system tests run the real program.
    cargo(root, &["build", "--quiet", "-p", "amends"], &[])?;
    cargo(root, &["test", "--quiet", "--workspace", "--doc"], &[])?;
    cargo(root, &["test", "--workspace", "--lib", "--bins", "--tests"], args)
}

fn cargo(root: &Path, chore: &[&str], args: &[String]) -> Result<(), String> {
    say(&format!("cargo {}", chore.join(" ")));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(program).current_dir(root).args(chore).args(args).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo {} failed ({status})", chore.join(" "))),
        Err(error) => Err(format!("cargo cannot be started: {error}")),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

#[allow(clippy::print_stderr, reason = "this is what the chores print to")]
fn say(text: &str) {
    eprintln!("xtask: {text}");
}
