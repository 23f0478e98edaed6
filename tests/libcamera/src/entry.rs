//! The entry point GStreamer looks for. It is written by hand because the plugin's version, which programs read as
//! libcamera's, is only known at run time.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr;
use std::sync::OnceLock;

use gst::glib;
use gst::glib::translate::*;

use crate::script::Script;

struct Description(gst::ffi::GstPluginDesc);

// SAFETY: its pointers are to strings that are never changed and never freed.
unsafe impl Send for Description {}
// SAFETY: as above.
unsafe impl Sync for Description {}

/// A string that lives as long as the process, as GStreamer wants those of a plugin.
fn forever(text: &str) -> *const std::ffi::c_char {
    CString::new(text).unwrap_or_default().into_raw()
}

unsafe extern "C" fn plugin_init(plugin: *mut gst::ffi::GstPlugin) -> glib::ffi::gboolean {
    // SAFETY: GStreamer hands its plugin over for the time of the call.
    let plugin: Borrowed<gst::Plugin> = unsafe { from_glib_borrow(plugin) };
    crate::register(&plugin).is_ok().into_glib()
}

/// What GStreamer asks a file named `libgstlibcameratest.so` for.
#[unsafe(no_mangle)]
pub extern "C" fn gst_plugin_libcameratest_get_desc() -> *const gst::ffi::GstPluginDesc {
    static DESCRIPTION: OnceLock<Description> = OnceLock::new();
    let description = DESCRIPTION.get_or_init(|| {
        Description(gst::ffi::GstPluginDesc {
            major_version: 1,
            minor_version: 22,
            name: forever("libcameratest"),
            description: forever(env!("CARGO_PKG_DESCRIPTION")),
            plugin_init: Some(plugin_init),
            version: forever(&Script::get().version_text),
            license: forever("MIT/X11"),
            source: forever(env!("CARGO_PKG_NAME")),
            package: forever(env!("CARGO_PKG_NAME")),
            origin: forever(env!("CARGO_PKG_REPOSITORY")),
            release_datetime: ptr::null(),
            _gst_reserved: [ptr::null_mut(); 4],
        })
    });
    &description.0
}
