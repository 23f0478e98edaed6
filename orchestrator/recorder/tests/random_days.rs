//! Random days of footage, items, clock steps and quotas: what a reason covers is never removed.

use proptest::prelude::*;
use watchpost_recorder::retention::{
    Candidate, Days, Decision, Gop, Mode, Reason, Segment, by_age, for_space, kind_of, trusted_now,
};
use watchpost_recorder::{Kind, Span};

const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn days() -> impl Strategy<Value = Days> {
    let some = || proptest::option::of(0.0..5.0_f64);
    (some(), some(), some(), some()).prop_map(|(continuous, motion, detections, alerts)| Days {
        continuous,
        motion: motion.map(|days| (days, 5_000, 5_000)),
        detections,
        alerts,
    })
}

fn reasons() -> impl Strategy<Value = Vec<Reason>> {
    let kind = prop_oneof![Just(Kind::Detections), Just(Kind::Alerts), Just(Kind::Kept)];
    let mode = prop_oneof![
        Just(Mode::All),
        Just(Mode::Motion),
        Just(Mode::ActiveObjects)
    ];
    let reason =
        (kind, 0..3 * DAY, 1_000..10 * MINUTE, mode).prop_map(|(kind, start, length, mode)| {
            Reason {
                kind,
                span: Span::new(start, start + length),
                mode,
            }
        });
    proptest::collection::vec(reason, 0..30)
}

/// One segment a minute over three days, with activity in random groups of pictures.
fn segments(seed: u64) -> Vec<Segment> {
    let mut random = seed | 1;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let segment = |index: i64| {
        let start = index * 7 * MINUTE;
        let gops: Vec<Gop> = (0..30)
            .map(|gop| Gop {
                start: start + gop * 2_000,
                motion: next() % 20 == 0,
                objects: next() % 40 == 0,
            })
            .collect();
        Segment {
            id: index,
            span: Span::new(start, start + MINUTE),
            bytes: 1 + next() % 1000,
            gops,
            recovered: next() % 50 == 0,
        }
    };
    (0..3 * DAY / (7 * MINUTE)).map(segment).collect()
}

fn day_limit(days: &Days, kind: Kind) -> Option<f64> {
    match kind {
        Kind::Detections => days.detections,
        Kind::Alerts => days.alerts,
        _ => Some(f64::INFINITY),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_covered_interval_is_never_removed(
        days in days(), reasons in reasons(), seed in any::<u64>(), age in 0..6 * DAY,
    ) {
        let now = 3 * DAY + age;
        for segment in segments(seed) {
            let overlapping = || reasons.iter().filter(|reason| !reason.span.intersection(segment.span).is_empty());
            let decision = by_age(&segment, overlapping(), &days, now);
            let kept = |t: i64| match &decision {
                Decision::Keep(_) => true,
                Decision::Remove => false,
                Decision::Cut { spans, .. } => spans.iter().any(|span| (span.start..span.end).contains(&t)),
            };
            for t in (segment.span.start..segment.span.end).step_by(997) {
                let by_item = overlapping().any(|reason| {
                    reason.mode == Mode::All
                        && (reason.span.start..reason.span.end).contains(&t)
                        && day_limit(&days, reason.kind)
                            .is_some_and(|limit| (now - reason.span.end) as f64 <= limit * DAY as f64 - 1.0)
                });
                let continuous = days.continuous
                    .is_some_and(|limit| ((now - segment.span.end) as f64) < limit * DAY as f64 - 1.0);
                if by_item || continuous {
                    prop_assert!(kept(t), "{t} of {:?} is covered, {decision:?}", segment.span);
                }
            }
            // Nothing is kept without any reason.
            if overlapping().next().is_none() && !segment.recovered && days.motion.is_none() {
                let continuous = days.continuous.is_some_and(|limit| ((now - segment.span.end) as f64) < limit * DAY as f64);
                prop_assert_eq!(decision != Decision::Remove, continuous);
            }
        }
    }

    #[test]
    fn quotas_hold_and_the_order_of_value_holds(
        days in days(), reasons in reasons(), seed in any::<u64>(), share in 0..120_u64,
    ) {
        let now = 3 * DAY;
        let all: Vec<Candidate> = segments(seed)
            .into_iter()
            .map(|segment| {
                let overlapping = reasons.iter().filter(|reason| !reason.span.intersection(segment.span).is_empty());
                Candidate { id: segment.id, bytes: segment.bytes, kind: kind_of(&segment, overlapping, &days, now) }
            })
            .collect();
        let total: u64 = all.iter().map(|candidate| candidate.bytes).sum();
        let needed = total * share / 100;
        let (removed, missing) = for_space(needed, || all.iter().copied());
        let is_removed = |candidate: &Candidate| removed.contains(&candidate.id);
        let freed: u64 = all.iter().filter(|candidate| is_removed(candidate)).map(|candidate| candidate.bytes).sum();
        prop_assert!(freed + missing >= needed);
        prop_assert!(all.iter().filter(|candidate| candidate.kind == Kind::Kept).all(|candidate| !is_removed(candidate)));
        if missing > 0 {
            prop_assert!(all.iter().all(|candidate| candidate.kind == Kind::Kept || is_removed(candidate)));
        }
        // Whatever stays is more valuable than what went, or of its kind and younger.
        let (stays, goes): (Vec<&Candidate>, Vec<&Candidate>) = all.iter().partition(|candidate| !is_removed(candidate));
        for gone in &goes {
            for kept in &stays {
                prop_assert!(kept.kind > gone.kind || kept.kind == gone.kind && kept.id > gone.id);
            }
        }
    }

    #[test]
    fn footage_never_ages_by_a_jump_of_the_clock(jump in -400 * DAY..400 * DAY, uptime in 0..3 * DAY) {
        let newest = 1000 * DAY;
        let now = trusted_now(newest + uptime + jump, newest, uptime);
        prop_assert!(now <= newest + uptime);
    }
}
