//! The reader: connects, waits, leases frames, follows the ring when it changes size or its writer restarts.

use crate::consumer::{Consumer, LeaseTable, Policy, Poll};
use crate::error::{ConnectError, WaitError};
use crate::header::{FrameHeader, Header};
use crate::layout::{CONTROL_BYTES, Control, Geometry, LEASES, MAGIC, PROTOCOL, View};
use crate::shm::Map;
use crate::socket;
use crate::stats::ReaderStats;
use crate::sync::{AtomicBool, Ordering};
use crate::wire::{self, Hello, Welcome};
use crate::writer::monotonic_ns;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::SealFlags;
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How often a sleeping reader looks whether its writer still lives: a killed writer wakes nobody.
const SLICE: Duration = Duration::from_millis(100);
/// Copies in ordinary memory kept for reuse.
const SPARE_COPIES: usize = 4;

/// What a reader wants.
#[derive(Clone, Debug)]
pub struct ReaderOptions {
    /// Slots to hold at once; 0 for as many as the writer grants. One of them is needed to take the next frame.
    pub leases: u32,
    /// Which frames.
    pub policy: Policy,
    /// Frames the writer keeps for this reader while it lags; by default `max_lag` of its policy.
    pub history: Option<u32>,
    /// How long the writer may take to answer.
    pub timeout: Duration,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            leases: 0,
            policy: Policy::default(),
            history: None,
            timeout: Duration::from_secs(2),
        }
    }
}

/// What happens on a ring.
#[derive(Debug)]
pub enum Event {
    /// A frame.
    Frame(Frame),
    /// Nothing comes for a while.
    Gap {
        /// Start in ns.
        pts: Option<u64>,
        /// Length in ns.
        duration: Option<u64>,
    },
    /// The stream has ended. Frames may still follow: then it has begun again.
    Eos,
    /// Stream information (caps) that the following frames belong to.
    Stream {
        /// Its version; grows with every change within a writer's life.
        version: u64,
        /// What the writer's user gave.
        bytes: Vec<u8>,
    },
    /// The ring has another size from here on. No frame was lost by that.
    NewGeneration {
        /// The new sizes.
        geometry: Geometry,
    },
    /// The writer has gone, with or without an end of stream before. [`Reader::reconnect`] waits for the next.
    WriterGone,
}

/// One ring as a reader sees it. Lives as long as the reader or any frame of it.
struct Attachment {
    map: Map,
    geometry: Geometry,
    control: Map,
    leases: LeaseTable,
    socket: Arc<OwnedFd>,
}

impl Attachment {
    fn view(&self) -> View<'_> {
        self.map.view(&self.geometry)
    }
    fn control(&self) -> &Control {
        self.control.control()
    }
}

/// A frame in a reader's hands. It does not change until it is dropped, from whatever thread, even when the writer or
/// the [`Reader`] is gone.
pub struct Frame {
    header: Header,
    seq: u64,
    skipped: u64,
    hold: Hold,
}

enum Hold {
    Slot {
        attachment: Arc<Attachment>,
        lease: u32,
        slot: u32,
    },
    Copy {
        payload: Vec<u8>,
        info: Vec<u8>,
        spare: Arc<Mutex<Vec<Vec<u8>>>>,
    },
}

