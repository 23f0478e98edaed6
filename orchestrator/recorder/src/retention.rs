//! Which footage is kept, cut down or removed.
//!
//! Footage is kept while any reason to keep it holds: the union of all overlapping reasons. Both passes read the segments
//! of a camera as a stream in the order of time, so that their memory does not grow with the number of segments.
//!
//! * [`by_age`] removes what no reason covers any more, and cuts segments down to their kept spans.
//! * [`for_space`] removes the least valuable kind first (continuous, motion, detections, alerts), within a kind the
//!   oldest first, and never what is marked to keep.

use crate::{Kind, Length, Span, Spans, Time};

/// Holes in kept footage that are shorter are kept too.
const HOLE: Length = 10_000;
/// Kept beside each group of pictures with activity in the modes `motion` and `active_objects`.
const MARGIN: Length = 5_000;
const DAY: f64 = 86_400_000.0;

/// Parts of a kept item's footage that are kept (`retain.mode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// All of it.
    #[default]
    All,
    /// Groups of pictures with motion or active objects.
    Motion,
    /// Groups of pictures with active objects.
    ActiveObjects,
}

/// A reason to keep footage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Alerts, Detections or Kept.
    pub kind: Kind,
    /// The item with its pre- and post-capture.
    pub span: Span,
    /// Parts of it that are kept.
    pub mode: Mode,
}

/// Days that each kind is kept; `None` where the kind keeps nothing by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Days {
    /// `continuous.days`.
    pub continuous: Option<f64>,
    /// `motion.days`, with its pre- and post-capture.
    pub motion: Option<(f64, Length, Length)>,
    /// `detections.retain.days`.
    pub detections: Option<f64>,
    /// `alerts.retain.days`.
    pub alerts: Option<f64>,
}

impl Days {
    fn of(&self, kind: Kind) -> Option<f64> {
        match kind {
            Kind::Continuous => self.continuous,
            Kind::Motion => self.motion.map(|(days, ..)| days),
            Kind::Detections => self.detections,
            Kind::Alerts => self.alerts,
            Kind::Kept => Some(f64::INFINITY),
        }
    }

    /// The longest time that any kind is kept: that of footage whose reasons are unknown.
    fn longest(&self) -> f64 {
        let all = Kind::ALL[..4].iter().filter_map(|kind| self.of(*kind));
        all.fold(0.0, f64::max)
    }

    /// Moment before which a kind is not kept any more.
    fn limit(&self, kind: Kind, now: Time) -> Option<Time> {
        // Saturates for days beyond the range of time: such footage is kept.
        self.of(kind).map(|days| (now as f64 - days * DAY) as Time)
    }
}

/// Activity in one group of pictures of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gop {
    /// Its start.
    pub start: Time,
    /// Something moved.
    pub motion: bool,
    /// An object was active.
    pub objects: bool,
}

/// One recorded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its row in the index.
    pub id: i64,
    /// Its span.
    pub span: Span,
    /// Its bytes.
    pub bytes: u64,
    /// Activity in it, in the order of time.
    pub gops: Vec<Gop>,
    /// Its reasons are unknown (found again after the index was lost).
    pub recovered: bool,
}

impl Segment {
    /// Spans of the groups of pictures that a test picks.
    fn active(&self, picks: impl Fn(&Gop) -> bool) -> impl Iterator<Item = Span> {
        let ends = self
            .gops
            .iter()
            .skip(1)
            .map(|gop| gop.start)
            .chain([self.span.end]);
        let gops = self
            .gops
            .iter()
            .zip(ends)
            .filter(move |(gop, _)| picks(gop));
        gops.map(|(gop, end)| Span::new(gop.start, end))
    }
}

/// A decision about one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It stays, for the sake of this kind.
    Keep(Kind),
    /// Only these spans stay, in files of their own.
    Cut {
        /// The spans.
        spans: Vec<Span>,
        /// The most valuable kind that keeps them.
        kind: Kind,
    },
    /// It goes.
    Remove,
}

