//! One camera in the analysis worker: its pipeline, what it finds, how fast it is.

use super::link::{self, Waker};
use super::messages::Messages;
use super::objects::{Objects, Place};
use crate::clock::now;
use crate::protocol::{
    AnalysisReport, AnalysisStats, CameraReport, GridAction, TrackReport, UnreadObjects,
};
use detection::FrameSize;
use detection_meta::{MotionMessage, TrackMessage, detections};
use gst::prelude::*;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use watchpost_pipelines::analysis::{self, Analysis, AnalysisError};
use watchpost_pipelines::fault::{Fault, FaultKind};
use watchpost_pipelines::gst::error_words;
use watchpost_pipelines::secret::hide;
use watchpost_pipelines::spec::AnalysisSpec;

/// A camera's place in the file of marks.
pub type Mark = (Arc<File>, u32);

/// A camera that is analysed.
pub struct Scene {
    spec: AnalysisSpec,
    analysis: Analysis,
    messages: Messages,
    shared: Arc<Shared>,
    objects: Objects,
    running: bool,
    newest: Option<f64>,
    before: Counters,
    grid: GridWatch,
}

/// What the supervisor knows of the region grid.
struct GridWatch {
    /// State of `region-grid-changes` at the last report.
    changes: u64,
    /// When that was.
    told: Instant,
}

/// A grid is learned with every object; it is told when it has changed, at most this often.
const GRID_EVERY: Duration = Duration::from_secs(10);

/// What the streaming thread leaves for the loop.
#[derive(Default)]
struct Shared {
    /// The newest frame that nobody has looked at.
    frame: Mutex<Option<Frame>>,
    frames: AtomicU64,
    /// Sum of ages, in microseconds.
    age: AtomicU64,
}

/// An analysed frame.
struct Frame {
    captured: f64,
    size: (u32, u32),
    places: Vec<Place>,
}

/// Counters at the last report.
struct Counters {
    at: Instant,
    frames: u64,
    age: u64,
    inferences: u64,
    inference_ms: f64,
    queue_ms: f64,
    skipped: u64,
}

impl Scene {
    /// Builds and starts the pipeline. The model is loaded in the background; what goes wrong comes by the bus.
    pub fn start(spec: AnalysisSpec, mark: Option<Mark>, waker: &Waker) -> Result<Self, Fault> {
        let analysis = analysis::build(&spec).map_err(permanent)?;
        if let (Some(detect), Some(grid)) = (analysis.detect(), &spec.region_grid) {
            // One that cannot be read is told by a warning, and learning begins anew.
            detect.set_property("region-grid", grid);
        }
        let grid = GridWatch {
            changes: analysis.detect().map_or(0, grid_changes),
            told: Instant::now(),
        };
        let messages = Messages::of(analysis.pipeline(), waker);
        let shared = Arc::new(Shared::default());
        if let Some((file, place)) = mark.clone() {
            mark_work(&analysis, file, place);
        }
        take_frames(&analysis, &shared, mark, waker);
        analysis.pipeline().call_async(|pipeline| {
            // A failure is on the bus as well, with its reason.
            let _ = pipeline.set_state(gst::State::Playing);
        });
        Ok(Self {
            spec,
            analysis,
            messages,
            shared,
            objects: Objects::default(),
            running: false,
            newest: None,
            before: Counters {
                at: Instant::now(),
                frames: 0,
                age: 0,
                inferences: 0,
                inference_ms: 0.0,
                queue_ms: 0.0,
                skipped: 0,
            },
            grid,
        })
    }

    fn report(&self, report: CameraReport) {
        link::report(&AnalysisReport::Camera {
            camera: self.spec.name.clone(),
            report,
        });
    }

    /// Resets, freezes or thaws the region grid, and tells what came of it.
    pub fn act_on_grid(&mut self, action: GridAction) {
        let Some(detect) = self.analysis.detect() else {
            return;
        };
        match action {
            GridAction::Reset => detect.emit_by_name::<()>("reset-region-grid", &[]),
            GridAction::Freeze => detect.set_property("freeze-grid", true),
            GridAction::Thaw => detect.set_property("freeze-grid", false),
        }
        self.tell_grid();
    }

    fn tell_grid(&mut self) {
        let Some(detect) = self.analysis.detect() else {
            return;
        };
        self.grid = GridWatch {
            changes: grid_changes(detect),
            told: Instant::now(),
        };
        if let Some(json) = detect.property::<Option<String>>("region-grid") {
            self.report(CameraReport::Grid {
                json,
                frozen: detect.property("freeze-grid"),
            });
        }
    }

