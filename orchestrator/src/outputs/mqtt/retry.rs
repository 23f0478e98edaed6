//! When the next connection is tried.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// A connection that lasted this long was a good one.
const GOOD: Duration = Duration::from_secs(60);
/// Between two tries while the broker cannot be reached: soon, so that a restarted broker has all states within 2 s.
const SOON: Duration = Duration::from_secs(1);
/// The same after [`PATIENCE`] tries.
const LATER: Duration = Duration::from_secs(5);
const PATIENCE: u32 = 300;
/// First and longest wait after a refusal or a connection that did not last.
const REFUSED: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);

/// How a connection, or the attempt to make one, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The broker was not reached.
    Unreachable,
    /// The broker refused it.
    Refused,
    /// It was closed after this time.
    Closed(Duration),
}

/// Decides how long to wait.
#[derive(Debug, Default)]
pub(super) struct Retry {
    unreachable: u32,
    refused: u32,
    /// Connections in a row that did not last.
    short: u32,
}

impl Retry {
    /// The wait before the next attempt.
    pub(super) fn wait(&mut self, ended: Ended) -> Duration {
        let base = match ended {
            Ended::Unreachable => {
                self.unreachable = self.unreachable.saturating_add(1);
                match self.unreachable {
                    0..PATIENCE => return SOON,
                    _ => LATER,
                }
            }
            Ended::Refused => {
                self.refused = self.refused.saturating_add(1);
                doubled(REFUSED, self.refused)
            }
            Ended::Closed(after) => {
                self.unreachable = 0;
                self.refused = 0;
                if after >= GOOD {
                    self.short = 0;
                    return SOON;
                }
                self.short = self.short.saturating_add(1);
                doubled(SOON, self.short)
            }
        };
        // Two clients with one id must not stay in step.
        base.mul_f64(1.0 + jitter() / 2.0)
    }

    /// Whether another client with the same id is the likely reason why connections do not last.
    pub(super) fn is_contested(&self) -> bool {
        self.short >= 3
    }
}

fn doubled(first: Duration, attempt: u32) -> Duration {
    let factor = 1u32.checked_shl(attempt.saturating_sub(1).min(20));
    first
        .saturating_mul(factor.unwrap_or(u32::MAX))
        .min(LONGEST)
}

/// From 0 to 1.
fn jitter() -> f64 {
    (RandomState::new().build_hasher().finish() % 1000) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_is_down_is_tried_every_second_and_later_less() {
        let mut retry = Retry::default();
        for _ in 1..PATIENCE {
            assert_eq!(retry.wait(Ended::Unreachable), SOON);
        }
        assert!(retry.wait(Ended::Unreachable) >= LATER);
    }

    #[test]
    fn a_refused_password_is_not_repeated_in_a_tight_loop() {
        let mut retry = Retry::default();
        let waits: Vec<_> = (0..5).map(|_| retry.wait(Ended::Refused)).collect();
        assert!(waits[0] >= REFUSED && waits[4] >= LONGEST, "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= LONGEST * 3 / 2));
    }

    #[test]
    fn connections_that_do_not_last_are_made_less_often() {
        let mut retry = Retry::default();
        let short = Ended::Closed(Duration::from_secs(2));
        assert!(retry.wait(short) < Duration::from_secs(2));
        assert!(!retry.is_contested(), "a broker may restart");
        let waits: Vec<_> = (0..8).map(|_| retry.wait(short)).collect();
        assert!(retry.is_contested());
        assert!(waits[7] >= LONGEST, "{waits:?}");
        assert_eq!(retry.wait(Ended::Closed(GOOD)), SOON);
        assert!(!retry.is_contested());
    }
}
