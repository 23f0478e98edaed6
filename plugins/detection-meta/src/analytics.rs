//! The same objects in `GstAnalyticsRelationMeta` (GStreamer 1.24 and later), for readers of that form.

use gst_analytics::prelude::*;
use gst_analytics::{AnalyticsODMtd, AnalyticsRelationMeta, RelTypes};

/// Adds an object entry and returns its id, which the ROI meta carries too: DL Streamer looks objects up by it.
pub fn add_object(
    buffer: &mut gst::BufferRef,
    label: &str,
    (x, y, w, h): (u32, u32, u32, u32),
    confidence: f64,
) -> Option<i32> {
    if buffer.meta::<AnalyticsRelationMeta>().is_none() {
        AnalyticsRelationMeta::add(buffer);
    }
    let mut relations = buffer.meta_mut::<AnalyticsRelationMeta>()?;
    let label = glib::Quark::from_str(label);
    let object = relations.add_od_mtd(
        label,
        x as i32,
        y as i32,
        w as i32,
        h as i32,
        confidence as f32,
    );
    i32::try_from(object.ok()?.id()).ok()
}

/// Adds a tracking entry for the object entry `object`, related object -> tracking by RELATE_TO. Does nothing where the
/// buffer has no such object entry: the detection was written by somebody who knows only ROI metas.
pub fn add_tracking(buffer: &mut gst::BufferRef, object: i32, id: i32) {
    let (Ok(object), Ok(tracking_id)) = (u32::try_from(object), u64::try_from(id)) else {
        return;
    };
    let seen = buffer.pts().unwrap_or_default();
    let known = |relations: gst::MetaRef<AnalyticsRelationMeta>| {
        relations.mtd::<AnalyticsODMtd>(object).is_some()
    };
    if !buffer.meta::<AnalyticsRelationMeta>().is_some_and(known) {
        return;
    }
    let Some(mut relations) = buffer.meta_mut::<AnalyticsRelationMeta>() else {
        return;
    };
    let Ok(tracking) = relations
        .add_tracking_mtd(tracking_id, seen)
        .map(|t| t.id())
    else {
        return;
    };
    // Fails only for ids that are not there, and both were just seen.
    let _ = relations.set_relation(RelTypes::RELATE_TO, object, tracking);
}
