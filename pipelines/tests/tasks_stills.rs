//! Photos, raw photos and series of real pipelines, decoded again.

mod task_camera;

use std::path::Path;
use std::time::{Duration, Instant};

use gst::prelude::*;
use task_camera::{Camera, Log, PATIENCE, decode, folder, tree, wait_until};
use watchpost_pipelines::capture::StreamId;
use watchpost_pipelines::tasks::task::{SeriesKind, SeriesParameters};
use watchpost_pipelines::tasks::{
    MediaFile, MediaFolder, PhotoSetup, PhotoTask, RawPhotoTask, RawSetup, SeriesPosition,
    SeriesSetup, SeriesTask, Size, Stream, Tap, Taps, Task, TaskEvent, Transform,
};

const RAW: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=320,height=240,framerate=30/1";

fn photo(root: &Path) -> PhotoSetup {
    PhotoSetup {
        folder: folder(root),
        stream: Stream::Main,
        size: None,
        quality: 93,
        patience: Duration::from_secs(10),
    }
}

fn raw(root: &Path) -> RawSetup {
    RawSetup {
        folder: folder(root),
        make: "Raspberry Pi".into(),
        model: "/base/soc/i2c0mux/i2c@1/imx219@10".into(),
        transform: Transform::default(),
        patience: Duration::from_secs(10),
    }
}

fn series(interval: f64) -> SeriesParameters {
    SeriesParameters {
        name: Some("garden".into()),
        kind: SeriesKind::Jpg,
        interval,
        count: None,
        start: None,
        end: None,
        continue_on_start: false,
        position: None,
    }
}

fn start_series(
    camera: Option<&Camera>,
    root: &Path,
    parameters: &SeriesParameters,
    position: Option<SeriesPosition>,
) -> (SeriesTask, Log) {
    let log = Log::new();
    let setup = SeriesSetup {
        photo: photo(root),
        raw: raw(root),
    };
    let taps = camera.map(Camera::taps);
    let task = SeriesTask::start(taps.as_ref(), setup, parameters, position, log.events()).unwrap();
    (task, log)
}

fn position(log: &Log) -> SeriesPosition {
    log.wait("position", |events| {
        events.iter().rev().find_map(|event| match event {
            TaskEvent::Series(position) => Some(*position),
            _ => None,
        })
    })
}

fn numbers(files: &[MediaFile]) -> Vec<u64> {
    files
        .iter()
        .map(|file| file.series.as_ref().unwrap().1)
        .collect()
}

fn wall_clock() -> f64 {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

#[test]
fn a_photo_is_not_older_than_its_request_and_has_a_thumbnail_of_the_same_frame() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    for (size, expected) in [
        (None, (320, 240)),
        (
            Some(Size {
                width: 640,
                height: 360,
            }),
            (640, 360),
        ),
    ] {
        let log = Log::new();
        let setup = PhotoSetup {
            size,
            ..photo(root.path())
        };
        let requested = wall_clock();
        let task = PhotoTask::start(&camera.taps(), setup, log.events()).unwrap();
        let file = log.file();
        log.ended();
        assert!(task.stop());
        let late = file.time - requested;
        assert!((-0.001..PATIENCE.as_secs_f64()).contains(&late), "{late}");
        assert_eq!(file.task, Task::Photo);
        assert_eq!(file.media_type, "image/jpeg");
        assert_eq!((file.width as i32, file.height as i32), expected);
        let path = folder(root.path()).path().join(&file.name);
        assert_eq!(decode(&path).size, expected);
        assert_eq!(file.bytes, std::fs::metadata(&path).unwrap().len());
        let thumbnail = folder(root.path()).path().join(file.thumbnail.unwrap());
        assert_eq!(decode(&thumbnail).size, (320, 240));
    }
    assert_eq!(
        tree(root.path()).len(),
        4,
        "nothing but the files: {:?}",
        tree(root.path())
    );
}

#[test]
fn a_camera_without_frames_is_said_to_have_none() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    let taps = camera.taps();
    camera.pipeline().set_state(gst::State::Paused).unwrap();
    camera.pipeline().set_state(gst::State::Ready).unwrap();
    let log = Log::new();
    let setup = PhotoSetup {
        patience: Duration::from_millis(300),
        ..photo(root.path())
    };
    let _task = PhotoTask::start(&taps, setup, log.events()).unwrap();
    let reason = log.failed();
    assert!(
        reason.contains("no frame came from the camera within 0.3 s"),
        "{reason}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_named_with_the_cause() {
    let camera = Camera::start(RAW);
    let log = Log::new();
    // Not even root may make a folder there.
    let nowhere = Path::new("/sys/kernel");
    let _task = PhotoTask::start(&camera.taps(), photo(nowhere), log.events()).unwrap();
    let reason = log.failed();
    assert!(
        reason.contains("cannot make folder /sys/kernel/media"),
        "{reason}"
    );
    assert!(
        reason.contains("right to write") || reason.contains("read-only"),
        "{reason}"
    );
}

