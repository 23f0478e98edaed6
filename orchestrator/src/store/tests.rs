use super::*;
use detection::{BBox, TrackChange};

mod media;

fn track(camera: &str, object_id: i64, change: TrackChange, time: f64) -> TrackRecord {
    TrackRecord {
        camera: camera.into(),
        object_id,
        change,
        label: "person".into(),
        score: 0.5,
        bbox: BBox::new(0.1, 0.1, 0.2, 0.5),
        path_length: 0.25,
        first_seen: 100.0,
        last_seen: time,
        zones: vec![],
    }
}

fn open() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

fn reserve(store: &Store, camera: &str) -> i64 {
    store.reserve_ids(camera).unwrap().recv().unwrap().unwrap()
}

#[test]
fn an_event_lasts_from_start_to_end_and_keeps_its_best_box() {
    let (_folder, store) = open();
    store
        .record(track("front", 7, TrackChange::Started, 100.0))
        .unwrap();
    let best = TrackRecord {
        score: 0.9,
        bbox: BBox::new(0.5, 0.25, 0.75, 0.5),
        zones: vec!["yard".into()],
        ..track("front", 7, TrackChange::Updated, 101.0)
    };
    store.record(best).unwrap();
    store
        .record(track("front", 7, TrackChange::Ended, 103.0))
        .unwrap();
    store.flush().unwrap();

    store
        .record(track("front", 8, TrackChange::Started, 104.0))
        .unwrap();
    store.flush().unwrap();
    let mut events = store.events(&EventFilter::default()).unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(
        (events[0].id, events[1].id),
        (2, 1),
        "numbers follow each other"
    );
    let event = &events.remove(1);
    assert_eq!(
        (event.start_time, event.end_time, event.state.as_str()),
        (100.0, Some(103.0), "ended")
    );
    assert_eq!(
        (event.score, event.best_time, event.best_box),
        (0.9, 101.0, [0.5, 0.25, 0.75, 0.5])
    );
    assert_eq!(event.zones, ["yard"]);
    assert_eq!(event.path.len(), 2);
}

#[test]
fn filters_hold_together_and_pages_follow_each_other() {
    let (_folder, store) = open();
    for id in 0..25 {
        let camera = if id % 5 == 0 { "back" } else { "front" };
        let zones = if id % 2 == 0 {
            vec!["yard".to_owned()]
        } else {
            vec![]
        };
        let time = 100.0 + id as f64;
        let record = TrackRecord {
            zones,
            first_seen: time,
            ..track(camera, id, TrackChange::Started, time)
        };
        store.record(record).unwrap();
    }
    store.flush().unwrap();
    let ids = |filter: EventFilter| -> Vec<i64> {
        store
            .events(&filter)
            .unwrap()
            .iter()
            .map(|event| event.object_id)
            .collect()
    };
    let yard_back = EventFilter {
        camera: Some("back".into()),
        zone: Some("yard".into()),
        ..Default::default()
    };
    assert_eq!(ids(yard_back), [20, 10, 0]);
    let between = EventFilter {
        after: Some(103.0),
        before: Some(106.0),
        ..Default::default()
    };
    assert_eq!(ids(between), [5, 4, 3]);
    let mut seen = Vec::new();
    let mut page = EventFilter {
        limit: Some(10),
        ..Default::default()
    };
    loop {
        let events = store.events(&page).unwrap();
        let Some(last) = events.last() else { break };
        page.before_id = Some(last.id);
        seen.extend(events.iter().map(|event| event.object_id));
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
}

#[test]
fn ids_go_on_after_a_restart_and_are_never_given_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(reserve(&store, "front"), 1);
    assert_eq!(reserve(&store, "front"), 1 + ID_BLOCK);
    assert_eq!(reserve(&store, "back"), 1);
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(reserve(&store, "front"), 1 + 2 * ID_BLOCK);
}

#[test]
fn a_restart_ends_what_was_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    store
        .record(track("front", 1, TrackChange::Started, 104.0))
        .unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let event = &store.events(&EventFilter::default()).unwrap()[0];
    assert_eq!(
        (event.state.as_str(), event.end_time),
        ("ended", Some(104.0))
    );
}

