//! One encoded stream of a camera: the pipeline from a tap to packets, and its consumers.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use gst::prelude::*;

use super::chain::{EncoderSetup, encode_chain, parse_chain, parser_of};
use super::consumer::{Consumer, Queue, Start};
use super::history::History;
use super::packet::{Format, Packet};
use super::timestamps::{Repairs, Timestamps};
use crate::camera::Stream;
use crate::capture::{StreamId, Tap, TapLink, Taps};
use crate::tasks::event::Events;
use crate::tasks::pipe::{line, lock, reason_of};

/// Access units that wait between the camera and the stream; they are small.
const ENCODED_FRAMES: u64 = 120;
/// Raw frames that wait before the encoder's own queue. Those behind it are copies, so that the camera's buffers return.
const RAW_FRAMES: u64 = 2;
/// The time over which the bit rate is measured.
const RATE_SPAN: gst::ClockTime = gst::ClockTime::from_seconds(2);

/// State of a stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamStatus {
    /// Media type of the packets, such as `video/x-h264`; none before the first.
    pub codec: Option<String>,
    /// Width and height of the picture.
    pub size: Option<(u32, u32)>,
    /// The encoder at work; none where the camera encodes.
    pub encoder: Option<String>,
    /// Kilobits per second over the last seconds.
    pub bitrate: Option<u32>,
    /// Rises with each change of codec or size and each step of the source's clock.
    pub version: u32,
    /// Timestamps that were changed.
    pub repairs: Repairs,
    /// Consumers now.
    pub consumers: usize,
    /// Raw frames that were not encoded because the encoder was too slow.
    pub lost: u64,
}

/// An encoded stream. Clones are the same stream; it ends with the last of them.
#[derive(Clone)]
pub struct EncodedStream {
    inner: Arc<Inner>,
}

impl fmt::Debug for EncodedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncodedStream").finish_non_exhaustive()
    }
}

struct Inner {
    pipeline: gst::Pipeline,
    sink: gst_app::AppSink,
    tap: Tap,
    link: TapLink,
    shared: Arc<Shared>,
    encoder: Option<String>,
    /// Raw frames for which the encoder had no room; none where the camera encodes.
    lost: Option<Arc<AtomicU64>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        self.shared.end(None);
    }
}

/// What the pipeline's threads and the consumers share.
struct Shared {
    stream: StreamId,
    state: Mutex<State>,
}

struct State {
    history: History,
    consumers: Vec<Weak<Queue>>,
    timestamps: Timestamps,
    version: u32,
    format: Option<Format>,
    rate: Rate,
    /// The stream is over; the reason where it failed.
    end: Option<Option<String>>,
}

/// Bit rate over whole spans.
#[derive(Default)]
struct Rate {
    since: Option<gst::ClockTime>,
    bytes: u64,
    kilobits: Option<u32>,
}

impl Rate {
    fn add(&mut self, time: gst::ClockTime, bytes: usize) {
        let since = *self.since.get_or_insert(time);
        let span = time.saturating_sub(since);
        if span >= RATE_SPAN {
            let kilobits = self.bytes * 8_000_000 / span.nseconds().max(1);
            self.kilobits = u32::try_from(kilobits).ok();
            (self.since, self.bytes) = (Some(time), 0);
        }
        self.bytes += bytes as u64;
    }
}

