//! The writer: makes rings, hands out their slots, publishes frames.

use crate::error::{CreateError, PublishError};
use crate::generation::{
    Backing, ControlPage, Generation, control_page, new_generation, remove_leftovers,
};
use crate::header::{FrameHeader, Header};
use crate::layout::{CLOSED, Geometry, Kind, MAGIC, MAX_READERS, MOVED, PROTOCOL};
use crate::producer::{Link, Producer, Purpose};
use crate::server::{self, Server};
use crate::slot::{SlotId, WriteSlot};
use crate::socket::{self, Listener};
use crate::stats::{ReaderReport, WriterStats};
use crate::sync::Ordering;
use crate::wire::{self, Welcome};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use zerocopy::IntoBytes;

/// What ring to make.
#[derive(Clone, Debug)]
pub struct WriterConfig {
    /// Unix socket that readers connect to; at most 103 bytes.
    pub socket_path: PathBuf,
    /// Slots, 3 to 64.
    pub slots: u32,
    /// Payload bytes per slot.
    pub slot_bytes: u64,
    /// Metadata bytes per slot.
    pub info_bytes: u32,
    /// Bytes that stream information (caps) may have.
    pub stream_bytes: u32,
    /// Where the memory lies.
    pub backing: Backing,
    /// Permissions of the socket: who may connect may read.
    pub socket_mode: u32,
    /// Group of the socket; see [`crate::group_id`].
    pub socket_group: Option<u32>,
    /// Slots one reader may hold, at least 1.
    pub max_lease: u32,
}

impl WriterConfig {
    /// A ring of 16 slots at this path, for frames of `slot_bytes` bytes.
    pub fn new(socket_path: impl Into<PathBuf>, slot_bytes: u64) -> Self {
        Self {
            socket_path: socket_path.into(),
            slots: 16,
            slot_bytes,
            info_bytes: 16 << 10,
            stream_bytes: 16 << 10,
            backing: Backing::default(),
            socket_mode: 0o600,
            socket_group: None,
            max_lease: 4,
        }
    }

    fn geometry(&self) -> Result<Geometry, crate::layout::GeometryError> {
        Geometry::new(
            self.slots,
            self.slot_bytes,
            self.info_bytes,
            self.stream_bytes,
        )
    }
}

/// The writer's side of one connection.
pub(crate) struct Peer {
    pub(crate) id: u64,
    pub(crate) pid: i32,
    /// It reads without leases where none are left.
    pub(crate) copies: bool,
    pub(crate) socket: Arc<OwnedFd>,
}

/// All that changes, under one lock that is held for microseconds.
pub(crate) struct Inner {
    pub(crate) generation: Arc<Generation>,
    pub(crate) producer: Producer,
    pub(crate) links: Vec<Link<ControlPage>>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) monitors: Vec<Peer>,
    pub(crate) stats: WriterStats,
    stream: (u64, Vec<u8>),
}

pub(crate) struct Core {
    inner: Mutex<Inner>,
    pub(crate) instance: u64,
    pub(crate) max_lease: u32,
    /// Beside the one that the writer runs on.
    pub(crate) spare_processors: usize,
}

impl Core {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in a critical section leaves the state half-way when it panics.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Now, on the clock that every process of the machine shares.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl Inner {
    /// What to tell a newcomer, or the readers of a new generation.
    pub(crate) fn welcome(&self, instance: u64, status: u32, granted: u32) -> Welcome {
        let geometry = self.generation.map.geometry();
        Welcome {
            magic: MAGIC,
            protocol: PROTOCOL,
            status,
            instance,
            generation: self.generation.number,
            base: self.generation.base,
            slot_bytes: geometry.slot_bytes(),
            slots: geometry.slots(),
            info_bytes: geometry.info_bytes(),
            stream_bytes: geometry.stream_bytes(),
            granted,
            granted_all: self.links.iter().map(|link| link.granted).sum(),
            readers: self.links.len() as u32,
            named: self.generation.name.is_some().into(),
            spare: 0,
        }
    }

    pub(crate) fn note_readers(&self) {
        let head = self.generation.map.head();
        head.readers
            .store(self.links.len() as u32, Ordering::Relaxed);
    }

