//! What the detector looked at in a frame: the custom meta `watchpost-regions`.

use detection::BBox;

/// Name of the custom meta. Field `regions`: a GstArray of GstArrays of four doubles x, y, w, h in fractions of the frame.
/// An empty array says that nothing was looked at; no meta says that the whole frame was.
pub const REGIONS_META: &str = "watchpost-regions";

/// Writes what was looked at, replacing what an upstream detector said.
pub fn set_looked_at(buffer: &mut gst::BufferRef, regions: impl IntoIterator<Item = BBox>) {
    let regions = gst::Array::new(
        regions
            .into_iter()
            .map(|r| gst::Array::new([r.x1, r.y1, r.width(), r.height()].map(f64::from))),
    );
    crate::registry::set_field(buffer, REGIONS_META, "regions", regions);
}

/// What was looked at in this frame. `None`: the whole frame (there is no meta). Entries that are not four finite numbers
/// are passed over.
pub fn looked_at(buffer: &gst::BufferRef) -> Option<Vec<BBox>> {
    let meta = gst::meta::CustomMeta::from_buffer(buffer, REGIONS_META).ok()?;
    let regions = meta.structure().get::<gst::ArrayRef>("regions").ok()?;
    Some(regions.iter().filter_map(region).collect())
}

fn region(value: &glib::SendValue) -> Option<BBox> {
    let numbers = value.get::<gst::ArrayRef>().ok()?;
    let mut xywh = [0.0; 4];
    if numbers.len() != xywh.len() {
        return None;
    }
    for (to, from) in xywh.iter_mut().zip(numbers.iter()) {
        *to = from.get::<f64>().ok().filter(|v| v.is_finite())? as f32;
    }
    Some(BBox::from_xywh(xywh[0], xywh[1], xywh[2], xywh[3]))
}
