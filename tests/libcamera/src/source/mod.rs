//! `libcamerasrc`.

mod imp;
mod negotiate;
mod pad;
mod properties;
mod stream;

use gst::glib;

pub use negotiate::offered;
pub use pad::{LibcameraPad, Role};

glib::wrapper! {
    /// Stands in for libcamera's source element.
    pub struct LibcameraSrc(ObjectSubclass<imp::Source>)
        @extends gst::Element, gst::Object, @implements gst::ChildProxy;
}
