//! The element `regiondetect`: looks for objects where it pays, and writes them on the buffers.
//!
//! It takes the motion boxes that `motiondetect` left, the tracks that `objecttrack` announces from downstream and what
//! it has learned of the scene, makes the fewest model inputs of them, runs those through the engine that all elements
//! with the same model share, and leaves on every buffer the detections (`GstVideoRegionOfInterestMeta` with the structure
//! `detection`) and what was looked at (custom meta `watchpost-regions`). Without `motiondetect` upstream it looks at the
//! whole frame each time, without a tracker downstream it works from motion and its grid alone.
//!
//! ```text
//! gst-launch-1.0 filesrc location=walk.mp4 ! decodebin ! videoconvert ! motiondetect
//!     ! regiondetect model=yolox_nano.onnx ! objecttrack ! fakesink
//! ```
//!
//! Frames go out as they come in, in order, each with its own detections; what is slow slows the stream, so that the
//! source decides what to skip.

mod frame;
mod imp;
mod picture;
mod settings;
mod stats;

use gst::glib;
use gst::prelude::*;

glib::wrapper! {
    /// The element.
    pub struct RegionDetect(ObjectSubclass<imp::RegionDetect>)
        @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element as `regiondetect`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "regiondetect",
        gst::Rank::NONE,
        RegionDetect::static_type(),
    )
}