impl Frame {
    /// Times, offsets and flags.
    pub fn header(&self) -> &FrameHeader {
        &self.header.frame
    }
    /// Number of the event.
    pub fn seq(&self) -> u64 {
        self.seq
    }
    /// Number of the frame since its writer started, from 1.
    pub fn number(&self) -> u64 {
        self.header.number
    }
    /// Frames between the last one received and this one that were not.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
    /// Version of the stream information it belongs to.
    pub fn stream_version(&self) -> u64 {
        self.header.stream_version
    }
    /// When it was published, CLOCK_MONOTONIC in ns.
    pub fn published_ns(&self) -> u64 {
        self.header.published_ns
    }
    /// Whether it is a copy in ordinary memory, because all leases but one were held.
    pub fn is_copy(&self) -> bool {
        matches!(self.hold, Hold::Copy { .. })
    }

    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        match &self.hold {
            Hold::Slot {
                attachment, slot, ..
            } => attachment.map.bytes(
                attachment.geometry.slot_at(*slot) + self.header.range.start,
                self.header.range.len(),
            ),
            Hold::Copy { payload, .. } => payload,
        }
    }

    /// Length of the metadata bytes.
    pub fn info_len(&self) -> usize {
        self.header.info_len
    }

    /// Copies the metadata bytes into a buffer the caller reuses. A copy, because who parses bytes wants them to be
    /// the same at the second look, whoever wrote them.
    pub fn copy_info(&self, into: &mut Vec<u8>) {
        into.clear();
        match &self.hold {
            Hold::Slot {
                attachment, slot, ..
            } => into.extend_from_slice(
                attachment
                    .map
                    .bytes(attachment.geometry.info_at(*slot), self.header.info_len),
            ),
            Hold::Copy { info, .. } => into.extend_from_slice(info),
        }
    }
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frame")
            .field("seq", &self.seq)
            .field("skipped", &self.skipped)
            .field("copy", &self.is_copy())
            .field("header", &self.header)
            .finish()
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        match self {
            Hold::Slot {
                attachment, lease, ..
            } => attachment.leases.release(attachment.control(), *lease),
            Hold::Copy { payload, spare, .. } => {
                let mut spare = spare.lock().unwrap_or_else(PoisonError::into_inner);
                if spare.len() < SPARE_COPIES {
                    spare.push(std::mem::take(payload));
                }
            }
        }
    }
}

/// Interrupts a reader's waiting, from any thread.
#[derive(Clone)]
pub struct Canceller(Arc<Cancel>);

struct Cancel {
    cancelled: AtomicBool,
    /// For waits on sockets.
    event: OwnedFd,
    /// For waits on frames.
    attachment: Mutex<Option<Arc<Attachment>>>,
}

impl Canceller {
    /// Every wait of the reader, present and future, returns [`WaitError::Cancelled`] at once.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        let attachment = self.attachment().clone();
        if let Some(attachment) = attachment {
            attachment.control().cancel_wait();
        }
    }

    /// The reader may wait again.
    pub fn reset(&self) {
        self.0.cancelled.store(false, Ordering::SeqCst);
        let _ = rustix::io::read(&self.0.event, &mut [0; 8]);
    }

    /// Whether [`Canceller::cancel`] was called last.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    fn attachment(&self) -> std::sync::MutexGuard<'_, Option<Arc<Attachment>>> {
        self.0
            .attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn new() -> Result<Self, ConnectError> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let event = rustix::event::eventfd(0, flags).map_err(system("make an eventfd"))?;
        Ok(Self(Arc::new(Cancel {
            cancelled: AtomicBool::new(false),
            event,
            attachment: Mutex::new(None),
        })))
    }
}

fn system(what: &'static str) -> impl Fn(Errno) -> ConnectError {
    move |source| ConnectError::System {
        what,
        source: source.into(),
    }
}

