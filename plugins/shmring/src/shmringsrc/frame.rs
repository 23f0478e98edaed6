//! From a frame in the ring to a buffer.

use std::sync::atomic::Ordering;

use gst::prelude::*;
use gst::subclass::prelude::*;
use shmring_core::Frame;

use super::imp::{CAT, ShmRingSrc, State};
use super::memory;
use super::stamps::Stamp;
use crate::raw::Shell;
use crate::time::{self, Mapping};
use crate::{report, wire};

/// What became of a frame.
pub(super) enum Made {
    Buffer(gst::Buffer),
    /// It is kept for later or left out.
    Later,
}

/// A frame from before the start, kept until a newer one comes or none can.
pub(super) struct Held {
    pub buffer: gst::Buffer,
    /// Running time until which a newer one may come.
    pub until: i64,
}

impl State {
    /// PTS and DTS of a frame captured at running time `at`, that has these in the writer's stream.
    pub fn stamp(
        &mut self,
        at: i64,
        pts: Option<u64>,
        dts: Option<u64>,
    ) -> (Option<gst::ClockTime>, Option<gst::ClockTime>) {
        let dts = match (pts, dts) {
            (Some(pts), Some(dts)) => at
                .checked_add_unsigned(dts)
                .and_then(|dts| dts.checked_sub_unsigned(pts)),
            (None, Some(_)) => Some(at),
            (_, None) => None,
        };
        let mut map = |at: i64| match self.encoded {
            true => self.catch_up.map(at),
            false => at.max(0),
        };
        // The earlier one first: it is where the catch-up begins.
        let dts = dts.map(&mut map);
        let at = map(at);
        (
            pts.and_then(|_| running_clock_time(at)),
            dts.and_then(running_clock_time),
        )
    }

    /// The frame that was held back, now to be passed on.
    pub fn release_held(&mut self) -> Option<gst::Buffer> {
        let held = self.held.take()?;
        self.stamps.stamp(0, 0, 0); // it is the one from before the start
        Some(held.buffer)
    }

    /// Makes the buffer for the next frame, if there is none.
    pub fn prepare(&mut self) {
        let info = self.video.as_ref().filter(|_| self.usual);
        self.shell
            .get_or_insert_with(|| Shell::new(&self.allocator, info));
    }
}

impl ShmRingSrc {
    pub(super) fn buffer(&self, state: &mut State, frame: Frame) -> Result<Made, gst::FlowError> {
        let header = *frame.header();
        let at = header
            .capture_ns
            .map(|capture| self.running_time(state, capture));
        let mut hold = None;
        if let Some(at) = at.filter(|at| *at <= 0 && !state.encoded) {
            let latency = i64::try_from(state.latency.nseconds()).unwrap_or(i64::MAX);
            let now = self.running_now(state);
            match state.stamps.stamp(at, now, latency) {
                Stamp::At(_) => {}
                Stamp::Hold { until } => hold = Some(until),
                Stamp::Drop => {
                    self.shared.lock().unwrap().before_start += 1;
                    return Ok(Made::Later);
                }
            }
        }
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
            if let Some(at) = at {
                let (pts, dts) = state.stamp(at, header.pts, header.dts);
                b.set_pts(pts);
                b.set_dts(dts);
            } else if self.do_timestamp.load(Ordering::Relaxed) {
                b.set_dts(self.obj().current_running_time());
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
        let stats = {
            let mut shared = self.shared.lock().unwrap();
            shared.stats = state.reader.stats();
            shared.repacked += repacked;
            shared.metas_invalid += invalid;
            *shared
        };
        let interval = self.stats_interval.load(Ordering::Relaxed);
        if state.reported.is_due(interval) {
            report::post(self.obj().upcast_ref(), Self::stats(&stats));
        }
        if let Some(until) = hold {
            if state.held.replace(Held { buffer, until }).is_some() {
                self.shared.lock().unwrap().before_start += 1;
            }
            return Ok(Made::Later);
        }
        Ok(Made::Buffer(buffer))
    }

    /// Running time here of a monotonic time; negative for what is older than this pipeline's start.
    pub(super) fn running_time(&self, state: &mut State, monotonic: u64) -> i64 {
        let offset = match self.offset(state) {
            Some(offset) => offset,
            None => *state.first_ns.get_or_insert(monotonic) as i64,
        };
        (monotonic as i64).saturating_sub(offset)
    }

    /// Running time now; the end of all waiting where there is no clock.
    pub(super) fn running_now(&self, state: &mut State) -> i64 {
        match self.offset(state) {
            Some(offset) => (time::monotonic_ns() as i64).saturating_sub(offset),
            None => i64::MAX,
        }
    }

    fn offset(&self, state: &mut State) -> Option<i64> {
        if self.stale.take() || state.mapping.is_none() {
            state.mapping = Some(if self.gate.lock().unwrap().live {
                Mapping::of(&*self.obj())
            } else {
                Mapping::None
            });
        }
        state.mapping.as_ref().and_then(Mapping::offset)
    }
}

/// `None` for what no clock can hold.
fn running_clock_time(at: i64) -> Option<gst::ClockTime> {
    gst::ClockTime::try_from(u64::try_from(at).ok()?).ok()
}
