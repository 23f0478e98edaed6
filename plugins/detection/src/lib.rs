//! The words every Watchpost crate shares: boxes, detections, tracks and label sets.
//!
//! Depends on serde, and under `schema` on schemars. Everything else points here: `detection <- *-core <- gst-plugin-*`.

mod bbox;
mod frame_size;
mod labels;
mod track;

pub use bbox::{BBox, PixelBox};
pub use frame_size::FrameSize;
pub use labels::{LabelId, Labels};
pub use track::{Detection, Track, TrackChange, TrackState};
