//! A camera as the configuration file tells it: one type per section, with Frigate's names, meanings and defaults
//! where Frigate has them.
//!
//! Every struct refuses unknown keys and has its defaults in `Default`, so they are written once. What serde cannot say
//! (ranges, roles, references between keys) is checked by the orchestrator, which knows where in the file a key stands.

mod bytes;
mod detect;
mod motion;
mod objects;
mod profile;
mod record;
mod source;
mod tasks;

use std::collections::BTreeMap;

use detection::FrameSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use bytes::Bytes;
pub use detect::{DetectConfig, MaxFrames, StationaryConfig};
pub use detection::{Area, Mask, Masks, ObjectFilter, Polygon, ZoneConfig};
pub use motion::MotionConfig;
pub use objects::ObjectsConfig;
pub(crate) use profile::FRAME_DURATION;
pub use profile::{ControlValue, Profile, Profiles, Size, Stream, Transform};
pub use record::{
    ContinuousConfig, EventRecordConfig, MotionRecordConfig, RecordConfig, RetainConfig, RetainMode,
};
pub use source::{
    Decoder, FileSource, LibcameraSource, Role, RtspSource, RtspTransport, Source, SourceEntry,
    TestSource, V4l2Source,
};
pub use tasks::{LiveConfig, PhotoConfig, TasksConfig, VideoConfig};

/// One camera: where its pictures come from and what is done with them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CameraConfig {
    /// Whether the camera runs. A disabled one is not started and can be enabled at any time.
    pub enabled: bool,
    /// Name shown to people; the key under `cameras` is used where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// The key this camera had before it was renamed: its learned region grid and its history move along.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_name: Option<String>,
    /// Where the pictures come from, for all roles. Either this or `sources`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Several sources of one camera (a main and a sub stream), each with its roles. Either this or `source`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceEntry>,
    /// Which decoder to use.
    pub decoder: Decoder,
    /// Object detection: size and rate of the analysed pictures, and what makes an object of detections.
    pub detect: DetectConfig,
    /// Motion detection: what counts as movement, and where it is ignored.
    pub motion: MotionConfig,
    /// Which objects are looked for, and which detections of them are believed.
    pub objects: ObjectsConfig,
    /// Continuous and event recording: what is recorded, where, and how long it is kept.
    pub record: RecordConfig,
    /// Named areas of the picture; an object is in a zone when the middle of its lower edge is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub zones: BTreeMap<String, ZoneConfig>,
    /// How the live picture, photos, raw photos and recordings want the camera.
    pub profiles: Profiles,
    /// How tasks make their files and pictures.
    pub tasks: TasksConfig,
    /// Seconds without a new frame after which the camera counts as stalled and its capture is restarted. Raise it for
    /// sources that send a picture only now and then.
    #[schemars(range(min = 0.5, max = 86400.0))]
    pub stall_timeout: f64,
    /// Seconds with the very same picture after which the camera counts as frozen and its capture is restarted; 0: never.
    /// Real cameras have noise in every picture. Applies to cameras, not to files.
    #[schemars(range(min = 0, max = 86_400))]
    pub freeze_timeout: f64,
    /// Frames the camera's ring holds, 3 to 50. Without it 16, or fewer where memory is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 3, max = 50))]
    pub slots: Option<u32>,
}

impl Default for CameraConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            friendly_name: None,
            previous_name: None,
            source: None,
            sources: Vec::new(),
            decoder: Decoder::default(),
            detect: DetectConfig::default(),
            motion: MotionConfig::default(),
            objects: ObjectsConfig::default(),
            record: RecordConfig::default(),
            zones: BTreeMap::new(),
            profiles: Profiles::default(),
            tasks: TasksConfig::default(),
            stall_timeout: 20.0,
            freeze_timeout: 60.0,
            slots: None,
        }
    }
}

impl CameraConfig {
    /// A camera with this source and every other key at its default.
    pub fn from_source(source: Source) -> Self {
        Self {
            source: Some(source),
            ..Self::default()
        }
    }

    /// The source a role is served from: the only one, or the one of `sources` that names the role.
    pub fn source_for(&self, role: Role) -> Option<&Source> {
        match &self.source {
            Some(source) => Some(source),
            None if self.sources.len() == 1 => self.sources.first().map(|entry| &entry.source),
            None => self
                .sources
                .iter()
                .find(|entry| entry.roles.contains(&role))
                .map(|entry| &entry.source),
        }
    }

    /// The source that runs as long as the camera does: the one that is detected on, where there is one.
    pub fn primary_source(&self) -> Option<&Source> {
        Role::ALL.into_iter().find_map(|role| self.source_for(role))
    }

    /// Size of the analysed pictures where the configuration fixes it.
    pub fn detect_size(&self) -> Option<FrameSize> {
        let (width, height) = self.detect.width.zip(self.detect.height)?;
        Some(FrameSize::new(width, height))
    }
}
