//! Real files, a real store, real limits.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use testkit::eventually;
use watchpost_pipelines::tasks::Task;
use watchpost_pipelines::tasks::file::{MediaFolder, MediaName};

use super::*;
use crate::config::Bytes;
use crate::store::MediaFilter;

struct Bench {
    folder: TempDir,
    store: Arc<Store>,
    bus: Bus,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(folder.path()).unwrap());
        Self {
            folder,
            store,
            bus: Bus::new(0),
        }
    }

    fn start(&self, config: &MediaConfig) -> Media {
        let media = Media::start(
            self.folder.path(),
            config,
            self.store.clone(),
            self.bus.clone(),
        )
        .unwrap();
        eventually("the folder was looked through", || {
            media.numbers().free.is_some()
        });
        media
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(FOLDER).join(name)
    }

    /// A file as a worker makes it, at a second of the first of January 2026.
    fn write(&self, camera: &str, second: u32, bytes: usize) -> MediaFile {
        let name = format!("2026-01-01/00-00-{second:02}.000-photo.jpg");
        let thumbnail = format!(".thumbnails/{name}.jpg");
        write(&self.path(&format!("{camera}/{name}")), bytes);
        write(&self.path(&format!("{camera}/{thumbnail}")), 100);
        MediaFile {
            task: Task::Photo,
            name,
            media_type: "image/jpeg".into(),
            time: 1_767_225_600.0 + f64::from(second),
            duration: None,
            bytes: 0, // what is told is not believed
            width: 64,
            height: 48,
            thumbnail: Some(thumbnail),
            series: None,
            camera_config: json!(null),
        }
    }

    fn names(&self) -> Vec<String> {
        let items = self.store.media(&MediaFilter::default()).unwrap();
        items
            .into_iter()
            .map(|item| format!("{}/{}", item.camera, item.name))
            .collect()
    }
}

fn write(path: &Path, bytes: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, vec![7; bytes]).unwrap();
}

/// No limit but those that are given.
fn limits(min_free: u64, max_bytes: Option<u64>, days: Option<f64>) -> MediaConfig {
    MediaConfig {
        min_free: Bytes(min_free),
        max_bytes: max_bytes.map(Bytes),
        days,
    }
}

#[test]
fn beyond_a_number_of_bytes_the_oldest_go_with_all_that_belongs_to_them() {
    let bench = Bench::new();
    // Three files would do, but not with their thumbnails.
    let media = bench.start(&limits(0, Some(3250), None));
    let unfinished = MediaFolder::new(bench.folder.path(), "front")
        .create(&MediaName {
            time: std::time::UNIX_EPOCH + Duration::from_secs(1_767_225_600),
            task: Task::Video,
            series: None,
            extension: "mp4".into(),
        })
        .unwrap();
    unfinished.write_all(&[7; 5000]).unwrap();
    for second in 1..=5 {
        let camera = if second % 2 == 0 { "back" } else { "front" };
        let file = bench.write(camera, second, 1000);
        write(&bench.path(&format!("{camera}/{}.json", file.name)), 1);
        media.add(camera, file);
    }
    let names = [
        "front/2026-01-01/00-00-05.000-photo.jpg",
        "back/2026-01-01/00-00-04.000-photo.jpg",
    ];
    eventually("two files of 1100 bytes are left", || {
        bench.names() == names
    });
    eventually("all is counted", || {
        let numbers = media.numbers();
        let removed = |camera: &str| numbers.removed.get(camera).copied().unwrap_or_default();
        removed("front").files == 2
            && removed("back").bytes == 1100
            && numbers.kept["front"].bytes == 1100
    });
    for gone in ["front", "back"].map(|camera| bench.path(camera)) {
        let (days, thumbnails) = (gone.join("2026-01-01"), gone.join(".thumbnails/2026-01-01"));
        let left = |folder: &Path| {
            let entries = std::fs::read_dir(folder).unwrap().flatten();
            entries
                .filter(|e| !e.file_name().to_string_lossy().ends_with(".part"))
                .count()
        };
        assert_eq!(
            (left(&days), left(&thumbnails)),
            (2, 1),
            "with its description"
        );
    }
    assert!(
        unfinished.path().exists(),
        "a file that is being written stays"
    );
    // Also where the folder is looked through meanwhile.
    drop(media);
    drop(bench.start(&limits(u64::MAX, None, None)));
    assert!(unfinished.path().exists());
    unfinished.finish().unwrap();
}

