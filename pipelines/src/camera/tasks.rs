//! The `tasks` section: how the camera's tasks make their files and pictures. What they ask of the camera itself is in
//! `profiles`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How tasks make their files and pictures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TasksConfig {
    /// The live picture.
    pub live: LiveConfig,
    /// Photos, also those of a series.
    pub photo: PhotoConfig,
    /// Recordings.
    pub video: VideoConfig,
}

/// The live picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LiveConfig {
    /// Pictures per second at most.
    #[schemars(range(min = 0.1, max = 60.0))]
    pub fps: f64,
    /// JPEG quality.
    #[schemars(range(min = 1, max = 100))]
    pub quality: u32,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            fps: 15.0,
            quality: 80,
        }
    }
}

/// Photos.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PhotoConfig {
    /// JPEG quality.
    #[schemars(range(min = 1, max = 100))]
    pub quality: u32,
}

impl Default for PhotoConfig {
    fn default() -> Self {
        Self { quality: 93 }
    }
}

/// Recordings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VideoConfig {
    /// Seconds before its start that a recording begins with. The encoder of a camera that sends raw pictures then works
    /// all the time.
    #[schemars(range(min = 0.0, max = 60.0))]
    pub pre_record: f64,
    /// Kilobits per second where Watchpost encodes; without it by the size of the picture.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 50, max = 100_000))]
    pub bitrate: Option<u32>,
    /// Seconds per fragment of the MP4: what a sudden end can cost at most.
    #[schemars(range(min = 0.1, max = 60.0))]
    pub fragment: f64,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self {
            pre_record: 0.0,
            bitrate: None,
            fragment: 1.0,
        }
    }
}