/// A tap that gives the sensor's values: bytes of `videotestsrc`, declared to be what `caps` says.
fn sensor(caps: &str, bytes_per_row: u32, height: u32) -> (gst::Pipeline, Taps) {
    gst::init().unwrap();
    let (tap, sink) = Tap::new("raw", false);
    let line = format!(
        "videotestsrc is-live=true ! video/x-bayer,format=rggb,width={bytes_per_row},height={height},framerate=30/1 ! \
         capssetter name=as join=true caps=\"{caps}\""
    );
    let bin = gst::parse::bin_from_description(&line, true).unwrap();
    let pipeline = gst::Pipeline::new();
    pipeline.add_many([bin.upcast_ref(), &sink]).unwrap();
    bin.link(&sink).unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    wait_until("a frame", || tap.caps().is_some());
    let mut taps = Taps::new(serde_json::Value::Null);
    taps.insert(StreamId::Main, tap.clone());
    taps.insert(StreamId::Raw, tap);
    (pipeline, taps)
}

/// A tag of the first directory of a little-endian TIFF: type, count, and where its value is.
fn tag(dng: &[u8], wanted: u16) -> Option<(u16, u32, usize)> {
    let u16_at = |at: usize| u16::from_le_bytes(dng[at..at + 2].try_into().unwrap());
    let u32_at = |at: usize| u32::from_le_bytes(dng[at..at + 4].try_into().unwrap());
    assert_eq!(&dng[..4], b"II*\0");
    let directory = u32_at(4) as usize;
    (0..u16_at(directory) as usize)
        .map(|i| directory + 2 + 12 * i)
        .find(|entry| u16_at(*entry) == wanted)
        .map(|entry| {
            let (kind, count) = (u16_at(entry + 2), u32_at(entry + 4));
            let bytes = count as usize * [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8][kind as usize];
            let value = if bytes <= 4 {
                entry + 8
            } else {
                u32_at(entry + 8) as usize
            };
            (kind, count, value)
        })
}

fn number(dng: &[u8], wanted: u16) -> u32 {
    match tag(dng, wanted).unwrap_or_else(|| panic!("no tag {wanted}")) {
        (3, _, at) => u32::from(u16::from_le_bytes(dng[at..at + 2].try_into().unwrap())),
        (4, _, at) => u32::from_le_bytes(dng[at..at + 4].try_into().unwrap()),
        other => panic!("tag {wanted} is {other:?}"),
    }
}

#[test]
fn a_raw_photo_of_the_sensors_values_is_a_dng() {
    let root = tempfile::tempdir().unwrap();
    for (caps, bytes_per_row, width, bits, black, pattern) in [
        ("video/x-bayer,format=rggb", 64, 64, 8, 16, [0, 1, 1, 2]),
        (
            "video/x-bayer,format=bggr10le,width=64",
            128,
            64,
            10,
            64,
            [2, 1, 1, 0],
        ),
        (
            "video/x-bayer,format=SGRBG10_CSI2P,width=64",
            80,
            64,
            10,
            64,
            [1, 0, 2, 1],
        ),
        (
            "video/x-bayer,format=gbrg12p,width=64",
            96,
            64,
            12,
            256,
            [1, 2, 0, 1],
        ),
    ] {
        let (pipeline, taps) = sensor(caps, bytes_per_row, 48);
        let log = Log::new();
        let task = RawPhotoTask::start(&taps, raw(root.path()), log.events()).unwrap();
        let file = log.file();
        log.ended();
        assert!(task.stop());
        pipeline.set_state(gst::State::Null).unwrap();
        assert_eq!(file.media_type, "image/x-adobe-dng");
        assert_eq!((file.width, file.height), (width, 48));
        assert_eq!(file.thumbnail, None);
        let path = folder(root.path()).path().join(&file.name);
        let dng = std::fs::read(&path).unwrap();
        assert_eq!((number(&dng, 256), number(&dng, 257)), (width, 48));
        assert_eq!((number(&dng, 258), number(&dng, 262)), (16, 32803));
        assert_eq!(number(&dng, 50714), black, "{caps}");
        assert_eq!(number(&dng, 50717), (1 << bits) - 1, "{caps}");
        let (_, count, at) = tag(&dng, 33422).unwrap();
        assert_eq!((count, &dng[at..at + 4]), (4, &pattern[..]), "{caps}");
        let (_, _, model) = tag(&dng, 50708).unwrap();
        assert!(dng[model..].starts_with(b"Raspberry Pi imx219\0"), "{caps}");
        assert_eq!(
            number(&dng, 34665) % 2,
            0,
            "directories begin at even places"
        );
        for needed in [271, 272, 274, 306, 34665, 50706, 50721, 50728, 50778] {
            assert!(tag(&dng, needed).is_some(), "{needed}");
        }
        // The values are all there, and within what the sensor has.
        let (offset, bytes) = (number(&dng, 273) as usize, number(&dng, 279) as usize);
        assert_eq!(bytes, 64 * 48 * 2);
        let (values, _) = dng[offset..offset + bytes].as_chunks::<2>();
        let values: Vec<_> = values.iter().map(|v| u16::from_le_bytes(*v)).collect();
        if caps.contains("le") {
            // Two bytes of the test picture are more than 10 bits.
            continue;
        }
        assert!(values.iter().all(|v| u32::from(*v) < 1 << bits), "{caps}");
        assert!(values.iter().any(|v| *v != values[0]), "{caps}");
    }
}

