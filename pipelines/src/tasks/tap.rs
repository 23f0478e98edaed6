//! Where tasks take a camera's frames from: a tap in the camera's pipeline, to which any number of other pipelines of the
//! process connect and let go while it runs.
//!
//! A tap never holds the camera up: each pipeline that is connected has a short queue of its own, and loses frames (which
//! are counted) where it is too slow. A pipeline that fails ends alone.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gstreamer_utils::streamproducer::{ConsumerSettings, ProducerSettings};
use gstreamer_utils::{ConsumptionLink, StreamProducer};

use super::profile::Stream;
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

/// The taps of a running camera.
#[derive(Debug, Clone)]
pub struct Taps {
    /// Its pictures: the main stream of a libcamera camera, the decoded one of any other.
    pub main: Tap,
    /// The small stream, where there is one beside main.
    pub lores: Option<Tap>,
    /// The sensor's own values, where the camera gives them.
    pub raw: Option<Tap>,
    /// What a camera sends that encodes by itself.
    pub encoded: Option<Tap>,
    /// The configuration the camera runs with, for the record of each file.
    pub description: serde_json::Value,
}

impl Taps {
    /// The tap of a stream. A camera with one stream gives it for main and lores.
    pub fn stream(&self, stream: Stream) -> Option<&Tap> {
        match stream {
            Stream::Main => Some(&self.main),
            Stream::Lores => Some(self.lores.as_ref().unwrap_or(&self.main)),
            Stream::Raw => self.raw.as_ref(),
        }
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
