//! What is told of a track in one frame.

use detection::{BBox, Track, TrackChange};

use crate::kalman::to_bbox;
use crate::object::Object;
use crate::params::Params;

/// Why a track is where it is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Detected in this frame.
    Observed,
    /// Resting, and not looked at or only just missed: it is where it stood.
    Resting,
    /// Moving and not detected: a prediction, not an observation.
    Coasting,
}

/// A confirmed track in one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tracked {
    /// Identity, box, label, state.
    pub track: Track,
    /// Why it is there.
    pub evidence: Evidence,
    /// Index of the detection of this frame that it was matched with.
    pub detection: Option<usize>,
    /// It belongs in this frame's output: observed, resting, or missed so shortly that the prediction is as good as a box.
    pub shown: bool,
    /// It was looked for in this frame and not found.
    pub missed: bool,
    /// The last detected box; of a resting object its place.
    pub last_box: BBox,
    /// Pixels per second, across and down.
    pub velocity: (f32, f32),
    /// When it was first detected, in the caller's time.
    pub first_seen: f64,
    /// When it was last detected, in the caller's time.
    pub last_seen: f64,
    /// Length of its way in pixels.
    pub path_length: f32,
}

/// Something that happened to a track. (`Updated` is not among these: see [`crate::report`].)
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// What happened.
    pub kind: TrackChange,
    /// The track, as it is now.
    pub track: Tracked,
}

pub(super) fn tracked(o: &Object, params: &Params, interval: f64) -> Tracked {
    let observed = o.matched.is_some();
    let evidence = if observed {
        Evidence::Observed
    } else if o.resting {
        Evidence::Resting
    } else {
        Evidence::Coasting
    };
    let shown = match evidence {
        Evidence::Observed => true,
        Evidence::Resting => o.misses == 0,
        Evidence::Coasting => {
            o.unseen
                <= (1.25 * interval)
                    .max(params.bridge_min)
                    .min(params.bridge_max)
                && o.hits >= params.bridge_hits
        }
    };
    Tracked {
        track: Track {
            id: o.id,
            label: o.label,
            bbox: o.shown_at(),
            score: o.score,
            state: o.state(),
            observed,
        },
        evidence,
        detection: o.matched.map(|i| i as usize),
        shown,
        missed: o.misses > 0,
        last_box: if o.resting {
            o.bbox()
        } else {
            to_bbox(&o.seen)
        },
        velocity: if o.resting {
            (0.0, 0.0)
        } else {
            (o.kalman.v[0], o.kalman.v[1])
        },
        first_seen: o.first_seen,
        last_seen: o.last_seen,
        path_length: o.path,
    }
}
