//! Changes of the configuration: how they are requested, and what they mean for each camera.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that a change of the configuration does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// A camera is new, or has been enabled.
    Start {
        /// Which.
        camera: String,
    },
    /// A camera is gone, or has been disabled.
    Stop {
        /// Which.
        camera: String,
        /// It is gone for good, and with it all that was learned about it.
        removed: bool,
    },
    /// A camera has another name: it stops under the old one and starts under the new one, with its grid and history.
    Rename {
        /// Old name.
        from: String,
        /// New name.
        camera: String,
    },
    /// A camera begins anew; the others go on.
    Restart {
        /// Which.
        camera: String,
        /// The keys that ask for it.
        keys: Vec<Key>,
    },
    /// A camera goes on with other settings and loses no frame.
    Update {
        /// Which.
        camera: String,
        /// The keys that changed.
        keys: Vec<Key>,
    },
    /// Another model: the analysis of all cameras begins anew, their capture goes on.
    RestartAnalysis,
    /// The HTTP interface takes over what changed; connections that are open go on.
    Http {
        /// The keys that changed.
        keys: Vec<Key>,
    },
    /// Object events are kept for another time.
    Events,
    /// Other limits for the files that are kept.
    Media,
    /// The connection to the MQTT broker is made as it is configured now.
    Mqtt,
    /// Hooks start as they are configured now.
    Hooks,
    /// A key that is read at the start only.
    NeedsNewStart {
        /// Which.
        key: Key,
    },
}

/// A key of the configuration, such as `detect.fps`.
pub type Key = Cow<'static, str>;

/// Parameters of every change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeOptions {
    /// `1`: only say what would happen.
    #[schemars(extend("enum" = ["0", "1", "false", "true"]))]
    pub dry_run: Option<String>,
    /// `0`: leave the file alone; the change lasts until the next start.
    #[schemars(extend("enum" = ["0", "1", "false", "true"]))]
    pub persist: Option<String>,
}

/// What a change means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// Whether it was only asked.
    pub dry_run: bool,
    /// What happens to which camera.
    pub actions: Vec<Action>,
}
