//! The supervisor's own look at a ring's head: a stall is seen even where the worker is stuck.

use shmring_core::{Head, Monitor};
use std::path::Path;
use std::time::Duration;

/// How long a writer may take to answer; it has just said that it is there.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// A ring that is watched and never read.
pub struct RingMonitor(Monitor);

impl std::fmt::Debug for RingMonitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RingMonitor")
    }
}

impl RingMonitor {
    /// Attaches to the ring behind a socket. Blocks until the writer answers.
    pub fn attach(socket: &Path) -> anyhow::Result<Self> {
        Ok(Self(Monitor::connect(socket, HANDSHAKE)?))
    }

    /// Where the ring stands; nothing when its writer is gone.
    pub fn head(&mut self) -> Option<Head> {
        self.0.head()
    }
}
