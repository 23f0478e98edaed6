//! Review items: which object activity becomes an alert or a detection (Frigate's rules).
//!
//! * An object counts while it is believed, in the picture, has moved at least once and does not rest.
//! * It is an alert where its label is one of `alerts.labels` and it is in one of `alerts.required_zones` (if any are
//!   required); else a detection by the same test on `detections`.
//! * A camera has at most one open item. A detection becomes an alert under the same id, never the other way round.
//! * An alert ends when there was no alert activity for its cutoff, a detection when there was none of either kind.
//!   The end is the last activity, not the cutoff. Detection activity that outlasts an alert opens a new item.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Kind, Length, Time};

/// How much an item matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Detection,
    /// Worth looking at.
    Alert,
}

impl Severity {
    /// The kind of footage that such an item keeps.
    pub fn kind(self) -> Kind {
        match self {
            Self::Detection => Kind::Detections,
            Self::Alert => Kind::Alerts,
        }
    }
}

/// The rules of one severity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Items of this severity are made.
    pub enabled: bool,
    /// Labels that count; `None`: all.
    pub labels: Option<BTreeSet<String>>,
    /// Zones of which the object must be in one; empty: anywhere.
    pub required_zones: BTreeSet<String>,
    /// Time without activity after which an item ends.
    pub cutoff: Length,
}

impl Rule {
    fn applies(&self, object: &Object) -> bool {
        self.enabled
            && self
                .labels
                .as_ref()
                .is_none_or(|labels| labels.contains(&object.label))
            && (self.required_zones.is_empty()
                || object
                    .zones
                    .iter()
                    .any(|zone| self.required_zones.contains(zone)))
    }
}

/// The rules of a camera; the default is Frigate's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `review.alerts`.
    pub alerts: Rule,
    /// `review.detections`.
    pub detections: Rule,
}

impl Default for Config {
    fn default() -> Self {
        let labels = ["person", "car"].map(String::from).into();
        let rule = |labels, cutoff| Rule {
            enabled: true,
            labels,
            required_zones: BTreeSet::new(),
            cutoff,
        };
        Self {
            alerts: rule(Some(labels), 40_000),
            detections: rule(None, 30_000),
        }
    }
}

/// An object as the tracker sees it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Id of its event.
    pub event: i64,
    /// Label.
    pub label: String,
    /// Zones it is in now.
    pub zones: Vec<String>,
    /// Believed, in the picture, has moved, does not rest.
    pub active: bool,
    /// First sight.
    pub first_seen: Time,
}

/// A review item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Time of its start and six characters; unique over all cameras.
    pub id: String,
    /// First sight of the object that opened it.
    pub start: Time,
    /// Last activity; open while `None`.
    pub end: Option<Time>,
    /// Alert or detection.
    pub severity: Severity,
    /// Events of its objects, in the order in which they joined.
    pub events: Vec<i64>,
    /// Labels of its objects.
    pub objects: BTreeSet<String>,
    /// Zones that its objects were in.
    pub zones: BTreeSet<String>,
}

/// A change of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It was opened.
    New(Item),
    /// More objects, another zone, or an alert now.
    Update {
        /// As it was.
        before: Item,
        /// As it is.
        after: Item,
    },
    /// It ended.
    End {
        /// As it was.
        before: Item,
        /// As it is.
        after: Item,
    },
}

#[derive(Debug)]
struct Open {
    item: Item,
    last_alert: Time,
    last_detection: Time,
}

/// The review state of one camera.
#[derive(Debug)]
pub struct Review {
    camera: String,
    config: Config,
    objects: BTreeMap<i64, Object>,
    open: Option<Open>,
    /// End of the item before; the next one does not begin earlier.
    ended: Time,
}

/// Objects that one item lists; more only extend it.
const EVENT_LIMIT: usize = 200;

impl Review {
    /// A camera without activity.
    pub fn new(camera: &str, config: Config) -> Self {
        let camera = camera.to_owned();
        Self {
            camera,
            config,
            objects: BTreeMap::new(),
            open: None,
            ended: Time::MIN,
        }
    }

    /// Takes over other rules; the open item goes on under them.
    pub fn configure(&mut self, config: Config) {
        self.config = config;
    }

    /// The open item.
    pub fn open(&self) -> Option<&Item> {
        self.open.as_ref().map(|open| &open.item)
    }

    /// An object appeared or changed.
    pub fn update(&mut self, object: Object, now: Time) -> Vec<Change> {
        self.objects.insert(object.event, object);
        self.evaluate(now)
    }

    /// An object is gone; `last_seen` is when it was last active.
    pub fn gone(&mut self, event: i64, last_seen: Time, now: Time) -> Vec<Change> {
        let mut changes = self.evaluate(last_seen.min(now));
        self.objects.remove(&event);
        changes.extend(self.evaluate(now));
        changes
    }

    /// Time has passed, or the camera's analysis ended (`stopped`): open items end with their last activity.
    pub fn tick(&mut self, now: Time, stopped: bool) -> Vec<Change> {
        if stopped {
            self.objects.clear();
            return self.close().into_iter().collect();
        }
        self.evaluate(now)
    }

    fn severity(&self, object: &Object) -> Option<Severity> {
        if !object.active {
            None
        } else if self.config.alerts.applies(object) {
            Some(Severity::Alert)
        } else {
            self.config
                .detections
                .applies(object)
                .then_some(Severity::Detection)
        }
    }

