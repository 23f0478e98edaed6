//! What the topics are to hold: counts, motion, status and switches, from the configuration and the events. No I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use detection::{FrameSize, TrackChange};
use watchpost_api::{CameraState, Event, TrackEvent};
use watchpost_pipelines::CameraConfig;

use super::commands::Switch;
use super::events::{self, Told};
use super::outbox::Outbox;
use super::topics;
use crate::config::is_topic_label;

/// `motion.mqtt_off_delay` where it is not given.
const OFF_DELAY: Duration = Duration::from_secs(30);

/// The state of everything that is published.
#[derive(Debug)]
pub(super) struct State {
    prefix: String,
    cameras: BTreeMap<String, Camera>,
}

/// One camera.
#[derive(Debug)]
struct Camera {
    config: CameraConfig,
    state: CameraState,
    motion: Motion,
    /// Confirmed objects by their number at the camera.
    objects: BTreeMap<i64, Object>,
    /// Size of the analysed pictures, where the configuration does not fix it.
    size: Option<FrameSize>,
}

#[derive(Debug)]
struct Object {
    label: String,
    stationary: bool,
    zones: Vec<String>,
    told: Option<Told>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Motion {
    Off,
    On,
    /// Over, and shown until then.
    Ending(Instant),
}

impl State {
    /// Nothing is known yet.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            cameras: BTreeMap::new(),
        }
    }

    /// Takes the cameras over as they are configured now. What is not there any more is removed at the broker.
    pub(super) fn configure(
        &mut self,
        cameras: &BTreeMap<String, CameraConfig>,
        outbox: &mut Outbox,
    ) {
        self.cameras.retain(|name, _| cameras.contains_key(name));
        for (name, config) in cameras {
            let camera = self.cameras.entry(name.clone()).or_insert_with(|| Camera {
                config: config.clone(),
                state: CameraState::Connecting,
                motion: Motion::Off,
                objects: BTreeMap::new(),
                size: None,
            });
            camera.config.clone_from(config);
            if !camera.is_analysed() {
                camera.motion = Motion::Off;
            }
        }
        let mut wanted = BTreeMap::new();
        self.topics(|topic, value| drop(wanted.insert(topic, value)));
        let stale: Vec<String> = outbox
            .topics()
            .filter(|topic| self.is_own(topic) && !wanted.contains_key(*topic))
            .cloned()
            .collect();
        for topic in stale {
            outbox.remove(&topic);
        }
        for (topic, value) in wanted {
            outbox.set(&topic, value.as_bytes());
        }
    }

    /// The names of the cameras.
    pub(super) fn cameras(&self) -> impl Iterator<Item = (&String, &CameraConfig)> {
        self.cameras
            .iter()
            .map(|(name, camera)| (name, &camera.config))
    }

    /// A camera's configuration.
    pub(super) fn camera(&self, name: &str) -> Option<&CameraConfig> {
        self.cameras.get(name).map(|camera| &camera.config)
    }

    /// The size of a camera's analysed pictures was measured.
    pub(super) fn measured(&mut self, camera: &str, size: FrameSize) {
        if let Some(camera) = self.cameras.get_mut(camera) {
            camera.size = Some(size);
        }
    }

    /// What the events of the bus left, after some were lost or before any came. Nothing of it is news.
    pub(super) fn rebuild<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Event>,
        outbox: &mut Outbox,
        now: Instant,
    ) {
        for camera in self.cameras.values_mut() {
            camera.objects.clear();
            if camera.motion == Motion::On {
                camera.motion = Motion::Ending(now + camera.off_delay());
            }
        }
        for event in events {
            self.apply(event, now);
        }
        self.topics(|topic, value| outbox.set(&topic, value.as_bytes()));
    }

    /// Takes an event over: states are set, and an object event is queued.
    pub(super) fn take(&mut self, event: &Event, outbox: &mut Outbox, now: Instant) {
        let Some(name) = event
            .camera()
            .filter(|name| self.cameras.contains_key(*name))
        else {
            return;
        };
        let track = match event {
            Event::Track(track) => Some(&**track),
            Event::Motion(_) | Event::Camera(_) => None,
            Event::Zone(_) | Event::Media(_) | Event::Task(_) | Event::Configuration(_) => return,
        };
        let message = track.and_then(|track| self.object_event(track));
        self.apply(event, now);
        self.camera_topics(name, &mut |topic, value| {
            outbox.set(&topic, value.as_bytes())
        });
        if let Some(track) = track {
            let zones: BTreeSet<&String> = track
                .zones
                .iter()
                .chain(&track.left)
                .chain(&track.event.zones)
                .collect();
            for zone in zones {
                self.zone_topics(zone, &mut |topic, value| {
                    outbox.set(&topic, value.as_bytes())
                });
            }
        }
        if let Some((kind, message)) = message {
            let for_home_assistant = events::for_home_assistant(kind, &message["after"]);
            for message in [
                topics::EVENTS.message(&self.prefix, &[], message.to_string()),
                topics::OBJECT_EVENT.message(&self.prefix, &[name], for_home_assistant.to_string()),
            ] {
                outbox.push(message, now);
            }
        }
    }

    /// Ends motion whose delay is over.
    pub(super) fn tick(&mut self, outbox: &mut Outbox, now: Instant) {
        for (name, camera) in &mut self.cameras {
            if matches!(camera.motion, Motion::Ending(at) if at <= now) {
                camera.motion = Motion::Off;
                outbox.set(&topics::MOTION.with(&self.prefix, &[name]), b"OFF");
            }
        }
    }

    /// When [`State::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let ends = self
            .cameras
            .values()
            .filter_map(|camera| match camera.motion {
                Motion::Ending(at) => Some(at),
                Motion::On | Motion::Off => None,
            });
        ends.min()
    }

    fn is_own(&self, topic: &str) -> bool {
        let below = topic.strip_prefix(&self.prefix);
        below.is_some_and(|below| {
            below.starts_with('/') && !below.starts_with("/retained/") && below != "/available"
        })
    }

    fn object_event(&mut self, track: &TrackEvent) -> Option<(events::Kind, serde_json::Value)> {
        let camera = self.cameras.get_mut(&track.camera)?;
        let size = camera.config.detect_size().or(camera.size);
        let fps = camera.config.detect.fps;
        let known = camera.objects.remove(&track.event.object_id);
        let mut told = known.and_then(|object| object.told);
        // Of an object from before the subscription to the bus, the beginning is no news.
        let is_news = told.is_some() || track.change == TrackChange::Started;
        let message = events::message(track, &mut told, size, fps);
        let object = Object::of(track, told);
        camera.objects.insert(track.event.object_id, object);
        message.filter(|_| is_news)
    }

    fn apply(&mut self, event: &Event, now: Instant) {
        let Some(camera) = event.camera().and_then(|name| self.cameras.get_mut(name)) else {
            return;
        };
        match event {
            Event::Track(track) => {
                let id = track.event.object_id;
                if track.change == TrackChange::Ended {
                    camera.objects.remove(&id);
                } else {
                    let told = camera.objects.remove(&id).and_then(|object| object.told);
                    camera.objects.insert(id, Object::of(track, told));
                }
            }
            Event::Motion(motion) if motion.active && camera.is_analysed() => {
                camera.motion = Motion::On
            }
            Event::Motion(_) => camera.end_motion(now),
            Event::Camera(state) => {
                camera.state = state.state;
                if !camera.is_analysed() {
                    camera.end_motion(now);
                }
            }
            Event::Zone(_) | Event::Media(_) | Event::Task(_) | Event::Configuration(_) => {}
        }
    }

    /// The zones that have topics, with their labels.
    pub(super) fn zones(&self) -> BTreeMap<String, BTreeSet<&String>> {
        let names: BTreeSet<&String> = self.cameras.values().flat_map(Camera::zones).collect();
        let names = names
            .into_iter()
            .filter(|zone| !self.cameras.contains_key(*zone));
        names
            .map(|zone| (zone.clone(), self.zone(zone).0))
            .collect()
    }

    /// Labels of a zone, and the cameras that have it.
    fn zone(&self, zone: &str) -> (BTreeSet<&String>, Vec<&Camera>) {
        let mut wanted = BTreeSet::new();
        let mut cameras = Vec::new();
        for camera in self.cameras.values() {
            let Some(config) = camera.config.zones.get(zone).filter(|zone| zone.enabled) else {
                continue;
            };
            let is_for =
                |label: &&String| config.objects.is_empty() || config.objects.contains(label);
            wanted.extend(labels(&camera.config).into_iter().filter(is_for));
            cameras.push(camera);
        }
        (wanted, cameras)
    }

    /// Every retained topic below the prefix with its value.
    pub(super) fn topics(&self, mut each: impl FnMut(String, String)) {
        let mut zones = BTreeSet::new();
        for (name, camera) in &self.cameras {
            self.camera_topics(name, &mut each);
            zones.extend(camera.zones());
        }
        for zone in zones {
            self.zone_topics(zone, &mut each);
        }
    }

    fn camera_topics(&self, name: &str, each: &mut impl FnMut(String, String)) {
        let Some(camera) = self.cameras.get(name) else {
            return;
        };
        let prefix = &self.prefix;
        let motion = if camera.motion == Motion::Off {
            "OFF"
        } else {
            "ON"
        };
        each(topics::MOTION.with(prefix, &[name]), motion.to_owned());
        each(
            topics::STATUS_DETECT.with(prefix, &[name]),
            camera.status().to_owned(),
        );
        for switch in Switch::ALL {
            let topic = topics::SWITCH.with(prefix, &[name, switch.name()]);
            each(topic, switch.state(&camera.config));
        }
        let labels = labels(&camera.config);
        let counts = count(camera.objects.values(), &labels);
        let place = Place {
            name,
            count: &topics::COUNT,
            active: &topics::ACTIVE,
            all: &topics::COUNT_ALL,
            all_active: &topics::ACTIVE_ALL,
        };
        place.publish(prefix, &counts, each);
    }

    fn zone_topics(&self, zone: &str, each: &mut impl FnMut(String, String)) {
        // Camera and zone names share a level: a camera's counts win.
        if self.cameras.contains_key(zone) {
            return;
        }
        let (wanted, cameras) = self.zone(zone);
        if cameras.is_empty() {
            return;
        }
        let inside = cameras
            .iter()
            .flat_map(|camera| camera.objects.values())
            .filter(|object| object.zones.iter().any(|name| name == zone));
        let counts = count(inside, &wanted);
        let place = Place {
            name: zone,
            count: &topics::ZONE_COUNT,
            active: &topics::ZONE_ACTIVE,
            all: &topics::ZONE_COUNT_ALL,
            all_active: &topics::ZONE_ACTIVE_ALL,
        };
        place.publish(&self.prefix, &counts, each);
    }
}

