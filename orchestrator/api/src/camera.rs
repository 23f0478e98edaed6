//! The state of a camera.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a camera, as users see it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "CameraState")]
pub enum CameraState {
    /// A capture worker runs, no frame has come yet.
    Connecting,
    /// Frames arrive.
    Streaming,
    /// Frames stopped, or the picture froze; the worker is being replaced.
    Stalled,
    /// Waiting before the next attempt.
    BackingOff,
    /// The camera refused the credentials; the next attempt is minutes away, so that it does not lock the account.
    AuthFailed,
    /// Not wanted, by configuration or because a file was played to its end.
    Disabled,
    /// Will not work until something is changed; the reason says what.
    Failed,
    /// Its worker is ending; it starts again with its changed configuration.
    Stopping,
}

impl CameraState {
    /// The name used in the API, in logs and in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Stalled => "stalled",
            Self::BackingOff => "backing-off",
            Self::AuthFailed => "auth-failed",
            Self::Disabled => "disabled",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
    }

    /// Every state, for metrics that show one series per state.
    pub const ALL: [Self; 8] = [
        Self::Connecting,
        Self::Streaming,
        Self::Stalled,
        Self::BackingOff,
        Self::AuthFailed,
        Self::Disabled,
        Self::Failed,
        Self::Stopping,
    ];
}
