//! The element: its states, events and queries. What becomes of a buffer is in [`super::publish`].

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, RwLock};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::{VideoInfo, VideoMeta};
use shmring_core::Writer;

use super::pool::{SlotAllocator, SlotPool, Slots};
use super::ring::slot_bytes_for;
use super::settings::{PROPERTIES, Settings};
use super::stats::Counters;
use crate::flag::Flag;
use crate::report::Reported;
use crate::time::Mapping;
use crate::{raw, raw::FlowResult};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "shmringsink",
        gst::DebugColorFlags::empty(),
        Some("Shared-memory ring, writing side"),
    )
});

#[derive(Default)]
pub(super) struct State {
    /// Made when the size of frames is known.
    pub ring: Option<Arc<RwLock<Writer>>>,
    /// Payload and metadata bytes of its slots.
    pub room: (u64, usize),
    /// What upstream is handed slots by.
    pub slots: Slots,
    pub caps: Option<gst::Caps>,
    pub video: Option<VideoInfo>,
    pub segment: gst::Segment,
    /// Timestamp of the last frame.
    pub position: Option<gst::ClockTime>,
    /// Made anew after each way to PLAYING.
    pub mapping: Option<Mapping>,
    pub min_latency: gst::ClockTime,
    pub counters: Counters,
    pub metas: Vec<u8>,
    /// The stream was interrupted: flush, or frames lost for lack of a slot.
    pub discont: bool,
    pub warned_ns: u64,
    /// To be posted when the lock is released.
    pub warning: Option<String>,
    pub reported: Reported,
}

impl State {
    /// Whether the base class would pass on this frame, and not drop it because it lies outside of the segment.
    fn takes(&self, buffer: &gst::BufferRef) -> bool {
        let Some(segment) = self.segment.downcast_ref::<gst::ClockTime>() else {
            return false;
        };
        let Some(start) = buffer.pts().or(buffer.dts()) else {
            return true;
        };
        let end = buffer.duration().and_then(|d| start.checked_add(d));
        segment.clip(start, end).is_some()
    }
}

#[derive(Default)]
pub struct ShmRingSink {
    pub(super) settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    /// Set from other threads: clock, base time or latency are to be looked at again.
    pub(super) stale: Flag,
    /// The base class has passed on a frame since it last had something else to do, and has nothing to do for the next.
    flowing: AtomicBool,
    pub(super) stats_interval: AtomicU32,
}

impl ShmRingSink {
    /// Each buffer comes here before it comes to the base class, whose way to [`BaseSinkImpl::render`] is longer than
    /// all the rest of this element: preroll, clock and throttling, for a live stream that needs none of them. So it
    /// gets the first buffer after whatever could change that, and the next ones go into the ring from here.
    fn chain(&self, buffer: gst::Buffer) -> ControlFlow<FlowResult, gst::Buffer> {
        if !self.flowing.load(Ordering::Acquire) {
            return ControlFlow::Continue(buffer);
        }
        let state = self.state.lock().unwrap();
        if !state.as_ref().is_some_and(|state| state.takes(&buffer)) {
            drop(state);
            return ControlFlow::Continue(buffer);
        }
        ControlFlow::Break(self.take(state, &buffer))
    }

    /// Whether the base class has something to do for each buffer, as its properties are now.
    fn base_is_needed(&self) -> bool {
        let obj = self.obj();
        obj.is_sync() || obj.enables_last_sample() || obj.max_bitrate() > 0
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ShmRingSink {
    const NAME: &'static str = "GstShmRingSink";
    type Type = super::ShmRingSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for ShmRingSink {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // A live stream is passed on as it comes; a buffer kept as last sample would be shared and so have to be copied.
        obj.set_sync(false);
        obj.set_async(false);
        obj.set_enable_last_sample(false);
        obj.set_qos(false);
        raw::intercept(obj.sink_pad(), |parent, buffer| {
            Self::catch_panic_pad_function(
                parent,
                || ControlFlow::Break(Err(gst::FlowError::Error)),
                |imp| imp.chain(buffer),
            )
        });
    }

    fn notify(&self, property: &glib::ParamSpec) {
        self.flowing.store(false, Ordering::Release);
        self.parent_notify(property);
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            "stats-interval" => {
                let interval = value.get().expect("type checked");
                self.stats_interval.store(interval, Ordering::Relaxed);
            }
            name => self.settings.lock().unwrap().set(name, value),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => Self::stats(self.state.lock().unwrap().as_ref()).to_value(),
            "stats-interval" => self.stats_interval.load(Ordering::Relaxed).to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }
}

impl GstObjectImpl for ShmRingSink {}

impl ElementImpl for ShmRingSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Shared-memory ring sink",
                "Sink/Video",
                "Publishes a stream to other processes through a ring in shared memory, which no reader can hold up",
                "The Watchpost project",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst::Caps::new_any();
            vec![
                gst::PadTemplate::new(
                    "sink",
                    gst::PadDirection::Sink,
                    gst::PadPresence::Always,
                    &caps,
                )
                .expect("a valid template"),
            ]
        });
        TEMPLATES.as_ref()
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::PausedToPlaying {
            self.stale.set();
        }
        let result = self.parent_change_state(transition);
        // Afterwards: a frame that the base class was passing on meanwhile has said otherwise.
        self.flowing.store(false, Ordering::Release);
        result
    }

    /// The base class knows only of the frames that went its way.
    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Position(q) = query.view_mut()
            && q.format() == gst::Format::Time
            && !self.obj().is_sync()
            && let Some(state) = self.state.lock().unwrap().as_ref()
            && let Some(segment) = state.segment.downcast_ref::<gst::ClockTime>()
            && let Some(position) = segment.to_stream_time(state.position)
        {
            q.set(position);
            return true;
        }
        ElementImplExt::parent_query(self, query)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        // The pipeline tells everybody its latency when somebody's has changed.
        if event.type_() == gst::EventType::Latency {
            self.stale.set();
        }
        self.flowing.store(false, Ordering::Release);
        self.parent_send_event(event)
    }
}

