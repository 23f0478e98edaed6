//! The writer of packets: makes rings, lets readers in, publishes.

use crate::error::{CreateError, PublishError};
use crate::generation::Backing;
use crate::layout::{CLOSED, MAGIC, MOVED, OPEN};
use crate::packet::layout::{PACKET_PROTOCOL, PacketGeometry, PacketMeta, PacketView};
use crate::packet::producer::{Fit, PacketProducer};
use crate::server::{self, Server, Service};
use crate::shm::{Map, Segment};
use crate::sizing::Readings;
use crate::socket::{self, Listener};
use crate::sync::Ordering;
use crate::wire::{self, PacketWelcome, WireError};
use crate::writer::monotonic_ns;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Readers of one ring, at most. A reader costs the writer an eventfd and a socket.
const MAX_PACKET_READERS: usize = 256;
/// Monitors of one ring, at most.
const MAX_MONITORS: usize = 16;
/// Least time between two requests for a key frame that are passed on.
const KEY_REQUESTS: Duration = Duration::from_millis(200);

/// Called when a reader asks for a key frame.
pub type OnKeyRequest = Box<dyn Fn() + Send + Sync>;

/// What ring of packets to make.
pub struct PacketWriterConfig {
    /// Unix socket that readers connect to; at most 103 bytes.
    pub socket_path: PathBuf,
    /// Bytes of the arena at first; it doubles where the newest group of pictures does not fit.
    pub arena_bytes: u64,
    /// Bytes that the arena has at most.
    pub max_bytes: u64,
    /// Bytes that stream information (caps) may have.
    pub stream_bytes: u32,
    /// Permissions of the socket: who may connect may read.
    pub socket_mode: u32,
    /// Group of the socket; see [`crate::group_id`].
    pub socket_group: Option<u32>,
    /// Make the memory for the first reader; [`PacketWriter::release`] gives it back.
    pub on_demand: bool,
    /// Called, from another thread, when a reader asks for a key frame; at most every 200 ms.
    pub on_key_request: Option<OnKeyRequest>,
}

impl PacketWriterConfig {
    /// A ring of 2 MiB, growing up to 64 MiB, at this path.
    pub fn new(socket_path: impl Into<PathBuf>) -> Self {
        Self {
            socket_path: socket_path.into(),
            arena_bytes: 2 << 20,
            max_bytes: 64 << 20,
            stream_bytes: 16 << 10,
            socket_mode: 0o600,
            socket_group: None,
            on_demand: false,
            on_key_request: None,
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It has this number.
    Published(u64),
    /// It, or the key packet before it, is larger than a quarter of `max_bytes`: dropped.
    TooLarge,
    /// There is no reader, and so no memory.
    NoReader,
}

/// Counters of a writer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketWriterStats {
    /// Packets published.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets dropped because they, or the key packet before them, were too large.
    pub dropped_too_large: u64,
    /// Groups of pictures that did not fit into the largest arena, or for which there was no memory.
    pub gops_too_large: u64,
    /// The newest group of pictures does not fit: late readers wait for the next.
    pub gop_too_large: bool,
    /// Readers connected.
    pub readers: u32,
    /// Connections accepted and refused, and those that broke the rules.
    pub accepted: u64,
    /// See above.
    pub refused: u64,
    /// See above.
    pub misbehaved: u64,
    /// Requests for a key frame.
    pub key_requests: u64,
    /// Bytes of the arena now, 0 without memory.
    pub arena_bytes: u64,
    /// Bytes of the whole ring now.
    pub ring_bytes: u64,
    /// 1 for the first ring, one more for each ring of another size.
    pub generation: u64,
}

struct Generation {
    map: Map,
    fd: OwnedFd,
    geometry: PacketGeometry,
}

impl Generation {
    fn view(&self) -> PacketView<'_> {
        self.map.packet_view(&self.geometry)
    }
}

struct ReaderPeer {
    id: u64,
    socket: Arc<OwnedFd>,
    event: OwnedFd,
}

