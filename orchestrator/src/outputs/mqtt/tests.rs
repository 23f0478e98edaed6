//! What is published on which event.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use detection::TrackChange;
use serde_json::{Value, json};
use watchpost_api::{CameraEvent, CameraState, Event, MotionEvent};
use watchpost_pipelines::CameraConfig;

use super::discovery::Discovery;
use super::outbox::Outbox;
use super::state::State;
use super::topics;
use crate::bus::tests::person;
use crate::bus::{ObjectEvents, Observation};
use crate::config::MqttConfig;

/// A state with its outbox, and what a broker would hold.
struct House {
    state: State,
    outbox: Outbox,
    objects: ObjectEvents,
    retained: BTreeMap<String, String>,
    passing: Vec<(String, String)>,
    now: Instant,
}

fn cameras(value: Value) -> BTreeMap<String, CameraConfig> {
    serde_json::from_value(value).unwrap()
}

fn with_zones() -> Value {
    let camera = json!({
        "source": {"test": "walkers"},
        "detect": {"width": 640, "height": 360},
        "objects": {"track": ["person", "car"]},
        "zones": {"yard": {"coordinates": "0,0,1,0,1,1", "objects": ["person"]}},
    });
    json!({"front": camera, "back": camera})
}

impl House {
    fn new(config: Value) -> Self {
        let mut house = Self {
            state: State::new("w"),
            outbox: Outbox::default(),
            objects: ObjectEvents::new(0),
            retained: BTreeMap::new(),
            passing: Vec::new(),
            now: Instant::now(),
        };
        house.configure(config);
        house
    }

    fn configure(&mut self, config: Value) {
        self.state.configure(&cameras(config), &mut self.outbox);
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some(message) = self.outbox.pop() {
            let payload = String::from_utf8(message.payload).unwrap();
            match message.retain {
                false => self.passing.push((message.topic, payload)),
                true if payload.is_empty() => drop(self.retained.remove(&message.topic)),
                true => drop(self.retained.insert(message.topic, payload)),
            }
        }
    }

    fn take(&mut self, event: &Event) {
        self.state.take(event, &mut self.outbox, self.now);
        self.deliver();
    }

    fn track(&mut self, camera: &str, observation: Observation) {
        for event in self.objects.observe(camera, observation) {
            self.take(&event);
        }
    }

    fn streams(&mut self, camera: &str, state: CameraState) {
        self.take(&Event::Camera(CameraEvent {
            camera: camera.into(),
            state,
            reason: None,
            since: 1.0,
        }));
    }

    fn motion(&mut self, active: bool) {
        self.take(&Event::Motion(MotionEvent {
            camera: "front".into(),
            active,
            time: 1.0,
        }));
    }

    fn after(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.state.tick(&mut self.outbox, self.now);
        self.deliver();
    }

    fn held(&self, topic: &str) -> &str {
        self.retained.get(topic).map_or("-", String::as_str)
    }
}

fn in_yard(id: i64, change: TrackChange) -> Observation {
    Observation {
        zones: vec!["yard".into()],
        ..person(id, change, 101.0)
    }
}

#[test]
fn objects_are_counted_at_the_camera_and_in_the_zones_of_all_cameras() {
    let mut house = House::new(with_zones());
    assert_eq!(house.held("w/front/person"), "0");
    assert_eq!(house.held("w/yard/person"), "0");
    assert_eq!(house.held("w/yard/car"), "-", "the zone is for persons");
    house.track("front", in_yard(1, TrackChange::Started));
    house.track("back", in_yard(1, TrackChange::Started));
    house.track("front", person(2, TrackChange::Started, 101.0));
    assert_eq!(house.held("w/front/person"), "2");
    assert_eq!(house.held("w/front/all"), "2");
    assert_eq!(house.held("w/front/car"), "0");
    assert_eq!(house.held("w/yard/person"), "2");
    assert_eq!(house.held("w/yard/all/active"), "2");

    house.track("front", in_yard(1, TrackChange::Stationary));
    assert_eq!(house.held("w/front/person"), "2", "it is still there");
    assert_eq!(house.held("w/front/person/active"), "1");
    assert_eq!(house.held("w/yard/person/active"), "1");
    // It leaves the zone, and then the picture.
    house.track("front", person(1, TrackChange::Moving, 102.0));
    assert_eq!(house.held("w/yard/person"), "1");
    house.track("front", person(1, TrackChange::Ended, 103.0));
    house.track("back", in_yard(1, TrackChange::Ended));
    assert_eq!(house.held("w/front/person"), "1");
    assert_eq!(house.held("w/yard/all"), "0");

    let events: Vec<Value> = house
        .passing
        .iter()
        .filter(|(topic, _)| topic == "w/events")
        .map(|(_, payload)| serde_json::from_str(payload).unwrap())
        .collect();
    let kinds: Vec<_> = events.iter().map(|e| e["type"].as_str().unwrap()).collect();
    assert_eq!(
        kinds,
        ["new", "new", "new", "update", "update", "end", "end"]
    );
}

