//! From the detections of overlapping regions to one per object: NMS per class, then boxes inside others of their class.

use detection::{FrameSize, LabelId, PixelBox};

use crate::regions::{area, clipped, intersection};

/// Score a box counts with while it is cut by the edge of its region: never the best, never dropped for it.
const CLIPPED_SCORE: f32 = 0.6;
/// Frigate's floor: boxes at or below this score do not take part.
const MIN_SCORE: f32 = 0.5;
/// A box smaller than this share of another is an object of its own, however it lies.
const MIN_SHARE: f64 = 0.05;

/// A detection on its way from a region to the frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// Class number.
    pub label: LabelId,
    /// Confidence, 0..=1.
    pub score: f32,
    /// Where, in frame pixels.
    pub bbox: PixelBox,
    /// Its size, by which boxes are ordered.
    pub area: f64,
    /// The region it was found in, in frame pixels.
    pub region: PixelBox,
}

impl Candidate {
    /// A candidate with the plain area of its box.
    pub fn new(label: LabelId, score: f32, bbox: PixelBox, region: PixelBox) -> Self {
        let area = f64::from(bbox.width().max(0)) * f64::from(bbox.height().max(0));
        Self {
            label,
            score,
            bbox,
            area,
            region,
        }
    }
}

/// How far boxes of a class may overlap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Overlap {
    /// Of two boxes with a larger IoU the weaker goes.
    pub nms: f64,
    /// A box with a larger share of itself inside a larger one goes.
    pub inside: f64,
}

impl Overlap {
    /// Frigate's values for a class name.
    pub fn of(label: &str) -> Self {
        match label {
            "car" => Self {
                nms: 0.6,
                inside: 0.8,
            },
            "face" => Self {
                nms: 0.4,
                inside: 0.5,
            },
            _ => Self {
                nms: 0.4,
                inside: 0.9,
            },
        }
    }
}

/// Reduces detections to one per object. Keeps its working memory between calls.
#[derive(Debug)]
pub struct Reducer {
    min_score: f32,
    order: Vec<(usize, f32)>,
    labels: Vec<LabelId>,
    kept: Vec<usize>,
}

impl Default for Reducer {
    fn default() -> Self {
        Self {
            min_score: MIN_SCORE,
            order: Vec::new(),
            labels: Vec::new(),
            kept: Vec::new(),
        }
    }
}

impl Reducer {
    /// A reducer with Frigate's floor for scores.
    pub fn new() -> Self {
        Self::default()
    }

    /// Boxes at or below this score do not take part: lower it where a tracker downstream makes use of weak boxes.
    pub fn with_min_score(min_score: f32) -> Self {
        Self {
            min_score,
            ..Self::default()
        }
    }

    /// Writes to `out` the indices of the `candidates` that remain, class by class in the order of first appearance, each
    /// class from its smallest to its largest box. A box cut by the edge of its region counts with a score of 0.6; the
    /// score it had is what is reported.
    pub fn reduce(
        &mut self,
        frame: FrameSize,
        candidates: &[Candidate],
        overlap_of: impl Fn(LabelId) -> Overlap,
        out: &mut Vec<usize>,
    ) {
        out.clear();
        self.labels.clear();
        for candidate in candidates {
            if !self.labels.contains(&candidate.label) {
                self.labels.push(candidate.label);
            }
        }
        for class in 0..self.labels.len() {
            let label = self.labels[class];
            let overlap = overlap_of(label);
            self.suppress(frame, candidates, label, overlap.nms);
            self.drop_inner(candidates, overlap.inside, out);
        }
    }

    /// Non-maximum suppression within one class; leaves the kept in `self.kept`, best first.
    fn suppress(
        &mut self,
        frame: FrameSize,
        candidates: &[Candidate],
        label: LabelId,
        threshold: f64,
    ) {
        self.order.clear();
        for (i, candidate) in candidates.iter().enumerate() {
            if candidate.label != label {
                continue;
            }
            let score = if clipped(&candidate.bbox, &candidate.region, frame) {
                CLIPPED_SCORE
            } else {
                candidate.score
            };
            if score > self.min_score {
                self.order.push((i, score));
            }
        }
        // By index where scores are equal, so that the order is that of the input.
        self.order
            .sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        self.kept.clear();
        for (i, _) in &self.order {
            let b = &candidates[*i].bbox;
            if self
                .kept
                .iter()
                .all(|k| plain_iou(b, &candidates[*k].bbox) <= threshold)
            {
                self.kept.push(*i);
            }
        }
    }

    /// Appends to `out` what of `self.kept` does not lie inside a larger box.
    fn drop_inner(&mut self, candidates: &[Candidate], inside: f64, out: &mut Vec<usize>) {
        self.order.clear();
        self.order
            .extend((0..self.kept.len()).map(|rank| (rank, 0.0)));
        let at = |rank: usize| &candidates[self.kept[rank]];
        self.order
            .sort_unstable_by(|a, b| at(a.0).area.total_cmp(&at(b.0).area).then(a.0.cmp(&b.0)));
        for (place, (rank, _)) in self.order.iter().enumerate() {
            let b = &at(*rank).bbox;
            let own = area(b).max(1) as f64;
            let hidden = self.order[place + 1..].iter().any(|(other, _)| {
                let larger = &at(*other).bbox;
                own / area(larger).max(1) as f64 >= MIN_SHARE
                    && intersection(b, larger).is_some_and(|both| area(&both) as f64 / own > inside)
            });
            if !hidden {
                out.push(self.kept[*rank]);
            }
        }
    }
}

/// IoU of boxes whose right and lower edges are exclusive, as NMS counts.
fn plain_iou(a: &PixelBox, b: &PixelBox) -> f64 {
    let side = |from: i32, to: i32| f64::from((to - from).max(0));
    let size = |b: &PixelBox| side(b.x1, b.x2) * side(b.y1, b.y2);
    let inter = side(a.x1.max(b.x1), a.x2.min(b.x2)) * side(a.y1.max(b.y1), a.y2.min(b.y2));
    let union = size(a) + size(b) - inter;
    if union > 0.0 { inter / union } else { 0.0 }
}
