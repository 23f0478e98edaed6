//! Stands in for libcamera's GStreamer plugin where no Raspberry Pi is at hand: `libcamerasrc` and `libcameraprovider`
//! with the pads, properties, stream limits and messages of a chosen release, and with faults when they are asked for.
//!
//! **For tests only.** Nothing installs it; the programs under test find it through the environment that
//! [`Environment`] makes for them. What it is told is in [`script`].
//!
//! Like the original, and easy to get wrong: each pad is a stream, linked or not; all streams stand still while one of
//! them has all its buffers in use downstream; one process has a camera at a time; when the sensor stops sending,
//! nothing is said on the bus.

mod camera;
mod entry;
mod environment;
mod picture;
mod provider;
pub mod script;
mod source;

pub use environment::{Environment, within, within_each};

use gst::glib;
use gst::prelude::*;

fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    gst::Element::register(
        Some(plugin),
        "libcamerasrc",
        gst::Rank::PRIMARY,
        source::LibcameraSrc::static_type(),
    )?;
    gst::DeviceProvider::register(
        Some(plugin),
        "libcameraprovider",
        gst::Rank::PRIMARY,
        provider::LibcameraProvider::static_type(),
    )
}
