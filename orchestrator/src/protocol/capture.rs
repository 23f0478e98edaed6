//! Commands and reports of a capture worker.

use super::{LogLine, Report};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use watchpost_pipelines::fault::Fault;
use watchpost_pipelines::libcamera::Offer;
use watchpost_pipelines::record::{Order, RecordEvent};
use watchpost_pipelines::tasks::{MediaFile, Parameters, Task, TaskId, TaskStatus};

/// A command to a capture worker, after its specification.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum CaptureCommand {
    /// Start, pause, resume or stop a task; answered with [`CaptureReport::TaskAnswer`].
    Task {
        /// Comes back with the answer.
        id: u64,
        /// The request.
        request: TaskRequest,
    },
    /// Record this from now on.
    Record(Order),
    /// Send EOS, let it drain, exit.
    Stop,
}

/// A request about a camera's task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskRequest {
    /// Start it.
    Start {
        /// Which.
        id: TaskId,
        /// How.
        parameters: Parameters,
    },
    /// Pause it.
    Pause(TaskId),
    /// Resume it.
    Resume(TaskId),
    /// End it.
    Stop(TaskId),
}

impl TaskRequest {
    /// The task it is about.
    pub fn id(&self) -> TaskId {
        match self {
            Self::Start { id, .. } | Self::Pause(id) | Self::Resume(id) | Self::Stop(id) => *id,
        }
    }
}

/// Figures of one capture worker, once a second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CaptureStats {
    /// Frames per second that came from the camera.
    pub source_fps: f64,
    /// Frames per second that went into the ring.
    pub camera_fps: f64,
    /// Frames written to the ring so far.
    pub written: u64,
    /// Frames the ring could not take, by reason.
    #[serde(default)]
    pub dropped: BTreeMap<String, u64>,
}

/// A report of a capture worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaptureReport {
    /// The ring exists and can be attached to; again when the size of its frames changes.
    RingReady {
        /// Width of its frames.
        width: u32,
        /// Height of its frames.
        height: u32,
    },
    /// The frames are larger than what was granted; the worker put none into memory and is about to exit.
    TooLarge {
        /// Bytes of a frame.
        bytes: u64,
    },
    /// What the camera offers, where it was asked, and the tasks that it cannot do for that.
    Offer {
        /// Its formats, sizes and streams.
        offer: Box<Offer>,
        /// Why it cannot do a task.
        unavailable: BTreeMap<Task, String>,
    },
    /// The decoder in use.
    Decoder {
        /// Name of its element.
        name: String,
    },
    /// The worker cannot go on and is about to exit.
    Fault(Fault),
    /// Figures, once a second.
    Stats(CaptureStats),
    /// The result of a request about a task.
    TaskAnswer {
        /// Of the request.
        id: u64,
        /// The task's status after it, or why the request was refused.
        answer: Result<TaskStatus, String>,
    },
    /// A task's status changed.
    Task(TaskStatus),
    /// A task has made a file.
    File(MediaFile),
    /// Continuous and event recording: a segment, a gap, or why nothing can be written.
    Record(RecordEvent),
    /// Whether a task uses the camera exclusively, so that no frame comes into the ring.
    Exclusive {
        /// Whether one does.
        active: bool,
    },
    /// A line for the log.
    Log(LogLine),
}

impl Report for CaptureReport {
    fn is_routine(&self) -> bool {
        matches!(self, Self::Stats(_) | Self::Record(_) | Self::Log(_))
    }

    fn log(line: LogLine) -> Self {
        Self::Log(line)
    }

    fn starved(reason: String) -> Self {
        Self::Fault(Fault::source(reason))
    }
}

#[cfg(test)]
mod tests {
    use super::super::line;
    use super::*;
    use watchpost_pipelines::fault::FaultKind;

    #[test]
    fn a_report_is_one_line_of_json_named_by_its_kind() {
        let report = CaptureReport::Fault(Fault::new(FaultKind::Auth, "401\nUnauthorized"));
        let line = line(&report);
        assert_eq!(
            line,
            r#"{"fault":{"kind":"auth","reason":"401\nUnauthorized"}}"#
        );
        assert_eq!(
            serde_json::from_str::<CaptureReport>(&line).unwrap(),
            report
        );
    }
}
