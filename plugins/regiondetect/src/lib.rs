//! GStreamer elements that find motion and detect objects in the regions where it pays.

#![allow(missing_docs)] // on what plugin_define! itself makes

use gst::glib;

pub mod engine;
mod motiondetect;
mod regiondetect;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    motiondetect::register(plugin)?;
    regiondetect::register(plugin)
}

gst::plugin_define!(
    regiondetect,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
