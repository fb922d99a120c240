//! A Python with what the examples need: made once for each content of their requirements, under `target/python`.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The examples' folder.
pub(super) const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../participants/examples/python");

/// What stands in the folder once everything is installed.
const READY: &str = "ready";

/// The interpreter.
pub(super) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let requirements = Path::new(EXAMPLES).join("requirements.txt");
        let mut hasher = DefaultHasher::new();
        fs::read(&requirements).expect("the requirements").hash(&mut hasher);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python");
        fs::create_dir_all(&folder).expect("a folder for Python");
        let venv = folder.join(format!("{:016x}", hasher.finish()));
        let python = venv.join("bin/python");
        // Other test processes wait here until it is made.
        let lock = File::create(folder.join("lock")).expect("a lock file");
        lock.lock().expect("the lock");
        if !venv.join(READY).exists() {
            let make = Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv).output();
            run(make, "python3 with its module venv (Debian: apt-get install python3-venv)");
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
            run(pip.arg(&requirements).output(), "pip, and the package index to install from");
            File::create(venv.join(READY)).expect("a mark");
        }
        python
    })
}

fn run(output: std::io::Result<std::process::Output>, needs: &str) {
    match output {
        Err(error) => panic!("the tests of the Python examples need {needs}: {error}"),
        Ok(output) if !output.status.success() => {
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            panic!("the tests of the Python examples need {needs}:\n{out}{err}")
        }
        Ok(_) => {}
    }
}
