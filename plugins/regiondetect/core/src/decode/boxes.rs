//! Heads that list boxes: SSD with post-processing and DETR-like ones.

use detection::BBox;

use super::yolo::{best_above, logit_floor, push_class};
use super::{DecodeError, Sink, TensorView, output_at};

/// How four numbers are a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BoxForm {
    /// y1, x1, y2, x2 in fractions of the input.
    TopLeftFractions,
    /// x1, y1, x2, y2 in fractions of the input.
    CornerFractions,
    /// x1, y1, x2, y2 in pixels of the input.
    CornerPixels,
}

/// The layouts; numbers are those of the outputs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Boxes {
    /// A box, a class and a score per row.
    Listed {
        boxes: usize,
        labels: usize,
        scores: usize,
        /// How many rows count, where an output says so.
        count: Option<usize>,
        form: BoxForm,
        /// Class 0 is the first class, not the background.
        from_zero: bool,
    },
    /// A box with its score per row, and a class per row (MMDeploy).
    Scored { boxes: usize, labels: usize },
    /// Centre and size in fractions, and a logit per class.
    Queries {
        rows: usize,
        classes: usize,
        boxes: usize,
        logits: usize,
    },
}

impl Boxes {
    pub fn classes(&self) -> Option<usize> {
        match self {
            Self::Queries { classes, .. } => Some(*classes),
            Self::Listed { .. } | Self::Scored { .. } => None,
        }
    }

    pub fn counts_from_zero(&self) -> bool {
        matches!(
            self,
            Self::Listed {
                from_zero: true,
                ..
            }
        )
    }

    /// Gives every candidate to the sink. Both kinds have done their own suppression.
    pub fn decode(
        &self,
        outputs: &[TensorView],
        image: usize,
        sink: &mut Sink,
    ) -> Result<Option<f32>, DecodeError> {
        let output = |index| output_at(outputs, index);
        match *self {
            Self::Listed {
                boxes,
                labels,
                scores,
                count,
                form,
                ..
            } => {
                let boxes = output(boxes)?.rows(image, 4)?;
                let labels = output(labels)?.list(image)?;
                let scores = output(scores)?.list(image)?;
                let count = match count {
                    Some(count) => output(count)?.data.get(image).copied().unwrap_or(0.0),
                    None => scores.len() as f32,
                };
                // A count that is not a number casts to none; one too large ends with the rows.
                let rows = boxes
                    .chunks_exact(4)
                    .zip(labels)
                    .zip(scores)
                    .take(count as usize);
                let (w, h) = (sink.width, sink.height);
                for ((b, label), score) in rows {
                    let bbox = match form {
                        BoxForm::TopLeftFractions => BBox::new(b[1], b[0], b[3], b[2]).scaled(w, h),
                        BoxForm::CornerFractions => BBox::new(b[0], b[1], b[2], b[3]).scaled(w, h),
                        BoxForm::CornerPixels => BBox::new(b[0], b[1], b[2], b[3]),
                    };
                    push_class(bbox, *label, *score, sink);
                }
            }
            Self::Scored { boxes, labels } => {
                let boxes = output(boxes)?.rows(image, 5)?;
                let labels = output(labels)?.list(image)?;
                for (b, label) in boxes.chunks_exact(5).zip(labels) {
                    push_class(BBox::new(b[0], b[1], b[2], b[3]), *label, b[4], sink);
                }
            }
            Self::Queries {
                rows,
                classes,
                boxes,
                logits,
            } => {
                let boxes = output(boxes)?.image(image, &[rows, 4])?;
                let logits = output(logits)?.image(image, &[rows, classes])?;
                let (w, h) = (sink.width, sink.height);
                let floor = logit_floor(sink.min_score);
                for (b, logits) in boxes.chunks_exact(4).zip(logits.chunks_exact(classes)) {
                    if let Some((label, logit)) = best_above(logits, floor) {
                        let score = 1.0 / (1.0 + (-logit).exp());
                        let bbox = BBox::from_centre(b[0], b[1], b[2], b[3]).scaled(w, h);
                        sink.push(bbox, label, score);
                    }
                }
            }
        }
        Ok(None)
    }
}
