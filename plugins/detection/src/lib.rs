//! The words every Watchpost crate shares: boxes, detections, tracks and label sets.
//!
//! Depends on serde, and under `schema` on schemars. Everything else points here: `detection <- *-core <- gst-plugin-*`.

mod bbox;
mod filter;
mod frame_size;
mod labels;
mod mask;
mod polygon;
mod track;

pub use bbox::{BBox, PixelBox};
pub use filter::{Area, ObjectFilter, ZoneConfig, is_masked, standing_place};
pub use frame_size::FrameSize;
pub use labels::{LabelId, Labels};
pub use mask::{Mask, Masks};
pub use polygon::{Polygon, PolygonError};
pub use track::{Detection, Track, TrackChange, TrackState};
