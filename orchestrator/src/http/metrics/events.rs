//! Metrics counted from the events on the bus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use detection::TrackChange;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use watchpost_api::{ConfigurationChange, Event, Status, ZoneChange};

use super::{Whole, total};
use crate::bus::{Bus, Received, State, Subscription};

/// Counts events by subscribing to the bus. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct EventMetrics {
    cameras: Arc<Mutex<BTreeMap<String, Counts>>>,
}

/// Counts of one camera.
#[derive(Debug, Clone, Default)]
struct Counts {
    /// Events by kind.
    events: BTreeMap<&'static str, u64>,
    /// Objects whose tracking began, by label.
    objects: BTreeMap<String, u64>,
    /// By zone and label.
    zones: BTreeMap<(String, String), ZoneCounts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct ZoneCounts {
    entered: u64,
    inside: u32,
}

impl EventMetrics {
    /// Counts what is published from now on, until `done`. Must be called within a tokio runtime.
    pub fn start(bus: &Bus, done: CancellationToken) -> Self {
        let metrics = Self::default();
        let (counting, bus, events) = (metrics.clone(), bus.clone(), bus.subscribe("metrics"));
        tokio::spawn(async move {
            tokio::select! {
                () = done.cancelled() => {}
                () = counting.count_all(&bus, events) => {}
            }
        });
        metrics
    }

    async fn count_all(&self, bus: &Bus, mut events: Subscription) {
        while let Some(received) = events.next().await {
            match received {
                Received::Event(published) => self.count(&published.event),
                // Counters miss the lost events; what the zones hold now is known again.
                Received::Lost(_) => self.take_state(&bus.state()),
            }
        }
    }

    fn count(&self, event: &Event) {
        let mut cameras = self.cameras();
        if let Event::Configuration(configuration) = event {
            let gone = match configuration.change {
                ConfigurationChange::Removed => configuration.camera.as_ref(),
                ConfigurationChange::Renamed => configuration.from.as_ref(),
                ConfigurationChange::Added
                | ConfigurationChange::Changed
                | ConfigurationChange::Applied => None,
            };
            if let Some(gone) = gone {
                cameras.remove(gone);
                return;
            }
        }
        let Some(camera) = event.camera() else { return };
        let counts = cameras.entry(camera.to_owned()).or_default();
        *counts.events.entry(event.kind()).or_default() += 1;
        match event {
            Event::Track(track) if track.change == TrackChange::Started => {
                *counts.objects.entry(track.label.clone()).or_default() += 1;
            }
            Event::Zone(zone) => {
                let key = (zone.zone.clone(), zone.label.clone());
                let counts = counts.zones.entry(key).or_default();
                counts.entered += u64::from(zone.change == ZoneChange::Entered);
                counts.inside = zone.count;
            }
            _ => {}
        }
    }

    fn take_state(&self, state: &State) {
        let mut cameras = self.cameras();
        let zones = cameras.values_mut().flat_map(|c| c.zones.values_mut());
        zones.for_each(|zone| zone.inside = 0);
        for published in state.events() {
            if let Event::Zone(zone) = &published.event {
                let counts = cameras.entry(zone.camera.clone()).or_default();
                let key = (zone.zone.clone(), zone.label.clone());
                counts.zones.entry(key).or_default().inside = zone.count;
            }
        }
    }

