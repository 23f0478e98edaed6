//! Failed sign-ins of each address: after some of them the next ones wait.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Failures that cost no waiting: a mistyped password.
const FREE: f64 = 5.0;
/// One failure is forgotten in this time.
const FORGOTTEN: f64 = 60.0;
/// The longest wait.
const LONGEST: f64 = 30.0;
/// Addresses that are remembered.
const ADDRESSES: usize = 1024;
/// From one line in the log about an address to the next, once it has no more free failures.
const LOG_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Record {
    /// Failures that are not forgotten yet, as of `at`.
    level: f64,
    at: Instant,
    logged: Instant,
    unlogged: u64,
}

impl Record {
    fn level(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.level - passed / FORGOTTEN).max(0.0)
    }
}

/// The failures of all addresses.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    records: HashMap<IpAddr, Record>,
}

impl Throttle {
    /// How long an address still has to wait before its next password is verified.
    pub(crate) fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let record = self.records.get(&address)?;
        let passed = now.saturating_duration_since(record.at);
        penalty(record.level)
            .checked_sub(passed)
            .filter(|left| !left.is_zero())
    }

    /// Counts a failure. Answers with the number of failures a line in the log now stands for, if it is time for one.
    pub(crate) fn failed(&mut self, address: IpAddr, now: Instant) -> Option<u64> {
        if self.records.len() >= ADDRESSES && !self.records.contains_key(&address) {
            // The one that has the least to wait for.
            let least = self
                .records
                .iter()
                .min_by(|(_, a), (_, b)| a.level(now).total_cmp(&b.level(now)))
                .map(|(address, _)| *address);
            least.map(|address| self.records.remove(&address));
        }
        let record = self.records.entry(address).or_insert(Record {
            level: 0.0,
            at: now,
            logged: now,
            unlogged: 0,
        });
        record.level = (record.level(now) + 1.0).min(FREE + LONGEST);
        record.at = now;
        record.unlogged += 1;
        let is_time = now.saturating_duration_since(record.logged) >= LOG_EVERY;
        (record.level <= FREE || is_time).then(|| {
            record.logged = now;
            std::mem::take(&mut record.unlogged)
        })
    }
}

/// The wait after a failure: 1 s after the sixth, then twice as long each time.
fn penalty(level: f64) -> Duration {
    // Some moments between two failures do not make the sixth the fifth.
    let over = (level - FREE + 0.5).floor();
    if over < 1.0 {
        return Duration::ZERO;
    }
    Duration::from_secs_f64((over - 1.0).exp2().min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_fails_waits_longer_each_time_and_others_do_not() {
        let (mut throttle, mut now) = (Throttle::default(), Instant::now());
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|a| a.parse().unwrap());
        let mut waits = Vec::new();
        for _ in 0..12 {
            throttle.failed(one, now);
            let wait = throttle.wait(one, now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(throttle.wait(one, now), None);
        }
        assert_eq!(waits[..9], [0, 0, 0, 0, 0, 1, 2, 4, 8]);
        assert!(waits.iter().all(|wait| *wait <= 30), "{waits:?}");
        assert_eq!(throttle.wait(other, now), None);
        now += Duration::from_secs(3600);
        throttle.failed(one, now);
        assert_eq!(throttle.wait(one, now), None, "it is forgotten");
    }

    #[test]
    fn a_flood_costs_bounded_memory_and_few_lines() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let address = "10.0.0.1".parse().unwrap();
        let lines = (0..1000)
            .filter_map(|_| throttle.failed(address, now))
            .count();
        assert_eq!(lines, 5);
        let later = now + LOG_EVERY;
        assert_eq!(throttle.failed(address, later), Some(996));
        for number in 0..5000_u32 {
            throttle.failed(IpAddr::from(number.to_be_bytes()), later);
        }
        assert_eq!(throttle.records.len(), ADDRESSES);
        assert!(throttle.wait(address, later).is_some(), "the worst stays");
    }
}
