//! Continuous and event recording: a consumer of an [`EncodedStream`] that writes what is wanted into fragmented MP4
//! segments.
//!
//! What is wanted comes from outside ([`Order`]) and may change at any time. A span that begins in the past is served
//! from the packets that the stream keeps. Segments begin and end at key frames, so that consecutive ones join without a
//! hole and without a repetition. What is missing although it was wanted is reported as a gap with its reason; the camera
//! never waits for the disk.

mod place;
mod read;
mod segment;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::encode::{Consumer, EncodedStream, Packet, Received, Start};
use crate::tasks::pipe::lock;

pub use place::{FOLDER, MARKER, segment_start};
pub use read::{Recorded, open, recover, segments};
use segment::{Ended, Segment};

/// Longest wait for a packet, after which the order is read again.
const WAIT: Duration = Duration::from_millis(100);
/// From a failed write to the next attempt.
const RETRY: Duration = Duration::from_secs(5);
/// How long the next key frame is waited for after the end of what is wanted.
const LAST_GROUP: Duration = Duration::from_secs(10);
/// Time between the pictures of a stream above which something is missing.
const HOLE: i64 = 1_000;
/// Step of the wall clock that begins another segment.
const CLOCK_STEP: u64 = 1_000_000_000;

/// What is to be recorded. Times are Unix times in milliseconds of the capture clock.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// Seconds of the stream that are kept in memory; 0: nothing is recorded at any time.
    pub pre_roll: f64,
    /// The span that is wanted now.
    pub wanted: Option<Wanted>,
    /// There is motion now.
    pub motion: bool,
    /// Active objects now.
    pub objects: u8,
}

/// A span that is wanted, up to when the order changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Wanted {
    /// Its beginning; the recording begins at the key frame before.
    pub from: i64,
    /// The reasons, separated by commas.
    pub reasons: String,
    /// The folder that `recordings/CAMERA` is below.
    pub path: PathBuf,
    /// The folder was in use before, so that its marker file must be there.
    pub known: bool,
}

/// Activity in one group of pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its start, milliseconds after the start of the segment.
    pub at: u32,
    /// There was motion.
    pub motion: bool,
    /// Active objects.
    pub objects: u8,
}

/// A segment as it is now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentReport {
    /// The folder that its name is below.
    pub path: PathBuf,
    /// `recordings/CAMERA/YYYY-MM-DD/HH/MM-SS.mmm.mp4`.
    pub name: String,
    /// Time of its first picture.
    pub start: i64,
    /// End of its last complete fragment.
    pub end: i64,
    /// Bytes so far.
    pub bytes: u64,
    /// Version of the stream.
    pub version: u64,
    /// Activity so far.
    pub groups: Vec<Group>,
    /// The reasons for which it was written.
    pub reasons: String,
    /// Where its summary box begins; none while it is being written.
    pub summary: Option<u64>,
}

/// What a recorder reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordEvent {
    /// A segment has grown or is complete.
    Segment(SegmentReport),
    /// What is not there although it was wanted.
    Gap {
        /// Its first moment.
        start: i64,
        /// Its end.
        end: i64,
        /// Why.
        reason: String,
    },
    /// Why nothing can be written now; `None`: it can again.
    Trouble(Option<String>),
}

/// Receives the events.
pub type RecordEvents = Arc<dyn Fn(RecordEvent) + Send + Sync>;

/// A recorder at work. Dropping it lets it complete its segment in the background.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    stream: EncodedStream,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    order: Mutex<(Order, bool)>,
}

impl Recorder {
    /// Records `stream` of this camera by `order`.
    pub fn start(
        stream: EncodedStream,
        camera: &str,
        order: &Order,
        events: RecordEvents,
    ) -> Result<Self, String> {
        stream.keep(order.pre_roll);
        let shared = Arc::new(Shared {
            order: Mutex::new((order.clone(), false)),
        });
        let work = Work {
            shared: shared.clone(),
            stream: stream.clone(),
            camera: camera.to_owned(),
            events,
            to_unix: unix_less_monotonic(),
            version: 0,
            consumer: None,
            segment: None,
            end: None,
            missing: None,
            dropped: 0,
            closing: None,
            try_at: Instant::now(),
            trouble: None,
        };
        let thread = std::thread::Builder::new()
            .name("record".into())
            .spawn(move || work.run())
            .map_err(|error| format!("no thread for the recording: {error}"))?;
        Ok(Self {
            shared,
            stream,
            thread: Some(thread),
        })
    }

    /// Takes another order.
    pub fn order(&self, order: &Order) {
        self.stream.keep(order.pre_roll);
        lock(&self.shared.order).0.clone_from(order);
    }

    /// Lets it complete its segment and end.
    pub fn stop(&self) {
        lock(&self.shared.order).1 = true;
    }

    /// True when it has ended: after [`Recorder::stop`], or with its stream.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    shared: Arc<Shared>,
    stream: EncodedStream,
    camera: String,
    events: RecordEvents,
    /// Nanoseconds from CLOCK_MONOTONIC to Unix time.
    to_unix: i64,
    version: u64,
    consumer: Option<Consumer>,
    segment: Option<Segment>,
    /// End of what was written last.
    end: Option<i64>,
    /// Something that was wanted is not there: why.
    missing: Option<String>,
    dropped: u64,
    /// Nothing is wanted any more since then; the group of pictures under way is completed.
    closing: Option<Instant>,
    try_at: Instant,
    trouble: Option<String>,
}

