//! What the property `stats` and the message `shmringsrc-stats` say.

use shmring_core::ReaderStats;

use super::imp::ShmRingSrc;

/// What other threads may ask at any time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Shared {
    pub stats: ReaderStats,
    pub repacked: u64,
    pub metas_invalid: u64,
    /// Frames from before the start that a newer one replaced.
    pub before_start: u64,
    pub bytes: u64,
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
            .field("before-start", shared.before_start)
            .field("age", s.age_ns)
            .field("max-age", s.max_age_ns)
            .field("connections", s.connections)
            .field("granted", s.granted)
            .field("leased", s.leased)
            .field("lag", s.lag)
            .build()
    }
}
