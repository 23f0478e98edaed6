//! The status of cameras, of their workers, and of the program.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchpost_pipelines::libcamera::Offer;
use watchpost_pipelines::tasks::{Task, TaskStatus};

use crate::{CameraState, Object};

/// Everything about one camera. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CameraStatus {
    /// Its key in the configuration.
    pub name: String,
    /// Name shown to people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// Whether the configuration wants it to run.
    pub enabled: bool,
    /// What it does.
    pub state: CameraState,
    /// Why, if there is something to say.
    pub reason: Option<String>,
    /// When the state began.
    pub since: f64,
    /// Frames per second that reach the ring.
    pub camera_fps: f64,
    /// Frames per second that are analysed.
    pub process_fps: f64,
    /// Inferences per second.
    pub detection_fps: f64,
    /// Frames per second that were not analysed.
    pub skipped_fps: f64,
    /// Frames not analysed so far, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Capture time of the newest frame analysed.
    pub detection_frame: Option<f64>,
    /// Seconds from capture to the end of analysis.
    pub age: Option<f64>,
    /// Milliseconds of one inference.
    pub inference_ms: Option<f64>,
    /// Milliseconds an inference waits for its turn.
    pub queue_ms: Option<f64>,
    /// The capture worker.
    pub capture_pid: Option<u32>,
    /// The analysis worker.
    pub analysis_pid: Option<u32>,
    /// The analysis of this camera.
    pub analysis: AnalysisState,
    /// The decoder at work.
    pub decoder: Option<String>,
    /// What a libcamera camera offers, as it answered when it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer: Option<Offer>,
    /// Tasks that it cannot do by what it offers, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unavailable: BTreeMap<Task, String>,
    /// The ring, when there is one.
    pub ring: Option<RingStatus>,
    /// Attempts after a failure in the last hour.
    pub reconnects_last_hour: u32,
    /// Stalls and frozen pictures in the last hour.
    pub stalls_last_hour: u32,
    /// Capture workers that died by themselves since the start of the program.
    #[serde(default)]
    pub worker_deaths: u64,
    /// Its tasks that are under way or have failed, but detection.
    #[serde(default)]
    pub tasks: Vec<TaskStatus>,
    /// Whether there is motion.
    pub motion: bool,
    /// The objects in the newest frame analysed.
    pub objects: Vec<Object>,
}

/// The ring of a camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RingStatus {
    /// Slots it has.
    pub slots: u32,
    /// Bytes of each.
    pub slot_bytes: u64,
    /// Width of its frames.
    pub width: u32,
    /// Height of its frames.
    pub height: u32,
    /// Frames written so far.
    pub written: u64,
    /// Readers attached.
    pub readers: u32,
    /// 1 for the first ring of a capture worker, one more for each change of its size.
    pub generation: u64,
    /// Frames it could not take, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// The analysis of one camera.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnalysisState {
    /// What it does.
    pub state: AnalysisPhase,
    /// Why, if there is something to say.
    pub reason: Option<String>,
    /// Whether the camera has an analysis worker of its own, because it was at work when the common one died.
    pub own_worker: bool,
}

/// What the analysis of a camera does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AnalysisPhase {
    /// `detect.enabled` is false, or the camera is disabled.
    Off,
    /// Waiting for the ring or the worker.
    Waiting,
    /// Frames are analysed.
    Running,
    /// It does not work; the reason says why. Capture goes on.
    Failed,
}

/// The whole program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The version of this program.
    pub version: String,
    /// Process id of the supervisor.
    pub pid: u32,
    /// When it was started.
    pub started: f64,
    /// What is wrong with the configuration file, if its last change could not be taken over.
    pub config_error: Option<String>,
    /// Every camera, by name.
    pub cameras: Vec<CameraStatus>,
    /// This process and its workers.
    #[serde(default)]
    pub processes: Vec<ProcessStatus>,
}

/// A process and what it uses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessStatus {
    /// `supervisor`, `analysis`, `capture NAME` or `analysis NAME`.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// Time on the processor so far.
    pub cpu_seconds: f64,
    /// Memory in use, shared parts (the rings among them) included.
    pub resident_bytes: u64,
    /// Memory that nobody else uses.
    pub unshared_bytes: u64,
}

impl ProcessStatus {
    /// A process of which only the id is known.
    pub fn named(name: String, pid: u32) -> Self {
        Self {
            name,
            pid,
            cpu_seconds: 0.0,
            resident_bytes: 0,
            unshared_bytes: 0,
        }
    }
}

impl CameraStatus {
    /// Whether its detection failed, or waits for a worker that cannot be started.
    fn lacks_detection(&self) -> bool {
        match self.analysis.state {
            AnalysisPhase::Failed => true,
            // The reason of a camera that streams is that of its analysis.
            AnalysisPhase::Waiting => self.reason.is_some(),
            AnalysisPhase::Off | AnalysisPhase::Running => false,
        }
    }
}

impl Status {
    /// Enabled cameras that do not stream, or whose detection does not work, each with state and reason.
    pub fn not_ready(&self) -> Vec<&CameraStatus> {
        self.cameras
            .iter()
            .filter(|c| c.enabled && (c.state != CameraState::Streaming || c.lacks_detection()))
            .collect()
    }
}
