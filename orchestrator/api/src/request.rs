//! Parameters and bodies of requests, and their small answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use watchpost_pipelines::tasks::Task;

/// Which events; all that are given must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventQuery {
    /// Of this camera.
    pub camera: Option<String>,
    /// Of this class.
    pub label: Option<String>,
    /// That have been in this zone.
    pub zone: Option<String>,
    /// Lasted until this time or later; seconds since 1970.
    pub after: Option<f64>,
    /// Started before this time; seconds since 1970.
    pub before: Option<f64>,
    /// Numbers below this one: for the next page, the `id` of the last event of this one.
    pub before_id: Option<i64>,
    /// At most this many, 1 to 1000; 100 if not given.
    pub limit: Option<usize>,
}

/// Body of `PUT /api/events/{id}/keep`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepEvent {
    /// Whether retention leaves the event.
    pub keep: bool,
}

/// From where a stream is to go on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamQuery {
    /// The last change the listener has had; browsers say it with the header `Last-Event-ID` instead.
    pub after: Option<i64>,
}

/// Which media; all that are given must hold.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MediaQuery {
    /// Of this camera.
    pub camera: Option<String>,
    /// Made by this task.
    pub task: Option<Task>,
    /// Of the series of this name.
    pub series: Option<String>,
    /// Taken at this time or later; seconds since 1970.
    pub after: Option<f64>,
    /// Taken before this time; seconds since 1970.
    pub before: Option<f64>,
    /// Numbers below this one: for the next page, the `id` of the last item of this one.
    pub before_id: Option<i64>,
    /// At most this many, 1 to 1000; 100 if not given.
    pub limit: Option<usize>,
}

/// Which entries of the audit log.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Written before this time; seconds since 1970. For the next page, the `time` of the last entry of this one.
    pub before: Option<f64>,
    /// At most this many, 1 to 1000; 100 if not given.
    pub limit: Option<usize>,
}

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntry {
    /// When it began; seconds since 1970.
    pub time: f64,
    /// The user or the token's name; of a failed sign-in the name that was given.
    pub user: String,
    /// The client's address; of IPv6 its network of 64 bits.
    pub address: String,
    /// `sign-in`, or method and route.
    pub action: String,
    /// The path with its parameters; empty for a sign-in.
    pub path: String,
    /// The camera that the path names.
    pub camera: Option<String>,
    /// Status code of the answer; null where the client left before it.
    pub status: Option<u16>,
}

/// Body and answer of `POST /api/cameras/{name}/moving`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Moving {
    /// Whether the camera moves.
    pub moving: bool,
}

/// What was learned about where objects are, and how large.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RegionGrid {
    /// As regiondetect exports it; null as long as nothing was learned.
    pub grid: Value,
    /// Whether learning is stopped.
    pub frozen: bool,
    /// When it was last written; seconds since 1970.
    pub updated: Option<f64>,
}

/// What `freeze` takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Freeze {
    /// Whether learning is stopped.
    pub frozen: bool,
}

/// The order was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// Always true.
    pub ok: bool,
}
