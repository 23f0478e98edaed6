//! Detections and motion boxes as `GstVideoRegionOfInterestMeta`, the form DL Streamer and others read.

use detection::{BBox, FrameSize};
use gst_video::VideoRegionOfInterestMeta;

/// `roi_type` of a motion box; such a meta has no `detection` structure.
pub const MOTION_ROI: &str = "motion";

/// `roi.id` of a ROI without an entry in analytics metadata. Those count from 0.
const NO_ENTRY: i32 = -1;

/// Size of the frames of a stream.
pub fn frame_size(info: &gst_video::VideoInfo) -> FrameSize {
    FrameSize::new(info.width(), info.height())
}

/// One detection as it lies on a buffer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetectionRoi<'a> {
    /// `roi_type`: name of the class.
    pub label: &'a str,
    /// `detection.label_id`: number of the class in the model's labels, -1 where the writer gave none.
    pub label_id: i32,
    /// `detection.confidence`, 0..=1; 1 where the writer gave none.
    pub confidence: f64,
    /// Where, in fractions of the frame.
    pub bbox: BBox,
    /// `object_id.id`, once a tracker has given one.
    pub object_id: Option<i32>,
}

/// What a tracker knows of an object beside its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Id of the track.
    pub id: i32,
    /// Timestamp of the first frame it was seen in; without it that of the buffer.
    pub first_seen: Option<gst::ClockTime>,
    /// Timestamp of the newest frame it was seen in; without it that of the buffer.
    pub last_seen: Option<gst::ClockTime>,
    /// It moves and was not seen in this frame: its box is a prediction.
    pub is_lost: bool,
}

impl From<i32> for Identity {
    fn from(id: i32) -> Self {
        Self {
            id,
            first_seen: None,
            last_seen: None,
            is_lost: false,
        }
    }
}

/// Adds a detection: a ROI meta with `roi_type` = label and the structure `detection` {label_id int, confidence double,
/// x_min, x_max, y_min, y_max double}, and under `v1_24` the matching entry of `GstAnalyticsRelationMeta`
/// (`roi.id` is then its id). An `object_id` that is given is written as by [`assign_object_ids`].
pub fn add_detection(buffer: &mut gst::BufferRef, frame: FrameSize, detection: &DetectionRoi) {
    add(
        buffer,
        frame,
        detection,
        detection.object_id.map(Identity::from),
    );
}

/// Adds the detection of an object that a tracker knows.
pub fn add_tracked(
    buffer: &mut gst::BufferRef,
    frame: FrameSize,
    detection: &DetectionRoi,
    identity: Identity,
) {
    add(buffer, frame, detection, Some(identity));
}

fn add(
    buffer: &mut gst::BufferRef,
    frame: FrameSize,
    detection: &DetectionRoi,
    identity: Option<Identity>,
) {
    let rect = to_pixels(&detection.bbox, frame);
    #[cfg(feature = "v1_24")]
    let od = crate::analytics::add_object(buffer, detection.label, rect, detection.confidence);

    let mut roi = VideoRegionOfInterestMeta::add(buffer, detection.label, rect);
    roi.add_param(detection_structure(detection));
    if let Some(identity) = identity {
        roi.add_param(object_id_structure(identity.id));
        roi.set_id(identity.id);
    }
    #[cfg(feature = "v1_24")]
    if let Some(od) = od {
        roi.set_id(od);
        if let Some(identity) = identity {
            crate::analytics::add_tracking(buffer, od, identity);
        }
    }
}

/// Gives a ROI meta that has lost its structures those of this detection. Its `roi.id` stays: where analytics metadata is
/// written, it is the id of the object's entry, which is not lost.
pub(crate) fn complete_roi(
    roi: &mut gst::MetaRefMut<'_, VideoRegionOfInterestMeta, gst::meta::Iterated>,
    detection: &DetectionRoi,
) {
    roi.add_param(detection_structure(detection));
    if let Some(id) = detection.object_id {
        roi.add_param(object_id_structure(id));
    }
}

fn detection_structure(detection: &DetectionRoi) -> gst::Structure {
    gst::Structure::builder("detection")
        .field("label_id", detection.label_id)
        .field("confidence", detection.confidence)
        .field("x_min", f64::from(detection.bbox.x1))
        .field("x_max", f64::from(detection.bbox.x2))
        .field("y_min", f64::from(detection.bbox.y1))
        .field("y_max", f64::from(detection.bbox.y2))
        .build()
}

/// Adds a motion box: a ROI meta of type [`MOTION_ROI`] without a `detection` structure. Its `roi.id` is one that no entry
/// of analytics metadata has: readers look ROIs up by the id of an object's entry.
pub fn add_motion(buffer: &mut gst::BufferRef, frame: FrameSize, bbox: &BBox) {
    VideoRegionOfInterestMeta::add(buffer, MOTION_ROI, to_pixels(bbox, frame)).set_id(NO_ENTRY);
}

/// The motion boxes on a buffer, in fractions of the frame.
pub fn motion_boxes(buffer: &gst::BufferRef, frame: FrameSize) -> impl Iterator<Item = BBox> + '_ {
    buffer
        .iter_meta::<VideoRegionOfInterestMeta>()
        .filter(|roi| roi.roi_type() == MOTION_ROI && roi.param("detection").is_none())
        .map(move |roi| from_pixels(roi.rect(), frame))
}

