//! When the shots of a series are due: a fixed grid on the monotonic clock.
//!
//! The wall clock is looked at only to place the grid. From its first shot on a series runs on the monotonic clock, so
//! a wall clock that is set, or changes to summer time, neither repeats nor loses a shot, and since every due time is
//! computed from the first one nothing adds up. Until the first shot the grid follows the wall clock, since a computer
//! without a clock of its own learns the time only after it was started.

use std::ops::Range;

/// Nanoseconds.
const SECOND: f64 = 1e9;
/// Seconds by which a time given in seconds since 1970 may be off.
const UNSURE: f64 = 1e-3;

/// A frame that is taken as a shot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shot {
    /// Its number: it was due at the first one's time + number x interval.
    pub number: u64,
    /// Nanoseconds from its due time to the frame's.
    pub late: u64,
    /// Numbers for which no frame came in time.
    pub missed: Range<u64>,
}

/// The grid of a series, and what of it was done. Times are nanoseconds on one monotonic clock.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// When number 0 is (or was) due. Before 0 on the clock for a series that is continued.
    origin: i128,
    interval: u64,
    /// The first number that is not to be taken any more.
    end: Option<u64>,
    /// Shots to take.
    count: Option<u64>,
    next: u64,
    taken: u64,
    missed: u64,
    paused: bool,
}

impl Schedule {
    /// A series whose number 0 is due at `origin`. `lasts` is the time from then to its end.
    pub fn new(origin: i128, interval: f64, count: Option<u64>, lasts: Option<f64>) -> Self {
        let interval = ((interval * SECOND).round() as u64).max(1);
        // A shot that would be due at the end is not part of it, nor one that only is due before it since seconds since
        // 1970 are not exact to the microsecond.
        let end = lasts.map(|seconds| {
            let lasts = ((seconds - UNSURE).max(0.0) * SECOND).round() as u128;
            u64::try_from(lasts.div_ceil(u128::from(interval))).unwrap_or(u64::MAX)
        });
        Self {
            origin,
            interval,
            end,
            count,
            next: 0,
            taken: 0,
            missed: 0,
            paused: false,
        }
    }

    /// Goes on where another run stopped: `next` is the number that follows, `taken` and `missed` how many there are.
    ///
    /// Shots that were due in between are missed. Where the wall clock, by which the grid was found again, went back in
    /// between, the grid is moved so that the next shot is due now instead of a long time from now.
    pub fn resume(mut self, next: u64, taken: u64, missed: u64, now: u64) -> Self {
        self.next = next;
        self.taken = taken;
        self.missed = missed;
        let waits = self.due(next) - i128::from(now);
        if next > 0 && waits > i128::from(self.interval) {
            self.origin -= waits;
        }
        self
    }

    /// Places the grid anew. Only before the first shot.
    pub fn place(&mut self, origin: i128) {
        if self.next == 0 {
            self.origin = origin;
        }
    }

    /// When a number is due.
    pub fn due(&self, number: u64) -> i128 {
        self.origin + i128::from(number) * i128::from(self.interval)
    }

    /// When the next shot is due; none when there is none any more.
    pub fn next_due(&self) -> Option<i128> {
        (!self.is_over()).then(|| self.due(self.next))
    }

    /// The number that follows.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Shots that were taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Shots for which no frame came in time.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// When number 0 was due.
    pub fn origin(&self) -> i128 {
        self.origin
    }

    fn is_over(&self) -> bool {
        self.count.is_some_and(|count| self.taken >= count)
            || self.end.is_some_and(|end| self.next >= end)
    }

    /// A frame that was taken at `time`: whether it is a shot.
    pub fn frame(&mut self, time: u64) -> Option<Shot> {
        if self.paused {
            return None;
        }
        let number = self.pass(time)?;
        if self.end.is_some_and(|end| number >= end) {
            return None;
        }
        let missed = self.next..number;
        self.missed += number - self.next;
        self.next = number + 1;
        self.taken += 1;
        Some(Shot {
            number,
            late: (i128::from(time) - self.due(number)) as u64,
            missed,
        })
    }

    /// The newest number that is due at `time`, if it is still to be taken.
    fn pass(&self, time: u64) -> Option<u64> {
        let due = self.next_due()?;
        let over = i128::from(time) - due;
        (over >= 0).then(|| self.next + (over / i128::from(self.interval)) as u64)
    }

    /// The shot that was taken last could not be kept.
    pub fn lost(&mut self) {
        self.taken = self.taken.saturating_sub(1);
        self.missed += 1;
    }

    /// Time has passed without a frame. Shots whose following one is due are missed, and named. Called when there is no
    /// frame to come for them any more: the camera is away.
    pub fn pass_by(&mut self, time: u64) -> Range<u64> {
        let Some(number) = self.pass(time) else {
            return self.next..self.next;
        };
        let number = number.min(self.end.unwrap_or(u64::MAX));
        let gone = self.next..number;
        if !self.paused {
            self.missed += number - self.next;
        }
        self.next = number;
        gone
    }

    /// From now on no shots. The grid stays.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Goes on with the next point of the grid; what was due while it was paused is left out, and not counted as missed.
    pub fn go_on(&mut self, now: u64) {
        if self.paused {
            if let Some(number) = self.pass(now) {
                let on_time = self.due(number) == i128::from(now);
                self.next = number + u64::from(!on_time);
            }
            self.paused = false;
        }
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.paused
    }
}

#[cfg(test)]
mod tests;
