//! NanoDet: per cell a score for each class, and for each side of the box a distribution over distances.

use detection::BBox;

use super::grid::Level;
use super::yolo::{best_above, logit_floor};
use super::{DecodeError, Sink, TensorView, output_at};

/// Distances of one side: 0..=7 cells.
const DISTANCES: usize = 8;
/// Numbers that describe one box.
pub(super) const BINS: usize = 4 * DISTANCES;
/// Boxes of one class that overlap by more than this are one object.
const NMS_IOU: f32 = 0.5;

/// Where the heads are and how they count.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NanoDet {
    levels: Vec<Level>,
    classes: usize,
    /// Scores have not been through a sigmoid.
    logits: bool,
    /// Numbers of the class and box outputs per level; none where one output holds all.
    heads: Option<(Vec<usize>, Vec<usize>)>,
}

impl NanoDet {
    /// Two outputs per level.
    pub fn heads(
        levels: Vec<Level>,
        classes: usize,
        logits: bool,
        class_heads: Vec<usize>,
        box_heads: Vec<usize>,
    ) -> Self {
        Self {
            levels,
            classes,
            logits,
            heads: Some((class_heads, box_heads)),
        }
    }

    /// One output with all (NanoDet-Plus).
    pub fn single(levels: Vec<Level>, classes: usize, logits: bool) -> Self {
        Self {
            levels,
            classes,
            logits,
            heads: None,
        }
    }

    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Gives every candidate to the sink.
    pub fn decode(
        &self,
        outputs: &[TensorView],
        image: usize,
        sink: &mut Sink,
    ) -> Result<Option<f32>, DecodeError> {
        let output = |index| output_at(outputs, index);
        match &self.heads {
            Some((class_heads, box_heads)) => {
                let heads = class_heads.iter().zip(box_heads);
                for (level, (class, bins)) in self.levels.iter().zip(heads) {
                    let scores = output(*class)?.image(image, &[level.cells(), self.classes])?;
                    let bins = output(*bins)?.image(image, &[level.cells(), BINS])?;
                    let rows = scores
                        .chunks_exact(self.classes)
                        .zip(bins.chunks_exact(BINS));
                    self.level(level, 0.5, rows, sink);
                }
            }
            None => {
                let columns = self.classes + BINS;
                let cells = super::grid::cells(&self.levels);
                let mut data = output(0)?.image(image, &[cells, columns])?;
                for level in &self.levels {
                    let (rows, rest) = data.split_at(level.cells() * columns);
                    let rows = rows
                        .chunks_exact(columns)
                        .map(|row| row.split_at(self.classes));
                    // NanoDet-Plus measures from a cell's corner, NanoDet from its middle.
                    self.level(level, 0.0, rows, sink);
                    data = rest;
                }
            }
        }
        Ok(Some(NMS_IOU))
    }

    fn level<'a>(
        &self,
        level: &Level,
        middle: f32,
        rows: impl Iterator<Item = (&'a [f32], &'a [f32])>,
        sink: &mut Sink,
    ) {
        let floor = match self.logits {
            true => logit_floor(sink.min_score),
            false => sink.min_score,
        };
        for (cell, (scores, bins)) in rows.enumerate() {
            let Some((label, score)) = best_above(scores, floor) else {
                continue;
            };
            let score = match self.logits {
                true => 1.0 / (1.0 + (-score).exp()),
                false => score,
            };
            let stride = level.stride as f32;
            let x = ((cell % level.across) as f32 + middle) * stride;
            let y = ((cell / level.across) as f32 + middle) * stride;
            let mut sides = [0.0; 4];
            for (side, bins) in sides.iter_mut().zip(bins.chunks_exact(DISTANCES)) {
                *side = mean_distance(bins) * stride;
            }
            let [left, top, right, bottom] = sides;
            sink.push(
                BBox::new(x - left, y - top, x + right, y + bottom),
                label,
                score,
            );
        }
    }
}

/// Expected value of a softmax.
fn mean_distance(bins: &[f32]) -> f32 {
    let largest = bins.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let (mut sum, mut weighted) = (0.0, 0.0);
    for (distance, bin) in bins.iter().enumerate() {
        let weight = (bin - largest).exp();
        sum += weight;
        weighted += weight * distance as f32;
    }
    weighted / sum
}
