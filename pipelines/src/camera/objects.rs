//! The `objects` section.

use std::collections::BTreeMap;

use detection::{Masks, ObjectFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which objects are looked for, and which detections of them are believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectsConfig {
    /// Labels to track.
    pub track: Vec<String>,
    /// What a detection must be like to count, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub filters: BTreeMap<String, ObjectFilter>,
    /// Areas in which objects of any label are ignored (judged by the middle of their lower edge).
    #[serde(skip_serializing_if = "Masks::is_empty")]
    pub mask: Masks,
}

impl Default for ObjectsConfig {
    fn default() -> Self {
        Self {
            track: vec!["person".to_owned()],
            filters: BTreeMap::new(),
            mask: Masks::default(),
        }
    }
}
