//! Tracked objects, and their events: one for each object, from its first confirmation to its end.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An object event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectEvent {
    /// Number of the event, over all cameras; newer ones are higher.
    pub id: i64,
    /// The camera.
    pub camera: String,
    /// The object's id, unique per camera.
    pub object_id: i64,
    /// Its class.
    pub label: String,
    /// active, stationary, lost or ended.
    pub state: EventState,
    /// Seconds since 1970.
    pub start_time: f64,
    /// When it was last seen; seconds since 1970.
    pub last_time: f64,
    /// Seconds since 1970; null while it lasts.
    pub end_time: Option<f64>,
    /// The best confidence it had, 0..=1.
    pub score: f64,
    /// When that was; seconds since 1970.
    pub best_time: f64,
    /// Where it was then: x1, y1, x2, y2 in fractions of the frame.
    pub best_box: [f64; 4],
    /// All zones it has been in.
    pub zones: Vec<String>,
    /// Bottom centres [time, x, y] along its way, in fractions of the frame, thinned.
    pub path: Vec<[f64; 3]>,
    /// Length of its way, in fractions of the frame's width.
    pub path_length: f64,
    /// Whether it is marked to keep, so that retention does not delete it. Not in event streams.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<bool>,
}

/// Where an object event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventState {
    /// The object moves, or has not rested for long.
    Active,
    /// It rests.
    Stationary,
    /// Not found where it should be; may come back.
    Lost,
    /// It is gone.
    Ended,
}

impl EventState {
    /// The name in JSON and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Stationary => "stationary",
            Self::Lost => "lost",
            Self::Ended => "ended",
        }
    }
}

impl fmt::Display for EventState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EventState {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        [Self::Active, Self::Stationary, Self::Lost, Self::Ended]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| {
                format!("invalid event state `{word}`: expected active, stationary, lost or ended")
            })
    }
}

/// Where a tracked object is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectState {
    /// It moves, or has not rested for long.
    Active,
    /// It rests.
    Stationary,
    /// Not found where it should be; may come back.
    Lost,
}

/// A tracked object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Object {
    /// Unique per camera.
    pub id: i32,
    /// Its class.
    pub label: String,
    /// Confidence, 0..=1.
    pub score: f64,
    /// x1, y1, x2, y2 in pixels of the detect stream.
    #[serde(rename = "box")]
    pub bbox: [i32; 4],
    /// Where it is in its life.
    pub state: ObjectState,
    /// Seconds since 1970.
    pub first_seen: f64,
    /// Seconds since 1970.
    pub last_seen: f64,
    /// Zones it is in.
    #[serde(default)]
    pub zones: Vec<String>,
}
