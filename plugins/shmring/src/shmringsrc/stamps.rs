//! Timestamps of the first moments. A frame's capture time may lie before this pipeline's start: the writer's pipeline
//! has latency, and a late reader of an encoded stream begins at a key frame of the past. All that would be at 0, and
//! equal timestamps make muxers and encoders fail.

/// Encoded frames from before the start are spread, in their order, over this much of the beginning.
const CATCH_UP_NS: i64 = 100_000_000;

/// What becomes of a raw frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// Pass it on at this running time.
    At(u64),
    /// From before the start, and frames after it may be, too: keep it until the next one or until this running time.
    Hold {
        /// Running time from which no older frame can come.
        until: i64,
    },
    /// From before the start, as one that was passed on already.
    Drop,
}

/// Running times of raw frames: of those from before the start only the newest is passed on, at 0.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Stamps {
    begun: bool,
}

impl Stamps {
    /// The stamp of a frame captured at running time `at`, at `now`, in a stream whose frames arrive `latency` after
    /// their capture.
    pub fn stamp(&mut self, at: i64, now: i64, latency: i64) -> Stamp {
        if at <= 0 && self.begun {
            return Stamp::Drop;
        }
        if at <= 0 && now < latency {
            return Stamp::Hold { until: latency };
        }
        self.begun = true;
        Stamp::At(at.max(0).cast_unsigned())
    }
}

/// Running times of encoded frames, none of which may be left out.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct CatchUp {
    /// Running time of the first frame; at most 0.
    first: Option<i64>,
}

impl CatchUp {
    /// Where a time is put: strictly increasing with `at`, from 0 for the first frame, unchanged after the catch-up.
    pub fn map(&mut self, at: i64) -> i64 {
        let first = *self.first.get_or_insert(at.min(0));
        if first >= 0 || at >= CATCH_UP_NS {
            return at;
        }
        let (age, window) = (i128::from(at) - i128::from(first), i128::from(CATCH_UP_NS));
        let whole = window - i128::from(first);
        i64::try_from(age * window / whole).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = 1_000_000;

    #[test]
    fn of_the_frames_before_the_start_only_the_newest_is_passed_on() {
        let mut stamps = Stamps::default();
        let latency = 60 * MS;
        assert_eq!(
            stamps.stamp(-50 * MS, 10 * MS, latency),
            Stamp::Hold { until: latency }
        );
        assert_eq!(
            stamps.stamp(-17 * MS, 43 * MS, latency),
            Stamp::Hold { until: latency }
        );
        // The next one is after the start: the one held goes first, at 0.
        assert_eq!(stamps.stamp(-17 * MS, latency, latency), Stamp::At(0));
        assert_eq!(
            stamps.stamp(16 * MS, 76 * MS, latency),
            Stamp::At(16_000_000)
        );
        assert_eq!(stamps.stamp(-1, 80 * MS, latency), Stamp::Drop);
    }

    #[test]
    fn a_frame_of_a_stream_without_latency_is_not_held() {
        let mut stamps = Stamps::default();
        assert_eq!(stamps.stamp(-500 * MS, 1, 0), Stamp::At(0));
        assert_eq!(stamps.stamp(-400 * MS, 2, 0), Stamp::Drop);
    }

    #[test]
    fn a_late_reader_catches_up_and_is_then_on_time() {
        let mut catch_up = CatchUp::default();
        assert_eq!(catch_up.map(-2000 * MS), 0);
        let next = catch_up.map(-1960 * MS);
        assert!(next > 0 && next < 5 * MS, "{next}");
        assert!(catch_up.map(-40 * MS) < 100 * MS);
        assert_eq!(catch_up.map(100 * MS), 100 * MS);
        assert_eq!(catch_up.map(5000 * MS), 5000 * MS);
        let mut on_time = CatchUp::default();
        assert_eq!(on_time.map(3 * MS), 3 * MS);
    }

    proptest! {
        #[test]
        fn times_increase_strictly(
            first in -100_000 * MS..1000 * MS,
            steps in proptest::collection::vec(10_000..500 * MS, 1..50),
        ) {
            let (mut catch_up, mut stamps) = (CatchUp::default(), Stamps::default());
            let (mut at, mut last, mut last_raw) = (first, None, None);
            for step in steps {
                let mapped = catch_up.map(at);
                prop_assert!(mapped >= 0 && last.is_none_or(|last| mapped > last));
                last = Some(mapped);
                if let Stamp::At(raw) = stamps.stamp(at, at.max(0), 0) {
                    prop_assert!(last_raw.is_none_or(|last| raw > last));
                    last_raw = Some(raw);
                }
                at += step;
            }
        }
    }
}
