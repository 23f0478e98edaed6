//! Every number the tracker decides by. One set serves all scenes and frame rates; `docs/design/tracking.md` says where each value
//! comes from.

use detection::LabelId;

/// Noise model of the box filter; sizes are shares of the box, times are seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Motion {
    /// Standard deviation of a detected centre, as a share of the box's width and height.
    pub noise: f32,
    /// Standard deviation of a detected width and height, as a share of each.
    pub size_noise: f32,
    /// How much the speed may change within a second, in box sizes per second.
    pub acceleration: f32,
    /// How much the growth may change within a second, in box sizes per second.
    pub growth: f32,
    /// Speed expected of an object seen once, in box sizes per second.
    pub first_speed: f32,
    /// Growth expected of an object seen once, in box sizes per second.
    pub first_growth: f32,
    /// Speed expected of an object that has just left its rest, in box sizes per second.
    pub halted_speed: f32,
    /// Least factor on the acceleration, of an object that moves as predicted.
    pub calm: f32,
    /// Largest factor on the acceleration, of an object that does not.
    pub agile: f32,
    /// How strongly a box away from its prediction raises the factor.
    pub agility_gain: f32,
    /// Share by which the factor follows upwards with each detection.
    pub adapt_up: f32,
    /// Share by which the factor follows downwards with each detection.
    pub adapt_down: f32,
    /// Share by which one matched box changes what is believed about the detector's noise; 0 keeps [`Self::noise`].
    pub noise_learning: f32,
    /// The learned noise is at least this.
    pub noise_floor: f32,
    /// The learned noise is at most this.
    pub noise_ceiling: f32,
}

/// What may differ from label to label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LabelParams {
    /// Detections match only tracks of the same group, so that a detector may waver between car and truck. 0: a group of its own.
    pub group: u16,
    /// Detections at least this confident are matched first and may start tracks.
    pub high: f32,
    /// Confidence that starts a track.
    pub new: f32,
    /// A detection that overlaps the mean place by less is not at rest.
    pub rest_iou: f32,
    /// Seconds in one place before the tracker treats the object as resting.
    pub rest_after: f64,
    /// A resting object whose box overlaps its place by less, in two looks, has moved.
    pub wake_iou: f32,
    /// Seconds in one place before the object is reported as stationary.
    pub stationary_after: f64,
    /// Seconds of unsuccessful looks before a resting object ends; objects that have rested longer get as long as they rested,
    /// up to [`Self::rest_life_max`].
    pub rest_life: f64,
    /// Upper limit of the same.
    pub rest_life_max: f64,
    /// Seconds an object may be reported as stationary before it is ended (Frigate's `stationary.max_frames`).
    pub max_stationary: Option<f64>,
}

impl Default for LabelParams {
    fn default() -> Self {
        Self {
            group: 0,
            high: 0.35,
            new: 0.65,
            rest_iou: 0.75,
            rest_after: 2.0,
            wake_iou: 0.6,
            stationary_after: 10.0,
            rest_life: 10.0,
            rest_life_max: 60.0,
            max_stationary: None,
        }
    }
}