    fn no_slot(&self) -> PublishError {
        let slots = self.generation.map.geometry().slots();
        let leased: u32 = self.links.iter().map(Producer::leases_of).sum();
        PublishError::NoSlot {
            leased,
            held: self.producer.held(),
            slots,
        }
    }
}

/// A ring's writer. All methods may be called from any thread; none waits for a reader.
pub struct Writer {
    core: Arc<Core>,
    config: WriterConfig,
    // Dropped after `close` has told the readers.
    server: Server,
}

impl Writer {
    /// Makes the ring and starts listening.
    pub fn create(config: WriterConfig) -> Result<Self, CreateError> {
        let geometry = config.geometry()?;
        let max_lease = config.max_lease.max(1);
        let listener =
            Listener::bind(&config.socket_path, config.socket_mode, config.socket_group)?;
        if config.backing == Backing::DevShm {
            remove_leftovers(&config.socket_path);
        }
        let mut instance = [0; 8];
        rustix::rand::getrandom(&mut instance, rustix::rand::GetRandomFlags::empty()).map_err(
            |error| CreateError::System {
                what: "read random bytes",
                source: error.into(),
            },
        )?;
        let instance = u64::from_ne_bytes(instance);
        let generation = new_generation(&config, geometry, instance, 1)?;
        let core = Arc::new(Core {
            inner: Mutex::new(Inner {
                producer: Producer::new(
                    geometry.slots() as usize,
                    0,
                    0,
                    max_lease.min(geometry.slots() - 2),
                ),
                generation: Arc::new(generation),
                links: Vec::with_capacity(MAX_READERS),
                peers: Vec::with_capacity(MAX_READERS),
                monitors: Vec::new(),
                stats: WriterStats::default(),
                stream: (0, Vec::new()),
            }),
            instance,
            max_lease,
            spare_processors: std::thread::available_parallelism().map_or(0, |n| n.get() - 1),
        });
        let server =
            server::start(listener, core.clone()).map_err(|source| CreateError::System {
                what: "start the handshake thread",
                source,
            })?;
        Ok(Self {
            core,
            config,
            server,
        })
    }

    /// The sizes in force.
    pub fn geometry(&self) -> Geometry {
        *self.core.lock().generation.map.geometry()
    }

    /// Where readers connect.
    pub fn socket_path(&self) -> &Path {
        &self.config.socket_path
    }

    /// Whether a frame of these sizes fits.
    pub fn fits(&self, len: usize, info_len: usize) -> Result<(), PublishError> {
        fits(&self.geometry(), 0..len, info_len)
    }

    /// Takes a slot to write a frame into. [`Purpose::Pool`] is refused while readers may hold so many slots that
    /// nothing would be left for a copy; [`Purpose::Copy`] finds a slot as long as one copy is made at a time.
    pub fn acquire(&self, purpose: Purpose) -> Result<WriteSlot, PublishError> {
        let mut guard = self.core.lock();
        let inner = &mut *guard;
        let generation = inner.generation.clone();
        let ring = generation.map.view(generation.map.geometry());
        let Some(slot) = inner.producer.acquire(ring, &inner.links, purpose) else {
            match purpose {
                Purpose::Pool => inner.stats.pool_refused += 1,
                Purpose::Copy => inner.stats.dropped_no_slot += 1,
            }
            return Err(inner.no_slot());
        };
        let Some(bytes) = generation.map.lend(slot) else {
            unreachable!("slot {slot} is free and lent at the same time");
        };
        let number = generation.number;
        Ok(WriteSlot::new(bytes, number, slot, self.core.clone()))
    }

    /// The slot a pointer points into, if it is one of the present generation: for who gets back only the memory of a
    /// slot handed out earlier. Second: how far into the slot.
    pub fn slot_at(&self, pointer: *const u8) -> Option<(SlotId, usize)> {
        let inner = self.core.lock();
        let map = &inner.generation.map;
        let geometry = map.geometry();
        let place = (pointer as usize).checked_sub(map.start() as usize)?;
        let slot = geometry.slot_of(place)?;
        Some((
            SlotId {
                generation: inner.generation.number,
                slot,
            },
            place - geometry.slot_at(slot),
        ))
    }

    /// Publishes what is in `range` of the slot, with its header and metadata bytes. Returns the event's number. The
    /// slot's handle may be dropped right after, or kept as long as its bytes are read.
    pub fn publish(
        &self,
        slot: SlotId,
        range: Range<usize>,
        header: &FrameHeader,
        info: &[u8],
    ) -> Result<u64, PublishError> {
        let mut guard = self.core.lock();
        let inner = &mut *guard;
        let map = &inner.generation.map;
        if slot.generation != inner.generation.number {
            return Err(PublishError::OldGeneration);
        }
        if !inner.producer.is_writable(slot.slot) {
            return Err(PublishError::Published);
        }
        if let Err(error) = fits(map.geometry(), range.clone(), info.len()) {
            inner.stats.dropped_too_large += 1;
            return Err(error);
        }
        map.put_info(slot.slot, info);
        let now = monotonic_ns();
        let raw = Header {
            frame: *header,
            number: inner.producer.next_number(),
            published_ns: now,
            stream_version: inner.stream.0,
            range,
            info_len: info.len(),
        }
        .encode();
        let ring = map.view(map.geometry());
        Ok(inner
            .producer
            .publish(ring, &inner.links, slot.slot, raw, now))
    }

