//! Answers of health checks, and refusals.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::CameraState;

/// The program answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

/// Whether every enabled camera streams, and detection works where it is on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Readiness {
    /// `ready` or `not ready`.
    pub status: String,
    /// Those that do not.
    pub cameras: Vec<Waiting>,
}

/// An enabled camera that does not stream, or whose detection does not work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Waiting {
    /// Which.
    pub name: String,
    /// What it does instead.
    pub state: CameraState,
    /// Why.
    pub reason: Option<String>,
}

/// The answer to every request that is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Refused {
    /// What failed, the value, and what to do.
    pub error: String,
}
