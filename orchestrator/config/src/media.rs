//! The `media` section: how much of what cameras' tasks make is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchpost_pipelines::camera::Bytes;

/// What is kept of the files the cameras' tasks make. Where a limit asks for it, the oldest files go first, of whatever
/// camera; a file that is being written never.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MediaConfig {
    /// Bytes that stay free on the disk, or text such as `500 MB` or `2GiB`; 0: media may fill it.
    pub min_free: Bytes,
    /// Bytes that all media with their thumbnails may have, or text such as `200GiB`; without it as many as there is room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Bytes>,
    /// Days after which a file goes; without it never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub days: Option<f64>,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            min_free: Bytes(1 << 30),
            max_bytes: None,
            days: None,
        }
    }
}