    fn cameras(&self) -> MutexGuard<'_, BTreeMap<String, Counts>> {
        // Counts are valid after each single step.
        self.cameras.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the counts of the cameras there are.
    pub(super) fn register(&self, registry: &mut Registry, status: &Status) {
        let events = Family::<CameraKind, Counter>::default();
        registry.register("events", "Events of a camera, by kind", events.clone());
        let objects = Family::<CameraLabel, Counter>::default();
        let about = "Objects whose tracking began";
        registry.register("tracked_objects", about, objects.clone());
        let entered = Family::<CameraZone, Counter>::default();
        let about = "Objects that entered a zone";
        registry.register("zone_entries", about, entered.clone());
        let inside = Family::<CameraZone, Whole>::default();
        registry.register("zone_objects", "Objects in a zone", inside.clone());
        let cameras = self.cameras();
        for camera in &status.cameras {
            let Some(counts) = cameras.get(&camera.name) else {
                continue;
            };
            let camera = &camera.name;
            for (&kind, count) in &counts.events {
                let camera = camera.clone();
                total(&events.get_or_create(&CameraKind { camera, kind }), *count);
            }
            for (label, count) in &counts.objects {
                let (camera, label) = (camera.clone(), label.clone());
                total(
                    &objects.get_or_create(&CameraLabel { camera, label }),
                    *count,
                );
            }
            for ((zone, label), counts) in &counts.zones {
                let labels = CameraZone {
                    camera: camera.clone(),
                    zone: zone.clone(),
                    label: label.clone(),
                };
                total(&entered.get_or_create(&labels), counts.entered);
                inside.get_or_create(&labels).set(counts.inside.into());
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameraKind {
    camera: String,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameraLabel {
    camera: String,
    label: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CameraZone {
    camera: String,
    zone: String,
    label: String,
}

#[cfg(test)]
impl EventMetrics {
    /// With a count of each kind.
    pub(super) fn filled(camera: &str) -> Self {
        let metrics = Self::default();
        let counts = Counts {
            events: BTreeMap::from([("zone", 1)]),
            objects: BTreeMap::from([("person".into(), 1)]),
            zones: BTreeMap::from([(("yard".into(), "person".into()), ZoneCounts::default())]),
        };
        metrics.cameras().insert(camera.to_owned(), counts);
        metrics
    }
}

#[cfg(test)]
mod tests {
    use watchpost_api::{ConfigurationEvent, MotionEvent, ZoneEvent};

    use super::*;

    fn zone(change: ZoneChange, count: u32) -> Event {
        Event::Zone(ZoneEvent {
            camera: "front".into(),
            zone: "yard".into(),
            change,
            time: 1.0,
            label: "person".into(),
            object_id: 1,
            event_id: 1,
            count,
        })
    }

    fn yard(metrics: &EventMetrics) -> Option<(u64, u32)> {
        let cameras = metrics.cameras();
        let zone = cameras.get("front")?.zones.values().next()?;
        Some((zone.entered, zone.inside))
    }

    #[test]
    fn events_are_counted_until_their_camera_is_gone() {
        let metrics = EventMetrics::default();
        metrics.count(&zone(ZoneChange::Entered, 1));
        metrics.count(&zone(ZoneChange::Entered, 2));
        metrics.count(&zone(ZoneChange::Left, 1));
        metrics.count(&Event::Motion(MotionEvent {
            camera: "front".into(),
            active: true,
            time: 1.0,
        }));
        assert_eq!(yard(&metrics), Some((2, 1)));
        let kinds = metrics.cameras()["front"].events.clone();
        assert_eq!(kinds, BTreeMap::from([("zone", 3), ("motion", 1)]));
        metrics.count(&Event::Configuration(ConfigurationEvent {
            change: ConfigurationChange::Removed,
            camera: Some("front".into()),
            from: None,
        }));
        assert!(metrics.cameras().is_empty());
    }

    /// The task cannot run before this test waits: by then it has lost events.
    #[tokio::test]
    async fn a_subscriber_that_lagged_knows_again_how_many_objects_a_zone_holds() {
        let (bus, done) = (Bus::new(0), CancellationToken::new());
        let metrics = EventMetrics::start(&bus, done.clone());
        bus.publish(zone(ZoneChange::Entered, 3));
        for _ in 0..10_000 {
            bus.publish(Event::Motion(MotionEvent {
                camera: "front".into(),
                active: true,
                time: 1.0,
            }));
        }
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while yard(&metrics).is_none() {
            assert!(
                std::time::Instant::now() < deadline,
                "the state is not taken"
            );
            tokio::task::yield_now().await;
        }
        assert_eq!(yard(&metrics), Some((0, 3)));
        assert!(bus.lost()["metrics"] > 0, "{:?}", bus.lost());
        done.cancel();
    }
}
