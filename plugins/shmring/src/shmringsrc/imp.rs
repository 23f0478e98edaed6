//! The element: waits for frames, turns each into a buffer, follows the writer through restarts.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::base_src::CreateSuccess;
use gst_base::subclass::prelude::*;
use gst_video::{VideoInfo, VideoMeta};
use shmring_core::{
    Canceller, ConnectError, Event, Frame, Reader, ReaderOptions, ReaderStats, WaitError,
};

use super::{Policy, Reconnect, memory};
use crate::flag::Flag;
use crate::raw::Shell;
use crate::shmringsink::{SlotAllocator, Slots};
use crate::time::{Mapping, monotonic_ns};
use crate::wire;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "shmringsrc",
        gst::DebugColorFlags::empty(),
        Some("Shared-memory ring, reading side"),
    )
});

/// How long to try before saying again why there is no writer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
struct Settings {
    socket_path: Option<String>,
    is_live: bool,
    policy: Policy,
    max_lag: u32,
    history: u32,
    max_lease: u32,
    reconnect: Reconnect,
    early_wake: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket_path: None,
            is_live: true,
            policy: Policy::default(),
            max_lag: 8,
            history: 0,
            max_lease: 0,
            reconnect: Reconnect::default(),
            early_wake: true,
        }
    }
}

impl Settings {
    fn policy(&self) -> shmring_core::Policy {
        match self.policy {
            Policy::EveryFrame => shmring_core::Policy::EveryFrame {
                max_lag: self.max_lag.into(),
            },
            Policy::Newest => shmring_core::Policy::Newest,
        }
    }
}

/// Belongs to the streaming thread, which takes it out while it runs.
struct State {
    reader: Reader,
    caps: Option<gst::Caps>,
    video: Option<VideoInfo>,
    mapping: Option<Mapping>,
    /// Of a source that is not live: the monotonic time of its first frame.
    first_ns: Option<u64>,
    discont: bool,
    /// Something has been pushed since the start, so that events may be.
    pushed: bool,
    /// The base class has pushed a frame since it last had something else to do.
    flowing: bool,
    was_connected: bool,
    metas: Vec<u8>,
    allocator: SlotAllocator,
    /// A buffer for the next frame, made while there is time: when the last one is done with.
    shell: Option<Shell>,
    /// The last frame's video meta said what its caps say, so that the next one's may be made before it is there.
    usual: bool,
    reported_ns: u64,
}

/// What other threads may ask at any time.
#[derive(Debug, Default, Clone, Copy)]
struct Shared {
    stats: ReaderStats,
    repacked: u64,
    metas_invalid: u64,
    connected: bool,
    min_latency: gst::ClockTime,
    frame_duration: Option<gst::ClockTime>,
}

#[derive(Default)]
pub struct ShmRingSrc {
    settings: Mutex<Settings>,
    state: Mutex<Option<Box<State>>>,
    shared: Mutex<Shared>,
    canceller: Mutex<Option<Canceller>>,
    /// Clock and base time are to be looked at again.
    stale: Flag,
    /// The policy has been changed while running.
    policy_changed: Flag,
    /// The base class has something to do between two frames.
    base_is_due: Flag,
    /// The application has sent an end of stream.
    eos_sent: AtomicBool,
    playing: AtomicBool,
    /// Timestamp of the last frame pushed here, `u64::MAX` without one.
    position: AtomicU64,
    peer_takes_video_meta: AtomicBool,
    stats_interval: AtomicU32,
}

impl State {
    /// Makes the buffer for the next frame, if there is none.
    fn prepare(&mut self) {
        let info = self.video.as_ref().filter(|_| self.usual);
        self.shell
            .get_or_insert_with(|| Shell::new(&self.allocator, info));
    }
}

