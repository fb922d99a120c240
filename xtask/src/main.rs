//! Repository chores: `cargo xtask test`, `tidy`, and the services: `up`, `down`, `restart`.

mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand, ValueEnum};
use xtask::services::{self, Services, StopMode};

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
        /// Leave Postgres and Kafka alone: the tests that need them take them from the environment, or fail
        #[arg(long)]
        no_services: bool,
        /// Passed on to `cargo test`, e.g. a test's name
        args: Vec<String>,
    },
    /// Check the rules of the house: crate arrows, purity of the core, where SQL may stand, migrations, file length
    Tidy,
    /// Bring up Postgres and Kafka and print where they are, for `eval "$(cargo xtask up)"`
    Up {
        /// Install missing packages (as root, with apt-get); so do AMENDS_XTASK_INSTALL=1 and CI
        #[arg(long)]
        install: bool,
    },
    /// Stop Postgres and Kafka
    Down {
        /// Remove their data too
        #[arg(long)]
        wipe: bool,
    },
    /// Stop one of the services and start it again on its data
    Restart {
        /// Which one
        service: Service,
        /// As after a crash: end it without letting it shut down in order
        #[arg(long)]
        crash: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    Postgres,
    Kafka,
}

fn main() -> ExitCode {
    let root = root();
    let result = match Cli::parse().chore {
        Chore::Tidy => tidy::run(&root),
        Chore::Test { no_services, args } => test(&root, no_services, &args),
        Chore::Up { install } => up(install),
        Chore::Down { wipe } => services::down(wipe).map_err(|error| error.to_string()),
        Chore::Restart { service, crash } => restart(service, crash).map_err(|error| error.to_string()),
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
fn test(root: &Path, no_services: bool, args: &[String]) -> Result<(), String> {
    tidy::run(root)?;
    let services = if no_services { None } else { Some(services::up().map_err(|error| error.to_string())?) };
    let environment = services.as_ref().map(environment).unwrap_or_default();
    let cargo = |chore: &[&str], args: &[String]| cargo(root, &environment, chore, args);
    cargo(&["fmt", "--all", "--check"], &[])?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"], &[])?;
    // The system tests run the real program.
    cargo(&["build", "--quiet", "-p", "amends"], &[])?;
    cargo(&["test", "--quiet", "--workspace", "--doc"], &[])?;
    if services.is_some() {
        say("postgres and kafka stay up after the tests; cargo xtask down stops them");
    }
    cargo(&["test", "--workspace", "--lib", "--bins", "--tests"], args)
}

type Environment = Vec<(&'static str, String)>;

/// How our programs are told where the services are.
fn environment(services: &Services) -> Environment {
    vec![("AMENDS_STORE", services.postgres_url.clone()), ("AMENDS_BUS", services.bus.clone())]
}

#[allow(clippy::print_stdout, reason = "a shell evaluates this")]
fn up(install: bool) -> Result<(), String> {
    let services = if install { services::up_with(true) } else { services::up() };
    for (name, value) in environment(&services.map_err(|error| error.to_string())?) {
        println!("export {name}={value}");
    }
    Ok(())
}

fn restart(service: Service, crash: bool) -> services::Result<()> {
    let services = services::up()?;
    match service {
        Service::Postgres => services.restart_postgres(if crash { StopMode::Immediate } else { StopMode::Fast }),
        Service::Kafka if crash => services.kill_kafka().and_then(|()| services.start_kafka()),
        Service::Kafka => services.restart_kafka(),
    }
}

fn cargo(root: &Path, environment: &Environment, chore: &[&str], args: &[String]) -> Result<(), String> {
    say(&format!("cargo {}", chore.join(" ")));
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let environment = environment.iter().map(|(name, value)| (name, value));
    let status = Command::new(program).current_dir(root).envs(environment).args(chore).args(args).status();
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