#[test]
fn events_end_with_whoever_followed_their_objects() {
    let (_folder, store) = open();
    for (camera, object) in [("front", 1), ("front", 2), ("back", 1)] {
        store
            .record(track(camera, object, TrackChange::Started, 104.0))
            .unwrap();
    }
    let ended = TrackChange::Ended;
    store.record(track("front", 2, ended, 105.0)).unwrap();
    let mut changes = store.subscribe();
    store.end_events("front").unwrap();
    store.flush().unwrap();
    let end = |camera: &str| -> Vec<_> {
        let camera = Some(camera.to_owned());
        let filter = EventFilter {
            camera,
            ..EventFilter::default()
        };
        let events = store.events(&filter).unwrap();
        events.iter().map(|event| event.end_time).collect()
    };
    assert_eq!(end("front"), [Some(105.0), Some(104.0)]);
    assert_eq!(end("back"), [None]);
    let mut last = String::new();
    while let Ok(change) = changes.try_recv() {
        last = change.json;
    }
    assert!(last.contains(r#""change":"ended""#), "{last}");
}

#[test]
fn grids_are_kept_moved_and_forgotten() {
    let (_folder, store) = open();
    store.save_grid("front", "{}", false).unwrap();
    store.save_grid("gone", "{}", false).unwrap();
    store.save_grid("front", r#"{"cells":[]}"#, true).unwrap();
    store.retain(&["front".into()]).unwrap();
    store.rename_camera("front", "door").unwrap();
    store.flush().unwrap();
    assert_eq!(store.grid("gone").unwrap(), None);
    assert_eq!(store.grid("front").unwrap(), None);
    let grid = store.grid("door").unwrap().unwrap();
    assert_eq!((grid.json.as_str(), grid.frozen), (r#"{"cells":[]}"#, true));
    store.delete_grid("door").unwrap();
    store.flush().unwrap();
    assert_eq!(store.grid("door").unwrap(), None);
}

#[test]
fn a_renamed_camera_keeps_its_history_and_its_ids() {
    let (_folder, store) = open();
    reserve(&store, "front");
    store
        .record(track("front", 1, TrackChange::Started, 104.0))
        .unwrap();
    store.rename_camera("front", "door").unwrap();
    assert_eq!(reserve(&store, "door"), 1 + ID_BLOCK);
    assert_eq!(
        store.events(&EventFilter::default()).unwrap()[0].camera,
        "door"
    );
}

#[test]
fn a_listener_that_was_away_misses_nothing() {
    let (_folder, store) = open();
    store
        .record(track("front", 1, TrackChange::Started, 100.0))
        .unwrap();
    store.flush().unwrap();
    let seen = store.newest_change().unwrap();
    store
        .record(track("front", 1, TrackChange::Moving, 101.0))
        .unwrap();
    store.flush().unwrap();
    let mut live = store.subscribe();
    store
        .record(track("front", 1, TrackChange::Ended, 102.0))
        .unwrap();
    store.flush().unwrap();

    let missed = store.changes_after(seen, 100).unwrap();
    let words: Vec<String> = missed
        .iter()
        .map(|c| {
            serde_json::from_str::<serde_json::Value>(&c.json).unwrap()["change"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_eq!(words, ["moving", "ended"]);
    assert_eq!(live.try_recv().unwrap(), missed[1]);
}

#[test]
fn a_long_path_is_thinned_not_cut() {
    let (_folder, store) = open();
    for step in 0..2000 {
        let x = if step % 2 == 0 { 0.1 } else { 0.6 };
        let bbox = BBox::new(x, 0.1, x + 0.1, 0.5);
        let time = 100.0 + f64::from(step);
        store
            .record(TrackRecord {
                bbox,
                ..track("front", 1, TrackChange::Updated, time)
            })
            .unwrap();
    }
    store.flush().unwrap();
    let event = &store.events(&EventFilter::default()).unwrap()[0];
    assert!(
        event.path.len() > events::MAX_PATH / 2 && event.path.len() <= events::MAX_PATH,
        "{}",
        event.path.len()
    );
    assert_eq!(event.path[0][0], 100.0);
}

#[test]
fn the_end_leaves_one_file_to_be_copied() {
    let (folder, store) = open();
    reserve(&store, "front");
    assert!(store.cameras().unwrap().contains("front"));
    drop(store);
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, [FILE_NAME, LOCK]);
}

#[test]
fn a_damaged_file_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join(FILE_NAME),
        b"this is no database, but it is long enough to be looked at".repeat(99),
    )
    .unwrap();
    let store = Store::open(folder.path()).unwrap();
    reserve(&store, "front");
    let aside = std::fs::read_dir(folder.path()).unwrap().any(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("damaged")
    });
    assert!(aside);
}

#[test]
fn a_newer_file_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let connection = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    connection.pragma_update(None, "user_version", 999).unwrap();
    drop(connection);
    let error = Store::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("schema 999"), "{error}");
}

/// The child's half of the test below: records without end and says what is on disk for sure.
#[test]
fn kill_9_child() {
    let Ok(folder) = std::env::var("WATCHPOST_STORE_TEST") else {
        return;
    };
    let store = Store::open(Path::new(&folder)).unwrap();
    for id in 1.. {
        store
            .record(track("front", id, TrackChange::Started, 100.0))
            .unwrap();
        if id % 20 == 0 {
            store.flush().unwrap();
            println!("on disk: {id}");
        }
    }
}

#[test]
fn kill_9_loses_nothing_that_was_on_disk_and_never_the_file() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let mut certain = 0;
    for round in 1..=3 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["store::tests::kill_9_child", "--exact", "--nocapture"])
            .env("WATCHPOST_STORE_TEST", folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines
            .map_while(std::io::Result::ok)
            .filter_map(|l| l.strip_prefix("on disk: ")?.parse::<i64>().ok());
        certain = certain.max(told.take(10 * round).last().unwrap());
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();

        let store = Store::open(folder.path()).unwrap();
        let events = store
            .events(&EventFilter {
                limit: Some(MAX_PAGE),
                ..Default::default()
            })
            .unwrap();
        assert!(
            events.len() as i64 >= certain,
            "{} events of at least {certain}",
            events.len()
        );
        let aside = std::fs::read_dir(folder.path()).unwrap().count();
        assert!(
            aside <= 4,
            "only the database, its log, its index and its lock are there"
        );
    }
}