impl ShmRingSrc {
    /// Pushes frames until the base class is needed, which gets the next one. Its way from here to the pad is longer
    /// than all the rest from the writer's to downstream: for each frame it looks at what only changes with an event,
    /// a property or a state, and that is told here ([`Self::base_is_due`]).
    fn flow(&self, state: &mut State) -> Result<gst::Buffer, gst::FlowError> {
        let obj = self.obj();
        let pad = obj.src_pad();
        let live = obj.is_live();
        // It counts buffers, or stamps them.
        let in_its_hands = obj.property::<i32>("num-buffers") >= 0 || obj.does_timestamp();
        self.eos_sent.store(false, Ordering::Relaxed);
        loop {
            let buffer = self.next_buffer(state)?;
            let is_due = self.base_is_due.take();
            if in_its_hands || is_due || !state.flowing || pad.needs_reconfigure() {
                state.flowing = true;
                return Ok(buffer);
            }
            if live && !self.playing.load(Ordering::Acquire) {
                obj.wait_playing()?;
            }
            let position = buffer.pts().map_or(u64::MAX, |pts| pts.nseconds());
            self.position.store(position, Ordering::Relaxed);
            pad.push(buffer)?;
            state.prepare(); // now: the next frame may be there when this wakes up
            if self.eos_sent.load(Ordering::Relaxed) {
                return Err(gst::FlowError::Flushing); // which it takes for the end that it was told of
            }
            if live && !self.playing.load(Ordering::Acquire) {
                obj.wait_playing()?;
            }
        }
    }

    fn next_buffer(&self, state: &mut State) -> Result<gst::Buffer, gst::FlowError> {
        loop {
            if self.policy_changed.take() {
                state
                    .reader
                    .set_policy(self.settings.lock().unwrap().policy());
            }
            if !state.reader.is_connected() {
                self.connect(state)?;
            }
            match state.reader.next(None) {
                Ok(Event::Frame(frame)) => return self.buffer(state, frame),
                Ok(Event::Stream { bytes, .. }) => self.new_stream(state, &bytes)?,
                // Only after events; usually it is there since the last frame.
                Ok(Event::Coming) => state.prepare(),
                Ok(Event::Gap { pts, duration }) => self.gap(state, pts, duration),
                Ok(Event::Eos) => {
                    gst::info!(CAT, imp = self, "end of stream");
                    if self.settings.lock().unwrap().reconnect != Reconnect::Always {
                        return Err(gst::FlowError::Eos);
                    }
                    state.discont = true;
                }
                Ok(Event::NewGeneration { geometry }) => {
                    gst::info!(
                        CAT,
                        imp = self,
                        "the ring has slots of {} bytes now",
                        geometry.slot_bytes()
                    );
                }
                Ok(Event::WriterGone) => {
                    gst::info!(CAT, imp = self, "the writer is gone");
                    self.shared.lock().unwrap().connected = false;
                    if self.settings.lock().unwrap().reconnect == Reconnect::Never {
                        return Err(gst::FlowError::Eos);
                    }
                    self.post("shmringsrc-writer-lost", |s| s);
                    state.discont = true;
                }
                Err(WaitError::Cancelled) => return Err(gst::FlowError::Flushing),
                Err(WaitError::Timeout | WaitError::NotConnected) => {}
            }
        }
    }

    /// Waits until there is a writer.
    fn connect(&self, state: &mut State) -> Result<(), gst::FlowError> {
        let never = self.settings.lock().unwrap().reconnect == Reconnect::Never;
        let mut told = false;
        loop {
            let result = if never {
                state.reader.try_connect()
            } else {
                state.reader.reconnect(Some(PATIENCE))
            };
            let error = match result {
                Ok(()) => break,
                Err(ConnectError::Cancelled) => return Err(gst::FlowError::Flushing),
                Err(error) => error,
            };
            let hopeless = |source: &io::Error| {
                use io::ErrorKind::{InvalidFilename, PermissionDenied};
                matches!(source.kind(), PermissionDenied | InvalidFilename)
            };
            let may_pass = !matches!(&error, ConnectError::NoWriter { source, .. } if hopeless(source))
                && matches!(
                    error,
                    ConnectError::NoWriter { .. }
                        | ConnectError::NoAnswer(_)
                        | ConnectError::RingFull { .. }
                        | ConnectError::TooManyReaders(_)
                );
            if never || !may_pass {
                gst::element_imp_error!(self, gst::ResourceError::OpenRead, ("{error}"));
                return Err(gst::FlowError::Error);
            }
            gst::info!(CAT, imp = self, "waiting: {error}");
            if !std::mem::replace(&mut told, true)
                && !matches!(error, ConnectError::NoWriter { .. })
            {
                gst::element_imp_warning!(self, gst::ResourceError::Busy, ("{error}"));
            }
        }
        gst::info!(CAT, imp = self, "connected");
        self.shared.lock().unwrap().connected = true;
        state.discont = true;
        if std::mem::replace(&mut state.was_connected, true) {
            self.post("shmringsrc-writer-back", |s| s);
        }
        Ok(())
    }