    fn evaluate(&mut self, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        let active: Vec<(Severity, &Object)> = self
            .objects
            .values()
            .filter_map(|object| Some((self.severity(object)?, object)))
            .collect();
        let alert = active
            .iter()
            .any(|(severity, _)| *severity == Severity::Alert);

        if let Some(open) = &mut self.open {
            let idle = match open.item.severity {
                Severity::Alert => now - open.last_alert >= self.config.alerts.cutoff && !alert,
                Severity::Detection => {
                    now - open.last_detection.max(open.last_alert) >= self.config.detections.cutoff
                        && active.is_empty()
                }
            };
            if !idle {
                if alert {
                    open.last_alert = now.max(open.last_alert);
                }
                if !active.is_empty() {
                    open.last_detection = now.max(open.last_detection);
                }
                let before = open.item.clone();
                if alert {
                    open.item.severity = Severity::Alert;
                }
                // An alert lists what is active with it; detections beside it do not extend it, but belong to it.
                active.iter().for_each(|(_, object)| open.item.join(object));
                if open.item != before {
                    changes.push(Change::Update {
                        before,
                        after: open.item.clone(),
                    });
                }
                return changes;
            }
        }
        let active: Vec<(Severity, Object)> = active
            .into_iter()
            .map(|(severity, object)| (severity, object.clone()))
            .collect();
        changes.extend(self.close());
        if let Some(severity) = active.iter().map(|(severity, _)| *severity).max() {
            let start = active
                .iter()
                .map(|(_, object)| object.first_seen)
                .min()
                .unwrap_or(now);
            let start = start.max(self.ended).min(now);
            let mut item = Item {
                id: id(&self.camera, start),
                start,
                end: None,
                severity,
                events: Vec::new(),
                objects: BTreeSet::new(),
                zones: BTreeSet::new(),
            };
            active.iter().for_each(|(_, object)| item.join(object));
            changes.push(Change::New(item.clone()));
            let last_alert = if severity == Severity::Alert {
                now
            } else {
                start
            };
            self.open = Some(Open {
                item,
                last_alert,
                last_detection: now,
            });
        }
        changes
    }

    fn close(&mut self) -> Option<Change> {
        let open = self.open.take()?;
        let before = open.item;
        let last = match before.severity {
            Severity::Alert => open.last_alert,
            Severity::Detection => open.last_detection,
        };
        let after = Item {
            end: Some(last.max(before.start)),
            ..before.clone()
        };
        self.ended = last;
        Some(Change::End { before, after })
    }
}

impl Item {
    fn join(&mut self, object: &Object) {
        if self.events.len() < EVENT_LIMIT && !self.events.contains(&object.event) {
            self.events.push(object.event);
        }
        self.objects.insert(object.label.clone());
        self.zones.extend(object.zones.iter().cloned());
    }
}

/// Seconds with six decimals, and six characters that differ between cameras (FNV-1a).
fn id(camera: &str, start: Time) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in camera.bytes().chain(start.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let mut text = format!(
        "{}.{:03}000-",
        start.div_euclid(1000),
        start.rem_euclid(1000)
    );
    for _ in 0..6 {
        text.push(char::from(DIGITS[(hash % 36) as usize]));
        hash /= 36;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(event: i64, label: &str, active: bool) -> Object {
        Object {
            event,
            label: label.into(),
            zones: vec!["drive".into()],
            active,
            first_seen: event * 1000,
        }
    }

    fn review() -> Review {
        Review::new("front", Config::default())
    }

    #[test]
    fn an_alert_ends_with_its_last_activity() {
        let mut review = review();
        let changes = review.update(object(1, "person", true), 2_000);
        let [Change::New(item)] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(
            (item.start, item.severity, &item.events[..]),
            (1_000, Severity::Alert, &[1][..])
        );
        assert!(
            item.id.starts_with("1.000000-") && item.id.len() <= 30,
            "{}",
            item.id
        );
        assert_eq!(review.gone(1, 9_000, 10_000), []);
        assert_eq!(review.tick(48_999, false), []);
        let changes = review.tick(49_000, false);
        let [Change::End { after, .. }] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(after.end, Some(9_000));
    }

    #[test]
    fn a_detection_becomes_an_alert_under_its_id() {
        let mut review = review();
        review.update(object(1, "dog", true), 1_000);
        let changes = review.update(object(2, "person", true), 3_000);
        let [Change::Update { before, after }] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(
            (before.severity, after.severity),
            (Severity::Detection, Severity::Alert)
        );
        assert_eq!(before.id, after.id);
        // The dog goes on after the person: the alert ends, a detection begins.
        review.gone(2, 4_000, 4_000);
        let changes = review.tick(44_000, false);
        let [Change::End { after, .. }, Change::New(item)] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(
            (after.end, item.severity, item.start),
            (Some(4_000), Severity::Detection, 4_000)
        );
    }

    #[test]
    fn what_rests_or_is_elsewhere_is_no_alert() {
        let mut config = Config::default();
        config.alerts.required_zones = ["porch".to_owned()].into();
        let mut review = Review::new("front", config);
        assert_eq!(review.update(object(1, "car", false), 1_000), []);
        let changes = review.update(object(2, "car", true), 2_000);
        let [Change::New(item)] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(item.severity, Severity::Detection);
    }

    #[test]
    fn a_stop_ends_the_open_item() {
        let mut review = review();
        review.update(object(1, "person", true), 1_000);
        review.tick(5_000, false);
        let changes = review.tick(90_000, true);
        let [Change::End { after, .. }] = &changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(after.end, Some(5_000));
    }

    #[test]
    fn ids_differ_between_cameras() {
        assert_ne!(id("front", 5), id("back", 5));
    }
}
