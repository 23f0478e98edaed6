//! What a camera can be asked to do beside detecting, with what parameters, and how that is going: the types of the API
//! and of the messages between supervisor and capture worker.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::id::TaskId;
use super::merge::Use;
use super::name::since_epoch;
use super::series::SeriesPosition;

/// Something a camera does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// The live picture, as long as somebody looks.
    Live,
    /// One photo.
    Photo,
    /// One raw photo.
    RawPhoto,
    /// Photos at an interval.
    Series,
    /// A recording.
    Video,
    /// Object detection.
    Detect,
}

impl Task {
    /// All tasks, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Live,
        Self::Photo,
        Self::RawPhoto,
        Self::Series,
        Self::Video,
        Self::Detect,
    ];

    /// The word in configuration and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Photo => "photo",
            Self::RawPhoto => "raw_photo",
            Self::Series => "series",
            Self::Video => "video",
            Self::Detect => "detect",
        }
    }

    /// Whether it goes on with the camera's next process when this one ends.
    pub const fn lasts(self) -> bool {
        matches!(self, Self::Live | Self::Series | Self::Video)
    }

    /// The uses of the camera it needs. A series with raw photos needs [`Use::RawPhoto`] too.
    pub const fn camera_use(self) -> Use {
        match self {
            Self::Live => Use::Live,
            Self::Photo | Self::Series => Use::Photo,
            Self::RawPhoto => Use::RawPhoto,
            Self::Video => Use::Video,
            Self::Detect => Use::Detect,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Task {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|task| task.as_str() == word)
            .ok_or_else(|| {
                let known = Self::ALL.map(Self::as_str).join(", ");
                format!("there is no task {word:?}; expected one of {known}")
            })
    }
}

/// Where a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Nothing is asked of it.
    #[default]
    Idle,
    /// It was asked for and waits: for its time, for the camera, or for its turn.
    Waiting,
    /// At work, side by side with the others.
    Active,
    /// Paused by request, or because another task has the camera.
    Paused,
    /// At work with the camera to itself.
    Exclusive,
    /// It ended with an error; the detail says which.
    Error,
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Exclusive => "exclusive",
            Self::Error => "error",
        })
    }
}

impl TaskState {
    /// Whether it was asked for and has not ended.
    pub const fn is_under_way(self) -> bool {
        !matches!(self, Self::Idle | Self::Error)
    }
}

/// A task's status indicator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskStatus {
    /// The key of the task: further recordings of a camera have a number.
    pub id: TaskId,
    /// What it does.
    pub task: Task,
    /// Where it is.
    pub state: TaskState,
    /// Since when, seconds since 1970.
    pub since: f64,
    /// For people: what it does, waits for, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Files it has made since it was started.
    #[serde(default)]
    pub files: u64,
    /// How it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Parameters>,
    /// Why this camera cannot do it at all, such as "no raw stream".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
}

impl TaskStatus {
    /// The status of a task of which nothing is asked, since a time in seconds since 1970.
    pub fn idle(id: impl Into<TaskId>, since: f64) -> Self {
        let id = id.into();
        Self {
            id,
            task: id.task(),
            state: TaskState::Idle,
            since,
            detail: None,
            files: 0,
            parameters: None,
            unavailable: None,
        }
    }
}

/// Parameters of any task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "task", rename_all = "snake_case")]
pub enum Parameters {
    /// Of the live picture.
    Live(NoParameters),
    /// Of a photo.
    Photo(NoParameters),
    /// Of a raw photo.
    RawPhoto(NoParameters),
    /// Of a series.
    Series(SeriesParameters),
    /// Of a recording.
    Video(VideoParameters),
    /// Of detection.
    Detect(NoParameters),
}