/// Why a stream of these caps cannot be shared.
fn refusal(caps: &gst::Caps) -> Option<String> {
    let foreign = |f: &gst::CapsFeaturesRef| {
        f.iter().any(|f| f.starts_with("memory:"))
            && !f.is_equal(gst::CAPS_FEATURES_MEMORY_SYSTEM_MEMORY.as_ref())
    };
    // Its planes are found by a GstAudioMeta, which does not travel.
    let planar = |s: &gst::StructureRef| {
        s.name() == "audio/x-raw" && s.get::<&str>("layout") == Ok("non-interleaved")
    };
    if caps.features(0).is_some_and(foreign) {
        Some(format!(
            "only system memory can be shared, not {caps}; put an element such as gldownload or vapostproc before this one"
        ))
    } else if caps.structure(0).is_some_and(planar) {
        Some(format!(
            "planar audio cannot be shared, {caps}; put audioconvert ! audio/x-raw,layout=interleaved before this element"
        ))
    } else {
        None
    }
}

impl BaseSinkImpl for ShmRingSink {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let path = self.settings.lock().unwrap().socket_path.clone();
        let path = path.filter(|p| !p.is_empty()).ok_or_else(|| {
            gst::error_msg!(
                gst::ResourceError::Settings,
                ("no socket-path is set; readers need one to find this stream")
            )
        })?;
        let directory = match std::path::Path::new(&path).parent() {
            Some(d) if !d.as_os_str().is_empty() => d,
            _ => std::path::Path::new("."),
        };
        if !directory.is_dir() {
            return Err(gst::error_msg!(
                gst::ResourceError::OpenWrite,
                ("directory of socket-path '{path}' does not exist; make it first")
            ));
        }
        self.stale.set();
        *self.state.lock().unwrap() = Some(State::default());
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        let state = self.state.lock().unwrap().take();
        drop(state); // readers see the end; outside the lock
        gst::info!(CAT, imp = self, "stopped");
        Ok(())
    }

    fn set_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        gst::debug!(CAT, imp = self, "caps {caps}");
        if let Some(reason) = refusal(caps) {
            gst::element_imp_error!(self, gst::StreamError::WrongType, ("{reason}"));
            return Err(gst::loggable_error!(CAT, "{reason}"));
        }
        let mut guard = self.state.lock().unwrap();
        let state = guard
            .as_mut()
            .ok_or_else(|| gst::loggable_error!(CAT, "not started"))?;
        state.video = (caps.structure(0).is_some_and(|s| s.name() == "video/x-raw"))
            .then(|| VideoInfo::from_caps(caps).ok())
            .flatten();
        state.caps = Some(caps.clone());
        // What is sent of the old caps stays readable: frames name the stream information they belong to.
        let made = match &state.video {
            Some(info) => self.ensure_room(state, slot_bytes_for(info)),
            None => Ok(()),
        }
        .and_then(|()| self.send_stream_info(state));
        drop(guard);
        made.map_err(|err| {
            self.post_error_message(err.clone());
            gst::loggable_error!(CAT, "{err}")
        })
    }

    fn propose_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        query.add_allocation_meta::<VideoMeta>(None);
        let (caps, need_pool) = query.get_owned();
        let guard = self.state.lock().unwrap();
        let Some(state) = guard.as_ref() else {
            return Ok(());
        };
        if need_pool
            && caps.is_some()
            && caps == state.caps
            && let (Some(info), Some(_)) = (&state.video, &state.ring)
        {
            let pool = SlotPool::new(&state.slots);
            query.add_allocation_pool(Some(&pool), info.size() as u32, 0, 0);
        }
        let allocator = SlotAllocator::new(&state.slots);
        query.add_allocation_param(Some(&allocator), gst::AllocationParams::default());
        Ok(())
    }

    fn event(&self, event: gst::Event) -> bool {
        self.flowing.store(false, Ordering::Release);
        if let Some(state) = self.state.lock().unwrap().as_mut() {
            match event.view() {
                gst::EventView::Segment(e) => {
                    state.segment = e.segment().clone();
                    self.stale.set();
                }
                gst::EventView::FlushStop(_) => {
                    state.discont = true;
                    self.stale.set();
                }
                gst::EventView::Gap(e) => {
                    self.refresh_if_stale(state);
                    let (timestamp, duration) = e.get();
                    let at = Self::monotonic(state, timestamp);
                    if let Some(ring) = &state.ring {
                        ring.read()
                            .unwrap()
                            .publish_gap(Some(at), duration.map(|d| d.nseconds()));
                    }
                }
                gst::EventView::Eos(_) => {
                    if let Some(ring) = &state.ring {
                        ring.read().unwrap().publish_eos();
                    }
                }
                _ => {}
            }
        }
        self.parent_event(event)
    }

    fn render(&self, buffer: &gst::Buffer) -> FlowResult {
        let result = self.take(self.state.lock().unwrap(), buffer);
        // In this order: who changes a property afterwards takes it back.
        self.flowing.store(result.is_ok(), Ordering::Release);
        if self.base_is_needed() {
            self.flowing.store(false, Ordering::Release);
        }
        result
    }
}
