//! What a detection model's outputs mean: its family, its input, its labels, and its tensors turned into detections.
//!
//! [`Model::recognise`] tells families apart by the names and shapes of the tensors (and one probe run on a grey
//! picture, where two families differ only in their numbers); [`Model::decode`] turns the outputs for one image into
//! boxes in pixels of the model's input. Outputs are untrusted: wrong lengths are errors, numbers that are none vanish.

mod boxes;
mod error;
mod grid;
mod input;
mod labels;
mod nanodet;
mod recognise;
mod rows;
mod sanity;
mod yolo;

use detection::{Detection, Labels};

pub use error::{DecodeError, ModelError};
pub use input::{Batch, InputSpec, SideInput};
pub use labels::{coco91, names_from_metadata};
pub use recognise::ModelType;
pub use sanity::{Sanity, Tally};

use crate::nms;

/// Type of a tensor's elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElementType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// Bytes.
    U8,
    /// 32-bit integers.
    I32,
    /// 64-bit integers.
    I64,
    /// Anything else, by the name the runtime gives it.
    Other(String),
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::U8 => "u8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::Other(name) => name,
        })
    }
}

/// Name, type and shape of one of a model's inputs or outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name in the file.
    pub name: String,
    /// Type of its elements.
    pub element: ElementType,
    /// Its dimensions; -1 where the file leaves one open.
    pub dims: Vec<i64>,
}

impl std::fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}[", self.name, self.element)?;
        for (i, dim) in self.dims.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            if *dim < 0 {
                write!(f, "{comma}?")?;
            } else {
                write!(f, "{comma}{dim}")?;
            }
        }
        f.write_str("]")
    }
}

/// What a model file says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelInfo {
    /// Its inputs.
    pub inputs: Vec<TensorInfo>,
    /// Its outputs.
    pub outputs: Vec<TensorInfo>,
    /// Its custom metadata.
    pub metadata: std::collections::BTreeMap<String, String>,
}

/// One output of a run, its elements as floats (class numbers too).
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    /// Its dimensions.
    pub dims: &'a [i64],
    /// Its elements.
    pub data: &'a [f32],
}

impl<'a> TensorView<'a> {
    /// The part for image `image` of a tensor whose first dimension is the batch, which must have the dimensions
    /// `expected` after it.
    fn image(&self, image: usize, expected: &[usize]) -> Result<&'a [f32], DecodeError> {
        let fits = self.dims.len() == expected.len() + 1
            && (self.dims[1..].iter().zip(expected)).all(|(d, e)| usize::try_from(*d) == Ok(*e));
        let length: usize = expected.iter().product();
        let from = image.checked_mul(length);
        let to = from.and_then(|from| from.checked_add(length));
        match (fits, from, to) {
            (true, Some(from), Some(to)) if to <= self.data.len() => Ok(&self.data[from..to]),
            _ => Err(self.unexpected(expected, image)),
        }
    }

    /// The rows of image `image` in a matrix of this width, `[N,rows,width]`, or `[rows,width]` for a single image. How
    /// many there are is read from the tensor: suppression in a model gives as many as it finds.
    fn rows(&self, image: usize, width: usize) -> Result<&'a [f32], DecodeError> {
        let columns = i64::try_from(width).unwrap_or(i64::MAX);
        match *self.dims {
            [_, rows, last] if last == columns && rows >= 0 => {
                self.image(image, &[rows as usize, width])
            }
            [rows, last] if last == columns && image == 0 && rows >= 0 => {
                let length = (rows as usize).saturating_mul(width);
                let part = self.data.get(..length);
                part.ok_or_else(|| self.unexpected(&[rows as usize, width], image))
            }
            _ => Err(self.unexpected(&[width], image)),
        }
    }

    /// The numbers of image `image` in `[N,rows]`, or `[rows]` for a single image.
    fn list(&self, image: usize) -> Result<&'a [f32], DecodeError> {
        match *self.dims {
            [_, rows] if rows >= 0 => self.image(image, &[rows as usize]),
            [rows] if rows >= 0 && image == 0 => {
                let part = self.data.get(..rows as usize);
                part.ok_or_else(|| self.unexpected(&[rows as usize], image))
            }
            _ => Err(self.unexpected(&[], image)),
        }
    }

    fn unexpected(&self, expected: &[usize], image: usize) -> DecodeError {
        DecodeError::Shape {
            found: self.dims.to_vec(),
            length: self.data.len(),
            expected: expected.to_vec(),
            image,
        }
    }
}

/// The output with this number.
fn output_at<'a, 'b>(
    outputs: &'b [TensorView<'a>],
    index: usize,
) -> Result<&'b TensorView<'a>, DecodeError> {
    let found = outputs.len();
    outputs
        .get(index)
        .ok_or(DecodeError::Missing { index, found })
}

/// How the outputs are laid out.
#[derive(Debug, Clone, PartialEq)]
enum Heads {
    Yolo(yolo::Yolo),
    Rows(rows::Rows),
    Boxes(boxes::Boxes),
    NanoDet(nanodet::NanoDet),
}

/// A recognised model: what to give it and what its answer means.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    model_type: ModelType,
    /// What one image of its input looks like.
    pub input: InputSpec,
    /// Names of its classes.
    pub labels: Labels,
    heads: Heads,
}

/// Working memory of decoding, kept so that a steady stream allocates nothing.
#[derive(Debug, Default)]
pub struct Scratch {
    best: Vec<(f32, u16)>,
    kept: Vec<Detection>,
    tally: Tally,
}

impl Scratch {
    /// What was odd about the image decoded last.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Model {
    /// The family it belongs to.
    pub fn model_type(&self) -> ModelType {
        self.model_type
    }

