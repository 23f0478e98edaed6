//! What the properties `classes`, `filters`, `mask`, `zones`, `groups`, `max-stationary` and `resting` say, with Frigate's keys and defaults, and how it
//! becomes the core's rules once the frame's size is known.

use std::collections::BTreeMap;

use detection::LabelId;
use objecttrack_core::rules::MAX_ZONES;
use objecttrack_core::{Filter, LabelParams, Params, Rules, Zone};
use serde::Deserialize;
use serde_json::Value;

use crate::polygon::{Corners, masks};

/// The entry of `filters` for labels that have none of their own.
pub const ANY: &str = "*";

/// Labels of vehicles, which rest for longer and more exactly than people.
const VEHICLES: [&str; 3] = ["car", "truck", "bus"];

/// Things that never move by themselves: they leave their place only when they are gone from it.
const FURNITURE: [&str; 3] = ["bbq_grill", "package", "waste_bin"];

/// More labels than this in one stream come from a broken detector.
const MAX_LABELS: usize = 4096;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FilterWish {
    min_area: f32,
    max_area: f32,
    min_ratio: f32,
    max_ratio: f32,
    min_score: f32,
    threshold: f32,
    mask: Value,
}

impl Default for FilterWish {
    fn default() -> Self {
        let f = Filter::default();
        Self {
            min_area: f.min_area,
            max_area: f.max_area,
            min_ratio: f.min_ratio,
            max_ratio: f.max_ratio,
            min_score: f.min_score,
            threshold: f.threshold,
            mask: Value::Null,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZoneWish {
    coordinates: Value,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    objects: OneOrMany,
    #[serde(default)]
    filters: BTreeMap<String, FilterWish>,
    #[serde(default = "three")]
    inertia: u32,
    #[serde(default)]
    loitering_time: f64,
    // Frigate's, without effect here.
    #[serde(default, rename = "friendly_name")]
    _friendly_name: Value,
    #[serde(default, rename = "distances")]
    _distances: Value,
    #[serde(default, rename = "speed_threshold")]
    _speed_threshold: Value,
}

fn yes() -> bool {
    true
}

fn three() -> u32 {
    3
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn names(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        }
    }
}

/// Seconds a stationary object is kept at most.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MaxStationary {
    default: Option<f64>,
    objects: BTreeMap<String, f64>,
}

/// How objects of one label rest; what is not said is as the label's kind has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RestingWish {
    rest_iou: Option<f32>,
    rest_after: Option<f64>,
    wake_iou: Option<f32>,
    rest_life: Option<f64>,
    rest_life_max: Option<f64>,
}

/// A filter whose masks wait for the frame's size.
#[derive(Debug, Clone, Default)]
struct PendingFilter {
    filter: Filter,
    masks: Vec<Corners>,
}

#[derive(Debug, Clone)]
struct PendingZone {
    zone: ZoneWish,
    name: String,
    corners: Corners,
    filters: BTreeMap<String, PendingFilter>,
}

/// The user's wishes, read and checked.
#[derive(Debug, Clone)]
pub struct Wishes {
    classes: Vec<String>,
    groups: Vec<Vec<String>>,
    filters: BTreeMap<String, PendingFilter>,
    masks: Vec<Corners>,
    zones: Vec<PendingZone>,
    max_stationary: MaxStationary,
    resting: BTreeMap<String, RestingWish>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            groups: vec![VEHICLES.map(str::to_owned).to_vec()],
            filters: BTreeMap::new(),
            masks: Vec::new(),
            zones: Vec::new(),
            max_stationary: MaxStationary::default(),
            resting: BTreeMap::new(),
        }
    }
}

impl Wishes {
    /// `person,car`; nothing: every label.
    pub fn set_classes(&mut self, text: &str) {
        self.classes = names(text);
    }

    /// `car,truck,bus;cat,dog`.
    pub fn set_groups(&mut self, text: &str) {
        self.groups = text.split(';').map(names).filter(|g| g.len() > 1).collect();
    }

    /// Frigate's `objects.filters` as JSON.
    pub fn set_filters(&mut self, text: &str) -> Result<(), String> {
        self.filters = pending(json(text)?)?;
        Ok(())
    }

    /// Frigate's `objects.mask`.
    pub fn set_mask(&mut self, text: &str) -> Result<(), String> {
        self.masks = crate::polygon::masks_from_text(text)?;
        Ok(())
    }

    /// Frigate's `zones` as JSON.
    pub fn set_zones(&mut self, text: &str) -> Result<(), String> {
        let wishes: BTreeMap<String, ZoneWish> = json(text)?;
        let mut zones = Vec::new();
        for (name, zone) in wishes {
            if !zone.enabled {
                continue;
            }
            let of = |e: String| format!("zone {name}: {e}");
            // Names go into messages, and GStreamer has no such character in any text.
            if name.contains('\0') {
                return Err(of("its name has a NUL character".into()));
            }
            if !(zone.loitering_time.is_finite() && zone.loitering_time >= 0.0) {
                return Err(of(format!(
                    "loitering_time {}: expected seconds",
                    zone.loitering_time
                )));
            }
            let corners = Corners::from_json(&zone.coordinates).map_err(of)?;
            let filters = pending(zone.filters.clone()).map_err(of)?;
            zones.push(PendingZone {
                zone,
                name,
                corners,
                filters,
            });
        }
        if zones.len() > MAX_ZONES {
            return Err(format!(
                "{} zones, at most {MAX_ZONES} are possible",
                zones.len()
            ));
        }
        self.zones = zones;
        Ok(())
    }