/// A reader of one ring.
pub struct Reader {
    path: PathBuf,
    options: ReaderOptions,
    canceller: Canceller,
    attachment: Option<Arc<Attachment>>,
    consumer: Consumer,
    pending: Option<Frame>,
    stream_version: u64,
    last_number: u64,
    hung_up: bool,
    stats: ReaderStats,
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Reader {
    /// A reader that is not connected yet: get its [`Canceller`], then [`Reader::reconnect`].
    pub fn new(path: impl Into<PathBuf>, options: ReaderOptions) -> Result<Self, ConnectError> {
        let policy = options.policy;
        Ok(Self {
            path: path.into(),
            options,
            canceller: Canceller::new()?,
            attachment: None,
            consumer: Consumer::unconnected(policy),
            pending: None,
            stream_version: 0,
            last_number: 0,
            hung_up: false,
            stats: ReaderStats::default(),
            spare: Arc::default(),
        })
    }

    /// Connects to the writer that listens at `path` now.
    pub fn connect(path: impl Into<PathBuf>, options: ReaderOptions) -> Result<Self, ConnectError> {
        let mut reader = Self::new(path, options)?;
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

    /// The ring's sizes, while connected.
    pub fn geometry(&self) -> Option<Geometry> {
        self.attachment.as_ref().map(|at| at.geometry)
    }

    /// Changes the policy from the next event on. What the writer keeps for this reader changes with the next connection.
    pub fn set_policy(&mut self, policy: Policy) {
        self.options.policy = policy;
        self.consumer.set_policy(policy);
    }

    /// Connects to the writer that listens now, in place of the one there was. Begins with its newest frame.
    pub fn try_connect(&mut self) -> Result<(), ConnectError> {
        self.detach();
        let history = self.options.history.unwrap_or(match self.options.policy {
            Policy::EveryFrame { max_lag } => max_lag.try_into().unwrap_or(u32::MAX),
            Policy::Newest => 0,
        });
        let hello = Hello::new(wire::ROLE_READER, self.options.leases, history);
        let deadline = Instant::now() + self.options.timeout;
        let socket = call(&self.path, &self.canceller, deadline)?;
        let greeted = socket::send(socket.as_fd(), hello.as_bytes(), &[]);
        // A writer that is full closes right away; its answer can still be read.
        if !matches!(greeted, Ok(()) | Err(Errno::PIPE)) {
            greeted.map_err(system("greet the writer"))?;
        }
        let (welcome, geometry, fds) =
            answer(&self.path, &socket, Some(&self.canceller), deadline)?;
        let attachment = attach(&welcome, geometry, fds, Arc::new(socket))?;
        self.consumer = Consumer::new(attachment.view(), self.options.policy);
        self.adopt(attachment);
        self.stream_version = 0;
        self.last_number = 0;
        self.stats.connections += 1;
        Ok(())
    }

    /// Tries to connect until there is a writer, the limit passes or the reader is cancelled. A refusal that waiting
    /// may cure (ring full, too many readers) is waited out as well; the last one is returned at the limit.
    pub fn reconnect(&mut self, limit: Option<Duration>) -> Result<(), ConnectError> {
        let deadline = limit.map(|limit| Instant::now() + limit);
        let mut pause = Duration::from_millis(10);
        loop {
            let error = match self.try_connect() {
                Ok(()) => return Ok(()),
                Err(
                    error @ (ConnectError::NoWriter { .. }
                    | ConnectError::NoAnswer(_)
                    | ConnectError::RingFull { .. }
                    | ConnectError::TooManyReaders(_)),
                ) => error,
                Err(error) => return Err(error),
            };
            let now = Instant::now();
            let left = deadline.map_or(pause, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Err(error);
            }
            socket::wait_readable(&[self.canceller.0.event.as_fd()], pause.min(left));
            pause = (pause * 3 / 2).min(Duration::from_millis(200));
        }
    }

    fn adopt(&mut self, attachment: Attachment) {
        let attachment = Arc::new(attachment);
        *self.canceller.attachment() = Some(attachment.clone());
        self.attachment = Some(attachment);
        self.hung_up = false;
    }

    fn detach(&mut self) {
        self.pending = None;
        self.attachment = None;
        *self.canceller.attachment() = None;
    }

    /// Waits for the next event.
    pub fn next(&mut self, limit: Option<Duration>) -> Result<Event, WaitError> {
        // Taken only when there is nothing to read at once: a frame that waits costs no look at the clock for this.
        let mut deadline = None;
        loop {
            if self.canceller.is_cancelled() {
                return Err(WaitError::Cancelled);
            }
            let Some(attachment) = &self.attachment else {
                return Err(WaitError::NotConnected);
            };
            if let Some(frame) = self.pending.take() {
                return Ok(Event::Frame(frame));
            }
            let attachment = attachment.clone();
            let (ring, control) = (attachment.view(), attachment.control());
            match self.consumer.poll(ring, control, &attachment.leases) {
                Poll::Frame {
                    lease,
                    slot,
                    seq,
                    header,
                } => {
                    let hold = Hold::Slot {
                        attachment: attachment.clone(),
                        lease,
                        slot,
                    };
                    if let Some(event) = self.frame(&attachment, seq, &header, hold) {
                        return Ok(event);
                    }
                }
                Poll::Gap { pts, duration } => return Ok(Event::Gap { pts, duration }),
                Poll::Eos => return Ok(Event::Eos),
                Poll::Moved => return self.follow(&attachment),
                Poll::Closed => return Ok(self.writer_gone()),
                Poll::Empty => {
                    if self.stream_version == 0
                        && let Some(event) = self.first_stream(ring)
                    {
                        return Ok(event);
                    }
                    if self.hung_up {
                        return Ok(self.writer_gone());
                    }
                    let now = Instant::now();
                    let mut slice = SLICE;
                    if let Some(limit) = limit {
                        let deadline = *deadline.get_or_insert(now + limit);
                        slice = slice.min(deadline.saturating_duration_since(now));
                    }
                    if !slice.is_zero() {
                        let canceller = &self.canceller;
                        let woken = || canceller.is_cancelled();
                        self.consumer
                            .wait(ring, control, self.stream_version, woken, Some(slice));
                    }
                    if now.elapsed() >= slice {
                        // What was published before the end is still read before it is told.
                        self.hung_up = socket::is_hung_up(attachment.socket.as_fd());
                        let over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                        if over && !self.hung_up && self.consumer.is_up_to_date(ring) {
                            return Err(WaitError::Timeout);
                        }
                    }
                }
            }
        }
    }

    /// Makes a frame of what the consumer found; `None` if it makes no sense.
    fn frame(
        &mut self,
        attachment: &Arc<Attachment>,
        seq: u64,
        raw: &crate::layout::RawHeader,
        hold: Hold,
    ) -> Option<Event> {
        let Ok(header) = Header::decode(raw, &attachment.geometry) else {
            self.stats.invalid += 1;
            self.stats.skipped += 1;
            return None;
        };
        let mut stream = None;
        if header.stream_version != self.stream_version {
            let Some(bytes) = attachment.view().get_stream(header.stream_version) else {
                self.stats.invalid += 1;
                self.stats.skipped += 1;
                return None;
            };
            self.stream_version = header.stream_version;
            stream = Some(Event::Stream {
                version: header.stream_version,
                bytes,
            });
        }
        let skipped = match self.last_number {
            0 => 0,
            last => header.number.saturating_sub(last).saturating_sub(1),
        };
        self.last_number = header.number;
        let mut frame = Frame {
            header,
            seq,
            skipped,
            hold,
        };
        let stats = &mut self.stats;
        stats.received += 1;
        stats.skipped += skipped;
        stats.age_ns = monotonic_ns().saturating_sub(frame.header.published_ns);
        stats.max_age_ns = stats.max_age_ns.max(stats.age_ns);
        if attachment.leases.held() >= attachment.leases.granted() {
            stats.copies += 1;
            frame = self.copy(frame);
        }
        let stats = &self.stats;
        let control = attachment.control();
        control.received.store(stats.received, Ordering::Relaxed);
        control.skipped.store(stats.skipped, Ordering::Relaxed);
        control.copies.store(stats.copies, Ordering::Relaxed);
        control.age_ns.store(stats.age_ns, Ordering::Relaxed);
        match stream {
            None => Some(Event::Frame(frame)),
            Some(stream) => {
                self.pending = Some(frame);
                Some(stream)
            }
        }
    }

    /// The last lease is needed to take the next frame, so what came with it is copied and given back.
    fn copy(&self, frame: Frame) -> Frame {
        let spare = {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            spare.pop()
        };
        let mut payload = spare.unwrap_or_default();
        payload.clear();
        payload.extend_from_slice(frame.bytes());
        let mut info = Vec::new();
        frame.copy_info(&mut info);
        Frame {
            header: frame.header.clone(),
            hold: Hold::Copy {
                payload,
                info,
                spare: self.spare.clone(),
            },
            ..frame
        }
    }

    /// Stream information that is there before the first frame.
    fn first_stream(&mut self, ring: View<'_>) -> Option<Event> {
        let version = ring.head.stream_version.load(Ordering::Acquire); // PAIR stream-version
        let bytes = ring.get_stream(version)?;
        self.stream_version = version;
        Some(Event::Stream { version, bytes })
    }

    /// The ring goes on in another one, whose descriptors are in the socket.
    fn follow(&mut self, attachment: &Arc<Attachment>) -> Result<Event, WaitError> {
        let deadline = Instant::now() + self.options.timeout;
        let socket = &attachment.socket;
        let next = answer(&self.path, socket, Some(&self.canceller), deadline).and_then(
            |(welcome, geometry, fds)| {
                attach(&welcome, geometry, fds, socket.clone()).map(|next| (welcome, next))
            },
        );
        match next {
            Ok((welcome, next)) => {
                self.consumer.follow(welcome.base);
                let geometry = next.geometry;
                self.adopt(next);
                Ok(Event::NewGeneration { geometry })
            }
            // Nothing was taken from the socket: the next call finds the way on.
            Err(ConnectError::Cancelled) => Err(WaitError::Cancelled),
            Err(_) => Ok(self.writer_gone()),
        }
    }

    fn writer_gone(&mut self) -> Event {
        self.detach();
        Event::WriterGone
    }

    /// Counters over all connections of this reader.
    pub fn stats(&self) -> ReaderStats {
        let mut stats = self.stats;
        if let Some(attachment) = &self.attachment {
            stats.granted = attachment.leases.granted();
            stats.leased = attachment.leases.held();
            let newest = attachment.map.head().newest.load(Ordering::Relaxed);
            stats.lag = newest.saturating_sub(self.consumer.cursor());
        }
        stats
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.detach(); // the canceller may outlive the reader, but must not keep its place in the ring
    }
}

/// Connects to the socket at `path`.
pub(crate) fn call(
    path: &Path,
    canceller: &Canceller,
    deadline: Instant,
) -> Result<OwnedFd, ConnectError> {
    loop {
        if canceller.is_cancelled() {
            return Err(ConnectError::Cancelled);
        }
        match socket::connect(path) {
            Ok(socket) => return Ok(socket),
            // The writer's queue of connections is full for the moment.
            Err(Errno::AGAIN) if Instant::now() < deadline => {
                let fds = [canceller.0.event.as_fd()];
                socket::wait_readable(&fds, Duration::from_millis(5));
            }
            Err(Errno::AGAIN) => return Err(ConnectError::NoAnswer(path.to_path_buf())),
            Err(source) => {
                return Err(ConnectError::NoWriter {
                    path: path.to_path_buf(),
                    source: source.into(),
                });
            }
        }
    }
}

/// Waits for the writer's answer and checks it. Says no in the writer's words.
pub(crate) fn answer(
    path: &Path,
    socket: &OwnedFd,
    canceller: Option<&Canceller>,
    deadline: Instant,
) -> Result<(Welcome, Geometry, Vec<OwnedFd>), ConnectError> {
    let mut buffer = [0; 256];
    loop {
        if canceller.is_some_and(Canceller::is_cancelled) {
            return Err(ConnectError::Cancelled);
        }
        match socket::receive(socket.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                return Err(ConnectError::NoWriter {
                    path: path.to_path_buf(),
                    source: std::io::ErrorKind::ConnectionReset.into(),
                });
            }
            Ok((len, fds)) => {
                let (welcome, geometry) = wire::parse_welcome(&buffer[..len.min(buffer.len())])?;
                return match (welcome.status, geometry) {
                    (_, Some(geometry)) => Ok((welcome, geometry, fds)),
                    (wire::REFUSED_FULL, _) => Err(ConnectError::RingFull {
                        slots: welcome.slots,
                        granted: welcome.granted_all,
                        readers: welcome.readers,
                    }),
                    (wire::REFUSED_READERS, _) => {
                        Err(ConnectError::TooManyReaders(welcome.readers))
                    }
                    (status, _) => Err(ConnectError::Refused(status)),
                };
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ConnectError::NoAnswer(path.to_path_buf()));
                }
                match canceller {
                    Some(canceller) => {
                        let fds = [socket.as_fd(), canceller.0.event.as_fd()];
                        socket::wait_readable(&fds, left);
                    }
                    None => socket::wait_readable(&[socket.as_fd()], left),
                }
            }
            Err(error) => return Err(system("receive the writer's answer")(error)),
        }
    }
}