impl Work {
    fn run(mut self) {
        loop {
            let (order, stop) = lock(&self.shared.order).clone();
            match &order.wanted {
                Some(wanted) if !stop => {
                    self.closing = None;
                    if self.consumer.is_none() && !self.subscribe(wanted) {
                        break;
                    }
                }
                _ => {
                    let since = *self.closing.get_or_insert_with(Instant::now);
                    if stop || self.segment.is_none() || since.elapsed() > LAST_GROUP {
                        self.pause();
                    }
                }
            }
            if stop {
                break;
            }
            let Some(consumer) = &self.consumer else {
                std::thread::sleep(WAIT);
                if self.stream.is_over() {
                    break;
                }
                continue;
            };
            match consumer.receive(WAIT) {
                Received::Packet(packet) => {
                    let dropped = consumer.dropped();
                    if dropped > self.dropped {
                        self.dropped = dropped;
                        self.missing = Some("the disk does not keep up".into());
                    }
                    self.packet(&packet, &order);
                }
                Received::Nothing => {}
                Received::Ended | Received::Failed(_) => break,
            }
        }
        self.pause();
    }

    /// Begins with what the stream keeps of the wanted span, but not with what was written already.
    fn subscribe(&mut self, wanted: &Wanted) -> bool {
        let from = self.end.map_or(wanted.from, |end| end.max(wanted.from));
        let captured = from.saturating_mul(1_000_000).saturating_sub(self.to_unix);
        let start = Start::Captured(u64::try_from(captured).unwrap_or(0));
        self.dropped = 0;
        self.consumer = self.stream.subscribe(start).ok();
        self.consumer.is_some()
    }

    /// Completes the segment; the next one may begin much later.
    fn pause(&mut self) {
        self.finish(None);
        self.consumer = None;
        self.missing = None;
    }

    fn packet(&mut self, packet: &Packet, order: &Order) {
        if packet.is_key {
            if self.closing.is_some() {
                self.finish(Some(packet));
                self.consumer = None;
                return;
            }
            self.follow_the_clock();
        }
        let time = self.unix(packet.captured);
        // A new version, or a hole in what came, is another segment.
        let full = self.segment.as_ref().is_some_and(|segment| {
            !segment.takes(packet) || packet.is_key && segment.is_long_enough(packet)
        });
        let hole = self.missing.is_some() && packet.is_key;
        if full || hole {
            self.finish(if hole { None } else { Some(packet) });
        }
        if self.segment.is_none() {
            // What was written already is not written twice.
            let known = self.end.is_some_and(|end| time + 5 < end);
            if !packet.is_key || known || Instant::now() < self.try_at {
                return;
            }
            self.begin(packet, time, order);
        }
        let Some(segment) = &mut self.segment else {
            return;
        };
        match segment.push(packet, order.motion, order.objects) {
            Ok(false) => {}
            Ok(true) => {
                let report = segment.report(None);
                self.end = Some(report.end);
                (self.events)(RecordEvent::Segment(report));
                self.set_trouble(None);
            }
            Err(reason) => {
                // What is complete in it stays readable; the index finds it by a scan.
                self.segment = None;
                self.failed(reason);
            }
        }
    }

    fn begin(&mut self, packet: &Packet, time: i64, order: &Order) {
        let Some(wanted) = &order.wanted else { return };
        match Segment::begin(&self.camera, wanted, packet, time, self.version) {
            Ok(segment) => {
                if let Some(end) = self.end
                    && time - end > HOLE
                    && end > wanted.from
                {
                    let reason = self.missing.take();
                    let reason =
                        reason.unwrap_or_else(|| "no pictures came from the camera".into());
                    let (start, end) = (end, time);
                    (self.events)(RecordEvent::Gap { start, end, reason });
                }
                self.missing = None;
                self.segment = Some(segment);
            }
            Err(reason) => self.failed(reason),
        }
    }

    /// Writes what waits and completes the segment. `next` is the packet behind its last one.
    fn finish(&mut self, next: Option<&Packet>) {
        let Some(segment) = self.segment.take() else {
            return;
        };
        match segment.finish(next) {
            Ended::Complete(report) => {
                self.end = Some(report.end);
                (self.events)(RecordEvent::Segment(report));
            }
            Ended::Empty => {}
            Ended::Failed(reason) => self.failed(reason),
        }
    }

    fn failed(&mut self, reason: String) {
        self.try_at = Instant::now() + RETRY;
        self.missing.get_or_insert_with(|| reason.clone());
        self.set_trouble(Some(reason));
    }

    fn set_trouble(&mut self, trouble: Option<String>) {
        if self.trouble != trouble {
            self.trouble.clone_from(&trouble);
            (self.events)(RecordEvent::Trouble(trouble));
        }
    }

    /// A step of the wall clock begins another segment, with the new time.
    fn follow_the_clock(&mut self) {
        let now = unix_less_monotonic();
        if now.abs_diff(self.to_unix) > CLOCK_STEP {
            self.finish(None);
            self.to_unix = now;
            self.version += 1;
            self.end = None;
        }
    }

    fn unix(&self, captured: u64) -> i64 {
        let nanoseconds = i128::from(captured) + i128::from(self.to_unix);
        i64::try_from(nanoseconds / 1_000_000).unwrap_or(0)
    }
}

/// Nanoseconds from CLOCK_MONOTONIC to Unix time now.
fn unix_less_monotonic() -> i64 {
    let monotonic = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let monotonic = i128::from(monotonic.tv_sec) * 1_000_000_000 + i128::from(monotonic.tv_nsec);
    let unix = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(unix.as_nanos() as i128 - monotonic).unwrap_or(0)
}
