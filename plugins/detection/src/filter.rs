//! Filters and zones: which detections count and where, with Frigate's keys, meanings and defaults. Configuration files
//! and the tracker's properties have the same form.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{BBox, FrameSize, Masks, Polygon};

/// What a detection must be like to count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ObjectFilter {
    /// Smallest area of the box: in pixels of the analysed picture, or below 1 as a share of it.
    pub min_area: Area,
    /// Largest area of the box: in pixels of the analysed picture, or below 1 as a share of it.
    pub max_area: Area,
    /// Smallest width divided by height.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub min_ratio: f64,
    /// Largest width divided by height.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0)))]
    pub max_ratio: f64,
    /// Score, 0 to 1, below which a detection is ignored.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub min_score: f64,
    /// Score, 0 to 1, that the median of an object's detections must reach before the object is believed.
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 1.0)))]
    pub threshold: f64,
    /// Areas in which objects of this label are ignored.
    #[serde(skip_serializing_if = "Masks::is_empty")]
    pub mask: Masks,
}

impl Default for ObjectFilter {
    fn default() -> Self {
        Self {
            min_area: Area(0.0),
            max_area: Area(24_000_000.0),
            min_ratio: 0.0,
            max_ratio: 24_000_000.0,
            min_score: 0.5,
            threshold: 0.7,
            mask: Masks::default(),
        }
    }
}

impl ObjectFilter {
    /// Area and ratio of this box (in pixels of the frame) are allowed and no mask covers the place where it stands.
    pub fn allows(&self, pixels: &BBox, frame: FrameSize) -> bool {
        let area = f64::from(pixels.area());
        let ratio = f64::from(pixels.width() / pixels.height());
        area >= self.min_area.pixels(frame)
            && area <= self.max_area.pixels(frame)
            && (self.min_ratio..=self.max_ratio).contains(&ratio)
            && !is_masked(self.mask.polygons(), pixels, frame)
    }
}

/// One of the polygons contains the place where a box (in pixels of the frame) stands.
pub fn is_masked<'a>(
    mut polygons: impl Iterator<Item = &'a Polygon>,
    pixels: &BBox,
    frame: FrameSize,
) -> bool {
    let at = standing_place(pixels, frame);
    polygons.any(|polygon| polygon.contains(frame, at))
}

/// Where a box stands: the middle of its lower edge, in pixels inside the frame. A box that ends at the frame's last line
/// stands in a zone that ends there.
pub fn standing_place(pixels: &BBox, frame: FrameSize) -> (f32, f32) {
    const INSIDE: f32 = 0.999_99;
    let (width, height) = frame.real();
    let (x, y) = pixels.clamped(width, height).bottom_centre();
    (x.min(width * INSIDE), y.min(height * INSIDE))
}

/// An area: 1 and more are pixels of the analysed picture, less than 1 a share of it.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Area(#[cfg_attr(feature = "schema", schemars(range(min = 0.0)))] pub f64);

impl Area {
    /// In pixels of a picture of this size.
    pub fn pixels(self, frame: FrameSize) -> f64 {
        if self.0 < 1.0 {
            self.0 * f64::from(frame.width) * f64::from(frame.height)
        } else {
            self.0
        }
    }
}

/// A named area of the picture; an object is in it when the middle of its lower edge is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Whether the zone is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// Corners `x,y,x,y,...`: shares of the picture (0 to 1), or pixels of the analysed picture.
    pub coordinates: Polygon,
    /// Labels the zone is for; without it all.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "one_or_many"
    )]
    pub objects: Vec<String>,
    /// What an object must be like to count in this zone, by label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, ObjectFilter>,
    /// Frames an object must be in the zone before it counts.
    #[serde(default = "default_inertia")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10_000)))]
    pub inertia: u32,
    /// Seconds an object must stay in the zone before it counts.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 86_400.0)))]
    pub loitering_time: f64,
    /// Real lengths of the zone's four sides. Accepted for Frigate's sake, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distances: Option<serde_json::Value>,
    /// Accepted for Frigate's sake, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_threshold: Option<f64>,
}

const fn yes() -> bool {
    true
}

const fn default_inertia() -> u32 {
    3
}

/// Frigate takes one label instead of a list.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a label or a list of labels")]
    enum Labels {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::deserialize(deserializer)? {
        None => Vec::new(),
        Some(Labels::One(label)) => vec![label],
        Some(Labels::Many(labels)) => labels,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: FrameSize = FrameSize::new(1000, 500);

    fn at(x: f32, y: f32, w: f32, h: f32) -> BBox {
        BBox::from_xywh(x, y, w, h)
    }

    #[test]
    fn areas_are_pixels_or_shares_of_the_frame() {
        for min_area in [5000.0, 0.01] {
            let filter = ObjectFilter {
                min_area: Area(min_area),
                ..ObjectFilter::default()
            };
            assert!(filter.allows(&at(10.0, 10.0, 100.0, 51.0), FRAME));
            assert!(!filter.allows(&at(10.0, 10.0, 100.0, 49.0), FRAME));
        }
        let flat = ObjectFilter {
            min_ratio: 1.0,
            max_ratio: 3.0,
            ..ObjectFilter::default()
        };
        assert!(flat.allows(&at(10.0, 10.0, 100.0, 50.0), FRAME));
        assert!(!flat.allows(&at(10.0, 10.0, 50.0, 100.0), FRAME));
        assert!(!flat.allows(&at(10.0, 10.0, 400.0, 100.0), FRAME));
    }

    #[test]
    fn a_mask_covers_boxes_that_stand_in_it() {
        for lower_half in ["0,0.5,1,0.5,1,1,0,1", "0,250,1000,250,1000,500,0,500"] {
            let filter = ObjectFilter {
                mask: lower_half.parse().unwrap(),
                ..ObjectFilter::default()
            };
            assert!(filter.allows(&at(100.0, 50.0, 50.0, 150.0), FRAME));
            assert!(!filter.allows(&at(100.0, 50.0, 50.0, 250.0), FRAME));
            let at_the_last_line = at(100.0, 50.0, 50.0, 450.0);
            assert!(!filter.allows(&at_the_last_line, FRAME));
        }
    }

    #[test]
    fn a_zone_is_for_one_label_or_several() {
        let labels = |objects: &str| {
            let text = format!(r#"{{"coordinates": "0,0,1,0,1,1", "objects": {objects}}}"#);
            serde_json::from_str::<ZoneConfig>(&text).map(|zone| zone.objects)
        };
        assert_eq!(labels(r#""person""#).unwrap(), ["person"]);
        assert_eq!(labels(r#"["person", "car"]"#).unwrap(), ["person", "car"]);
        assert_eq!(labels("null").unwrap(), Vec::<String>::new());
        let error = labels("7").unwrap_err().to_string();
        assert!(error.contains("a label or a list of labels"), "{error}");
    }
}