/// Checks that a segment is as long as it must be and cannot be cut under our hands.
pub(crate) fn check_segment(
    fd: &OwnedFd,
    len: u64,
    named: bool,
    socket: &OwnedFd,
) -> Result<(), ConnectError> {
    let stat = rustix::fs::fstat(fd).map_err(system("look at the ring's memory"))?;
    if (stat.st_size as u64) < len {
        return Err(ConnectError::Unsafe(
            "its memory is shorter than its sizes say",
        ));
    }
    if named {
        let peer = rustix::net::sockopt::socket_peercred(socket)
            .map_err(system("ask who the writer is"))?;
        if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
            return Err(ConnectError::Unsafe(
                "a named segment of another user cannot be trusted to keep its size",
            ));
        }
        return Ok(());
    }
    let seals = rustix::fs::fcntl_get_seals(fd).unwrap_or(SealFlags::empty());
    if !seals.contains(SealFlags::SHRINK) {
        return Err(ConnectError::Unsafe(
            "its memory is not sealed against shrinking",
        ));
    }
    Ok(())
}

fn attach(
    welcome: &Welcome,
    geometry: Geometry,
    fds: Vec<OwnedFd>,
    socket: Arc<OwnedFd>,
) -> Result<Attachment, ConnectError> {
    let Ok([ring, control]) = <[OwnedFd; 2]>::try_from(fds) else {
        return Err(ConnectError::Unsafe("a descriptor is missing"));
    };
    if !(1..=LEASES as u32).contains(&welcome.granted) {
        return Err(ConnectError::Unsafe("the number of leases is impossible"));
    }
    check_segment(&ring, geometry.total_bytes(), welcome.named != 0, &socket)?;
    check_segment(&control, CONTROL_BYTES as u64, false, &socket)?;
    let mapped = |source| ConnectError::System {
        what: "map the ring",
        source,
    };
    let map = Map::new(&ring, geometry.total_bytes() as usize, false).map_err(mapped)?;
    let control = Map::new(&control, CONTROL_BYTES, true).map_err(mapped)?;
    let head = map.head();
    if head.magic.load(Ordering::Relaxed) != MAGIC
        || head.protocol.load(Ordering::Relaxed) != PROTOCOL
        || head.slots.load(Ordering::Relaxed) != geometry.slots()
        || head.slot_bytes.load(Ordering::Relaxed) != geometry.slot_bytes()
        || head.generation.load(Ordering::Relaxed) != welcome.generation
    {
        return Err(ConnectError::Unsafe("its head contradicts the handshake"));
    }
    Ok(Attachment {
        map,
        geometry,
        control,
        leases: LeaseTable::new(welcome.granted),
        socket,
    })
}
