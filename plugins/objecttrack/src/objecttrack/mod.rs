//! SECTION:element-objecttrack
//!
//! Gives detected objects an identity that lasts: through missed detections, crossings, low frame rates and hours of parking.
//!
//! It reads the detections on each buffer (`GstVideoRegionOfInterestMeta` with a `detection` structure, from any detector), what the detector looked
//! at (custom meta `watchpost-regions`; without it the whole frame), and writes `object_id` onto what it knows. It tells what
//! happens with element messages `watchpost-track`, and tells the detector upstream where to look next with the event
//! `watchpost-tracks`.
//!
//! ```sh
//! gst-launch-1.0 -m videotestsrc num-buffers=60 ! video/x-raw,width=640,height=360,framerate=30/1 ! videoconvert ! motiondetect ! regiondetect model=pipelines/demo-model/demo.onnx ! objecttrack ! fakesink
//! ```
//!
//! Properties, messages and metadata are described in `docs/elements/objecttrack.md`.

use gst::glib;
use gst::prelude::*;

mod annotate;
mod imp;
mod settings;
mod state;

glib::wrapper! {
    /// The element `objecttrack`.
    pub struct ObjectTrack(ObjectSubclass<imp::ObjectTrack>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

/// Registers the element.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "objecttrack",
        gst::Rank::NONE,
        ObjectTrack::static_type(),
    )
}