    /// Copies a frame into a free slot and publishes it.
    pub fn publish_copy(
        &self,
        payload: &[u8],
        header: &FrameHeader,
        info: &[u8],
    ) -> Result<u64, PublishError> {
        let mut slot = self.acquire(Purpose::Copy)?;
        let Some(place) = slot.bytes_mut().get_mut(..payload.len()) else {
            self.core.lock().stats.dropped_too_large += 1;
            return Err(PublishError::TooLarge {
                len: payload.len() as u64,
                slot_bytes: self.geometry().slot_bytes(),
            });
        };
        place.copy_from_slice(payload);
        self.publish(slot.id(), 0..payload.len(), header, info)
    }

    /// Says that nothing comes for a while.
    pub fn publish_gap(&self, pts: Option<u64>, duration: Option<u64>) -> u64 {
        self.publish_event(Kind::Gap, (pts, duration))
    }

    /// Says that the stream has ended. Frames may still follow: then it has begun again.
    pub fn publish_eos(&self) -> u64 {
        self.publish_event(Kind::Eos, (None, None))
    }

    fn publish_event(&self, kind: Kind, times: (Option<u64>, Option<u64>)) -> u64 {
        let mut guard = self.core.lock();
        let inner = &mut *guard;
        let map = &inner.generation.map;
        let ring = map.view(map.geometry());
        inner
            .producer
            .publish_event(ring, &inner.links, kind, times)
    }

    /// Sets the stream information (caps) that all further frames belong to. The same bytes again change nothing.
    pub fn set_stream(&self, bytes: &[u8]) -> Result<(), PublishError> {
        let mut guard = self.core.lock();
        let inner = &mut *guard;
        let map = &inner.generation.map;
        let room = map.geometry().stream_bytes();
        if bytes.len() > room as usize {
            return Err(PublishError::StreamTooLarge {
                len: bytes.len(),
                stream_bytes: room,
            });
        }
        if inner.stream.0 == 0 || inner.stream.1 != bytes {
            inner.stream = (inner.stream.0 + 1, bytes.to_vec());
            let ring = map.view(map.geometry());
            ring.put_stream(inner.stream.0, bytes);
            inner.producer.wake(&inner.links);
        }
        Ok(())
    }

    /// Sizes of the areas for metadata and for stream information from the next [`Writer::resize`] on.
    pub fn set_areas(&mut self, info_bytes: u32, stream_bytes: u32) {
        self.config.info_bytes = info_bytes;
        self.config.stream_bytes = stream_bytes;
    }