impl Shared {
    fn push(&self, sample: &gst::Sample, arrival: gst::ClockTime, base: gst::ClockTime) {
        let Some((buffer, caps)) = sample.buffer_owned().zip(sample.caps_owned()) else {
            return;
        };
        let segment = sample
            .segment()
            .and_then(|segment| segment.downcast_ref::<gst::ClockTime>());
        let running = |time: Option<gst::ClockTime>| {
            match segment?.to_running_time_full(time)? {
                gst::Signed::Positive(time) => Some(time.nseconds()),
                // Decoding times of reordered pictures may lie before the beginning.
                gst::Signed::Negative(_) => Some(0),
            }
        };
        let (pts, dts) = (running(buffer.pts()), running(buffer.dts()));
        let format = Format::of(&caps);
        let mut state = lock(&self.state);
        let times = state.timestamps.next(arrival.nseconds(), pts, dts);
        if times.step || format != state.format {
            state.version += 1;
            state.format = format;
        }
        let packet = Packet {
            stream: self.stream,
            version: state.version,
            is_key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
            caps,
            pts: gst::ClockTime::from_nseconds(times.pts),
            dts: gst::ClockTime::from_nseconds(times.dts),
            captured: base.nseconds().saturating_add(times.pts),
            buffer,
        };
        state.rate.add(packet.dts, packet.buffer.size());
        state.consumers.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.push(&packet);
                true
            }
            None => false,
        });
        state.history.push(packet);
    }

    /// Nothing comes any more.
    fn end(&self, reason: Option<String>) {
        let mut state = lock(&self.state);
        for queue in state
            .consumers
            .drain(..)
            .filter_map(|queue| queue.upgrade())
        {
            queue.end(reason.clone());
        }
        state.end.get_or_insert(reason);
    }
}

