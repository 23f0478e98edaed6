//! Publishing to an MQTT broker: Frigate's topics, and Home Assistant's device discovery.
//!
//! ```text
//! bus, configuration -> State -> Outbox -> Connection -> broker
//!                                             |
//! configuration <- commands (CAM/NAME/set) ---+
//! ```
//!
//! [`state::State`] decides what each topic is to hold, [`outbox::Outbox`] what has to be sent; both do no I/O. Every
//! state is retained, and sent again in full on each connect: after a restart of the broker nothing stays unknown.

mod client;
mod commands;
mod discovery;
#[cfg(test)]
mod docs;
mod events;
mod outbox;
mod retry;
mod session;
mod state;
#[cfg(test)]
mod tests;
mod topics;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Sources;
use crate::config::Config;
use session::{End, Session};

/// Figures of the connection for metrics.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    connected: AtomicBool,
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Numbers {
    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Messages handed to the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Event messages that were dropped: the broker was away or slow.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// Publishes until `done`, to the broker that is configured.
pub(super) async fn run(
    sources: Sources,
    mut config: watch::Receiver<Arc<Config>>,
    numbers: Arc<Numbers>,
    done: CancellationToken,
) {
    let mut stale = Vec::new();
    loop {
        let current = config.borrow_and_update().clone();
        let end = if current.mqtt.wanted_host().is_some() {
            let session = Session::new(&sources, &current, std::mem::take(&mut stale), &numbers);
            session.run(&mut config, &done).await
        } else {
            tokio::select! {
                () = done.cancelled() => End::Done,
                changed = config.changed() => match changed {
                    Ok(()) => End::Changed(std::mem::take(&mut stale)),
                    Err(_) => End::Done,
                }
            }
        };
        numbers.connected.store(false, Ordering::Relaxed);
        match end {
            End::Done => return,
            End::Changed(topics) => stale = topics,
        }
    }
}
