//! What a frame leads to, and how it is written onto the buffer.

use detection::{BBox, FrameSize, TrackState};
use detection_meta::{DetectionRoi, Identity, TrackMessage, TracksEvent};
use gst_video::VideoRegionOfInterestMeta;
use objecttrack_core::Evidence;

/// What a frame leads to outside of the lock.
#[derive(Default)]
pub struct Outcome {
    pub messages: Vec<TrackMessage>,
    pub event: Option<TracksEvent>,
    /// Index of the buffer's detection, and the object it belongs to.
    pub known: Vec<(usize, Known)>,
    pub added: Vec<Added>,
}

pub struct Added {
    pub label: String,
    pub label_id: i32,
    pub confidence: f64,
    pub bbox: BBox,
    pub known: Known,
}

/// What is written about an object beside its box.
#[derive(Clone, Copy)]
pub struct Known {
    pub identity: Identity,
    pub state: &'static str,
    pub evidence: &'static str,
}

/// Writes ids onto the buffer, and the objects that are there though not detected in this frame.
pub fn annotate(buffer: &mut gst::BufferRef, frame: FrameSize, outcome: &Outcome) {
    let known = &outcome.known;
    let find = |i: usize| {
        let at = known.binary_search_by_key(&i, |k| k.0).ok()?;
        Some(known[at].1.identity)
    };
    if !known.is_empty() {
        detection_meta::assign_object_ids(buffer, frame, |i, _| find(i));
    }
    for a in outcome.added.iter().filter(|a| a.bbox.is_valid()) {
        let roi = DetectionRoi {
            label: &a.label,
            label_id: a.label_id,
            confidence: a.confidence,
            bbox: a.bbox,
            object_id: Some(a.known.identity.id),
        };
        detection_meta::add_tracked(buffer, frame, &roi, a.known.identity);
    }
    let added = outcome.added.iter().map(|a| a.known);
    let all: Vec<Known> = known.iter().map(|k| k.1).chain(added).collect();
    for mut roi in buffer.iter_meta_mut::<VideoRegionOfInterestMeta>() {
        let id = roi
            .params()
            .filter(|p| p.name() == "object_id")
            .filter_map(|p| p.get::<i32>("id").ok())
            .last();
        if let Some(known) = id.and_then(|id| all.iter().find(|k| k.identity.id == id)) {
            roi.add_param(
                gst::Structure::builder("track")
                    .field("state", known.state)
                    .field("evidence", known.evidence)
                    .build(),
            );
        }
    }
    detection_meta::keep_detections(buffer, frame);
}

pub fn state_word(state: TrackState) -> &'static str {
    match state {
        TrackState::Tentative => "tentative",
        TrackState::Active => "active",
        TrackState::Stationary => "stationary",
        TrackState::Lost => "lost",
        TrackState::Ended => "ended",
    }
}

pub fn evidence_word(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Observed => "observed",
        Evidence::Resting => "resting",
        Evidence::Coasting => "coasting",
    }
}

pub fn clock_time(seconds: f64) -> Option<gst::ClockTime> {
    (0.0..1e10)
        .contains(&seconds)
        .then(|| gst::ClockTime::from_nseconds((seconds * 1e9).round() as u64))
}