    fn new_stream(&self, state: &mut State, bytes: &[u8]) -> Result<(), gst::FlowError> {
        let info = wire::StreamInfo::decode(bytes).map_err(|err| {
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                ("what the writer says of its stream is unusable: {err}")
            );
            gst::FlowError::Error
        })?;
        let latency_changed = {
            let mut shared = self.shared.lock().unwrap();
            std::mem::replace(&mut shared.min_latency, info.min_latency) != info.min_latency
        };
        if latency_changed {
            let _ = self
                .obj()
                .post_message(gst::message::Latency::builder().src(&*self.obj()).build());
        }
        if state.caps.as_ref() == Some(&info.caps) {
            return Ok(());
        }
        gst::debug!(CAT, imp = self, "caps {}", info.caps);
        let structure = info.caps.structure(0);
        state.shell = None;
        state.video = structure
            .filter(|s| s.name() == "video/x-raw")
            .and_then(|_| VideoInfo::from_caps(&info.caps).ok());
        let rate = structure
            .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
            .filter(|r| r.numer() > 0);
        self.shared.lock().unwrap().frame_duration = rate.and_then(|rate| {
            gst::ClockTime::SECOND.mul_div_floor(rate.denom() as u64, rate.numer() as u64)
        });
        // Caps that are not taken are no error of the event, and that of the first buffer names none.
        let pad = self.obj().src_pad().clone();
        if !pad.peer_query_accept_caps(&info.caps) {
            let peer = pad.peer();
            // The pipeline stops, from its end on.
            if [Some(pad), peer.clone()]
                .iter()
                .flatten()
                .any(|pad| pad.pad_flags().contains(gst::PadFlags::FLUSHING))
            {
                return Err(gst::FlowError::Flushing);
            }
            let next = peer.and_then(|peer| peer.parent_element());
            let next = next.map_or("what follows".into(), |next| next.name());
            gst::element_imp_error!(
                self,
                gst::StreamError::Format,
                (
                    "{next} does not take what the writer sends, {}; put an element that converts it, such as videoconvert, \
                     before it, or before shmringsink",
                    info.caps
                )
            );
            return Err(gst::FlowError::NotNegotiated);
        }
        self.obj()
            .set_caps(&info.caps)
            .map_err(|_| gst::FlowError::NotNegotiated)?;
        state.caps = Some(info.caps);
        self.obj().negotiate(); // for the allocation query; there is nothing else to agree on
        Ok(())
    }

    /// Running time here of a monotonic time. What is older than this pipeline happened at its start.
    fn running_time(&self, state: &mut State, monotonic: u64) -> gst::ClockTime {
        if self.stale.take() || state.mapping.is_none() {
            state.mapping = Some(if self.obj().is_live() {
                Mapping::of(&*self.obj())
            } else {
                Mapping::None
            });
        }
        let offset = match state.mapping.as_ref().and_then(Mapping::offset) {
            Some(offset) => offset,
            None => *state.first_ns.get_or_insert(monotonic) as i64,
        };
        gst::ClockTime::from_nseconds((monotonic as i64).saturating_sub(offset).max(0) as u64)
    }

    fn buffer(&self, state: &mut State, frame: Frame) -> Result<gst::Buffer, gst::FlowError> {
        let header = *frame.header();
        let discont = std::mem::take(&mut state.discont) || frame.skipped() > 0;
        let mut metas = std::mem::take(&mut state.metas);
        metas.clear();
        if frame.info_len() > 0 {
            frame.copy_info(&mut metas);
        }
        let size = frame.bytes().len();
        let mut flags = header.flags;
        let is_usual = state
            .video
            .as_ref()
            .is_some_and(|info| flags & wire::DEFAULT_VIDEO_META != 0 && size >= info.size());
        if std::mem::replace(&mut state.usual, is_usual) != is_usual {
            state.shell = None;
        }
        if is_usual {
            // What the shell has already need not be added.
            flags &= !wire::DEFAULT_VIDEO_META;
        }
        state.prepare();
        let shell = state.shell.take().expect("it was just made");
        let mut buffer = shell.fill(frame);
        let (mut repacked, mut invalid) = (0, 0);
        {
            let b = buffer.make_mut();
            if let Some(capture) = header.capture_ns {
                let at = self.running_time(state, capture);
                b.set_pts(header.pts.map(|_| at));
                b.set_dts(header.dts.map(|dts| match header.pts {
                    Some(pts) => gst::ClockTime::from_nseconds(
                        at.nseconds().saturating_add(dts).saturating_sub(pts),
                    ),
                    None => at,
                }));
            }
            b.set_duration(
                header
                    .duration
                    .and_then(|d| gst::ClockTime::try_from(d).ok()),
            );
            b.set_offset(header.offset.unwrap_or(u64::MAX));
            b.set_offset_end(header.offset_end.unwrap_or(u64::MAX));
            if let Err(err) = wire::apply(flags, &metas, b, state.video.as_ref()) {
                gst::warning!(CAT, imp = self, "metadata of a frame is unusable: {err}");
                invalid = 1;
            }
            if discont {
                b.set_flags(gst::BufferFlags::DISCONT);
            }
        }
        state.metas = metas;
        if let Some(info) = &state.video
            && !self.peer_takes_video_meta.load(Ordering::Acquire)
            && memory::is_unusual(&buffer, info)
        {
            memory::repack(&mut buffer, info).map_err(|err| {
                gst::element_imp_error!(
                    self,
                    gst::StreamError::Format,
                    ("a frame does not match its caps: {err}")
                );
                gst::FlowError::Error
            })?;
            repacked = 1;
        }
        state.pushed = true;
        let report = {
            let mut shared = self.shared.lock().unwrap();
            shared.stats = state.reader.stats();
            shared.repacked += repacked;
            shared.metas_invalid += invalid;
            *shared
        };
        self.report_if_due(state, report);
        Ok(buffer)
    }

    fn gap(&self, state: &mut State, pts: Option<u64>, duration: Option<u64>) {
        let Some(pts) = pts.filter(|_| state.pushed) else {
            return;
        };
        let at = self.running_time(state, pts);
        let event = gst::event::Gap::builder(at);
        let event = event.duration(duration.and_then(|d| gst::ClockTime::try_from(d).ok()));
        self.obj().src_pad().push_event(event.build());
    }

    fn report_if_due(&self, state: &mut State, shared: Shared) {
        let interval = self.stats_interval.load(Ordering::Relaxed);
        if interval == 0 {
            return;
        }
        let now = monotonic_ns();
        if now.saturating_sub(state.reported_ns) >= u64::from(interval) * 1_000_000 {
            state.reported_ns = now;
            self.post("shmringsrc-stats", |_| Self::stats(&shared));
        }
    }

    fn post(&self, name: &str, fill: impl FnOnce(gst::Structure) -> gst::Structure) {
        let structure = fill(gst::Structure::new_empty(name));
        let message = gst::message::Element::builder(structure)
            .src(&*self.obj())
            .build();
        let _ = self.obj().post_message(message);
    }

    fn stats(shared: &Shared) -> gst::Structure {
        let s = &shared.stats;
        gst::Structure::builder("shmringsrc-stats")
            .field("connected", shared.connected)
            .field("received", s.received)
            .field("skipped", s.skipped)
            .field("copies", s.copies)
            .field("repacked", shared.repacked)
            .field("invalid", s.invalid)
            .field("metas-invalid", shared.metas_invalid)
            .field("age", s.age_ns)
            .field("max-age", s.max_age_ns)
            .field("connections", s.connections)
            .field("granted", s.granted)
            .field("leased", s.leased)
            .field("lag", s.lag)
            .build()
    }
}

