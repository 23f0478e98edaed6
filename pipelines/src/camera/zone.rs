//! The `zones` section.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Coordinates, ObjectFilter};

/// A named area of the picture; an object is in it when the middle of its lower edge is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ZoneConfig {
    /// Whether the zone is used.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub friendly_name: Option<String>,
    /// Corners `x,y,x,y,...`: shares of the picture (0 to 1), or pixels of the analysed picture.
    pub coordinates: Coordinates,
    /// Labels the zone is for; without it all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<String>,
    /// What an object must be like to count in this zone, by label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, ObjectFilter>,
    /// Frames an object must be in the zone before it counts.
    #[serde(default = "default_inertia")]
    #[schemars(range(min = 1, max = 10_000))]
    pub inertia: u32,
    /// Seconds an object must stay in the zone before it counts.
    #[serde(default)]
    #[schemars(range(min = 0.0, max = 86_400.0))]
    pub loitering_time: f64,
    /// Real lengths of the zone's four sides. Accepted for Frigate's sake, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distances: Option<serde_json::Value>,
    /// Accepted for Frigate's sake, without effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_threshold: Option<f64>,
}

const fn yes() -> bool {
    true
}

const fn default_inertia() -> u32 {
    3
}
