//! How `motiondetect` reports that it has measured a frame: the custom meta `watchpost-motion-state`.
//!
//! The boxes themselves are ROI metas of type `motion`; without this meta a reader could not distinguish "nothing moves"
//! from "motion was not measured".

/// Name of the custom meta. Field `calibrating` boolean.
pub const MOTION_STATE_META: &str = "watchpost-motion-state";

/// Motion was measured in this frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MotionState {
    /// The picture as a whole has just changed: the boxes say little, look through the frame instead.
    pub calibrating: bool,
}

/// Writes the state, replacing that of an upstream `motiondetect`.
pub fn set_motion_state(buffer: &mut gst::BufferRef, state: MotionState) {
    crate::registry::set_field(buffer, MOTION_STATE_META, "calibrating", state.calibrating);
}

/// The state on this buffer; `None` where no `motiondetect` has measured it.
pub fn motion_state(buffer: &gst::BufferRef) -> Option<MotionState> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, MOTION_STATE_META).ok()?;
    Some(MotionState {
        calibrating: meta.structure().get("calibrating").unwrap_or(false),
    })
}
