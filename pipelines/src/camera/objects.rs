//! The `objects` section.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Masks;

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

/// What a detection must be like to count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectFilter {
    /// Smallest area of the box: in pixels of the analysed picture, or below 1 as a share of it.
    pub min_area: Area,
    /// Largest area of the box: in pixels of the analysed picture, or below 1 as a share of it.
    pub max_area: Area,
    /// Smallest width divided by height.
    #[schemars(range(min = 0.0))]
    pub min_ratio: f64,
    /// Largest width divided by height.
    #[schemars(range(min = 0.0))]
    pub max_ratio: f64,
    /// Score, 0 to 1, below which a detection is ignored.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub min_score: f64,
    /// Score, 0 to 1, that the median of an object's detections must reach before the object is believed.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub threshold: f64,
    /// Areas in which objects of this label are ignored.
    #[serde(skip_serializing_if = "Masks::is_empty")]
    pub mask: Masks,
}

impl Default for ObjectFilter {
    fn default() -> Self {
        Self {
            min_area: Area(0.0),
            max_area: Area(24_000_000.0),
            min_ratio: 0.0,
            max_ratio: 24_000_000.0,
            min_score: 0.5,
            threshold: 0.7,
            mask: Masks::default(),
        }
    }
}

/// An area: 1 and more are pixels of the analysed picture, less than 1 a share of it.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Area(#[schemars(range(min = 0.0))] pub f64);

impl Area {
    /// In pixels of a picture of this size.
    pub fn pixels(self, width: u32, height: u32) -> f64 {
        if self.0 < 1.0 {
            self.0 * f64::from(width) * f64::from(height)
        } else {
            self.0
        }
    }
}
