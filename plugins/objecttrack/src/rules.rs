//! The properties `classes`, `filters`, `mask`, `zones`, `groups`, `max-stationary` and `resting`, with Frigate's keys and
//! defaults, and how they become the core's rules.

use std::collections::BTreeMap;

use detection::{LabelId, Masks, ObjectFilter, PolygonError, ZoneConfig};
use objecttrack_core::rules::MAX_ZONES;
use objecttrack_core::{LabelParams, Params, Rules, Zone};
use serde::Deserialize;

/// The entry of `filters` for labels that have none of their own.
pub const ANY: &str = "*";

/// Labels of vehicles, which rest for longer and more exactly than people.
const VEHICLES: [&str; 3] = ["car", "truck", "bus"];

/// Things that never move by themselves: they leave their place only when they are gone from it.
const FURNITURE: [&str; 3] = ["bbq_grill", "package", "waste_bin"];

/// More labels than this in one stream come from a broken detector.
const MAX_LABELS: usize = 4096;

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
struct RestingSettings {
    rest_iou: Option<f32>,
    rest_after: Option<f64>,
    wake_iou: Option<f32>,
    rest_life: Option<f64>,
    rest_life_max: Option<f64>,
}

/// The properties that decide about labels, filters and zones, read and checked.
#[derive(Debug, Clone)]
pub struct RuleSettings {
    classes: Vec<String>,
    groups: Vec<Vec<String>>,
    filters: BTreeMap<String, ObjectFilter>,
    masks: Masks,
    zones: BTreeMap<String, ZoneConfig>,
    max_stationary: MaxStationary,
    resting: BTreeMap<String, RestingSettings>,
}

impl Default for RuleSettings {
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            groups: vec![VEHICLES.map(str::to_owned).to_vec()],
            filters: BTreeMap::new(),
            masks: Masks::default(),
            zones: BTreeMap::new(),
            max_stationary: MaxStationary::default(),
            resting: BTreeMap::new(),
        }
    }
}

