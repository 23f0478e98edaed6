//! The reader: connects, waits, leases frames, follows the ring when it changes size or its writer restarts.

use crate::attach::{self, Attachment, Canceller, attach, call};
use crate::consumer::{Call, Consumer, Policy, Poll, StreamSeen, is_still_there};
use crate::error::{ConnectError, WaitError};
use crate::frame::{Frame, Hold, Spare};
use crate::header::Header;
use crate::layout::{Geometry, RawHeader, View};
use crate::socket;
use crate::stats::ReaderStats;
use crate::sync::Ordering;
use crate::wire::{self, Hello};
use crate::writer::monotonic_ns;
use rustix::fd::AsFd;
use rustix::io::Errno;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// How often a sleeping reader looks whether its writer still lives: a killed writer wakes nobody.
const SLICE: Duration = Duration::from_millis(100);

/// How long to wait awake for a frame that is about to be published.
const MOST_AWAKE: Duration = Duration::from_micros(60);

/// Rounds of waiting awake while events follow one another without a pause, 1 to 2 us: less than a sleep costs that is
/// over before it begins.
const ROUNDS_IN_A_ROW: u32 = 3;

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
    /// Wake up already when the writer's side finishes a frame, and wait awake until it is published: frames arrive
    /// sooner, for some more processor time. Left alone while it leads to nothing.
    pub early: bool,
    /// Copy frames where the writer has no lease left; otherwise such a reader is refused.
    pub copies: bool,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        Self {
            leases: 0,
            policy: Policy::default(),
            history: None,
            timeout: Duration::from_secs(2),
            early: false,
            copies: true,
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
    /// A frame is about to be published, which the next call waits awake for: time to prepare for it. Only for a reader
    /// that asked for it ([`ReaderOptions::early`]); it may be followed by anything.
    Coming,
    /// The writer has gone, with or without an end of stream before. [`Reader::reconnect`] waits for the next.
    WriterGone,
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
    /// When the socket was looked at last.
    watched: Instant,
    /// Version of a stream information that could not be read.
    stream_tried: u64,
    stats: ReaderStats,
    spare: Spare,
    early: Early,
    /// Events since one had to be waited for.
    in_a_row: u32,
}

/// What experience says about waking up early.
struct Early {
    /// A frame is about to be published.
    told: bool,
    /// Sleeps to go before it is tried again.
    pause: u32,
    /// How long the next pause will be.
    next_pause: u32,
}

impl Early {
    const PAUSES: std::ops::RangeInclusive<u32> = 4..=4096;

    fn new() -> Self {
        Self {
            told: false,
            pause: 0,
            next_pause: *Self::PAUSES.start(),
        }
    }

    fn call(&mut self, wanted: bool) -> Call {
        if !wanted {
            return Call::Event;
        }
        if self.pause > 0 {
            self.pause -= 1;
            return Call::Event;
        }
        Call::Notice
    }

    fn learn(&mut self, came: bool) {
        self.told = false;
        if came {
            self.next_pause = *Self::PAUSES.start();
        } else {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(*Self::PAUSES.end());
        }
    }
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
            watched: Instant::now(),
            stream_tried: 0,
            stats: ReaderStats::default(),
            spare: Arc::default(),
            early: Early::new(),
            in_a_row: 0,
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
        let mut hello = Hello::new(wire::ROLE_READER, self.options.leases, history);
        if self.options.copies {
            hello.flags |= wire::TAKES_COPIES;
        }
        let deadline = Instant::now() + self.options.timeout;
        let socket = call(&self.path, &self.canceller, deadline)?;
        let greeted = socket::send(socket.as_fd(), hello.as_bytes(), &[]);
        // A writer that is full closes right away; its answer can still be read. One that has just gone has none: that is
        // found when it is looked for.
        if !matches!(greeted, Ok(()) | Err(Errno::PIPE | Errno::CONNRESET)) {
            greeted.map_err(crate::attach::system("greet the writer"))?;
        }
        let (welcome, geometry, fds) =
            attach::welcome(&self.path, &socket, Some(&self.canceller), deadline)?;
        let attachment = attach(&welcome, geometry, fds, Arc::new(socket))?;
        self.consumer = Consumer::new(attachment.view(), attachment.control(), self.options.policy);
        self.adopt(attachment);
        self.stream_version = 0;
        self.stream_tried = 0;
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

