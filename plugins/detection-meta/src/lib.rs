//! Detections, regions and tracks as GStreamer buffer metadata, events and messages.
//!
//! The one place that knows the exact layouts of `docs/design/contracts.md`, so that elements agree without depending on
//! each other and other people's software can read what they write. Every box here is in fractions of the frame (0..1).
//!
//! Each plugin library has its own copy of this crate. It therefore registers no GObject type; the custom metas it
//! registers by name are left alone where another copy has registered them.

#[cfg(feature = "v1_24")]
mod analytics;
mod kept;
mod messages;
mod motion_state;
mod regions;
mod registry;
mod rois;
mod tracks_event;
mod warnings;

pub use kept::{DETECTIONS_META, Restored, keep_detections, restore_detections};
pub use messages::{MotionMessage, TrackMessage};
pub use motion_state::{MOTION_STATE_META, MotionState, motion_state, set_motion_state};
pub use regions::{REGIONS_META, looked_at, set_looked_at};
pub use registry::register_metas;
#[cfg(feature = "v1_24")]
pub use rois::adopt_analytics_objects;
pub use rois::{
    DetectionRoi, Identity, MOTION_ROI, add_detection, add_motion, add_tracked, assign_object_ids,
    detections, frame_size, motion_boxes,
};
pub use tracks_event::{TRACKS_EVENT, TrackHint, TracksEvent};
pub use warnings::Warnings;
