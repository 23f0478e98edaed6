//! Continuous and event recording of real pipelines, read again by ffmpeg.

mod task_camera;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use task_camera::{Camera, Log, wait_until};
use testkit::find;
use watchpost_mp4::scan;
use watchpost_pipelines::camera::VideoConfig;
use watchpost_pipelines::encode::{EncodedStream, EncoderSetup};
use watchpost_pipelines::record::{
    MARKER, Order, RecordEvent, Recorder, SegmentReport, Wanted, segment_start,
};

const ENCODED: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=320,height=240,framerate=30/1 ! \
    x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! video/x-h264,profile=constrained-baseline";

#[derive(Clone, Default)]
struct Events(Arc<Mutex<Vec<RecordEvent>>>);

impl Events {
    fn start(&self, stream: &EncodedStream, order: &Order) -> Recorder {
        let events = self.0.clone();
        let take = Arc::new(move |event| events.lock().unwrap().push(event));
        Recorder::start(stream.clone(), "front", order, take).unwrap()
    }

    fn segments(&self) -> Vec<SegmentReport> {
        let events = self.0.lock().unwrap();
        let segments = events.iter().filter_map(|event| match event {
            RecordEvent::Segment(segment) => Some(segment.clone()),
            _ => None,
        });
        segments.collect()
    }

    fn complete(&self) -> Vec<SegmentReport> {
        let mut segments = self.segments();
        segments.retain(|segment| segment.summary.is_some());
        segments
    }

    fn troubles(&self) -> Vec<Option<String>> {
        let events = self.0.lock().unwrap();
        let troubles = events.iter().filter_map(|event| match event {
            RecordEvent::Trouble(trouble) => Some(trouble.clone()),
            _ => None,
        });
        troubles.collect()
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

fn stream(camera: &Camera) -> EncodedStream {
    let setup = EncoderSetup {
        config: VideoConfig::default(),
        ..EncoderSetup::default()
    };
    EncodedStream::start(&camera.taps(), &setup, &Log::new().events()).unwrap()
}

fn order(path: &Path, from: Option<i64>) -> Order {
    Order {
        pre_roll: 6.0,
        wanted: from.map(|from| Wanted {
            from,
            reasons: "alerts".into(),
            path: path.to_owned(),
            known: false,
        }),
        motion: true,
        objects: 2,
    }
}

/// Decodes a file with ffmpeg, which must find nothing to warn about. Returns the times of its pictures.
fn ffmpeg(file: &Path) -> usize {
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-i"])
        .arg(file)
        .args(["-f", "framecrc", "-"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn path_of(segment: &SegmentReport) -> PathBuf {
    segment.path.join(&segment.name)
}

#[test]
fn an_event_is_recorded_from_before_it_was_known_and_the_next_one_joins() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::start(ENCODED);
    let (stream, events) = (stream(&camera), Events::default());
    let recorder = events.start(&stream, &order(folder.path(), None));
    wait_until("four seconds of pre-roll", || {
        stream.covers().as_secs() >= 4
    });
    assert!(events.segments().is_empty(), "nothing is wanted yet");

    let from = now() - 3_000;
    recorder.order(&order(folder.path(), Some(from)));
    find("two fragments", || {
        (events.segments().len() >= 8).then_some(())
    });
    recorder.order(&order(folder.path(), None));
    let first = find("the first segment", || events.complete().pop());
    // A key frame each half second.
    assert!(
        (from - 700..=from).contains(&first.start),
        "{from}, {first:?}"
    );
    assert_eq!(segment_start(&first.name), Some(first.start));
    assert!(
        first
            .groups
            .iter()
            .all(|group| group.motion && group.objects == 2)
    );

    // Wanted again from a moment that is recorded already: neither a hole nor a repetition.
    recorder.order(&order(folder.path(), Some(first.end - 1_000)));
    find("more fragments", || {
        let segments = events.segments();
        let new = segments.iter().filter(|s| s.name != first.name).count();
        (new >= 4).then_some(())
    });
    recorder.stop();
    wait_until("the end", || recorder.is_over());
    let complete = events.complete();
    assert_eq!(complete.len(), 2, "{complete:?}");
    let hole = complete[1].start - first.end;
    assert!(hole.abs() < 100, "{hole} ms between {complete:?}");
    for segment in &complete {
        let pictures = ffmpeg(&path_of(segment));
        let length = (segment.end - segment.start) as f64 / 1000.0;
        assert!(
            pictures as f64 <= length * 30.0 + 2.0,
            "{pictures} in {length}"
        );
        assert!(pictures as f64 >= length * 15.0, "{pictures} in {length}");
        let file = std::fs::File::open(path_of(segment)).unwrap();
        let scan = scan(&file).unwrap().unwrap();
        let summary = scan.summary.unwrap();
        assert_eq!(scan.complete, segment.summary.unwrap());
        assert_eq!(summary.tables[0].samples, scan.tables[0].samples);
        assert_eq!(summary.first_frame, segment.start as u64 * 1_000_000);
        assert_eq!(
            (summary.reasons.as_str(), summary.activity.len()),
            ("alerts", segment.groups.len())
        );
    }
    assert!(folder.path().join(MARKER).exists());
}

#[test]
fn a_file_that_is_cut_off_anywhere_plays_up_to_its_last_fragment() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::start(ENCODED);
    let (stream, events) = (stream(&camera), Events::default());
    let recorder = events.start(&stream, &order(folder.path(), Some(0)));
    find("fragments", || (events.segments().len() >= 5).then_some(()));
    // As a kill finds it: without its end.
    let open = events.segments().pop().unwrap();
    let bytes = std::fs::read(path_of(&open)).unwrap();
    recorder.stop();
    for cut in [open.bytes as usize, open.bytes as usize + 1, bytes.len()] {
        let bytes = &bytes[..cut.min(bytes.len())];
        let scan = scan(bytes).unwrap().unwrap();
        assert!(
            scan.complete >= open.bytes,
            "{} of {}",
            scan.complete,
            open.bytes
        );
        let file = folder.path().join("cut.mp4");
        std::fs::write(&file, &bytes[..scan.complete as usize]).unwrap();
        assert!(ffmpeg(&file) >= 30);
    }
    wait_until("the end", || recorder.is_over());
}

#[test]
fn a_disk_that_is_not_mounted_is_named_and_recording_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let camera = Camera::start(ENCODED);
    let (stream, events) = (stream(&camera), Events::default());
    let mut wanted = order(folder.path(), Some(0));
    wanted.wanted.as_mut().unwrap().known = true;
    let recorder = events.start(&stream, &wanted);
    let trouble = find("trouble", || events.troubles().pop().flatten());
    assert!(trouble.starts_with("storage-missing: "), "{trouble}");
    assert!(events.segments().is_empty());
    std::fs::write(folder.path().join(MARKER), b"").unwrap();
    wait_until("the end of the trouble", || {
        events.troubles().last() == Some(&None)
    });
    assert!(!events.segments().is_empty());
    recorder.stop();
    wait_until("the end", || recorder.is_over());
}
