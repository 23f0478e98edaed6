use super::*;
use crate::bus::tests::person;
use crate::bus::{ObjectEvents, Observation};
use detection::BBox;
use watchpost_api::{ConfigurationChange, ConfigurationEvent, EventState, MotionEvent};

mod media;

/// A store that records what a bus publishes.
struct Recorded {
    folder: tempfile::TempDir,
    store: Arc<Store>,
    bus: Bus,
    events: crate::bus::Subscription,
    objects: ObjectEvents,
}

impl std::ops::Deref for Recorded {
    type Target = Arc<Store>;

    fn deref(&self) -> &Arc<Store> {
        &self.store
    }
}

impl Recorded {
    fn open(folder: tempfile::TempDir) -> Self {
        let store = Arc::new(Store::open(folder.path()).unwrap());
        let bus = Bus::new(store.newest().event);
        Self {
            events: bus.subscribe("store"),
            objects: ObjectEvents::new(store.newest().object_event),
            folder,
            store,
            bus,
        }
    }

    fn publish(&mut self, event: Event) {
        self.bus.publish(event);
        while let Some(received) = self.events.try_next() {
            self.store.received(received);
        }
    }

    fn observe(&mut self, camera: &str, observation: Observation) {
        for event in self.objects.observe(camera, observation) {
            self.publish(event);
        }
    }

    fn track(&mut self, camera: &str, object_id: i64, change: TrackChange, time: f64) {
        self.observe(camera, person(object_id, change, time));
    }

    /// As a restart does it: everything in the queue is written.
    fn reopen(self) -> Self {
        let Self { folder, store, .. } = self;
        drop(store);
        Self::open(folder)
    }
}

fn open() -> Recorded {
    Recorded::open(tempfile::tempdir().unwrap())
}

fn motion(camera: &str, active: bool) -> Event {
    Event::Motion(MotionEvent {
        camera: camera.into(),
        active,
        time: 1.0,
    })
}

fn renamed(from: &str, to: &str) -> Event {
    Event::Configuration(ConfigurationEvent {
        change: ConfigurationChange::Renamed,
        camera: Some(to.into()),
        from: Some(from.into()),
    })
}

fn reserve(store: &Store, camera: &str) -> i64 {
    store.reserve_ids(camera).unwrap().recv().unwrap().unwrap()
}

#[test]
fn an_event_is_read_as_it_was_published() {
    let mut store = open();
    let mut live = store.bus.subscribe("test");
    store.track("front", 7, TrackChange::Started, 100.0);
    let best = Observation {
        score: 0.9,
        bbox: BBox::new(0.5, 0.25, 0.75, 0.5),
        zones: vec!["yard".into()],
        ..person(7, TrackChange::Updated, 101.0)
    };
    store.observe("front", best);
    store.track("front", 7, TrackChange::Ended, 103.0);
    store.flush().unwrap();
    let mut published = None;
    while let Some(Received::Event(event)) = live.try_next() {
        if let Event::Track(track) = &event.event {
            published = Some(track.event.clone());
        }
    }
    let mut event = published.unwrap();
    event.keep = Some(false);
    assert_eq!(store.events(&EventFilter::default()).unwrap(), [event]);
}

#[test]
fn filters_hold_together_and_pages_follow_each_other() {
    let mut store = open();
    for id in 0..25 {
        let camera = if id % 5 == 0 { "back" } else { "front" };
        let zones = if id % 2 == 0 {
            vec!["yard".to_owned()]
        } else {
            vec![]
        };
        let time = 100.0 + id as f64;
        let observation = Observation {
            zones,
            first_seen: time,
            ..person(id, TrackChange::Started, time)
        };
        store.observe(camera, observation);
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
    let mut store = open();
    store.track("front", 1, TrackChange::Started, 104.0);
    let store = store.reopen();
    let event = &store.events(&EventFilter::default()).unwrap()[0];
    assert_eq!(
        (event.state, event.end_time),
        (EventState::Ended, Some(104.0))
    );
}

#[test]
fn numbers_continue_after_a_clean_end_and_leave_a_gap_after_a_crash() {
    let mut store = open();
    store.track("front", 1, TrackChange::Started, 104.0);
    store.publish(motion("front", true));
    let store = store.reopen();
    let clean = Newest {
        event: 2,
        object_event: 1,
    };
    assert_eq!(store.newest(), clean);
    // As a kill leaves it.
    store.flush().unwrap();
    let copy = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal"] {
        let name = format!("{FILE_NAME}{suffix}");
        std::fs::copy(store.folder.path().join(&name), copy.path().join(&name)).unwrap();
    }
    let crashed = Recorded::open(copy).store.newest();
    assert!(
        crashed.event > 10_000 && crashed.object_event > 10_000,
        "{crashed:?}"
    );
}

