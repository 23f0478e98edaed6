//! Home Assistant's device discovery: one retained message per camera and one for the hub.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use watchpost_pipelines::CameraConfig;

use super::commands::Switch;
use super::events::Kind;
use super::outbox::Outbox;
use super::state::{State, labels};
use super::topics::{self, Topic};
use crate::config::MqttConfig;

/// Platform of each component that a device was announced with, by topic and component. Home Assistant keeps a
/// component until it is named as removed.
pub(super) type Announced = BTreeMap<String, BTreeMap<String, String>>;

/// What is announced, and what was.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    announced: Announced,
}

/// A device to announce.
struct Device {
    topic: String,
    payload: Value,
    components: Map<String, Value>,
}

impl Discovery {
    /// Announces the devices as they are now, and removes what is there no more.
    pub(super) fn publish(&mut self, config: &MqttConfig, state: &State, outbox: &mut Outbox) {
        let devices = if config.discovery.enabled {
            devices(config, state)
        } else {
            Vec::new()
        };
        let wanted: BTreeSet<&String> = devices.iter().map(|device| &device.topic).collect();
        let gone: Vec<String> = self
            .announced
            .keys()
            .filter(|topic| !wanted.contains(topic))
            .cloned()
            .collect();
        for topic in gone {
            outbox.remove(&topic);
            self.announced.remove(&topic);
        }
        for mut device in devices {
            let announced = self.announced.entry(device.topic.clone()).or_default();
            for (component, keys) in &device.components {
                let platform = keys["platform"].as_str().unwrap_or_default();
                announced.insert(component.clone(), platform.to_owned());
            }
            for (component, platform) in announced {
                if !device.components.contains_key(component) {
                    let removed = json!({"platform": platform});
                    device.components.insert(component.clone(), removed);
                }
            }
            device.payload["components"] = Value::Object(device.components);
            outbox.set(&device.topic, device.payload.to_string().as_bytes());
        }
    }

    /// What a former run announced.
    pub(super) fn was_announced(&mut self, announced: Announced) {
        for (topic, components) in announced {
            let known = self.announced.entry(topic).or_default();
            for (component, platform) in components {
                known.entry(component).or_insert(platform);
            }
        }
    }

    /// What is announced.
    pub(super) fn announced(&self) -> &Announced {
        &self.announced
    }
}

fn devices(config: &MqttConfig, state: &State) -> Vec<Device> {
    let mut devices = vec![hub(config, state)];
    devices.extend(
        state
            .cameras()
            .map(|(name, camera)| camera_device(config, name, camera)),
    );
    devices
}

/// Builds the components of one device.
struct Builder<'a> {
    config: &'a MqttConfig,
    /// The device's identifier, which its components' ids begin with.
    id: String,
    components: Map<String, Value>,
}

impl<'a> Builder<'a> {
    fn new(config: &'a MqttConfig, camera: Option<&str>) -> Self {
        let hub = hub_id(config);
        Self {
            config,
            id: camera.map_or(hub.clone(), |camera| format!("{hub}_{camera}")),
            components: Map::new(),
        }
    }

    fn topic(&self, topic: &Topic, names: &[&str]) -> String {
        topic.with(&self.config.topic_prefix, names)
    }

    fn add(&mut self, component: &str, platform: &str, name: &str, keys: Value) {
        let mut all = json!({
            "platform": platform,
            "unique_id": format!("{}_{component}", self.id),
            "name": name,
        });
        if let (Some(all), Value::Object(keys)) = (all.as_object_mut(), keys) {
            all.extend(keys);
        }
        self.components.insert(component.to_owned(), all);
    }

    /// Occupancy and counts of a label at a camera or in a zone.
    fn counts(&mut self, place: (&str, &str), label: &str, count: &Topic, active: &Topic) {
        let (name, shown) = place;
        let key = if shown.is_empty() {
            label.to_owned()
        } else {
            format!("{name}_{label}")
        };
        let title = format!("{shown} {}", in_words(label)).trim().to_owned();
        let count = self.topic(count, &[name, label]);
        let active = self.topic(active, &[name, label]);
        self.add(
            &format!("{key}_occupancy"),
            "binary_sensor",
            &format!("{title} occupancy"),
            json!({
                "device_class": "occupancy",
                "state_topic": count,
                "value_template": "{{ 'ON' if value | int(0) > 0 else 'OFF' }}",
            }),
        );
        for (suffix, words, topic) in [
            ("count", "count", count),
            ("active_count", "active count", active),
        ] {
            self.add(
                &format!("{key}_{suffix}"),
                "sensor",
                &format!("{title} {words}"),
                json!({
                    "state_topic": topic,
                    "state_class": "measurement",
                    "unit_of_measurement": "objects",
                }),
            );
        }
    }

    fn device(self, mut device: Value) -> Device {
        device["identifiers"] = json!([self.id]);
        device["manufacturer"] = json!("Watchpost");
        device["sw_version"] = json!(env!("CARGO_PKG_VERSION"));
        let available = self.topic(&topics::AVAILABLE, &[]);
        Device {
            topic: format!("{}/device/{}/config", self.config.discovery.prefix, self.id),
            payload: json!({
                "device": device,
                "origin": {
                    "name": "Watchpost",
                    "sw_version": env!("CARGO_PKG_VERSION"),
                    "support_url": env!("CARGO_PKG_REPOSITORY"),
                },
                // A plain topic would ignore `stopped`, and entities would stay available.
                "availability": [{
                    "topic": available,
                    "value_template": "{{ 'online' if value == 'online' else 'offline' }}",
                }],
                "qos": self.config.qos,
            }),
            components: self.components,
        }
    }
}

