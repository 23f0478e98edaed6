//! The element: takes buffers, finds out whether they lie in the ring already, publishes them.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, RwLock};

use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::{VideoAlignment, VideoInfo, VideoMeta};
use shmring_core::{FrameHeader, PublishError, Purpose, Writer, WriterConfig};

use super::Backing;
use super::pool::{SlotAllocator, SlotPool, Slots};
use crate::flag::Flag;
use crate::time::{self, Mapping};
use crate::{raw, raw::FlowResult, wire};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "shmringsink",
        gst::DebugColorFlags::empty(),
        Some("Shared-memory ring, writing side"),
    )
});

/// Room for one frame of a stream whose frame size caps do not tell, until a larger one comes.
const FIRST_SLOT_BYTES: u64 = 1 << 20;
/// The ring has no more room for metadata of a frame, or for caps.
const MAX_AREA: usize = 1 << 20;
/// About as much as is copied in the time that a process takes to wake up.
const COPIED_WHILE_WAKING: usize = 256 << 10;
/// How often a warning about the same thing may go to the bus.
const WARN_EVERY_NS: u64 = 10_000_000_000;

#[derive(Debug, Clone)]
struct Settings {
    socket_path: Option<String>,
    slots: u32,
    slot_size: u64,
    max_lease: u32,
    socket_mode: u32,
    socket_group: Option<String>,
    backing: Backing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socket_path: None,
            slots: 16,
            slot_size: 0,
            max_lease: 4,
            socket_mode: 0o600,
            socket_group: None,
            backing: Backing::Memfd,
        }
    }
}

/// What this element counts beside the ring's own counters.
#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    in_place: u64,
    copied: u64,
    metas_dropped: u64,
    dropped_unreadable: u64,
}

/// Why a frame is left out.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error(transparent)]
    Ring(#[from] PublishError),
    #[error("its memory cannot be read")]
    Unreadable,
}

#[derive(Default)]
struct State {
    /// Made when the size of frames is known.
    ring: Option<Arc<RwLock<Writer>>>,
    /// Payload and metadata bytes of its slots.
    room: (u64, usize),
    /// What upstream is handed slots by.
    slots: Slots,
    caps: Option<gst::Caps>,
    video: Option<VideoInfo>,
    segment: gst::Segment,
    /// Timestamp of the last frame.
    position: Option<gst::ClockTime>,
    /// Made anew after each way to PLAYING.
    mapping: Option<Mapping>,
    min_latency: gst::ClockTime,
    counters: Counters,
    metas: Vec<u8>,
    /// The stream was interrupted: flush, or frames lost for lack of a slot.
    discont: bool,
    warned_ns: u64,
    /// To be posted when the lock is released.
    warning: Option<String>,
    reported_ns: u64,
}

#[derive(Default)]
pub struct ShmRingSink {
    settings: Mutex<Settings>,
    state: Mutex<Option<State>>,
    /// Set from other threads: clock, base time or latency are to be looked at again.
    stale: Flag,
    /// The base class has passed on a frame since it last had something else to do, and has nothing to do for the next.
    flowing: AtomicBool,
    stats_interval: AtomicU32,
}

/// Room a slot needs for frames of these caps: as they are, or with the padding that decoders ask for.
fn slot_bytes_for(info: &VideoInfo) -> u64 {
    let mut padded = info.clone();
    // So wide that the strides of all planes are multiples of 32. They are not asked for: for formats that put three pixels
    // into a word GStreamer 1.22 looks for them for ever.
    let columns = 32 << info.format_info().w_sub().iter().max().unwrap_or(&0);
    let up = |v: u32, to: u32| v.next_multiple_of(to) - v;
    let (right, bottom) = (up(info.width(), columns), up(info.height(), 32));
    let mut alignment = VideoAlignment::new(0, bottom, 0, right, &[0; 4]);
    match padded.align(&mut alignment) {
        Ok(()) => padded.size().max(info.size()) as u64,
        Err(_) => info.size() as u64,
    }
}

