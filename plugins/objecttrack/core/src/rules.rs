//! What the user wants to hear of: tracked labels, filters, masks and zones, with Frigate's meaning.

use detection::{Detection, FrameSize, LabelId, ObjectFilter, Polygon, is_masked};

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
    pub filters: Vec<(LabelId, ObjectFilter)>,
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
    pub default_filter: ObjectFilter,
    /// Filters by label.
    pub filters: Vec<(LabelId, ObjectFilter)>,
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
    pub fn filter(&self, label: LabelId) -> &ObjectFilter {
        by_label(&self.filters, label).unwrap_or(&self.default_filter)
    }

    /// The detection passes its label's filter and the masks. (Whether its label is wanted and believed is asked of the object, not of one box.)
    pub fn admits(&self, d: &Detection, frame: FrameSize) -> bool {
        !is_masked(self.masks.iter(), &d.bbox, frame) && self.filter(d.label).allows(&d.bbox, frame)
    }
}

pub(crate) fn by_label(
    filters: &[(LabelId, ObjectFilter)],
    label: LabelId,
) -> Option<&ObjectFilter> {
    filters.iter().find(|(l, _)| *l == label).map(|(_, f)| f)
}

#[cfg(test)]
mod tests {
    use super::*;
    use detection::BBox;

    const FRAME: FrameSize = FrameSize::new(1000, 500);

    #[test]
    fn a_mask_for_all_labels_counts_beside_the_filter_of_one() {
        let rules = Rules {
            masks: vec!["0,0.5,1,0.5,1,1,0,1".parse().unwrap()],
            filters: vec![(
                1,
                ObjectFilter {
                    min_area: detection::Area(0.5),
                    ..ObjectFilter::default()
                },
            )],
            ..Rules::default()
        };
        let at = |h: f32, label| Detection {
            bbox: BBox::from_xywh(100.0, 50.0, 50.0, h),
            label,
            score: 0.8,
        };
        assert!(rules.admits(&at(150.0, 0), FRAME));
        assert!(!rules.admits(&at(250.0, 0), FRAME), "masked");
        assert!(!rules.admits(&at(150.0, 1), FRAME), "too small");
    }
}
