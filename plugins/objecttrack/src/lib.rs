//! GStreamer element that gives detected objects an identity that lasts.

#![allow(missing_docs)] // on what plugin_define! itself makes

use gst::glib;

pub mod objecttrack;
mod rules;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    detection_meta::register_metas();
    objecttrack::register(plugin)
}

gst::plugin_define!(
    objecttrack,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
