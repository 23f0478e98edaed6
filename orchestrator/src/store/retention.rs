//! How long object events are kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::writer::Op;
use super::{Result, Store, events, marks};
use crate::clock::now;

/// How often retention is decided.
const INTERVAL: Duration = Duration::from_secs(600);
/// Nothing is deleted before a run is this old: the clock of a computer without a battery may be set late.
const SETTLED: Duration = Duration::from_secs(600);
/// From the report of what would be deleted to the first deletion.
const NOTICE: f64 = 86_400.0;
/// A clock before this time (2020) was never set.
const PLAUSIBLE: f64 = 1_577_836_800.0;
/// Events deleted with one operation, so that the writer is not held up.
const BATCH: usize = 500;
/// When a report of what would be deleted was made.
const REPORTED: &str = "events_reported";

/// What retention does now.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decision {
    /// Nothing yet.
    Wait,
    /// Report how many events would be deleted; deletions begin a day later.
    Report {
        /// Events that ended before this time would be deleted.
        before: f64,
    },
    /// Delete the events that ended before this time.
    Delete {
        /// Seconds since 1970.
        before: f64,
    },
}

/// Decides. `running` is the age of this run, `reported` the time of the first report.
fn decide(days: f64, now: f64, running: Duration, reported: Option<f64>) -> Decision {
    let before = now - days * 86_400.0;
    if running < SETTLED || now < PLAUSIBLE {
        return Decision::Wait;
    }
    match reported {
        // A report from the future was made by a wrong clock.
        Some(reported) if reported <= now => {
            if now - reported < NOTICE {
                Decision::Wait
            } else {
                Decision::Delete { before }
            }
        }
        _ => Decision::Report { before },
    }
}

impl Store {
    /// Days after which object events are deleted, from now on.
    pub fn keep_events(&self, days: f64) {
        self.event_days.store(days.to_bits(), Ordering::Relaxed);
    }

    /// Deletes object events that are older than they are kept, until `done`.
    pub async fn retain_events(self: Arc<Self>, done: CancellationToken) {
        let began = Instant::now();
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                _ = interval.tick() => {}
            }
            let store = self.clone();
            let pass = move || store.retain_once(now(), began.elapsed());
            match tokio::task::spawn_blocking(pass).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("retention of events: {error}"),
                Err(error) => tracing::error!("retention of events: {error}"),
            }
        }
    }

    fn retain_once(&self, now: f64, running: Duration) -> Result<()> {
        let days = f64::from_bits(self.event_days.load(Ordering::Relaxed));
        let reported = marks::get(&self.reader(), REPORTED)?;
        match decide(days, now, running, reported) {
            Decision::Wait => {}
            Decision::Report { before } => {
                let count = events::count_before(&self.reader(), before)?;
                if count > 0 {
                    tracing::warn!(
                        "{count} object events are older than events.days ({days}) and will be deleted from tomorrow on; \
                         set events.days to keep them longer"
                    );
                }
                let value = now;
                self.writer.post_waiting(Op::Mark {
                    name: REPORTED,
                    value,
                })?;
                self.flush()?;
            }
            Decision::Delete { before } => {
                let mut deleted = 0;
                while events::count_before(&self.reader(), before)? > 0 {
                    let limit = BATCH;
                    self.writer
                        .post_waiting(Op::DeleteEvents { before, limit })?;
                    self.flush()?;
                    deleted += 1;
                    // An operation that fails is logged by the writer; the next pass tries again.
                    if deleted > 10_000 {
                        break;
                    }
                }
                if deleted > 0 {
                    tracing::debug!("object events older than {days} days were deleted");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use detection::TrackChange;

    use super::*;
    use crate::bus::tests::person;
    use crate::bus::{Bus, ObjectEvents};
    use crate::store::EventFilter;

    const DAY: f64 = 86_400.0;
    const NOW: f64 = 1_800_000_000.0;
    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn the_first_pass_reports_and_the_next_day_deletes() {
        let before = NOW - 30.0 * DAY;
        let minute = Duration::from_secs(60);
        for (now, running, reported, expected) in [
            (NOW, minute, None, Decision::Wait),
            (NOW, minute, Some(NOW - 9.0 * DAY), Decision::Wait),
            (1000.0, HOUR, None, Decision::Wait),
            (NOW, HOUR, None, Decision::Report { before }),
            (NOW, HOUR, Some(NOW - 0.9 * DAY), Decision::Wait),
            (
                NOW,
                HOUR,
                Some(NOW - 1.1 * DAY),
                Decision::Delete { before },
            ),
            (NOW, HOUR, Some(NOW + 1.0), Decision::Report { before }),
        ] {
            assert_eq!(
                decide(30.0, now, running, reported),
                expected,
                "{now} {running:?} {reported:?}"
            );
        }
    }

    #[test]
    fn old_events_go_but_those_that_last_or_are_marked_to_keep() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        store.keep_events(30.0);
        let (bus, mut objects) = (Bus::new(0), ObjectEvents::new(0));
        let mut observe = |id, change, time| {
            for event in objects.observe("front", person(id, change, time)) {
                let number = bus.publish(event);
                store.record(bus.recent(number - 1).0[0].clone()).unwrap();
            }
        };
        for id in 1..=1200 {
            observe(id, TrackChange::Started, NOW - 40.0 * DAY);
            if id != 3 {
                observe(id, TrackChange::Ended, NOW - 40.0 * DAY);
            }
        }
        observe(1201, TrackChange::Started, NOW - DAY);
        observe(1201, TrackChange::Ended, NOW - DAY);
        store.flush().unwrap();
        assert!(store.keep_event(2, true).unwrap());
        assert!(!store.keep_event(9999, true).unwrap());
        let ids = |store: &Store| -> Vec<i64> {
            let filter = EventFilter {
                limit: Some(1000),
                ..EventFilter::default()
            };
            let events = store.events(&filter).unwrap();
            events.iter().map(|event| event.id).collect()
        };
        store.retain_once(NOW, HOUR).unwrap();
        assert_eq!(ids(&store).len(), 1000, "the first pass only reports");
        store.retain_once(NOW + 0.5 * DAY, HOUR).unwrap();
        assert_eq!(ids(&store).len(), 1000);
        store.retain_once(NOW + 1.5 * DAY, HOUR).unwrap();
        assert_eq!(ids(&store), [1201, 3, 2]);
    }
}
