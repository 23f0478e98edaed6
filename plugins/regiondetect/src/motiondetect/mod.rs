//! Element `motiondetect`: finds where a picture changes.
//!
//! Frigate's motion detection on the brightness of raw video, shrunk to about 100 rows: contrast stretched over a moving
//! window, masks, blur, difference to a running average. Pixels are only read; what is found is left on the buffers as ROI
//! metas of type `motion` and the custom meta `watchpost-motion-state`, and posted as the element message
//! `watchpost-motion` {active boolean, pts uint64} when motion begins or has ended.
//!
//! ```text
//! gst-launch-1.0 -m videotestsrc pattern=ball num-buffers=300 ! video/x-raw,width=1280,height=720 ! motiondetect ! fakesink
//! ```
//!
//! All properties can be changed while playing; see `docs/elements/motiondetect.md`.

mod imp;
mod settings;

use gst::glib;
use gst::prelude::*;

glib::wrapper! {
    /// The element.
    pub struct MotionDetect(ObjectSubclass<imp::MotionDetect>) @extends gst_base::BaseTransform, gst::Element, gst::Object;
}

pub(crate) fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "motiondetect",
        gst::Rank::NONE,
        MotionDetect::static_type(),
    )
}