#[test]
fn a_raw_photo_of_another_camera_is_its_frame_with_a_description() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    let log = Log::new();
    let _task = RawPhotoTask::start(&camera.taps(), raw(root.path()), log.events()).unwrap();
    let file = log.file();
    log.ended();
    assert!(file.name.ends_with("-raw_photo.raw"), "{file:?}");
    assert_eq!(file.bytes, 320 * 240 * 3 / 2);
    let path = folder(root.path())
        .path()
        .join(format!("{}.json", file.name));
    let text: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(text["format"], "I420");
    assert_eq!(text["strides"], serde_json::json!([320, 160, 160]));
    assert_eq!(text["offsets"], serde_json::json!([0, 76800, 96000]));
    assert!(text["caps"].as_str().unwrap().contains("framerate"));
}

#[test]
fn each_shot_of_a_series_is_the_first_frame_of_its_time() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    let parameters = SeriesParameters {
        count: Some(6),
        kind: SeriesKind::RawJpg,
        ..series(0.2)
    };
    let (_task, log) = start_series(Some(&camera), root.path(), &parameters, None);
    let files = log.files(12);
    log.ended();
    let (jpgs, raws): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|file| file.media_type == "image/jpeg");
    assert_eq!((jpgs.len(), raws.len()), (6, 6));
    assert_eq!(numbers(&jpgs), numbers(&raws));
    assert!(numbers(&jpgs).is_sorted());
    let origin = position(&log).origin;
    for (jpg, raw) in jpgs.iter().zip(&raws) {
        let (name, number) = jpg.series.clone().unwrap();
        assert_eq!(name, "garden");
        assert!(
            jpg.name
                .ends_with(&format!("-series-garden-{number:06}.jpg")),
            "{jpg:?}"
        );
        let late = jpg.time - (origin + number as f64 * 0.2);
        // The next one would have its time 0.2 s later.
        assert!((-0.002..0.2).contains(&late), "{late}");
        assert!((raw.time - jpg.time).abs() < 0.001, "of the same frame");
        let path = folder(root.path()).path().join(&jpg.name);
        assert_eq!(decode(&path).size, (320, 240));
    }
}

#[test]
fn a_series_lives_through_pause_absence_and_restart() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    let (task, log) = start_series(Some(&camera), root.path(), &series(0.1), None);
    log.files(2);
    task.pause();
    task.set_taps(None);
    let before = position(&log);
    task.resume();
    log.wait("a warning that names what was missed", |events| {
        events
            .iter()
            .any(|event| {
                matches!(event, TaskEvent::Warning(text) if text.contains("missed: the camera is away"))
            })
            .then_some(())
    });
    task.set_taps(Some(&camera.taps()));
    let count = log.all_files().len();
    log.files(count + 2);
    assert!(task.stop());
    log.ended();
    let first = log.all_files();
    let stopped = position(&log);
    assert!(
        stopped.missed > 0 && stopped.next > before.next,
        "{stopped:?}"
    );

    // Another run, after some time in which nobody took pictures.
    let then = Instant::now();
    wait_until("some shots are due", || {
        then.elapsed() > Duration::from_millis(350)
    });
    let limited = SeriesParameters {
        count: Some(stopped.taken + 3),
        ..series(0.1)
    };
    let (_task, log) = start_series(Some(&camera), root.path(), &limited, Some(stopped));
    let second = log.files(3);
    log.ended();
    assert_eq!(second.len(), 3, "the count goes on");
    let all: Vec<_> = numbers(&first)
        .into_iter()
        .chain(numbers(&second))
        .collect();
    assert!(all.is_sorted_by(|a, b| a < b), "no number twice: {all:?}");
    assert!(numbers(&second)[0] >= stopped.next + 3, "{all:?}");
    for file in &second {
        let late = file.time - (stopped.origin + file.series.as_ref().unwrap().1 as f64 * 0.1);
        assert!((-0.01..0.11).contains(&late), "the grid stays: {late}");
    }
    let names = MediaFolder::new(root.path(), "front");
    assert_eq!(names.adopt(), (vec![], vec![]), "nothing is left over");
}

#[test]
fn a_series_waits_for_its_start() {
    let root = tempfile::tempdir().unwrap();
    let camera = Camera::start(RAW);
    let start = wall_clock() + 0.7;
    let parameters = SeriesParameters {
        start: Some(start),
        end: Some(start + 0.4),
        ..series(0.2)
    };
    let (_task, log) = start_series(Some(&camera), root.path(), &parameters, None);
    log.ended();
    let files = log.all_files();
    // Two shots fit; a busy machine may lose one.
    assert!((1..=2).contains(&files.len()), "{log:?}");
    assert!(
        files.iter().all(|file| file.time >= start - 0.002),
        "{files:?}"
    );
}