impl Parameters {
    /// The parameters of a task as they stand in a request: a JSON object, or nothing.
    pub fn parse(task: Task, body: serde_json::Value) -> Result<Self, String> {
        let body = match body {
            serde_json::Value::Null => serde_json::json!({}),
            body => body,
        };
        if !body.is_object() {
            return Err(format!("parameters of {task}: expected a JSON object"));
        }
        if body.get("position").is_some() {
            return Err(format!(
                "parameters of {task}: position is set by Watchpost; leave it out"
            ));
        }
        let parameters = match task {
            Task::Live => Self::Live(read(task, body)?),
            Task::Photo => Self::Photo(read(task, body)?),
            Task::RawPhoto => Self::RawPhoto(read(task, body)?),
            Task::Series => Self::Series(read(task, body)?),
            Task::Video => Self::Video(read(task, body)?),
            Task::Detect => Self::Detect(read(task, body)?),
        };
        parameters.check()?;
        Ok(parameters)
    }

    /// The task they are for.
    pub const fn task(&self) -> Task {
        match self {
            Self::Live(_) => Task::Live,
            Self::Photo(_) => Task::Photo,
            Self::RawPhoto(_) => Task::RawPhoto,
            Self::Series(_) => Task::Series,
            Self::Video(_) => Task::Video,
            Self::Detect(_) => Task::Detect,
        }
    }

    /// The uses of the camera they ask for.
    pub fn uses(&self) -> Vec<Use> {
        let mut uses = vec![self.task().camera_use()];
        if let Self::Series(series) = self
            && series.kind == SeriesKind::RawJpg
        {
            uses.push(Use::RawPhoto);
        }
        uses
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Series(series) => series.check(),
            Self::Video(video) => video.check(),
            Self::Live(_) | Self::Photo(_) | Self::RawPhoto(_) | Self::Detect(_) => Ok(()),
        }
    }
}

/// Reads parameters; what is wrong is named with its key.
fn read<T: DeserializeOwned>(task: Task, body: serde_json::Value) -> Result<T, String> {
    serde_path_to_error::deserialize(body).map_err(|error| {
        match error.path().to_string().as_str() {
            "." => format!("parameters of {task}: {}", error.inner()),
            path => format!("parameters of {task}: {path}: {}", error.inner()),
        }
    })
}

/// A task without parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

/// What a series consists of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SeriesKind {
    /// JPEG photos.
    #[default]
    #[serde(rename = "jpg")]
    Jpg,
    /// A raw photo beside each JPEG.
    #[serde(rename = "raw+jpg")]
    RawJpg,
}

/// Parameters of a series. Shot number k (from 0) is due at start + k times interval; a shot is the first frame that is not
/// older than its time, so nothing adds up over hours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeriesParameters {
    /// Name of the series, part of its files' names: letters, digits, `-` and `_`, at most 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What each shot is.
    #[serde(default, rename = "type")]
    pub kind: SeriesKind,
    /// Seconds between shots, 0.1 to 86400.
    #[schemars(range(min = 0.1, max = 86_400))]
    pub interval: f64,
    /// Shots to take; without it until `end`, or until it is stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub count: Option<u64>,
    /// When the first shot is due, seconds since 1970; without it at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<f64>,
    /// When it ends, seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<f64>,
    /// Go on after Watchpost was started again. A worker that died is another matter: the series always survives that.
    #[serde(default)]
    pub continue_on_start: bool,
    /// Where it is: set by Watchpost, to go on from there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<SeriesPosition>,
}

impl SeriesParameters {
    fn check(&self) -> Result<(), String> {
        if !(0.1..=86_400.0).contains(&self.interval) {
            return Err(format!(
                "series: interval {} is out of range, expected 0.1 to 86400 seconds",
                self.interval
            ));
        }
        if self.count == Some(0) {
            return Err("series: count is 0, expected at least 1".into());
        }
        if let Some(name) = &self.name
            && (name.is_empty()
                || name.len() > 64
                || !name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        {
            return Err(format!(
                "series: name {name:?} cannot be part of a file name, expected 1 to 64 of letters, digits, - and _"
            ));
        }
        is_time("series", "start", self.start)?;
        is_time("series", "end", self.end)?;
        if let (Some(start), Some(end)) = (self.start, self.end)
            && end <= start
        {
            return Err(format!(
                "series: end {end} does not come after start {start}"
            ));
        }
        Ok(())
    }
}

/// Parameters of a recording.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VideoParameters {
    /// Seconds from now after which it stops by itself; without it when it is stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.1, max = 604_800))]
    pub duration: Option<f64>,
    /// When it stops, seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<f64>,
}

