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
    limit: f64,
}

impl Timeline {
    /// A clock for which more than `limit` seconds between two frames are a jump.
    pub fn new(limit: f64) -> Self {
        Self {
            last: None,
            now: 0.0,
            interval: 0.2,
            limit,
        }
    }

    /// Takes the next frame's timestamp.
    pub fn advance(&mut self, time: f64) -> Passed {
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
        if dt < 0.0 || dt > self.limit {
            self.now += self.interval;
            return Passed::Jump(self.interval);
        }
        if dt > 1e-4 && dt < 1.0 {
            self.interval += (dt - self.interval) * 0.2;
        }
        self.now += dt;
        Passed::Seconds(dt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let mut t = Timeline::new(2.0);
        assert_eq!(t.advance(100.0), Passed::First);
        assert_eq!(t.advance(100.5), Passed::Seconds(0.5));
        let before = t.now;
        assert!(matches!(t.advance(50.0), Passed::Jump(_)));
        assert!(matches!(t.advance(5000.0), Passed::Jump(_)));
        assert!(matches!(t.advance(f64::NAN), Passed::Seconds(_)));
        assert!(t.now > before && t.now < before + 2.0);
    }
}