/// Decides about one segment. `reasons` are those that overlap it, in any order.
pub fn by_age<'a>(
    segment: &Segment,
    reasons: impl IntoIterator<Item = &'a Reason>,
    days: &Days,
    now: Time,
) -> Decision {
    let mut kept = Spans::default();
    let mut best: Option<Kind> = None;
    let mut keep = |span: Span, kind: Kind| {
        let part = span.intersection(segment.span);
        if !part.is_empty() {
            kept.insert(part);
            best = best.max(Some(kind));
        }
    };
    if segment.recovered && segment.span.end as f64 > now as f64 - days.longest() * DAY {
        keep(segment.span, Kind::Continuous);
    }
    if let Some(limit) = days.limit(Kind::Continuous, now)
        && segment.span.end > limit
    {
        keep(segment.span, Kind::Continuous);
    }
    if let Some((_, pre, post)) = days.motion
        && days
            .limit(Kind::Motion, now)
            .is_some_and(|limit| segment.span.end > limit)
    {
        for span in segment.active(|gop| gop.motion || gop.objects) {
            keep(span.widened(pre, post), Kind::Motion);
        }
    }
    for reason in reasons {
        if days
            .limit(reason.kind, now)
            .is_none_or(|limit| reason.span.end <= limit)
        {
            continue;
        }
        match reason.mode {
            Mode::All => keep(reason.span, reason.kind),
            Mode::Motion | Mode::ActiveObjects => {
                let objects_only = reason.mode == Mode::ActiveObjects;
                for span in segment.active(|gop| gop.objects || gop.motion && !objects_only) {
                    keep(
                        span.widened(MARGIN, MARGIN).intersection(reason.span),
                        reason.kind,
                    );
                }
            }
        }
    }
    let Some(kind) = best else {
        return Decision::Remove;
    };
    let spans = kept.within(segment.span, HOLE);
    // What would be cut off at an edge and is shorter than a hole stays too.
    let mut spans: Vec<Span> = spans.iter().collect();
    if let Some(first) = spans.first_mut()
        && first.start - segment.span.start < HOLE
    {
        first.start = segment.span.start;
    }
    if let Some(last) = spans.last_mut()
        && segment.span.end - last.end < HOLE
    {
        last.end = segment.span.end;
    }
    if spans == [segment.span] {
        Decision::Keep(kind)
    } else {
        Decision::Cut { spans, kind }
    }
}

/// The most valuable kind that holds any part of a segment; what `max_bytes` and the order of removal count it for.
pub fn kind_of<'a>(
    segment: &Segment,
    reasons: impl IntoIterator<Item = &'a Reason>,
    days: &Days,
    now: Time,
) -> Kind {
    match by_age(segment, reasons, days, now) {
        Decision::Keep(kind) | Decision::Cut { kind, .. } => kind,
        Decision::Remove => Kind::Continuous,
    }
}

/// A segment as [`for_space`] sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its row in the index.
    pub id: i64,
    /// Its bytes.
    pub bytes: u64,
    /// The kind it counts for.
    pub kind: Kind,
}

/// The segments to remove until `needed` bytes are free, in the order of removal, and the bytes that are still missing
/// when only kept items are left. `candidates` yields all segments of the file system, oldest first; it is called once
/// per kind.
pub fn for_space<I>(mut needed: u64, candidates: impl Fn() -> I) -> (Vec<i64>, u64)
where
    I: Iterator<Item = Candidate>,
{
    let mut removed = Vec::new();
    for kind in &Kind::ALL[..4] {
        for candidate in candidates() {
            if needed == 0 {
                return (removed, 0);
            }
            if candidate.kind == *kind {
                removed.push(candidate.id);
                needed = needed.saturating_sub(candidate.bytes);
            }
        }
    }
    (removed, needed)
}

/// True where a pass may run: ages are known only when the clock is, or when the daemon ran long enough to trust it.
pub fn may_run(clock_synchronised: bool, uptime: Length) -> bool {
    clock_synchronised || uptime >= 600_000
}

/// The moment that ages are counted from. Footage never ages by a clock that jumped forward, only by time that passed
/// while the daemon ran: `newest` is the end of the newest footage at the start.
pub fn trusted_now(wall_clock: Time, newest: Time, uptime: Length) -> Time {
    wall_clock.min(newest.saturating_add(uptime))
}