    /// Takes over what can change while it runs.
    pub fn update(&mut self, spec: &AnalysisSpec) -> Result<(), Fault> {
        self.analysis
            .update(&self.spec.camera, &spec.camera)
            .map_err(permanent)?;
        self.spec = spec.clone();
        Ok(())
    }

    /// A PTZ camera moves, or rests.
    pub fn set_moving(&self, moving: bool) {
        if let Err(error) = self.analysis.set_moving(moving) {
            tracing::warn!("{}: {error}", self.spec.name);
        }
    }

    /// Takes messages and the newest frame, and tells what came of them.
    pub fn look(&mut self) -> Result<(), Fault> {
        while let Some(message) = self.messages.next() {
            self.message(&message)?;
        }
        let frame = lock(&self.shared.frame).take();
        let Some(frame) = frame else { return Ok(()) };
        if !self.running {
            self.running = true;
            self.report(CameraReport::Attached);
        }
        self.newest = Some(frame.captured);
        self.objects
            .frame(&frame.places, frame.size, frame.captured);
        self.report(CameraReport::Objects {
            frame: frame.captured,
            size: frame.size,
            objects: UnreadObjects::of(&self.objects.all()),
        });
        Ok(())
    }

    fn message(&mut self, message: &gst::Message) -> Result<(), Fault> {
        match message.view() {
            gst::MessageView::Element(element) => {
                if let Some(structure) = element.structure() {
                    self.element_message(structure);
                }
                Ok(())
            }
            gst::MessageView::Error(error) => {
                let kind = if error.error().matches(gst::CoreError::MissingPlugin) {
                    FaultKind::Permanent
                } else {
                    FaultKind::Source
                };
                Err(Fault::new(kind, error_words(error)))
            }
            gst::MessageView::Warning(warning) => {
                tracing::warn!("{}: {}", self.spec.name, hide(warning.error().message()));
                Ok(())
            }
            gst::MessageView::Eos(_) => Err(Fault::source("the ring has ended")),
            _ => Ok(()),
        }
    }

    fn element_message(&mut self, structure: &gst::StructureRef) {
        let clock = WallClock::of(self.analysis.pipeline());
        if let Some(track) = TrackMessage::parse(structure) {
            let size = frame_size(&self.analysis).unwrap_or((1, 1));
            let object = self.objects.change(&track, size, |time| clock.at(time));
            self.report(CameraReport::Track(TrackReport {
                change: track.change,
                object,
                bbox: track.bbox,
                path_length: track.path_length,
                entered: track.entered,
                left: track.left,
            }));
        } else if let Some(motion) = MotionMessage::parse(structure) {
            self.report(CameraReport::Motion {
                active: motion.active,
                at: motion.pts.map_or_else(now, |pts| clock.at(pts)),
            });
        }
    }

    /// Reports the figures since the last report.
    pub fn tell_figures(&mut self) {
        let before = &self.before;
        let passed = before.at.elapsed().as_secs_f64().max(1e-3);
        let ring = stats(self.analysis.source());
        let detect = self.analysis.detect().and_then(stats);
        let number = |s: &Option<gst::Structure>, name: &str| {
            s.as_ref()
                .and_then(|s| s.get::<u64>(name).ok())
                .unwrap_or(0)
        };
        let real = |name: &str| {
            detect
                .as_ref()
                .and_then(|s| s.get::<f64>(name).ok())
                .unwrap_or(0.0)
        };
        let inferences = number(&detect, "inferences");
        let now = Counters {
            at: Instant::now(),
            frames: self.shared.frames.load(Ordering::Relaxed),
            age: self.shared.age.load(Ordering::Relaxed),
            inferences,
            // The element gives means since its start; sums can be subtracted.
            inference_ms: real("inference-ms") * inferences as f64,
            queue_ms: real("queue-ms") * inferences as f64,
            skipped: number(&ring, "skipped"),
        };
        let frames = now.frames.saturating_sub(before.frames);
        let inferred = now.inferences.saturating_sub(before.inferences);
        let each = |sum: f64| (inferred > 0).then(|| (sum / inferred as f64).max(0.0));
        let mut skipped = std::collections::BTreeMap::from([("newest".to_owned(), now.skipped)]);
        for (reason, name) in [
            ("timeout", "dropped-timeout"),
            ("unreadable", "dropped-unreadable"),
        ] {
            let count = number(&detect, name);
            if count > 0 {
                skipped.insert(reason.to_owned(), count);
            }
        }
        self.report(CameraReport::Stats(AnalysisStats {
            process_fps: frames as f64 / passed,
            detection_fps: inferred as f64 / passed,
            answered: now
                .frames
                .saturating_sub(number(&detect, "dropped-timeout")),
            skipped_fps: now.skipped.saturating_sub(before.skipped) as f64 / passed,
            skipped,
            detection_frame: self.newest,
            age: (frames > 0)
                .then(|| now.age.saturating_sub(before.age) as f64 / 1e6 / frames as f64),
            inference_ms: each(now.inference_ms - before.inference_ms),
            queue_ms: each(now.queue_ms - before.queue_ms),
        }));
        self.before = now;
        if self.grid.told.elapsed() >= GRID_EVERY
            && self.analysis.detect().map_or(0, grid_changes) != self.grid.changes
        {
            self.tell_grid();
        }
    }
}

