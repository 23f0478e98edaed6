//! The list `hooks`: commands and webhooks that events start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A command or a webhook, and the events that start it. Hooks are taken from the configuration file only, never over
/// HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookConfig {
    /// Name in logs and metrics, different for each hook.
    pub name: String,
    /// Whether it is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The events that start it; without it every object that is confirmed.
    #[serde(default)]
    pub on: HookFilter,
    /// Program to run, with its arguments. No shell reads it. The event comes as JSON on standard input.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Address to send the event to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookConfig>,
    /// Seconds a command, or one attempt of a webhook, may take.
    #[serde(default = "timeout")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout: u32,
    /// Runs of the command at a time. Webhooks are sent one after the other, so that they arrive in order.
    #[serde(default = "concurrency")]
    #[schemars(range(min = 1, max = 16))]
    pub concurrency: u32,
}

/// Which events. An empty list means all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HookFilter {
    /// Kinds of events.
    pub events: BTreeSet<HookEvent>,
    /// Cameras.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub cameras: BTreeSet<String>,
    /// Labels of objects. Events that are about no object do not match where labels are given.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub labels: BTreeSet<String>,
    /// Zones the object is in, enters or leaves; of an object that is gone, all it has been in. Events that are about no
    /// object do not match where zones are given.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub zones: BTreeSet<String>,
}

/// A kind of event that can start a hook.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// An object is confirmed.
    ObjectStarted,
    /// An object comes to rest.
    ObjectStationary,
    /// An object moves after a rest.
    ObjectMoving,
    /// An object is gone.
    ObjectEnded,
    /// An object enters a zone.
    ZoneEntered,
    /// An object leaves a zone.
    ZoneLeft,
    /// Motion begins.
    MotionStarted,
    /// Motion ends.
    MotionEnded,
    /// A camera's task made a file.
    MediaAdded,
    /// A file of a camera's task was removed.
    MediaRemoved,
    /// The status of a camera's task changed.
    TaskChanged,
    /// The state of a camera changed.
    CameraChanged,
    /// A configuration took effect.
    ConfigurationChanged,
}

/// Where a webhook is sent, and in which form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Address, `http://` or `https://`. `${NAME}` takes it from the environment, `file:PATH` from a file. Redirects are not
    /// followed.
    pub url: String,
    /// Key of the signature (HMAC-SHA256 of the body) in the header `X-Watchpost-Signature`. `${NAME}` takes it from the
    /// environment, `file:PATH` from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Token for the header `Authorization: Bearer`. `${NAME}` takes it from the environment, `file:PATH` from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// More headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The JSON to send in place of the event. In its texts `{type}`, `{camera}`, `{label}`, `{zones}`, `{score}` and
    /// `{time}` stand for values of the event, `{picture}` for the picture as base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<BTreeMap<String, serde_json::Value>>,
    /// Send the camera's live picture along: as base64 under the key `picture`, or where the `body` has `{picture}`.
    #[serde(default)]
    pub picture: bool,
    /// Attempts after the first failed, with longer and longer pauses.
    #[serde(default = "retries")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: u32,
    /// File with certificates (PEM) that the server's certificate is checked against, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_certs: Option<PathBuf>,
}

impl Default for HookFilter {
    fn default() -> Self {
        Self {
            events: BTreeSet::from([HookEvent::ObjectStarted]),
            cameras: BTreeSet::new(),
            labels: BTreeSet::new(),
            zones: BTreeSet::new(),
        }
    }
}

fn yes() -> bool {
    true
}

fn timeout() -> u32 {
    10
}

fn concurrency() -> u32 {
    1
}

fn retries() -> u32 {
    5
}