fn hub_id(config: &MqttConfig) -> String {
    format!("watchpost_{}", config.client_id)
}

fn hub(config: &MqttConfig, state: &State) -> Device {
    let mut builder = Builder::new(config, None);
    let stats = builder.topic(&topics::STATS, &[]);
    builder.add(
        "uptime",
        "sensor",
        "Uptime",
        json!({
            "state_topic": stats,
            "value_template": "{{ value_json.service.uptime }}",
            "device_class": "duration",
            "unit_of_measurement": "s",
            "entity_category": "diagnostic",
            "enabled_by_default": false,
        }),
    );
    builder.add(
        "version",
        "sensor",
        "Version",
        json!({
            "state_topic": stats,
            "value_template": "{{ value_json.service.version }}",
            "entity_category": "diagnostic",
        }),
    );
    for (zone, labels) in state.zones() {
        let shown = in_words(&zone);
        for label in labels {
            let place = (zone.as_str(), shown.as_str());
            builder.counts(place, label, &topics::ZONE_COUNT, &topics::ZONE_ACTIVE);
        }
    }
    let name = match config.client_id.as_str() {
        "watchpost" => "Watchpost".to_owned(),
        other => format!("Watchpost {other}"),
    };
    builder.device(json!({"name": name, "model": "Watchpost"}))
}

fn camera_device(config: &MqttConfig, name: &str, camera: &CameraConfig) -> Device {
    let mut builder = Builder::new(config, Some(name));
    let motion = builder.topic(&topics::MOTION, &[name]);
    builder.add(
        "motion",
        "binary_sensor",
        "Motion",
        json!({"device_class": "motion", "state_topic": motion}),
    );
    let status = builder.topic(&topics::STATUS_DETECT, &[name]);
    builder.add(
        "connection",
        "binary_sensor",
        "Connection",
        json!({
            "device_class": "connectivity",
            "state_topic": status,
            "payload_on": "online",
            "payload_off": "offline",
            "value_template": "{{ 'offline' if value == 'disabled' else value }}",
            "entity_category": "diagnostic",
        }),
    );
    for label in labels(camera) {
        builder.counts((name, ""), label, &topics::COUNT, &topics::ACTIVE);
    }
    for switch in Switch::ALL {
        add_switch(&mut builder, name, switch);
    }
    let stats = builder.topic(&topics::STATS, &[]);
    for (key, title) in [
        ("camera_fps", "Camera frame rate"),
        ("process_fps", "Analysed frame rate"),
        ("skipped_fps", "Skipped frame rate"),
    ] {
        builder.add(
            key,
            "sensor",
            title,
            json!({
                "state_topic": stats,
                "value_template": format!("{{{{ value_json.cameras['{name}'].{key} }}}}"),
                "unit_of_measurement": "fps",
                "state_class": "measurement",
                "entity_category": "diagnostic",
                "enabled_by_default": false,
            }),
        );
    }
    let events = builder.topic(&topics::OBJECT_EVENT, &[name]);
    builder.add(
        "object_event",
        "event",
        "Object",
        json!({"state_topic": events, "event_types": Kind::ALL.map(Kind::as_str)}),
    );
    let source = camera
        .primary_source()
        .map_or("camera", |source| source.kind());
    let shown = camera
        .friendly_name
        .clone()
        .unwrap_or_else(|| in_words(name));
    builder.device(json!({
        "name": shown,
        "model": format!("{source} camera"),
        "via_device": hub_id(config),
    }))
}

fn add_switch(builder: &mut Builder, camera: &str, switch: Switch) {
    let state = builder.topic(&topics::SWITCH, &[camera, switch.name()]);
    let command = format!(
        "{}/{camera}/{}/set",
        builder.config.topic_prefix,
        switch.name()
    );
    let mut keys = json!({
        "state_topic": state,
        "command_topic": command,
        "entity_category": "config",
    });
    // `motion` is the binary sensor.
    let component = format!("{}_switch", switch.name());
    let title = in_words(switch.name());
    match switch.range() {
        None => builder.add(&component, "switch", &title, keys),
        Some((low, high)) => {
            keys["min"] = json!(low);
            keys["max"] = json!(high);
            keys["step"] = json!(1);
            keys["mode"] = json!("box");
            keys["enabled_by_default"] = json!(false);
            builder.add(switch.name(), "number", &title, keys);
        }
    }
}

/// The components that a camera is announced with.
#[cfg(test)]
pub(super) fn components_of_a_camera(
    config: &MqttConfig,
    name: &str,
    camera: &CameraConfig,
) -> Map<String, Value> {
    camera_device(config, name, camera).components
}

/// `front_door` as people write it.
fn in_words(name: &str) -> String {
    let mut words = name.replace(['_', '-'], " ");
    if let Some(first) = words.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    words
}