#[test]
fn old_files_go_and_their_day_with_them() {
    let bench = Bench::new();
    let media = bench.start(&limits(0, None, None));
    media.add("front", bench.write("front", 1, 10));
    let now = crate::clock::now();
    let young = MediaFile {
        time: now - 3600.0,
        ..bench.write("back", 2, 10)
    };
    media.add("back", young);
    eventually("both are there", || bench.names().len() == 2);
    drop(media);
    let _media = bench.start(&limits(0, None, Some(0.5)));
    eventually("the old one is gone", || bench.names().len() == 1);
    assert!(bench.names()[0].starts_with("back/"));
    eventually("and so is its folder", || {
        !bench.path("front/2026-01-01").exists()
            && !bench.path("front/.thumbnails/2026-01-01").exists()
    });
    assert!(bench.path("back/2026-01-01").exists());
}

#[test]
fn what_was_made_before_the_clock_was_set_is_no_older_than_this_run() {
    let bench = Bench::new();
    let media = bench.start(&limits(0, None, None));
    media.add("front", bench.write("front", 1, 10));
    eventually("the first is there", || bench.names().len() == 1);
    drop(media);
    let media = bench.start(&limits(0, None, None));
    let unset = MediaFile {
        time: 12.0,
        ..bench.write("back", 2, 10)
    };
    media.add("back", unset);
    eventually("both are there", || bench.names().len() == 2);
    media.configure(&limits(0, None, Some(0.5)));
    eventually("the old one is gone", || bench.names().len() == 1);
    assert!(bench.names()[0].starts_with("back/"), "{:?}", bench.names());
    // A full disk takes the oldest all the same.
    media.configure(&limits(u64::MAX, None, Some(0.5)));
    eventually("nothing is left", || bench.names().is_empty());
}

#[test]
fn a_full_disk_costs_the_oldest_files_and_no_more_than_are_lacking() {
    let bench = Bench::new();
    let media = bench.start(&limits(0, None, None));
    for second in 1..=4 {
        media.add("front", bench.write("front", second, 1 << 20));
    }
    eventually("four files are there", || bench.names().len() == 4);
    // Other processes use this disk too and may free more than half a file meanwhile: the limit follows, and
    // only the order is certain.
    eventually("some are gone", || {
        let free = media.inner.shared.place.free().unwrap();
        media.configure(&limits(free + (1 << 19), None, None));
        bench.names().len() < 4
    });
    let names = bench.names();
    if let Some(oldest) = names.last() {
        let second = 5 - names.len();
        assert!(oldest.contains(&format!("00-00-0{second}")), "{names:?}");
    }
    // With nothing left it does not go on for ever, and says so.
    media.configure(&limits(u64::MAX, None, None));
    eventually("nothing is left", || bench.names().is_empty());
    // Numbers are published after the index.
    eventually("nothing is counted", || media.numbers().kept.is_empty());
}

#[test]
fn the_index_follows_the_folder_when_watchpost_starts() {
    let bench = Bench::new();
    let media = bench.start(&limits(0, None, None));
    let gone = bench.write("front", 1, 10);
    media.add("front", gone.clone());
    media.add("front", bench.write("front", 2, 10));
    eventually("both are there", || bench.names().len() == 2);
    drop(media);

    std::fs::remove_file(bench.path(&format!("front/{}", gone.name))).unwrap();
    bench.write("back", 3, 20);
    write(
        &bench.path("back/2026-01-01/00-00-04.000-series-garden-000042.jpg"),
        5,
    );
    // None of these is a file of ours.
    write(
        &bench.path("back/2026-01-01/.00-00-05.000-photo.jpg.part"),
        5,
    );
    write(
        &bench.path("back/2026-01-01/00-00-04.000-photo.jpg.json"),
        5,
    );
    write(&bench.path("back/2026-01-01/holiday.jpg"), 5);
    write(&bench.path("back/notes/00-00-04.000-photo.jpg"), 5);
    write(
        &bench.path("lost+found/2026-01-01/00-00-06.000-photo.jpg"),
        5,
    );
    std::os::unix::fs::symlink(bench.path("back"), bench.path("link")).unwrap();

    let media = bench.start(&limits(0, None, None));
    let names = [
        "back/2026-01-01/00-00-04.000-series-garden-000042.jpg",
        "back/2026-01-01/00-00-03.000-photo.jpg",
        "front/2026-01-01/00-00-02.000-photo.jpg",
    ];
    eventually("the index is what is there", || bench.names() == names);
    let items = bench.store.media(&MediaFilter::default()).unwrap();
    let series = &items[0];
    assert_eq!(
        (series.series.as_deref(), series.series_number, series.time),
        (Some("garden"), Some(42), 1_767_225_604.0)
    );
    assert_eq!((series.size, series.media_type.as_str()), (5, "image/jpeg"));
    assert_eq!((series.thumbnail.as_deref(), series.width), (None, None));
    assert!(items[1].thumbnail.is_some());
    assert_eq!(items[2].width, Some(64), "what was known stays known");
    let thumbnail = format!("front/.thumbnails/{}.jpg", gone.name);
    eventually("the thumbnail of the deleted file goes too", || {
        !bench.path(&thumbnail).exists()
    });
    assert!(bench.path("back/2026-01-01/holiday.jpg").exists());
    drop(media);
}