impl RuleSettings {
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
        self.filters = json_by_name(text, "filter")?;
        Ok(())
    }

    /// Frigate's `objects.mask`.
    pub fn set_mask(&mut self, text: &str) -> Result<(), String> {
        self.masks = text.parse().map_err(|e: PolygonError| e.to_string())?;
        Ok(())
    }

    /// Frigate's `zones` as JSON.
    pub fn set_zones(&mut self, text: &str) -> Result<(), String> {
        let mut zones: BTreeMap<String, ZoneConfig> = json_by_name(text, "zone")?;
        zones.retain(|_, zone| zone.enabled);
        for (name, zone) in &zones {
            // Names become part of messages, and GStreamer's texts cannot have this character.
            if name.contains('\0') {
                return Err(format!("zone {name}: its name has a NUL character"));
            }
            if !(zone.loitering_time.is_finite() && zone.loitering_time >= 0.0) {
                let time = zone.loitering_time;
                return Err(format!(
                    "zone {name}: loitering_time {time}: expected seconds"
                ));
            }
        }
        if zones.len() > MAX_ZONES {
            let count = zones.len();
            return Err(format!("{count} zones; at most {MAX_ZONES} are possible"));
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

    /// The rules, with a number for each label that they name.
    pub fn rules(&self, labels: &mut LabelTable) -> Rules {
        let mut by_label = |filters: &BTreeMap<String, ObjectFilter>| -> Vec<_> {
            filters
                .iter()
                .filter(|(name, _)| *name != ANY)
                .filter_map(|(name, filter)| Some((labels.id(name)?, filter.clone())))
                .collect()
        };
        let filters = by_label(&self.filters);
        let zone_filters: Vec<_> = self.zones.values().map(|z| by_label(&z.filters)).collect();
        let mut ids = |names: &[String]| -> Vec<LabelId> {
            names.iter().filter_map(|n| labels.id(n)).collect()
        };
        Rules {
            labels: (!self.classes.is_empty()).then(|| ids(&self.classes)),
            default_filter: self.filters.get(ANY).cloned().unwrap_or_default(),
            filters,
            masks: self.masks.polygons().cloned().collect(),
            zones: self
                .zones
                .iter()
                .zip(zone_filters)
                .map(|((name, zone), filters)| Zone {
                    name: name.clone(),
                    polygon: zone.coordinates.clone(),
                    labels: ids(&zone.objects),
                    filters,
                    inertia: zone.inertia,
                    loitering_time: zone.loitering_time,
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
fn starts_at(p: &mut LabelParams, filter: &ObjectFilter) {
    let default = LabelParams::default();
    let (threshold, min_score) = (filter.threshold as f32, filter.min_score as f32);
    p.new = (threshold - 0.05).min(default.new).max(min_score);
    p.high = default.high.min(min_score * 0.7);
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

/// A JSON map, entry by entry, so that an error names the entry.
fn json_by_name<T: for<'de> Deserialize<'de>>(
    text: &str,
    kind: &str,
) -> Result<BTreeMap<String, T>, String> {
    let entries: BTreeMap<String, serde_json::Value> = json(text)?;
    entries
        .into_iter()
        .map(|(name, value)| match serde_json::from_value(value) {
            Ok(entry) => Ok((name, entry)),
            Err(error) => Err(format!("{kind} {name}: {error}")),
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
        let mut settings = RuleSettings::default();
        settings
            .set_zones(
                r#"{"yard": {"coordinates": "0,0,1,0,1,1", "objects": "person", "friendly_name": "Yard"},
                    "off": {"coordinates": "0,0,1,0,1,1", "enabled": false},
                    "drive": {"coordinates": [[0,0],[640,0],[640,360]], "inertia": 5, "loitering_time": 4, "filters": {"car": {"min_area": 0.1}}}}"#,
            )
            .unwrap();
        settings
            .set_filters(r#"{"person": {"min_score": 0.6, "mask": "0,0,0.5,0,0.5,0.5"}, "*": {"threshold": 0}}"#)
            .unwrap();
        let mut labels = LabelTable::default();
        let rules = settings.rules(&mut labels);
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
        assert_eq!(
            (p.min_score, p.threshold, p.mask.polygons().count()),
            (0.6, 0.7, 1)
        );
        assert_eq!(rules.filter(car).threshold, 0.0);
    }

    #[test]
    fn mistakes_are_named() {
        let mut settings = RuleSettings::default();
        let error = settings
            .set_zones(r#"{"yard": {"coordinates": "0,0,1"}}"#)
            .unwrap_err();
        assert!(error.contains("zone yard: 3 numbers"), "{error}");
        let error = settings
            .set_zones(r#"{"yard": {"coordinate": "0,0,1"}}"#)
            .unwrap_err();
        assert!(error.contains("unknown field `coordinate`"), "{error}");
        let error = settings
            .set_zones(r#"{"a\u0000b": {"coordinates": "0,0,1,0,1,1"}}"#)
            .unwrap_err();
        assert!(error.contains("NUL character"), "{error}");
        let error = settings
            .set_filters(r#"{"person": {"mask": "0,0"}}"#)
            .unwrap_err();
        assert!(error.contains("filter person: 1 corners"), "{error}");
        assert!(settings.set_filters("{").is_err());
    }

    #[test]
    fn a_label_of_a_wanted_group_is_tracked_but_not_wanted() {
        let mut settings = RuleSettings::default();
        settings.set_classes("person, car");
        let mut labels = LabelTable::default();
        let rules = settings.rules(&mut labels);
        let truck = labels.id("truck").unwrap();
        assert!(settings.tracks("truck") && !settings.tracks("dog"));
        assert!(!rules.wants(truck));
    }

    #[test]
    fn an_object_starts_only_where_it_could_be_believed() {
        let mut p = LabelParams::default();
        starts_at(&mut p, &ObjectFilter::default());
        assert_eq!((p.new, p.high), (0.65, 0.35));
        starts_at(
            &mut p,
            &ObjectFilter {
                min_score: 0.4,
                threshold: 0.5,
                ..ObjectFilter::default()
            },
        );
        assert!((p.new - 0.45).abs() < 1e-6 && (p.high - 0.28).abs() < 1e-6);
        starts_at(
            &mut p,
            &ObjectFilter {
                min_score: 0.8,
                threshold: 0.0,
                ..ObjectFilter::default()
            },
        );
        assert_eq!(p.new, 0.8);
    }
}
