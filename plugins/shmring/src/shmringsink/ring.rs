//! Making the ring, and another one in its place when frames, metadata or caps outgrow it.

use std::sync::{Arc, RwLock};

use gst::subclass::prelude::*;
use gst_video::{VideoAlignment, VideoInfo};
use shmring_core::{Writer, WriterConfig};

use super::Backing;
use super::imp::{CAT, ShmRingSink, State};
use crate::wire;

/// The ring has no more room for metadata of a frame, or for caps.
pub(super) const MAX_AREA: usize = 1 << 20;

/// Room a slot needs for frames of these caps: as they are, or with the padding that decoders ask for.
pub(super) fn slot_bytes_for(info: &VideoInfo) -> u64 {
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

/// Slots where none are asked for: fewer of large frames, as a large ring takes long to make.
fn usual_slots(slot_bytes: u64) -> u32 {
    const MOST_BYTES: u64 = 256 << 20;
    (MOST_BYTES / slot_bytes.max(1)).clamp(6, 16) as u32
}

fn room_of(ring: &Writer) -> (u64, usize) {
    let geometry = ring.geometry();
    (geometry.slot_bytes(), geometry.info_bytes() as usize)
}

impl ShmRingSink {
    pub(super) fn writer_config(
        &self,
        slot_bytes: u64,
        caps_bytes: usize,
    ) -> Result<WriterConfig, gst::ErrorMessage> {
        let settings = self.settings.lock().unwrap().clone();
        let path = settings.socket_path.ok_or_else(|| {
            gst::error_msg!(gst::ResourceError::Settings, ("no socket-path is set"))
        })?;
        let mut config = WriterConfig::new(path, slot_bytes.max(settings.slot_size).max(1));
        config.slots = match settings.slots {
            0 => usual_slots(config.slot_bytes),
            slots => slots,
        };
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
    pub(super) fn ensure_room(
        &self,
        state: &mut State,
        slot_bytes: u64,
    ) -> Result<(), gst::ErrorMessage> {
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
                let slots = match self.settings.lock().unwrap().slots {
                    0 => usual_slots(slot_bytes),
                    slots => slots,
                };
                ring.resize(slots, slot_bytes).map_err(failed)?;
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

    pub(super) fn stream_info(&self, state: &State) -> Vec<u8> {
        let Some(caps) = state.caps.clone() else {
            return Vec::new();
        };
        wire::StreamInfo {
            caps,
            min_latency: state.min_latency,
        }
        .encode()
    }

    pub(super) fn send_stream_info(&self, state: &mut State) -> Result<(), gst::ErrorMessage> {
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
    pub(super) fn enlarge_areas(
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
}
