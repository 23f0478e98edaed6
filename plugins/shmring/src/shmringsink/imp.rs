//! The element: its pad, states, events and queries. When a buffer may pass is in [`super::gate`], how it gets into
//! the ring in [`super::publish`].

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, RwLock};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::VideoInfo;
use shmring_core::Writer;
use shmring_core::packet::PacketWriter;

use super::gate::Gate;
use super::negotiate::{acceptable, refusal};
use super::pool::Slots;
use super::settings::{PROPERTIES, Settings};
use super::stats::Counters;
use crate::flag::Flag;
use crate::raw::{self, FlowResult};
use crate::report::Reported;
use crate::time::Mapping;

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
    /// In packet mode, in place of the ring.
    pub packets: Option<PacketWriter>,
    /// As many readers as were waited for have been there.
    pub readers_came: bool,
    /// From monotonic to Unix time; taken once, so that it does not jump.
    pub unix_offset: Option<i64>,
    /// Payload and metadata bytes of its slots.
    pub room: (u64, usize),
    /// What upstream is handed slots by.
    pub slots: Slots,
    pub caps: Option<gst::Caps>,
    /// Caps that were refused last.
    pub refused: Option<gst::Caps>,
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
    /// The running time of a buffer, or `None` within `Err` where it lies outside of the segment.
    fn clip(&self, buffer: &gst::BufferRef) -> Option<Option<gst::ClockTime>> {
        let Some(segment) = self.segment.downcast_ref::<gst::ClockTime>() else {
            return Some(None);
        };
        let Some(start) = buffer.pts().or(buffer.dts()) else {
            return Some(None);
        };
        let end = buffer.duration().and_then(|d| start.checked_add(d));
        let (start, _) = segment.clip(start, end)?;
        Some(segment.to_running_time(start))
    }
}

pub struct ShmRingSink {
    pub(super) sinkpad: gst::Pad,
    pub(super) settings: Mutex<Settings>,
    pub(super) state: Mutex<Option<State>>,
    pub(super) gate: Mutex<Gate>,
    pub(super) gate_changed: Condvar,
    last_sample: Mutex<Option<gst::Sample>>,
    /// Set from other threads: clock, base time or latency are to be read again.
    pub(super) stale: Flag,
    /// These are read for each frame, so they are not under the lock of the other settings.
    pub(super) sync: AtomicBool,
    keep_last_sample: AtomicBool,
    pub(super) wait_for_readers: AtomicU32,
    pub(super) stats_interval: AtomicU32,
}

impl ShmRingSink {
    pub(crate) fn chain(&self, buffer: gst::Buffer) -> FlowResult {
        let running = match self.state.lock().unwrap().as_ref() {
            Some(state) => state.clip(&buffer),
            None => return Err(gst::FlowError::Flushing),
        };
        let Some(running) = running else {
            gst::trace!(CAT, imp = self, "outside of the segment: {buffer:?}");
            return Ok(gst::FlowSuccess::Ok);
        };
        self.pass(running)?;
        self.wait_for_readers(&buffer)?;
        self.wait_for_room()?;
        if self.keep_last_sample.load(Ordering::Relaxed) {
            let guard = self.state.lock().unwrap();
            let state = guard.as_ref().ok_or(gst::FlowError::Flushing)?;
            let mut sample = gst::Sample::builder()
                .buffer(&buffer)
                .segment(&state.segment);
            if let Some(caps) = &state.caps {
                sample = sample.caps(caps);
            }
            *self.last_sample.lock().unwrap() = Some(sample.build());
        }
        self.take(self.state.lock().unwrap(), &buffer)
    }

