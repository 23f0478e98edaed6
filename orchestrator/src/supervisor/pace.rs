//! How often a source sends a frame, and from when on it is quiet.

use std::time::Duration;

/// Longest time without a frame of a source that sends at least one per second.
const QUIET: Duration = Duration::from_secs(3);
/// A slower source may be without a frame for this many of its own intervals.
const INTERVALS: u32 = 3;
/// Intervals remembered. Their median counts, so that one gap does not make a fast source a slow one.
const REMEMBERED: usize = 5;

/// The newest intervals between frames.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// The newest at the end.
    intervals: Vec<Duration>,
}

impl Pace {
    /// So many frames came in this time.
    pub fn frames(&mut self, frames: u64, time: Duration) {
        if self.intervals.len() == REMEMBERED {
            self.intervals.remove(0);
        }
        let frames = u32::try_from(frames).unwrap_or(u32::MAX).max(1);
        self.intervals.push(time / frames);
    }

    /// The time without a frame from which on the source is quiet. `least` is the interval that the configuration asks
    /// for.
    pub fn quiet_after(&self, least: Duration) -> Duration {
        let mut sorted = self.intervals.clone();
        sorted.sort_unstable();
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        QUIET.max(median.max(least).saturating_mul(INTERVALS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_slow_source_may_be_quiet_for_three_of_its_intervals() {
        let mut pace = Pace::default();
        assert_eq!(pace.quiet_after(Duration::ZERO), s(3));
        assert_eq!(pace.quiet_after(s(5)), s(15));
        for _ in 0..3 {
            pace.frames(5, s(1));
        }
        assert_eq!(pace.quiet_after(Duration::ZERO), s(3));
        // One gap is no slow source; several are.
        pace.frames(1, s(15));
        assert_eq!(pace.quiet_after(Duration::ZERO), s(3));
        for _ in 0..3 {
            pace.frames(1, s(10));
        }
        assert_eq!(pace.quiet_after(Duration::ZERO), s(30));
        for _ in 0..3 {
            pace.frames(2, s(1));
        }
        assert_eq!(pace.quiet_after(Duration::ZERO), s(3));
    }
}
