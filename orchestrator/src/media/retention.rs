//! Which limit asks for how much, and what is said about it.

use std::time::{Duration, Instant};

use crate::config::{Bytes, MediaConfig};
use crate::store::MediaTotal;

/// After the disk was short of room, how long it takes until room counts as there again: file systems are slow to say.
pub const SETTLE: Duration = Duration::from_secs(5);
/// How often it is said what was removed as long as the disk is full.
const SUMMARY: Duration = Duration::from_secs(3600);

/// The oldest files go until this is fulfilled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Demand {
    /// Everything that was taken before this time, seconds since 1970.
    Before(f64),
    /// This many bytes.
    Bytes(u64),
}

/// What the limits ask for, in the order in which it is done.
pub fn demands(config: &MediaConfig, kept: u64, free: Option<u64>, now: f64) -> Vec<Demand> {
    let mut demands = Vec::new();
    if let Some(days) = config.days {
        demands.push(Demand::Before(now - days * 86_400.0));
    }
    let surplus = config.max_bytes.map_or(0, |max| kept.saturating_sub(max.0));
    let lacking = free.map_or(0, |free| config.min_free.0.saturating_sub(free));
    if surplus.max(lacking) > 0 {
        demands.push(Demand::Bytes(surplus.max(lacking)));
    }
    demands
}

/// What is logged of a full disk: that it is, once; what was removed, each hour; that it is not any more.
#[derive(Debug, Default)]
pub struct FullDisk {
    said: Option<Instant>,
    looked: Option<Instant>,
    removed: MediaTotal,
}

impl FullDisk {
    /// Whether it is worth looking again: what was removed last may not have been counted as free yet.
    pub fn settled(&self, now: Instant) -> bool {
        self.looked.is_none_or(|at| now >= at + SETTLE)
    }

    /// There is less room than there has to be, and this was removed for it. Answers what is to be logged.
    pub fn short(
        &mut self,
        free: u64,
        min_free: Bytes,
        removed: MediaTotal,
        now: Instant,
    ) -> Option<String> {
        self.looked = Some(now);
        self.removed.files += removed.files;
        self.removed.bytes += removed.bytes;
        if self.said.is_some_and(|at| now < at + SUMMARY) {
            return None;
        }
        self.said = Some(now);
        let MediaTotal { files, bytes } = std::mem::take(&mut self.removed);
        let (free, bytes) = (Bytes(free), Bytes(bytes));
        Some(if files == 0 {
            format!(
                "the disk of the media has {free} free, less than media.min_free ({min_free}), and there is nothing left to \
                 remove: something else fills it"
            )
        } else {
            format!(
                "the disk of the media is full: {free} free, less than media.min_free ({min_free}); the oldest go \
                 ({files} files with {bytes} so far)"
            )
        })
    }

    /// There is room enough. Answers what is to be logged, once that has lasted.
    pub fn enough(&mut self, now: Instant) -> Option<String> {
        let said = self.said?;
        if now < said + SUMMARY {
            return None; // at the limit each new file makes it short again
        }
        self.said = None;
        let MediaTotal { files, bytes } = std::mem::take(&mut self.removed);
        Some(format!(
            "the disk of the media has room again; {files} more files with {} were removed",
            Bytes(bytes)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_asks_for_what_is_beyond_it() {
        let config = |min_free, max_bytes: Option<u64>, days| MediaConfig {
            min_free: Bytes(min_free),
            max_bytes: max_bytes.map(Bytes),
            days,
        };
        let now = 10.0 * 86_400.0;
        let free = Some(100);
        assert_eq!(demands(&config(0, None, None), 500, free, now), []);
        assert_eq!(demands(&config(100, Some(500), None), 500, free, now), []);
        assert_eq!(
            demands(&config(0, Some(400), Some(9.0)), 500, free, now),
            [Demand::Before(86_400.0), Demand::Bytes(100)]
        );
        assert_eq!(
            demands(&config(130, Some(480), None), 500, free, now),
            [Demand::Bytes(30)],
            "one file counts for both limits"
        );
        assert_eq!(demands(&config(130, None, None), 500, None, now), []);
    }

    #[test]
    fn a_full_disk_is_told_once_and_summed_up() {
        let mut disk = FullDisk::default();
        let start = Instant::now();
        let one = MediaTotal {
            files: 1,
            bytes: 10,
        };
        assert!(disk.settled(start));
        let said = disk.short(5, Bytes(10), one, start).unwrap();
        assert!(
            said.contains("5 B free") && said.contains("1 files"),
            "{said}"
        );
        assert!(!disk.settled(start));
        for second in 1..60 {
            let now = start + Duration::from_secs(second * 10);
            assert!(disk.settled(now));
            assert_eq!(disk.short(5, Bytes(10), one, now), None);
            assert_eq!(disk.enough(now), None);
        }
        let later = start + SUMMARY;
        let said = disk.short(5, Bytes(10), one, later).unwrap();
        assert!(said.contains("60 files with 600 B"), "{said}");
        assert!(disk.enough(later + SUMMARY).unwrap().contains("room again"));
        assert_eq!(disk.enough(later + SUMMARY), None);
        let said = disk.short(5, Bytes(10), MediaTotal::default(), later + 2 * SUMMARY);
        assert!(said.unwrap().contains("something else"));
    }
}