impl EncodedStream {
    /// Starts the stream that `setup` describes: what the camera encoded, where it does and MP4 takes that, else its
    /// pictures, encoded. It keeps `pre_record` seconds, and at least the newest group of pictures. Fails where no frame
    /// has come from the camera yet. Events: the encoder, and a warning with the cost where the processor encodes.
    pub fn start(taps: &Taps, setup: &EncoderSetup, events: &Events) -> Result<Self, String> {
        let encoded = taps.get(StreamId::Encoded).and_then(|tap| {
            let caps = tap.caps()?;
            Some((tap, parser_of(caps.structure(0)?.name())?))
        });
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().build();
        let (id, tap, frames, chain, encoder, lost) = match encoded {
            Some((tap, parsers)) => {
                let chain = parse_chain(parsers)?;
                (StreamId::Encoded, tap, ENCODED_FRAMES, chain, None, None)
            }
            None => {
                let stream = setup.stream.unwrap_or(Stream::Main);
                let tap = taps
                    .stream(stream)
                    .ok_or_else(|| format!("the camera has no stream {stream}"))?;
                let caps = tap
                    .caps()
                    .ok_or("no frame has come from the camera yet, so nothing can be encoded")?;
                let lost = Arc::default();
                let (chain, name) = encode_chain(&caps, setup, events, &lost)?;
                let id = StreamId::from(stream);
                (
                    id,
                    tap,
                    RAW_FRAMES,
                    chain,
                    Some(name.to_owned()),
                    Some(lost),
                )
            }
        };
        let shared = Arc::new(Shared {
            stream: id,
            state: Mutex::new(State {
                history: History::new(setup.config.pre_record),
                consumers: Vec::new(),
                timestamps: Timestamps::default(),
                version: 0,
                format: None,
                rate: Rate::default(),
                end: None,
            }),
        });
        let sink = sink(&shared);
        let mut path = vec![source.clone().upcast()];
        path.extend(chain);
        path.push(sink.clone().upcast());
        line(&pipeline, &path)?;
        watch_bus(&pipeline, &shared);
        let link = tap.connect(&pipeline, &source, frames)?;
        let inner = Inner {
            tap: tap.clone(),
            link,
            shared,
            encoder,
            lost,
            sink,
            pipeline,
        };
        inner.pipeline.set_state(gst::State::Playing).map_err(|_| {
            let reason = lock(&inner.shared.state).end.clone().flatten();
            reason.unwrap_or_else(|| "the encoder does not start".into())
        })?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Adds a consumer.
    pub fn subscribe(&self, start: Start) -> Result<Consumer, String> {
        let mut state = lock(&self.inner.shared.state);
        if let Some(end) = &state.end {
            let ended = || "the camera's stream has ended".into();
            return Err(end.clone().unwrap_or_else(ended));
        }
        let queue = match start {
            Start::OldestKey => Queue::with(state.history.all().cloned()),
            Start::Captured(time) => Queue::with(state.history.from(time).cloned()),
            Start::NewestKey => Queue::with(state.history.newest_group().cloned()),
            Start::Next => Queue::with(std::iter::empty()),
        };
        let queue = Arc::new(queue);
        state.consumers.push(Arc::downgrade(&queue));
        drop(state);
        if start == Start::Next && self.inner.lost.is_some() {
            let event = gst_video::UpstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            if let Some(pad) = self.inner.sink.static_pad("sink") {
                // An encoder that cannot do it has a key frame each second anyway.
                pad.push_event(event);
            }
        }
        Ok(Consumer { queue })
    }

    /// Whether nothing comes out of it any more.
    pub fn is_over(&self) -> bool {
        lock(&self.inner.shared.state).end.is_some()
    }

    /// Why it failed; none while it works, and where it ended with the camera's stream.
    pub fn failure(&self) -> Option<String> {
        lock(&self.inner.shared.state).end.clone().flatten()
    }

    /// Keeps at least so many seconds from now on.
    pub fn keep(&self, seconds: f64) {
        lock(&self.inner.shared.state).history.keep(seconds);
    }

    /// Seconds it holds now.
    pub fn covers(&self) -> Duration {
        lock(&self.inner.shared.state).history.covers()
    }

    /// Whether anything consumes it.
    pub fn is_used(&self) -> bool {
        let state = lock(&self.inner.shared.state);
        state.consumers.iter().any(|queue| queue.strong_count() > 0)
    }

    /// Running time of the camera's pipeline: the `pts` of a picture that is taken now.
    pub fn running_time(&self) -> Option<gst::ClockTime> {
        self.inner.tap.running_time()
    }

    /// Frames that were not encoded because the encoder was too slow; none where the camera encodes.
    pub fn lost(&self) -> u64 {
        let encoder = self.inner.lost.as_ref();
        encoder.map_or(0, |lost| {
            lost.load(Ordering::Relaxed) + self.inner.link.dropped()
        })
    }

    /// How it is.
    pub fn status(&self) -> StreamStatus {
        let lost = self.lost();
        let state = lock(&self.inner.shared.state);
        let format = state.format.as_ref();
        StreamStatus {
            codec: format.map(|format| format.media_type.clone()),
            size: format.and_then(Format::size),
            encoder: self.inner.encoder.clone(),
            bitrate: state.rate.kilobits,
            version: state.version,
            repairs: state.timestamps.repairs(),
            consumers: state
                .consumers
                .iter()
                .filter(|queue| queue.strong_count() > 0)
                .count(),
            lost,
        }
    }
}

fn sink(shared: &Arc<Shared>) -> gst_app::AppSink {
    // These two have the parameter sets in band: another set of the same size needs no other file.
    let caps: gst::Caps =
        "video/x-h264,stream-format=avc3,alignment=au;video/x-h265,stream-format=hev1,alignment=au"
            .parse()
            .expect("valid caps");
    let (on_sample, on_end) = (shared.clone(), shared.clone());
    gst_app::AppSink::builder()
        .caps(&caps)
        .sync(false)
        .async_(false)
        .enable_last_sample(false)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let arrival = sink.current_running_time().unwrap_or_default();
                    let base = sink.base_time().unwrap_or_default();
                    on_sample.push(&sample, arrival, base);
                    Ok(gst::FlowSuccess::Ok)
                })
                .eos(move |_| on_end.end(None))
                .build(),
        )
        .build()
}

fn watch_bus(pipeline: &gst::Pipeline, shared: &Arc<Shared>) {
    let shared = Arc::downgrade(shared);
    let bus = pipeline.bus().expect("a pipeline has a bus");
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && let Some(shared) = shared.upgrade()
        {
            shared.end(Some(reason_of(error)));
        }
        gst::BusSyncReply::Drop
    });
}
