//! A camera with taps, a log of a task's events, and a look into the files that tasks make.
#![allow(dead_code, unused_imports)] // each test program uses its part

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use gst::prelude::*;
use testkit::find_within;
use watchpost_pipelines::camera::{CameraConfig, Source};
use watchpost_pipelines::capture::{self, Capture, CaptureEvent, StreamId};
use watchpost_pipelines::tasks::{Events, MediaFile, MediaFolder, Taps, TaskEvent};

pub use testkit::{PATIENCE, eventually as wait_until};

/// The folder of media of the test's camera.
pub fn folder(data_dir: &Path) -> MediaFolder {
    MediaFolder::new(data_dir, "front")
}

/// A running camera.
pub struct Camera {
    capture: Capture,
}

impl Camera {
    /// Starts one with a launch line, and waits for its first frame.
    pub fn start(line: &str) -> Self {
        Self::connect(Source::Launch(line.to_owned()))
    }

    /// Starts one with any source, and waits for its first frame.
    pub fn connect(source: Source) -> Self {
        gst::init().unwrap();
        let camera = CameraConfig::from_source(source);
        let source = camera.primary_source().unwrap();
        let setup = capture::Setup::standing(&camera, None);
        let capture = capture::build_from(source, &setup, &camera, &[], None).unwrap();
        capture.start().unwrap();
        let camera = Self { capture };
        let mut trouble = None;
        let frame = find_within(PATIENCE, || {
            trouble = camera.trouble().or(trouble.take());
            camera.taps().has_frames(StreamId::Main).then_some(())
        });
        assert!(frame.is_some(), "no frame: {trouble:?}");
        camera
    }

    pub fn taps(&self) -> Taps {
        let mut taps = self.capture.taps();
        taps.description = serde_json::json!({"test": true});
        taps
    }

    pub fn pipeline(&self) -> &gst::Pipeline {
        self.capture.pipeline()
    }

    /// Lets the stream end.
    pub fn end(&self) {
        self.capture.finish();
    }

    /// What its pipeline has to say.
    pub fn trouble(&self) -> Option<CaptureEvent> {
        let bus = self.capture.pipeline().bus()?;
        std::iter::from_fn(|| bus.pop()).find_map(|message| self.capture.handle(&message))
    }
}

/// An event, and when it came.
type Told = (Instant, TaskEvent);

/// The events of a task.
#[derive(Clone, Default)]
pub struct Log {
    events: Arc<(Mutex<Vec<Told>>, Condvar)>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.events.0.lock().unwrap().iter().map(|(_, event)| event))
            .finish()
    }
}

impl Log {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn events(&self) -> Events {
        let log = self.events.clone();
        Arc::new(move |event| {
            log.0.lock().unwrap().push((Instant::now(), event));
            log.1.notify_all();
        })
    }

