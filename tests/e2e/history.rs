//! What is remembered: events, their changes and region grids, over restarts and new names.

use crate::sockets::Client;
use crate::support::{Watchpost, eventually, onnxruntime, watchpost as program, write_config};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use testkit::find;
use watchpost_api::{ConfigurationChange, Event, ObjectEvent, TrackEvent, ZoneChange};

const JSON: &str = "Content-Type: application/json\r\n";

/// A configuration of one camera, `front`, that sees people all the time, with a zone that covers the picture.
pub fn walkers(zone: &str) -> String {
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../pipelines/demo-model/demo.onnx"
    );
    format!(
        "model: {{path: {model}}}\ncameras:\n  front:\n    source: {{test: {{scene: \"walkers,objects=6\", width: 640, height: 360, fps: 5}}}}\n    detect: {{width: 640, height: 360, fps: 5}}\n    zones: {{{zone}: {{coordinates: \"0,0,1,0,1,1,0,1\"}}}}\n"
    )
}

/// Events of a stream with their numbers, until `enough` says that these are enough.
fn published(
    watchpost: &Watchpost,
    path: &str,
    headers: &str,
    enough: impl Fn(&[(i64, Event)]) -> bool,
) -> Vec<(i64, Event)> {
    let mut found = Vec::new();
    let mut number = None;
    let stream = BufReader::new(watchpost.send("GET", path, headers, ""));
    for line in stream.lines() {
        let line = line.expect("the stream goes on");
        if let Some(id) = line.strip_prefix("id:") {
            number = id.trim().parse().ok();
        } else if let Some(data) = line.strip_prefix("data:") {
            let event = serde_json::from_str(data).expect("an event");
            found.push((number.take().expect("a number"), event));
            if enough(&found) {
                return found;
            }
        }
    }
    panic!("the stream ended after {found:?}");
}

/// The first `count` changes of tracks in a stream of events: number and event.
fn changes(
    watchpost: &Watchpost,
    path: &str,
    headers: &str,
    count: usize,
) -> Vec<(i64, TrackEvent)> {
    let tracks = |events: &[(i64, Event)]| -> Vec<(i64, TrackEvent)> {
        let tracks = events.iter().filter_map(|(number, event)| match event {
            Event::Track(track) => Some((*number, (**track).clone())),
            _ => None,
        });
        tracks.collect()
    };
    let all = published(watchpost, path, headers, |events| {
        tracks(events).len() == count
    });
    tracks(&all)
}

fn ids(events: &[ObjectEvent]) -> Vec<i64> {
    events.iter().map(|event| event.id).collect()
}

fn events(watchpost: &Watchpost, query: &str) -> Vec<ObjectEvent> {
    watchpost.read(&format!("/api/events?{query}"))
}

/// Cameras, their events and their metrics work although `data_dir` cannot be used.
#[test]
fn the_event_stream_works_without_a_store() {
    if onnxruntime().is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    write_config(folder.path(), &walkers("yard"));
    std::fs::write(folder.path().join("data"), "not a folder").expect("write");
    let watchpost = Watchpost::start_in(Arc::new(folder), program());
    assert_eq!(watchpost.request("GET", "/api/events", "", "").0, 503);

    let seen = published(&watchpost, "/api/events/stream?after=0", "", |events| {
        let has = |wanted: fn(&Event) -> bool| events.iter().any(|(_, event)| wanted(event));
        has(|event| matches!(event, Event::Motion(motion) if motion.active))
            && has(|event| matches!(event, Event::Zone(zone) if zone.change == ZoneChange::Entered))
            && has(|event| matches!(event, Event::Track(track) if track.zones == ["yard"]))
    });
    let numbers: Vec<i64> = seen.iter().map(|(number, _)| *number).collect();
    let expected: Vec<i64> = (1..=numbers.len() as i64).collect();
    assert_eq!(numbers, expected, "from the first event on, without a gap");
    // A client that comes back gets what it missed from memory.
    let again = published(&watchpost, "/api/events/stream?after=1", "", |events| {
        events.len() == seen.len() - 1
    });
    assert_eq!(again, seen[1..]);
    eventually("the entry is counted", || {
        let (_, metrics) = watchpost.request("GET", "/metrics", "", "");
        let entries =
            "watchpost_zone_entries_total{camera=\"front\",zone=\"yard\",label=\"person\"}";
        metrics.contains(entries)
    });
}

