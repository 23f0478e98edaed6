//! The tracker's own clock: it never goes back, whatever the timestamps do.

/// What the time between two frames was.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Passed {
    /// The very first frame.
    First,
    /// This many seconds of ordinary video.
    Seconds(f64),
    /// The clock went back, or ahead by more than the limit: nothing is known about the time between, which is taken as one ordinary
    /// frame interval.
    Jump(f64),
}

/// Turns timestamps into seconds that never go back.
#[derive(Debug)]
pub struct Timeline {
    last: Option<f64>,
    /// Seconds since the first frame, without jumps.
    pub now: f64,
    /// Usual time between two frames.
    pub interval: f64,
}

impl Timeline {
    /// A clock that has not started.
    pub fn new() -> Self {
        Self {
            last: None,
            now: 0.0,
            interval: 0.2,
        }
    }

    /// Takes the next frame's timestamp. More than `limit` seconds (and more than five usual intervals) ahead are a jump.
    pub fn advance(&mut self, time: f64, limit: f64) -> Passed {
        let Some(last) = self.last else {
            if time.is_finite() {
                self.last = Some(time);
            }
            return Passed::First;
        };
        if !time.is_finite() {
            self.now += self.interval;
            return Passed::Seconds(self.interval);
        }
        self.last = Some(time);
        let dt = time - last;
        if dt < 0.0 || dt > limit.max(5.0 * self.interval) {
            if dt > 0.0 {
                self.learn(dt);
            }
            self.now += self.interval;
            return Passed::Jump(self.interval);
        }
        if dt > 1e-4 {
            self.learn(dt);
        }
        self.now += dt;
        Passed::Seconds(dt)
    }

    /// A single long gap changes little, a camera that really sends a frame every ten seconds is understood after a while.
    fn learn(&mut self, dt: f64) {
        self.interval += (dt.min(2.0 * self.interval) - self.interval) * 0.2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let mut t = Timeline::new();
        assert_eq!(t.advance(100.0, 2.0), Passed::First);
        assert_eq!(t.advance(100.5, 2.0), Passed::Seconds(0.5));
        let before = t.now;
        assert!(matches!(t.advance(50.0, 2.0), Passed::Jump(_)));
        assert!(matches!(t.advance(5000.0, 2.0), Passed::Jump(_)));
        assert!(matches!(t.advance(f64::NAN, 2.0), Passed::Seconds(_)));
        assert!(t.now > before && t.now < before + 2.0);
    }

    #[test]
    fn a_frame_every_ten_seconds_is_ordinary_after_a_while() {
        let mut t = Timeline::new();
        let last = (0..60).map(|i| t.advance(f64::from(i) * 10.0, 4.0)).last();
        assert_eq!(last, Some(Passed::Seconds(10.0)));
    }
}
