//! From tracks to what is told about them: an object is silent until its confidences are believed (Frigate's `threshold`), its zones are
//! worked out with `inertia` and `loitering_time`, and it is talked of at most once a second unless something happens to it.

use detection::{FrameSize, TrackChange, TrackState, standing_place};

use crate::rules::{MAX_ZONES, Rules, by_label};
use crate::tracker::{Change, Evidence, Tracked};

/// Confidences remembered per object.
const SCORES: usize = 10;

/// A new object's missing confidences count as 0, so one good box is not enough.
const AT_LEAST: usize = 3;

/// Something to be told. Zones are bits, by their index in [`Rules::zones`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Report {
    /// What happened.
    pub kind: TrackChange,
    /// The track, as it is now.
    pub track: Tracked,
    /// Median of its newest confidences.
    pub score: f32,
    /// Zones it is in.
    pub zones: u64,
    /// Zones it came into since it was last told of.
    pub entered: u64,
    /// Zones it left since it was last told of.
    pub left: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Presence {
    frames: u32,
    /// When `frames` reached the zone's inertia.
    since: Option<f64>,
}

#[derive(Debug)]
struct Subject {
    id: u32,
    scores: [f32; SCORES],
    count: usize,
    /// The median when it was last seen, while it is missed: misses are no news about what it is.
    unseen_score: Option<f32>,
    believed: bool,
    stationary: bool,
    told: f64,
    presence: Vec<Presence>,
    zones: u64,
    told_zones: u64,
    alive: bool,
}

/// Remembers what has been told of each object of one camera.
#[derive(Debug, Default)]
pub struct Reporter {
    subjects: Vec<Subject>,
    reports: Vec<Report>,
}

impl Reporter {
    /// What is to be told after one frame.
    pub fn report(
        &mut self,
        now: f64,
        interval: f64,
        tracks: &[Tracked],
        changes: &[Change],
        rules: &Rules,
        frame: FrameSize,
    ) -> &[Report] {
        self.reports.clear();
        for s in &mut self.subjects {
            s.alive = false;
        }
        for t in tracks {
            let i = self.subject(t.track.id, now, rules.zones.len());
            let s = &mut self.subjects[i];
            s.alive = true;
            s.count_score(t);
            if t.shown && t.evidence != Evidence::Coasting {
                s.update_zones(t, now, rules, frame);
            }
            if !s.believed {
                let believed = rules.wants(t.track.label)
                    && s.median() >= rules.filter(t.track.label).threshold as f32;
                if !believed {
                    continue;
                }
                s.believed = true;
                s.tell(TrackChange::Started, t, now, &mut self.reports);
                if t.track.state == TrackState::Stationary {
                    s.stationary = true;
                    s.tell(TrackChange::Stationary, t, now, &mut self.reports);
                }
                continue;
            }
            for c in changes.iter().filter(|c| c.track.track.id == t.track.id) {
                match c.kind {
                    TrackChange::Started | TrackChange::Updated | TrackChange::Ended => {}
                    TrackChange::Stationary | TrackChange::Moving => {
                        s.stationary = c.kind == TrackChange::Stationary;
                        s.tell(c.kind, t, now, &mut self.reports);
                    }
                    TrackChange::Lost => s.tell(c.kind, t, now, &mut self.reports),
                }
            }
            // An object that rests and is only found again in its place has nothing to update.
            let news = t.track.observed || s.zones != s.told_zones;
            if news && now - s.told >= interval {
                s.tell(TrackChange::Updated, t, now, &mut self.reports);
            }
        }
        for c in changes.iter().filter(|c| c.kind == TrackChange::Ended) {
            self.end(c, now);
        }
        self.subjects.retain(|s| s.alive);
        &self.reports
    }

    /// All objects end (end of stream, flush).
    pub fn end_all(&mut self, now: f64, changes: &[Change]) -> &[Report] {
        self.reports.clear();
        for c in changes.iter().filter(|c| c.kind == TrackChange::Ended) {
            self.end(c, now);
        }
        self.subjects.clear();
        &self.reports
    }

    /// The object has been told of and goes on.
    pub fn is_believed(&self, id: u32) -> bool {
        self.find(id).is_some_and(|s| s.believed)
    }

    /// Zones the object is in, by index.
    pub fn zones(&self, id: u32) -> u64 {
        self.subjects
            .iter()
            .find(|s| s.id == id)
            .map_or(0, |s| s.zones)
    }

