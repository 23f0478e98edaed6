//! Repair of bad timestamps, in one place for all consumers.
//!
//! MP4 and players need decoding times that rise strictly, presentation times that differ and are not before their
//! decoding times, and no jumps. Cameras send all kinds of other times. [`Timestamps`] passes good times through
//! unchanged, changes bad ones by as little as possible, and counts what it changed. Times are nanoseconds.

use std::collections::VecDeque;

/// Timestamps that go further ahead than the arrival, or further back, than this are a step of the source's clock.
const JUMP: u64 = 2_000_000_000;
/// A decoding time after an equal or earlier one is at least this much later.
const LEAST: u64 = 1_000;
/// The longest time between two pictures that a jump may leave.
const LONGEST_GAP: u64 = 10_000_000_000;
/// Presentation times that are compared: more than any codec reorders.
const REORDERED: usize = 32;

/// Timestamps that were changed, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Repairs {
    /// Steps of the source's clock.
    pub jumps: u64,
    /// Decoding times equal to the one before.
    pub still: u64,
    /// Decoding times before the one before.
    pub backwards: u64,
    /// Presentation times that an earlier picture had already.
    pub repeated: u64,
    /// Pictures without any time.
    pub missing: u64,
}

impl Repairs {
    /// All of them.
    pub const fn total(&self) -> u64 {
        self.jumps + self.still + self.backwards + self.repeated + self.missing
    }
}

/// The times of one access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub pts: u64,
    pub dts: u64,
    /// The source's clock has stepped: this begins a new stream version.
    pub step: bool,
}

/// The last access unit.
#[derive(Debug, Clone, Copy)]
struct Last {
    /// As it came.
    input: u64,
    /// As it was passed on.
    output: u64,
    arrival: u64,
}

/// State of the repair of one stream.
#[derive(Debug, Default)]
pub(crate) struct Timestamps {
    last: Option<Last>,
    /// From input to output times, since the last jump.
    offset: i128,
    /// Usual time between two pictures.
    interval: u64,
    presented: VecDeque<u64>,
    repairs: Repairs,
}

impl Timestamps {
    pub fn repairs(&self) -> Repairs {
        self.repairs
    }

    /// The times of the next access unit, which came at `arrival`.
    pub fn next(&mut self, arrival: u64, pts: Option<u64>, dts: Option<u64>) -> Times {
        let before = self.repairs.total();
        let input = match dts.or(pts) {
            Some(time) => time,
            None => {
                self.repairs.missing += 1;
                self.last.map_or(arrival, |last| {
                    last.input.saturating_add(self.gap(&last, arrival))
                })
            }
        };
        let Some(last) = self.last else {
            let pts = pts.unwrap_or(input).max(input);
            self.presented.push_back(pts);
            self.last = Some(Last {
                input,
                output: input,
                arrival,
            });
            return Times {
                pts,
                dts: input,
                step: false,
            };
        };
        let passed = arrival.saturating_sub(last.arrival);
        let ahead = input.saturating_sub(last.input);
        let limit = JUMP.max(self.interval.saturating_mul(4));
        let step = ahead > passed.saturating_add(limit) || last.input.saturating_sub(input) > JUMP;
        if step {
            self.repairs.jumps += 1;
            let gap = passed.clamp(self.interval.max(LEAST), LONGEST_GAP);
            let output = last.output.saturating_add(gap);
            self.offset = i128::from(output) - i128::from(input);
        }
        let mut output = self.shifted(input);
        if output <= last.output {
            match input < last.input {
                true => self.repairs.backwards += 1,
                // Equal, or later but not yet beyond what was passed on in place of earlier ones.
                false => self.repairs.still += 1,
            }
            output = last.output.saturating_add(self.gap(&last, arrival));
        } else if before == self.repairs.total() {
            // A mean over some pictures, so that one late picture does not count much.
            let gap = output - last.output;
            self.interval = match self.interval {
                0 => gap,
                usual => usual - usual / 8 + gap / 8,
            };
        }
        let mut shown = self.shifted(pts.unwrap_or(input)).max(output);
        if self.presented.contains(&shown) {
            // Where the decoding time was repaired, that was counted already.
            if before == self.repairs.total() {
                self.repairs.repeated += 1;
            }
            while self.presented.contains(&shown) {
                shown += LEAST;
            }
        }
        if self.presented.len() == REORDERED {
            self.presented.pop_front();
        }
        self.presented.push_back(shown);
        self.last = Some(Last {
            input,
            output,
            arrival,
        });
        Times {
            pts: shown,
            dts: output,
            step,
        }
    }

    /// Time to the next picture where its timestamp does not say: what passed, but not more than usual.
    fn gap(&self, last: &Last, arrival: u64) -> u64 {
        let passed = arrival.saturating_sub(last.arrival);
        let most = match self.interval {
            0 => LONGEST_GAP,
            usual => usual,
        };
        passed.min(most).max(LEAST)
    }

