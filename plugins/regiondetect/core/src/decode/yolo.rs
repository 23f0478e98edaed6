//! YOLO-like heads: one matrix with a row (or column) per candidate.

use detection::BBox;

use super::grid::Level;
use super::{DecodeError, Scratch, Sink, TensorView, output_at};

/// Boxes of one class that overlap by more than this are one object.
const NMS_IOU: f32 = 0.5;

/// Order of the last two of seven columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flat {
    /// YOLO-NAS.
    ScoreThenClass,
    /// YOLOv7 exported with suppression.
    ClassThenScore,
}

/// The layouts.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Yolo {
    /// Rows of centre, size, objectness and classes. With levels, centre and size are relative to a cell (YOLOX),
    /// without they are pixels (YOLOv5).
    Objectness {
        rows: usize,
        columns: usize,
        classes: usize,
        levels: Vec<Level>,
    },
    /// Channels by cells: centre, size, classes (YOLOv8 and later).
    Columns {
        channels: usize,
        cells: usize,
        classes: usize,
    },
    /// The same, transposed.
    Rows {
        rows: usize,
        columns: usize,
        classes: usize,
    },
    /// Rows of image, corners and two more, for all images together.
    Flat(Flat),
}

impl Yolo {
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::Objectness { classes, .. }
            | Self::Columns { classes, .. }
            | Self::Rows { classes, .. } => Some(*classes),
            Self::Flat(_) => None,
        }
    }

    /// Gives every candidate to the sink; says at which overlap suppression has to follow, if it has to.
    pub fn decode(
        &self,
        outputs: &[TensorView],
        image: usize,
        scratch: &mut Scratch,
        sink: &mut Sink,
    ) -> Result<Option<f32>, DecodeError> {
        let output = output_at(outputs, 0)?;
        match self {
            Self::Objectness {
                rows,
                columns,
                classes,
                levels,
            } => {
                let data = output.image(image, &[*rows, *columns])?;
                if levels.is_empty() {
                    objectness(data, *columns, *classes, sink, |_, xywh| xywh);
                } else {
                    on_grid(data, *columns, *classes, levels, sink);
                }
                Ok(Some(NMS_IOU))
            }
            Self::Columns {
                channels,
                cells,
                classes,
            } => {
                let data = output.image(image, &[*channels, *cells])?;
                columns(data, *cells, *classes, &mut scratch.best, sink);
                Ok(Some(NMS_IOU))
            }
            Self::Rows {
                rows,
                columns,
                classes,
            } => {
                let data = output.image(image, &[*rows, *columns])?;
                for row in data.chunks_exact(*columns) {
                    if let Some((label, score)) = best_above(&row[4..4 + classes], sink.min_score) {
                        let bbox = BBox::from_centre(row[0], row[1], row[2], row[3]);
                        sink.push(bbox, label, score);
                    }
                }
                Ok(Some(NMS_IOU))
            }
            Self::Flat(order) => {
                if output.dims.len() != 2 || output.dims[1] != 7 {
                    return Err(DecodeError::Shape {
                        found: output.dims.to_vec(),
                        length: output.data.len(),
                        expected: vec![7],
                        image,
                    });
                }
                for row in output.data.chunks_exact(7) {
                    let (score, class) = match order {
                        Flat::ScoreThenClass => (row[5], row[6]),
                        Flat::ClassThenScore => (row[6], row[5]),
                    };
                    if row[0] == image as f32 {
                        push_class(
                            BBox::new(row[1], row[2], row[3], row[4]),
                            class,
                            score,
                            sink,
                        );
                    }
                }
                Ok(None)
            }
        }
    }
}

/// A class number that came as a float.
pub(super) fn push_class(bbox: BBox, class: f32, score: f32, sink: &mut Sink) {
    if (0.0..=65535.0).contains(&class) {
        sink.push(bbox, class.round() as usize, score);
    }
}

/// The largest value and its index; what is not a number is never the largest.
fn best(values: &[f32]) -> (usize, f32) {
    let mut found = (0, f32::NEG_INFINITY);
    for (i, value) in values.iter().enumerate() {
        if *value > found.1 {
            found = (i, *value);
        }
    }
    found
}

/// The largest value and its index where it is at least `floor`. Most rows have none, and that is found out many values at
/// a time.
pub(super) fn best_above(values: &[f32], floor: f32) -> Option<(usize, f32)> {
    let above = values.iter().fold(false, |any, v| any | (*v >= floor));
    above.then(|| best(values))
}

/// The logit that becomes this score, and a little less against rounding.
pub(super) fn logit_floor(score: f32) -> f32 {
    (score / (1.0 - score)).ln() - 1e-3
}

fn objectness(
    data: &[f32],
    columns: usize,
    classes: usize,
    sink: &mut Sink,
    place: impl Fn(usize, [f32; 4]) -> [f32; 4],
) {
    for (index, row) in data.chunks_exact(columns).enumerate() {
        // The product of two probabilities is never above either: most rows end here.
        if row[4] >= sink.min_score {
            let (label, class) = best(&row[5..5 + classes]);
            let score = row[4].min(1.0) * class;
            if score >= sink.min_score {
                let [cx, cy, w, h] = place(index, [row[0], row[1], row[2], row[3]]);
                sink.push(BBox::from_centre(cx, cy, w, h), label, score);
            }
        }
    }
}

fn on_grid(data: &[f32], columns: usize, classes: usize, levels: &[Level], sink: &mut Sink) {
    let mut from = 0;
    for level in levels {
        let length = level.cells() * columns;
        let stride = level.stride as f32;
        objectness(
            &data[from..from + length],
            columns,
            classes,
            sink,
            |cell, [x, y, w, h]| {
                [
                    (x + (cell % level.across) as f32) * stride,
                    (y + (cell / level.across) as f32) * stride,
                    w.exp() * stride,
                    h.exp() * stride,
                ]
            },
        );
        from += length;
    }
}

/// Goes through the classes in the order they lie in memory, remembering the best of each cell.
fn columns(
    data: &[f32],
    cells: usize,
    classes: usize,
    best: &mut Vec<(f32, u16)>,
    sink: &mut Sink,
) {
    /// Cells looked at together: a whole block without a candidate costs one pass of comparisons.
    const BLOCK: usize = 64;
    best.clear();
    best.resize(cells, (0.0, 0));
    let (boxes, scores) = data.split_at(4 * cells);
    for (class, scores) in scores.chunks_exact(cells).take(classes).enumerate() {
        for (best, scores) in best.chunks_mut(BLOCK).zip(scores.chunks(BLOCK)) {
            let above = scores
                .iter()
                .fold(false, |any, s| any | (*s >= sink.min_score));
            if above {
                for (best, score) in best.iter_mut().zip(scores) {
                    if *score > best.0 {
                        *best = (*score, class as u16);
                    }
                }
            }
        }
    }
    for (i, (score, class)) in best.iter().enumerate() {
        if *score >= sink.min_score {
            let [cx, cy, w, h] = [0, 1, 2, 3].map(|c| boxes[c * cells + i]);
            sink.push(BBox::from_centre(cx, cy, w, h), usize::from(*class), *score);
        }
    }
}
