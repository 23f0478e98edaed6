//! The `model` section: what objects are found with.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The model all cameras share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The ONNX file; a relative path counts from the folder of the configuration file.
    pub path: PathBuf,
    /// How the model's output is read (`yolox`, `yolov5`, `yolov8`, `end2end`, `ssd`, `detr`, `nanodet`); without it
    /// recognised from the names and shapes of its tensors.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// File with one label per line; without it the model's own labels, or COCO's 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<PathBuf>,
    /// ONNX Runtime's execution provider, for instance `cpu`, `openvino`, `cuda`; without it the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}
