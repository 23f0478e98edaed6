//! From a pipeline's running time to `CLOCK_MONOTONIC` and back. That clock is the same in every process of a machine, so a
//! timestamp that crosses in it keeps its distance to the clock, whatever base time and clock the other pipeline has.

use gst::prelude::*;

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ns() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

/// What to add to a monotonic time to get Unix time, in ns.
pub fn unix_offset() -> i64 {
    let unix = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let unix = unix
        .tv_sec
        .saturating_mul(1_000_000_000)
        .saturating_add(unix.tv_nsec);
    unix.saturating_sub_unsigned(monotonic_ns())
}

/// How to get from an element's running time to the monotonic clock. Made anew whenever the element goes to PLAYING.
#[derive(Debug, Clone)]
pub enum Mapping {
    /// The pipeline's clock is the monotonic clock: monotonic = running time + this base time.
    Same(i64),
    /// Another clock, which drifts: compared anew each time.
    Other(gst::Clock, i64),
    /// No clock, or none yet.
    None,
}

impl Mapping {
    /// For an element in PLAYING.
    pub fn of(element: &impl IsA<gst::Element>) -> Self {
        let (Some(clock), Some(base)) = (element.clock(), element.base_time()) else {
            return Self::None;
        };
        let base = base.nseconds() as i64;
        let is_monotonic = clock
            .downcast_ref::<gst::SystemClock>()
            // A clock that follows another one (a network clock) is one of these too.
            .is_some_and(|c| {
                c.property::<gst::ClockType>("clock-type") == gst::ClockType::Monotonic
                    && c.master().is_none()
            })
            && clock.type_() == gst::SystemClock::obtain().type_();
        if is_monotonic {
            Self::Same(base)
        } else {
            Self::Other(clock, base)
        }
    }

    /// What to add to a running time to get monotonic time; `None` without a clock.
    pub fn offset(&self) -> Option<i64> {
        match self {
            Self::Same(base) => Some(*base),
            Self::Other(clock, base) => {
                let now = clock.time().nseconds() as i64;
                Some(
                    (monotonic_ns() as i64)
                        .wrapping_sub(now)
                        .wrapping_add(*base),
                )
            }
            Self::None => None,
        }
    }
}
