//! A reader of packets.

use crate::attach::{Canceller, answer, call, check_segment, system};
use crate::error::{ConnectError, WaitError};
use crate::layout::MAGIC;
use crate::packet::consumer::{PacketConsumer, PacketPoll, Start};
use crate::packet::layout::{PACKET_PROTOCOL, PacketGeometry, PacketMeta, PacketView};
use crate::shm::Map;
use crate::socket;
use crate::sync::Ordering;
use crate::wire::{self, PacketHello, PacketRequest, PacketWelcome};
use crate::writer::monotonic_ns;
use rustix::event::epoll;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Time that a writer has to answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A packet, copied out of the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its number since the writer's start.
    pub number: u64,
    /// Packets left out before it, because this reader was too slow.
    pub skipped: u64,
    /// Version of the stream information it belongs to.
    pub stream_version: u64,
    /// When it was published, CLOCK_MONOTONIC in ns.
    pub published_ns: u64,
    /// Times and flags.
    pub meta: PacketMeta,
    /// Its bytes.
    pub payload: Vec<u8>,
}

/// What a reader gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketEvent {
    /// Stream information that holds for the packets that follow.
    Stream {
        /// Its version.
        version: u64,
        /// Its bytes.
        bytes: Vec<u8>,
    },
    /// A packet.
    Packet(Packet),
    /// The writer is gone. [`PacketReader::reconnect`] waits for the next one.
    WriterGone,
}

/// Counters of a reader, over all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketReaderStats {
    /// Packets read.
    pub received: u64,
    /// Packets left out.
    pub skipped: u64,
    /// Packets that made no sense, left out as well.
    pub invalid: u64,
    /// From publishing to reading, of the last packet and at most, ns.
    pub age_ns: u64,
    /// See above.
    pub max_age_ns: u64,
    /// Connections made.
    pub connections: u64,
    /// Rings of other sizes followed.
    pub generations: u64,
}

struct Attachment {
    map: Map,
    geometry: PacketGeometry,
    socket: Arc<OwnedFd>,
    event: OwnedFd,
    /// Readable when `event` is, or when the writer has closed the socket.
    ready: OwnedFd,
}

impl Attachment {
    fn view(&self) -> PacketView<'_> {
        self.map.packet_view(&self.geometry)
    }
}

/// Asks a reader's writer for key frames.
#[derive(Clone, Debug)]
pub struct KeyRequester(Weak<OwnedFd>);

impl KeyRequester {
    /// Asks for a key frame. Whether it does anything is up to the writer's upstream.
    pub fn request(&self) {
        let request = PacketRequest {
            magic: MAGIC,
            protocol: PACKET_PROTOCOL,
            kind: wire::REQUEST_KEY,
        };
        if let Some(socket) = self.0.upgrade() {
            // A writer that is gone is found to be by the next read.
            let _ = socket::send(socket.as_fd(), request.as_bytes(), &[]);
        }
    }
}

/// Reads the packets of one writer after the other. Not shared between threads; only its [`Canceller`] is.
pub struct PacketReader {
    path: PathBuf,
    start: Start,
    canceller: Canceller,
    attachment: Option<Attachment>,
    consumer: Option<PacketConsumer>,
    pending: Option<Packet>,
    stream_version: u64,
    payload: Vec<u8>,
    stats: PacketReaderStats,
}

impl PacketReader {
    /// A reader that is not connected yet: get its [`Canceller`], then [`PacketReader::reconnect`].
    pub fn new(path: impl Into<PathBuf>, start: Start) -> Result<Self, ConnectError> {
        Ok(Self {
            path: path.into(),
            start,
            canceller: Canceller::new()?,
            attachment: None,
            consumer: None,
            pending: None,
            stream_version: 0,
            payload: Vec::new(),
            stats: PacketReaderStats::default(),
        })
    }

    /// Connects to the writer that listens at `path` now.
    pub fn connect(path: impl Into<PathBuf>, start: Start) -> Result<Self, ConnectError> {
        let mut reader = Self::new(path, start)?;
        reader.try_connect()?;
        Ok(reader)
    }

    /// A handle that interrupts this reader's waits.
    pub fn canceller(&self) -> Canceller {
        self.canceller.clone()
    }

    /// Whether there is a writer, as far as this reader knows.
    pub fn is_connected(&self) -> bool {
        self.attachment.is_some()
    }