/// True where a pass must be announced an hour before: it removes more than a third of a camera's footage, or follows a
/// change of the configured days.
pub fn needs_announcement(removed: u64, total: u64, days_changed: bool) -> bool {
    removed > 0 && (days_changed || removed > total / 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Length = 60_000;

    fn segment(start: Time, activity: &[(bool, bool)]) -> Segment {
        let gops = activity
            .iter()
            .enumerate()
            .map(|(index, (motion, objects))| Gop {
                start: start + index as Time * 2_000,
                motion: *motion,
                objects: *objects,
            });
        Segment {
            id: 1,
            span: Span::new(start, start + MINUTE),
            bytes: 10,
            gops: gops.collect(),
            recovered: false,
        }
    }

    fn quiet(start: Time) -> Segment {
        segment(start, &[(false, false); 30])
    }

    fn reason(kind: Kind, start: Time, end: Time, mode: Mode) -> Reason {
        Reason {
            kind,
            span: Span::new(start, end),
            mode,
        }
    }

    const DAYS: Days = Days {
        continuous: Some(1.0),
        motion: None,
        detections: Some(2.0),
        alerts: Some(3.0),
    };
    const ONE_DAY: Time = 86_400_000;

    #[test]
    fn each_kind_is_kept_for_its_days() {
        let segment = quiet(0);
        let alert = reason(Kind::Alerts, 0, MINUTE, Mode::All);
        let detection = reason(Kind::Detections, 0, MINUTE, Mode::All);
        let both = [alert, detection];
        for (age, kind) in [(0, Kind::Alerts), (2 * ONE_DAY, Kind::Alerts)] {
            assert_eq!(by_age(&segment, &both, &DAYS, age), Decision::Keep(kind));
        }
        assert_eq!(
            by_age(&segment, &both, &DAYS, 3 * ONE_DAY + MINUTE),
            Decision::Remove
        );
        assert_eq!(
            by_age(&segment, &[], &DAYS, ONE_DAY + MINUTE - 1),
            Decision::Keep(Kind::Continuous)
        );
        assert_eq!(
            by_age(&segment, &[], &DAYS, ONE_DAY + MINUTE),
            Decision::Remove
        );
        let kept = reason(Kind::Kept, 10_000, 50_000, Mode::All);
        assert_eq!(
            by_age(&segment, &[kept], &DAYS, 900 * ONE_DAY),
            Decision::Cut {
                spans: vec![Span::new(10_000, 50_000)],
                kind: Kind::Kept
            }
        );
    }

    #[test]
    fn modes_keep_active_groups_with_a_margin() {
        let mut activity = [(false, false); 30];
        activity[15] = (false, true);
        let segment = segment(0, &activity);
        let days = Days {
            alerts: Some(1.0),
            ..Days::default()
        };
        let alert = reason(Kind::Alerts, 0, MINUTE, Mode::ActiveObjects);
        assert_eq!(
            by_age(&segment, &[alert], &days, 0),
            Decision::Cut {
                spans: vec![Span::new(25_000, 37_000)],
                kind: Kind::Alerts
            }
        );
    }

    #[test]
    fn a_mode_of_one_item_does_not_harm_another() {
        let segment = quiet(0);
        let days = Days {
            alerts: Some(1.0),
            detections: Some(1.0),
            ..Days::default()
        };
        let reasons = [
            reason(Kind::Detections, 0, MINUTE, Mode::Motion),
            reason(Kind::Alerts, 0, MINUTE, Mode::All),
        ];
        assert_eq!(
            by_age(&segment, &reasons, &days, 0),
            Decision::Keep(Kind::Alerts)
        );
    }

    #[test]
    fn recovered_footage_is_kept_longest() {
        let mut segment = quiet(0);
        segment.recovered = true;
        assert!(matches!(
            by_age(&segment, &[], &DAYS, 3 * ONE_DAY),
            Decision::Keep(_)
        ));
        assert_eq!(
            by_age(&segment, &[], &DAYS, 3 * ONE_DAY + MINUTE),
            Decision::Remove
        );
    }

    #[test]
    fn space_is_made_in_the_order_of_value() {
        let kinds = [
            Kind::Alerts,
            Kind::Continuous,
            Kind::Kept,
            Kind::Motion,
            Kind::Continuous,
            Kind::Detections,
        ];
        let candidates = || {
            let numbered = kinds.iter().enumerate();
            numbered.map(|(id, kind)| Candidate {
                id: id as i64,
                bytes: 10,
                kind: *kind,
            })
        };
        assert_eq!(for_space(0, candidates), (vec![], 0));
        assert_eq!(for_space(25, candidates), (vec![1, 4, 3], 0));
        assert_eq!(for_space(100, candidates), (vec![1, 4, 3, 5, 0], 50));
    }

    #[test]
    fn a_clock_that_jumps_removes_nothing() {
        let newest = 1000 * ONE_DAY;
        assert_eq!(trusted_now(5000 * ONE_DAY, newest, MINUTE), newest + MINUTE);
        assert_eq!(
            trusted_now(newest - ONE_DAY, newest, MINUTE),
            newest - ONE_DAY
        );
        assert!(!may_run(false, 599_999) && may_run(false, 600_000) && may_run(true, 0));
        assert!(needs_announcement(34, 100, false) && !needs_announcement(33, 100, false));
        assert!(needs_announcement(1, 100, true) && !needs_announcement(0, 100, true));
    }
}
