//! The element messages `watchpost-motion` and `watchpost-track`.

use detection::{BBox, TrackChange};
use gst::prelude::*;

/// Motion began or ended: `watchpost-motion` {active boolean, pts uint64}.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionMessage {
    /// Motion is there.
    pub active: bool,
    /// Timestamp of the frame that changed it.
    pub pts: Option<gst::ClockTime>,
}

impl MotionMessage {
    /// Name of the message's structure.
    pub const NAME: &str = "watchpost-motion";

    /// The structure to post as an element message.
    pub fn to_structure(&self) -> gst::Structure {
        gst::Structure::builder(Self::NAME)
            .field("active", self.active)
            .field("pts", nanoseconds(self.pts))
            .build()
    }

    /// Reads such a structure; `None` for any other.
    pub fn parse(structure: &gst::StructureRef) -> Option<Self> {
        (structure.name() == Self::NAME).then_some(())?;
        Some(Self {
            active: structure.get("active").ok()?,
            pts: clock_time(structure, "pts"),
        })
    }
}

/// A track changed: `watchpost-track` {change string, id int, label string, score double, x, y, w, h double,
/// path_length double, first_seen, last_seen uint64, zones, entered, left: GstArray of strings}.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackMessage {
    /// What happened.
    pub change: TrackChange,
    /// Id of the track.
    pub id: i32,
    /// Name of its class.
    pub label: String,
    /// Confidence, 0..=1: the median over the track's history, as Frigate's `threshold` looks at it.
    pub score: f64,
    /// Where, in fractions of the frame.
    pub bbox: BBox,
    /// Way of the bottom centre so far, in fractions of the frame's width.
    pub path_length: f64,
    /// Timestamp of the first frame it was seen in.
    pub first_seen: Option<gst::ClockTime>,
    /// Timestamp of the newest frame it was seen in.
    pub last_seen: Option<gst::ClockTime>,
    /// Zones it is in.
    pub zones: Vec<String>,
    /// Zones it came into with this change.
    pub entered: Vec<String>,
    /// Zones it left with this change.
    pub left: Vec<String>,
}

impl TrackMessage {
    /// Name of the message's structure.
    pub const NAME: &str = "watchpost-track";

    /// The structure to post as an element message.
    pub fn to_structure(&self) -> gst::Structure {
        gst::Structure::builder(Self::NAME)
            .field("change", self.change.as_str())
            .field("id", self.id)
            .field("label", self.label.as_str())
            .field("score", self.score)
            .field("x", f64::from(self.bbox.x1))
            .field("y", f64::from(self.bbox.y1))
            .field("w", f64::from(self.bbox.width()))
            .field("h", f64::from(self.bbox.height()))
            .field("path_length", self.path_length)
            .field("first_seen", nanoseconds(self.first_seen))
            .field("last_seen", nanoseconds(self.last_seen))
            .field("zones", strings(&self.zones))
            .field("entered", strings(&self.entered))
            .field("left", strings(&self.left))
            .build()
    }

    /// Reads such a structure; `None` for any other and for one that is incomplete.
    pub fn parse(structure: &gst::StructureRef) -> Option<Self> {
        (structure.name() == Self::NAME).then_some(())?;
        let number = |name: &str| structure.get::<f64>(name).ok();
        Some(Self {
            change: TrackChange::from_word(structure.get("change").ok()?)?,
            id: structure.get("id").ok()?,
            label: structure.get("label").ok()?,
            score: number("score")?,
            bbox: BBox::from_xywh(
                number("x")? as f32,
                number("y")? as f32,
                number("w")? as f32,
                number("h")? as f32,
            ),
            path_length: number("path_length").unwrap_or(0.0),
            first_seen: clock_time(structure, "first_seen"),
            last_seen: clock_time(structure, "last_seen"),
            zones: read_strings(structure, "zones"),
            entered: read_strings(structure, "entered"),
            left: read_strings(structure, "left"),
        })
    }
}

/// GStreamer's own "no time" where there is none.
fn nanoseconds(time: Option<gst::ClockTime>) -> u64 {
    time.map_or(u64::MAX, gst::ClockTime::nseconds)
}

fn clock_time(structure: &gst::StructureRef, field: &str) -> Option<gst::ClockTime> {
    let time = structure
        .get::<u64>(field)
        .ok()
        .filter(|time| *time != u64::MAX)?;
    Some(gst::ClockTime::from_nseconds(time))
}

fn strings(values: &[String]) -> gst::Array {
    gst::Array::new(values.iter().map(|value| value.to_send_value()))
}

fn read_strings(structure: &gst::StructureRef, field: &str) -> Vec<String> {
    let Ok(values) = structure.get::<gst::ArrayRef>(field) else {
        return Vec::new();
    };
    values.iter().filter_map(|value| value.get().ok()).collect()
}
