//! What the property `stats` and the message `shmringsink-stats` say.

use gst::glib;
use gst::prelude::*;

use super::imp::{ShmRingSink, State};

/// What this element counts beside the ring's own counters.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counters {
    pub in_place: u64,
    pub copied: u64,
    pub metas_dropped: u64,
    pub dropped_unreadable: u64,
}

impl ShmRingSink {
    pub(super) fn stats(state: Option<&State>) -> gst::Structure {
        let counters = state.map(|s| s.counters).unwrap_or_default();
        let mut s = gst::Structure::builder("shmringsink-stats")
            .field("in-place", counters.in_place)
            .field("copied", counters.copied)
            .field("metas-dropped", counters.metas_dropped)
            .field("dropped-unreadable", counters.dropped_unreadable);
        if let Some(packets) = state.and_then(|s| s.packets.as_ref()) {
            return Self::packet_stats(s, packets).build();
        }
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
}