/// The detections on a buffer, whoever wrote them, in the order they were added. A ROI without a `detection` structure
/// is none. A structure without coordinates takes them from the ROI's rectangle; boxes that are not finite are passed over.
pub fn detections(
    buffer: &gst::BufferRef,
    frame: FrameSize,
) -> impl Iterator<Item = DetectionRoi<'_>> + '_ {
    buffer
        .iter_meta::<VideoRegionOfInterestMeta>()
        .filter_map(move |roi| read_detection(&roi, frame))
}

/// Gives every object entry of `GstAnalyticsRelationMeta` without a `detection` structure on a ROI meta one, so that
/// detections of elements that write only analytics metadata are read like all others.
#[cfg(feature = "v1_24")]
pub fn adopt_analytics_objects(buffer: &mut gst::BufferRef, frame: FrameSize) {
    for (od, label, rect, confidence) in crate::analytics::objects_without_roi(buffer) {
        let Ok(od) = i32::try_from(od) else { continue };
        let detection = DetectionRoi {
            label: &label,
            label_id: -1,
            confidence: f64::from(confidence),
            bbox: from_pixels(rect, frame),
            object_id: None,
        };
        // Its own ROI may still be there, without the structure: an element in between has dropped that.
        let mut own = buffer
            .iter_meta_mut::<VideoRegionOfInterestMeta>()
            .find(|roi| roi.id() == od && roi.roi_type() == label);
        if let Some(roi) = &mut own {
            complete_roi(roi, &detection);
            continue;
        }
        drop(own);
        let mut roi = VideoRegionOfInterestMeta::add(buffer, &label, rect);
        roi.set_id(od);
        roi.add_param(detection_structure(&detection));
    }
}

/// Gives ids to detections: `id_for` sees each detection in the order of [`detections`] with its index and answers with
/// the id, or `None` to leave it without. Written as structure `object_id` {id int} and in `roi.id`; under `v1_24` as a
/// tracking entry related to the object's (`roi.id` then stays the id of that entry, as readers of it expect).
pub fn assign_object_ids<I: Into<Identity>>(
    buffer: &mut gst::BufferRef,
    frame: FrameSize,
    mut id_for: impl FnMut(usize, &DetectionRoi) -> Option<I>,
) {
    let mut index = 0;
    #[cfg(feature = "v1_24")]
    let mut tracked = Vec::new();
    for mut roi in buffer.iter_meta_mut::<VideoRegionOfInterestMeta>() {
        let Some(detection) = read_detection(&roi, frame) else {
            continue;
        };
        let identity = id_for(index, &detection).map(Into::into);
        index += 1;
        let Some(identity) = identity else { continue };
        roi.add_param(object_id_structure(identity.id));
        #[cfg(feature = "v1_24")]
        tracked.push((roi.id(), identity));
        #[cfg(not(feature = "v1_24"))]
        roi.set_id(identity.id);
    }
    #[cfg(feature = "v1_24")]
    for (od, identity) in tracked {
        crate::analytics::add_tracking(buffer, od, identity);
    }
}

fn object_id_structure(id: i32) -> gst::Structure {
    gst::Structure::builder("object_id").field("id", id).build()
}

fn read_detection<'a>(
    roi: &VideoRegionOfInterestMeta,
    frame: FrameSize,
) -> Option<DetectionRoi<'a>> {
    let detection = roi.param("detection")?;
    let rect = from_pixels(roi.rect(), frame);
    // The contract says double; a detector that writes float means the same.
    let number = |name: &str| {
        let single = || detection.get::<f32>(name).map(f64::from);
        detection.get::<f64>(name).or_else(|_| single()).ok()
    };
    let coordinate = |name: &str, otherwise: f32| number(name).map_or(otherwise, |v| v as f32);
    let bbox = BBox::new(
        coordinate("x_min", rect.x1),
        coordinate("y_min", rect.y1),
        coordinate("x_max", rect.x2),
        coordinate("y_max", rect.y2),
    );
    bbox.is_valid().then(|| DetectionRoi {
        label: roi.roi_type(),
        label_id: detection.get("label_id").unwrap_or(-1),
        confidence: number("confidence").unwrap_or(1.0),
        bbox,
        // The newest one counts, should a second tracker have added its own.
        object_id: roi
            .params()
            .filter(|p| p.name() == "object_id")
            .filter_map(|p| p.get("id").ok())
            .last(),
    })
}

/// Whole pixels around the box, inside the frame and at least one pixel in size.
fn to_pixels(bbox: &BBox, frame: FrameSize) -> (u32, u32, u32, u32) {
    let span = |from: f32, to: f32, size: u32| {
        let pixel = |fraction: f32| {
            let at = (f64::from(fraction) * f64::from(size)).round();
            at.clamp(0.0, f64::from(size)) as u32
        };
        let first = pixel(from).min(size.saturating_sub(1));
        (first, pixel(to).saturating_sub(first).max(1))
    };
    let (x, w) = span(bbox.x1, bbox.x2, frame.width);
    let (y, h) = span(bbox.y1, bbox.y2, frame.height);
    (x, y, w, h)
}

pub(crate) fn from_pixels((x, y, w, h): (u32, u32, u32, u32), frame: FrameSize) -> BBox {
    frame.to_fractions(&BBox::from_xywh(x as f32, y as f32, w as f32, h as f32))
}