    /// Goes on in a new ring of another size, while readers stay connected. The old ring's memory goes when its last
    /// frame is given back, so both exist for a while. Slots acquired before cannot be published any more.
    pub fn resize(&mut self, slots: u32, slot_bytes: u64) -> Result<(), CreateError> {
        let config = WriterConfig {
            slots,
            slot_bytes,
            ..self.config.clone()
        };
        let geometry = config.geometry()?;
        let number = self.core.lock().generation.number + 1;
        // Only this thread makes generations (`&mut self`), so the number holds while the lock is free.
        let mut next = new_generation(&config, geometry, self.core.instance, number)?;

        let mut guard = self.core.lock();
        let inner = &mut *guard;
        let base = inner.producer.last_seq();
        next.base = base;
        let head = next.map.head();
        head.newest.store(base, Ordering::Relaxed);
        let newest_ns = inner
            .generation
            .map
            .head()
            .newest_ns
            .load(Ordering::Relaxed);
        head.newest_ns.store(newest_ns, Ordering::Relaxed);
        head.frames
            .store(inner.producer.frames(), Ordering::Relaxed);
        let ring = next.map.view(&geometry);
        if inner.stream.0 != 0 {
            ring.put_stream(inner.stream.0, &inner.stream.1);
        }
        let before = std::mem::replace(&mut inner.generation, Arc::new(next));
        let wakes = inner.producer.wakes();
        inner.stats.wakes_before += wakes;
        let old_links = std::mem::take(&mut inner.links);
        let frames = inner.producer.frames();
        inner.producer = Producer::new(
            slots as usize,
            base,
            frames,
            self.core.max_lease.min(slots - 2),
        );
        let peers = std::mem::take(&mut inner.peers);
        for (link, peer) in old_links.iter().zip(peers) {
            let granted = inner.producer.grant(&inner.links, link.granted);
            let told = (granted > 0 || peer.copies)
                && control_page().is_ok_and(|(fd, page)| {
                    page.entitle(granted, base);
                    inner.links.push(Link {
                        control: page,
                        granted,
                        history: link.history.min(slots - 2),
                    });
                    let welcome = inner.welcome(self.core.instance, wire::ACCEPTED, granted);
                    let fds = [inner.generation.fd.as_fd(), fd.as_fd()];
                    let sent = socket::send(peer.socket.as_fd(), welcome.as_bytes(), &fds).is_ok();
                    if !sent {
                        inner.links.pop();
                    }
                    sent
                });
            if told {
                inner.peers.push(peer);
            } else {
                // It reads its old ring to the end, finds the socket closed and may connect anew.
                let _ = rustix::net::shutdown(&*peer.socket, rustix::net::Shutdown::Both);
            }
        }
        for monitor in &inner.monitors {
            let welcome = inner.welcome(self.core.instance, wire::ACCEPTED, 0);
            let fds: [BorrowedFd<'_>; 1] = [inner.generation.fd.as_fd()];
            if socket::send(monitor.socket.as_fd(), welcome.as_bytes(), &fds).is_err() {
                let _ = rustix::net::shutdown(&*monitor.socket, rustix::net::Shutdown::Both);
            }
        }
        inner.note_readers();
        // Only now, when the way on is in their sockets, are readers told that this ring has ended.
        before.map.head().state.store(MOVED, Ordering::Release); // PAIR head-state
        inner.producer.wake(&old_links);
        drop(guard);
        self.config = config;
        Ok(())
    }

    /// Whether one more frame would make a reader of every frame miss one.
    pub fn would_overrun(&self) -> bool {
        let inner = self.core.lock();
        let newest = inner.producer.last_seq();
        // Half of the slots, since readers hold frames as well.
        let half = inner.generation.map.geometry().slots() / 2;
        inner.links.iter().any(|link| {
            let lag = newest.saturating_sub(link.control.cursor.load(Ordering::Relaxed));
            link.history > 0 && lag >= u64::from(link.history.min(half).max(1))
        })
    }

    /// Counters since the writer was made, and what its readers say of themselves.
    pub fn stats(&self) -> WriterStats {
        let inner = self.core.lock();
        let mut stats = inner.stats.clone();
        stats.frames = inner.producer.frames();
        stats.wakes = stats.wakes_before + inner.producer.wakes();
        let newest = inner.producer.last_seq();
        stats.readers = inner
            .links
            .iter()
            .zip(&inner.peers)
            .map(|(link, peer)| ReaderReport {
                id: peer.id,
                pid: peer.pid,
                granted: link.granted,
                leased: Producer::leases_of(link),
                lag: newest.saturating_sub(link.control.cursor.load(Ordering::Relaxed)),
                received: link.control.received.load(Ordering::Relaxed),
                skipped: link.control.skipped.load(Ordering::Relaxed),
                copies: link.control.copies.load(Ordering::Relaxed),
                age_ns: link.control.age_ns.load(Ordering::Relaxed),
            })
            .collect();
        stats
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        {
            let mut guard = self.core.lock();
            let inner = &mut *guard;
            let head = inner.generation.map.head();
            head.state.store(CLOSED, Ordering::Release); // PAIR head-state
            inner.producer.wake(&inner.links);
        }
        self.server.stop();
        // Whoever still holds a slot must not keep the sockets and control pages alive.
        let mut inner = self.core.lock();
        inner.links.clear();
        inner.peers.clear();
        inner.monitors.clear();
    }
}

fn fits(geometry: &Geometry, range: Range<usize>, info_len: usize) -> Result<(), PublishError> {
    if range.start > range.end || range.end as u64 > geometry.slot_bytes() {
        return Err(PublishError::TooLarge {
            len: range.end as u64,
            slot_bytes: geometry.slot_bytes(),
        });
    }
    if info_len > geometry.info_bytes() as usize {
        return Err(PublishError::InfoTooLarge {
            len: info_len,
            info_bytes: geometry.info_bytes(),
        });
    }
    Ok(())
}
