//! The program under test, and ports for it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// Tests a program that is built already: `AMENDS_TEST_PROGRAM=…`.
const PROGRAM: &str = "AMENDS_TEST_PROGRAM";

/// Ports are counted up from here: below those that systems give to outgoing connections, which would collide.
const FIRST_PORT: u16 = 17_400;
const PORTS: u16 = 12_000;

/// The program of this build. Built on first use: `cargo test -p amends-tests` alone does not build it.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(named) = std::env::var_os(PROGRAM) {
            return named.into();
        }
        let folder = build_folder();
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        build.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "-p", "amends"]);
        if folder.file_name().is_some_and(|profile| profile == "release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the program does not build");
        folder.join("amends").with_extension(std::env::consts::EXE_EXTENSION)
    })
}

/// `target/PROFILE`; tests stand in its `deps`.
pub fn build_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the name of this test");
    test.parent().and_then(Path::parent).expect("the build's folder").to_owned()
}

/// A port that nobody listens on, and that no other test of this process is given.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = std::process::id() % u32::from(PORTS);
    for _ in 0..PORTS {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST_PORT + u16::try_from((start + step) % u32::from(PORTS)).unwrap_or(0);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
