//! Messages of WebSockets.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Event, ObjectState};

/// Parameters of `GET /api/events/ws`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventSocketQuery {
    /// Only of these cameras; names with commas between them. Without it of all.
    pub camera: Option<String>,
}

/// A message of `GET /api/events/ws`: an event, or what the client has to know of those it does not get.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum EventMessage {
    /// About the connection.
    Connection(ConnectionMessage),
    /// An event.
    Event(NumberedEvent),
}

/// A message about the connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ConnectionMessage {
    /// The last state, in place of all that the client knew. The first message, and the one after each `lost`.
    State {
        /// Number of the newest event that is part of it.
        number: i64,
        /// The newest event of each thing that has a state, in the order they happened: cameras, motion, tasks, zones
        /// with objects in them, objects that are tracked.
        events: Vec<NumberedEvent>,
    },
    /// The client was too slow: events were left out. A `state` follows.
    Lost {
        /// How many, of all cameras.
        events: u64,
    },
}

/// An event with its number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NumberedEvent {
    /// Grows by one with each event of any camera; the `id:` of the event stream.
    pub number: i64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// A message of `GET /api/cameras/{name}/analysis.ws`: what was found in a frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnalysedFrame {
    /// Capture time of the frame; seconds since 1970.
    pub time: f64,
    /// The objects in it.
    pub objects: Vec<AnalysedObject>,
}

/// An object in an analysed frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AnalysedObject {
    /// Unique per camera.
    pub id: i32,
    /// Its class.
    pub label: String,
    /// Confidence, 0..=1.
    pub score: f64,
    /// Where it is: x1, y1, x2, y2 in fractions of the frame.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    /// Where it is in its life.
    pub state: ObjectState,
    /// Zones it is in.
    pub zones: Vec<String>,
}
