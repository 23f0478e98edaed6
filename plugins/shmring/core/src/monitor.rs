//! Watching a ring without reading frames: what a supervisor needs to see a stall, even if the worker is stuck.

use crate::attach::{self, Canceller, call, check_segment};
use crate::error::ConnectError;
use crate::layout::{CLOSED, Geometry};
use crate::shm::Map;
use crate::socket;
use crate::sync::Ordering;
use crate::wire::{self, Hello};
use rustix::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// A look at a ring's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the newest event.
    pub newest: u64,
    /// Frames published since the writer started.
    pub frames: u64,
    /// When the newest frame was published, CLOCK_MONOTONIC in ns; 0 before the first.
    pub newest_ns: u64,
    /// Slots.
    pub slots: u32,
    /// Payload bytes per slot.
    pub slot_bytes: u64,
    /// Bytes of the whole ring.
    pub total_bytes: u64,
    /// Readers connected.
    pub readers: u32,
    /// 1 for a writer's first ring, one more for each ring of another size.
    pub generation: u64,
    /// Random number of this writer's life.
    pub instance: u64,
}

impl Head {
    /// Time since the newest frame was published; `None` before the first.
    pub fn age(&self) -> Option<Duration> {
        let since = crate::writer::monotonic_ns().saturating_sub(self.newest_ns);
        (self.newest_ns != 0).then(|| Duration::from_nanos(since))
    }
}

/// A connection to a ring that takes no lease and counts as no reader. Not disturbed by a stopped writer.
pub struct Monitor {
    path: PathBuf,
    socket: OwnedFd,
    map: Map,
    geometry: Geometry,
    generation: u64,
    instance: u64,
    gone: bool,
}

impl Monitor {
    /// Connects to the writer that listens at `path` now, which may take until `timeout` to answer.
    pub fn connect(path: impl AsRef<Path>, timeout: Duration) -> Result<Self, ConnectError> {
        let path = path.as_ref();
        let deadline = Instant::now() + timeout;
        let canceller = Canceller::new()?;
        let socket = call(path, &canceller, deadline)?;
        let hello = Hello::new(wire::ROLE_MONITOR, 0, 0);
        let _ = socket::send(socket.as_fd(), hello.as_bytes(), &[]);
        let (welcome, geometry, fds) = attach::welcome(path, &socket, None, deadline)?;
        let map = map_head(&welcome, geometry, fds, &socket)?;
        Ok(Self {
            path: path.to_path_buf(),
            socket,
            map,
            geometry,
            generation: welcome.generation,
            instance: welcome.instance,
            gone: false,
        })
    }

    /// Looks at the ring's head; `None` when the writer is gone. Follows the ring when it changes its size.
    pub fn head(&mut self) -> Option<Head> {
        // Notices of new generations wait in the socket; it is read to the end, so that it never fills up.
        while !self.gone {
            let next = attach::welcome(&self.path, &self.socket, None, Instant::now());
            match next {
                Ok((welcome, geometry, fds)) => {
                    match map_head(&welcome, geometry, fds, &self.socket) {
                        Ok(map) => {
                            self.map = map;
                            self.geometry = geometry;
                            self.generation = welcome.generation;
                        }
                        Err(_) => self.gone = true,
                    }
                }
                Err(ConnectError::NoAnswer(_)) => break,
                Err(_) => self.gone = true,
            }
        }
        let head = self.map.head();
        if self.gone || head.state.load(Ordering::Acquire) == CLOSED {
            return None; // PAIR head-state
        }
        let newest = head.newest.load(Ordering::Acquire); // PAIR head-newest
        Some(Head {
            newest,
            frames: head.frames.load(Ordering::Relaxed),
            newest_ns: head.newest_ns.load(Ordering::Relaxed),
            slots: self.geometry.slots(),
            slot_bytes: self.geometry.slot_bytes(),
            total_bytes: self.geometry.total_bytes(),
            readers: head.readers.load(Ordering::Relaxed),
            generation: self.generation,
            instance: self.instance,
        })
    }
}

fn map_head(
    welcome: &wire::Welcome,
    geometry: Geometry,
    mut fds: Vec<OwnedFd>,
    socket: &OwnedFd,
) -> Result<Map, ConnectError> {
    let ring = fds
        .pop()
        .ok_or(ConnectError::Unsafe("a descriptor is missing"))?;
    check_segment(&ring, geometry.total_bytes(), welcome.named != 0, socket)?;
    Map::new(&ring, 4096, false).map_err(|source| ConnectError::System {
        what: "map the ring's head",
        source,
    })
}
