//! The element: its states, events and queries. What its streaming thread does is in [`super::flow`].

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;
use gst_video::{VideoInfo, VideoMeta};
use shmring_core::{Canceller, Reader, ReaderOptions};

use super::Policy;
use super::settings::{PROPERTIES, Settings};
use super::stats::Shared;
use crate::flag::Flag;
use crate::raw::Shell;
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
    pub caps: Option<gst::Caps>,
    pub video: Option<VideoInfo>,
    pub mapping: Option<Mapping>,
    /// Of a source that is not live: the monotonic time of its first frame.
    pub first_ns: Option<u64>,
    pub discont: bool,
    /// Something has been pushed since the start, so that events may be.
    pub pushed: bool,
    /// The base class has pushed a frame since it last had something else to do.
    pub flowing: bool,
    pub was_connected: bool,
    pub metas: Vec<u8>,
    pub allocator: SlotAllocator,
    /// A buffer for the next frame, made while there is time: when the last one is done with.
    pub shell: Option<Shell>,
    /// The last frame's video meta said what its caps say, so that the next one's may be made before it is there.
    pub usual: bool,
    pub reported: Reported,
}

#[derive(Default)]
pub struct ShmRingSrc {
    pub(super) settings: Mutex<Settings>,
    state: Mutex<Option<Box<State>>>,
    pub(super) shared: Mutex<Shared>,
    canceller: Mutex<Option<Canceller>>,
    /// Clock and base time are to be looked at again.
    pub(super) stale: Flag,
    /// The policy has been changed while running.
    pub(super) policy_changed: Flag,
    /// The base class has something to do between two frames.
    pub(super) base_is_due: Flag,
    /// The application has sent an end of stream.
    pub(super) eos_sent: AtomicBool,
    pub(super) playing: AtomicBool,
    /// Timestamp of the last frame pushed here, `u64::MAX` without one.
    pub(super) position: AtomicU64,
    pub(super) peer_takes_video_meta: AtomicBool,
    pub(super) stats_interval: AtomicU32,
}

#[glib::object_subclass]
impl ObjectSubclass for ShmRingSrc {
    const NAME: &'static str = "GstShmRingSrc";
    type Type = super::ShmRingSrc;
    type ParentType = gst_base::PushSrc;
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
            name => self.settings.lock().unwrap().set(name, value),
        }
        if pspec.name() == "is-live" {
            self.obj().set_live(value.get().expect("type checked"));
        }
        self.policy_changed.set();
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "stats" => Self::stats(&self.shared.lock().unwrap()).to_value(),
            "stats-interval" => self.stats_interval.load(Ordering::Relaxed).to_value(),
            name => self.settings.lock().unwrap().get(name),
        }
    }

    fn notify(&self, property: &glib::ParamSpec) {
        self.base_is_due.set();
        self.parent_notify(property);
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_live(Settings::default().is_live);
        obj.set_format(gst::Format::Time);
        obj.set_do_timestamp(false);
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
        if transition == gst::StateChange::PausedToPlaying {
            self.stale.set();
        }
        if transition == gst::StateChange::PlayingToPaused {
            self.playing.store(false, Ordering::Release);
        }
        let result = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToPlaying {
            self.playing.store(result.is_ok(), Ordering::Release);
        }
        result
    }

    fn send_event(&self, event: gst::Event) -> bool {
        let is_eos = event.type_() == gst::EventType::Eos;
        self.eos_sent.fetch_or(is_eos, Ordering::Relaxed);
        self.base_is_due.set();
        let sent = self.parent_send_event(event);
        self.base_is_due.set();
        sent
    }
}

impl BaseSrcImpl for ShmRingSrc {
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
        let reader = Reader::new(path, options)
            .map_err(|err| gst::error_msg!(gst::ResourceError::OpenRead, ("{err}")))?;
        *self.canceller.lock().unwrap() = Some(reader.canceller());
        *self.shared.lock().unwrap() = Shared::default();
        self.stale.set();
        self.peer_takes_video_meta.store(false, Ordering::Release);
        self.position.store(u64::MAX, Ordering::Relaxed);
        *self.state.lock().unwrap() = Some(Box::new(State {
            reader,
            caps: None,
            video: None,
            mapping: None,
            first_ns: None,
            discont: true,
            pushed: false,
            flowing: false,
            was_connected: false,
            metas: Vec::new(),
            allocator: SlotAllocator::new(&Slots::default()),
            shell: None,
            usual: false,
            reported: Reported::default(),
        }));
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *self.canceller.lock().unwrap() = None;
        *self.state.lock().unwrap() = None;
        self.shared.lock().unwrap().connected = false;
        Ok(())
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(canceller) = &*self.canceller.lock().unwrap() {
            canceller.cancel();
        }
        Ok(())
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        if let Some(canceller) = &*self.canceller.lock().unwrap() {
            canceller.reset();
        }
        Ok(())
    }

    /// Caps come from the writer, whenever it says so.
    fn negotiate(&self) -> Result<(), gst::LoggableError> {
        Ok(())
    }

    /// Memory comes from the writer too; all there is to know is whether downstream understands strides.
    fn decide_allocation(
        &self,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        let takes = query.find_allocation_meta::<VideoMeta>().is_some();
        self.peer_takes_video_meta.store(takes, Ordering::Release);
        while query.allocation_pools().next().is_some() {
            query.remove_nth_allocation_pool(0);
        }
        Ok(())
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        if let gst::QueryViewMut::Latency(q) = query.view_mut()
            && self.obj().is_live()
        {
            let shared = *self.shared.lock().unwrap();
            let settings = self.settings.lock().unwrap();
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
            return true;
        }
        if let gst::QueryViewMut::Position(q) = query.view_mut()
            && q.format() == gst::Format::Time
            && let position = self.position.load(Ordering::Relaxed)
            && position != u64::MAX
        {
            q.set(gst::ClockTime::from_nseconds(position));
            return true;
        }
        BaseSrcImplExt::parent_query(self, query)
    }
}

impl PushSrcImpl for ShmRingSrc {
    fn create(
        &self,
        _buffer: Option<&mut gst::BufferRef>,
    ) -> Result<CreateSuccess, gst::FlowError> {
        let mut state = self
            .state
            .lock()
            .unwrap()
            .take()
            .ok_or(gst::FlowError::Flushing)?;
        let result = self.flow(&mut state);
        *self.state.lock().unwrap() = Some(state);
        result.map(CreateSuccess::NewBuffer)
    }
}
