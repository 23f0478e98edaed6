//! Object events as Frigate's HTTP interface has them.

use serde_json::{Value, json};
use watchpost_api::ObjectEvent;

use super::of_event;

/// An event. There are no clips and no stored snapshots yet.
pub(crate) fn event(event: &ObjectEvent) -> Value {
    let [x1, y1, x2, y2] = event.best_box;
    let path: Vec<Value> = event
        .path
        .iter()
        .map(|[time, x, y]| json!([[x, y], time]))
        .collect();
    json!({
        "id": of_event(event),
        "camera": event.camera,
        "label": event.label,
        "sub_label": null,
        "start_time": event.start_time,
        "end_time": event.end_time,
        "zones": event.zones,
        "has_clip": false,
        "has_snapshot": false,
        "retain_indefinitely": event.keep.unwrap_or_default(),
        "plus_id": null,
        "model_hash": null,
        "detector_type": null,
        "model_type": null,
        "thumbnail": "",
        // Frigate moved these into `data`, and kept the keys.
        "top_score": null,
        "false_positive": null,
        "box": null,
        "area": null,
        "data": {
            "box": [x1, y1, x2 - x1, y2 - y1],
            "region": [0.0, 0.0, 1.0, 1.0],
            "score": event.score,
            "top_score": event.score,
            "sub_label_score": null,
            "attributes": [],
            "type": "object",
            "max_severity": null,
            "path_data": path,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_api::EventState;

    #[test]
    fn an_event_has_every_key_clients_read() {
        let ours = ObjectEvent {
            id: 36,
            camera: "front".into(),
            object_id: 7,
            label: "person".into(),
            state: EventState::Ended,
            start_time: 100.25,
            last_time: 102.0,
            end_time: Some(102.0),
            score: 0.5,
            best_time: 101.0,
            best_box: [0.25, 0.25, 0.5, 0.75],
            zones: vec!["yard".into()],
            path: vec![[100.0, 0.2, 0.4]],
            path_length: 0.1,
            keep: Some(true),
        };
        let event = event(&ours);
        for (key, value) in [
            ("id", json!("100.250000-000010")),
            ("camera", json!("front")),
            ("label", json!("person")),
            ("sub_label", Value::Null),
            ("start_time", json!(100.25)),
            ("end_time", json!(102.0)),
            ("zones", json!(["yard"])),
            ("has_clip", json!(false)),
            ("has_snapshot", json!(false)),
            ("retain_indefinitely", json!(true)),
            ("top_score", Value::Null),
            ("false_positive", Value::Null),
        ] {
            assert_eq!(event.get(key), Some(&value), "{key}");
        }
        let data = &event["data"];
        // Width and height, where MQTT has the other corner.
        assert_eq!(data["box"], json!([0.25, 0.25, 0.25, 0.5]));
        assert_eq!(data["top_score"], 0.5);
        assert_eq!(data["path_data"], json!([[[0.2, 0.4], 100.0]]));
    }
}
