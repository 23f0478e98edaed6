//! The custom metas: their registration, and how a field of one is written.

use gst::glib;
use gst::meta::CustomMeta;

use crate::{DETECTIONS_META, MOTION_STATE_META, REGIONS_META};

/// Registers the custom metas unless another library in this process has. Call it once before reading or writing them.
pub fn register_metas() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for name in [DETECTIONS_META, MOTION_STATE_META, REGIONS_META] {
            if !CustomMeta::is_registered(name) {
                // Without tags elements copy the meta whatever they do to the pixels: the fields are fractions.
                CustomMeta::register(name, &[]);
            }
        }
    });
}

/// Sets a field of the buffer's meta of this name, which is added where there is none.
pub(crate) fn set_field(
    buffer: &mut gst::BufferRef,
    meta: &str,
    field: &str,
    value: impl Into<glib::Value> + Send,
) {
    if let Ok(mut meta) = CustomMeta::from_mut_buffer(buffer, meta) {
        meta.mut_structure().set(field, value);
        return;
    }
    if let Ok(mut meta) = CustomMeta::add(buffer, meta) {
        meta.mut_structure().set(field, value);
    }
}