    /// Waits until something among the events is found.
    pub fn wait<T>(&self, what: &str, find: impl Fn(&[TaskEvent]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut events = self.events.0.lock().unwrap();
        loop {
            let so_far: Vec<_> = events.iter().map(|(_, event)| event.clone()).collect();
            if let Some(found) = find(&so_far) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no {what} within {PATIENCE:?}: {so_far:?}");
            events = self.events.1.wait_timeout(events, left).unwrap().0;
        }
    }

    /// The first file.
    pub fn file(&self) -> MediaFile {
        self.files(1).remove(0)
    }

    /// Waits for so many files; a failure ends the wait.
    pub fn files(&self, count: usize) -> Vec<MediaFile> {
        self.wait("file", |events| {
            let files: Vec<_> = files_of(events);
            let failed = events.iter().find(|e| matches!(e, TaskEvent::Failed(_)));
            assert!(failed.is_none() || files.len() >= count, "{failed:?}");
            (files.len() >= count).then_some(files)
        })
    }

    /// All files so far.
    pub fn all_files(&self) -> Vec<MediaFile> {
        self.wait("look", |events| Some(files_of(events)))
    }

    pub fn warnings(&self) -> Vec<String> {
        self.wait("look", |events| {
            let texts = events.iter().filter_map(|event| match event {
                TaskEvent::Warning(text) => Some(text.clone()),
                _ => None,
            });
            Some(texts.collect())
        })
    }

    /// Waits for an end in order.
    pub fn ended(&self) {
        let last = self.last();
        assert_eq!(last, TaskEvent::Ended, "{self:?}");
    }

    /// Waits for a failure and returns its reason.
    pub fn failed(&self) -> String {
        match self.last() {
            TaskEvent::Failed(reason) => reason,
            other => panic!("{other:?} instead of a failure: {self:?}"),
        }
    }

    fn last(&self) -> TaskEvent {
        self.wait("end", |events| {
            let ends =
                |event: &&TaskEvent| matches!(event, TaskEvent::Ended | TaskEvent::Failed(_));
            let end = events.iter().find(ends)?;
            assert_eq!(
                Some(end),
                events.last(),
                "the end is the last event: {events:?}"
            );
            Some(end.clone())
        })
    }
}

fn files_of(events: &[TaskEvent]) -> Vec<MediaFile> {
    let files = events.iter().filter_map(|event| match event {
        TaskEvent::File(file) => Some(file.clone()),
        _ => None,
    });
    files.collect()
}

/// What came out of a decoder.
#[derive(Debug)]
pub struct Decoded {
    /// Time of each picture, seconds.
    pub times: Vec<f64>,
    pub size: (i32, i32),
    /// What the container says it lasts.
    pub duration: Option<f64>,
}

impl Decoded {
    /// Every picture follows the one before it by one frame, or by a few where the machine was too busy.
    pub fn is_continuous(&self, fps: u32) {
        let frame = 1.0 / f64::from(fps);
        for pair in self.times.windows(2) {
            let step = pair[1] - pair[0];
            assert!(
                step > 0.5 * frame && step < 6.0 * frame,
                "{step} in {:?}",
                self.times
            );
        }
    }
}

/// Decodes a file to its end.
pub fn decode(path: &Path) -> Decoded {
    try_decode(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Decodes a file; an error on the way is one.
pub fn try_decode(path: &Path) -> Result<Decoded, String> {
    gst::init().unwrap();
    let line = "filesrc name=file ! decodebin ! videoconvert ! video/x-raw,format=I420 ! appsink name=sink sync=false";
    let pipeline = gst::parse::launch(line)
        .unwrap()
        .downcast::<gst::Pipeline>()
        .unwrap();
    let file = pipeline.by_name("file").unwrap();
    file.set_property("location", path.to_str().unwrap());
    let sink = pipeline
        .by_name("sink")
        .unwrap()
        .downcast::<gst_app::AppSink>()
        .unwrap();
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|e| e.to_string())?;
    let mut decoded = Decoded {
        times: Vec::new(),
        size: (0, 0),
        duration: None,
    };
    let patience = gst::ClockTime::from_seconds(PATIENCE.as_secs());
    while let Some(sample) = sink.try_pull_sample(patience) {
        let caps = sample.caps().unwrap().structure(0).unwrap();
        decoded.size = (caps.get("width").unwrap(), caps.get("height").unwrap());
        let segment = sample
            .segment()
            .unwrap()
            .downcast_ref::<gst::ClockTime>()
            .unwrap();
        let time = segment.to_stream_time(sample.buffer().unwrap().pts());
        decoded.times.push(time.unwrap_or_default().seconds_f64());
        decoded.duration = pipeline
            .query_duration::<gst::ClockTime>()
            .map(|d| d.seconds_f64());
    }
    let error = pipeline
        .bus()
        .unwrap()
        .pop_filtered(&[gst::MessageType::Error]);
    let eos = sink.is_eos();
    pipeline.set_state(gst::State::Null).unwrap();
    match error {
        Some(error) => Err(format!("{error:?}")),
        None if !eos => Err("no end".into()),
        None => Ok(decoded),
    }
}

/// All files below a folder, by their path in it.
pub fn tree(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().strip_prefix(root).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}
