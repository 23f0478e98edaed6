//! The `detect` section.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::tasks::Stream;

/// Object detection: size and rate of the analysed pictures, and what makes an object of detections.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DetectConfig {
    /// Whether objects are looked for. (Off by default in Frigate, on here.)
    pub enabled: bool,
    /// The camera's stream that is looked at: `main` or `lores`; without it the one of the live profile. Only libcamera
    /// cameras have several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// Width of the analysed pictures in pixels, even; without it the source's own. Give it together with `height`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 64, max = 7680))]
    pub width: Option<u32>,
    /// Height of the analysed pictures in pixels, even; without it the source's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 64, max = 4320))]
    pub height: Option<u32>,
    /// Analysed pictures per second; surplus ones are dropped before they are scaled.
    #[schemars(range(min = 0.1, max = 60.0))]
    pub fps: f64,
    /// Frames in a row that must show an object before it is believed; without it half of `fps`, at least 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_initialized: Option<u32>,
    /// Frames an object may be missing where it was looked for before it is gone; without it 5 times `fps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_disappeared: Option<u32>,
    /// Objects that stay where they are.
    pub stationary: StationaryConfig,
    /// Milliseconds added to the times of the boxes of `analysis.ws`, where they come before or after the picture they belong
    /// to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotation_offset: Option<i32>,
}

impl Default for DetectConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            stream: None,
            width: None,
            height: None,
            fps: 5.0,
            min_initialized: None,
            max_disappeared: None,
            stationary: StationaryConfig::default(),
            annotation_offset: None,
        }
    }
}

impl DetectConfig {
    /// `min_initialized` with its default worked out.
    pub fn min_initialized(&self) -> u32 {
        self.min_initialized
            .unwrap_or(((self.fps / 2.0) as u32).max(2))
    }

    /// `max_disappeared` with its default worked out.
    pub fn max_disappeared(&self) -> u32 {
        self.max_disappeared
            .unwrap_or(((self.fps * 5.0) as u32).max(1))
    }

    /// `stationary.threshold` with its default worked out.
    pub fn stationary_threshold(&self) -> u32 {
        self.stationary
            .threshold
            .unwrap_or(((self.fps * 10.0) as u32).max(1))
    }

    /// `stationary.interval` with its default worked out.
    pub fn stationary_interval(&self) -> u32 {
        self.stationary
            .interval
            .unwrap_or_else(|| self.stationary_threshold())
    }
}

/// Objects that stay where they are: looked at less often, and kept for as long as they stay.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StationaryConfig {
    /// Frames between two looks at a stationary object; without it the same as `threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub interval: Option<u32>,
    /// Frames without a change of place after which an object is stationary; without it 10 times `fps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub threshold: Option<u32>,
    /// How long stationary objects are kept at most; without it for as long as they stay.
    pub max_frames: MaxFrames,
    /// Compare the picture of a resting object with what it was before believing that it moved or is gone. (On by default in
    /// Frigate, off here.)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub classifier: Option<bool>,
}

/// Frames a stationary object is kept at most.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MaxFrames {
    /// For every label that `objects` does not name; without it there is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub default: Option<u32>,
    /// By label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub objects: BTreeMap<String, u32>,
}
