//! Continuous and event recordings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A span of time, half-open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanQuery {
    /// From this time on; seconds since 1970.
    pub after: f64,
    /// Up to this time; seconds since 1970.
    pub before: f64,
    /// Activity is one entry where the pause between is no longer than so many seconds, as for a timeline of this resolution.
    #[serde(default)]
    pub bucket: Option<f64>,
}

/// What is recorded of a camera in a span, for a timeline.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Recordings {
    /// Footage without interruption, oldest first.
    pub spans: Vec<RecordedSpan>,
    /// What is not there although it was wanted.
    pub gaps: Vec<RecordingGap>,
    /// Spans with motion or active objects.
    pub activity: Vec<RecordedActivity>,
}

/// Footage without interruption.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedSpan {
    /// Time of its first picture; seconds since 1970.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What is not there although it was wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingGap {
    /// Its first moment; seconds since 1970.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// Why.
    pub reason: String,
}

/// A span with motion or active objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedActivity {
    /// Its start; seconds since 1970.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// There was motion.
    pub motion: bool,
    /// Most active objects at a time.
    pub objects: u8,
}
