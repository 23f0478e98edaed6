//! Recordings of real pipelines, decoded again.

mod task_camera;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use gst::prelude::*;
use task_camera::{Camera, Decoded, Log, decode, folder, wait_until};
use watchpost_pipelines::camera::VideoConfig;
use watchpost_pipelines::encode::{EncodedStream, EncoderSetup, Start};
use watchpost_pipelines::tasks::task::VideoParameters;
use watchpost_pipelines::tasks::{
    MediaFile, MediaFolder, Size, Task, TaskEvent, VideoSetup, VideoTask,
};

const RAW: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=320,height=240,framerate=30/1";
const ENCODED: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! \
    x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! video/x-h264,profile=constrained-baseline";

fn setup(root: &Path) -> VideoSetup {
    VideoSetup {
        folder: folder(root),
        fragment: Duration::from_millis(500),
        start: Start::Next,
        description: serde_json::json!({"test": true}),
    }
}

/// The stream of a camera's main pictures.
fn stream(camera: &Camera, log: &Log) -> EncodedStream {
    encoded(camera, &VideoConfig::default(), None, log)
}

fn encoded(camera: &Camera, config: &VideoConfig, size: Option<Size>, log: &Log) -> EncodedStream {
    let setup = EncoderSetup {
        config: config.clone(),
        size,
        ..EncoderSetup::default()
    };
    EncodedStream::start(&camera.taps(), &setup, &log.events()).unwrap()
}

fn lasting(seconds: f64) -> VideoParameters {
    VideoParameters {
        duration: Some(seconds),
        until: None,
    }
}

/// Waits until something is recorded.
fn wait_for_progress(log: &Log) {
    log.wait("progress", |events| {
        events
            .iter()
            .any(|event| matches!(event, TaskEvent::Progress(text) if text.contains(" s, ")))
            .then_some(())
    });
}

fn path_of(root: &Path, file: &MediaFile) -> PathBuf {
    folder(root).path().join(&file.name)
}

/// Decodes a recording and compares it with what was said about it.
fn check(root: &Path, file: &MediaFile) -> Decoded {
    let path = path_of(root, file);
    let film = decode(&path);
    film.is_continuous(30);
    assert_eq!(film.times[0], 0.0, "{film:?}");
    assert_eq!(film.size, (file.width as i32, file.height as i32));
    let lasts = film.times.last().unwrap() + 1.0 / 30.0;
    let said = file.duration.unwrap();
    assert!((said - lasts).abs() < 0.1, "{said} s, but {lasts} s");
    assert_eq!(file.bytes, std::fs::metadata(&path).unwrap().len());
    assert_eq!(file.media_type, "video/mp4");
    film
}

#[test]
fn a_recording_of_raw_pictures_lasts_as_long_as_asked_and_has_a_thumbnail() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    let log = Log::new();
    let size = Size {
        width: 160,
        height: 121,
    };
    let stream = encoded(&camera, &VideoConfig::default(), Some(size), &log);
    let setup = setup(root.path());
    let _task = VideoTask::start(stream, setup, &lasting(2.0), log.events()).unwrap();
    let file = log.file();
    log.ended();
    let warnings = log.warnings();
    assert!(warnings[0].contains("processor (x264enc)"), "{log:?}");
    assert_eq!(
        (file.width, file.height),
        (160, 120),
        "odd rows have no colour"
    );
    let film = check(root.path(), &file);
    assert!((50..=61).contains(&film.times.len()), "{film:?}");
    let thumbnail = file.thumbnail.unwrap();
    assert!(thumbnail.starts_with(".thumbnails/"), "{thumbnail}");
    assert_eq!(
        decode(&folder(root.path()).path().join(thumbnail)).size,
        (160, 120)
    );
    assert_eq!(file.camera_config["test"], true);
}

#[test]
fn what_the_camera_encoded_is_recorded_as_it_is_from_a_key_frame_on() {
    records_as_it_is(ENCODED, "avc3");
}

#[test]
fn h265_is_recorded_as_it_is_too() {
    gst::init().unwrap();
    if gst::ElementFactory::find("x265enc").is_none() {
        println!("skipped: x265enc is not installed, so there is no camera that sends H.265");
        return;
    }
    let encoder = "x265enc tune=zerolatency speed-preset=ultrafast key-int-max=15";
    let line = RAW.replace("width=320,height=240", "width=160,height=120");
    records_as_it_is(&format!("{line} ! {encoder}"), "hev1");
}

