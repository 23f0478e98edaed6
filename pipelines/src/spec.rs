//! What a worker is handed: everything it needs to know about one camera, as one line of JSON.
//!
//! References to the environment and to files are already resolved in it, so it goes to the worker by pipe and is
//! neither logged nor kept.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{CameraConfig, ModelConfig};

/// What a capture worker gets on its standard input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptureSpec {
    /// The camera's key under `cameras`.
    pub name: String,
    /// The camera.
    pub camera: CameraConfig,
    /// Where readers find the ring.
    pub socket_path: PathBuf,
    /// Frames the ring holds, as the supervisor granted them.
    pub slots: u32,
    /// Bytes a frame was taken to have, where its size is not known beforehand. Larger ones do not go into the ring before
    /// the supervisor has granted the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_bytes: Option<u64>,
    /// Folder of what outlives a run; the camera's files go below it.
    pub data_dir: PathBuf,
    /// Decoders not to try again, since they failed for this camera.
    #[serde(default)]
    pub failed_decoders: Vec<String>,
}

/// What the analysis worker gets for each camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnalysisSpec {
    /// The camera's key under `cameras`.
    pub name: String,
    /// The camera.
    pub camera: CameraConfig,
    /// Where the ring is found.
    pub socket_path: PathBuf,
    /// What objects are found with; without it only motion is.
    pub model: Option<ModelConfig>,
    /// First object id this tracker may use.
    #[serde(default)]
    pub first_id: Option<u32>,
    /// The region grid to begin with, as regiondetect exports it.
    #[serde(default)]
    pub region_grid: Option<String>,
}