    /// Connects to the writer that listens now, in place of the one there was.
    pub fn try_connect(&mut self) -> Result<(), ConnectError> {
        self.detach();
        let deadline = Instant::now() + TIMEOUT;
        let socket = call(&self.path, &self.canceller, deadline)?;
        let hello = PacketHello::new(wire::ROLE_READER);
        let greeted = socket::send(socket.as_fd(), hello.as_bytes(), &[]);
        // A writer that is full closes right away; its answer can still be read.
        if !matches!(greeted, Ok(()) | Err(Errno::PIPE | Errno::CONNRESET)) {
            greeted.map_err(system("greet the writer"))?;
        }
        let (welcome, geometry, fds) = self.answer(&socket, deadline)?;
        let Ok([ring, event]) = <[OwnedFd; 2]>::try_from(fds) else {
            return Err(ConnectError::Unsafe("a descriptor is missing"));
        };
        let map = map_packets(&welcome, &geometry, &ring, &socket)?;
        rustix::io::ioctl_fionbio(&event, true).map_err(system("set up the eventfd"))?;
        let ready = ready_fd(&socket, &event).map_err(system("make an epoll descriptor"))?;
        let attachment = Attachment {
            map,
            geometry,
            socket: Arc::new(socket),
            event,
            ready,
        };
        self.consumer = Some(PacketConsumer::new(attachment.view(), self.start));
        self.attachment = Some(attachment);
        self.stream_version = 0;
        self.stats.connections += 1;
        Ok(())
    }

    fn answer(
        &self,
        socket: &OwnedFd,
        deadline: Instant,
    ) -> Result<(PacketWelcome, PacketGeometry, Vec<OwnedFd>), ConnectError> {
        let (bytes, fds) = answer(&self.path, socket, Some(&self.canceller), deadline)?;
        let (welcome, geometry) = wire::parse_packet_welcome(&bytes)?;
        match (welcome.status, geometry) {
            (_, Some(geometry)) => Ok((welcome, geometry, fds)),
            (wire::REFUSED_READERS, _) => Err(ConnectError::TooManyReaders(welcome.readers)),
            (wire::REFUSED_MEMORY, _) => Err(ConnectError::NoMemory {
                needed: welcome.arena_bytes,
                free: welcome.free_bytes,
            }),
            (status, _) => Err(ConnectError::Refused(status)),
        }
    }

    /// Tries to connect until there is a writer, the limit passes or the reader is cancelled.
    pub fn reconnect(&mut self, limit: Option<Duration>) -> Result<(), ConnectError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut pause = Duration::from_millis(10);
        loop {
            let error = match self.try_connect() {
                Ok(()) => return Ok(()),
                Err(error) if error.may_pass() => error,
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            let left = deadline.map_or(pause, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Err(error);
            }
            socket::wait_readable(&[self.canceller.event()], pause.min(left));
            pause = (pause * 3 / 2).min(Duration::from_millis(200));
        }
    }