impl Drop for Scene {
    /// The last of what was learned is told before the pipeline goes.
    fn drop(&mut self) {
        if self.analysis.detect().map_or(0, grid_changes) != self.grid.changes {
            self.tell_grid();
        }
    }
}

/// A pipeline that cannot be built or changed fails in the same way next time.
fn permanent(error: AnalysisError) -> Fault {
    Fault::permanent(error.to_string())
}

fn grid_changes(detect: &gst::Element) -> u64 {
    detect.property("region-grid-changes")
}

/// Marks the beginning of work on a frame; its end is marked where the frame arrives.
fn mark_work(analysis: &Analysis, file: Arc<File>, place: u32) {
    if let Some(pad) = analysis.source().static_pad("src") {
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            // Only a help for finding culprits; analysis goes on without it.
            let _ = file.write_all_at(&[1], u64::from(place));
            gst::PadProbeReturn::Ok
        });
    }
}

fn take_frames(analysis: &Analysis, shared: &Arc<Shared>, mark: Option<Mark>, waker: &Waker) {
    let (shared, waker) = (shared.clone(), waker.clone());
    let pipeline = analysis.pipeline().downgrade();
    let take = move |sink: &gst_app::AppSink| {
        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
        if let (Some(frame), Some(pipeline)) = (sample.buffer(), pipeline.upgrade()) {
            let clock = WallClock::of(&pipeline);
            let size = sample.caps().and_then(caps_size).unwrap_or((1, 1));
            let time = sample
                .segment()
                .and_then(|s| s.downcast_ref::<gst::ClockTime>())
                .zip(frame.pts())
                .and_then(|(segment, pts)| segment.to_running_time(pts));
            let captured = time.map_or_else(now, |time| clock.at(time));
            let frame_size = FrameSize::new(size.0, size.1);
            let places = detections(frame, frame_size)
                .filter_map(|found| {
                    Some(Place {
                        id: found.object_id?,
                        score: found.confidence,
                        bbox: found.bbox,
                    })
                })
                .collect();
            let age = (now() - captured).max(0.0);
            shared.age.fetch_add((age * 1e6) as u64, Ordering::Relaxed);
            *lock(&shared.frame) = Some(Frame {
                captured,
                size,
                places,
            });
        }
        shared.frames.fetch_add(1, Ordering::Relaxed);
        if let Some((file, place)) = &mark {
            let _ = file.write_all_at(&[0], u64::from(*place));
        }
        waker.wake();
        Ok(gst::FlowSuccess::Ok)
    };
    analysis.sink().set_callbacks(
        gst_app::AppSinkCallbacks::builder()
            .new_sample(take)
            .build(),
    );
}

/// Turns a pipeline's running time into seconds since 1970.
struct WallClock {
    wall: f64,
    running: f64,
}

impl WallClock {
    fn of(pipeline: &gst::Pipeline) -> Self {
        let running = pipeline.current_running_time();
        Self {
            wall: now(),
            running: running.map_or(0.0, gst::ClockTime::seconds_f64),
        }
    }

    fn at(&self, time: gst::ClockTime) -> f64 {
        self.wall - self.running + time.seconds_f64()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn caps_size(caps: &gst::CapsRef) -> Option<(u32, u32)> {
    let structure = caps.structure(0)?;
    let side = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok();
    Some((side("width")?, side("height")?))
}

fn frame_size(analysis: &Analysis) -> Option<(u32, u32)> {
    let caps = analysis.sink().static_pad("sink")?.current_caps()?;
    caps_size(&caps)
}

fn stats(element: &gst::Element) -> Option<gst::Structure> {
    element
        .find_property("stats")
        .filter(|p| p.value_type() == gst::Structure::static_type())?;
    element.property::<Option<gst::Structure>>("stats")
}
