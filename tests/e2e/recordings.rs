//! Continuous and event recording, from the outside: files, index, playback, `kill -9`.

use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use testkit::find;
use watchpost_api::Recordings;

use crate::support::{Watchpost, eventually, kill, lives, onnxruntime, watchpost as program};

const CONTINUOUS: &str = "record: {enabled: true, continuous: {days: 1}}\ncameras:\n  front:\n    \
    source: {test: {scene: walkers, width: 320, height: 180, fps: 10}}\n    \
    detect: {width: 320, height: 180, fps: 5}\n";

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("recordings")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                // One that was just made has no fragment yet.
                false if entry.metadata().unwrap().len() == 0 => {}
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    found
}

/// Decodes with ffmpeg, which must find nothing to warn about; the number of pictures.
fn ffmpeg(file: &Path) -> usize {
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-i"])
        .arg(file)
        .args(["-f", "framecrc", "-"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{}: {errors}",
        file.display()
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn recorded(watchpost: &Watchpost) -> Recordings {
    watchpost.read("/api/cameras/front/recordings?after=0&before=4000000000")
}

/// Seconds of footage.
fn length(recordings: &Recordings) -> f64 {
    let spans = recordings.spans.iter();
    spans.map(|span| span.end - span.start).sum()
}

fn capture_pid(watchpost: &Watchpost) -> u32 {
    let pid = watchpost.camera("front")["capture_pid"].as_u64();
    u32::try_from(pid.expect("a capture worker")).unwrap()
}

/// Fetches a clip into a file.
fn clip(watchpost: &Watchpost, after: f64, before: f64) -> (tempfile::NamedTempFile, usize) {
    let path = format!("/api/cameras/front/recordings/clip.mp4?after={after}&before={before}");
    let answer = watchpost.ask("GET", &path, "", "");
    assert_eq!(answer.status, 200, "{}", answer.head);
    let file = tempfile::NamedTempFile::with_suffix(".mp4").unwrap();
    std::fs::write(file.path(), &answer.body).unwrap();
    let pictures = ffmpeg(file.path());
    (file, pictures)
}

#[test]
fn everything_is_recorded_and_survives_kills_of_worker_and_daemon() {
    let mut watchpost = Watchpost::start(CONTINUOUS);
    watchpost.wait_streaming("front");
    find("six seconds of footage", || {
        (length(&recorded(&watchpost)) >= 6.0).then_some(())
    });
    let before = recorded(&watchpost);
    let span = &before.spans[0];
    let (_file, pictures) = clip(&watchpost, span.start + 2.0, span.start + 5.0);
    // From the key frame before, a second earlier at most.
    assert!((20..=45).contains(&pictures), "{pictures}");
    // A player asks for parts.
    let path = format!(
        "/api/cameras/front/recordings/clip.mp4?after={}&before={}",
        span.start + 2.0,
        span.start + 5.0
    );
    let whole = watchpost.ask("GET", &path, "", "").body;
    let part = watchpost.ask("GET", &path, "Range: bytes=100-4099\r\n", "");
    assert_eq!(part.status, 206, "{}", part.head);
    assert_eq!(part.body, whole[100..4100]);

    kill(capture_pid(&watchpost), Signal::KILL);
    find("footage of another worker", || {
        let now = recorded(&watchpost);
        (length(&now) >= length(&before) + 5.0).then_some(())
    });
    let now = recorded(&watchpost);
    assert!(now.spans[0].end >= span.end - 0.1, "{before:?} {now:?}");

    // Another worker takes over within a fraction of a second; a longer gap is in the index, with its reason.
    eventually("each gap is in the index", || {
        let now = recorded(&watchpost);
        let with_reason = |end: f64| {
            let mut gaps = now.gaps.iter();
            gaps.any(|gap| (gap.start - end).abs() < 0.01 && gap.reason.contains("restarted"))
        };
        let mut ends = now.spans.iter().rev().skip(1).map(|span| span.end);
        ends.all(with_reason)
    });
    let address = watchpost.address().to_string();
    let output = program()
        .args(["recordings", "front", "--listen", &address])
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    for text in [" s of footage, ", " KiB"] {
        assert!(output.status.success() && table.contains(text), "{table}");
    }
    let known = length(&now);
    let worker = capture_pid(&watchpost);
    watchpost.signal(Signal::KILL);
    watchpost.wait();
    eventually("the worker has ended", || !lives(worker));
    let folder = watchpost.data_dir();
    for file in files(&folder) {
        ffmpeg(&file);
    }
    // The index is made again of the files.
    for name in ["recordings.db", "recordings.db-wal", "recordings.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    let watchpost = watchpost.start_after_end();
    eventually("the footage of the first run is in the index again", || {
        let spans = recorded(&watchpost).spans;
        let last = now.spans.iter().map(|span| span.end).fold(0.0, f64::max);
        let old = spans.iter().filter(|span| span.start <= last);
        old.map(|span| span.end - span.start).sum::<f64>() >= known - 2.0
    });
    for file in files(&folder) {
        ffmpeg(&file);
    }
}

#[test]
fn nothing_but_events_is_recorded_and_from_before_they_were_known() {
    if onnxruntime().is_none() {
        return;
    }
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../pipelines/demo-model/demo.onnx"
    );
    let watchpost = Watchpost::start(&format!(
        "model: {{path: {model}}}\nrecord: {{enabled: true}}\ncameras:\n  front:\n    \
         source: {{test: {{scene: walkers, width: 640, height: 360, fps: 10}}}}\n    \
         detect: {{width: 640, height: 360, fps: 5}}\n"
    ));
    let event = find("an event", || {
        let events: Vec<watchpost_api::ObjectEvent> = watchpost.read("/api/events");
        events
            .into_iter()
            .min_by(|a, b| a.start_time.total_cmp(&b.start_time))
    });
    let span = find("its footage", || {
        let spans = recorded(&watchpost).spans;
        spans
            .into_iter()
            .find(|span| span.end > event.start_time + 2.0)
    });
    // Five seconds before, or what there was of the camera by then.
    let begun = watchpost.camera("front")["since"].as_f64().unwrap_or(0.0);
    let wanted = (event.start_time - 5.0).max(begun);
    assert!(
        span.start <= wanted + 1.5,
        "{span:?} {event:?} since {begun}"
    );
    assert!(recorded(&watchpost).activity.iter().any(|a| a.objects > 0));
    let (_file, pictures) = clip(&watchpost, span.start, event.start_time + 2.0);
    assert!(pictures >= 10, "{pictures}");
}

#[test]
fn requests_for_nothing_are_refused_with_the_reason() {
    let watchpost = Watchpost::start(&CONTINUOUS.replace("enabled: true", "enabled: false"));
    watchpost.wait_streaming("front");
    assert_eq!(recorded(&watchpost), Recordings::default());
    for (path, status, text) in [
        ("front/recordings?after=5&before=1", 400, "is no span"),
        ("back/recordings?after=1&before=5", 404, "no camera"),
        (
            "front/recordings/clip.mp4?after=1&before=5",
            404,
            "nothing is recorded",
        ),
        (
            "front/recordings/clip.mp4?after=1&before=99999",
            400,
            "at most",
        ),
    ] {
        let answer = watchpost.request("GET", &format!("/api/cameras/{path}"), "", "");
        assert!(
            answer.0 == status && answer.1.contains(text),
            "{path}: {answer:?}"
        );
    }
    assert!(files(&watchpost.data_dir()).is_empty());
}