#[glib::object_subclass]
impl ObjectSubclass for ShmRingSrc {
    const NAME: &'static str = "GstShmRingSrc";
    type Type = super::ShmRingSrc;
    type ParentType = gst_base::PushSrc;
}

impl ObjectImpl for ShmRingSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let d = Settings::default();
            vec![
                glib::ParamSpecString::builder("socket-path")
                    .nick("Socket path")
                    .blurb("Unix socket of the writer (shmringsink socket-path=...). If nobody listens there yet, the element waits, see reconnect")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("is-live")
                    .nick("Live")
                    .blurb("Timestamps say when a frame was captured, in this pipeline's running time, and the pipeline does not preroll. False: the first frame is at 0 and the distances are kept")
                    .default_value(d.is_live)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder_with_default("policy", d.policy)
                    .nick("Policy")
                    .blurb("Which frames to take when this reader is slower than the writer")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("max-lag")
                    .nick("Most lag")
                    .blurb("With policy=every-frame: frames to be behind before jumping to the newest one")
                    .minimum(1)
                    .maximum(62)
                    .default_value(d.max_lag)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("history")
                    .nick("History")
                    .blurb("Frames the writer keeps for this reader while it lags, as far as its slots allow; 0 for as many as max-lag (policy=newest needs none). Taken at the next connection")
                    .maximum(62)
                    .default_value(d.history)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("max-lease")
                    .nick("Most frames held")
                    .blurb("Frames downstream may hold at a time without being given copies; one more is in use to take the next frame. 0 for as many as the writer's max-lease grants")
                    .maximum(62)
                    .default_value(d.max_lease)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder_with_default("reconnect", d.reconnect)
                    .nick("Reconnect")
                    .blurb("What to do when the stream ends or the writer stops or dies; buffers go on with DISCONT after a wait")
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("early-wake")
                    .nick("Wake up early")
                    .blurb("Wake up already when upstream of the writer has written a frame, and wait awake, at most 60 us, until it is published: less latency, about as much processor time. Gives it up for a while where it leads to nothing")
                    .default_value(d.early_wake)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("stats-interval")
                    .nick("Interval of statistics")
                    .blurb("Milliseconds between element messages 'shmringsrc-stats' with what the property stats says; 0 for none")
                    .default_value(0)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb("connected, frames received and skipped; copies (downstream held all but one lease), repacked (downstream does not know video meta), invalid frames and metas-invalid; age and max-age from publishing to reading in ns; connections, granted, leased, lag")
                    .read_only()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
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

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        let mut s = self.settings.lock().unwrap();
        match pspec.name() {
            "socket-path" => s.socket_path = value.get().expect("type checked"),
            "is-live" => {
                s.is_live = value.get().expect("type checked");
                let live = s.is_live;
                drop(s);
                self.obj().set_live(live);
            }
            "policy" => s.policy = value.get().expect("type checked"),
            "max-lag" => s.max_lag = value.get().expect("type checked"),
            "history" => s.history = value.get().expect("type checked"),
            "max-lease" => s.max_lease = value.get().expect("type checked"),
            "reconnect" => s.reconnect = value.get().expect("type checked"),
            "early-wake" => s.early_wake = value.get().expect("type checked"),
            "stats-interval" => {
                let interval = value.get().expect("type checked");
                self.stats_interval.store(interval, Ordering::Relaxed);
            }
            name => unreachable!("property {name} is not writable"),
        }
        self.policy_changed.set();
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return Self::stats(&self.shared.lock().unwrap()).to_value();
        }
        let s = self.settings.lock().unwrap();
        match pspec.name() {
            "socket-path" => s.socket_path.to_value(),
            "is-live" => s.is_live.to_value(),
            "policy" => s.policy.to_value(),
            "max-lag" => s.max_lag.to_value(),
            "history" => s.history.to_value(),
            "max-lease" => s.max_lease.to_value(),
            "reconnect" => s.reconnect.to_value(),
            "early-wake" => s.early_wake.to_value(),
            "stats-interval" => self.stats_interval.load(Ordering::Relaxed).to_value(),
            name => unreachable!("unknown property {name}"),
        }
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
            reported_ns: 0,
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
            let max = shared
                .frame_duration
                .map(|d| shared.min_latency + d * u64::from(frames));
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
