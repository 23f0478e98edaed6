//! The configuration in Frigate's form: what clients read of it, and no secrets.

use std::collections::{BTreeMap, BTreeSet};

use detection::FrameSize;
use serde_json::{Map, Value, json};
use watchpost_pipelines::CameraConfig;

use super::VERSION;
use crate::config::Config;

/// The configuration. `sizes`: of the analysed pictures of running cameras.
pub(crate) fn config(config: &Config, sizes: &BTreeMap<String, FrameSize>) -> Value {
    let cameras: Map<String, Value> = config
        .cameras
        .iter()
        .map(|(name, camera)| {
            let size = camera.detect_size().or(sizes.get(name).copied());
            (name.clone(), of_camera(name, camera, size))
        })
        .collect();
    let mqtt = &config.mqtt;
    json!({
        "version": VERSION,
        "mqtt": {
            "enabled": mqtt.wanted_host().is_some(),
            "topic_prefix": mqtt.topic_prefix,
            "client_id": mqtt.client_id,
            "stats_interval": mqtt.stats_interval,
        },
        "model": {"all_attributes": [], "non_logo_attributes": []},
        "objects": {"track": labels(config)},
        "cameras": cameras,
        "camera_groups": {},
        "detectors": {},
        "go2rtc": {"streams": {}},
        "audio": off(),
        "birdseye": {"enabled": false, "restream": false},
        "record": off(),
        "snapshots": {"enabled": false},
        "notifications": off(),
        "face_recognition": {"enabled": false},
        "lpr": {"enabled": false},
        "semantic_search": {"enabled": false},
        "classification": {"bird": {"enabled": false}, "custom": {}},
    })
}

/// Every label that a camera tracks.
pub(crate) fn labels(config: &Config) -> BTreeSet<&String> {
    let tracked = config.cameras.values().map(|camera| &camera.objects.track);
    tracked.flatten().collect()
}

/// A function that Watchpost does not have, or not yet.
fn off() -> Value {
    json!({"enabled": false, "enabled_in_config": false})
}

fn of_camera(name: &str, camera: &CameraConfig, size: Option<FrameSize>) -> Value {
    let zones: Map<String, Value> = camera
        .zones
        .iter()
        .map(|(name, zone)| {
            let zone = json!({
                "enabled": zone.enabled,
                "objects": zone.objects,
                "friendly_name": zone.friendly_name,
            });
            (name.clone(), zone)
        })
        .collect();
    json!({
        "name": name,
        "friendly_name": camera.friendly_name,
        "enabled": camera.enabled,
        "enabled_in_config": camera.enabled,
        "detect": {
            "enabled": camera.detect.enabled,
            "fps": camera.detect.fps,
            "width": size.map(|size| size.width),
            "height": size.map(|size| size.height),
        },
        "motion": {
            "enabled": camera.motion.enabled,
            "enabled_in_config": camera.motion.enabled,
            "threshold": camera.motion.threshold,
            "contour_area": camera.motion.contour_area,
            "improve_contrast": camera.motion.improve_contrast,
        },
        "objects": {"track": camera.objects.track, "filters": {}},
        "zones": zones,
        "audio": off(),
        "audio_transcription": off(),
        "birdseye": {"enabled": false, "mode": "objects"},
        "face_recognition": {"enabled": false},
        "live": {"streams": {}},
        "lpr": {"enabled": false},
        "notifications": off(),
        "onvif": {"host": "", "autotracking": off()},
        "record": off(),
        "review": {
            "alerts": {"enabled": false, "enabled_in_config": false, "labels": [], "required_zones": []},
            "detections": {"enabled": false, "enabled_in_config": false, "labels": [], "required_zones": []},
        },
        "snapshots": {"enabled": false},
        "ui": {"order": 0, "dashboard": true},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of section 4.2 of the specification: without one of them the Home Assistant integration lacks entities or fails.
    const NEEDED: [&str; 14] = [
        "/version",
        "/mqtt/topic_prefix",
        "/mqtt/client_id",
        "/model",
        "/cameras/front/objects/track",
        "/cameras/front/zones/yard/objects",
        "/cameras/front/audio/enabled_in_config",
        "/cameras/front/motion/enabled",
        "/cameras/front/motion/threshold",
        "/cameras/front/motion/contour_area",
        "/cameras/front/record/enabled",
        "/cameras/front/snapshots/enabled",
        "/cameras/front/onvif/autotracking/enabled_in_config",
        "/birdseye/restream",
    ];

    #[test]
    fn it_has_what_clients_need_and_no_secret() {
        let ours: Config = serde_json::from_value(json!({
            "mqtt": {"host": "broker", "user": "u", "password": "sesame", "client_id": "house"},
            "cameras": {"front": {
                "source": {"rtsp": "rtsp://u:sesame@h/1"},
                "friendly_name": "Front door",
                "objects": {"track": ["person", "car"]},
                "zones": {"yard": {"coordinates": "0,0,1,0,1,1", "objects": ["car"]}},
            }},
        }))
        .unwrap();
        let sizes = BTreeMap::from([("front".to_owned(), FrameSize::new(640, 360))]);
        let config = config(&ours, &sizes);
        for key in NEEDED {
            let value = config.pointer(key);
            assert!(
                value.is_some_and(|value| !value.is_null()),
                "{key}: {value:?}"
            );
        }
        let front = &config["cameras"]["front"];
        assert_eq!(front["friendly_name"], "Front door");
        assert_eq!(front["detect"]["width"], 640);
        assert_eq!(front["zones"]["yard"]["objects"], json!(["car"]));
        assert_eq!(config["mqtt"]["client_id"], "house");
        assert_eq!(config["objects"]["track"], json!(["car", "person"]));
        assert!(!config.to_string().contains("sesame"));
    }
}
