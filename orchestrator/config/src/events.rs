//! The `events` section: how long object events are kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is kept of object events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventsConfig {
    /// Days after which an object event is deleted, unless it is marked to keep.
    #[schemars(range(min = 0.0, max = 100_000.0))]
    pub days: f64,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self { days: 30.0 }
    }
}
