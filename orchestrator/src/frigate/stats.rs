//! Figures in Frigate's form: `/api/stats`, and the MQTT topic `stats`.

use serde_json::{Map, Value, json};

use watchpost_api::{CameraStatus, Status};

/// The figures, at this time in seconds since 1970.
pub(crate) fn stats(status: &Status, now: f64) -> Value {
    let mut cameras = Map::new();
    let mut sums = [0.0; 4];
    for camera in &status.cameras {
        let rates = [
            camera.camera_fps,
            camera.process_fps,
            camera.skipped_fps,
            camera.detection_fps,
        ];
        for (sum, rate) in sums.iter_mut().zip(rates) {
            *sum += rate;
        }
        cameras.insert(camera.name.clone(), of_camera(camera));
    }
    let inference: Vec<f64> = status
        .cameras
        .iter()
        .filter_map(|c| c.inference_ms)
        .collect();
    let mean =
        (!inference.is_empty()).then(|| inference.iter().sum::<f64>() / inference.len() as f64);
    let [camera_fps, process_fps, skipped_fps, detection_fps] = sums.map(hundredths);
    json!({
        "camera_fps": camera_fps,
        "process_fps": process_fps,
        "skipped_fps": skipped_fps,
        "detection_fps": detection_fps,
        "cameras": cameras,
        "detectors": {"onnx": {"inference_speed": mean.map(hundredths)}},
        "service": {
            "uptime": (now - status.started).max(0.0).round(),
            "version": super::VERSION,
            "latest_version": "disabled",
            "last_updated": now.round(),
            "storage": {},
            "temperatures": {},
        },
    })
}

fn of_camera(camera: &CameraStatus) -> Value {
    json!({
        "camera_fps": hundredths(camera.camera_fps),
        "process_fps": hundredths(camera.process_fps),
        "skipped_fps": hundredths(camera.skipped_fps),
        "detection_fps": hundredths(camera.detection_fps),
        "detection_enabled": camera.analysis.state != watchpost_api::AnalysisPhase::Off,
        "pid": camera.analysis_pid,
        "capture_pid": camera.capture_pid,
        "ffmpeg_pid": camera.capture_pid,
        "reconnects_last_hour": camera.reconnects_last_hour,
        "stalls_last_hour": camera.stalls_last_hour,
    })
}

fn hundredths(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_summed_and_each_camera_has_its_own() {
        let camera = |name: &str, fps: f64, inference: Value| {
            json!({"name": name, "enabled": true, "state": "streaming", "reason": null, "since": 1.0,
                "camera_fps": fps, "process_fps": 5.0, "detection_fps": 1.234, "skipped_fps": 0.0,
                "skipped": {}, "detection_frame": null, "age": null, "inference_ms": inference,
                "queue_ms": null, "capture_pid": 7, "analysis_pid": 8,
                "analysis": {"state": "running", "reason": null, "own_worker": false},
                "decoder": null, "ring": null, "reconnects_last_hour": 2, "stalls_last_hour": 0,
                "motion": false, "objects": []})
        };
        let status: Status = serde_json::from_value(json!({
            "version": "1.2.3", "pid": 1, "started": 100.0, "config_error": null,
            "cameras": [camera("a", 10.0, json!(4.0)), camera("b", 5.5, Value::Null)],
        }))
        .unwrap();
        let stats = stats(&status, 160.4);
        assert_eq!(stats["camera_fps"], 15.5);
        assert_eq!(stats["detection_fps"], 2.47);
        assert_eq!(stats["cameras"]["b"]["camera_fps"], 5.5);
        assert_eq!(stats["cameras"]["a"]["reconnects_last_hour"], 2);
        assert_eq!(stats["detectors"]["onnx"]["inference_speed"], 4.0);
        assert_eq!(stats["service"]["uptime"], 60.0);
        assert_eq!(stats["service"]["version"], super::super::VERSION);
    }
}
