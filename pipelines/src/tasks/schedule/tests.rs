use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

#[test]
fn days_of_frames_give_every_shot_at_its_time_without_drift() {
    // 29.97 frames a second against shots every 10 s, for three days.
    let (frame, interval) = (33_366_667u64, 10 * S);
    let mut schedule = Schedule::new(i128::from(5 * S), 10.0, None, None);
    let shots = 3 * 86_400 / 10;
    for number in 0..shots {
        let due = 5 * S + number * interval;
        let first = due.div_ceil(frame) * frame;
        assert_eq!(
            schedule.frame(first - frame),
            None,
            "{number} before its time"
        );
        let shot = schedule.frame(first).unwrap();
        assert_eq!((shot.number, shot.late), (number, first - due));
        assert!(shot.late < frame && shot.missed.is_empty());
        assert_eq!(schedule.frame(first + frame), None, "{number} only once");
    }
    assert_eq!((schedule.taken(), schedule.missed()), (shots, 0));
}

#[test]
fn a_series_ends_by_count_or_before_its_end() {
    let mut counted = Schedule::new(0, 1.0, Some(2), None);
    assert!(counted.frame(0).is_some());
    assert_eq!(counted.next_due(), Some(i128::from(S)));
    assert!(counted.frame(5 * S).is_some());
    assert_eq!((counted.next_due(), counted.frame(6 * S)), (None, None));
    assert_eq!(counted.missed(), 4, "missed shots do not count");

    for (lasts, shots) in [(0.0, 0), (0.5, 1), (1.0, 1), (1.1, 2), (3.0, 3)] {
        let mut until = Schedule::new(0, 1.0, None, Some(lasts));
        let taken = (0..100)
            .filter(|i| until.frame(i * S / 10).is_some())
            .count();
        assert_eq!(taken, shots, "{lasts}");
        assert_eq!(until.next_due(), None);
    }
}

#[test]
fn pause_keeps_the_grid_and_what_it_leaves_out_is_not_missed() {
    let mut schedule = Schedule::new(0, 1.0, None, None);
    schedule.frame(0).unwrap();
    schedule.pause();
    assert_eq!(schedule.frame(3 * S), None);
    schedule.go_on(3 * S + S / 2);
    assert_eq!(schedule.frame(3 * S + S / 2), None);
    let shot = schedule.frame(4 * S + 7).unwrap();
    assert_eq!(
        (shot.number, shot.late, shot.missed.is_empty()),
        (4, 7, true)
    );
    assert_eq!(schedule.missed(), 0);
}

#[test]
fn a_grid_follows_the_wall_clock_only_before_its_first_shot() {
    let mut schedule = Schedule::new(i128::from(100 * S), 1.0, None, None);
    schedule.place(i128::from(2 * S));
    assert_eq!(schedule.frame(2 * S).unwrap().number, 0);
    schedule.place(i128::from(50 * S));
    assert_eq!(schedule.frame(3 * S).unwrap().number, 1);
}

#[test]
fn a_wall_clock_that_went_back_between_two_runs_does_not_stop_the_series() {
    // The last run took 100 shots; by the wall clock of this one the series begins only in an hour.
    let schedule = Schedule::new(i128::from(3600 * S), 1.0, None, None).resume(100, 100, 0, 5 * S);
    assert_eq!(schedule.next_due(), Some(i128::from(5 * S)));
    // Where the clock is right the grid stays.
    let schedule = Schedule::new(-99 * i128::from(S) - 400, 1.0, None, None).resume(100, 100, 0, 0);
    assert_eq!(schedule.next_due(), Some(i128::from(S) - 400));
}

/// What may happen to a series.
#[derive(Debug, Clone)]
enum Happening {
    /// Frames for so long, one each `every`, with jitter.
    Frames {
        lasting: u64,
        every: u64,
        jitter: u64,
    },
    /// Nothing comes for so long.
    Absence {
        lasting: u64,
    },
    Pause {
        lasting: u64,
    },
    /// The process ends and comes back, with the wall clock set by so much in between.
    Restart {
        lasting: u64,
        clock_set: i64,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    let lasting = 0..120_000u64;
    prop_oneof![
        4 => (lasting.clone(), 10..200u64, 0..9u64).prop_map(|(lasting, every, jitter)| {
            Happening::Frames { lasting: lasting * MS, every: every * MS, jitter: jitter * MS }
        }),
        1 => lasting.clone().prop_map(|lasting| Happening::Absence { lasting: lasting * MS }),
        1 => lasting.clone().prop_map(|lasting| Happening::Pause { lasting: lasting * MS }),
        1 => (lasting, -7_200_000..7_200_000i64).prop_map(|(lasting, set)| Happening::Restart {
            lasting: lasting * MS,
            clock_set: set * MS as i64,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_shot_is_taken_twice_and_each_is_in_its_time(
        interval in 200..20_000u64,
        happenings in proptest::collection::vec(happening(), 1..12),
    ) {
        let seconds = interval as f64 / 1e3;
        let interval = interval * MS;
        let mut schedule = Schedule::new(0, seconds, None, None);
        let mut now = 0u64;
        let mut last = None;
        let mut left_out = 0;
        for what in happenings {
            match what {
                Happening::Frames { lasting, every, jitter } => {
                    let end = now + lasting;
                    let mut i = 0;
                    while now < end {
                        now += every + jitter * (i % 3) / 2 - jitter / 2;
                        i += 1;
                        let due = schedule.next_due().unwrap();
                        let expected = i128::from(now) >= due;
                        let shot = schedule.frame(now);
                        prop_assert_eq!(shot.is_some(), expected);
                        if let Some(shot) = shot {
                            prop_assert!(last.is_none_or(|last| shot.number > last));
                            prop_assert!(shot.late < interval, "in its own time");
                            prop_assert_eq!(i128::from(now) - i128::from(shot.late), schedule.due(shot.number));
                            if every + jitter <= interval && shot.missed.is_empty() {
                                prop_assert!(shot.late <= every + jitter || i <= 1 , "the first frame");
                            }
                            last = Some(shot.number);
                        }
                    }
                }
                Happening::Absence { lasting } => {
                    now += lasting;
                    let before = schedule.missed();
                    let gone = schedule.pass_by(now);
                    prop_assert_eq!(schedule.missed() - before, gone.end - gone.start, "all are counted");
                    prop_assert!(schedule.next_due().unwrap() > i128::from(now) - i128::from(interval));
                }
                Happening::Pause { lasting } => {
                    schedule.pause();
                    let (next, missed) = (schedule.next(), schedule.missed());
                    prop_assert_eq!(schedule.frame(now), None);
                    now += lasting;
                    schedule.go_on(now);
                    prop_assert_eq!(schedule.missed(), missed);
                    prop_assert!(schedule.next_due().unwrap() >= i128::from(now));
                    left_out += schedule.next() - next;
                }
                Happening::Restart { lasting, clock_set } => {
                    now += lasting;
                    let origin = schedule.origin() + i128::from(clock_set);
                    let (next, taken, missed) = (schedule.next(), schedule.taken(), schedule.missed());
                    schedule = Schedule::new(origin, seconds, None, None).resume(next, taken, missed, now);
                    let waits = schedule.next_due().unwrap() - i128::from(now);
                    prop_assert!(next == 0 || waits <= i128::from(interval), "it goes on soon");
                }
            }
            prop_assert_eq!(schedule.next(), schedule.taken() + schedule.missed() + left_out, "every number is accounted for");
        }
    }
}
