//! How `motiondetect` tells `regiondetect` that it has measured a frame: the custom meta `watchpost-motion-state`.
//!
//! The boxes themselves are ROI metas of type `motion`; without this meta a reader could not tell "nothing moves" from
//! "nobody looked".

/// Name of the custom meta. Field `calibrating` boolean.
pub(crate) const MOTION_STATE_META: &str = "watchpost-motion-state";

/// Motion was measured in this frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MotionState {
    /// The picture as a whole has just changed: the boxes say little, look through the frame instead.
    pub calibrating: bool,
}

/// Registers the meta unless another library in this process has. Call it once before reading or writing.
pub(crate) fn register() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if !gst::meta::CustomMeta::is_registered(MOTION_STATE_META) {
            gst::meta::CustomMeta::register(MOTION_STATE_META, &[]);
        }
    });
}

/// Writes the state, replacing what an upstream `motiondetect` said.
pub(crate) fn set(buffer: &mut gst::BufferRef, state: MotionState) {
    if let Ok(mut meta) = gst::meta::CustomMeta::from_mut_buffer(buffer, MOTION_STATE_META) {
        meta.mut_structure().set("calibrating", state.calibrating);
        return;
    }
    if let Ok(mut meta) = gst::meta::CustomMeta::add(buffer, MOTION_STATE_META) {
        meta.mut_structure().set("calibrating", state.calibrating);
    }
}

/// The state on this buffer; `None` where no `motiondetect` has worked on it.
pub(crate) fn get(buffer: &gst::BufferRef) -> Option<MotionState> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, MOTION_STATE_META).ok()?;
    Some(MotionState {
        calibrating: meta.structure().get("calibrating").unwrap_or(false),
    })
}
