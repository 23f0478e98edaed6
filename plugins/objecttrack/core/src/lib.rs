//! Identity that lasts: which detection is which object, frame after frame.
//!
//! [`Tracker::step`] takes one frame's detections, its time, and the parts of the picture the detector looked at, and gives back the
//! tracks. It is made for surveillance cameras: 5 frames per second, only some regions inspected per frame, objects that park for
//! hours. Its first rule: **what was not looked at does not age**. All limits are seconds taken from the timestamps; the same input
//! gives the same output; nothing is allocated once the scene has been seen at its largest.
//!
//! Not here: pixels (but for the optional [`appearance`] check), GStreamer, detectors. Depends on `detection` alone.
//!
//! ```
//! use detection::{BBox, Detection};
//! use objecttrack_core::{LookedAt, Params, Tracker};
//!
//! let mut tracker = Tracker::new(Params::default());
//! for frame in 0..5u8 {
//!     let walker = Detection { bbox: BBox::from_xywh(100.0 + 8.0 * f32::from(frame), 80.0, 40.0, 90.0), label: 0, score: 0.9 };
//!     let tracks = tracker.step(f64::from(frame) * 0.2, &[walker], LookedAt::Everything);
//!     assert_eq!(tracks[0].track.id, 1);
//! }
//! ```

pub mod appearance;
mod assignment;
mod candidates;
mod duplicates;
mod geometry;
mod kalman;
mod object;
mod params;
pub mod report;
pub mod rules;
mod timeline;
mod tracker;

pub use params::{LabelParams, Motion, Params};
pub use report::{Report, Reporter};
pub use rules::{Rules, Zone};
pub use tracker::{Change, Evidence, LookedAt, Tracked, Tracker};