    pub(crate) fn sink_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        let obj = self.obj();
        let post = |message: gst::Message| {
            let _ = obj.post_message(message);
        };
        match event.view() {
            gst::EventView::FlushStart(_) => {
                self.gate_flush_start();
                *self.last_sample.lock().unwrap() = None;
                return true;
            }
            gst::EventView::FlushStop(_) => {
                self.gate_flush_stop();
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.segment = gst::Segment::default();
                    state.discont = true;
                }
                self.stale.set();
                return true;
            }
            gst::EventView::StreamStart(e) => {
                let message = gst::message::StreamStart::builder()
                    .src(&*obj)
                    .seqnum(e.seqnum());
                post(match e.group_id() {
                    Some(group) => message.group_id(group).build(),
                    None => message.build(),
                });
                return true;
            }
            gst::EventView::Caps(e) => return self.set_caps(e.caps()).is_ok(),
            gst::EventView::Segment(e) => {
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    state.segment = e.segment().clone();
                }
                self.stale.set();
                return true;
            }
            gst::EventView::Tag(e) => {
                post(gst::message::Tag::builder(e.tag_owned()).src(&*obj).build());
                return true;
            }
            gst::EventView::SinkMessage(e) => {
                post(e.message());
                return true;
            }
            gst::EventView::Gap(e) => {
                let (timestamp, duration) = e.get();
                let running = match self.state.lock().unwrap().as_ref() {
                    Some(state) => match state.segment.downcast_ref::<gst::ClockTime>() {
                        Some(segment) => segment.to_running_time(timestamp),
                        None => None,
                    },
                    None => return false,
                };
                if self
                    .pass(running)
                    .and_then(|()| self.wait_for_room())
                    .is_err()
                {
                    return false;
                }
                let mut guard = self.state.lock().unwrap();
                if let Some(state) = guard.as_mut() {
                    self.refresh_if_stale(state);
                    let at = Self::monotonic(state, timestamp);
                    if let Some(ring) = &state.ring {
                        let ring = ring.read().unwrap();
                        ring.publish_gap(Some(at), duration.map(|d| d.nseconds()));
                    }
                }
                return true;
            }
            gst::EventView::Eos(e) => {
                // It counts as a frame for a reader that lags.
                if self.wait_for_room() == Err(gst::FlowError::Flushing) {
                    return false;
                }
                if let Some(state) = self.state.lock().unwrap().as_mut() {
                    if let Some(ring) = &state.ring {
                        ring.read().unwrap().publish_eos();
                    }
                    if let Some(packets) = &mut state.packets {
                        packets.write_eos();
                    }
                }
                return self.gate_eos(e.seqnum());
            }
            _ => {}
        }
        gst::Pad::event_default(pad, Some(&*obj), event)
    }

    pub(crate) fn sink_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Caps(q) => {
                let caps = acceptable(q.filter());
                q.set_result(&caps);
                true
            }
            gst::QueryViewMut::AcceptCaps(q) => {
                let accepted = refusal(q.caps()).is_none();
                q.set_result(accepted);
                true
            }
            gst::QueryViewMut::Allocation(q) => {
                self.propose_allocation(q);
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

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

    fn stop(&self) {
        let state = self.state.lock().unwrap().take();
        drop(state); // readers see the end; outside the lock
        *self.last_sample.lock().unwrap() = None;
        gst::info!(CAT, imp = self, "stopped");
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ShmRingSink {
    const NAME: &'static str = "GstShmRingSink";
    type Type = super::ShmRingSink;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = class.pad_template("sink").expect("it was added");
        let sinkpad = gst::Pad::from_template(&template);
        raw::set_sink_functions(&sinkpad);
        Self {
            sinkpad,
            settings: Mutex::default(),
            state: Mutex::default(),
            gate: Mutex::default(),
            gate_changed: Condvar::new(),
            last_sample: Mutex::default(),
            stale: Flag::default(),
            sync: AtomicBool::default(),
            keep_last_sample: AtomicBool::default(),
            wait_for_readers: AtomicU32::default(),
            stats_interval: AtomicU32::default(),
        }
    }
}

impl ObjectImpl for ShmRingSink {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // A pad refuses caps that it does not accept before its event function is called, and without a reason.
        self.sinkpad
            .add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |pad, info| {
                if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view())
                    && let Some(sink) = pad.parent_element()
                    && let Some(sink) = sink.downcast_ref::<super::ShmRingSink>()
                {
                    sink.imp().explain_refusal(caps.caps());
                }
                gst::PadProbeReturn::Ok
            });
        obj.add_pad(&self.sinkpad).expect("it has no other pad");
        obj.set_element_flags(gst::ElementFlags::SINK);
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            "stats-interval" => {
                let interval = value.get().expect("type checked");
                self.stats_interval.store(interval, Ordering::Relaxed);
            }
            "wait-for-readers" => {
                let wanted = value.get().expect("type checked");
                self.wait_for_readers.store(wanted, Ordering::Relaxed);
            }
            "sync" => {
                let sync = value.get().expect("type checked");
                self.sync.store(sync, Ordering::Relaxed);
            }
            "enable-last-sample" => {
                let keep = value.get().expect("type checked");
                self.keep_last_sample.store(keep, Ordering::Relaxed);
                if !keep {
                    *self.last_sample.lock().unwrap() = None;
                }
            }
            name => self.settings.lock().unwrap().set(name, value),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => Self::stats(self.state.lock().unwrap().as_ref()).to_value(),
            "stats-interval" => self.stats_interval.load(Ordering::Relaxed).to_value(),
            "wait-for-readers" => self.wait_for_readers.load(Ordering::Relaxed).to_value(),
            "sync" => self.sync.load(Ordering::Relaxed).to_value(),
            "enable-last-sample" => self.keep_last_sample.load(Ordering::Relaxed).to_value(),
            "last-sample" => self.last_sample.lock().unwrap().to_value(),
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
        match transition {
            gst::StateChange::ReadyToPaused => self.start().map_err(|err| {
                self.post_error_message(err);
                gst::StateChangeError
            })?,
            gst::StateChange::PausedToPlaying => self.stale.set(),
            _ => {}
        }
        let waits = self.gate_transition(transition);
        let result = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToReady
            || (transition == gst::StateChange::ReadyToPaused && result.is_err())
        {
            self.stop();
        }
        match result {
            Ok(gst::StateChangeSuccess::Success) if waits => Ok(gst::StateChangeSuccess::Async),
            result => result,
        }
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Position(q) if q.format() == gst::Format::Time => {
                let guard = self.state.lock().unwrap();
                if let Some(state) = guard.as_ref()
                    && let Some(segment) = state.segment.downcast_ref::<gst::ClockTime>()
                    && let Some(position) = segment.to_stream_time(state.position)
                {
                    q.set(position);
                    return true;
                }
            }
            gst::QueryViewMut::Latency(q) => {
                if !self.knows_latency() {
                    return false;
                }
                let mut upstream = gst::query::Latency::new();
                if self.sinkpad.peer_query(&mut upstream)
                    && let (true, min, max) = upstream.result()
                    && self.sync.load(Ordering::Relaxed)
                {
                    q.set(true, min, max);
                } else {
                    // A sink that does not wait for the clock adds nothing and needs nothing.
                    q.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                }
                return true;
            }
            _ => {}
        }
        ElementImplExt::parent_query(self, query)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        // The pipeline sends its latency to each sink when an element's has changed.
        if let gst::EventView::Latency(latency) = event.view() {
            self.set_latency(latency.latency());
            self.stale.set();
        }
        self.parent_send_event(event)
    }
}
