//! What 0.1.0 clients read stays in the JSON, and every event reads back as it was.

use serde_json::{Value, json};

use super::*;

fn object_event() -> ObjectEvent {
    ObjectEvent {
        id: 3,
        camera: "front".into(),
        object_id: 7,
        label: "person".into(),
        state: EventState::Active,
        start_time: 1.0,
        last_time: 2.0,
        end_time: None,
        score: 0.5,
        best_time: 2.0,
        best_box: [0.1, 0.2, 0.3, 0.4],
        zones: vec!["yard".into()],
        path: vec![[1.0, 0.2, 0.4]],
        path_length: 0.1,
        keep: None,
    }
}

fn track() -> Event {
    Event::Track(Box::new(TrackEvent {
        camera: "front".into(),
        change: detection::TrackChange::Moving,
        time: 2.0,
        label: "person".into(),
        score: 0.5,
        bbox: [0.1, 0.2, 0.3, 0.4],
        state: EventState::Active,
        stationary: false,
        zones: vec!["yard".into()],
        entered: vec!["yard".into()],
        left: vec![],
        event: object_event(),
    }))
}

#[test]
fn a_track_has_the_fields_of_0_1_0_and_reads_back() {
    let json = serde_json::to_value(track()).unwrap();
    assert_eq!(json["change"], "moving");
    let event = &json["event"];
    for (key, value) in [
        ("id", json!(3)),
        ("object_id", json!(7)),
        ("state", json!("active")),
        ("end_time", Value::Null),
        ("best_box", json!([0.1, 0.2, 0.3, 0.4])),
        ("zones", json!(["yard"])),
    ] {
        assert_eq!(event[key], value, "{key}");
    }
    assert_eq!(json["box"], json!([0.1, 0.2, 0.3, 0.4]));
    assert_eq!(serde_json::from_value::<Event>(json).unwrap(), track());
}

#[test]
fn a_task_event_is_the_status_with_its_camera() {
    let status = json!({"id": "photo", "task": "photo", "state": "idle", "since": 5.0, "files": 1});
    let mut expected = status.clone();
    expected["camera"] = json!("front");
    expected["type"] = json!("task");
    let event = Event::Task(TaskEvent {
        camera: "front".into(),
        status: serde_json::from_value(status).unwrap(),
    });
    let json = serde_json::to_value(&event).unwrap();
    assert_eq!(json, expected);
    assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
}

#[test]
fn the_schema_has_every_kind_of_event() {
    let schema = event_schema().to_string();
    for kind in [
        "track",
        "zone",
        "motion",
        "task",
        "media",
        "camera",
        "configuration",
    ] {
        assert!(
            schema.contains(&format!(r#""const":"{kind}""#)),
            "{kind}: {schema}"
        );
    }
    assert!(schema.contains("\"entered\""), "{schema}");
}
