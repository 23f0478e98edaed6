//! The thread that changes the index: takes reports in, finds again what is missing in it, and removes what is not kept.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Result;
use watchpost_pipelines::camera::{Bytes, RecordConfig, RetainMode};
use watchpost_pipelines::record::{MARKER, RecordEvent, recover, segments};
use watchpost_recorder::retention::{
    self, Candidate, Days, Decision, Mode, Reason, by_age, for_space,
};
use watchpost_recorder::review::Item;
use watchpost_recorder::{Kind, Span};

use super::index::{Gap, Index, SegmentRow};
use super::{Figures, Rules};

/// Time between two passes of retention.
const PASS: Duration = Duration::from_secs(60);
/// A file that grew so recently may still be written by a worker that outlived its supervisor.
const AT_REST: Duration = Duration::from_secs(10);
/// Time between two segments above which something is missing.
const HOLE: i64 = 300;
/// An item is looked for so far around a segment: the longest pre- and post-capture.
const AROUND: i64 = 3_600_000;

#[derive(Debug)]
pub(super) enum Order {
    Rules(Box<Rules>),
    Event(String, RecordEvent),
    Ended(String),
    Paused(String),
    Item(String, Box<Item>),
}

pub(super) struct Keeper {
    index: Index,
    data_dir: PathBuf,
    rules: Option<Rules>,
    /// The segment that each camera's recorder writes.
    writing: BTreeMap<String, (PathBuf, String)>,
    /// End of what is accounted for, of cameras of which something has been wanted since.
    ends: BTreeMap<String, i64>,
    figures: Arc<Mutex<BTreeMap<String, Figures>>>,
    started: Instant,
    scan_at: Option<Instant>,
}

impl Keeper {
    pub fn new(
        index: Index,
        data_dir: PathBuf,
        figures: Arc<Mutex<BTreeMap<String, Figures>>>,
    ) -> Self {
        Self {
            index,
            data_dir,
            rules: None,
            writing: BTreeMap::new(),
            ends: BTreeMap::new(),
            figures,
            started: Instant::now(),
            scan_at: Some(Instant::now()),
        }
    }

