//! Nothing larger than what was granted goes into the ring: memory above a cgroup's limit is answered by the OOM killer.

use super::link::Waker;
use gst::prelude::*;
use gst_video::VideoInfo;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The door of the ring.
#[derive(Debug)]
pub struct Room {
    /// Bytes of a frame that did not fit; 0 as long as all do.
    too_large: Arc<AtomicU64>,
}

impl Room {
    /// Lets through what has at most `limit` bytes a frame. What is larger stays out, and its size, and all that follows.
    pub fn guard(sink: &gst::Element, limit: u64, waker: &Waker) -> Self {
        let too_large = Arc::new(AtomicU64::new(0));
        let (found, waker) = (too_large.clone(), waker.clone());
        let types = gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::QUERY_DOWNSTREAM
            | gst::PadProbeType::BUFFER;
        if let Some(pad) = sink.static_pad("sink") {
            pad.add_probe(types, move |_, info| {
                if let Some(gst::EventView::Caps(caps)) = info.event().map(|e| e.view())
                    && let Ok(frame) = VideoInfo::from_caps(caps.caps())
                    && frame.size() as u64 > limit
                {
                    found.store(frame.size() as u64, Ordering::Relaxed);
                    waker.wake();
                }
                match &info.data {
                    Some(gst::PadProbeData::Buffer(_) | gst::PadProbeData::Event(_))
                        if found.load(Ordering::Relaxed) > 0 =>
                    {
                        gst::PadProbeReturn::Handled
                    }
                    // Asked about memory, it would make some.
                    Some(gst::PadProbeData::Query(_)) if found.load(Ordering::Relaxed) > 0 => {
                        gst::PadProbeReturn::Drop
                    }
                    _ => gst::PadProbeReturn::Ok,
                }
            });
        }
        Self { too_large }
    }

    /// Bytes of a frame, if they are too many.
    pub fn too_large(&self) -> Option<u64> {
        let bytes = self.too_large.load(Ordering::Relaxed);
        (bytes > 0).then_some(bytes)
    }
}
