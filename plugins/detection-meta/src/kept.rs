//! A copy of all detections of a frame in the custom meta `watchpost-detections`, and how lost ones are restored from it.
//!
//! Elements that convert or scale pixels drop the structures of ROI metas, in some versions of GStreamer the metas
//! themselves. They copy a custom meta without tags.

use detection::{BBox, FrameSize};
use gst::meta::CustomMeta;
use gst::prelude::*;
use gst_video::VideoRegionOfInterestMeta;

use crate::rois::{complete_roi, from_pixels};
use crate::{DetectionRoi, MOTION_ROI, add_detection, detections};

/// Name of the custom meta. Fields: `width`, `height` uint (of the frame the detections were found in), `detections`:
/// GstArray of structures {`label` string, `label_id` int, `confidence`, `x_min`, `x_max`, `y_min`, `y_max` double in
/// fractions of the frame, `id` int once a tracker has given one}.
pub const DETECTIONS_META: &str = "watchpost-detections";

/// Boxes that overlap by at least this much (IoU) are the same one.
const SAME_BOX: f32 = 0.9;
/// Below this overlap the ROI has been transformed in a way that fractions do not follow.
const MOVED: f32 = 0.5;

/// What [`restore_detections`] has found on a buffer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Detections that an element in between had lost and that are back.
    pub restored: usize,
    /// Detections that are lost: the frame has another size and nothing says where they are in it.
    pub lost: usize,
    /// ROI metas without a `detection` structure that are no motion boxes and of which no copy exists. They are not
    /// detections: an element in between has dropped the structures, or they mean something else.
    pub bare: usize,
}

/// Writes the copy of all detections on the buffer, replacing an older one. For an element that has added or changed some.
pub fn keep_detections(buffer: &mut gst::BufferRef, frame: FrameSize) {
    let all: Vec<gst::Structure> = detections(buffer, frame)
        .map(|d| to_structure(&d))
        .collect();
    if all.is_empty() && CustomMeta::from_buffer(buffer, DETECTIONS_META).is_err() {
        return;
    }
    let write = |structure: &mut gst::StructureRef| {
        structure.set("width", frame.width);
        structure.set("height", frame.height);
        structure.set(
            "detections",
            gst::Array::new(all.iter().map(|d| d.to_send_value())),
        );
    };
    if let Ok(mut meta) = CustomMeta::from_mut_buffer(buffer, DETECTIONS_META) {
        write(meta.mut_structure());
        return;
    }
    if let Ok(mut meta) = CustomMeta::add(buffer, DETECTIONS_META) {
        write(meta.mut_structure());
    }
}

/// Restores detections that an element between their writer and this one has lost. Call it before [`detections`].
pub fn restore_detections(buffer: &mut gst::BufferRef, frame: FrameSize) -> Restored {
    let mut result = Restored::default();
    let Some((size, mut missing)) = read(buffer) else {
        result.bare = bare_rois(buffer);
        return result;
    };
    for whole in detections(buffer, frame) {
        let same = |d: &Kept| d.label == whole.label && d.bbox.iou(&whole.bbox) > SAME_BOX;
        if let Some(i) = missing.iter().position(same) {
            missing.remove(i);
        }
    }
    // A ROI that has lost its structure: the order of ROIs of one label is that in which they were written.
    for mut roi in buffer.iter_meta_mut::<VideoRegionOfInterestMeta>() {
        if roi.roi_type() == MOTION_ROI || roi.param("detection").is_some() {
            continue;
        }
        let Some(i) = missing.iter().position(|d| d.label == roi.roi_type()) else {
            result.bare += 1;
            continue;
        };
        let mut found = missing.remove(i);
        let rectangle = from_pixels(roi.rect(), frame);
        if found.bbox.iou(&rectangle) < MOVED {
            found.bbox = rectangle;
        }
        complete_roi(&mut roi, &found.as_roi());
        result.restored += 1;
    }
    // The ROIs are gone as a whole. In a frame of the same size the fractions still hold; in another one the picture may
    // have been cropped.
    if size != frame {
        result.lost = missing.len();
        return result;
    }
    for found in &missing {
        add_detection(buffer, frame, &found.as_roi());
        result.restored += 1;
    }
    result
}

fn bare_rois(buffer: &gst::BufferRef) -> usize {
    buffer
        .iter_meta::<VideoRegionOfInterestMeta>()
        .filter(|roi| roi.roi_type() != MOTION_ROI && roi.param("detection").is_none())
        .count()
}

/// A detection as it was kept.
struct Kept {
    label: String,
    label_id: i32,
    confidence: f64,
    bbox: BBox,
    object_id: Option<i32>,
}

impl Kept {
    fn as_roi(&self) -> DetectionRoi<'_> {
        DetectionRoi {
            label: &self.label,
            label_id: self.label_id,
            confidence: self.confidence,
            bbox: self.bbox,
            object_id: self.object_id,
        }
    }
}

fn to_structure(detection: &DetectionRoi<'_>) -> gst::Structure {
    gst::Structure::builder("detection")
        .field("label", detection.label)
        .field("label_id", detection.label_id)
        .field("confidence", detection.confidence)
        .field("x_min", f64::from(detection.bbox.x1))
        .field("x_max", f64::from(detection.bbox.x2))
        .field("y_min", f64::from(detection.bbox.y1))
        .field("y_max", f64::from(detection.bbox.y2))
        .field_if_some("id", detection.object_id)
        .build()
}

/// The size of the frame the detections were found in, and the detections; incomplete ones are skipped.
fn read(buffer: &gst::BufferRef) -> Option<(FrameSize, Vec<Kept>)> {
    let meta = CustomMeta::from_buffer(buffer, DETECTIONS_META).ok()?;
    let structure = meta.structure();
    let size = FrameSize::new(structure.get("width").ok()?, structure.get("height").ok()?);
    let all = structure.get::<gst::ArrayRef>("detections").ok()?;
    let kept = |value: &gst::glib::SendValue| {
        let d = value.get::<gst::Structure>().ok()?;
        let number = |name: &str| d.get::<f64>(name).ok().filter(|v| v.is_finite());
        let bbox = BBox::new(
            number("x_min")? as f32,
            number("y_min")? as f32,
            number("x_max")? as f32,
            number("y_max")? as f32,
        );
        bbox.is_valid().then_some(())?;
        Some(Kept {
            label: d.get("label").ok()?,
            label_id: d.get("label_id").unwrap_or(-1),
            confidence: number("confidence").unwrap_or(1.0),
            bbox,
            object_id: d.get("id").ok(),
        })
    };
    Some((size, all.iter().filter_map(kept).collect()))
}