    pub fn run(mut self, orders: &Receiver<Order>) {
        self.check(|keeper| keeper.index.close_items(now()));
        let mut pass_at = Instant::now();
        loop {
            if self.rules.is_some() {
                if self.scan_at.is_some_and(|at| Instant::now() >= at) {
                    self.scan_at = None;
                    self.check(Self::scan);
                }
                if Instant::now() >= pass_at {
                    pass_at = Instant::now() + PASS;
                    self.check(Self::retain);
                    self.check(Self::count);
                }
            }
            match orders.recv_timeout(Duration::from_secs(1)) {
                Ok(order) => self.check(|keeper| keeper.take(order)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn check(&mut self, what: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = what(self) {
            tracing::error!("the index of recordings: {error}");
        }
    }

    fn take(&mut self, order: Order) -> Result<()> {
        match order {
            Order::Rules(rules) => self.rules = Some(*rules),
            Order::Item(camera, item) => self.index.item(&camera, &item)?,
            Order::Ended(camera) => self.complete(&camera)?,
            Order::Paused(camera) => drop(self.ends.remove(&camera)),
            Order::Event(camera, RecordEvent::Segment(segment)) => {
                let name = (segment.path.clone(), segment.name.clone());
                if self.writing.get(&camera).is_some_and(|old| *old != name) {
                    self.complete(&camera)?;
                }
                if let Some(end) = self.ends.insert(camera.clone(), segment.end)
                    && segment.start - end > HOLE
                {
                    let gap = Gap {
                        start: end,
                        end: segment.start,
                        reason: "the camera was away, or its capture worker was restarted".into(),
                    };
                    self.gap(&camera, gap)?;
                }
                self.index.put(&camera, &segment, false)?;
                if segment.summary.is_some() {
                    self.writing.remove(&camera);
                } else {
                    self.writing.insert(camera, name);
                }
            }
            Order::Event(camera, RecordEvent::Gap { start, end, reason }) => {
                self.ends.insert(camera.clone(), end);
                self.gap(&camera, Gap { start, end, reason })?;
            }
            Order::Event(camera, RecordEvent::Trouble(trouble)) => {
                match &trouble {
                    Some(reason) => tracing::error!(camera, "recording: {reason}"),
                    None => tracing::info!(camera, "recording goes on"),
                }
                self.figures_of(&camera, |figures| figures.trouble = trouble);
            }
        }
        Ok(())
    }

    fn gap(&self, camera: &str, gap: Gap) -> Result<()> {
        let length = (gap.end - gap.start) as f64 / 1000.0;
        tracing::warn!(camera, "{length:.1} s are not recorded: {}", gap.reason);
        self.figures_of(camera, |figures| {
            *figures
                .gaps
                .entry(class(&gap.reason).to_owned())
                .or_default() += 1;
        });
        self.index.gap(camera, &gap)
    }

    /// Completes the segment that a camera's worker left.
    fn complete(&mut self, camera: &str) -> Result<()> {
        let Some((path, name)) = self.writing.remove(camera) else {
            return Ok(());
        };
        self.adopt(camera, &path, &name)
    }

    /// Takes a file into the index.
    fn adopt(&self, camera: &str, path: &Path, name: &str) -> Result<()> {
        match recover(path, name) {
            Ok(Some(mut segment)) => {
                // The row knows the reasons where the summary could not be written any more.
                let known = self.index.reasons(path, name)?;
                if segment.reasons.is_empty() {
                    segment.reasons = known.unwrap_or_default();
                }
                let recovered = segment.reasons.is_empty();
                self.index.put(camera, &segment, recovered)?;
            }
            Ok(None) => {
                tracing::warn!(
                    camera,
                    "{name} has no complete fragment and is left as it is"
                );
            }
            Err(error) => tracing::warn!(camera, "{name} cannot be read: {error}"),
        }
        Ok(())
    }

    fn paths(&self) -> Result<Vec<PathBuf>> {
        let mut paths = self.index.paths()?;
        paths.push(self.data_dir.clone());
        for config in self.rules.iter().flat_map(|rules| rules.cameras.values()) {
            paths.extend(Kind::ALL.map(|kind| super::path_of(config, kind, &self.data_dir)));
        }
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    /// Finds files that are not in the index, and completes those that a kill has cut off.
    fn scan(&mut self) -> Result<()> {
        for path in self.paths()? {
            for name in segments(&path) {
                let Some(camera) = name.split('/').nth(1) else {
                    continue;
                };
                let writing = self.writing.get(camera);
                let is_written = writing.is_some_and(|(at, open)| *at == path && *open == name);
                if is_written || self.index.is_complete(&path, &name)? {
                    continue;
                }
                let modified = std::fs::metadata(path.join(&name)).and_then(|meta| meta.modified());
                let age = modified
                    .ok()
                    .and_then(|at| SystemTime::now().duration_since(at).ok());
                if age.is_none_or(|age| age < AT_REST) {
                    self.scan_at = Some(Instant::now() + AT_REST);
                    continue;
                }
                self.adopt(camera, &path, &name)?;
            }
        }
        Ok(())
    }

    /// One pass of retention over all cameras.
    fn retain(&mut self) -> Result<()> {
        let uptime = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        if !retention::may_run(clock_is_synchronised(), uptime) {
            return Ok(());
        }
        let Some(rules) = self.rules.clone() else {
            return Ok(());
        };
        let cameras = self.index.cameras()?;
        let now = now();
        let mut kept: BTreeMap<PathBuf, Vec<(String, SegmentRow, Kind)>> = BTreeMap::new();
        for camera in cameras {
            let config = rules.cameras.get(&camera).unwrap_or(&rules.others);
            let days = days_of(config);
            let mut gone = Vec::new();
            let mut rest: Vec<(SegmentRow, Kind)> = Vec::new();
            self.index.each(&camera, |segment| {
                if !segment.complete || !segment.path.join(MARKER).exists() {
                    return Ok(());
                }
                let span = Span::new(segment.start, segment.end);
                let reasons = self.index.items(&camera, span, AROUND)?;
                let reasons: Vec<_> = reasons
                    .into_iter()
                    .map(|(kind, span)| reason(config, kind, span))
                    .collect();
                match by_age(&as_candidate(&segment), &reasons, &days, now) {
                    Decision::Remove => gone.push(segment),
                    // A segment of which a part is kept is kept whole.
                    Decision::Keep(kind) | Decision::Cut { kind, .. } => rest.push((segment, kind)),
                }
                Ok(())
            })?;
            for segment in gone {
                self.remove(&camera, &segment, "age", now)?;
            }
            for (limit, kind) in limits(config) {
                let counts = |one: &Kind| kind.is_none_or(|kind| kind == *one);
                let bytes: u64 = rest
                    .iter()
                    .filter(|(_, one)| counts(one))
                    .map(|(segment, _)| segment.bytes)
                    .sum();
                let (ids, _) = for_space(bytes.saturating_sub(limit), || {
                    let some = rest.iter().filter(|(_, one)| counts(one));
                    some.map(|(segment, kind)| candidate(segment, *kind))
                });
                for (segment, _) in rest.extract_if(.., |(segment, _)| ids.contains(&segment.id)) {
                    self.remove(&camera, &segment, "max_bytes", now)?;
                }
            }
            for (segment, kind) in rest {
                let path = segment.path.clone();
                kept.entry(path)
                    .or_default()
                    .push((camera.clone(), segment, kind));
            }
        }
        for (path, mut segments) in kept {
            let Ok(disk) = rustix::fs::statvfs(&path) else {
                continue;
            };
            let needed = rules.min_free.saturating_sub(disk.f_bavail * disk.f_frsize);
            segments.sort_by_key(|(_, segment, _)| segment.start);
            let (ids, missing) = for_space(needed, || {
                let all = segments.iter();
                all.map(|(_, segment, kind)| candidate(segment, *kind))
            });
            for (camera, segment, _) in &segments {
                if ids.contains(&segment.id) {
                    self.remove(camera, segment, "min_free", now)?;
                }
            }
            if missing > 0 && needed > 0 {
                tracing::warn!(
                    "recordings in {}: {missing} bytes more should be free, and nothing is left to remove",
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// The file goes first: a row without a file would be found by nothing, a file without a row is found by the scan.
    fn remove(
        &self,
        camera: &str,
        segment: &SegmentRow,
        rule: &'static str,
        now: i64,
    ) -> Result<()> {
        match std::fs::remove_file(segment.path.join(&segment.name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(camera, "cannot remove {}: {error}", segment.name);
                return Ok(());
            }
            _ => {}
        }
        tracing::debug!(camera, "{} removed by {rule}", segment.name);
        self.figures_of(camera, |figures| {
            *figures.removed.entry(rule).or_default() += segment.bytes;
        });
        self.index.remove(camera, segment, rule, now)
    }

    fn count(&mut self) -> Result<()> {
        for camera in self.index.cameras()? {
            let (bytes, segments, oldest) = self.index.totals(&camera)?;
            self.figures_of(&camera, |figures| {
                (figures.bytes, figures.segments, figures.oldest) = (bytes, segments, oldest);
            });
        }
        Ok(())
    }

    fn figures_of(&self, camera: &str, change: impl FnOnce(&mut Figures)) {
        let mut figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        change(figures.entry(camera.to_owned()).or_default());
    }
}

/// Reasons without the names in them, for metrics.
fn class(reason: &str) -> &'static str {
    if reason.starts_with("storage-full") {
        "storage-full"
    } else if reason.starts_with("storage-missing") {
        "storage-missing"
    } else if reason.starts_with("the disk") {
        "slow-disk"
    } else if reason.starts_with("no pictures") || reason.starts_with("the camera") {
        "no-pictures"
    } else {
        "write-failed"
    }
}

fn days_of(config: &RecordConfig) -> Days {
    let on = |days: f64| (days > 0.0).then_some(days);
    let motion = &config.motion;
    Days {
        continuous: on(config.continuous.days),
        motion: on(motion.days).map(|days| {
            (
                days,
                milliseconds(motion.pre_capture),
                milliseconds(motion.post_capture),
            )
        }),
        detections: on(config.detections.retain.days),
        alerts: on(config.alerts.retain.days),
    }
}

fn reason(config: &RecordConfig, kind: Kind, span: Span) -> Reason {
    let of = if kind == Kind::Alerts {
        &config.alerts
    } else {
        &config.detections
    };
    Reason {
        kind,
        span: span.widened(milliseconds(of.pre_capture), milliseconds(of.post_capture)),
        mode: match of.retain.mode {
            RetainMode::All => Mode::All,
            RetainMode::Motion => Mode::Motion,
            RetainMode::ActiveObjects => Mode::ActiveObjects,
        },
    }
}

/// Limits of a camera: for all its footage, and by kind.
fn limits(config: &RecordConfig) -> impl Iterator<Item = (u64, Option<Kind>)> {
    [
        (config.continuous.max_bytes, Some(Kind::Continuous)),
        (config.motion.max_bytes, Some(Kind::Motion)),
        (config.detections.max_bytes, Some(Kind::Detections)),
        (config.alerts.max_bytes, Some(Kind::Alerts)),
        (config.max_bytes, None),
    ]
    .into_iter()
    .filter_map(|(limit, kind)| limit.map(|Bytes(limit)| (limit, kind)))
}

fn as_candidate(row: &SegmentRow) -> retention::Segment {
    let gops = row.groups.iter().map(|group| retention::Gop {
        start: row.start + i64::from(group.at),
        motion: group.motion,
        objects: group.objects > 0,
    });
    retention::Segment {
        id: row.id,
        span: Span::new(row.start, row.end),
        bytes: row.bytes,
        gops: gops.collect(),
        recovered: row.recovered,
    }
}

fn candidate(row: &SegmentRow, kind: Kind) -> Candidate {
    Candidate {
        id: row.id,
        bytes: row.bytes,
        kind,
    }
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0) as i64
}

fn now() -> i64 {
    milliseconds(crate::clock::now())
}

/// Whether the kernel's clock is disciplined by a time source.
fn clock_is_synchronised() -> bool {
    Path::new("/run/systemd/timesync/synchronized").exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_pipelines::record::SegmentReport;
    use watchpost_recorder::review::Severity;

    const MINUTE: i64 = 60_000;
    const DAY: i64 = 86_400_000;

    /// A keeper with segments of a minute that began so many minutes ago.
    fn keeper(folder: &Path, config: RecordConfig, ages: &[i64]) -> Keeper {
        let index = Index::open(&folder.join("recordings.db")).unwrap();
        std::fs::write(folder.join(MARKER), b"").unwrap();
        for age in ages {
            let start = now() - age * MINUTE;
            let name = format!("{age}.mp4");
            std::fs::write(folder.join(&name), b"").unwrap();
            let segment = SegmentReport {
                path: folder.to_owned(),
                name,
                start,
                end: start + MINUTE,
                bytes: 1000,
                version: 1,
                groups: Vec::new(),
                reasons: "continuous".into(),
                summary: Some(900),
            };
            index.put("front", &segment, false).unwrap();
        }
        let mut keeper = Keeper::new(index, folder.to_owned(), Arc::default());
        // Long enough ago to trust the clock.
        keeper.started = Instant::now()
            .checked_sub(Duration::from_secs(700))
            .unwrap();
        keeper.rules = Some(Rules {
            cameras: [("front".to_owned(), config)].into(),
            ..Rules::default()
        });
        keeper
    }

    fn left(folder: &Path) -> Vec<i64> {
        let names = std::fs::read_dir(folder).unwrap().flatten();
        let mut ages: Vec<i64> = names
            .filter_map(|entry| {
                entry
                    .file_name()
                    .to_str()?
                    .strip_suffix(".mp4")?
                    .parse()
                    .ok()
            })
            .collect();
        ages.sort_unstable();
        ages
    }

    fn alert(keeper: &Keeper, minutes_ago: i64) {
        let start = now() - minutes_ago * MINUTE;
        let item = Item {
            id: format!("{minutes_ago}"),
            start: start + 10_000,
            end: Some(start + 20_000),
            severity: Severity::Alert,
            events: vec![1],
            objects: Default::default(),
            zones: Default::default(),
        };
        keeper.index.item("front", &item).unwrap();
    }

    fn continuous(days: f64) -> RecordConfig {
        let mut config = RecordConfig {
            enabled: true,
            ..RecordConfig::default()
        };
        config.continuous.days = days;
        config
    }

    #[test]
    fn footage_goes_by_age_unless_an_alert_needs_it() {
        let folder = tempfile::tempdir().unwrap();
        let minutes = DAY / MINUTE;
        let ages = [5, minutes + 5, minutes + 10, 11 * minutes];
        let mut keeper = keeper(folder.path(), continuous(1.0), &ages);
        alert(&keeper, minutes + 10);
        alert(&keeper, 11 * minutes);
        keeper.retain().unwrap();
        assert_eq!(left(folder.path()), [5, minutes + 10]);
        let figures = keeper.figures.lock().unwrap();
        assert_eq!(figures["front"].removed["age"], 2000);
    }

    #[test]
    fn a_quota_takes_the_oldest_continuous_footage_first() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = continuous(1.0);
        config.max_bytes = Some(Bytes(2500));
        let mut keeper = keeper(folder.path(), config, &[5, 10, 15, 20]);
        alert(&keeper, 20);
        keeper.retain().unwrap();
        assert_eq!(
            left(folder.path()),
            [5, 20],
            "the alert stays, the oldest others go"
        );
    }

    #[test]
    fn a_disk_that_is_not_mounted_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut keeper = keeper(folder.path(), continuous(1.0), &[3 * DAY / MINUTE]);
        std::fs::remove_file(folder.path().join(MARKER)).unwrap();
        keeper.retain().unwrap();
        assert_eq!(left(folder.path()).len(), 1);
        assert_eq!(keeper.index.totals("front").unwrap().1, 1);
    }
}
