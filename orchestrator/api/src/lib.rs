//! The JSON types of Watchpost's HTTP API and of its events.
//!
//! Server, command line and tests use these types, and the OpenAPI document and the event schema are
//! generated from them, so that a field exists once. Times are seconds since 1970 with a fraction. Boxes
//! are `[x1, y1, x2, y2]` in fractions of the frame, unless a field says pixels.

mod camera;
mod change;
mod event;
mod health;
mod media;
mod object;
mod recording;
mod request;
mod socket;
mod status;
mod task;

pub use camera::CameraState;
pub use change::{Action, Change, ChangeOptions, Key};
pub use event::{
    CameraEvent, ConfigurationChange, ConfigurationEvent, Event, MediaChange, MediaEvent,
    MotionEvent, TaskEvent, TrackEvent, ZoneChange, ZoneEvent,
};
pub use health::{Health, Readiness, Refused, Waiting};
pub use media::{Media, MediaEntry};
pub use object::{EventState, Object, ObjectEvent, ObjectState};
pub use recording::{RecordedActivity, RecordedSpan, RecordingGap, Recordings, SpanQuery};
pub use request::{
    AuditEntry, AuditQuery, Done, EventQuery, Freeze, KeepEvent, MediaQuery, Moving, RegionGrid,
    StreamQuery,
};
pub use socket::{
    AnalysedFrame, AnalysedObject, ConnectionMessage, EventMessage, EventSocketQuery, NumberedEvent,
};
pub use status::{AnalysisPhase, AnalysisState, CameraStatus, ProcessStatus, RingStatus, Status};
pub use task::{PlanQuery, TaskChange, TaskParameters, TaskPlan, WantedState};

/// The JSON schema of an [`Event`], as event streams send it.
pub fn event_schema() -> serde_json::Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<Event>()
        .to_value()
}

#[cfg(test)]
mod tests;
