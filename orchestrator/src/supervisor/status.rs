//! What the API says about cameras and workers.

use super::health::State;
use crate::protocol::Object;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use watchpost_pipelines::tasks::TaskStatus;

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
    pub state: State,
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
    /// The ring, when there is one.
    pub ring: Option<RingStatus>,
    /// Attempts after a failure in the last hour.
    pub reconnects_last_hour: u32,
    /// Stalls and frozen pictures in the last hour.
    pub stalls_last_hour: u32,
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

    /// Asks the kernel. A process that has gone meanwhile uses nothing.
    fn measure(&mut self) {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", self.pid));
        let (stat, memory) = (read("stat"), read("smaps_rollup"));
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        self.cpu_seconds =
            stat.ok().and_then(|s| cpu_ticks(&s)).unwrap_or(0) as f64 / ticks_per_second;
        let memory = memory.unwrap_or_default();
        self.resident_bytes = kib(&memory, "Rss:") * 1024;
        self.unshared_bytes =
            (kib(&memory, "Private_Clean:") + kib(&memory, "Private_Dirty:")) * 1024;
    }
}

/// User and system time of a /proc/PID/stat.
fn cpu_ticks(stat: &str) -> Option<u64> {
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    Some(user + fields.next()?.parse::<u64>().ok()?)
}

/// A figure of a smaps_rollup.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0)
}

impl Status {
    /// Fills in what each process uses. Takes a millisecond for each.
    pub fn measure_processes(&mut self) {
        self.processes.iter_mut().for_each(ProcessStatus::measure);
    }

    /// Enabled cameras that do not stream, each with state and reason.
    pub fn not_ready(&self) -> Vec<&CameraStatus> {
        self.cameras
            .iter()
            .filter(|c| c.enabled && c.state != State::Streaming)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_can_be_measured() {
        let mut process = ProcessStatus::named("test".into(), std::process::id());
        process.measure();
        assert!(process.resident_bytes > 100_000);
        assert!(
            process.unshared_bytes > 10_000 && process.unshared_bytes <= process.resident_bytes
        );
        let stat = "12 (a ) b) S 1 1 1 0 -1 4194560 1 2 3 4 50 7 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(57));
    }

    #[test]
    fn a_process_that_is_gone_uses_nothing() {
        let mut process = ProcessStatus::named("gone".into(), u32::MAX);
        process.measure();
        assert_eq!(process, ProcessStatus::named("gone".into(), u32::MAX));
    }
}
