//! How long to wait before a camera or worker is tried again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Exponential waiting times with jitter: nothing before the first attempt, then 1, 2, 4 ... 60 s.
///
/// Jitter keeps sixteen cameras behind one rebooting switch from coming back in the same instant.
#[derive(Debug, Clone)]
pub struct Backoff {
    attempt: u32,
    first: Duration,
    ceiling: Duration,
    /// Whether the first attempt goes without waiting.
    eager: bool,
    random: Jitter,
}

impl Backoff {
    /// For faults that usually pass: the first restart at once, then from 1 s to 60 s.
    pub fn transient() -> Self {
        Self::new(Duration::from_secs(1), Duration::from_secs(60), true)
    }

    /// For refused credentials: from 5 to 30 minutes, because cameras lock an account after a few failures.
    pub fn credentials() -> Self {
        Self::new(Duration::from_secs(300), Duration::from_secs(1800), false)
    }

    fn new(first: Duration, ceiling: Duration, eager: bool) -> Self {
        Self {
            attempt: 0,
            first,
            ceiling,
            eager,
            random: Jitter::seeded(),
        }
    }

    /// The wait before the next attempt.
    pub fn next_wait(&mut self) -> Duration {
        let attempt = self.attempt;
        self.attempt = attempt.saturating_add(1);
        let exponent = match (self.eager, attempt) {
            (true, 0) => return Duration::ZERO,
            (true, n) => n - 1,
            (false, n) => n,
        };
        let base = self
            .first
            .saturating_mul(1u32.checked_shl(exponent.min(20)).unwrap_or(u32::MAX))
            .min(self.ceiling);
        // A quarter more or less, and never outside what is promised.
        base.mul_f64(0.75 + 0.5 * self.random.unit())
            .clamp(self.first, self.ceiling)
    }

    /// Forget the past: it ran for long enough to count as well.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }
}

/// A small random sequence; quality does not matter, difference between cameras does.
#[derive(Debug, Clone)]
struct Jitter(u64);

impl Jitter {
    fn seeded() -> Self {
        Self(RandomState::new().hash_one(0u8) | 1)
    }

    /// The next number in 0..1 (xorshift64).
    fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_at_once_and_waits_grow_to_a_minute() {
        let mut backoff = Backoff::transient();
        assert_eq!(backoff.next_wait(), Duration::ZERO);
        for base in [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0] {
            let wait = backoff.next_wait().as_secs_f64();
            assert!((1.0..=60.0).contains(&wait), "{wait}");
            assert!(
                (wait - base).abs() <= base * 0.251,
                "{wait} is not around {base}"
            );
        }
        for _ in 0..100 {
            assert!(backoff.next_wait() <= Duration::from_secs(60));
        }
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::transient();
        backoff.next_wait();
        backoff.next_wait();
        backoff.reset();
        assert_eq!(backoff.next_wait(), Duration::ZERO);
    }

    #[test]
    fn refused_credentials_always_wait_minutes() {
        let mut backoff = Backoff::credentials();
        assert!(backoff.next_wait() >= Duration::from_secs(300));
        for _ in 0..10 {
            assert!(backoff.next_wait() <= Duration::from_secs(1800));
        }
    }

    #[test]
    fn two_cameras_do_not_wait_the_same_time() {
        let (mut one, mut other) = (Backoff::transient(), Backoff::transient());
        let waits = |b: &mut Backoff| (0..8).map(|_| b.next_wait()).collect::<Vec<_>>();
        assert_ne!(waits(&mut one), waits(&mut other));
    }
}