    fn shifted(&self, time: u64) -> u64 {
        u64::try_from(i128::from(time) + self.offset).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Times of pictures 40 ms apart with the given decoding times in ms; arrival is regular.
    fn decoded(times: &[u64]) -> (Vec<u64>, Repairs) {
        let mut state = Timestamps::default();
        let out = times.iter().enumerate().map(|(at, dts)| {
            let arrival = 1_000 * MS + at as u64 * 40 * MS;
            state.next(arrival, Some(dts * MS), Some(dts * MS)).dts / MS
        });
        let out = out.collect();
        (out, state.repairs())
    }

    #[test]
    fn each_kind_of_bad_time_is_repaired_and_counted() {
        let (times, repairs) = decoded(&[0, 40, 80, 80, 160, 200]);
        assert_eq!(times, [0, 40, 80, 120, 160, 200]);
        assert_eq!((repairs.still, repairs.total()), (1, 1));
        let (times, repairs) = decoded(&[0, 40, 80, 70, 160]);
        assert_eq!(times, [0, 40, 80, 120, 160]);
        assert_eq!((repairs.backwards, repairs.total()), (1, 1));
        let (times, repairs) = decoded(&[0, 40, 80, 900_000, 900_040]);
        assert_eq!(times, [0, 40, 80, 120, 160]);
        assert_eq!((repairs.jumps, repairs.total()), (1, 1));
        let (times, repairs) = decoded(&[900_000, 900_040, 0, 40]);
        assert_eq!(times, [900_000, 900_040, 900_080, 900_120]);
        assert_eq!((repairs.jumps, repairs.total()), (1, 1));
    }

    #[test]
    fn times_that_stand_still_advance_with_the_arrival() {
        let (times, repairs) = decoded(&[500; 6]);
        assert_eq!(times, [500, 540, 580, 620, 660, 700]);
        assert_eq!(repairs.still, 5);
    }

    #[test]
    fn a_gap_of_the_network_is_no_jump() {
        let mut state = Timestamps::default();
        for (arrival, dts) in [(0, 0), (40, 40), (15_040, 15_040), (15_041, 15_080)] {
            let times = state.next(arrival * MS, Some(dts * MS), Some(dts * MS));
            assert_eq!((times.dts, times.step), (dts * MS, false));
        }
        // A backlog comes at once, with the times at which it was taken.
        for at in 0..100 {
            let dts = 15_120 + at * 40;
            let times = state.next(30_000 * MS, Some(dts * MS), Some(dts * MS));
            assert_eq!((times.dts, times.step), (dts * MS, false));
        }
        assert_eq!(state.repairs(), Repairs::default());
    }

    #[test]
    fn two_pictures_with_one_presentation_time_differ_afterwards() {
        let mut state = Timestamps::default();
        let mut shown = Vec::new();
        for (dts, pts) in [(0, 80), (40, 200), (80, 120), (120, 120), (160, 160)] {
            shown.push(state.next(dts * MS, Some(pts * MS), Some(dts * MS)).pts);
        }
        assert_eq!(shown[2], 120 * MS);
        assert_eq!(shown[3], 120 * MS + LEAST);
        assert_eq!((state.repairs().repeated, state.repairs().total()), (1, 1));
    }

    proptest! {
        #[test]
        fn any_times_come_out_in_order(
            input in proptest::collection::vec(
                (0u64..3_000_000_000, proptest::option::of(any::<u64>()), proptest::option::of(0u64..u64::MAX / 2)),
                1..200,
            ),
        ) {
            let mut state = Timestamps::default();
            let mut arrival = 0;
            let mut last: Option<Times> = None;
            for (passed, pts, dts) in input {
                arrival += passed;
                // Times near the end of what a clock can hold end there.
                let pts = pts.map(|pts| pts / 2);
                let times = state.next(arrival, pts, dts);
                prop_assert!(times.pts >= times.dts);
                if let Some(last) = last {
                    prop_assert!(times.dts > last.dts, "{times:?} after {last:?}");
                    prop_assert!(times.pts != last.pts);
                }
                last = Some(times);
            }
        }

        #[test]
        fn good_times_are_left_alone(
            gaps in proptest::collection::vec((1u64..1_000, 0u64..50), 1..200),
            start in 0u64..1_000_000,
        ) {
            let mut state = Timestamps::default();
            let (mut dts, mut arrival) = (start * MS, 0);
            for (gap, jitter) in gaps {
                dts += gap * MS;
                arrival += gap * MS;
                // Distinct for each picture, and never before its decoding time.
                let pts = dts + jitter / 10 * 2_000 * MS;
                let times = state.next(arrival + jitter * MS, Some(pts), Some(dts));
                let unique = state.repairs().repeated == 0;
                prop_assert_eq!(times.dts, dts);
                prop_assert!(!unique || times.pts == pts);
                prop_assert!(!times.step);
            }
            let repairs = state.repairs();
            prop_assert_eq!(repairs.total(), repairs.repeated);
        }
    }
}