#[test]
fn files_of_a_renamed_camera_are_its_own_and_stay_in_their_folder() {
    let bench = Bench::new();
    let media = bench.start(&limits(0, None, None));
    media.add("front", bench.write("front", 1, 10));
    eventually("it is there", || bench.names().len() == 1);
    bench.store.rename_camera("front", "door").unwrap();
    media.renamed("front", "door");
    // The worker closes a file after that.
    media.add("front", bench.write("front", 2, 10));
    eventually("both are the new name's", || {
        bench.names().len() == 2 && bench.names().iter().all(|name| name.starts_with("door/"))
    });
    eventually("and counted so", || {
        media.numbers().kept.keys().eq(["door"]) && media.numbers().kept["door"].files == 2
    });
    let item = &bench.store.media(&MediaFilter::default()).unwrap()[0];
    assert!(media.open(item, Part::File).is_ok());
    assert!(media.open(item, Part::Thumbnail).is_ok());
}

#[test]
fn what_a_report_names_must_be_there_and_in_the_folder() {
    let bench = Bench::new();
    let media = bench.start(&limits(0, None, None));
    write(&bench.folder.path().join("secret"), 10);
    let good = bench.write("front", 1, 10);
    for name in ["../../secret", "2026-01-01/no.jpg", "/etc/hostname"] {
        let lie = MediaFile {
            name: name.into(),
            ..good.clone()
        };
        media.add("front", lie);
    }
    media.add("front", good);
    eventually("the one that is there is taken", || {
        !bench.names().is_empty()
    });
    assert_eq!(bench.names().len(), 1);
    let item = &bench.store.media(&MediaFilter::default()).unwrap()[0];
    assert_eq!(item.size, 10, "its size is looked up");
}

#[tokio::test]
async fn a_file_is_removed_once() {
    let bench = Bench::new();
    let media = bench.start(&limits(0, None, None));
    let file = bench.write("front", 1, 10);
    let path = bench.path(&format!("front/{}", file.name));
    media.add("front", file);
    eventually("it is there", || bench.names().len() == 1);
    let item = bench
        .store
        .media(&MediaFilter::default())
        .unwrap()
        .remove(0);
    assert_eq!(media.remove(item.id).await, Ok(true));
    assert!(!path.exists());
    assert_eq!(bench.names(), Vec::<String>::new());
    assert_eq!(media.remove(item.id).await, Ok(false));
}

#[test]
fn files_that_come_and_go_are_published_once_they_are_in_the_index() {
    let bench = Bench::new();
    let mut events = bench.bus.subscribe("test");
    let media = bench.start(&limits(0, Some(1200), None));
    for second in 1..=2 {
        media.add("front", bench.write("front", second, 1000));
    }
    let mut changes = Vec::new();
    eventually("two files came and one went", || {
        while let Some(crate::bus::Received::Event(event)) = events.try_next() {
            if let watchpost_api::Event::Media(media) = &event.event {
                changes.push((media.change, media.media.id));
            }
        }
        changes.len() == 3
    });
    use watchpost_api::MediaChange::{Added, Removed};
    assert!(changes.contains(&(Removed, 1)), "{changes:?}");
    let added = |id| changes.iter().position(|change| *change == (Added, id));
    assert!(added(1) < added(2), "{changes:?}");
}