struct Inner {
    generation: Option<Generation>,
    /// Number of the newest generation.
    generations: u64,
    producer: PacketProducer,
    readers: Vec<ReaderPeer>,
    monitors: Vec<(u64, Arc<OwnedFd>)>,
    stream: (u64, Vec<u8>),
    /// Packets are dropped until the next key packet.
    dropping: bool,
    /// Packets have been dropped before the next one.
    discont: bool,
    /// The arena cannot grow until the next key packet.
    full: bool,
    key_requested: Option<Instant>,
    free_bytes: u64,
    stats: PacketWriterStats,
}

struct Core {
    inner: Mutex<Inner>,
    instance: u64,
    config: PacketWriterConfig,
}

/// A ring's writer of packets. Nothing waits for a reader.
pub struct PacketWriter {
    core: Arc<Core>,
    server: Server,
}

fn notify(readers: &[ReaderPeer]) {
    for reader in readers {
        // Full counters are as readable as others.
        let _ = rustix::io::write(&reader.event, &1_u64.to_ne_bytes());
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn new_generation(
        &self,
        inner: &mut Inner,
        arena_bytes: u64,
    ) -> Result<Generation, CreateError> {
        let geometry = PacketGeometry::for_arena(arena_bytes, self.config.stream_bytes)?;
        let needed = geometry.total_bytes();
        let free = Readings::of_system().free_bytes(Backing::Memfd);
        inner.free_bytes = free;
        let failed = |source: std::io::Error| CreateError::Memory {
            needed,
            slots: geometry.entries(),
            place: "memory",
            free,
            source,
        };
        if needed > free - free / 20 {
            let text = "a twentieth of it has to stay free";
            return Err(failed(std::io::Error::new(
                std::io::ErrorKind::OutOfMemory,
                text,
            )));
        }
        let segment =
            Segment::memfd("shmring-packets", needed).map_err(|error| failed(error.into()))?;
        let map = Map::new(&segment.fd, needed as usize, true).map_err(failed)?;
        segment.seal(true).map_err(|error| CreateError::System {
            what: "seal the ring",
            source: error.into(),
        })?;
        inner.generations += 1;
        let head = map.packet_head();
        head.magic.store(MAGIC, Ordering::Relaxed);
        head.protocol.store(PACKET_PROTOCOL, Ordering::Relaxed);
        head.entries.store(geometry.entries(), Ordering::Relaxed);
        head.arena_bytes
            .store(geometry.arena_bytes(), Ordering::Relaxed);
        head.instance.store(self.instance, Ordering::Relaxed);
        head.generation.store(inner.generations, Ordering::Relaxed);
        head.state.store(OPEN, Ordering::Relaxed);
        Ok(Generation {
            map,
            fd: segment.fd,
            geometry,
        })
    }

    /// Makes the ring, if there is none.
    fn ensure(&self, inner: &mut Inner) -> Result<(), CreateError> {
        if inner.generation.is_none() {
            let new = self.new_generation(inner, self.config.arena_bytes)?;
            let view = new.view();
            view.head
                .newest
                .store(inner.producer.newest(), Ordering::Relaxed);
            if inner.stream.0 != 0 {
                view.stream_areas().put(inner.stream.0, &inner.stream.1);
            }
            inner.producer = PacketProducer::new(inner.producer.newest());
            inner.generation = Some(new);
            inner.note_readers();
        }
        Ok(())
    }

    fn welcome(&self, inner: &Inner, status: u32) -> PacketWelcome {
        let geometry = inner
            .generation
            .as_ref()
            .map(|generation| generation.geometry);
        PacketWelcome {
            magic: MAGIC,
            protocol: PACKET_PROTOCOL,
            status,
            instance: self.instance,
            generation: inner.generations,
            arena_bytes: geometry.map_or(self.config.arena_bytes, |g| g.arena_bytes()),
            max_bytes: self.config.max_bytes,
            free_bytes: inner.free_bytes,
            entries: geometry.map_or(0, |g| g.entries()),
            stream_bytes: self.config.stream_bytes,
            readers: inner.readers.len() as u32,
            spare: 0,
        }
    }

    /// Moves to a larger arena with the newest group of pictures in it, if there is memory.
    fn grow(&self, inner: &mut Inner, arena_bytes: u64) -> bool {
        let Ok(new) = self.new_generation(inner, arena_bytes) else {
            return false;
        };
        let Some(old) = inner.generation.take() else {
            return false;
        };
        if inner.stream.0 != 0 {
            // Those of older packets, which a lagging reader may still need, as well.
            let newest = inner.stream.0;
            for version in newest.saturating_sub(3)..newest {
                if let Some(bytes) = old.view().stream_areas().get(version) {
                    new.view().stream_areas().put(version, &bytes);
                }
            }
            new.view().stream_areas().put(newest, &inner.stream.1);
        }
        inner.producer = inner.producer.move_to(old.view(), new.view());
        inner.generation = Some(new);
        inner.announce(&self.welcome(inner, wire::ACCEPTED));
        // Only now, when the way on is in their sockets, do readers see that this ring has ended.
        old.view().head.state.store(MOVED, Ordering::Release); // PAIR packet-state
        notify(&inner.readers);
        true
    }

    fn write(&self, inner: &mut Inner, meta: &PacketMeta, payload: &[u8]) -> Written {
        if inner.generation.is_none() && (self.config.on_demand && inner.readers.is_empty()) {
            return Written::NoReader;
        }
        if self.ensure(inner).is_err() {
            inner.stats.dropped_too_large += 1;
            inner.dropping = true;
            return Written::TooLarge;
        }
        if meta.key {
            inner.dropping = false;
            inner.full = false;
        }
        if payload.len() as u64 > self.config.max_bytes / 4 {
            inner.dropping = true;
        }
        if inner.dropping && !meta.eos {
            inner.stats.dropped_too_large += 1;
            inner.discont = true;
            return Written::TooLarge;
        }
        while !inner.full {
            let Some(generation) = &inner.generation else {
                break;
            };
            if inner
                .producer
                .fit(generation.view(), payload.len(), meta.key)
                == Fit::Now
            {
                break;
            }
            let larger = generation.geometry.arena_bytes() * 2;
            if larger > self.config.max_bytes || !self.grow(inner, larger) {
                inner.full = true;
                inner.stats.gops_too_large += 1;
            }
        }
        let Some(generation) = &inner.generation else {
            return Written::TooLarge;
        };
        if payload.len() as u64 > generation.geometry.arena_bytes() {
            inner.dropping = true;
            inner.stats.dropped_too_large += 1;
            return Written::TooLarge;
        }
        let times = (inner.stream.0, monotonic_ns());
        let meta = PacketMeta {
            discont: meta.discont || std::mem::take(&mut inner.discont),
            ..*meta
        };
        let number = inner
            .producer
            .write(generation.view(), &meta, times, payload);
        inner.stats.packets += u64::from(!meta.eos);
        inner.stats.bytes += payload.len() as u64;
        notify(&inner.readers);
        Written::Published(number)
    }
}

impl Inner {
    fn note_readers(&self) {
        if let Some(generation) = &self.generation {
            let head = generation.map.packet_head();
            head.readers
                .store(self.readers.len() as u32, Ordering::Relaxed);
        }
    }

    /// Sends the new generation to all; to those that cannot take it their connection ends.
    fn announce(&mut self, welcome: &PacketWelcome) {
        let Some(generation) = &self.generation else {
            return;
        };
        let fds: [BorrowedFd<'_>; 1] = [generation.fd.as_fd()];
        let monitors = self.monitors.iter().map(|(_, socket)| socket);
        for socket in self
            .readers
            .iter()
            .map(|reader| &reader.socket)
            .chain(monitors)
        {
            if socket::send(socket.as_fd(), welcome.as_bytes(), &fds).is_err() {
                let _ = rustix::net::shutdown(&**socket, rustix::net::Shutdown::Both);
            }
        }
        self.note_readers();
    }
}

impl Service for Core {
    fn greet(&self, id: u64, socket: &Arc<OwnedFd>, hello: &[u8]) -> bool {
        let mut guard = self.lock();
        let inner = &mut *guard;
        let status = match wire::parse_packet_hello(hello) {
            Ok(hello) => self.admit(inner, id, socket, hello.role == wire::ROLE_MONITOR),
            Err(WireError::Version { .. }) => Err(wire::REFUSED_VERSION),
            Err(_) => Err(wire::REFUSED_GREETING),
        };
        match status {
            Ok(stays) => {
                inner.stats.accepted += u64::from(stays);
                stays
            }
            Err(status) => {
                inner.stats.refused += 1;
                let welcome = self.welcome(inner, status);
                let _ = socket::send(socket.as_fd(), welcome.as_bytes(), &[]);
                false
            }
        }
    }

    fn receive(&self, _id: u64, socket: &OwnedFd) -> bool {
        let mut buffer = [0; 64];
        let Ok((len @ 1.., _)) = socket::receive(socket.as_fd(), &mut buffer) else {
            return false;
        };
        let request = wire::parse_packet_request(&buffer[..len.min(buffer.len())]);
        if !matches!(&request, Ok(request) if request.kind == wire::REQUEST_KEY) {
            self.lock().stats.misbehaved += 1;
            return false;
        }
        let mut inner = self.lock();
        inner.stats.key_requests += 1;
        let now = Instant::now();
        let is_due = inner
            .key_requested
            .is_none_or(|last| now - last >= KEY_REQUESTS);
        if is_due {
            inner.key_requested = Some(now);
        }
        drop(inner);
        if let (true, Some(on_request)) = (is_due, &self.config.on_key_request) {
            on_request();
        }
        true
    }

    fn disconnect(&self, id: u64) {
        let mut inner = self.lock();
        inner.readers.retain(|reader| reader.id != id);
        inner.monitors.retain(|(other, _)| *other != id);
        inner.note_readers();
    }

    fn misbehaved(&self, count: u64) {
        self.lock().stats.misbehaved += count;
    }
}

impl Core {
    fn admit(
        &self,
        inner: &mut Inner,
        id: u64,
        socket: &Arc<OwnedFd>,
        monitor: bool,
    ) -> Result<bool, u32> {
        if monitor && inner.monitors.len() == MAX_MONITORS
            || !monitor && inner.readers.len() == MAX_PACKET_READERS
        {
            return Err(wire::REFUSED_READERS);
        }
        if !monitor {
            self.ensure(inner).map_err(|_| wire::REFUSED_MEMORY)?;
        }
        let Some(generation) = &inner.generation else {
            return Err(wire::REFUSED_MEMORY); // a monitor of a ring that nobody reads
        };
        let welcome = self.welcome(inner, wire::ACCEPTED);
        if monitor {
            let sent = socket::send(socket.as_fd(), welcome.as_bytes(), &[generation.fd.as_fd()]);
            inner.monitors.push((id, socket.clone()));
            return Ok(sent.is_ok());
        }
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let event = rustix::event::eventfd(0, flags).map_err(|_| wire::REFUSED_MEMORY)?;
        let fds = [generation.fd.as_fd(), event.as_fd()];
        if socket::send(socket.as_fd(), welcome.as_bytes(), &fds).is_err() {
            return Ok(false);
        }
        inner.readers.push(ReaderPeer {
            id,
            socket: socket.clone(),
            event,
        });
        inner.note_readers();
        Ok(true)
    }
}

impl PacketWriter {
    /// Listens at the socket path, and makes the ring unless it is made on demand.
    pub fn create(config: PacketWriterConfig) -> Result<Self, CreateError> {
        PacketGeometry::for_arena(config.arena_bytes, config.stream_bytes)?;
        let mut instance = [0; 8];
        rustix::rand::getrandom(&mut instance, rustix::rand::GetRandomFlags::empty()).map_err(
            |error| CreateError::System {
                what: "get a random number",
                source: error.into(),
            },
        )?;
        let listener =
            Listener::bind(&config.socket_path, config.socket_mode, config.socket_group)?;
        let on_demand = config.on_demand;
        let core = Arc::new(Core {
            inner: Mutex::new(Inner {
                generation: None,
                generations: 0,
                producer: PacketProducer::new(0),
                readers: Vec::new(),
                monitors: Vec::new(),
                stream: (0, Vec::new()),
                dropping: false,
                discont: false,
                full: false,
                key_requested: None,
                free_bytes: 0,
                stats: PacketWriterStats::default(),
            }),
            instance: u64::from_ne_bytes(instance),
            config,
        });
        if !on_demand {
            core.ensure(&mut core.lock())?;
        }
        let server =
            server::start(listener, core.clone()).map_err(|source| CreateError::System {
                what: "start the handshake thread",
                source,
            })?;
        Ok(Self { core, server })
    }

    /// Sets the stream information of the packets that follow. Its version, one more each time.
    pub fn set_stream(&mut self, bytes: &[u8]) -> Result<u64, PublishError> {
        let stream_bytes = self.core.config.stream_bytes;
        if bytes.len() > stream_bytes as usize {
            return Err(PublishError::StreamTooLarge {
                len: bytes.len(),
                stream_bytes,
            });
        }
        let mut inner = self.core.lock();
        let version = inner.stream.0 + 1;
        inner.stream = (version, bytes.to_vec());
        if let Some(generation) = &inner.generation {
            generation.view().stream_areas().put(version, bytes);
        }
        notify(&inner.readers);
        Ok(version)
    }

    /// Appends a packet. A key packet says so in `meta`; of a stream without key frames (audio) each one is.
    pub fn write(&mut self, meta: &PacketMeta, payload: &[u8]) -> Written {
        let mut inner = self.core.lock();
        self.core.write(&mut inner, meta, payload)
    }

    /// Ends the stream: a packet without bytes, which readers get as [`PacketMeta::eos`].
    pub fn write_eos(&mut self) {
        let meta = PacketMeta {
            eos: true,
            ..PacketMeta::default()
        };
        self.write(&meta, &[]);
    }

    /// Readers connected; monitors do not count.
    pub fn readers(&self) -> usize {
        self.core.lock().readers.len()
    }

    /// Gives the memory back, if nothing reads it and it is made on demand. Whether there is none now.
    pub fn release(&mut self) -> bool {
        let mut inner = self.core.lock();
        if self.core.config.on_demand && inner.readers.is_empty() {
            inner.generation = None;
            for (_, socket) in std::mem::take(&mut inner.monitors) {
                let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
            }
        }
        inner.generation.is_none()
    }

    /// Counters since the writer was made.
    pub fn stats(&self) -> PacketWriterStats {
        let inner = self.core.lock();
        let mut stats = inner.stats;
        stats.readers = inner.readers.len() as u32;
        stats.generation = inner.generations;
        if let Some(generation) = &inner.generation {
            stats.arena_bytes = generation.geometry.arena_bytes();
            stats.ring_bytes = generation.geometry.total_bytes();
            let head = generation.map.packet_head();
            stats.gop_too_large = head.gop_too_large.load(Ordering::Relaxed) != 0;
        }
        stats
    }
}

impl Drop for PacketWriter {
    fn drop(&mut self) {
        {
            let inner = self.core.lock();
            if let Some(generation) = &inner.generation {
                let head = generation.map.packet_head();
                head.state.store(CLOSED, Ordering::Release); // PAIR packet-state
            }
            notify(&inner.readers);
        }
        self.server.stop();
        let mut inner = self.core.lock();
        inner.readers.clear();
        inner.monitors.clear();
    }
}

impl std::fmt::Debug for PacketWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PacketWriter")
            .field("socket_path", &self.core.config.socket_path)
            .finish_non_exhaustive()
    }
}
