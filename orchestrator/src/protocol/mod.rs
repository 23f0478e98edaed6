//! The lines of JSON between the supervisor and its workers: commands on a worker's standard input, reports on its
//! standard output.
//!
//! Each kind of worker has a pair of enums of its own: [`CaptureCommand`] and [`CaptureReport`], [`AnalysisCommand`] and
//! [`AnalysisReport`]. The first line to a capture worker is its `CaptureSpec` of the pipelines crate. End of file on the
//! input means that the supervisor is gone, and the worker exits.
//!
//! A report is `{"kind": {...}}`: with a tag among the fields serde would have to buffer each report before it can read
//! it, and there are hundreds per second.

mod analysis;
mod capture;

pub use analysis::{
    AnalysisCommand, AnalysisReport, AnalysisStats, CameraReport, GridAction, TrackReport,
    UnreadObjects,
};
pub use capture::{CaptureCommand, CaptureReport, CaptureStats, TaskRequest};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A report of one kind of worker.
pub trait Report: DeserializeOwned + Serialize + std::fmt::Debug + Send + 'static {
    /// Whether it is one of the hundreds per second that start and stop nothing (figures, findings, log lines).
    fn is_routine(&self) -> bool;

    /// A line for the log.
    fn log(line: LogLine) -> Self;

    /// The report of a worker that lacks a resource, such as threads, and cannot say so itself.
    fn starved(reason: String) -> Self;
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Needs a human.
    Error,
    /// Healed itself, or will.
    Warn,
    /// A change of state.
    Info,
    /// For finding a fault.
    Debug,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its severity.
    pub level: Level,
    /// Its text, without credentials.
    pub message: String,
}

/// A message as one line of JSON.
pub fn line(message: &impl Serialize) -> String {
    serde_json::to_string(message).expect("the protocol's types have string keys only")
}