#[test]
fn motion_ends_after_its_delay_and_not_while_it_goes_on() {
    let mut config = with_zones();
    config["front"]["motion"] = json!({"mqtt_off_delay": 10});
    let mut house = House::new(config);
    assert_eq!(house.held("w/front/motion"), "OFF");
    assert_eq!(house.held("w/front/status/detect"), "offline");
    house.streams("front", CameraState::Streaming);
    assert_eq!(house.held("w/front/status/detect"), "online");
    house.motion(true);
    assert_eq!(house.held("w/front/motion"), "ON");
    house.motion(false);
    house.after(9);
    assert_eq!(house.held("w/front/motion"), "ON");
    house.motion(true);
    house.after(30);
    assert_eq!(house.held("w/front/motion"), "ON");
    house.motion(false);
    assert_eq!(
        house.state.deadline(),
        Some(house.now + Duration::from_secs(10))
    );
    house.after(10);
    assert_eq!(house.held("w/front/motion"), "OFF");
    // Without frames nothing old looks live.
    house.motion(true);
    house.streams("front", CameraState::Stalled);
    assert_eq!(house.held("w/front/status/detect"), "offline");
    house.after(10);
    assert_eq!(house.held("w/front/motion"), "OFF");
}

#[test]
fn what_is_gone_from_the_configuration_leaves_no_topic() {
    let mut house = House::new(with_zones());
    house.streams("front", CameraState::Streaming);
    let before = house.retained.clone();
    let mut fewer = with_zones();
    fewer["front"]["objects"]["track"] = json!(["person"]);
    fewer["front"]["detect"]["enabled"] = json!(false);
    house.configure(fewer);
    assert_eq!(house.held("w/front/car"), "-");
    assert_eq!(house.held("w/back/car"), "0");
    assert_eq!(house.held("w/front/status/detect"), "disabled");
    assert_eq!(house.held("w/front/detect/state"), "OFF");
    house.configure(with_zones());
    assert_eq!(house.retained, before);
    house.configure(json!({}));
    assert_eq!(house.retained, BTreeMap::new());
    // Its objects end after it has gone.
    house.track("front", person(1, TrackChange::Started, 101.0));
    assert_eq!((house.retained.len(), house.passing.len()), (0, 0));
}

#[test]
fn what_was_lost_is_rebuilt_and_is_no_news() {
    let mut house = House::new(with_zones());
    let mut events = house
        .objects
        .observe("front", in_yard(1, TrackChange::Started));
    events.truncate(1);
    let state = Event::Camera(CameraEvent {
        camera: "front".into(),
        state: CameraState::Streaming,
        reason: None,
        since: 1.0,
    });
    let all = [state, events.remove(0)];
    house
        .state
        .rebuild(all.iter(), &mut house.outbox, house.now);
    house.deliver();
    assert_eq!(house.held("w/yard/person"), "1");
    assert_eq!(house.held("w/front/status/detect"), "online");
    house.track("front", in_yard(1, TrackChange::Updated));
    assert_eq!(house.passing, []);
    house.track("front", in_yard(1, TrackChange::Ended));
    assert_eq!(
        house.passing.len(),
        2,
        "its end is news: {:?}",
        house.passing
    );
}

#[test]
fn a_zone_named_as_a_camera_does_not_disturb_its_counts() {
    let mut config = with_zones();
    config["front"]["zones"]["back"] = json!({"coordinates": "0,0,1,0,1,1"});
    let mut house = House::new(config);
    let in_back = Observation {
        zones: vec!["back".into()],
        ..person(1, TrackChange::Started, 101.0)
    };
    house.track("front", in_back);
    assert_eq!(house.held("w/back/person"), "0");
}

