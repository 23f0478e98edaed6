//! Why a model cannot be used, in words for the person who chose it.

use super::rows::Rows;
use super::{ModelInfo, ModelType, TensorInfo};

/// A model that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The input is nothing a picture can be put into.
    #[error(
        "its inputs are {found}; supported is one picture of 3 channels, [N,3,H,W] or [N,H,W,3], of f32, f16 or u8, \
         beside it at most `orig_target_sizes` i64[N,2]"
    )]
    Input {
        /// The inputs found.
        found: String,
    },
    /// The outputs fit several layouts, and nothing says which.
    #[error(
        "its outputs are {found}, which can be {first} or {second}; set model-type to the right one"
    )]
    Ambiguous {
        /// The outputs found.
        found: String,
        /// One reading.
        first: String,
        /// Another.
        second: String,
    },
    /// The outputs fit no family, or not the one asked for.
    #[error("its outputs are {found}; {asked}supported are: {supported}")]
    Outputs {
        /// The outputs found.
        found: String,
        /// What was asked for by `model-type`, if anything was.
        asked: String,
        /// What there is.
        supported: String,
    },
}

impl ModelError {
    pub(super) fn input(info: &ModelInfo) -> Self {
        Self::Input {
            found: list(&info.inputs),
        }
    }

    pub(super) fn ambiguous(
        info: &ModelInfo,
        first: (ModelType, Rows),
        second: (ModelType, Rows),
    ) -> Self {
        let reading = |(family, rows): (ModelType, Rows)| format!("{family} ({rows})");
        Self::Ambiguous {
            found: list(&info.outputs),
            first: reading(first),
            second: reading(second),
        }
    }

    pub(super) fn outputs(info: &ModelInfo, asked: &[ModelType]) -> Self {
        Self::Outputs {
            found: list(&info.outputs),
            asked: asked
                .iter()
                .map(|t| format!("model-type={t} was asked for and is {}; ", t.shapes()))
                .collect(),
            supported: ModelType::ALL
                .map(|t| format!("{t} ({})", t.shapes()))
                .join("; "),
        }
    }
}

fn list(tensors: &[TensorInfo]) -> String {
    if tensors.is_empty() {
        return String::from("none");
    }
    let texts: Vec<String> = tensors.iter().map(TensorInfo::to_string).collect();
    texts.join(", ")
}

/// An output that is not what the model promised when it was recognised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A tensor of another shape, or with fewer elements than its shape says.
    #[error(
        "an output has shape {found:?} with {length} elements, image {image} of [N, {expected:?}] was expected"
    )]
    Shape {
        /// Its dimensions.
        found: Vec<i64>,
        /// Its elements.
        length: usize,
        /// The dimensions after the batch.
        expected: Vec<usize>,
        /// Which image of the batch was asked for.
        image: usize,
    },
    /// An output is not there.
    #[error("output {index} is missing, there are {found}")]
    Missing {
        /// Its number.
        index: usize,
        /// How many there are.
        found: usize,
    },
}