fn records_as_it_is(line: &str, codec: &str) {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(line);
    let log = Log::new();
    let task = VideoTask::start(
        stream(&camera, &log),
        setup(root.path()),
        &VideoParameters::default(),
        log.events(),
    )
    .unwrap();
    wait_for_progress(&log);
    assert!(task.stop());
    log.ended();
    let file = log.file();
    assert_eq!(log.warnings(), [""; 0], "nothing is encoded");
    let film = check(root.path(), &file);
    assert!(film.times.len() > 20, "{film:?}");
    let bytes = std::fs::read(path_of(root.path(), &file)).unwrap();
    assert!(bytes.windows(4).any(|word| word == codec.as_bytes()));
}

#[test]
fn a_recording_begins_before_it_was_asked_for() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(ENCODED);
    let config = VideoConfig {
        pre_record: 1.0,
        ..VideoConfig::default()
    };
    let log = Log::new();
    let stream = encoded(&camera, &config, None, &log);
    wait_until("the history is long enough", || {
        stream.covers() >= Duration::from_secs(1)
    });
    let setup = VideoSetup {
        start: Start::OldestKey,
        ..setup(root.path())
    };
    let _task = VideoTask::start(stream.clone(), setup, &lasting(0.5), log.events()).unwrap();
    let file = log.file();
    log.ended();
    // A group of pictures lasts half a second here.
    let film = check(root.path(), &file);
    let lasts = film.times.last().unwrap();
    assert!((1.3..2.2).contains(lasts), "{lasts}");
    let covers = stream.covers();
    assert!(covers < Duration::from_secs(2), "{covers:?}");
}

#[test]
fn the_end_of_the_camera_ends_the_recording_and_the_file_is_whole() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    let log = Log::new();
    let _task = VideoTask::start(
        stream(&camera, &log),
        setup(root.path()),
        &VideoParameters::default(),
        log.events(),
    )
    .unwrap();
    wait_for_progress(&log);
    camera.end();
    let file = log.file();
    let reason = log.failed();
    assert!(reason.contains("stream has ended"), "{reason}");
    check(root.path(), &file);
}

#[test]
fn a_new_format_begins_a_new_file() {
    let root = tempfile::tempdir().unwrap();
    let line = "videotestsrc is-live=true pattern=ball ! capsfilter name=size caps=\
        video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! x264enc tune=zerolatency \
        speed-preset=ultrafast key-int-max=15";
    let camera = Camera::start(line);
    let log = Log::new();
    let task = VideoTask::start(
        stream(&camera, &log),
        setup(root.path()),
        &VideoParameters::default(),
        log.events(),
    )
    .unwrap();
    wait_for_progress(&log);
    let smaller: gst::Caps = "video/x-raw,format=I420,width=160,height=120,framerate=30/1"
        .parse()
        .unwrap();
    let size = camera
        .pipeline()
        .iterate_recurse()
        .find(|e| e.name() == "size");
    size.unwrap().set_property("caps", smaller);
    let first = log.file();
    wait_until("pictures of the new size", || {
        let files = task_camera::tree(folder(root.path()).path());
        let part = files
            .iter()
            .find(|f| f.to_string_lossy().ends_with(".part"));
        part.is_some_and(|part| {
            let path = folder(root.path()).path().join(part);
            std::fs::metadata(path).is_ok_and(|file| file.len() > 10_000)
        })
    });
    assert!(task.stop());
    log.ended();
    let second = log.files(2).remove(1);
    assert_eq!((first.width, second.width), (320, 160));
    check(root.path(), &first);
    check(root.path(), &second);
}

