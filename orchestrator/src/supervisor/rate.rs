//! Frames per second from a counter that is looked at now and then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The mean rate of a growing counter over the last seconds.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// The time it looks back.
    const WINDOW: Duration = Duration::from_secs(5);

    /// The counter's value at this time. A counter that went back started anew.
    pub fn sample(&mut self, count: u64, now: Instant) {
        if self.samples.back().is_some_and(|(_, last)| count < *last) {
            self.samples.clear();
        }
        self.samples.push_back((now, count));
        // One sample older than the window stays, so that the rate is over the whole window.
        while self
            .samples
            .get(1)
            .is_some_and(|(at, _)| now.duration_since(*at) >= Self::WINDOW)
        {
            self.samples.pop_front();
        }
    }

    /// Counts per second.
    pub fn per_second(&self) -> f64 {
        match (self.samples.front(), self.samples.back()) {
            (Some((from, first)), Some((to, last))) if to > from => {
                (last - first) as f64 / (*to - *from).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    /// Forget everything.
    pub fn clear(&mut self) {
        self.samples.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_last_seconds_only() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(), 0.0);
        for tick in 0..=80u64 {
            // 5 per second for ten seconds, then nothing.
            let count = tick.min(40) * 5 / 4;
            rate.sample(count, start + Duration::from_millis(tick * 250));
            if tick == 40 {
                assert!((rate.per_second() - 5.0).abs() < 0.1);
            }
        }
        assert_eq!(rate.per_second(), 0.0);
        assert!(rate.samples.len() < 30);
    }

    #[test]
    fn a_restarted_counter_is_no_negative_rate() {
        let start = Instant::now();
        let mut rate = Rate::default();
        rate.sample(1000, start);
        rate.sample(10, start + Duration::from_secs(1));
        rate.sample(15, start + Duration::from_secs(2));
        assert_eq!(rate.per_second(), 5.0);
    }
}