fn room_of(ring: &Writer) -> (u64, usize) {
    let geometry = ring.geometry();
    (geometry.slot_bytes(), geometry.info_bytes() as usize)
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

    /// Publishes a frame, and posts what there is to say about it.
    fn take(&self, mut guard: MutexGuard<'_, Option<State>>, buffer: &gst::Buffer) -> FlowResult {
        let interval = self.stats_interval.load(Ordering::Relaxed);
        let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
        self.refresh_if_stale(state);
        let result = self.publish(state, buffer);
        let report = self.due_report(state, interval);
        let warning = state.warning.take();
        drop(guard);
        if let Some(text) = warning {
            gst::element_imp_warning!(self, gst::ResourceError::NoSpaceLeft, ("{text}"));
        }
        if let Some(stats) = report {
            let message = gst::message::Element::builder(stats)
                .src(&*self.obj())
                .build();
            let _ = self.obj().post_message(message);
        }
        result.map(|()| gst::FlowSuccess::Ok).map_err(|err| {
            self.post_error_message(err);
            gst::FlowError::Error
        })
    }

    fn writer_config(
        &self,
        slot_bytes: u64,
        caps_bytes: usize,
    ) -> Result<WriterConfig, gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let path = settings.socket_path.ok_or_else(|| {
            gst::error_msg!(gst::ResourceError::Settings, ("no socket-path is set"))
        })?;
        let mut config = WriterConfig::new(path, slot_bytes.max(settings.slot_size).max(1));
        config.slots = settings.slots;
        config.max_lease = settings.max_lease;
        config.socket_mode = settings.socket_mode;
        // With room to grow; what is too long is refused when it is sent.
        config.stream_bytes = config
            .stream_bytes
            .max((caps_bytes * 2).min(MAX_AREA) as u32);
        config.backing = match settings.backing {
            Backing::Memfd => shmring_core::Backing::Memfd,
            Backing::DevShm => shmring_core::Backing::DevShm,
        };
        if let Some(name) = settings.socket_group {
            let id = shmring_core::group_id(&name).map_err(|err| {
                gst::error_msg!(
                    gst::ResourceError::Settings,
                    ("cannot look up group '{name}': {err}")
                )
            })?;
            config.socket_group = Some(id.ok_or_else(|| {
                gst::error_msg!(
                    gst::ResourceError::Settings,
                    ("socket-group '{name}' is not a group of this system")
                )
            })?);
        }
        Ok(config)
    }

    /// Makes the ring, or a larger one in its place, so that frames of `slot_bytes` fit.
    fn ensure_room(&self, state: &mut State, slot_bytes: u64) -> Result<(), gst::ErrorMessage> {
        let failed = |err: shmring_core::CreateError| {
            gst::error_msg!(gst::ResourceError::OpenWrite, ("{err}"))
        };
        if let Some(ring) = &state.ring {
            let mut ring = ring.write().unwrap();
            let geometry = ring.geometry();
            if geometry.slot_bytes() < slot_bytes {
                gst::info!(
                    CAT,
                    imp = self,
                    "ring moves to slots of {slot_bytes} bytes, had {}",
                    geometry.slot_bytes()
                );
                ring.resize(geometry.slots(), slot_bytes).map_err(failed)?;
                state.room = room_of(&ring);
            }
            return Ok(());
        }
        let config = self.writer_config(slot_bytes, self.stream_info(state).len())?;
        let ring = Writer::create(config).map_err(failed)?;
        gst::info!(
            CAT,
            imp = self,
            "listening at {} with {} slots of {} bytes",
            ring.socket_path().display(),
            ring.geometry().slots(),
            ring.geometry().slot_bytes()
        );
        state.room = room_of(&ring);
        let ring = Arc::new(RwLock::new(ring));
        state.slots.set(&ring);
        state.ring = Some(ring);
        self.send_stream_info(state)
    }

    fn stream_info(&self, state: &State) -> Vec<u8> {
        let Some(caps) = state.caps.clone() else {
            return Vec::new();
        };
        wire::StreamInfo {
            caps,
            min_latency: state.min_latency,
        }
        .encode()
    }

    fn send_stream_info(&self, state: &mut State) -> Result<(), gst::ErrorMessage> {
        let info = self.stream_info(state);
        let Some(ring) = state.ring.clone().filter(|_| !info.is_empty()) else {
            return Ok(());
        };
        if info.len() > ring.read().unwrap().geometry().stream_bytes() as usize
            && info.len() <= MAX_AREA
        {
            self.enlarge_areas(state, 0, info.len())?;
        }
        ring.read().unwrap().set_stream(&info).map_err(|err| {
            gst::error_msg!(
                gst::StreamError::Format,
                ("caps are too long to be sent: {err}")
            )
        })
    }

    /// Moves to a ring with more room for metadata or for caps.
    fn enlarge_areas(
        &self,
        state: &mut State,
        metas: usize,
        caps: usize,
    ) -> Result<(), gst::ErrorMessage> {
        let Some(ring) = state.ring.clone() else {
            return Ok(());
        };
        let mut ring = ring.write().unwrap();
        let geometry = ring.geometry();
        let up = |wanted: usize, now: u32| (wanted.next_power_of_two() as u32).max(now);
        ring.set_areas(
            up(metas, geometry.info_bytes()),
            up(caps, geometry.stream_bytes()),
        );
        ring.resize(geometry.slots(), geometry.slot_bytes())
            .map_err(|err| gst::error_msg!(gst::ResourceError::OpenWrite, ("{err}")))?;
        state.room = room_of(&ring);
        gst::info!(
            CAT,
            imp = self,
            "ring moves to {} bytes of metadata per frame",
            state.room.1
        );
        Ok(())
    }

    /// Looks at clock, base time and latency again, after a way to PLAYING or new latency upstream.
    fn refresh_if_stale(&self, state: &mut State) {
        if !self.stale.take() {
            return;
        }
        state.mapping = Some(Mapping::of(&*self.obj()));
        let mut query = gst::query::Latency::new();
        if self.obj().sink_pad().peer_query(&mut query) {
            let (_, min, _) = query.result();
            if min != state.min_latency {
                state.min_latency = min;
                if let Err(err) = self.send_stream_info(state) {
                    gst::warning!(CAT, imp = self, "{err}");
                }
            }
        }
    }

    /// The monotonic time a timestamp of the stream stands for.
    fn monotonic(state: &State, timestamp: gst::ClockTime) -> u64 {
        let offset = state.mapping.as_ref().and_then(Mapping::offset);
        let (Some(offset), Some(segment)) =
            (offset, state.segment.downcast_ref::<gst::ClockTime>())
        else {
            return time::monotonic_ns();
        };
        let running = match segment.to_running_time_full(timestamp) {
            Some(gst::Signed::Positive(t)) => t.nseconds() as i64,
            Some(gst::Signed::Negative(t)) => -(t.nseconds() as i64),
            None => timestamp.nseconds() as i64,
        };
        offset.saturating_add(running).max(0) as u64
    }

    fn header(state: &State, buffer: &gst::BufferRef, flags: u64) -> FrameHeader {
        let (pts, dts) = (buffer.pts(), buffer.dts());
        let some = |v: u64| (v != u64::MAX).then_some(v);
        FrameHeader {
            pts: pts.map(|t| t.nseconds()),
            dts: dts.map(|t| t.nseconds()),
            duration: buffer.duration().map(|t| t.nseconds()),
            offset: some(buffer.offset()),
            offset_end: some(buffer.offset_end()),
            flags: flags | wire::encode_flags(buffer),
            capture_ns: pts.or(dts).map(|t| Self::monotonic(state, t)),
        }
    }

    /// Publishes without a copy if upstream wrote into a slot and nobody else holds the buffer.
    fn publish_in_place(
        ring: &Writer,
        buffer: &gst::Buffer,
        header: &FrameHeader,
        metas: &[u8],
    ) -> Option<Result<(), PublishError>> {
        if !raw::is_sole_owner(buffer) {
            return None;
        }
        let map = buffer.map_readable().ok()?;
        let (slot, start) = ring.slot_at(map.as_ptr())?;
        let range = start..start + map.len();
        drop(map); // it counts as an owner
        // A pool of upstream's own must not use the slot again: readers have it now.
        raw::give_up_memory(buffer);
        match ring.publish(slot, range, header, metas) {
            Err(PublishError::OldGeneration | PublishError::Published) => None,
            result => Some(result.map(|_| ())),
        }
    }

    fn publish_copy(
        ring: &Writer,
        buffer: &gst::Buffer,
        header: &FrameHeader,
        metas: &[u8],
    ) -> Result<(), NotPublished> {
        let mut slot = ring.acquire(Purpose::Copy)?;
        let size = buffer.size();
        // Readers wake up while the rest is copied.
        let told_at = size.saturating_sub(COPIED_WHILE_WAKING);
        let mut done = 0;
        // Each memory is mapped by itself: copying out of the buffer is a critical where one cannot be mapped.
        for memory in buffer.iter_memories() {
            let map = memory
                .map_readable()
                .map_err(|_| NotPublished::Unreadable)?;
            let (early, late) = map.split_at(told_at.saturating_sub(done).min(map.len()));
            for part in [early, late].into_iter().filter(|part| !part.is_empty()) {
                if done == told_at {
                    slot.notify();
                }
                // The caller has made room.
                if let Some(place) = slot.bytes_mut().get_mut(done..done + part.len()) {
                    place.copy_from_slice(part);
                }
                done += part.len();
            }
        }
        ring.publish(slot.id(), 0..size, header, metas)?;
        Ok(())
    }

    fn publish(&self, state: &mut State, buffer: &gst::Buffer) -> Result<(), gst::ErrorMessage> {
        let mut metas = std::mem::take(&mut state.metas);
        let (mut flags, dropped) = wire::encode(&mut metas, buffer, state.video.as_ref());
        state.counters.metas_dropped += u64::from(dropped);
        if std::mem::take(&mut state.discont) {
            flags |= u64::from(gst::BufferFlags::DISCONT.bits());
        }
        let header = Self::header(state, buffer, flags);
        state.position = buffer.pts().or(buffer.dts());
        let size = buffer.size() as u64;
        if state.ring.is_none() || size > state.room.0 {
            // Where sizes vary from frame to frame it grows in steps.
            let room = match &state.video {
                Some(_) => size,
                None => size.next_power_of_two().max(FIRST_SLOT_BYTES),
            };
            self.ensure_room(state, room)?;
        }
        if metas.len() > state.room.1 && metas.len() <= MAX_AREA {
            self.enlarge_areas(state, metas.len(), 0)?;
        }
        let ring = state.ring.clone().expect("room was made");
        let ring = ring.read().unwrap();
        if metas.len() > state.room.1 {
            metas.clear();
            state.counters.metas_dropped += 1;
            self.warn(
                state,
                "metadata of more than 1 MiB does not fit beside a frame and is left out",
            );
        }
        let result = match Self::publish_in_place(&ring, buffer, &header, &metas) {
            Some(result) => {
                state.counters.in_place += 1;
                result.map_err(NotPublished::Ring)
            }
            None => {
                state.counters.copied += 1;
                if raw::is_substitute(buffer) {
                    raw::give_up_memory(buffer);
                }
                Self::publish_copy(&ring, buffer, &header, &metas)
            }
        };
        state.metas = metas;
        if let Err(err) = result {
            state.discont = true;
            state.counters.dropped_unreadable += u64::from(matches!(err, NotPublished::Unreadable));
            self.warn(state, &format!("frame dropped: {err}"));
        }
        Ok(())
    }

    fn warn(&self, state: &mut State, text: &str) {
        gst::warning!(CAT, imp = self, "{text}");
        let now = time::monotonic_ns();
        if now.saturating_sub(state.warned_ns) > WARN_EVERY_NS || state.warned_ns == 0 {
            state.warned_ns = now;
            state.warning = Some(text.to_owned());
        }
    }

    fn stats(state: Option<&State>) -> gst::Structure {
        let counters = state.map(|s| s.counters).unwrap_or_default();
        let mut s = gst::Structure::builder("shmringsink-stats")
            .field("in-place", counters.in_place)
            .field("copied", counters.copied)
            .field("metas-dropped", counters.metas_dropped)
            .field("dropped-unreadable", counters.dropped_unreadable);
        if let Some(ring) = state.and_then(|s| s.ring.as_ref()) {
            let ring = ring.read().unwrap();
            let (stats, geometry) = (ring.stats(), ring.geometry());
            let readers = stats.readers.iter().map(|r| {
                gst::Structure::builder("reader")
                    .field("id", r.id)
                    .field("pid", r.pid)
                    .field("granted", r.granted)
                    .field("leased", r.leased)
                    .field("lag", r.lag)
                    .field("received", r.received)
                    .field("skipped", r.skipped)
                    .field("copies", r.copies)
                    .field("age", r.age_ns)
                    .build()
                    .to_send_value()
            });
            s = s
                .field("frames", stats.frames)
                .field("dropped-no-slot", stats.dropped_no_slot)
                .field("dropped-too-large", stats.dropped_too_large)
                .field("pool-refused", stats.pool_refused)
                .field("wakes", stats.wakes)
                .field("accepted", stats.accepted)
                .field("refused", stats.refused)
                .field("misbehaved", stats.misbehaved)
                .field("slots", geometry.slots())
                .field("slot-bytes", geometry.slot_bytes())
                .field("ring-bytes", geometry.total_bytes())
                .field("readers", gst::Array::new(readers));
        } else {
            s = s
                .field("frames", 0u64)
                .field("readers", gst::Array::new(Vec::<glib::SendValue>::new()));
        }
        s.build()
    }

    /// Posts statistics when their time has come; returns the message, to be posted without a lock.
    fn due_report(&self, state: &mut State, interval_ms: u32) -> Option<gst::Structure> {
        if interval_ms == 0 {
            return None;
        }
        let now = time::monotonic_ns();
        if now.saturating_sub(state.reported_ns) < u64::from(interval_ms) * 1_000_000 {
            return None;
        }
        state.reported_ns = now;
        Some(Self::stats(Some(state)))
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
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
            let d = Settings::default();
            vec![
                glib::ParamSpecString::builder("socket-path")
                    .nick("Socket path")
                    .blurb("Unix socket that readers connect to (shmringsrc socket-path=...), at most 103 bytes; made here and removed at the end. A leftover of a writer that died is replaced")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("slots")
                    .nick("Slots")
                    .blurb("Frames the ring has room for. All readers together can hold this many less two")
                    .minimum(3)
                    .maximum(64)
                    .default_value(d.slots)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt64::builder("slot-size")
                    .nick("Slot size")
                    .blurb("Least bytes per slot. 0: as the caps of raw video say, else 1 MiB; the ring moves to larger slots by itself when a larger frame comes")
                    .maximum(1 << 32)
                    .default_value(d.slot_size)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("max-lease")
                    .nick("Most frames per reader")
                    .blurb("Frames one reader may hold at a time, if it asks for no less. A reader for whom nothing is left is refused")
                    .minimum(1)
                    .maximum(62)
                    .default_value(d.max_lease)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("socket-mode")
                    .nick("Socket permissions")
                    .blurb("Permissions of the socket as a number (384 is octal 0600, 432 is 0660; launch lines take 0660 too): who may connect may read the stream")
                    .maximum(0o777)
                    .default_value(d.socket_mode)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("socket-group")
                    .nick("Socket group")
                    .blurb("Group of the socket, by name or number; goes with a socket-mode such as 432 (0660)")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecEnum::builder_with_default("backing", d.backing)
                    .nick("Backing memory")
                    .blurb("Where the frames lie. A segment in /dev/shm cannot be sealed: readers of the same user are trusted not to change frames")
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("stats-interval")
                    .nick("Interval of statistics")
                    .blurb("Milliseconds between element messages 'shmringsink-stats' with what the property stats says; 0 for none")
                    .default_value(0)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
                    .nick("Statistics")
                    .blurb("frames published; of those in-place (upstream wrote into the ring) and copied; dropped-no-slot, dropped-too-large, dropped-unreadable, metas-dropped, pool-refused, wakes (system calls to wake readers), refused and misbehaved connections, sizes, and per reader: pid, granted, leased, lag, received, skipped, copies, age in ns")
                    .read_only()
                    .build(),
            ]
        });
        PROPERTIES.as_ref()
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
        let mut s = self.settings.lock().unwrap();
        match pspec.name() {
            "socket-path" => s.socket_path = value.get().expect("type checked"),
            "slots" => s.slots = value.get().expect("type checked"),
            "slot-size" => s.slot_size = value.get().expect("type checked"),
            "max-lease" => s.max_lease = value.get().expect("type checked"),
            "socket-mode" => s.socket_mode = value.get().expect("type checked"),
            "socket-group" => s.socket_group = value.get().expect("type checked"),
            "backing" => s.backing = value.get().expect("type checked"),
            "stats-interval" => {
                let interval = value.get().expect("type checked");
                self.stats_interval.store(interval, Ordering::Relaxed);
            }
            name => unreachable!("property {name} is not writable"),
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        if pspec.name() == "stats" {
            return Self::stats(self.state.lock().unwrap().as_ref()).to_value();
        }
        let s = self.settings.lock().unwrap();
        match pspec.name() {
            "socket-path" => s.socket_path.to_value(),
            "slots" => s.slots.to_value(),
            "slot-size" => s.slot_size.to_value(),
            "max-lease" => s.max_lease.to_value(),
            "socket-mode" => s.socket_mode.to_value(),
            "socket-group" => s.socket_group.to_value(),
            "backing" => s.backing.to_value(),
            "stats-interval" => self.stats_interval.load(Ordering::Relaxed).to_value(),
            name => unreachable!("unknown property {name}"),
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