    fn find(&self, id: u32) -> Option<&Subject> {
        let i = self.subjects.binary_search_by_key(&id, |s| s.id).ok()?;
        self.subjects.get(i)
    }

    /// How many objects are remembered.
    pub fn len(&self) -> usize {
        self.subjects.len()
    }

    /// No object is remembered.
    pub fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// Other zones: every object starts outside of all of them.
    pub fn forget_zones(&mut self) {
        for s in &mut self.subjects {
            s.presence.clear();
            s.zones = 0;
            s.told_zones = 0;
        }
    }

    fn end(&mut self, c: &Change, now: f64) {
        if let Some(s) = self.subjects.iter_mut().find(|s| s.id == c.track.track.id) {
            s.alive = false;
            if s.believed {
                s.zones = 0;
                s.tell(TrackChange::Ended, &c.track, now, &mut self.reports);
            }
        }
    }

    /// Objects come in the order of their ids almost always, so the search starts where it must end.
    fn subject(&mut self, id: u32, now: f64, zones: usize) -> usize {
        let i = match self.subjects.binary_search_by_key(&id, |s| s.id) {
            Ok(i) => i,
            Err(i) => {
                let new = Subject {
                    id,
                    scores: [0.0; SCORES],
                    count: 0,
                    unseen_score: None,
                    believed: false,
                    stationary: false,
                    told: now,
                    presence: Vec::new(),
                    zones: 0,
                    told_zones: 0,
                    alive: true,
                };
                self.subjects.insert(i, new);
                i
            }
        };
        let presence = &mut self.subjects[i].presence;
        if presence.len() != zones.min(MAX_ZONES) {
            presence.clear();
            presence.resize(zones.min(MAX_ZONES), Presence::default());
        }
        i
    }
}

impl Subject {
    /// A detection gives its confidence, a moving object that was missed gives 0; a resting one and one not looked at give nothing.
    fn count_score(&mut self, t: &Tracked) {
        if t.evidence == Evidence::Observed {
            self.unseen_score = None;
        } else if self.unseen_score.is_none() {
            self.unseen_score = Some(self.median());
        }
        let score = match t.evidence {
            Evidence::Observed => t.track.score,
            Evidence::Coasting if t.missed => 0.0,
            Evidence::Coasting | Evidence::Resting => return,
        };
        self.scores[self.count % SCORES] = score;
        self.count += 1;
    }

    fn median(&self) -> f32 {
        let n = self.count.clamp(AT_LEAST, SCORES);
        let mut sorted = self.scores;
        sorted[..n].sort_unstable_by(f32::total_cmp);
        if n % 2 == 1 {
            sorted[n / 2]
        } else {
            (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0
        }
    }

    fn update_zones(&mut self, t: &Tracked, now: f64, rules: &Rules, frame: FrameSize) {
        let (bbox, label) = (&t.track.bbox, t.track.label);
        let at = standing_place(bbox, frame);
        for (i, (zone, p)) in rules.zones.iter().zip(&mut self.presence).enumerate() {
            let bit = 1u64 << i;
            let inside = (zone.labels.is_empty() || zone.labels.contains(&label))
                && zone.polygon.contains(frame, at);
            if !inside {
                self.zones &= !bit;
                p.since = None;
                // Once inside for good, it need not prove itself again; before, each frame outside takes one back.
                if p.frames < zone.inertia {
                    p.frames = p.frames.saturating_sub(1);
                }
                continue;
            }
            let was = self.zones & bit != 0;
            let passes = was
                || by_label(&zone.filters, label)
                    .is_none_or(|f| t.track.score >= f.min_score as f32 && f.allows(bbox, frame));
            if !passes {
                continue;
            }
            p.frames = (p.frames + 1).min(zone.inertia.max(1));
            if p.frames < zone.inertia {
                continue;
            }
            let since = *p.since.get_or_insert(now);
            if now - since >= zone.loitering_time {
                self.zones |= bit;
            }
        }
    }

    fn tell(&mut self, kind: TrackChange, t: &Tracked, now: f64, reports: &mut Vec<Report>) {
        let mut track = *t;
        // Where it was last seen, not how far a guess has gone since.
        if matches!(kind, TrackChange::Lost | TrackChange::Ended) {
            track.track.bbox = t.last_box;
        }
        reports.push(Report {
            kind,
            track,
            score: self.unseen_score.unwrap_or_else(|| self.median()),
            zones: self.zones,
            entered: self.zones & !self.told_zones,
            left: self.told_zones & !self.zones,
        });
        self.told = now;
        self.told_zones = self.zones;
    }
}