    /// Readable when [`PacketReader::try_next`] may have something: for an event loop. Changes with each connection.
    pub fn ready(&self) -> Option<BorrowedFd<'_>> {
        self.attachment.as_ref().map(|at| at.ready.as_fd())
    }

    /// The next event, if there is one now. When there is none, [`PacketReader::ready`] becomes readable with the next.
    pub fn try_next(&mut self) -> Result<Option<PacketEvent>, WaitError> {
        // Cleared first: what is published from here on makes it readable again.
        let mut cleared = false;
        loop {
            if self.canceller.is_cancelled() {
                return Err(WaitError::Cancelled);
            }
            if let Some(packet) = self.pending.take() {
                return Ok(Some(PacketEvent::Packet(packet)));
            }
            let (Some(attachment), Some(consumer)) = (&self.attachment, &mut self.consumer) else {
                return Err(WaitError::NotConnected);
            };
            let view = attachment.view();
            match consumer.poll(view, &mut self.payload) {
                PacketPoll::Packet {
                    number,
                    skipped,
                    stream_version,
                    published_ns,
                    meta,
                } => {
                    self.stats.received += 1;
                    self.stats.skipped += skipped;
                    self.stats.age_ns = monotonic_ns().saturating_sub(published_ns);
                    self.stats.max_age_ns = self.stats.max_age_ns.max(self.stats.age_ns);
                    let packet = Packet {
                        number,
                        skipped,
                        stream_version,
                        published_ns,
                        meta,
                        payload: std::mem::take(&mut self.payload),
                    };
                    if stream_version == self.stream_version {
                        return Ok(Some(PacketEvent::Packet(packet)));
                    }
                    let Some(bytes) = view.stream_areas().get(stream_version) else {
                        // Too far behind: what the packet is cannot be known any more.
                        self.stats.invalid += 1;
                        continue;
                    };
                    self.stream_version = stream_version;
                    self.pending = Some(packet);
                    return Ok(Some(PacketEvent::Stream {
                        version: stream_version,
                        bytes,
                    }));
                }
                PacketPoll::Moved => {
                    if !self.follow()? {
                        return Ok(Some(self.writer_gone()));
                    }
                }
                PacketPoll::Closed => return Ok(Some(self.writer_gone())),
                PacketPoll::Empty => {
                    if self.stream_version == 0
                        && let version = view.head.stream_version.load(Ordering::Acquire) // PAIR stream-version
                        && let Some(bytes) = view.stream_areas().get(version)
                    {
                        self.stream_version = version;
                        return Ok(Some(PacketEvent::Stream { version, bytes }));
                    }
                    if cleared {
                        if socket::is_hung_up(attachment.socket.as_fd()) {
                            // Once more: what was published before the end is still read.
                            return match consumer.poll(view, &mut self.payload) {
                                PacketPoll::Empty => Ok(Some(self.writer_gone())),
                                _ => Ok(None),
                            };
                        }
                        return Ok(None);
                    }
                    let _ = rustix::io::read(&attachment.event, &mut [0; 8]);
                    cleared = true;
                }
            }
        }
    }

    /// Waits for the next event.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<PacketEvent, WaitError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            let slice = match deadline {
                None => Duration::from_secs(1),
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if slice.is_zero() {
                return Err(WaitError::Timeout);
            }
            let Some(ready) = self.ready() else {
                return Err(WaitError::NotConnected);
            };
            socket::wait_readable(&[ready, self.canceller.event()], slice);
        }
    }

    /// Asks for a key frame. Whether it does anything is up to the writer's upstream.
    pub fn request_key(&self) {
        if let Some(requester) = self.key_requester() {
            requester.request();
        }
    }

    /// A handle that asks for key frames from other threads, for this connection.
    pub fn key_requester(&self) -> Option<KeyRequester> {
        let attachment = self.attachment.as_ref()?;
        Some(KeyRequester(Arc::downgrade(&attachment.socket)))
    }

    /// Shares the canceller of another reader, so that one call interrupts whichever of them waits.
    pub fn with_canceller(self, canceller: Canceller) -> Self {
        Self { canceller, ..self }
    }

    /// The ring goes on in another one, whose descriptor is in the socket. Whether it does.
    fn follow(&mut self) -> Result<bool, WaitError> {
        let deadline = Instant::now() + TIMEOUT;
        let Some(attachment) = &self.attachment else {
            return Ok(false);
        };
        let next =
            self.answer(&attachment.socket, deadline)
                .and_then(|(welcome, geometry, fds)| {
                    let ring = fds
                        .first()
                        .ok_or(ConnectError::Unsafe("a descriptor is missing"))?;
                    let map = map_packets(&welcome, &geometry, ring, &attachment.socket)?;
                    Ok((map, geometry))
                });
        match (next, &mut self.attachment) {
            (Ok((map, geometry)), Some(attachment)) => {
                attachment.map = map;
                attachment.geometry = geometry;
                self.stats.generations += 1;
                Ok(true)
            }
            // Nothing was taken from the socket: the next call finds the way on.
            (Err(ConnectError::Cancelled), _) => Err(WaitError::Cancelled),
            _ => Ok(false),
        }
    }

    fn detach(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            self.stats.invalid += consumer.invalid();
        }
        self.pending = None;
        self.attachment = None;
    }

    fn writer_gone(&mut self) -> PacketEvent {
        self.detach();
        PacketEvent::WriterGone
    }

    /// Counters over all connections of this reader.
    pub fn stats(&self) -> PacketReaderStats {
        let mut stats = self.stats;
        stats.invalid += self.consumer.as_ref().map_or(0, PacketConsumer::invalid);
        stats
    }

    /// Bytes of the ring, while connected.
    pub fn ring_bytes(&self) -> Option<u64> {
        self.attachment.as_ref().map(|at| at.geometry.total_bytes())
    }
}

fn ready_fd(socket: &OwnedFd, event: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(
        &ready,
        event,
        epoll::EventData::new_u64(0),
        epoll::EventFlags::IN,
    )?;
    epoll::add(
        &ready,
        socket,
        epoll::EventData::new_u64(1),
        epoll::EventFlags::RDHUP,
    )?;
    Ok(ready)
}

/// Maps a ring of packets, after checking it.
fn map_packets(
    welcome: &PacketWelcome,
    geometry: &PacketGeometry,
    ring: &OwnedFd,
    socket: &OwnedFd,
) -> Result<Map, ConnectError> {
    check_segment(ring, geometry.total_bytes(), false, socket)?;
    let map = Map::new(ring, geometry.total_bytes() as usize, false).map_err(|source| {
        ConnectError::System {
            what: "map the ring",
            source,
        }
    })?;
    let head = map.packet_head();
    if head.magic.load(Ordering::Relaxed) != MAGIC
        || head.protocol.load(Ordering::Relaxed) != PACKET_PROTOCOL
        || head.entries.load(Ordering::Relaxed) != geometry.entries()
        || head.arena_bytes.load(Ordering::Relaxed) != geometry.arena_bytes()
        || head.generation.load(Ordering::Relaxed) != welcome.generation
    {
        return Err(ConnectError::Unsafe("its head contradicts the handshake"));
    }
    Ok(map)
}
