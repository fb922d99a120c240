//! What can go wrong with the services, by what the caller does next.

use std::io;
use std::path::{Path, PathBuf};

/// Says why a service is not there, or not as asked, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not on this machine: install it.
    #[error(
        "{what}\n  install it: {install}\n  or let the chore do it: cargo xtask up --install (as root, with apt-get)"
    )]
    Missing {
        /// What was looked for, and where.
        what: String,
        /// The command that installs it.
        install: String,
    },
    /// A command ran and failed: read what it said.
    #[error("{what} failed: {said}")]
    Command {
        /// The command.
        what: String,
        /// The end of its output, or its log.
        said: String,
    },
    /// A service was started and does not answer: read its log.
    #[error("{service} does not answer\n  its log, {}, ends so:\n{tail}", log.display())]
    Silent {
        /// Which one.
        service: &'static str,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },
    /// A port is held by a program that is not ours: end that program, or begin anew with `cargo xtask up`.
    #[error("port {port} of {service} is held by another program\n  cargo xtask up takes a spare one")]
    PortTaken {
        /// Whose port.
        service: &'static str,
        /// The port.
        port: u16,
    },
    /// A service does not end: end it by hand.
    #[error("{service} (pid {pid}) does not end\n  end it by hand: kill -9 {pid}")]
    Stuck {
        /// Which one.
        service: &'static str,
        /// Its process.
        pid: u32,
    },
    /// The services are not up: run `cargo xtask up`.
    #[error("{0} is not up\n  bring it up: cargo xtask up")]
    NotUp(&'static str),
    /// This machine cannot run the services without Docker.
    #[error("without a Docker engine the services run on Linux only\n  start Docker and run: cargo xtask up")]
    NotLinux,
    /// A database's name would have to be quoted.
    #[error("{0:?} is no name for a database: up to 63 of a-z, 0-9 and _, a letter first")]
    Name(String),
    /// A file or folder is not as needed.
    #[error("{}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The result of all that concerns services.
pub type Result<T> = std::result::Result<T, Error>;

/// For `map_err`: a fault of this file.
pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}
