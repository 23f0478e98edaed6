//! The element: its pad, states, events and queries. Its streaming thread is in [`super::flow`].

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::sync::{Condvar, LazyLock, Mutex};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::VideoInfo;
use shmring_core::packet::{KeyRequester, PacketReader};
use shmring_core::{Canceller, Reader, ReaderOptions};

use super::Policy;
use super::frame::Held;
use super::settings::{PROPERTIES, Settings};
use super::stamps::{CatchUp, Stamps};
use super::stats::Shared;
use crate::flag::Flag;
use crate::raw::{self, Shell};
use crate::report::Reported;
use crate::shmringsink::{SlotAllocator, Slots};
use crate::time::Mapping;

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "shmringsrc",
        gst::DebugColorFlags::empty(),
        Some("Shared-memory ring, reading side"),
    )
});

/// Belongs to the streaming thread, which takes it out while it runs.
pub(super) struct State {
    pub reader: Reader,
    pub packets: PacketReader,
    /// Which of the two was connected last.
    pub reads_packets: bool,
    pub caps: Option<gst::Caps>,
    pub video: Option<VideoInfo>,
    pub mapping: Option<Mapping>,
    /// Of a source that is not live: the monotonic time of its first frame.
    pub first_ns: Option<u64>,
    pub discont: bool,
    pub stream_started: bool,
    /// Something has been pushed since the start, so that gaps may be.
    pub pushed: bool,
    /// The stream is encoded: no frame may be left out.
    pub encoded: bool,
    pub latency: gst::ClockTime,
    pub stamps: Stamps,
    pub catch_up: CatchUp,
    pub held: Option<Held>,
    /// To be pushed next.
    pub next: Option<gst::Buffer>,
    pub was_connected: bool,
    pub metas: Vec<u8>,
    pub allocator: SlotAllocator,
    /// A buffer for the next frame, made while there is time: when the last one is done with.
    pub shell: Option<Shell>,
    /// The last frame's video meta said what its caps say, so that the next one's may be made before it is there.
    pub usual: bool,
    pub reported: Reported,
}

/// What the application's threads say to the streaming thread. [`ShmRingSrc::gate_changed`] follows each change.
#[derive(Default)]
pub(super) struct Gate {
    pub flushing: bool,
    pub playing: bool,
    pub live: bool,
    /// Events to be pushed before the next buffer.
    pub events: Vec<gst::Event>,
    /// An end of stream that the application has sent.
    pub eos: Option<gst::Seqnum>,
}

pub struct ShmRingSrc {
    pub(super) srcpad: gst::Pad,
    pub(super) settings: Mutex<Settings>,
    pub(super) state: Mutex<Option<Box<State>>>,
    pub(super) gate: Mutex<Gate>,
    pub(super) gate_changed: Condvar,
    pub(super) shared: Mutex<Shared>,
    pub(super) canceller: Mutex<Option<Canceller>>,
    pub(super) key_requester: Mutex<Option<KeyRequester>>,
    /// Clock and base time are to be read again.
    pub(super) stale: Flag,
    /// The policy has been changed while running.
    pub(super) policy_changed: Flag,
    pub(super) segment_due: Flag,
    /// An error that says why the stream stopped has been posted.
    pub(super) failed: AtomicBool,
    /// Buffers to push before the end of the stream; negative for no end.
    pub(super) buffers_left: AtomicI32,
    /// Timestamp of the last buffer, `u64::MAX` without one.
    pub(super) position: AtomicU64,
    pub(super) peer_takes_video_meta: AtomicBool,
    pub(super) do_timestamp: AtomicBool,
    pub(super) stats_interval: AtomicU32,
}