    /// `{"default": seconds, "objects": {"car": seconds}}`.
    pub fn set_max_stationary(&mut self, text: &str) -> Result<(), String> {
        self.max_stationary = json(text)?;
        Ok(())
    }

    /// `{"person": {"rest_iou": 0.8}}`.
    pub fn set_resting(&mut self, text: &str) -> Result<(), String> {
        self.resting = json(text)?;
        Ok(())
    }

    /// The rules for a frame of this size.
    pub fn rules(&self, labels: &mut LabelTable, frame: (f32, f32)) -> Rules {
        let filter = |p: &PendingFilter| Filter {
            masks: p.masks.iter().filter_map(|c| c.resolve(frame)).collect(),
            ..p.filter.clone()
        };
        let mut by_label = |filters: &BTreeMap<String, PendingFilter>| -> Vec<(LabelId, Filter)> {
            filters
                .iter()
                .filter(|(name, _)| *name != ANY)
                .filter_map(|(name, p)| Some((labels.id(name)?, filter(p))))
                .collect()
        };
        let filters = by_label(&self.filters);
        let zone_filters: Vec<_> = self.zones.iter().map(|z| by_label(&z.filters)).collect();
        let mut ids = |names: &[String]| -> Vec<LabelId> {
            names.iter().filter_map(|n| labels.id(n)).collect()
        };
        Rules {
            labels: (!self.classes.is_empty()).then(|| ids(&self.classes)),
            default_filter: self.filters.get(ANY).map(filter).unwrap_or_default(),
            filters,
            masks: self.masks.iter().filter_map(|c| c.resolve(frame)).collect(),
            zones: self
                .zones
                .iter()
                .zip(zone_filters)
                .filter_map(|(z, filters)| {
                    Some(Zone {
                        name: z.name.clone(),
                        polygon: z.corners.resolve(frame)?,
                        labels: ids(z.zone.objects.names()),
                        filters,
                        inertia: z.zone.inertia,
                        loitering_time: z.zone.loitering_time,
                    })
                })
                .collect(),
        }
    }

    /// Whether detections of this label go into the tracker: it is wanted itself, or the detector may mean a wanted one of its group by it.
    pub fn tracks(&self, name: &str) -> bool {
        if self.classes.is_empty() {
            return true;
        }
        let wanted = |n: &str| self.classes.iter().any(|c| c == n);
        wanted(name)
            || self
                .groups
                .iter()
                .any(|g| g.iter().any(|n| n == name) && g.iter().any(|n| wanted(n)))
    }

    /// The tracker's parameters for all labels known so far.
    pub fn label_params(&self, params: &mut Params, labels: &LabelTable, rules: &Rules) {
        params.labels.clear();
        for (i, name) in labels.names.iter().enumerate() {
            let id = i as LabelId;
            let mut p = params.default_label;
            if VEHICLES.contains(&name.as_str()) {
                p.rest_life_max = 120.0;
            } else if FURNITURE.contains(&name.as_str()) {
                p.wake_iou = 0.3;
                p.rest_life_max = 120.0;
            } else {
                p.rest_life_max = 30.0;
            }
            if let Some(group) = self.groups.iter().position(|g| g.contains(name)) {
                p.group = group as u16 + 1;
            }
            let filter = rules.filter(id);
            starts_at(&mut p, filter);
            p.max_stationary = self
                .max_stationary
                .objects
                .get(name)
                .copied()
                .or(self.max_stationary.default);
            if let Some(wish) = self.resting.get(name).or(self.resting.get(ANY)) {
                p.rest_iou = wish.rest_iou.unwrap_or(p.rest_iou);
                p.rest_after = wish.rest_after.unwrap_or(p.rest_after);
                p.wake_iou = wish.wake_iou.unwrap_or(p.wake_iou);
                p.rest_life = wish.rest_life.unwrap_or(p.rest_life);
                p.rest_life_max = wish.rest_life_max.unwrap_or(p.rest_life_max);
            }
            params.labels.push((id, p));
        }
    }
}

/// An object starts with a detection that could lead to belief, and is continued by weaker ones too.
fn starts_at(p: &mut LabelParams, filter: &Filter) {
    let default = LabelParams::default();
    p.new = (filter.threshold - 0.05)
        .min(default.new)
        .max(filter.min_score);
    p.high = default.high.min(filter.min_score * 0.7);
}

fn names(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|n| !n.is_empty())
        .map(str::to_owned)
        .collect()
}

