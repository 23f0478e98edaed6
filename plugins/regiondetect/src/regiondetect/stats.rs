//! What the element has done since it was started.

use std::time::Duration;

use crate::engine::{EngineStats, FrameTimes};

/// Names of the reasons for an inference, in the order of [`Reason`](regiondetect_core::regions::Reason).
const REASONS: [&str; 6] = [
    "inferences-track",
    "inferences-untracked",
    "inferences-motion",
    "inferences-stationary",
    "inferences-startup",
    "inferences-scan",
];

/// Counters; the property `stats` shows them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stats {
    /// Frames that came through.
    pub frames: u64,
    /// Frames of which something was looked at.
    pub frames_looked_at: u64,
    /// Model inputs made.
    pub inferences: u64,
    /// The same by [`Reason`](regiondetect_core::regions::Reason).
    pub by_reason: [u64; REASONS.len()],
    /// Squares looked at; more than inferences where several shared one.
    pub regions: u64,
    /// Detections written.
    pub detections: u64,
    /// Things that had to wait for the budget, counted per frame.
    pub deferred: u64,
    /// Frames without detections because the engine did not answer in time.
    pub timeouts: u64,
    /// Frames without detections because their buffer could not be read.
    pub unreadable: u64,
    /// Frames without detections because what the model gives cannot be any.
    pub implausible: u64,
    /// What the engine did for this element.
    pub engine: FrameTimes,
    /// Everything but waiting and inference.
    pub own_time: Duration,
}

impl Stats {
    /// Adds what one frame came to.
    pub fn absorb(&mut self, frame: &Self) {
        self.frames += frame.frames;
        self.frames_looked_at += frame.frames_looked_at;
        self.inferences += frame.inferences;
        for (sum, count) in self.by_reason.iter_mut().zip(frame.by_reason) {
            *sum += count;
        }
        self.regions += frame.regions;
        self.detections += frame.detections;
        self.deferred += frame.deferred;
        self.timeouts += frame.timeouts;
        self.unreadable += frame.unreadable;
        self.implausible += frame.implausible;
        self.engine += frame.engine;
        self.own_time += frame.own_time;
    }

    /// The property's structure.
    pub fn to_structure(self, engine: Option<EngineStats>) -> gst::Structure {
        let milliseconds = |time: Duration, by: u64| match by {
            0 => 0.0,
            by => time.as_secs_f64() * 1e3 / by as f64,
        };
        let mut builder = gst::Structure::builder("regiondetect-stats")
            .field("frames", self.frames)
            .field("frames-looked-at", self.frames_looked_at)
            .field("inferences", self.inferences)
            .field("regions", self.regions)
            .field("detections", self.detections)
            .field("deferred", self.deferred)
            .field("dropped-timeout", self.timeouts)
            .field("dropped-unreadable", self.unreadable)
            .field("dropped-implausible", self.implausible)
            .field(
                "inference-ms",
                milliseconds(self.engine.inference, self.inferences),
            )
            .field(
                "decode-ms",
                milliseconds(self.engine.decode, self.inferences),
            )
            .field("queue-ms", milliseconds(self.engine.queue, self.inferences))
            .field("own-ms", milliseconds(self.own_time, self.frames));
        for (name, count) in REASONS.iter().zip(self.by_reason) {
            builder = builder.field(*name, count);
        }
        if let Some(engine) = engine {
            builder = builder
                .field("engine-sessions", engine.sessions as u32)
                .field("engine-inferences", engine.inferences)
                .field("engine-runs", engine.runs)
                .field(
                    "engine-inference-ms",
                    milliseconds(engine.inference_time, engine.runs),
                )
                .field(
                    "engine-queue-ms",
                    milliseconds(engine.queue_time, engine.inferences),
                );
        }
        builder.build()
    }
}
