//! `libcamerasrc`.

mod imp;
mod negotiate;
mod pad;
mod properties;
mod stream;

use gst::glib;

pub use pad::LibcameraPad;

glib::wrapper! {
    /// Stands in for libcamera's source element.
    pub struct LibcameraSrc(ObjectSubclass<imp::Source>)
        @extends gst::Element, gst::Object, @implements gst::ChildProxy;
}
