//! The `record` section: continuous and event recording.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Bytes;

/// Continuous and event recording: what is recorded, where, and how long it is kept. The stream of the source with the
/// role `record` is recorded as the camera sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecordConfig {
    /// Whether anything is recorded. What was recorded before is kept for its days all the same.
    pub enabled: bool,
    /// Whether sound is recorded. Unlawful in many places; accepted, without effect so far.
    pub audio: bool,
    /// Folder below which footage is written to `recordings/CAMERA`; without it `data_dir`. Another disk is found by the
    /// marker file `.watchpost-volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Bytes that the camera's footage may have, or text such as `200GiB`; without it as many as there is room for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Bytes>,
    /// Seconds from the first sight of an object until it is believed: so much more is kept in memory, so that an event
    /// begins with its first sight.
    #[schemars(range(min = 0.0, max = 30.0))]
    pub detection_delay: f64,
    /// Everything.
    pub continuous: ContinuousConfig,
    /// While there is motion.
    pub motion: MotionRecordConfig,
    /// Review items of severity alert.
    pub alerts: EventRecordConfig,
    /// Review items of severity detection.
    pub detections: EventRecordConfig,
}

impl Default for RecordConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            audio: false,
            path: None,
            max_bytes: None,
            detection_delay: 10.0,
            continuous: ContinuousConfig::default(),
            motion: MotionRecordConfig::default(),
            alerts: EventRecordConfig::default(),
            detections: EventRecordConfig::default(),
        }
    }
}

/// Recording of everything.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ContinuousConfig {
    /// Days that everything is kept; 0: it is not recorded.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub days: f64,
    /// Bytes that footage of this kind may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Bytes>,
    /// Folder for this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// Recording while there is motion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MotionRecordConfig {
    /// Days that footage with motion is kept; 0: it is not recorded.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub days: f64,
    /// Seconds before the motion.
    #[schemars(range(min = 0.0, max = 60.0))]
    pub pre_capture: f64,
    /// Seconds after it.
    #[schemars(range(min = 0.0, max = 3600.0))]
    pub post_capture: f64,
    /// Bytes that footage of this kind may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Bytes>,
    /// Folder for this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

impl Default for MotionRecordConfig {
    fn default() -> Self {
        Self {
            days: 0.0,
            pre_capture: 5.0,
            post_capture: 5.0,
            max_bytes: None,
            path: None,
        }
    }
}

/// Recording of review items of one severity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventRecordConfig {
    /// Seconds before the first sight.
    #[schemars(range(min = 0.0, max = 60.0))]
    pub pre_capture: f64,
    /// Seconds after the last sight.
    #[schemars(range(min = 0.0, max = 3600.0))]
    pub post_capture: f64,
    /// How long it is kept, and which parts.
    pub retain: RetainConfig,
    /// Bytes that footage of this kind may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Bytes>,
    /// Folder for this kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

impl Default for EventRecordConfig {
    fn default() -> Self {
        Self {
            pre_capture: 5.0,
            post_capture: 5.0,
            retain: RetainConfig::default(),
            max_bytes: None,
            path: None,
        }
    }
}

/// How long the footage of review items is kept, and which parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetainConfig {
    /// Days; 0: such items are not recorded.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub days: f64,
    /// Which parts.
    pub mode: RetainMode,
}

impl Default for RetainConfig {
    fn default() -> Self {
        Self {
            days: 10.0,
            mode: RetainMode::All,
        }
    }
}

/// Which parts of an item's footage are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetainMode {
    /// All of it, so that it plays without a jump.
    #[default]
    All,
    /// Groups of pictures with motion or active objects, and 5 s on both sides.
    Motion,
    /// Groups of pictures with active objects, and 5 s on both sides.
    ActiveObjects,
}

/// Most seconds of pre-roll that are kept in memory.
const MOST_PRE_ROLL: f64 = 90.0;

impl RecordConfig {
    /// Seconds of the stream that are kept in memory, so that an event begins before it is known.
    pub fn pre_roll(&self) -> f64 {
        let mut pre_capture: f64 = 0.0;
        for (days, pre) in [
            (self.motion.days, self.motion.pre_capture),
            (self.alerts.retain.days, self.alerts.pre_capture),
            (self.detections.retain.days, self.detections.pre_capture),
        ] {
            if days > 0.0 {
                pre_capture = pre_capture.max(pre);
            }
        }
        match self.enabled {
            true => (pre_capture + self.detection_delay).min(MOST_PRE_ROLL),
            false => 0.0,
        }
    }

    /// Relative folders count from the folder of the configuration file.
    pub fn make_absolute(&mut self, folder: &Path) {
        for path in [
            &mut self.path,
            &mut self.continuous.path,
            &mut self.motion.path,
            &mut self.alerts.path,
            &mut self.detections.path,
        ]
        .into_iter()
        .flatten()
        {
            *path = folder.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pre_roll_covers_the_longest_pre_capture_and_the_delay_of_detection() {
        let mut record = RecordConfig::default();
        assert_eq!(record.pre_roll(), 0.0, "nothing is recorded");
        record.enabled = true;
        assert_eq!(record.pre_roll(), 15.0);
        record.motion.pre_capture = 60.0;
        assert_eq!(record.pre_roll(), 15.0, "motion is not recorded");
        record.motion.days = 1.0;
        assert_eq!(record.pre_roll(), 70.0);
        record.detection_delay = 30.0;
        record.alerts.pre_capture = 60.0;
        assert_eq!(record.pre_roll(), 90.0);
    }
}