impl Camera {
    fn is_analysed(&self) -> bool {
        self.config.enabled && self.config.detect.enabled && self.state == CameraState::Streaming
    }

    fn status(&self) -> &'static str {
        if !self.config.enabled
            || !self.config.detect.enabled
            || self.state == CameraState::Disabled
        {
            "disabled"
        } else if self.state == CameraState::Streaming {
            "online"
        } else {
            "offline"
        }
    }

    fn off_delay(&self) -> Duration {
        let seconds = self.config.motion.mqtt_off_delay;
        seconds.map_or(OFF_DELAY, |seconds| Duration::from_secs(seconds.into()))
    }

    fn end_motion(&mut self, now: Instant) {
        if self.motion == Motion::On {
            self.motion = Motion::Ending(now + self.off_delay());
        }
    }

    fn zones(&self) -> impl Iterator<Item = &String> {
        let enabled = self.config.zones.iter().filter(|(_, zone)| zone.enabled);
        enabled.map(|(name, _)| name)
    }
}

impl Object {
    fn of(track: &TrackEvent, told: Option<Told>) -> Self {
        Self {
            label: track.label.clone(),
            stationary: track.stationary,
            zones: track.zones.clone(),
            told,
        }
    }
}

/// The labels of a camera that have topics.
pub(super) fn labels(camera: &CameraConfig) -> BTreeSet<&String> {
    let track = camera.objects.track.iter();
    track.filter(|label| is_topic_label(label)).collect()
}

