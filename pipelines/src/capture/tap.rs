//! Where tasks take a camera's frames from: a tap in the camera's pipeline, to which any number of other pipelines of the
//! process connect and let go while it runs.
//!
//! A tap never holds the camera up: each pipeline that is connected has a short queue of its own, and loses frames (which
//! are counted) where it is too slow. A pipeline that fails ends alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstreamer_utils::streamproducer::{ConsumerSettings, ProducerSettings};
use gstreamer_utils::{ConsumptionLink, StreamProducer};

use crate::camera::Stream;
use crate::strides;

/// A tap. Clones are the same tap.
#[derive(Debug, Clone)]
pub struct Tap {
    producer: StreamProducer,
    /// How many pipelines are connected.
    connected: Arc<AtomicUsize>,
    /// Whether a frame has come.
    seen: Arc<AtomicBool>,
}

/// A connection to a tap; dropping it lets go.
#[derive(Debug)]
pub struct TapLink {
    link: ConsumptionLink,
    connected: Arc<AtomicUsize>,
}

/// Memory for copies, used again and again.
#[derive(Debug, Default)]
struct Pool {
    pool: Option<(gst::BufferPool, usize)>,
}

impl Pool {
    fn copy(&mut self, buffer: &gst::Buffer) -> Option<gst::Buffer> {
        let size = buffer.size();
        if self.pool.as_ref().is_none_or(|(_, of)| *of != size) {
            self.clear();
            let pool = gst::BufferPool::new();
            let mut config = pool.config();
            config.set_params(None, u32::try_from(size).ok()?, 0, 0);
            pool.set_config(config).ok()?;
            pool.set_active(true).ok()?;
            self.pool = Some((pool, size));
        }
        let (pool, _) = self.pool.as_ref()?;
        let mut copy = pool.acquire_buffer(None).ok()?;
        {
            let copy = copy.get_mut()?;
            let from = buffer.map_readable().ok()?;
            copy.map_writable().ok()?.copy_from_slice(&from);
            let all = gst::BufferCopyFlags::FLAGS
                | gst::BufferCopyFlags::TIMESTAMPS
                | gst::BufferCopyFlags::META;
            buffer.copy_into(copy, all, ..).ok()?;
        }
        Some(copy)
    }

    fn clear(&mut self) {
        if let Some((pool, _)) = self.pool.take() {
            let _ = pool.set_active(false);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Tap {
    /// A tap, and the sink element to put into the camera's pipeline for it. The frames of a camera with few buffers
    /// (`scarce`) are copied while somebody is connected: a camera whose buffers are all in use stands still, and tasks keep
    /// frames for as long as they need.
    pub fn new(name: &str, scarce: bool) -> (Self, gst::Element) {
        // Frames come at their time already, and nobody waits for the first one: with neither clock nor preroll here the
        // sink costs a frame nothing while nobody is connected.
        let sink = gst_app::AppSink::builder()
            .name(name)
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .max_buffers(1)
            .build();
        strides::are_taken_by(&sink);
        let pad = sink.static_pad("sink").expect("an appsink has a pad");
        let connected = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(AtomicBool::new(false));
        let (users, flag, pool) = (connected.clone(), seen.clone(), Mutex::new(Pool::default()));
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let is_first = !flag.swap(true, Ordering::Relaxed);
            // The sink keeps the very first frame.
            let kept = is_first || users.load(Ordering::Relaxed) > 0;
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
                && scarce
                && kept
                && let Some(copy) = pool.lock().ok().and_then(|mut pool| pool.copy(buffer))
            {
                *buffer = copy;
            }
            gst::PadProbeReturn::Ok
        });
        let producer = StreamProducer::with(&sink, ProducerSettings { sync: false });
        let tap = Self {
            producer,
            connected,
            seen,
        };
        (tap, sink.upcast())
    }

    /// Connects `source`, an element of `pipeline`, which gets the camera's clock and base time, so that running times
    /// are the same in both. `frames` is how many it may fall behind before it loses some.
    pub fn connect(
        &self,
        pipeline: &gst::Pipeline,
        source: &gst_app::AppSrc,
        frames: u64,
    ) -> Result<TapLink, String> {
        let camera = self.producer.appsink();
        if let Some(clock) = camera.clock() {
            pipeline.use_clock(Some(&clock));
        }
        pipeline.set_start_time(gst::ClockTime::NONE);
        if let Some(base_time) = camera.base_time() {
            pipeline.set_base_time(base_time);
        }
        let settings = ConsumerSettings {
            max_buffer: frames,
            max_bytes: gst::format::Bytes::ZERO,
            max_time: gst::ClockTime::ZERO,
            event_types: Vec::new(),
        };
        let link = self
            .producer
            .add_consumer_with(source, settings)
            .map_err(|error| error.to_string())?;
        self.connected.fetch_add(1, Ordering::Relaxed);
        Ok(TapLink {
            link,
            connected: self.connected.clone(),
        })
    }

    /// Whether a frame has come.
    pub fn has_frames(&self) -> bool {
        self.seen.load(Ordering::Relaxed)
    }

    /// What its frames are; none before the first.
    pub fn caps(&self) -> Option<gst::Caps> {
        self.producer.appsink().static_pad("sink")?.current_caps()
    }

    /// Running time of the camera's pipeline now: what a frame taken now will have.
    pub fn running_time(&self) -> Option<gst::ClockTime> {
        self.producer.appsink().current_running_time()
    }
}

/// The streams of a camera's pipeline, each with a tap of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// Pictures: the main stream of a libcamera camera, the decoded one of any other.
    Main,
    /// The small stream of a libcamera camera.
    Lores,
    /// The sensor's own values.
    Raw,
    /// The video as the camera encoded it.
    Encoded,
    /// The sound as the camera encoded it.
    Audio,
}

impl From<Stream> for StreamId {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Main => Self::Main,
            Stream::Lores => Self::Lores,
            Stream::Raw => Self::Raw,
        }
    }
}

/// The taps of a running camera.
#[derive(Debug, Clone, Default)]
pub struct Taps {
    taps: BTreeMap<StreamId, Tap>,
    /// The configuration the camera runs with, for the record of each file.
    pub description: serde_json::Value,
}

impl Taps {
    /// No tap yet.
    pub fn new(description: serde_json::Value) -> Self {
        Self {
            taps: BTreeMap::new(),
            description,
        }
    }

    /// Adds the tap of a stream, in place of an earlier one.
    pub fn insert(&mut self, id: StreamId, tap: Tap) {
        self.taps.insert(id, tap);
    }

    /// The tap of exactly this stream.
    pub fn get(&self, id: StreamId) -> Option<&Tap> {
        self.taps.get(&id)
    }

    /// The tap for a profile's stream. A camera with one stream of pictures gives it for main and lores.
    pub fn stream(&self, stream: Stream) -> Option<&Tap> {
        match stream {
            Stream::Lores => self.get(StreamId::Lores).or(self.get(StreamId::Main)),
            other => self.get(other.into()),
        }
    }

    /// Whether a frame of this stream has come.
    pub fn has_frames(&self, id: StreamId) -> bool {
        self.get(id).is_some_and(Tap::has_frames)
    }
}

impl TapLink {
    /// Frames that were lost since its pipeline was too slow.
    pub fn dropped(&self) -> u64 {
        self.link.dropped()
    }
}

impl Drop for TapLink {
    fn drop(&mut self) {
        self.connected.fetch_sub(1, Ordering::Relaxed);
    }
}
