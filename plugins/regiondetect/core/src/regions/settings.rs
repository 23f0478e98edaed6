//! What the planner may assume about camera and model.

use detection::FrameSize;

/// Settings of a [`super::Planner`].
#[derive(Debug, Clone, PartialEq)]
pub struct PlanSettings {
    /// Size of the frames.
    pub frame: FrameSize,
    /// Side of the model's square input in pixels (the shorter side of one that is not square).
    pub input: i32,
    /// Smallest side of a region with an input of its own, in frame pixels.
    pub min_region: i32,
    /// Largest side of a region that holds several objects, in frame pixels; a single larger object gets what it needs.
    pub max_region: i32,
    /// An object's longer side should have at least this many pixels in the model's input; boxes share a region, and
    /// regions an input, only as far as this holds.
    pub min_object: i32,
    /// Several small regions may share one model input.
    pub pack: bool,
    /// Inferences per second of this camera; `None`: as many as there is to look at.
    pub budget: Option<f32>,
    /// Most model inputs for one frame: in a crowd the parts of the picture take turns, those longest not looked at first.
    pub max_inputs: usize,
    /// A track that moves is looked at this often at most, in nanoseconds, while its place follows from what was seen of it.
    pub track_interval: u64,
    /// A resting track is looked at this often, in nanoseconds.
    pub stationary_interval: u64,
}

impl PlanSettings {
    /// Defaults for this frame and model: regions of at least 320 pixels, or for a model smaller than that its size rounded
    /// up to 4.
    pub fn new(frame: FrameSize, input: i32) -> Self {
        Self {
            frame,
            input,
            min_region: Self::default_min_region(input),
            max_region: i32::MAX,
            min_object: 80,
            pack: true,
            budget: None,
            max_inputs: 5,
            track_interval: 120_000_000,
            stationary_interval: 10_000_000_000,
        }
    }

    /// Frigate's smallest region for a model of this size; used for looking and for learning alike.
    pub fn default_min_region(input: i32) -> i32 {
        if input >= 320 {
            320
        } else {
            (input.max(1) + 3) / 4 * 4
        }
    }
}
