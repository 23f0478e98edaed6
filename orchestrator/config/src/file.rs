//! The configuration as the file tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use watchpost_pipelines::camera::{
    CameraConfig, DetectConfig, MotionConfig, ObjectsConfig, RecordConfig,
};
use watchpost_pipelines::model::ModelConfig;

use super::events::EventsConfig;
use super::hooks::HookConfig;
use super::media::MediaConfig;
use super::mqtt::MqttConfig;

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP interface.
    pub http: HttpConfig,
    /// Where region grids, events and media are kept; without it `$STATE_DIRECTORY`, else `$XDG_DATA_HOME/watchpost`,
    /// else `~/.local/share/watchpost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// How long object events are kept.
    pub events: EventsConfig,
    /// What is kept of the files the cameras' tasks make.
    pub media: MediaConfig,
    /// Publishing to an MQTT broker, also for Home Assistant.
    pub mqtt: MqttConfig,
    /// Commands and webhooks that events start. They are taken from this file only, never over HTTP.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookConfig>,
    /// Where the cameras' sockets are; without it `$RUNTIME_DIRECTORY`, else `$XDG_RUNTIME_DIR/watchpost`, else a private
    /// folder in `/tmp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_dir: Option<PathBuf>,
    /// The model all cameras share; without it no objects are found, only motion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelConfig>,
    /// What every camera's `detect` section starts from.
    pub detect: DetectConfig,
    /// What every camera's `motion` section starts from.
    pub motion: MotionConfig,
    /// What every camera's `objects` section starts from.
    pub objects: ObjectsConfig,
    /// What every camera's `record` section starts from.
    pub record: RecordConfig,
    /// The cameras by name. A name has letters, digits, `-` and `_`, begins with a letter or digit and is at most 64 long.
    pub cameras: BTreeMap<String, CameraConfig>,
}

/// The HTTP interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Address and port to listen on; port 0 takes a free one.
    #[schemars(with = "String")]
    pub listen: SocketAddr,
    /// Tokens (`Authorization: Bearer ...`). Off loopback a token or a user is required.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<TokenConfig>,
    /// Users with passwords (`Authorization: Basic ...`), by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, UserConfig>,
    /// Whether cameras added over HTTP may have `launch` and `file` sources, which can read what this program can read.
    pub allow_local_sources: bool,
    /// Connections at a time. 64 of them are kept for requests with credentials that are no streams.
    #[schemars(range(min = 128, max = 65536))]
    pub max_connections: usize,
}

/// A token and what it may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// The token. `${NAME}` takes it from the environment, `file:PATH` from a file.
    pub token: String,
    /// Its name in messages; without it `token 1`, `token 2` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it may do.
    #[serde(default)]
    pub role: Role,
    /// The only cameras it may see; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<BTreeSet<String>>,
    /// Limits it to one purpose, whatever its role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
}

/// A user and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    /// The password's argon2 hash, as `watchpost hash-password` makes it.
    pub password: String,
    /// What they may do.
    #[serde(default)]
    pub role: Role,
    /// The only cameras they may see; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cameras: Option<BTreeSet<String>>,
}

/// Permissions over HTTP. Each role includes `viewer`, and `admin` includes all.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// See cameras, events and media.
    Viewer,
    /// The name of `viewer` in version 0.1.0, and the default as there. Without `cameras` it also reads `/metrics` and
    /// `/api/config`, as in that version.
    #[default]
    ReadOnly,
    /// Start and stop tasks, move cameras.
    Operator,
    /// Change the configuration, delete media, read metrics.
    Admin,
}

/// The one purpose of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// `GET /metrics` and `GET /api/config`.
    Metrics,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8480)),
            tokens: Vec::new(),
            users: BTreeMap::new(),
            allow_local_sources: false,
            max_connections: 1024,
        }
    }
}
