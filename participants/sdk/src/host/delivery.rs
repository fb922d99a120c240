//! Replies on their way out: most at once, some held back as their step wished.

use std::sync::Arc;
use std::time::Duration;

use amends_core::Reply;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ReplySink;

/// Most replies held back at a time; those beyond go at once, so that a slow provider cannot fill the memory.
const HELD_MAX: usize = 4096;

/// A reply, and how long to hold it back.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) reply: Reply,
    pub(crate) hold: Option<Duration>,
}

pub(super) struct Delivery {
    sink: Arc<dyn ReplySink>,
    held: JoinSet<()>,
    ending: CancellationToken,
}

impl Delivery {
    pub(super) fn new(sink: Arc<dyn ReplySink>) -> Self {
        Self { sink, held: JoinSet::new(), ending: CancellationToken::new() }
    }

    /// Sends what is due in one call.
    pub(super) async fn send(&mut self, answered: Vec<Answered>) {
        while self.held.try_join_next().is_some() {}
        let mut due = Vec::with_capacity(answered.len());
        for Answered { reply, hold } in answered {
            match hold {
                Some(wait) if self.held.len() < HELD_MAX => self.hold(reply, wait),
                _ => due.push(reply),
            }
        }
        if !due.is_empty() {
            self.sink.send(due).await;
        }
    }

    fn hold(&mut self, reply: Reply, wait: Duration) {
        let (sink, ending) = (Arc::clone(&self.sink), self.ending.clone());
        self.held.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ending.cancelled() => {}
            }
            sink.send(vec![reply]).await;
        });
    }

    /// Sends what is held back: it would be lost otherwise, and its command have to come again.
    pub(super) async fn finish(mut self) {
        self.ending.cancel();
        while self.held.join_next().await.is_some() {}
    }
}