#[test]
fn everything_published_is_in_the_table() {
    let mut house = House::new(with_zones());
    house.streams("front", CameraState::Streaming);
    house.track("front", in_yard(1, TrackChange::Started));
    let is_known = |topic: &str, retained: bool| {
        topics::ALL.iter().any(|known| {
            let pattern: Vec<&str> = known.pattern.split('/').collect();
            let levels: Vec<&str> = topic.split('/').skip(1).collect();
            let matches = |(pattern, level): (&&str, &&str)| {
                pattern == level || pattern.chars().all(|c| c.is_ascii_uppercase() || c == '_')
            };
            known.retained == retained
                && pattern.len() == levels.len()
                && pattern.iter().zip(&levels).all(matches)
        })
    };
    for topic in house.retained.keys() {
        assert!(is_known(topic, true), "{topic}");
    }
    for (topic, _) in &house.passing {
        assert!(is_known(topic, false), "{topic}");
    }
}

/// The announcement on a topic.
fn announced(outbox: &mut Outbox, device: &str) -> Option<Value> {
    let mut found = None;
    while let Some(message) = outbox.pop() {
        if message.topic == format!("homeassistant/device/{device}/config") {
            assert!(message.retain);
            found = serde_json::from_slice(&message.payload).ok();
        }
    }
    found
}

#[test]
fn devices_are_announced_with_topics_that_exist() {
    let mut house = House::new(with_zones());
    let config = MqttConfig {
        topic_prefix: "w".into(),
        client_id: "id".into(),
        ..MqttConfig::default()
    };
    let mut discovery = Discovery::default();
    discovery.publish(&config, &house.state, &mut house.outbox);
    assert_eq!(discovery.announced().len(), 3, "the hub and two cameras");
    let device = announced(&mut house.outbox, "watchpost_id_front").unwrap();
    assert_eq!(device["device"]["via_device"], "watchpost_id");
    assert_eq!(device["availability"][0]["topic"], "w/available");
    let components = device["components"].as_object().unwrap();
    for expected in [
        "motion",
        "connection",
        "person_occupancy",
        "car_count",
        "detect_switch",
        "object_event",
    ] {
        assert!(components.contains_key(expected), "{expected}");
    }
    let mut ids = std::collections::BTreeSet::new();
    for (name, component) in components {
        assert!(
            ids.insert(component["unique_id"].as_str().unwrap()),
            "{name}"
        );
        let topic = component["state_topic"].as_str().unwrap();
        let passing = ["w/stats", "w/front/object_event"];
        assert!(
            passing.contains(&topic) || house.held(topic) != "-",
            "{name}: {topic}"
        );
    }
}

#[test]
fn a_label_or_camera_that_goes_is_removed_from_home_assistant() {
    let mut house = House::new(with_zones());
    let config = MqttConfig::default();
    let mut discovery = Discovery::default();
    discovery.publish(&config, &house.state, &mut house.outbox);
    let former = discovery.announced().clone();
    let mut fewer = with_zones();
    fewer["front"]["objects"]["track"] = json!(["person"]);
    fewer.as_object_mut().unwrap().remove("back");
    let expected = json!({"platform": "sensor"});
    // While it runs.
    house.configure(fewer.clone());
    discovery.publish(&config, &house.state, &mut house.outbox);
    let front = announced(&mut house.outbox, "watchpost_watchpost_front").unwrap();
    assert_eq!(front["components"]["car_count"], expected);
    assert!(
        !discovery
            .announced()
            .contains_key("homeassistant/device/watchpost_watchpost_back/config")
    );
    // In the next run, which learns from the broker what the former one announced.
    let mut discovery = Discovery::default();
    discovery.publish(&config, &house.state, &mut house.outbox);
    announced(&mut house.outbox, "");
    discovery.was_announced(former);
    discovery.publish(&config, &house.state, &mut house.outbox);
    let front = announced(&mut house.outbox, "watchpost_watchpost_front").unwrap();
    assert_eq!(front["components"]["car_count"], expected);
    // Switched off, nothing is left.
    let mut off = config.clone();
    off.discovery.enabled = false;
    discovery.publish(&off, &house.state, &mut house.outbox);
    assert!(discovery.announced().is_empty());
    let left = house
        .outbox
        .topics()
        .filter(|topic| topic.starts_with("homeassistant/"));
    assert_eq!(left.count(), 0);
}
