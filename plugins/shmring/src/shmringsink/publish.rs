//! From a buffer to a frame in the ring: in place where upstream wrote into a slot, else by one copy.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use gst::prelude::*;
use gst::subclass::prelude::*;
use shmring_core::{FrameHeader, PublishError, Purpose, Writer};

use super::imp::{CAT, ShmRingSink, State};
use super::ring::MAX_AREA;
use crate::time::{self, Mapping};
use crate::{raw, raw::FlowResult, report, wire};

/// Room for one frame of a stream whose frame size caps do not tell, until a larger one comes.
const FIRST_SLOT_BYTES: u64 = 1 << 20;
/// About as much as is copied in the time that a process takes to wake up.
const COPIED_WHILE_WAKING: usize = 256 << 10;
/// How often a warning about the same thing may go to the bus.
const WARN_EVERY_NS: u64 = 10_000_000_000;

/// Why a frame is left out.
#[derive(Debug, thiserror::Error)]
enum NotPublished {
    #[error(transparent)]
    Ring(#[from] PublishError),
    #[error("its memory cannot be read")]
    Unreadable,
}

impl ShmRingSink {
    /// Publishes a frame, and posts what there is to say about it.
    pub(super) fn take(
        &self,
        mut guard: MutexGuard<'_, Option<State>>,
        buffer: &gst::Buffer,
    ) -> FlowResult {
        let interval = self.stats_interval.load(Ordering::Relaxed);
        let state = guard.as_mut().ok_or(gst::FlowError::Flushing)?;
        self.refresh_if_stale(state);
        let result = match state.packets {
            Some(_) => self.publish_packet(state, buffer),
            None => self.publish(state, buffer),
        };
        let report = state.reported.is_due(interval);
        let report = report.then(|| Self::stats(Some(state)));
        let warning = state.warning.take();
        drop(guard);
        if let Some(text) = warning {
            gst::element_imp_warning!(self, gst::ResourceError::NoSpaceLeft, ("{text}"));
        }
        if let Some(stats) = report {
            report::post(self.obj().upcast_ref(), stats);
        }
        result.map(|()| gst::FlowSuccess::Ok).map_err(|err| {
            self.post_error_message(err);
            gst::FlowError::Error
        })
    }

    /// Room to make for a frame of this size. Where sizes vary from frame to frame it grows in steps.
    pub(super) fn room_for(state: &State, size: u64) -> u64 {
        match &state.video {
            Some(_) => size,
            None => size.next_power_of_two().max(FIRST_SLOT_BYTES),
        }
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
            let room = Self::room_for(state, size);
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

    /// The monotonic time a timestamp of the stream stands for.
    pub(super) fn monotonic(state: &State, timestamp: gst::ClockTime) -> u64 {
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

    /// Looks at clock, base time and latency again, after a way to PLAYING or new latency upstream.
    pub(super) fn refresh_if_stale(&self, state: &mut State) {
        if !self.stale.take() {
            return;
        }
        state.mapping = Some(Mapping::of(&*self.obj()));
        let mut query = gst::query::Latency::new();
        if self.sinkpad.peer_query(&mut query) {
            let (_, min, _) = query.result();
            if min != state.min_latency {
                state.min_latency = min;
                let sent = match state.packets {
                    Some(_) => self.send_packet_stream(state),
                    None => self.send_stream_info(state),
                };
                if let Err(err) = sent {
                    gst::warning!(CAT, imp = self, "{err}");
                }
            }
        }
    }

    pub(super) fn warn(&self, state: &mut State, text: &str) {
        gst::warning!(CAT, imp = self, "{text}");
        let now = time::monotonic_ns();
        if now.saturating_sub(state.warned_ns) > WARN_EVERY_NS || state.warned_ns == 0 {
            state.warned_ns = now;
            state.warning = Some(text.to_owned());
        }
    }
}