    /// Number of classes the outputs have, where their shapes tell.
    pub fn classes(&self) -> Option<usize> {
        match &self.heads {
            Heads::Yolo(yolo) => yolo.classes(),
            Heads::Rows(rows) => rows.classes(),
            Heads::Boxes(boxes) => boxes.classes(),
            Heads::NanoDet(nanodet) => Some(nanodet.classes()),
        }
    }

    /// Detections of image `image` of a batch with a score of at least `min_score`, best first, in pixels of the model's
    /// input and cut to it. Overlapping boxes of one class are reduced to the best where the model does not do so
    /// itself. `out` is emptied first.
    pub fn decode(
        &self,
        outputs: &[TensorView],
        image: usize,
        min_score: f32,
        scratch: &mut Scratch,
        out: &mut Vec<Detection>,
    ) -> Result<(), DecodeError> {
        out.clear();
        let mut sink = Sink {
            min_score: if min_score.is_nan() {
                0.0
            } else {
                min_score.max(f32::MIN_POSITIVE)
            },
            width: self.input.tensor.width as f32,
            height: self.input.tensor.height as f32,
            tally: Tally::default(),
            out,
        };
        let suppress = match &self.heads {
            Heads::Yolo(yolo) => yolo.decode(outputs, image, scratch, &mut sink)?,
            Heads::Rows(rows) => {
                rows.decode(outputs, image, &mut sink)?;
                None
            }
            Heads::Boxes(boxes) => boxes.decode(outputs, image, &mut sink)?,
            Heads::NanoDet(nanodet) => nanodet.decode(outputs, image, &mut sink)?,
        };
        scratch.tally = sink.tally;
        match suppress {
            Some(iou) => nms::per_class(out, iou, &mut scratch.kept),
            None => nms::sort(out),
        }
        Ok(())
    }
}

/// Takes what decoders find, and lets through only what is a detection.
struct Sink<'a> {
    min_score: f32,
    width: f32,
    height: f32,
    tally: Tally,
    out: &'a mut Vec<Detection>,
}

impl Sink<'_> {
    fn push(&mut self, bbox: detection::BBox, label: usize, score: f32) {
        let Ok(label) = u16::try_from(label) else {
            return;
        };
        if score >= self.min_score {
            (self.tally).add(&bbox, label, score, self.width, self.height);
        }
        let bbox = bbox.clamped(self.width, self.height);
        // Not a number compares as false: it never passes.
        if score >= self.min_score && bbox.is_valid() {
            self.out.push(Detection {
                bbox,
                label,
                score: score.min(1.0),
            });
        }
    }
}

/// What a sane decoder must survive: used by the fuzz target and the property tests. Recognises a model from arbitrary
/// shapes and decodes arbitrary bytes with it; only the result's invariants are checked.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8]) {
    let mut rest = bytes;
    let mut next = move || {
        let (first, tail) = rest.split_first().unwrap_or((&0, &[]));
        rest = tail;
        *first
    };
    const SIZES: [i64; 16] = [
        -1, 0, 1, 2, 4, 5, 6, 7, 32, 84, 85, 91, 112, 300, 3549, 8400,
    ];
    let side = [32, 64, 320, 416, 640][usize::from(next()) % 5];
    let mut info = ModelInfo {
        inputs: vec![TensorInfo {
            name: "images".into(),
            element: ElementType::F32,
            dims: vec![1, 3, side, side],
        }],
        ..ModelInfo::default()
    };
    let names = [
        "output",
        "boxes",
        "labels",
        "scores",
        "dets",
        "detection_classes",
        "num_detections",
    ];
    for _ in 0..next() % 7 {
        let dims = (0..next() % 4)
            .map(|_| SIZES[usize::from(next()) % SIZES.len()])
            .collect();
        info.outputs.push(TensorInfo {
            name: names[usize::from(next()) % names.len()].into(),
            element: ElementType::F32,
            dims,
        });
    }
    let specials = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -1.0,
        0.0,
        0.5,
        1.0,
        1e30,
    ];
    let data: Vec<Vec<f32>> = info
        .outputs
        .iter()
        .map(|output| {
            let length: i64 = output.dims.iter().map(|d| d.max(&1)).product();
            let length = length.min(1 << 20) - i64::from(next() == 255);
            let (a, b) = (next(), next());
            (0..length.max(0))
                .map(|i| match (i + i64::from(a)) % 5 {
                    0 => specials[((i / 5 + i64::from(b)) % 8) as usize],
                    n => n as f32 * f32::from(b) / 64.0,
                })
                .collect()
        })
        .collect();
    let views: Vec<TensorView> = info
        .outputs
        .iter()
        .zip(&data)
        .map(|(info, data)| TensorView {
            dims: &info.dims,
            data,
        })
        .collect();
    let asked = usize::from(next()) % (ModelType::ALL.len() + 1);
    let asked = ModelType::ALL
        .get(asked)
        .map_or(&[][..], std::slice::from_ref);
    let Ok(model) = Model::recognise(&info, asked, None, &views) else {
        return;
    };
    let (mut scratch, mut found) = (Scratch::default(), Vec::new());
    let image = usize::from(next() % 2);
    if model
        .decode(&views, image, 0.3, &mut scratch, &mut found)
        .is_ok()
    {
        let (w, h) = (
            model.input.tensor.width as f32,
            model.input.tensor.height as f32,
        );
        for d in &found {
            assert!((0.3..=1.0).contains(&d.score), "score {}", d.score);
            assert!(
                d.bbox.is_valid() && d.bbox == d.bbox.clamped(w, h),
                "{:?}",
                d.bbox
            );
        }
    }
}
