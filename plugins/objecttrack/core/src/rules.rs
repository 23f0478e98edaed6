//! What the user wants to hear of: tracked labels, filters, masks and zones, with Frigate's meaning.

use detection::{Detection, FrameSize, LabelId};

use crate::geometry::Polygon;

/// What a detection must be like to count.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Smallest area: pixels, or a share of the frame if below 1.
    pub min_area: f32,
    /// Largest area: pixels, or a share of the frame if below 1.
    pub max_area: f32,
    /// Smallest width divided by height.
    pub min_ratio: f32,
    /// Largest width divided by height.
    pub max_ratio: f32,
    /// Confidence below which a detection starts nothing (a weaker one may still continue an object that is already known).
    pub min_score: f32,
    /// What the median of an object's confidences must reach before the object is believed.
    pub threshold: f32,
    /// Where the label is ignored, by the middle of the box's lower edge.
    pub masks: Vec<Polygon>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            min_area: 0.0,
            max_area: 24_000_000.0,
            min_ratio: 0.0,
            max_ratio: 24_000_000.0,
            min_score: 0.5,
            threshold: 0.7,
            masks: Vec::new(),
        }
    }
}

impl Filter {
    /// Area, ratio and masks allow this detection (in pixels).
    pub fn allows(&self, d: &Detection, frame: FrameSize) -> bool {
        let pixels = |area: f32| {
            if area < 1.0 {
                let (width, height) = frame.real();
                area * width * height
            } else {
                area
            }
        };
        let area = d.bbox.area();
        let ratio = d.bbox.width() / d.bbox.height();
        area >= pixels(self.min_area)
            && area <= pixels(self.max_area)
            && ratio >= self.min_ratio
            && ratio <= self.max_ratio
            && !masked(&self.masks, d, frame)
    }
}

fn masked(masks: &[Polygon], d: &Detection, frame: FrameSize) -> bool {
    if masks.is_empty() {
        return false;
    }
    let at = standing(d, frame);
    masks.iter().any(|m| m.contains(at))
}

/// Middle of the lower edge in fractions of the frame.
pub(crate) fn standing(d: &Detection, frame: FrameSize) -> (f32, f32) {
    let (width, height) = frame.real();
    let (x, y) = d.bbox.clamped(width, height).bottom_centre();
    // A box that ends at the frame's last line stands in a zone that ends there.
    (
        (x / width).clamp(0.0, 0.999_99),
        (y / height).clamp(0.0, 0.999_99),
    )
}

/// A named area.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Its corners.
    pub polygon: Polygon,
    /// Labels it is for; empty: all.
    pub labels: Vec<LabelId>,
    /// What an object must be like when it comes in, by label.
    pub filters: Vec<(LabelId, Filter)>,
    /// Frames the object must be inside before it counts.
    pub inertia: u32,
    /// Seconds it must then stay before it counts.
    pub loitering_time: f64,
}

/// Most zones of one camera: the zones an object is in are one bit each.
pub const MAX_ZONES: usize = 64;

/// Everything the user wants of the objects of one camera.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules {
    /// Labels wanted; `None`: all.
    pub labels: Option<Vec<LabelId>>,
    /// Filter of labels without their own.
    pub default_filter: Filter,
    /// Filters by label.
    pub filters: Vec<(LabelId, Filter)>,
    /// Where every label is ignored.
    pub masks: Vec<Polygon>,
    /// Zones, at most [`MAX_ZONES`].
    pub zones: Vec<Zone>,
}

impl Rules {
    /// The label is wanted.
    pub fn wants(&self, label: LabelId) -> bool {
        self.labels.as_ref().is_none_or(|l| l.contains(&label))
    }

    /// Filter of a label.
    pub fn filter(&self, label: LabelId) -> &Filter {
        by_label(&self.filters, label).unwrap_or(&self.default_filter)
    }

    /// The detection passes its label's filter and the masks. (Whether its label is wanted and believed is asked of the object, not of one box.)
    pub fn admits(&self, d: &Detection, frame: FrameSize) -> bool {
        !masked(&self.masks, d, frame) && self.filter(d.label).allows(d, frame)
    }
}

pub(crate) fn by_label(filters: &[(LabelId, Filter)], label: LabelId) -> Option<&Filter> {
    filters.iter().find(|(l, _)| *l == label).map(|(_, f)| f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use detection::BBox;

    const FRAME: FrameSize = FrameSize::new(1000, 500);

    fn at(x: f32, y: f32, w: f32, h: f32) -> Detection {
        Detection {
            bbox: BBox::from_xywh(x, y, w, h),
            label: 0,
            score: 0.8,
        }
    }

    #[test]
    fn areas_are_pixels_or_shares_of_the_frame() {
        let pixels = Filter {
            min_area: 5000.0,
            ..Filter::default()
        };
        let share = Filter {
            min_area: 0.01,
            ..Filter::default()
        };
        for filter in [pixels, share] {
            assert!(filter.allows(&at(10.0, 10.0, 100.0, 51.0), FRAME));
            assert!(!filter.allows(&at(10.0, 10.0, 100.0, 49.0), FRAME));
        }
        let flat = Filter {
            min_ratio: 1.0,
            max_ratio: 3.0,
            ..Filter::default()
        };
        assert!(flat.allows(&at(10.0, 10.0, 100.0, 50.0), FRAME));
        assert!(!flat.allows(&at(10.0, 10.0, 50.0, 100.0), FRAME));
        assert!(!flat.allows(&at(10.0, 10.0, 400.0, 100.0), FRAME));
    }

    #[test]
    fn a_mask_asks_where_the_object_stands() {
        let lower = Polygon::new(vec![(0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)]).unwrap();
        let rules = Rules {
            masks: vec![lower],
            ..Rules::default()
        };
        assert!(rules.admits(&at(100.0, 50.0, 50.0, 150.0), FRAME));
        assert!(!rules.admits(&at(100.0, 50.0, 50.0, 250.0), FRAME));
        assert!(
            !rules.admits(&at(100.0, 50.0, 50.0, 450.0), FRAME),
            "at the frame's last line"
        );
    }
}