fn json<T: for<'de> Deserialize<'de> + Default>(text: &str) -> Result<T, String> {
    if text.trim().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn pending(
    wishes: BTreeMap<String, FilterWish>,
) -> Result<BTreeMap<String, PendingFilter>, String> {
    wishes
        .into_iter()
        .map(|(name, w)| {
            let filter = Filter {
                min_area: w.min_area,
                max_area: w.max_area,
                min_ratio: w.min_ratio,
                max_ratio: w.max_ratio,
                min_score: w.min_score,
                threshold: w.threshold,
                masks: Vec::new(),
            };
            let masks = masks(&w.mask).map_err(|e| format!("filter {name}: mask: {e}"))?;
            Ok((name, PendingFilter { filter, masks }))
        })
        .collect()
}

/// Numbers for labels that come as words.
#[derive(Debug, Default)]
pub struct LabelTable {
    names: Vec<String>,
}

impl LabelTable {
    /// The number of a label, a new one for a new label; `None` once there are too many.
    pub fn id(&mut self, name: &str) -> Option<LabelId> {
        if let Some(i) = self.names.iter().position(|n| n == name) {
            return Some(i as LabelId);
        }
        if self.names.len() >= MAX_LABELS {
            return None;
        }
        self.names.push(name.to_owned());
        Some((self.names.len() - 1) as LabelId)
    }

    /// The word.
    pub fn name(&self, id: LabelId) -> &str {
        self.names
            .get(usize::from(id))
            .map_or("unknown", String::as_str)
    }

    /// How many labels are known.
    pub fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frigates_keys_and_defaults_are_understood() {
        let mut wishes = Wishes::default();
        wishes
            .set_zones(
                r#"{"yard": {"coordinates": "0,0,1,0,1,1", "objects": "person", "friendly_name": "Yard"},
                    "off": {"coordinates": "0,0,1,0,1,1", "enabled": false},
                    "drive": {"coordinates": [[0,0],[640,0],[640,360]], "inertia": 5, "loitering_time": 4, "filters": {"car": {"min_area": 0.1}}}}"#,
            )
            .unwrap();
        wishes
            .set_filters(r#"{"person": {"min_score": 0.6, "mask": "0,0,0.5,0,0.5,0.5"}, "*": {"threshold": 0}}"#)
            .unwrap();
        let mut labels = LabelTable::default();
        let rules = wishes.rules(&mut labels, (640.0, 360.0));
        let (person, car) = (labels.id("person").unwrap(), labels.id("car").unwrap());
        let [drive, yard] = &rules.zones[..] else {
            panic!("{:?}", rules.zones)
        };
        assert_eq!(
            (drive.name.as_str(), drive.inertia, drive.loitering_time),
            ("drive", 5, 4.0)
        );
        assert_eq!(drive.filters[0].0, car);
        assert_eq!(
            (yard.inertia, yard.loitering_time, &yard.labels[..]),
            (3, 0.0, &[person][..])
        );
        let p = rules.filter(person);
        assert_eq!((p.min_score, p.threshold, p.masks.len()), (0.6, 0.7, 1));
        assert_eq!(rules.filter(car).threshold, 0.0);
    }

    #[test]
    fn mistakes_are_named() {
        let mut wishes = Wishes::default();
        let error = wishes
            .set_zones(r#"{"yard": {"coordinates": "0,0,1"}}"#)
            .unwrap_err();
        assert!(error.contains("zone yard: 3 numbers"), "{error}");
        let error = wishes
            .set_zones(r#"{"yard": {"coordinate": "0,0,1"}}"#)
            .unwrap_err();
        assert!(error.contains("unknown field `coordinate`"), "{error}");
        let error = wishes
            .set_zones(r#"{"a\u0000b": {"coordinates": "0,0,1,0,1,1"}}"#)
            .unwrap_err();
        assert!(error.contains("NUL character"), "{error}");
        let error = wishes
            .set_filters(r#"{"person": {"mask": "0,0"}}"#)
            .unwrap_err();
        assert!(error.contains("filter person: mask: 2 numbers"), "{error}");
        assert!(wishes.set_filters("{").is_err());
    }

    #[test]
    fn a_label_of_a_wanted_group_is_tracked_but_not_wanted() {
        let mut wishes = Wishes::default();
        wishes.set_classes("person, car");
        let mut labels = LabelTable::default();
        let rules = wishes.rules(&mut labels, (640.0, 360.0));
        let truck = labels.id("truck").unwrap();
        assert!(wishes.tracks("truck") && !wishes.tracks("dog"));
        assert!(!rules.wants(truck));
    }

    #[test]
    fn an_object_starts_only_where_it_could_be_believed() {
        let mut p = LabelParams::default();
        starts_at(&mut p, &Filter::default());
        assert_eq!((p.new, p.high), (0.65, 0.35));
        starts_at(
            &mut p,
            &Filter {
                min_score: 0.4,
                threshold: 0.5,
                ..Filter::default()
            },
        );
        assert!((p.new - 0.45).abs() < 1e-6 && (p.high - 0.28).abs() < 1e-6);
        starts_at(
            &mut p,
            &Filter {
                min_score: 0.8,
                threshold: 0.0,
                ..Filter::default()
            },
        );
        assert_eq!(p.new, 0.8);
    }
}
