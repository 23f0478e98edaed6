//! GStreamer elements that share frames between processes through a shared-memory ring.
//!
//! [`shmringsink`] publishes a stream, any number of [`shmringsrc`] in other processes read it without being able to disturb it or
//! each other. The ring itself is the crate `shmring-core`, which knows no GStreamer; here is what GStreamer adds: buffers, caps,
//! metadata ([`wire`]), clocks.

#![allow(missing_docs)] // on what plugin_define! itself makes

use gst::glib;

mod flag;
pub mod raw;
mod report;
pub mod shmringsink;
pub mod shmringsrc;
mod time;
pub mod wire;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    detection_meta::register_metas();
    shmringsink::register(plugin)?;
    shmringsrc::register(plugin)?;
    Ok(())
}

gst::plugin_define!(
    shmring,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_REPOSITORY"),
    env!("BUILD_REL_DATE")
);
