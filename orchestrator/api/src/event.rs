//! Events: what happens, as the bus, the event streams and the outputs carry it.

use detection::TrackChange;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchpost_pipelines::tasks::TaskStatus;

use crate::{CameraState, EventState, Media, ObjectEvent};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// A tracked object changed.
    Track(Box<TrackEvent>),
    /// An object entered or left a zone.
    Zone(ZoneEvent),
    /// Motion began or ended.
    Motion(MotionEvent),
    /// The status of a camera's task changed.
    Task(TaskEvent),
    /// A file came into the media index or left it.
    Media(Box<MediaEvent>),
    /// The state of a camera changed.
    Camera(CameraEvent),
    /// A configuration took effect.
    Configuration(ConfigurationEvent),
}

impl Event {
    /// Its kind: the `type` in JSON and the `event:` of the event stream.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Track(_) => "track",
            Self::Zone(_) => "zone",
            Self::Motion(_) => "motion",
            Self::Task(_) => "task",
            Self::Media(_) => "media",
            Self::Camera(_) => "camera",
            Self::Configuration(_) => "configuration",
        }
    }

    /// The camera it is about, by which access is decided; `None` for all cameras.
    pub fn camera(&self) -> Option<&str> {
        match self {
            Self::Track(event) => Some(&event.camera),
            Self::Zone(event) => Some(&event.camera),
            Self::Motion(event) => Some(&event.camera),
            Self::Task(event) => Some(&event.camera),
            Self::Media(event) => Some(&event.media.camera),
            Self::Camera(event) => Some(&event.camera),
            Self::Configuration(event) => event.camera.as_deref(),
        }
    }
}

/// A tracked object after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrackEvent {
    /// The camera.
    pub camera: String,
    /// What happened to the track.
    #[schemars(with = "String", extend("enum" = ["started", "updated", "stationary", "moving", "lost", "ended"]))]
    pub change: TrackChange,
    /// Capture time of the frame the object was last seen in; seconds since 1970.
    pub time: f64,
    /// Its class.
    pub label: String,
    /// Confidence now, 0..=1.
    pub score: f64,
    /// Where it is: x1, y1, x2, y2 in fractions of the frame. Of a lost or ended object, where it was.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// Where the object is in its life.
    pub state: EventState,
    /// Whether it rests, also while it is lost from rest.
    pub stationary: bool,
    /// Zones it is in.
    pub zones: Vec<String>,
    /// Zones it entered with this change.
    pub entered: Vec<String>,
    /// Zones it left with this change.
    pub left: Vec<String>,
    /// Its object event so far.
    pub event: ObjectEvent,
}

/// An object entered or left a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ZoneEvent {
    /// The camera.
    pub camera: String,
    /// The zone.
    pub zone: String,
    /// What happened.
    pub change: ZoneChange,
    /// Seconds since 1970.
    pub time: f64,
    /// The object's class.
    pub label: String,
    /// The object's id, unique per camera.
    pub object_id: i64,
    /// Number of its object event.
    pub event_id: i64,
    /// Objects of this class that are in the zone now.
    pub count: u32,
}

/// What an object does at a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ZoneChange {
    /// It came in.
    Entered,
    /// It went out, or ended in it.
    Left,
}

/// Motion of a camera began or ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MotionEvent {
    /// The camera.
    pub camera: String,
    /// Whether there is motion now.
    pub active: bool,
    /// Seconds since 1970.
    pub time: f64,
}

/// The status of a camera's task changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskEvent {
    /// The camera.
    pub camera: String,
    /// How the task is now.
    #[serde(flatten)]
    pub status: TaskStatus,
}

/// A file came into the media index or left it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MediaEvent {
    /// What happened.
    pub change: MediaChange,
    /// The file.
    pub media: Media,
}

/// What happened to a file of the media index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MediaChange {
    /// It is in the index from now on.
    Added,
    /// It was removed.
    Removed,
}

/// The state of a camera changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CameraEvent {
    /// The camera.
    pub camera: String,
    /// Its state from now on.
    pub state: CameraState,
    /// Why, if there is something to say.
    pub reason: Option<String>,
    /// When the state began; seconds since 1970.
    pub since: f64,
}

/// A configuration took effect.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationEvent {
    /// What happened.
    pub change: ConfigurationChange,
    /// The camera, by its new name; null where it is not about one camera.
    pub camera: Option<String>,
    /// The name a renamed camera had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// What happened to the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfigurationChange {
    /// A camera was added.
    Added,
    /// A camera changed.
    Changed,
    /// A camera was removed.
    Removed,
    /// A camera has another name.
    Renamed,
    /// A whole configuration was applied; sent after the changes of single cameras.
    Applied,
}
