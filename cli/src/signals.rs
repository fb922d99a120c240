//! The order to stop: Ctrl-C or SIGTERM.

use crate::error::Exit;

/// Hears the signals from the moment it is made, not from when it is asked.
pub(crate) struct Stop {
    #[cfg(unix)]
    terminated: Option<tokio::signal::unix::Signal>,
    #[cfg(unix)]
    interrupted: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Stop {
    pub(crate) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        Self { terminated: signal(SignalKind::terminate()).ok(), interrupted: signal(SignalKind::interrupt()).ok() }
    }

    /// Returns when either arrives.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            () = received(&mut self.terminated) => {}
            () = received(&mut self.interrupted) => {}
        }
    }
}

#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(not(unix))]
impl Stop {
    pub(crate) fn listen() -> Self {
        Self {}
    }

    /// Returns on Ctrl-C.
    pub(crate) async fn requested(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Stop {
    /// From here on another signal ends the program at once: who sends two does not want to wait.
    pub(crate) fn insist(mut self) {
        tokio::spawn(async move {
            self.requested().await;
            std::process::exit(i32::from(Exit::Interrupted.code()));
        });
    }
}
