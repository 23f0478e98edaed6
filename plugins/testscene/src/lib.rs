//! GStreamer element that paints test scenes with moving people and cars, and fails as scripted.
//!
//! [`scene`] renders without GStreamer; [`source`] is the element `watchposttestsrc`.

#![allow(missing_docs)] // on what plugin_define! itself makes

use gst::glib;

mod imp;
pub mod scene;
pub mod source;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    source::register(plugin)
}

gst::plugin_define!(
    testscene,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