#[test]
fn grids_are_kept_moved_and_forgotten() {
    let store = open();
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
    let mut store = open();
    reserve(&store, "front");
    store.track("front", 1, TrackChange::Started, 104.0);
    store.rename_camera("front", "door").unwrap();
    // This end was still on the bus.
    store.track("front", 1, TrackChange::Ended, 105.0);
    store.track("front", 2, TrackChange::Started, 105.0);
    store.publish(renamed("front", "door"));
    assert_eq!(reserve(&store, "door"), 1 + ID_BLOCK);
    let events = store.events(&EventFilter::default()).unwrap();
    let read: Vec<_> = events
        .iter()
        .map(|e| (e.camera.as_str(), e.end_time))
        .collect();
    assert_eq!(read, [("door", None), ("door", Some(105.0))]);
}

#[test]
fn events_are_replayed_by_the_numbers_of_the_bus() {
    let mut store = open();
    store.track("front", 1, TrackChange::Started, 100.0);
    store.track("front", 1, TrackChange::Moving, 101.0);
    store.publish(motion("front", true));
    store.track("front", 1, TrackChange::Ended, 102.0);
    store.flush().unwrap();
    let missed = store.changes_after(1, 100).unwrap();
    let (recent, _) = store.bus.recent(1);
    let recent: Vec<_> = recent
        .iter()
        .map(|event| Change {
            seq: event.number,
            kind: event.event.kind().to_owned(),
            json: event.json().to_owned(),
        })
        .collect();
    assert_eq!(missed, recent);
    let kinds: Vec<_> = missed.iter().map(|change| change.kind.as_str()).collect();
    assert_eq!(kinds, ["track", "motion", "track"]);
}

#[tokio::test]
async fn what_was_published_before_the_end_is_recorded() {
    let store = open();
    let done = tokio_util::sync::CancellationToken::new();
    let recorded = tokio::spawn(store.record_events(&store.bus, done.clone()));
    for _ in 0..10 {
        store.bus.publish(motion("front", true));
    }
    done.cancel();
    recorded.await.unwrap();
    store.flush().unwrap();
    assert_eq!(store.changes_after(0, 100).unwrap().len(), 10);
}

#[test]
fn the_supervisor_reads_while_a_request_holds_the_lock_of_the_readers() {
    let store = open();
    store.save_grid("front", "{}", false).unwrap();
    store.flush().unwrap();
    let own = store.own_reader().unwrap();
    let held = store.reader();
    let (sender, answer) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send((own.grid("front"), own.tasks_of("front"), own.cameras()));
    });
    let answer = answer.recv_timeout(std::time::Duration::from_secs(30));
    let (grid, tasks, cameras) = answer.expect("it waited for the lock");
    assert!(grid.unwrap().is_some());
    assert_eq!(tasks.unwrap(), []);
    assert!(cameras.unwrap().contains("front"));
    drop(held);
}

#[test]
fn the_end_leaves_one_file_to_be_copied() {
    let Recorded { folder, store, .. } = open();
    reserve(&store, "front");
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
    let bus = Bus::new(store.newest().event);
    let mut objects = ObjectEvents::new(store.newest().object_event);
    let first = reserve(&store, "front");
    for id in 1.. {
        let person = person(first + id, TrackChange::Started, 100.0);
        for event in objects.observe("front", person) {
            let number = bus.publish(event);
            let (events, _) = bus.recent(number - 1);
            store.record(events[0].clone()).unwrap();
        }
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
