//! What the property `stats` and the messages to the bus say.

use std::sync::atomic::Ordering;

use gst::prelude::*;
use gst::subclass::prelude::*;
use shmring_core::ReaderStats;

use super::imp::{ShmRingSrc, State};
use crate::time::monotonic_ns;

/// What other threads may ask at any time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Shared {
    pub stats: ReaderStats,
    pub repacked: u64,
    pub metas_invalid: u64,
    pub connected: bool,
    pub min_latency: gst::ClockTime,
    pub frame_duration: Option<gst::ClockTime>,
}

impl ShmRingSrc {
    pub(super) fn stats(shared: &Shared) -> gst::Structure {
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

    pub(super) fn report_if_due(&self, state: &mut State, shared: Shared) {
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

    pub(super) fn post(&self, name: &str, fill: impl FnOnce(gst::Structure) -> gst::Structure) {
        let structure = fill(gst::Structure::new_empty(name));
        let message = gst::message::Element::builder(structure)
            .src(&*self.obj())
            .build();
        let _ = self.obj().post_message(message);
    }
}
