//! Which span of a camera's stream is written, and for which reasons.
//!
//! The policy hears of motion and of review items as they begin, change and end. It answers with the span that is wanted
//! now: `from` may lie in the past (pre-capture, served from memory), `until` is open as long as a reason lasts. The
//! recorder in the capture worker receives each change of that answer.

use std::collections::BTreeMap;

use crate::{Kind, Kinds, Length, Time};

/// Seconds before and after an activity that are recorded with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capture {
    /// Before its first sight.
    pub pre: Length,
    /// After its last sight.
    pub post: Length,
}

/// The kinds of a camera that are recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Config {
    /// Recording is on.
    pub enabled: bool,
    /// Everything is recorded.
    pub continuous: bool,
    /// Motion is recorded.
    pub motion: Option<Capture>,
    /// Detections are recorded.
    pub detections: Option<Capture>,
    /// Alerts are recorded.
    pub alerts: Option<Capture>,
}

impl Config {
    fn capture(&self, kind: Kind) -> Option<Capture> {
        match kind {
            Kind::Continuous => None,
            Kind::Motion => self.motion,
            Kind::Detections => self.detections,
            Kind::Alerts | Kind::Kept => self.alerts,
        }
    }
}

/// One activity: motion, or a review item by its id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// Motion of the camera.
    Motion,
    /// A review item, also a manual event.
    Item(String),
}

/// A change that the policy hears of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// An activity began at `start`, or an item changed its severity.
    Active {
        /// Which.
        activity: Activity,
        /// Motion, Detections or Alerts.
        kind: Kind,
        /// First sight.
        start: Time,
        /// Replaces the configured pre-capture (manual events).
        pre: Option<Length>,
    },
    /// An activity ended; `end` is its last sight.
    Ended {
        /// Which.
        activity: Activity,
        /// Last sight.
        end: Time,
    },
}

/// The span that is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its beginning; the recorder starts at the key frame before.
    pub from: Time,
    /// Its end; open while a reason lasts.
    pub until: Option<Time>,
    /// The reasons.
    pub kinds: Kinds,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    start: Time,
    pre: Option<Length>,
}

#[derive(Debug, Clone, Copy)]
struct Trailing {
    kind: Kind,
    from: Time,
    until: Time,
}

/// The state of one camera.
#[derive(Debug)]
pub struct Policy {
    config: Config,
    open: BTreeMap<Activity, Open>,
    trailing: Vec<Trailing>,
    /// When continuous recording was turned on.
    since: Time,
}

/// Post-captures that are remembered at once; far more than activities end within one post-capture.
const TRAILING_LIMIT: usize = 64;

impl Policy {
    /// A camera that begins now.
    pub fn new(config: Config, now: Time) -> Self {
        Self {
            config,
            open: BTreeMap::new(),
            trailing: Vec::new(),
            since: now,
        }
    }

    /// Takes over another configuration; open activities go on under it.
    pub fn configure(&mut self, config: Config, now: Time) {
        let records_all = |config: Config| config.enabled && config.continuous;
        if records_all(config) && !records_all(self.config) {
            self.since = now;
        }
        self.config = config;
    }

    /// Takes a change in.
    pub fn input(&mut self, input: Input) {
        match input {
            Input::Active {
                activity,
                kind,
                start,
                pre,
            } => {
                let open = self
                    .open
                    .entry(activity)
                    .or_insert(Open { kind, start, pre });
                open.kind = open.kind.max(kind);
                open.start = open.start.min(start);
            }
            Input::Ended { activity, end } => {
                let Some(open) = self.open.remove(&activity) else {
                    return;
                };
                let Some(capture) = self.config.capture(open.kind) else {
                    return;
                };
                if self.trailing.len() == TRAILING_LIMIT {
                    // The one that ends first is least missed.
                    let first = self
                        .trailing
                        .iter()
                        .enumerate()
                        .min_by_key(|(_, trailing)| trailing.until);
                    if let Some((first, _)) = first {
                        self.trailing.swap_remove(first);
                    }
                }
                self.trailing.push(Trailing {
                    kind: open.kind,
                    from: open.start.saturating_sub(open.pre.unwrap_or(capture.pre)),
                    until: end.saturating_add(capture.post),
                });
            }
        }
    }

