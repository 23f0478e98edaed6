//! The `motion` section.

use detection::Masks;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Motion detection: what counts as movement, and where it is ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MotionConfig {
    /// Whether motion is looked for. Without it the whole frame is looked at.
    pub enabled: bool,
    /// Difference in brightness, 1 to 255, above which a pixel counts as changed.
    #[schemars(range(min = 1, max = 255))]
    pub threshold: u32,
    /// Area in pixels of the reduced picture above which a changed spot counts as motion.
    #[schemars(range(min = 0, max = 100_000))]
    pub contour_area: u32,
    /// Height in pixels of the reduced picture motion is looked for in.
    #[schemars(range(min = 16, max = 1024))]
    pub frame_height: u32,
    /// Share, 0 to 1, of a new frame in the running average.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub frame_alpha: f64,
    /// Share of the picture, 0.3 to 1, that must change at once to be taken for a change of light.
    #[schemars(range(min = 0.3, max = 1.0))]
    pub lightning_threshold: f64,
    /// Share of the picture, 0 to 1, beyond which a frame's motion is ignored; without it never.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub skip_motion_threshold: Option<f64>,
    /// Stretch the contrast before comparing: helps at night.
    pub improve_contrast: bool,
    /// Areas in which motion is ignored.
    #[serde(skip_serializing_if = "Masks::is_empty")]
    pub mask: Masks,
    /// Accepted for Frigate's sake, without effect (Frigate does not use it either).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta_alpha: Option<f64>,
    /// Seconds without motion after which MQTT says so; without it 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt_off_delay: Option<u32>,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            threshold: 30,
            contour_area: 10,
            frame_height: 100,
            frame_alpha: 0.01,
            lightning_threshold: 0.8,
            skip_motion_threshold: None,
            improve_contrast: true,
            mask: Masks::default(),
            delta_alpha: None,
            mqtt_off_delay: None,
        }
    }
}