/// What was published before the end is replayed after it, numbers go on, nothing stays open, and no event goes because of its age
/// before a pass has reported it. The state that a page gets first is the one of the new run.
#[test]
fn events_survive_a_restart_of_the_daemon() {
    if onnxruntime().is_none() {
        return;
    }
    let watchpost = Watchpost::start(&(walkers("yard") + "events: {days: 30}\n"));
    let first = published(&watchpost, "/api/events/stream?after=0", "", |events| {
        let entered = |(_, event): &(i64, Event)| matches!(event, Event::Zone(zone) if zone.change == ZoneChange::Entered);
        events.iter().any(entered)
    });
    let kept = find("an event with its zone is stored", || {
        events(&watchpost, "zone=yard&limit=1").pop()
    });
    let path = format!("/api/events/{}/keep", kept.id);
    let (code, answer) = watchpost.request("PUT", &path, JSON, r#"{"keep": true}"#);
    assert_eq!(code, 200, "{answer}");

    let old = 40.0 * 86_400.0;
    let watchpost = watchpost.start_again_after(|data| {
        let database = rusqlite::Connection::open(data.join("watchpost.db")).expect("the database");
        let aged = database.execute(
            "UPDATE events SET start_time = start_time - ?1, last_time = last_time - ?1, end_time = end_time - ?1",
            [old],
        );
        assert!(aged.expect("older events") > 0);
    });
    let stored = events(
        &watchpost,
        &format!("limit=1000&before={}", kept.start_time - old / 2.0),
    );
    let event = stored
        .iter()
        .find(|event| event.id == kept.id)
        .expect("the event");
    assert_eq!(
        (event.keep, event.zones.as_slice()),
        (Some(true), ["yard".to_owned()].as_slice())
    );
    assert!(
        stored.iter().all(|event| event.end_time.is_some()),
        "{stored:?}"
    );

    // The page's connection begins with the new run's state.
    let (number, state) = Client::open(&watchpost, "/api/events/ws").state();
    let last = first.last().expect("an event").0;
    assert!(number > last, "{number} after {last}");
    assert!(state.iter().all(|event| event.number > last), "{state:?}");
    // A client that had all but the first event gets the others again as they were, then those of the end, then the new ones.
    let again = published(&watchpost, "/api/events/stream?after=1", "", |events| {
        // Each run applies its configuration once, at its beginning.
        let applied = |(_, event): &&(i64, Event)| matches!(event, Event::Configuration(c) if c.change == ConfigurationChange::Applied);
        events.iter().filter(applied).count() == 2
    });
    assert_eq!(again[..first.len() - 1], first[1..]);
    assert!(
        again.windows(2).all(|pair| pair[0].0 < pair[1].0),
        "in order"
    );
    let ended = |(_, event): &(i64, Event)| matches!(event, Event::Track(track) if track.event.id == kept.id && track.event.end_time.is_some());
    assert!(
        again.iter().any(ended),
        "the end of event {} is published",
        kept.id
    );
}

#[test]
fn events_and_grids_outlive_restarts_and_new_names() {
    if onnxruntime().is_none() {
        return;
    }
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../pipelines/demo-model/demo.onnx"
    );
    let watchpost = Watchpost::start(&format!(
        "model: {{path: {model}}}\ncameras:\n  old:\n    source: {{test: {{scene: \"walkers,objects=6\", width: 640, height: 360, fps: 5}}}}\n    detect: {{width: 640, height: 360, fps: 5}}\n"
    ));

    // Events come, and the stream tells of them from the very first change.
    let live = changes(&watchpost, "/api/events/stream?after=0", "", 3);
    assert!(live.windows(2).all(|w| w[0].0 < w[1].0), "{live:?}");
    assert!(
        live.iter()
            .all(|(_, change)| change.camera == "old" && change.event.camera == "old"),
        "{live:?}"
    );
    // Who comes back gets what was missed, and nothing twice.
    let headers = format!("Last-Event-ID: {}\r\n", live[0].0);
    let again = changes(&watchpost, "/api/events/stream", &headers, 2);
    assert_eq!(again, live[1..]);
    // Whose number is from another database, it hears what comes.
    let later = changes(
        &watchpost,
        "/api/events/stream",
        "Last-Event-ID: 999999999\r\n",
        1,
    );
    assert!(
        later[0].0 > live[0].0 && later[0].0 < 999_999_999,
        "{later:?}"
    );
    // An event is on the stream before it is in the list: what is stored is written in batches.
    let first = find("the first events are stored", || {
        Some(events(&watchpost, "camera=old")).filter(|events| !events.is_empty())
    });
    let event: ObjectEvent = watchpost.read(&format!("/api/events/{}", first[0].id));
    assert_eq!(
        (event.camera.as_str(), event.label.as_str()),
        ("old", "person")
    );
    assert_eq!(watchpost.get("/api/events?camera=nobody"), json!([]));
    assert_eq!(watchpost.get("/api/events?label=car"), json!([]));
    let page = events(&watchpost, &format!("before_id={}", first[0].id));
    assert!(page.iter().all(|event| event.id < first[0].id));

    // A camera that moves says so, and goes on.
    let moving = |name: &str, body: &str| {
        let path = format!("/api/cameras/{name}/moving");
        watchpost.request("POST", &path, JSON, body)
    };
    assert_eq!(
        moving("old", r#"{"moving": true}"#),
        (200, r#"{"moving":true}"#.into())
    );
    let frame = watchpost.camera("old")["detection_frame"].as_f64();
    watchpost.wait_for("old", "is analysed while it moves", |c| {
        c["detection_frame"].as_f64() > frame
    });
    assert_eq!(moving("old", r#"{"moving": false}"#).0, 200);
    assert_eq!(moving("nobody", r#"{"moving": true}"#).0, 404);
    assert_eq!(moving("old", r#"{"moving": "yes"}"#).0, 400);

    let (code, _) = watchpost.request(
        "POST",
        "/api/cameras/old/grid/freeze",
        JSON,
        r#"{"frozen": true}"#,
    );
    assert_eq!(code, 200);
    eventually("the grid is frozen", || {
        watchpost.get("/api/cameras/old/grid")["frozen"] == true
    });
    let grid = watchpost.get("/api/cameras/old/grid")["grid"].clone();
    assert!(grid.is_object(), "{grid}");

    // Another run knows them, and goes on counting.
    let watchpost = watchpost.start_again();
    let known = events(&watchpost, "camera=old&limit=1000");
    let newest = known[0].id;
    assert!(ids(&first).iter().all(|id| ids(&known).contains(id)));
    let highest = known.iter().map(|event| event.object_id).max().unwrap();
    let new = find("there is an event of the new run", || {
        events(&watchpost, "limit=1")
            .pop()
            .filter(|event| event.id > newest)
    });
    assert!(new.object_id > highest, "{new:?} after {highest}");

    // Another name.
    let mut config = watchpost.get("/api/config");
    let mut camera = config["cameras"]["old"].take();
    camera["previous_name"] = json!("old");
    config["cameras"] = json!({"new": camera});
    let (code, answer) = watchpost.request("POST", "/api/config", JSON, &config.to_string());
    assert_eq!(code, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(
        answer["actions"],
        json!([{"action": "rename", "from": "old", "camera": "new"}])
    );
    watchpost.wait_streaming("new");
    eventually("the events have the new name", || {
        let events = ids(&events(&watchpost, "camera=new&limit=1000"));
        ids(&first).iter().all(|id| events.contains(id))
    });
    assert_eq!(watchpost.get("/api/events?camera=old"), json!([]));
    let kept = watchpost.get("/api/cameras/new/grid");
    assert_eq!((&kept["grid"], &kept["frozen"]), (&grid, &json!(true)));
    assert_eq!(watchpost.request("GET", "/api/cameras/old", "", "").0, 404);

    // Removed, and added again: what was learned is gone, what happened is not.
    let camera = config["cameras"]["new"].to_string();
    let path = "/api/cameras/new";
    assert_eq!(watchpost.request("DELETE", path, JSON, "").0, 200);
    eventually("it is gone", || {
        watchpost.request("GET", path, "", "").0 == 404
    });
    assert_eq!(
        watchpost.request("GET", "/api/cameras/new/grid", "", "").0,
        404
    );
    let (code, answer) = watchpost.request("PUT", path, JSON, &camera);
    assert_eq!(code, 200, "{answer}");
    watchpost.wait_streaming("new");
    let fresh = watchpost.get("/api/cameras/new/grid");
    assert_ne!(fresh["grid"], grid, "{fresh}");
    assert_ne!(fresh["frozen"], true, "{fresh}");
    let all = events(&watchpost, "camera=new&limit=1000");
    assert!(ids(&first).iter().all(|id| ids(&all).contains(id)));
    let open: Vec<_> = all
        .iter()
        .filter(|event| event.end_time.is_none() && event.id <= newest)
        .collect();
    assert!(open.is_empty(), "nobody follows them any more: {open:?}");
}
