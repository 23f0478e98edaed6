//! Media, tasks that go on, and notes among the numbered changes.

use super::*;
use serde_json::json;
use watchpost_pipelines::tasks::{Parameters, Task, TaskState};

fn file(task: Task, name: &str, time: f64) -> MediaFile {
    MediaFile {
        task,
        name: name.into(),
        media_type: "image/jpeg".into(),
        time,
        duration: None,
        bytes: 100,
        width: 640,
        height: 0,
        thumbnail: Some(format!(".thumbnails/{name}.jpg")),
        series: (task == Task::Series).then(|| ("garden".into(), time as u64)),
        camera_config: json!({"streams": {}}),
    }
}

fn tasks(store: &Store) -> Vec<TaskRow> {
    store.own_reader().unwrap().tasks().unwrap()
}

fn names(store: &Store, filter: MediaFilter) -> Vec<String> {
    let items = store.media(&filter).unwrap().into_iter();
    items.map(|item| item.name).collect()
}

#[test]
fn media_are_found_by_camera_task_series_and_time_page_by_page() {
    let store = open();
    for number in 0..25 {
        let camera = if number % 5 == 0 { "back" } else { "front" };
        let task = if number % 2 == 0 {
            Task::Series
        } else {
            Task::Photo
        };
        let media = file(task, &format!("{number}.jpg"), f64::from(number));
        let (item, _) = store.add_media(camera, camera, media, 7).unwrap();
        assert_eq!(item.id, i64::from(number) + 1, "numbers follow each other");
        assert_eq!((item.width, item.height), (Some(640), None), "0 is unknown");
        assert_eq!(store.media_item(item.id).unwrap(), Some(item));
    }
    let series = MediaFilter {
        camera: Some("back".into()),
        series: Some("garden".into()),
        ..Default::default()
    };
    assert_eq!(names(&store, series), ["20.jpg", "10.jpg", "0.jpg"]);
    let between = MediaFilter {
        task: Some(Task::Photo),
        after: Some(3.0),
        before: Some(7.0),
        ..Default::default()
    };
    assert_eq!(names(&store, between), ["5.jpg", "3.jpg"]);
    let mut page = MediaFilter {
        limit: Some(10),
        ..Default::default()
    };
    let mut seen = Vec::new();
    loop {
        let items = store.media(&page).unwrap();
        let Some(last) = items.last() else { break };
        page.before_id = Some(last.id);
        seen.extend(items.into_iter().map(|item| item.time as i32));
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<_>>());
    let totals = store.media_totals().unwrap();
    assert_eq!((totals["back"].files, totals["front"].bytes), (5, 2140));
}

#[test]
fn a_file_that_is_added_again_stays_one_and_the_oldest_come_first() {
    let store = open();
    let (first, _) = store
        .add_media("front", "front", file(Task::Video, "a.mp4", 5.0), 0)
        .unwrap();
    let again = MediaFile {
        bytes: 200,
        duration: Some(2.5),
        ..file(Task::Video, "a.mp4", 5.0)
    };
    let (again, is_new) = store.add_media("front", "front", again, 0).unwrap();
    assert_eq!((again.id, again.size, is_new), (first.id, 200, false));
    store
        .add_media("front", "front", file(Task::Photo, "b.jpg", 4.0), 0)
        .unwrap();
    let oldest = store.oldest_media(None, None, 10).unwrap();
    assert_eq!((oldest[0].time, oldest[1].duration), (4.0, Some(2.5)));
    assert_eq!(store.oldest_media(Some(4.5), None, 10).unwrap().len(), 1);
    assert_eq!(
        store.oldest_media(None, Some(oldest[0].id), 10).unwrap(),
        oldest[1..]
    );

    store.remove_media(oldest).unwrap();
    store.flush().unwrap();
    assert_eq!(store.media_totals().unwrap(), BTreeMap::new());
}

#[test]
fn media_of_a_renamed_camera_have_its_new_name_and_their_old_folder() {
    let store = open();
    store
        .add_media("front", "front", file(Task::Photo, "a.jpg", 1.0), 0)
        .unwrap();
    store.rename_camera("front", "door").unwrap();
    store.flush().unwrap();
    let item = &store.media(&MediaFilter::default()).unwrap()[0];
    assert_eq!(
        (item.camera.as_str(), item.folder.as_str()),
        ("door", "front")
    );
    assert_eq!(store.media_folders().unwrap(), ["front"]);
    assert_eq!(store.media_of_folder("front").unwrap().len(), 1);
}

#[test]
fn tasks_go_on_after_a_restart_until_they_or_their_camera_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let row = |camera: &str, shots: u64| TaskRow {
        camera: camera.into(),
        id: Task::Series.into(),
        parameters: Parameters::parse(Task::Series, json!({"interval": 2, "count": 9})).unwrap(),
        progress: json!({"first": 12.5, "shots": shots}),
        state: TaskState::Paused,
    };
    store.save_task(row("front", 1)).unwrap();
    store.save_task(row("front", 2)).unwrap();
    store.save_task(row("gone", 1)).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(tasks(&store), [row("front", 2), row("gone", 1)]);
    let own = store.own_reader().unwrap();
    assert_eq!(own.tasks_of("gone").unwrap(), [row("gone", 1)]);
    store.retain(&["front".into()]).unwrap();
    store.rename_camera("front", "door").unwrap();
    store.flush().unwrap();
    assert_eq!(tasks(&store), [row("door", 2)]);
    store.forget_task("door", Task::Video.into()).unwrap();
    store.flush().unwrap();
    assert_eq!(tasks(&store).len(), 1);
    store.forget_task("door", Task::Series.into()).unwrap();
    store.flush().unwrap();
    assert_eq!(tasks(&store), []);
}

#[test]
fn recordings_of_one_camera_are_kept_apart_and_older_rows_are_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let row = |id: &str, until: f64| TaskRow {
        camera: "front".into(),
        id: id.parse().unwrap(),
        parameters: Parameters::parse(Task::Video, json!({ "until": until })).unwrap(),
        progress: json!(null),
        state: TaskState::Active,
    };
    store.save_task(row("video-2", 7.0)).unwrap();
    store.save_task(row("video-2", 9.0)).unwrap();
    drop(store);
    // As versions wrote it that knew one recording only.
    let old = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    let text = r#"{"task": "video", "until": 5.0}"#;
    let insert =
        "INSERT INTO tasks (camera, task, parameters, progress, state) VALUES (?1, ?2, ?3, ?4, ?5)";
    old.execute(insert, ("front", "video", text, "null", "\"active\""))
        .unwrap();
    drop(old);
    let store = Store::open(folder.path()).unwrap();
    assert_eq!(tasks(&store), [row("video", 5.0), row("video-2", 9.0)]);
    store
        .forget_task("front", "video".parse().unwrap())
        .unwrap();
    store.flush().unwrap();
    assert_eq!(tasks(&store), [row("video-2", 9.0)]);
}

#[test]
fn a_store_of_the_first_schema_is_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    schema::open_at(&path, 1);
    let old = Connection::open(&path).unwrap();
    old.execute("INSERT INTO changes (change) VALUES ('{}')", [])
        .unwrap();
    drop(old);
    let store = Store::open(folder.path()).unwrap();
    let changes = store.changes_after(0, 10).unwrap();
    assert_eq!((changes[0].seq, changes[0].kind.as_str()), (1, "track"));
    assert_eq!(tasks(&store), []);
    let copy = folder.path().join(format!("{FILE_NAME}.schema-1"));
    assert!(copy.exists(), "the file as it was is kept");
}
