//! The same objects in `GstAnalyticsRelationMeta` (GStreamer 1.24 and later), for readers of that form.

use gst_analytics::prelude::*;
use gst_analytics::{AnalyticsODMtd, AnalyticsRelationMeta, AnalyticsTrackingMtd, RelTypes};

use crate::{Identity, MOTION_ROI};

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
pub fn add_tracking(buffer: &mut gst::BufferRef, object: i32, identity: Identity) {
    let (Ok(object), Ok(tracking_id)) = (u32::try_from(object), u64::try_from(identity.id)) else {
        return;
    };
    let now = buffer.pts().unwrap_or_default();
    let first_seen = identity.first_seen.unwrap_or(now);
    let last_seen = identity.last_seen.unwrap_or(now);
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
        .add_tracking_mtd(tracking_id, first_seen)
        .map(|t| t.id())
    else {
        return;
    };
    // Fails only for ids that are not there, and both were just seen.
    let _ = relations.set_relation(RelTypes::RELATE_TO, object, tracking);
    // Last, since the entry borrows the metadata for good.
    if let Some(mut tracking) = relations.mtd_mut::<AnalyticsTrackingMtd>(tracking) {
        // Both fail only for entries that are not there.
        let _ = tracking.update_last_seen(last_seen);
        if identity.is_lost {
            let _ = tracking.set_lost();
        }
    }
}

/// An object entry as it was written: its id, label, rectangle in pixels, confidence.
pub type Object = (u32, String, (u32, u32, u32, u32), f32);

/// The object entries for which no ROI meta has a `detection` structure: their writer knows only this form, or an element
/// in between has dropped the structure.
pub fn objects_without_roi(buffer: &gst::BufferRef) -> Vec<Object> {
    let Some(relations) = buffer.meta::<AnalyticsRelationMeta>() else {
        return Vec::new();
    };
    let pixels = |v: i32| u32::try_from(v).unwrap_or(0);
    relations
        .iter::<AnalyticsODMtd>()
        .filter(|object| {
            !buffer
                .iter_meta::<gst_video::VideoRegionOfInterestMeta>()
                .any(|roi| {
                    u32::try_from(roi.id()) == Ok(object.id())
                        && roi.roi_type() != MOTION_ROI
                        && roi.param("detection").is_some()
                })
        })
        .filter_map(|object| {
            let at = object.location().ok()?;
            let label = object.obj_type().map_or("unknown", |label| label.as_str());
            let rect = (pixels(at.x), pixels(at.y), pixels(at.w), pixels(at.h));
            Some((object.id(), label.to_owned(), rect, at.loc_conf_lvl))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use detection::FrameSize;

    use crate::{adopt_analytics_objects, assign_object_ids, detections};

    #[test]
    fn an_object_known_only_to_analytics_is_read_and_gets_its_id_like_any_other() {
        gst::init().expect("GStreamer starts");
        let frame = FrameSize {
            width: 640,
            height: 360,
        };
        let mut buffer = gst::Buffer::new();
        let buffer = buffer.get_mut().expect("a new buffer is writable");
        add_object(buffer, "person", (64, 36, 64, 108), 0.75);
        for _ in 0..2 {
            adopt_analytics_objects(buffer, frame);
        }
        let found: Vec<_> = detections(buffer, frame).collect();
        assert_eq!(found.len(), 1, "adopted twice");
        assert_eq!((found[0].label, found[0].confidence), ("person", 0.75));
        assert!((found[0].bbox.x1 - 0.1).abs() < 1e-6 && (found[0].bbox.y2 - 0.4).abs() < 1e-6);
        assign_object_ids(buffer, frame, |_, _| Some(7));
        let relations = buffer
            .meta::<AnalyticsRelationMeta>()
            .expect("the relations are still there");
        let ids: Vec<_> = relations
            .iter::<gst_analytics::AnalyticsTrackingMtd>()
            .map(|tracking| tracking.info().0)
            .collect();
        assert_eq!(ids, [7]);
    }
}
