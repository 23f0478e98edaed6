//! From a frame in the ring to a buffer.

use std::sync::atomic::Ordering;

use gst::subclass::prelude::*;
use gst_base::prelude::*;
use shmring_core::Frame;

use super::imp::{CAT, ShmRingSrc, State};
use super::memory;
use crate::raw::Shell;
use crate::time::Mapping;
use crate::{report, wire};

impl State {
    /// Makes the buffer for the next frame, if there is none.
    pub fn prepare(&mut self) {
        let info = self.video.as_ref().filter(|_| self.usual);
        self.shell
            .get_or_insert_with(|| Shell::new(&self.allocator, info));
    }
}

impl ShmRingSrc {
    pub(super) fn buffer(
        &self,
        state: &mut State,
        frame: Frame,
    ) -> Result<gst::Buffer, gst::FlowError> {
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
                b.set_dts(header.dts.and_then(|dts| match header.pts {
                    Some(pts) => {
                        let dts = at.nseconds().saturating_add(dts).saturating_sub(pts);
                        gst::ClockTime::try_from(dts).ok()
                    }
                    None => Some(at),
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
        Ok(buffer)
    }

    /// Running time here of a monotonic time. What is older than this pipeline happened at its start.
    pub(super) fn running_time(&self, state: &mut State, monotonic: u64) -> gst::ClockTime {
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
}
