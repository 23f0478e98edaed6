//! One matrix with a row per object: suppression has been done in the model, or was never needed (RT-DETR). How many rows
//! there are may differ from run to run.

use std::fmt;

use detection::BBox;

use super::yolo::{best_above, push_class};
use super::{DecodeError, Sink, TensorView, output_at};

/// How four numbers are a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// x1, y1, x2, y2 in pixels of the input.
    CornerPixels,
    /// x1, y1, x2, y2 in fractions of the input.
    CornerFractions,
    /// Centre and size in fractions of the input.
    CentreFractions,
}

/// What the columns beside the box are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Columns {
    /// Box, score, class number.
    BoxScoreClass,
    /// Class number, score, box (PaddleDetection).
    ClassScoreBox,
    /// Box, and a score for each of so many classes.
    BoxScores(usize),
}

/// The layout of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rows {
    pub form: Form,
    pub columns: Columns,
}

impl Rows {
    pub fn width(self) -> usize {
        match self.columns {
            Columns::BoxScoreClass | Columns::ClassScoreBox => 6,
            Columns::BoxScores(classes) => 4 + classes,
        }
    }

    pub fn classes(self) -> Option<usize> {
        match self.columns {
            Columns::BoxScores(classes) => Some(classes),
            Columns::BoxScoreClass | Columns::ClassScoreBox => None,
        }
    }

    /// The four numbers of a box, as they are written.
    fn place(self, row: &[f32]) -> Option<[f32; 4]> {
        let from = match self.columns {
            Columns::ClassScoreBox => 2,
            Columns::BoxScoreClass | Columns::BoxScores(_) => 0,
        };
        row.get(from..from + 4)?.try_into().ok()
    }

    pub fn decode(
        self,
        outputs: &[TensorView],
        image: usize,
        sink: &mut Sink,
    ) -> Result<(), DecodeError> {
        let data = output_at(outputs, 0)?.rows(image, self.width())?;
        for row in data.chunks_exact(self.width()) {
            let Some([a, b, c, d]) = self.place(row) else {
                continue;
            };
            let bbox = match self.form {
                Form::CornerPixels => BBox::new(a, b, c, d),
                Form::CornerFractions => BBox::new(a, b, c, d).scaled(sink.width, sink.height),
                Form::CentreFractions => {
                    BBox::from_centre(a, b, c, d).scaled(sink.width, sink.height)
                }
            };
            match self.columns {
                Columns::BoxScoreClass => push_class(bbox, row[5], row[4], sink),
                Columns::ClassScoreBox => push_class(bbox, row[0], row[1], sink),
                Columns::BoxScores(_) => {
                    if let Some((label, score)) = best_above(&row[4..], sink.min_score) {
                        sink.push(bbox, label, score);
                    }
                }
            }
        }
        Ok(())
    }

    /// The numbers of a probe run can be those of this layout: at least nine of ten rows. Rows of zeros are empty places
    /// and say nothing.
    pub fn allows(self, data: &[f32]) -> bool {
        let rows = data.chunks_exact(self.width());
        let filled = rows.filter(|row| row.iter().any(|v| *v != 0.0));
        let (mut all, mut fitting) = (0, 0);
        for row in filled {
            all += 1;
            fitting += usize::from(self.allows_row(row));
        }
        10 * fitting >= 9 * all
    }

    fn allows_row(self, row: &[f32]) -> bool {
        let Some([a, b, c, d]) = self.place(row) else {
            return false;
        };
        let is_score = |v: f32| (-0.001..=1.001).contains(&v);
        let is_class = |v: f32| v >= 0.0 && v.fract() == 0.0;
        let box_fits = match self.form {
            // Of a tiny prediction rounding may turn the corners round.
            Form::CornerPixels => c >= a - 1.0 && d >= b - 1.0,
            Form::CornerFractions => {
                c >= a && d >= b && [a, b, c, d].iter().all(|v| (-0.5..=1.5).contains(v))
            }
            Form::CentreFractions => {
                // Objects are about within the picture; corners, read as centre and size, often are not.
                let within = |centre: f32, size: f32| {
                    centre - size / 2.0 >= -0.25 && centre + size / 2.0 <= 1.25
                };
                c >= 0.0 && d >= 0.0 && within(a, c) && within(b, d)
            }
        };
        box_fits
            && match self.columns {
                Columns::BoxScoreClass => is_score(row[4]) && is_class(row[5]),
                Columns::ClassScoreBox => is_class(row[0]) && is_score(row[1]),
                Columns::BoxScores(_) => row[4..].iter().all(|v| is_score(*v)),
            }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::CornerPixels => "x1,y1,x2,y2 in pixels",
            Form::CornerFractions => "x1,y1,x2,y2 in fractions",
            Form::CentreFractions => "centre and size in fractions",
        };
        match self.columns {
            Columns::BoxScoreClass => write!(f, "{form}, score, class"),
            Columns::ClassScoreBox => write!(f, "class, score, {form}"),
            Columns::BoxScores(classes) => write!(f, "{form}, {classes} scores"),
        }
    }
}

/// All numbers of a probe run are 0 or there are none: suppression in the model has found nothing. A model without
/// suppression always gives boxes.
pub(super) fn is_empty(data: &[f32]) -> bool {
    data.iter().all(|v| *v == 0.0)
}

/// No coordinate of these rows is beyond 2: they are fractions, since no picture is as small.
pub(super) fn are_fractions(data: &[f32], layout: Rows) -> bool {
    data.chunks_exact(layout.width())
        .filter_map(|row| layout.place(row))
        .flatten()
        .all(|v| v.abs() <= 2.0)
}