impl ShmRingSrc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let path = settings
            .socket_path
            .clone()
            .filter(|p| !p.is_empty())
            .ok_or_else(|| {
                gst::error_msg!(
                    gst::ResourceError::Settings,
                    ("no socket-path is set; name the writer's")
                )
            })?;
        let options = ReaderOptions {
            leases: settings.max_lease,
            policy: settings.policy(),
            history: (settings.history > 0).then_some(settings.history),
            early: settings.early_wake,
            ..ReaderOptions::default()
        };
        let reader = Reader::new(&path, options)
            .map_err(|err| gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")))?;
        let packets = PacketReader::new(path, settings.start())
            .map_err(|err| gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")))?
            .with_canceller(reader.canceller());
        *self.canceller.lock().unwrap() = Some(reader.canceller());
        *self.shared.lock().unwrap() = Shared::default();
        *self.gate.lock().unwrap() = Gate {
            live: settings.is_live,
            ..Gate::default()
        };
        self.buffers_left
            .store(settings.num_buffers, Ordering::Relaxed);
        self.stale.set();
        self.segment_due.set();
        self.peer_takes_video_meta.store(false, Ordering::Release);
        self.position.store(u64::MAX, Ordering::Relaxed);
        *self.state.lock().unwrap() = Some(Box::new(State {
            reader,
            packets,
            reads_packets: false,
            caps: None,
            video: None,
            mapping: None,
            first_ns: None,
            discont: true,
            stream_started: false,
            pushed: false,
            encoded: false,
            latency: gst::ClockTime::ZERO,
            stamps: Stamps::default(),
            catch_up: CatchUp::default(),
            held: None,
            next: None,
            was_connected: false,
            metas: Vec::new(),
            allocator: SlotAllocator::new(&Slots::default()),
            shell: None,
            usual: false,
            reported: Reported::default(),
        }));
        Ok(())
    }

    fn stop(&self) {
        *self.canceller.lock().unwrap() = None;
        *self.key_requester.lock().unwrap() = None;
        let state = self.state.lock().unwrap().take();
        drop(state);
        self.shared.lock().unwrap().connected = false;
    }

    /// Makes every wait of the streaming thread return.
    fn interrupt(&self, change: impl FnOnce(&mut Gate)) {
        let canceller = self.canceller.lock().unwrap();
        change(&mut self.gate.lock().unwrap());
        self.gate_changed.notify_all();
        if let Some(canceller) = &*canceller {
            canceller.cancel();
        }
    }

    fn start_task(&self) -> bool {
        let element = self.obj().downgrade();
        let started = self.srcpad.start_task(move || {
            if let Some(element) = element.upgrade() {
                element.imp().task();
            }
        });
        if started.is_err() {
            gst::error!(CAT, imp = self, "cannot start the streaming thread");
        }
        started.is_ok()
    }

    pub(crate) fn activate(&self, active: bool) -> bool {
        if active {
            return self.start_task();
        }
        self.interrupt(|gate| gate.flushing = true);
        self.srcpad.stop_task().is_ok()
    }

    pub(crate) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.type_() {
            gst::EventType::Seek | gst::EventType::Step => false,
            gst::EventType::Qos | gst::EventType::Latency | gst::EventType::Reconfigure => true,
            gst::EventType::CustomUpstream if gst_video::ForceKeyUnitEvent::is(&event) => {
                let requester = self.key_requester.lock().unwrap().clone();
                if let Some(requester) = &requester {
                    requester.request();
                }
                requester.is_some()
            }
            _ => gst::Pad::event_default(pad, Some(&*self.obj()), event),
        }
    }

    pub(crate) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(q) => {
                let shared = *self.shared.lock().unwrap();
                let settings = self.settings.lock().unwrap();
                if !settings.is_live {
                    q.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                    return true;
                }
                let frames = match settings.policy {
                    Policy::EveryFrame => settings.max_lag,
                    Policy::Newest => 1,
                };
                // What does not fit into a time is no limit.
                let max = shared
                    .frame_duration
                    .and_then(|d| d.checked_mul(u64::from(frames)))
                    .and_then(|lag| lag.checked_add(shared.min_latency));
                q.set(true, shared.min_latency, max);
                true
            }
            gst::QueryViewMut::Position(q) if q.format() == gst::Format::Time => {
                let position = self.position.load(Ordering::Relaxed);
                if position == u64::MAX {
                    return false;
                }
                q.set(gst::ClockTime::from_nseconds(position));
                true
            }
            gst::QueryViewMut::Seeking(q) => {
                let (format, none) = (q.format(), gst::ClockTime::NONE);
                match format {
                    gst::Format::Time => q.set(false, gst::ClockTime::ZERO, none),
                    _ => return false,
                }
                true
            }
            gst::QueryViewMut::Scheduling(q) => {
                q.set(gst::SchedulingFlags::SEQUENTIAL, 1, -1, 0);
                q.add_scheduling_modes([gst::PadMode::Push]);
                true
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ShmRingSrc {
    const NAME: &'static str = "GstShmRingSrc";
    type Type = super::ShmRingSrc;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = class.pad_template("src").expect("it was added");
        let srcpad = gst::Pad::from_template(&template);
        srcpad.use_fixed_caps();
        raw::set_src_functions(&srcpad);
        Self {
            srcpad,
            settings: Mutex::default(),
            state: Mutex::default(),
            gate: Mutex::default(),
            gate_changed: Condvar::new(),
            shared: Mutex::default(),
            canceller: Mutex::default(),
            key_requester: Mutex::default(),
            stale: Flag::default(),
            policy_changed: Flag::default(),
            segment_due: Flag::default(),
            failed: AtomicBool::default(),
            buffers_left: AtomicI32::new(-1),
            position: AtomicU64::new(u64::MAX),
            peer_takes_video_meta: AtomicBool::default(),
            do_timestamp: AtomicBool::default(),
            stats_interval: AtomicU32::default(),
        }
    }
}

