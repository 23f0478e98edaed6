//! The words every Watchpost crate shares: boxes, detections, tracks and label sets.
//!
//! Depends on nothing but serde. Everything else points here: `detection <- *-core <- gst-plugin-*`.

mod bbox;
mod labels;
mod track;

pub use bbox::{BBox, PixelBox};
pub use labels::{LabelId, Labels};
pub use track::{Detection, Track, TrackChange, TrackState};