/// All parameters of a [`crate::Tracker`].
#[derive(Debug, Clone, PartialEq)]
pub struct Params {
    /// Noise model of the box filter.
    pub motion: Motion,
    /// Labels without an entry in [`Self::labels`].
    pub default_label: LabelParams,
    /// Labels with special treatment.
    pub labels: Vec<(LabelId, LabelParams)>,
    /// Detections less confident than this are ignored.
    pub low: f32,
    /// First pass: least overlap of prediction and detection.
    pub first_iou: f32,
    /// First pass: least overlap of a resting object's place and a detection.
    pub place_iou: f32,
    /// Second pass (weak detections too): growth of both boxes on each side.
    pub second_growth: f32,
    /// Second pass: least overlap of the grown boxes.
    pub second_iou: f32,
    /// Third pass (lost objects): growth of both boxes on each side.
    pub third_growth: f32,
    /// Third pass: least overlap of the grown boxes.
    pub third_iou: f32,
    /// Objects not confirmed yet: least overlap of boxes grown as in the third pass.
    pub tentative_iou: f32,
    /// Pairs further apart than this squared distance (in standard deviations, four coordinates) never match, once an object
    /// has been detected three times.
    pub gate: f32,
    /// How much the distance in standard deviations counts against overlap when several pairs are possible, 0..=1.
    pub motion_weight: f32,
    /// Squared distance (in standard deviations, four coordinates) at which the distance part of the score has fallen to 1/e.
    pub motion_scale: f32,
    /// How much moving on in the same direction counts when several pairs are possible.
    pub direction_weight: f32,
    /// Below four frames per second the first boxes of a fast object do not overlap: an object detected less than three times may
    /// also have moved this many of its sizes per second...
    pub fast_speed: f32,
    /// ...up to this many of its sizes in all, if nothing else fits better.
    pub fast_reach: f32,
    /// Two detections of one label that overlap by more than this are one.
    pub duplicate_iou: f32,
    /// A look that fails while something nearer hides more than half of the object counts this much.
    pub hidden_rate: f64,
    /// A new object is believed after this many detections...
    pub confirm_hits: u32,
    /// ...and this many seconds.
    pub confirm_after: f64,
    /// Seconds of unsuccessful looks before a moving object ends.
    pub life: f64,
    /// Seconds without any look before a moving object ends.
    pub blind_life: f64,
    /// One unsuccessful look counts for at most this many seconds, however long ago the one before was.
    pub look_cap: f64,
    /// A moving object that is missed is still shown, as coasting, for one and a quarter frame intervals, but for at least this many
    /// seconds...
    pub bridge_min: f64,
    /// ...at most this many...
    pub bridge_max: f64,
    /// ...and only if it has been detected at least this often.
    pub bridge_hits: u32,
    /// Share of a box the looked-at regions must cover for the object to count as looked at.
    pub looked_share: f32,
    /// The first id.
    pub first_id: u32,
    /// More objects than this at once are not tracked.
    pub max_objects: usize,
    /// Check resting objects by their picture too (see [`crate::appearance`]).
    pub appearance: bool,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            motion: Motion {
                noise: 0.055,
                size_noise: 0.065,
                acceleration: 0.8,
                growth: 0.3,
                first_speed: 3.0,
                first_growth: 0.5,
                halted_speed: 1.0,
                calm: 0.1,
                agile: 2.0,
                agility_gain: 0.4,
                adapt_up: 0.5,
                adapt_down: 0.4,
                noise_learning: 0.007,
                noise_floor: 0.03,
                noise_ceiling: 0.15,
            },
            default_label: LabelParams::default(),
            labels: Vec::new(),
            low: 0.1,
            first_iou: 0.35,
            place_iou: 0.4,
            second_growth: 0.1,
            second_iou: 0.25,
            third_growth: 0.5,
            third_iou: 0.5,
            tentative_iou: 0.3,
            gate: 40.0,
            motion_weight: 0.4,
            motion_scale: 20.0,
            direction_weight: 0.05,
            fast_speed: 4.5,
            fast_reach: 2.0,
            duplicate_iou: 0.7,
            hidden_rate: 0.5,
            confirm_hits: 2,
            confirm_after: 0.07,
            life: 4.0,
            blind_life: 6.0,
            look_cap: 0.5,
            bridge_min: 0.12,
            bridge_max: 0.3,
            bridge_hits: 4,
            looked_share: 0.9,
            first_id: 1,
            max_objects: 4000,
            appearance: false,
        }
    }
}

impl Params {
    /// Parameters of one label.
    pub fn label(&self, id: LabelId) -> &LabelParams {
        self.labels
            .iter()
            .find(|(l, _)| *l == id)
            .map_or(&self.default_label, |(_, p)| p)
    }
}