    /// Looks whether the writer is gone, every so often even if no wait has passed: a ring full of nonsense may give
    /// no reason to wait. Whether it has just been found to be gone.
    fn watch(&mut self, attachment: &Attachment, now: Instant) -> bool {
        if self.hung_up || now.saturating_duration_since(self.watched) < SLICE {
            return false;
        }
        self.watched = now;
        self.hung_up = socket::is_hung_up(attachment.socket.as_fd());
        self.hung_up
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
            let found = self.consumer.poll(ring, control, &attachment.leases);
            if found != Poll::Empty {
                self.in_a_row = self.in_a_row.saturating_add(1);
                if self.early.told {
                    self.early.learn(true);
                }
            }
            match found {
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
                    if self.watch(&attachment, Instant::now()) {
                        return Ok(self.writer_gone()); // whatever else of this kind is there
                    }
                }
                Poll::Unleased { slot, seq, header } => {
                    let copy = self.copy_unleased(&attachment, slot, seq, &header);
                    let event = copy.and_then(|hold| self.frame(&attachment, seq, &header, hold));
                    if let Some(event) = event {
                        return Ok(event);
                    }
                    if self.watch(&attachment, Instant::now()) {
                        return Ok(self.writer_gone());
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
                    let in_a_row = std::mem::take(&mut self.in_a_row) > 1;
                    if self.early.told {
                        let begun = Instant::now();
                        let canceller = &self.canceller;
                        let over = || canceller.is_cancelled() || begun.elapsed() > MOST_AWAKE;
                        let came = self.consumer.linger(ring, over);
                        self.early.learn(came);
                        if came {
                            continue;
                        }
                    } else if in_a_row {
                        let mut rounds = 0..ROUNDS_IN_A_ROW;
                        if self.consumer.linger(ring, || rounds.next().is_none()) {
                            self.in_a_row = 1;
                            continue;
                        }
                    }
                    let now = Instant::now();
                    if self.watch(&attachment, now) {
                        continue; // what was published before the end is still read
                    }
                    let mut slice = SLICE;
                    if let Some(limit) = limit {
                        let deadline = *deadline.get_or_insert(now + limit);
                        slice = slice.min(deadline.saturating_duration_since(now));
                    }
                    if !slice.is_zero() {
                        let canceller = &self.canceller;
                        let woken = || canceller.is_cancelled();
                        let call = self.early.call(self.options.early);
                        let stream = match self.stream_version {
                            0 => StreamSeen::Tried(self.stream_tried),
                            _ => StreamSeen::Known,
                        };
                        let wait = &self.consumer;
                        if wait.wait(ring, control, stream, call, woken, Some(slice)) && !woken() {
                            self.early.told = true;
                            return Ok(Event::Coming);
                        }
                        if !self.consumer.is_up_to_date(ring) {
                            continue;
                        }
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

    /// Copies a frame that no lease keeps; `None` if it was overwritten meanwhile or makes no sense.
    fn copy_unleased(
        &self,
        attachment: &Attachment,
        slot: u32,
        seq: u64,
        raw: &RawHeader,
    ) -> Option<Hold> {
        let geometry = &attachment.geometry;
        let header = Header::decode(raw, geometry).ok()?;
        let reused = {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            spare.pop()
        };
        let (mut payload, mut info) = (reused.unwrap_or_default(), Vec::new());
        let start = geometry.slot_at(slot) + header.range.start;
        attachment
            .map
            .copy_shared(start, header.range.len(), &mut payload);
        attachment
            .map
            .copy_shared(geometry.info_at(slot), header.info_len, &mut info);
        is_still_there(attachment.view(), slot, seq).then(|| Hold::Copy {
            payload,
            info,
            spare: self.spare.clone(),
        })
    }

    /// Makes a frame of what the consumer found; `None` if it makes no sense.
    fn frame(
        &mut self,
        attachment: &Arc<Attachment>,
        seq: u64,
        raw: &RawHeader,
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
        let published_ns = header.published_ns;
        let mut frame = Frame::new(header, seq, skipped, hold);
        let stats = &mut self.stats;
        stats.received += 1;
        stats.skipped += skipped;
        stats.age_ns = monotonic_ns().saturating_sub(published_ns);
        stats.max_age_ns = stats.max_age_ns.max(stats.age_ns);
        if frame.is_copy() {
            stats.copies += 1;
        } else if attachment.leases.held() >= attachment.leases.granted() {
            stats.copies += 1;
            frame = frame.into_copy(&self.spare);
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

    /// Stream information that is there before the first frame.
    fn first_stream(&mut self, ring: View<'_>) -> Option<Event> {
        let version = ring.head.stream_version.load(Ordering::Acquire); // PAIR stream-version
        if version == self.stream_tried {
            return None;
        }
        let Some(bytes) = ring.get_stream(version) else {
            self.stream_tried = version;
            return None;
        };
        self.stream_version = version;
        Some(Event::Stream { version, bytes })
    }

    /// The ring goes on in another one, whose descriptors are in the socket.
    fn follow(&mut self, attachment: &Arc<Attachment>) -> Result<Event, WaitError> {
        let deadline = Instant::now() + self.options.timeout;
        let socket = &attachment.socket;
        let next = attach::welcome(&self.path, socket, Some(&self.canceller), deadline).and_then(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_wake_ups_in_vain_become_rare_and_come_back_with_success() {
        let mut early = Early::new();
        let mut asked = 0;
        for _ in 0..10_000 {
            if early.call(true) == Call::Notice {
                asked += 1;
                early.learn(false);
            }
        }
        assert!((5..20).contains(&asked), "{asked}");
        early.learn(true);
        early.learn(false);
        let pause = (0..100)
            .take_while(|_| early.call(true) == Call::Event)
            .count();
        assert_eq!(pause, *Early::PAUSES.start() as usize);
        assert_eq!(early.call(false), Call::Event, "only who wants to");
    }
}