#[test]
fn other_parameter_sets_of_the_same_size_go_on_in_the_same_file() {
    let root = tempfile::tempdir().unwrap();
    // The second half has other parameter sets: another entropy coding and profile.
    let part = |cabac| {
        format!(
            "videotestsrc num-buffers=60 pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! \
             x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 {cabac}"
        )
    };
    let (first, second) = (part("cabac=false"), part("cabac=true dct8x8=true"));
    let camera = Camera::start(&format!("{first} ! c. {second} ! c. concat name=c"));
    let log = Log::new();
    let config = VideoConfig {
        pre_record: 8.0,
        ..VideoConfig::default()
    };
    let stream = encoded(&camera, &config, None, &log);
    let setup = VideoSetup {
        start: Start::OldestKey,
        ..setup(root.path())
    };
    let lasts = VideoParameters::default();
    let _task = VideoTask::start(stream.clone(), setup, &lasts, log.events()).unwrap();
    let reason = log.failed();
    assert!(reason.contains("stream has ended"), "{reason}");
    let [file] = &log.all_files()[..] else {
        panic!("more than one file: {log:?}")
    };
    let film = check(root.path(), file);
    assert!(film.times.len() > 75, "both halves: {film:?}");
    let covers = stream.covers();
    assert!(covers > Duration::from_millis(2_500), "{covers:?}");
    assert_eq!(stream.status().version, 1);
}

/// A small disk, or none where this user may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: this user may not mount a tmpfs, so there is no small disk to fill");
        None
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_ends_the_recording_and_what_is_there_plays() {
    let Some(disk) = SmallDisk::mount(1 << 20) else {
        return;
    };
    let camera = Camera::start(&RAW.replace("ball", "snow"));
    let log = Log::new();
    let config = VideoConfig {
        bitrate: Some(4000),
        ..VideoConfig::default()
    };
    let stream = encoded(&camera, &config, None, &log);
    let setup = setup(disk.0.path());
    let _task = VideoTask::start(stream, setup, &VideoParameters::default(), log.events()).unwrap();
    let reason = log.failed();
    assert!(reason.contains("No space left"), "{reason}");
    assert!(reason.contains("make room"), "{reason}");
    assert!(reason.contains("plays up to"), "{reason}");
    let file = log.file();
    let film = check(disk.0.path(), &file);
    assert!(film.times.len() > 10, "{film:?}");
}

/// The process that is killed: records until somebody ends it.
#[test]
#[ignore = "run by the test below"]
fn a_process_that_records() {
    let Ok(root) = std::env::var("WATCHPOST_TEST_ROOT") else {
        return;
    };
    let camera = Camera::start(RAW);
    let log = Log::new();
    let _task = VideoTask::start(
        stream(&camera, &log),
        setup(Path::new(&root)),
        &VideoParameters::default(),
        log.events(),
    )
    .unwrap();
    panic!("it ended: {}", log.failed());
}

#[test]
fn a_recording_survives_kill_9_up_to_the_last_fragment() {
    let root = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "a_process_that_records"])
        .env("WATCHPOST_TEST_ROOT", root.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let part = || {
        let files = task_camera::tree(root.path());
        files
            .into_iter()
            .find(|path| path.to_string_lossy().ends_with(".mp4.part"))
    };
    wait_until("three fragments are written", || {
        part().is_some_and(|part| {
            let bytes = std::fs::read(root.path().join(part)).unwrap_or_default();
            bytes.windows(4).filter(|word| word == b"moof").count() >= 3
        })
    });
    gst::init().unwrap();
    let media = MediaFolder::new(root.path(), "front");
    assert_eq!(
        media.adopt(),
        (vec![], vec![]),
        "a file at work is left alone"
    );
    child.kill().unwrap();
    child.wait().unwrap();
    // What it was writing when it died may be cut anywhere.
    let written = std::fs::OpenOptions::new()
        .append(true)
        .open(root.path().join(part().unwrap()))
        .unwrap();
    std::io::Write::write_all(&mut &written, b"\0\0\x20\0moof\0\0").unwrap();
    drop(written);
    let (adopted, problems) = media.adopt_with_thumbnails();
    assert_eq!(problems, [""; 0]);
    let [file] = &adopted[..] else {
        panic!("{adopted:?}")
    };
    assert_eq!(file.task, Task::Video);
    let film = check(root.path(), file);
    assert!(film.times.last().unwrap() > &1.0, "{film:?}");
    assert!(file.thumbnail.is_some());
    assert_eq!(part(), None);
    assert_eq!(media.adopt(), (vec![], vec![]), "nothing is left to adopt");
}