impl ObjectImpl for ShmRingSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            "stats-interval" => {
                let interval = value.get().expect("type checked");
                self.stats_interval.store(interval, Ordering::Relaxed);
            }
            "do-timestamp" => {
                let stamp = value.get().expect("type checked");
                self.do_timestamp.store(stamp, Ordering::Relaxed);
            }
            name => self.settings.lock().unwrap().set(name, value),
        }
        self.policy_changed.set();
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => Self::stats(&self.shared.lock().unwrap()).to_value(),
            "stats-interval" => self.stats_interval.load(Ordering::Relaxed).to_value(),
            "do-timestamp" => self.do_timestamp.load(Ordering::Relaxed).to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.add_pad(&self.srcpad).expect("it has no other pad");
        obj.set_element_flags(gst::ElementFlags::SOURCE);
    }
}

impl GstObjectImpl for ShmRingSrc {}

impl ElementImpl for ShmRingSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Shared-memory ring source",
                "Source/Video",
                "Reads a stream that another process publishes with shmringsink, without copying and without disturbing anybody",
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
                    "src",
                    gst::PadDirection::Src,
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
            gst::StateChange::PlayingToPaused => self.gate.lock().unwrap().playing = false,
            _ => {}
        }
        let result = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PausedToPlaying if result.is_ok() => {
                self.gate.lock().unwrap().playing = true;
                self.gate_changed.notify_all();
            }
            gst::StateChange::ReadyToPaused if result.is_err() => self.stop(),
            gst::StateChange::PausedToReady => self.stop(),
            _ => {}
        }
        let live = self.settings.lock().unwrap().is_live;
        match (transition, result) {
            (
                gst::StateChange::ReadyToPaused | gst::StateChange::PlayingToPaused,
                Ok(gst::StateChangeSuccess::Success),
            ) if live => Ok(gst::StateChangeSuccess::NoPreroll),
            (_, result) => result,
        }
    }

    fn send_event(&self, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::FlushStart(_) => {
                self.interrupt(|gate| gate.flushing = true);
                self.srcpad.push_event(event)
            }
            gst::EventView::FlushStop(_) => {
                // The streaming thread has left its waits: the pad is free when it is paused.
                drop(self.srcpad.stream_lock());
                if let Some(canceller) = &*self.canceller.lock().unwrap() {
                    let mut gate = self.gate.lock().unwrap();
                    gate.flushing = false;
                    gate.events.clear();
                    canceller.reset();
                }
                self.segment_due.set();
                let pushed = self.srcpad.push_event(event);
                let is_active = self.srcpad.mode() == gst::PadMode::Push;
                pushed && (!is_active || self.start_task())
            }
            gst::EventView::Eos(e) => {
                let seqnum = e.seqnum();
                self.interrupt(|gate| gate.eos = Some(seqnum));
                true
            }
            _ if event.is_downstream() && event.is_serialized() => {
                self.interrupt(|gate| gate.events.push(event));
                true
            }
            _ if event.is_downstream() => self.srcpad.push_event(event),
            _ => self.srcpad.send_event(event),
        }
    }
}