impl VideoParameters {
    /// Whether the time when it stops has passed.
    pub fn is_over(&self) -> bool {
        let now = since_epoch(SystemTime::now()).as_secs_f64();
        self.until.is_some_and(|until| until <= now)
    }

    fn check(&self) -> Result<(), String> {
        match self.duration {
            Some(duration) if !(0.1..=604_800.0).contains(&duration) => Err(format!(
                "video: duration {duration} is out of range, expected 0.1 to 604800 seconds"
            )),
            _ => is_time("video", "until", self.until),
        }
    }
}

/// Whether a time somebody gave can be reckoned with.
fn is_time(task: &str, key: &str, time: Option<f64>) -> Result<(), String> {
    match time {
        Some(time) if !(0.0..=1e11).contains(&time) => Err(format!(
            "{task}: {key} {time} is no time, expected seconds since 1970"
        )),
        _ => Ok(()),
    }
}

/// A file that a task made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MediaFile {
    /// The task that made it.
    pub task: Task,
    /// Its name, relative to the camera's folder of media.
    pub name: String,
    /// Media type: `image/jpeg`, `image/x-adobe-dng`, `video/mp4`, `application/octet-stream`.
    pub media_type: String,
    /// When its (first) picture was taken, seconds since 1970.
    pub time: f64,
    /// Seconds it lasts, for a recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<f64>,
    /// Its size in bytes.
    pub bytes: u64,
    /// Width of the picture.
    pub width: u32,
    /// Height of the picture.
    pub height: u32,
    /// Name of a small JPEG of it, relative to the camera's folder of media.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
    /// Name of the series it belongs to, and its number there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<(String, u64)>,
    /// The camera's configuration when it was made: the merged one, or the source's caps.
    #[serde(default)]
    pub camera_config: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_are_read_by_task_and_what_is_wrong_is_named() {
        let series = Parameters::parse(
            Task::Series,
            json!({"type": "raw+jpg", "interval": 2, "count": 3}),
        );
        assert_eq!(series.unwrap().uses(), [Use::Photo, Use::RawPhoto]);
        assert!(Parameters::parse(Task::Photo, json!(null)).is_ok());
        for (task, body, said) in [
            (Task::Series, json!({}), "interval"),
            (Task::Series, json!({"interval": 0}), "0.1 to 86400"),
            (Task::Series, json!({"interval": 1, "count": 0}), "count"),
            (Task::Series, json!({"interval": 1, "name": "../x"}), "../x"),
            (
                Task::Series,
                json!({"interval": 1, "start": 5, "end": 4}),
                "after start",
            ),
            (Task::Video, json!({"duration": -1}), "duration -1"),
            (Task::Video, json!({"durration": 1}), "durration"),
            (Task::Video, json!({"until": 1e300}), "is no time"),
            (Task::Video, json!({"until": -1}), "until -1 is no time"),
            (
                Task::Series,
                json!({"interval": 1, "position": {"origin": 0, "next": u64::MAX, "taken": 0, "missed": 0}}),
                "position is set by Watchpost",
            ),
            (Task::Series, json!([null, "jpg", 1]), "a JSON object"),
            (Task::Photo, json!({"size": 1}), "size"),
        ] {
            let error = Parameters::parse(task, body).unwrap_err();
            assert!(error.contains(said), "{error} misses {said}");
        }
        assert!("foto".parse::<Task>().unwrap_err().contains("raw_photo"));
    }
}
