//! Detections, regions and tracks as GStreamer buffer metadata, events and messages.
//!
//! The one place that knows the exact layouts of `docs/design/contracts.md`, so that elements agree without depending on
//! each other and other people's software can read what they write. Every box here is in fractions of the frame (0..1).
//!
//! Each plugin library has its own copy of this crate. It therefore registers no GObject type; the one custom meta it
//! registers by name is guarded by a look whether somebody else has done so.

#[cfg(feature = "v1_24")]
mod analytics;
mod messages;
mod regions;
mod rois;
mod tracks_event;
mod warnings;

pub use messages::{MotionMessage, TrackMessage};
pub use regions::{REGIONS_META, looked_at, register_regions_meta, set_looked_at};
#[cfg(feature = "v1_24")]
pub use rois::adopt_analytics_objects;
pub use rois::{
    DetectionRoi, MOTION_ROI, add_detection, add_motion, assign_object_ids, detections, frame_size,
    motion_boxes,
};
pub use tracks_event::{TRACKS_EVENT, TrackHint, TracksEvent};
pub use warnings::Warnings;