    /// The span that is wanted now; `None` where nothing is.
    pub fn wanted(&mut self, now: Time) -> Option<Wanted> {
        self.trailing.retain(|trailing| trailing.until > now);
        if !self.config.enabled {
            return None;
        }
        let mut wanted: Option<Wanted> = None;
        let mut add = |from: Time, until: Option<Time>, kind: Kind| {
            let wanted = wanted.get_or_insert(Wanted {
                from,
                until,
                kinds: Kinds::default(),
            });
            wanted.from = wanted.from.min(from);
            wanted.until = match (wanted.until, until) {
                (Some(old), Some(new)) => Some(old.max(new)),
                _ => None,
            };
            wanted.kinds.insert(kind);
        };
        if self.config.continuous {
            add(self.since, None, Kind::Continuous);
        }
        for open in self.open.values() {
            if let Some(capture) = self.config.capture(open.kind) {
                let pre = open.pre.unwrap_or(capture.pre);
                add(open.start.saturating_sub(pre), None, open.kind);
            }
        }
        for trailing in &self.trailing {
            if self.config.capture(trailing.kind).is_some() {
                add(trailing.from, Some(trailing.until), trailing.kind);
            }
        }
        wanted
    }

    /// The next moment at which [`Policy::wanted`] changes by itself.
    pub fn next_change(&self) -> Option<Time> {
        self.trailing.iter().map(|trailing| trailing.until).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CAPTURE: Capture = Capture {
        pre: 5_000,
        post: 7_000,
    };

    fn events_only() -> Config {
        Config {
            enabled: true,
            alerts: Some(CAPTURE),
            detections: Some(CAPTURE),
            ..Config::default()
        }
    }

    fn item(id: &str) -> Activity {
        Activity::Item(id.into())
    }

    #[test]
    fn an_item_is_recorded_from_pre_to_post_capture() {
        let mut policy = Policy::new(events_only(), 0);
        assert_eq!(policy.wanted(50_000), None);
        policy.input(Input::Active {
            activity: item("a"),
            kind: Kind::Detections,
            start: 60_000,
            pre: None,
        });
        let wanted = policy.wanted(61_000).unwrap();
        assert_eq!((wanted.from, wanted.until), (55_000, None));
        policy.input(Input::Ended {
            activity: item("a"),
            end: 80_000,
        });
        assert_eq!(policy.wanted(81_000).unwrap().until, Some(87_000));
        assert_eq!(policy.next_change(), Some(87_000));
        assert_eq!(policy.wanted(87_000), None);
    }

    #[test]
    fn a_detection_that_becomes_an_alert_is_recorded_as_alert() {
        let mut policy = Policy::new(events_only(), 0);
        for kind in [Kind::Detections, Kind::Alerts, Kind::Detections] {
            policy.input(Input::Active {
                activity: item("a"),
                kind,
                start: 60_000,
                pre: Some(1_000),
            });
        }
        let wanted = policy.wanted(61_000).unwrap();
        assert_eq!(
            (wanted.from, wanted.kinds.most_valuable()),
            (59_000, Some(Kind::Alerts))
        );
    }

    #[test]
    fn a_kind_that_is_off_records_nothing() {
        let mut policy = Policy::new(events_only(), 0);
        policy.input(Input::Active {
            activity: Activity::Motion,
            kind: Kind::Motion,
            start: 0,
            pre: None,
        });
        assert_eq!(policy.wanted(1), None);
        policy.configure(
            Config {
                continuous: true,
                ..events_only()
            },
            2,
        );
        assert_eq!(policy.wanted(3).unwrap().from, 2);
        policy.configure(
            Config {
                enabled: false,
                ..events_only()
            },
            4,
        );
        assert_eq!(policy.wanted(5), None);
    }

    proptest! {
        /// Whatever happens in whatever order, every moment of an item with its captures is wanted when it is reached.
        #[test]
        fn every_item_is_covered(items in proptest::collection::vec((0..500_i64, 1..80_i64), 1..12)) {
            let mut policy = Policy::new(events_only(), 0);
            for now in 0..700_i64 {
                for (index, (start, length)) in items.iter().enumerate() {
                    let activity = item(&index.to_string());
                    if *start == now {
                        let start = now * 1000;
                        policy.input(Input::Active { activity: activity.clone(), kind: Kind::Alerts, start, pre: None });
                    }
                    if start + length == now {
                        policy.input(Input::Ended { activity, end: now * 1000 });
                    }
                }
                let wanted = policy.wanted(now * 1000);
                for (start, length) in &items {
                    if (*start..start + length + 7).contains(&now) {
                        let wanted = wanted.expect("an item is active or in its post-capture");
                        prop_assert!(wanted.from <= start * 1000 - 5_000);
                    }
                }
                let active = |(start, length): &(i64, i64)| (*start..start + length + 7).contains(&now);
                prop_assert_eq!(wanted.is_some(), items.iter().any(active));
            }
        }
    }
}