/// All and active objects of each label.
fn count<'a>(
    objects: impl Iterator<Item = &'a Object>,
    labels: &BTreeSet<&'a String>,
) -> BTreeMap<&'a String, (u32, u32)> {
    let mut counts: BTreeMap<_, _> = labels.iter().map(|label| (*label, (0, 0))).collect();
    for object in objects {
        if let Some((all, active)) = counts.get_mut(&object.label) {
            *all += 1;
            *active += u32::from(!object.stationary);
        }
    }
    counts
}

/// A camera or zone, and the topics its counts have.
struct Place<'a> {
    name: &'a str,
    count: &'static topics::Topic,
    active: &'static topics::Topic,
    all: &'static topics::Topic,
    all_active: &'static topics::Topic,
}

impl Place<'_> {
    fn publish(
        &self,
        prefix: &str,
        counts: &BTreeMap<&String, (u32, u32)>,
        each: &mut impl FnMut(String, String),
    ) {
        let mut sum = (0, 0);
        for (label, (all, active)) in counts {
            each(
                self.count.with(prefix, &[self.name, label]),
                all.to_string(),
            );
            each(
                self.active.with(prefix, &[self.name, label]),
                active.to_string(),
            );
            sum = (sum.0 + all, sum.1 + active);
        }
        each(self.all.with(prefix, &[self.name]), sum.0.to_string());
        each(
            self.all_active.with(prefix, &[self.name]),
            sum.1.to_string(),
        );
    }
}
