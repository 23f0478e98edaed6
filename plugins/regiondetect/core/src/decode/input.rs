//! A model's input: where its picture goes, how large it is and how colours become numbers.

use super::{ElementType, ModelError, ModelInfo, ModelType, TensorInfo};
use crate::tensor::{ChannelOrder, Layout, TensorSpec};

/// How many images one run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Batch {
    /// Always this many.
    Fixed(usize),
    /// As many as one likes.
    Dynamic,
}

/// A second input that wants the picture's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SideInput {
    /// Its number among the inputs.
    pub index: usize,
    /// Its name.
    pub name: String,
}

/// A model's input.
#[derive(Debug, Clone, PartialEq)]
pub struct InputSpec {
    /// Number of the picture among the inputs.
    pub index: usize,
    /// Name of the picture.
    pub name: String,
    /// Type of its elements: F32, F16 or U8.
    pub element: ElementType,
    /// Images per run.
    pub batch: Batch,
    /// One image.
    pub tensor: TensorSpec,
    /// `orig_target_sizes` of DETR-like exports: `i64[N,2]`, width and height that boxes are to be in.
    pub sizes: Option<SideInput>,
}

/// Side of the input where neither file nor user says one: what YOLO exports with open sides were trained with.
const DEFAULT_SIDE: usize = 640;

impl InputSpec {
    /// The input of a model of a family not yet known, enough for a probe run.
    pub fn of(info: &ModelInfo, side: Option<usize>) -> Result<Self, ModelError> {
        let picture = info.inputs.iter().position(|input| input.dims.len() == 4);
        let (Some(index), true) = (picture, (1..=2).contains(&info.inputs.len())) else {
            return Err(ModelError::input(info));
        };
        let sizes = match info.inputs.iter().enumerate().find(|(i, _)| *i != index) {
            Some((index, side)) if is_sizes(side) => Some(SideInput {
                index,
                name: side.name.clone(),
            }),
            Some(_) => return Err(ModelError::input(info)),
            None => None,
        };
        let input = &info.inputs[index];
        let dims = &input.dims;
        let (layout, height, width) = match (dims[1], dims[3]) {
            (3, _) => (Layout::Nchw, dims[2], dims[3]),
            (_, 3) => (Layout::Nhwc, dims[1], dims[2]),
            _ => return Err(ModelError::input(info)),
        };
        let open = side
            .or_else(|| side_from_metadata(info))
            .unwrap_or(DEFAULT_SIDE);
        let sized = |dim: i64| match usize::try_from(dim) {
            Ok(dim) if (16..=8192).contains(&dim) => Some(dim),
            Err(_) => Some(open),
            Ok(_) => None,
        };
        let batch = match dims[0] {
            ..=-1 => Some(Batch::Dynamic),
            n @ 1..=64 => Some(Batch::Fixed(n as usize)),
            _ => None,
        };
        let known = matches!(
            input.element,
            ElementType::F32 | ElementType::F16 | ElementType::U8
        );
        match (sized(width), sized(height), batch, known) {
            (Some(width), Some(height), Some(batch), true) => Ok(Self {
                index,
                name: input.name.clone(),
                element: input.element.clone(),
                batch,
                tensor: TensorSpec {
                    width,
                    height,
                    layout,
                    order: ChannelOrder::Rgb,
                    scale: [1.0; 3],
                    bias: [0.0; 3],
                    padding: 114,
                },
                sizes,
            }),
            _ => Err(ModelError::input(info)),
        }
    }

    /// Order and scaling of colours as the family was trained with. Bytes are always 0..=255.
    pub(super) fn colours_of(mut self, family: ModelType) -> Self {
        let (order, mean, deviation) = match family {
            ModelType::Yolox => (ChannelOrder::Bgr, [0.0; 3], [1.0; 3]),
            ModelType::NanoDet => (
                ChannelOrder::Bgr,
                [103.53, 116.28, 123.675],
                [57.375, 57.12, 58.395],
            ),
            ModelType::RfDetr => (
                ChannelOrder::Rgb,
                [123.675, 116.28, 103.53],
                [58.395, 57.12, 57.375],
            ),
            ModelType::Ssd => (ChannelOrder::Rgb, [127.5; 3], [127.5; 3]),
            ModelType::YoloNas
            | ModelType::Yolov5
            | ModelType::Yolov8
            | ModelType::EndToEnd
            | ModelType::Dfine
            | ModelType::RtDetr => (ChannelOrder::Rgb, [0.0; 3], [255.0; 3]),
        };
        self.tensor.order = order;
        if self.element != ElementType::U8 {
            self.tensor.scale = deviation.map(|d| 1.0 / d);
            self.tensor.bias = [0, 1, 2].map(|c| -mean[c] / deviation[c]);
        }
        self
    }
}

fn is_sizes(input: &TensorInfo) -> bool {
    input.element == ElementType::I64
        && input.dims.len() == 2
        && matches!(input.dims[1], 2 | ..0)
        && input.name.contains("size")
}

/// `imgsz` as Ultralytics writes it: `[640, 640]`.
fn side_from_metadata(info: &ModelInfo) -> Option<usize> {
    let text = info.metadata.get("imgsz")?;
    let first = text.trim_matches(['[', ']', ' ']).split(',').next()?;
    first
        .trim()
        .parse()
        .ok()
        .filter(|s| (16..=8192).contains(s))
}
