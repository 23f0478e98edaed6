//! Tasks of a camera: requests, and the plan of what runs together.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchpost_pipelines::tasks::task::{NoParameters, SeriesParameters, VideoParameters};
use watchpost_pipelines::tasks::{Conflict, Merged, Standing, Use};

/// Body of `POST /api/cameras/{name}/tasks/{task}`: the parameters of that task. The path says of which.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum TaskParameters {
    /// Of a series.
    Series(SeriesParameters),
    /// Of a recording.
    Video(VideoParameters),
    /// Of every other task.
    Other(NoParameters),
}

/// Parameters of `GET /api/cameras/{name}/plan`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanQuery {
    /// Tasks with commas between them: live, photo, raw_photo, series, video, detect. Without it all of them.
    pub tasks: Option<String>,
}

/// Body of `PATCH /api/cameras/{name}/tasks/{task}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskChange {
    /// `paused` or `active`.
    pub state: WantedState,
}

/// The state a task is to be in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WantedState {
    /// Without making anything.
    Paused,
    /// At work.
    Active,
}

/// What would run together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPlan {
    /// The uses of the camera that were asked for.
    pub uses: Vec<Use>,
    /// Whether they run side by side.
    pub together: bool,
    /// The one configuration they then share.
    pub configuration: Option<Merged>,
    /// Why they do not: profile, key and both values of each conflict.
    pub conflicts: Vec<Conflict>,
    /// The same in words, after what this camera cannot do at all.
    pub reasons: Vec<String>,
    /// What the camera runs with, and which uses it then gives way to one at a time.
    pub standing: Standing,
}
