//! Which frames pass, so that a camera's rate becomes the wanted one.

/// Lets frames through at no more than a given rate, by their timestamps.
///
/// Of the frames around each point of a fixed grid the nearest passes, a quarter of an interval early at most: a camera
/// that already has the wanted rate keeps all its frames although they come with jitter, and 30 frames become exactly 5.
#[derive(Debug, Clone)]
pub struct RateLimiter {
    interval: u64,
    due: Option<u64>,
    last: u64,
}

impl RateLimiter {
    /// A limiter for this many frames per second.
    pub fn new(fps: f64) -> Self {
        Self {
            interval: (1e9 / fps.max(1e-3)) as u64,
            due: None,
            last: 0,
        }
    }

    /// Whether the frame with this timestamp (nanoseconds) passes.
    pub fn passes(&mut self, pts: u64) -> bool {
        let gap = pts.saturating_sub(self.last);
        self.last = pts;
        // Timestamps that jump back, or far ahead, begin a new grid.
        let near = 2 * self.interval;
        let Some(due) = self
            .due
            .filter(|due| pts + near >= *due && pts <= due + near)
        else {
            self.due = Some(pts + self.interval);
            return true;
        };
        if pts + (self.interval / 4).min(gap / 2) < due {
            return false;
        }
        self.due = Some(due + self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn passed(fps: f64, frames: impl Iterator<Item = u64>) -> usize {
        let mut limiter = RateLimiter::new(fps);
        frames.filter(|pts| limiter.passes(*pts)).count()
    }

    #[test]
    fn thirty_frames_a_second_become_five() {
        assert_eq!(passed(5.0, (0..300).map(|i| i * SECOND / 30)), 50);
        assert_eq!(passed(5.0, (0..250).map(|i| i * SECOND / 25)), 50);
    }

    #[test]
    fn an_awkward_ratio_keeps_the_rate_on_average() {
        let kept = passed(5.0, (0..600).map(|i| i * SECOND / 6));
        assert!((499..=501).contains(&kept), "{kept}");
    }

    #[test]
    fn a_camera_at_the_wanted_rate_loses_nothing_to_jitter() {
        let jitter = [0i64, 40, -30, 20, -40, 10];
        let frames = (0..600u64).map(|i| {
            ((i * 200 + 100) as i64 + jitter[i as usize % jitter.len()]) as u64 * 1_000_000
        });
        assert_eq!(passed(5.0, frames), 600);
    }

    #[test]
    fn less_than_one_frame_a_second_works() {
        assert_eq!(passed(0.5, (0..100).map(|i| i * SECOND / 10)), 5);
    }

    #[test]
    fn a_clock_that_jumps_back_does_not_stop_the_frames() {
        let frames = (0..50)
            .map(|i| i * SECOND / 10 + 3600 * SECOND)
            .chain((0..50).map(|i| i * SECOND / 10));
        assert_eq!(passed(5.0, frames), 50);
    }
}
