//! The element's implementation.

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use detection::{Detection, Labels};
use detection_meta::{DetectionRoi, TracksEvent, Warnings};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo};
use regiondetect_core::grid::RegionGrid;
use regiondetect_core::reduce::{Candidate, Overlap, Reducer};
use regiondetect_core::regions::{FrameSize, Look, Planner, WatchedTrack};
use regiondetect_core::tensor::Cropper;

use super::picture;
use super::settings::{PROPERTIES, Settings};
use super::stats::Stats;
use crate::engine::{Client, Engine, FrameTimes, RunError};
use crate::motion_state;

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "regiondetect",
        gst::DebugColorFlags::empty(),
        Some("Object detection where it pays"),
    )
});

/// One frame's memory and the planner: taken out of its lock while a frame is worked on, so that no lock is held across
/// inference.
struct State {
    info: VideoInfo,
    planner: Planner,
    client: Client,
    labels: Labels,
    cropper: Cropper,
    reducer: Reducer,
    /// Classes to report, by number; `None`: all.
    classes: Option<Vec<bool>>,
    settings: Settings,
    motion: Vec<detection::BBox>,
    tracks: Vec<WatchedTrack>,
    candidates: Vec<Candidate>,
    found: Vec<Detection>,
    kept: Vec<usize>,
    results: Vec<Detection>,
    started: Instant,
    warned: Option<Instant>,
}

/// The model, between start and stop.
struct Opened {
    client: Client,
    labels: Labels,
}

/// The instance. Where locks nest, the order is state, settings, grid, stats.
#[derive(Default)]
pub struct RegionDetect {
    settings: Mutex<Settings>,
    /// Settings have changed since the streaming thread last looked.
    changed: std::sync::atomic::AtomicBool,
    opened: Mutex<Option<Opened>>,
    state: Mutex<Option<State>>,
    engine: Mutex<Option<std::sync::Arc<Engine>>>,
    tracks: Mutex<Option<TracksEvent>>,
    grid: Mutex<RegionGrid>,
    stats: Mutex<Stats>,
    warnings: Warnings,
}

/// A panic elsewhere while a lock was held leaves plain values, which are used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[glib::object_subclass]
impl ObjectSubclass for RegionDetect {
    const NAME: &'static str = "GstWatchpostRegionDetect";
    type Type = super::RegionDetect;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for RegionDetect {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            "region-grid" => {
                let text: Option<String> = value.get().expect("type checked by GObject");
                self.import_grid(text.as_deref().unwrap_or_default());
            }
            "freeze-grid" => {
                let frozen = value.get().expect("type checked by GObject");
                lock(&self.grid).set_frozen(frozen);
            }
            "grid-bounds" => {
                let text: Option<String> = value.get().expect("type checked by GObject");
                self.set_grid_bounds(text.as_deref().unwrap_or_default().trim());
            }
            name => {
                lock(&self.settings).set(name, value);
                self.changed
                    .store(true, std::sync::atomic::Ordering::Release);
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "region-grid" => lock(&self.grid).to_json().to_value(),
            "region-grid-changes" => lock(&self.grid).changes().to_value(),
            "freeze-grid" => lock(&self.grid).is_frozen().to_value(),
            "grid-bounds" => {
                let bounds = lock(&self.grid).bounds();
                bounds
                    .map_or_else(String::new, |b| b.to_string())
                    .to_value()
            }
            "model-labels" => {
                let engine = lock(&self.engine);
                let labels = engine.as_ref().map(|engine| {
                    let names: Vec<_> = engine.model().labels.iter().collect();
                    names.join("\n")
                });
                labels.to_value()
            }
            "stats" => {
                let engine = lock(&self.engine).as_ref().map(|engine| engine.stats());
                lock(&self.stats).to_structure(engine).to_value()
            }
            name => {
                let value = lock(&self.settings).get(name);
                value.unwrap_or_else(|| unreachable!("no property {name}"))
            }
        }
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            let element = |args: &[glib::Value]| {
                args[0]
                    .get::<super::RegionDetect>()
                    .expect("the signal's own instance")
            };
            vec![
                // The region grid as JSON.
                glib::subclass::Signal::builder("export-region-grid")
                    .action()
                    .return_type::<String>()
                    .class_handler(move |args| {
                        Some(lock(&element(args).imp().grid).to_json().to_value())
                    })
                    .build(),
                // Replaces the region grid by this JSON; false, and a warning, if it is none.
                glib::subclass::Signal::builder("import-region-grid")
                    .action()
                    .param_types([String::static_type()])
                    .return_type::<bool>()
                    .class_handler(move |args| {
                        let text = args[1].get::<Option<String>>().ok().flatten();
                        let element = element(args);
                        let done = element
                            .imp()
                            .import_grid(text.as_deref().unwrap_or_default());
                        Some(done.to_value())
                    })
                    .build(),
                // Forgets everything learned; frozen and bounds stay.
                glib::subclass::Signal::builder("reset-region-grid")
                    .action()
                    .class_handler(move |args| {
                        lock(&element(args).imp().grid).reset();
                        None
                    })
                    .build(),
            ]
        });
        &SIGNALS
    }
}

impl GstObjectImpl for RegionDetect {}

impl ElementImpl for RegionDetect {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Region object detector",
                "Filter/Analyzer/Video",
                "Detects objects with an ONNX model in the regions where it pays",
                "The Watchpost project",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(picture::FORMATS)
                .build();
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                    .expect("a name, a direction and caps make a template")
            })
            .into()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for RegionDetect {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        detection_meta::register_regions_meta();
        motion_state::register();
        let settings = lock(&self.settings).clone();
        let options = settings
            .engine_options()
            .map_err(|text| gst::error_msg!(gst::ResourceError::Settings, ("{text}")))?;
        let engine = Engine::open(&options)
            .map_err(|error| gst::error_msg!(gst::ResourceError::OpenRead, ("{error}")))?;
        if let Some(other) = engine.other_library(options.onnxruntime.as_deref()) {
            gst::element_imp_warning!(self, gst::LibraryError::Settings, ("{other}"));
        }
        let model = engine.model();
        let labels = match settings.labels.as_deref().filter(|path| !path.is_empty()) {
            None => model.labels.clone(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    gst::error_msg!(gst::ResourceError::OpenRead, ("label file {path}: {error}"))
                })?;
                Labels::from_text(&text)
            }
        };
        if let Some(classes) = model.classes().filter(|classes| labels.len() < *classes) {
            gst::element_imp_warning!(
                self,
                gst::LibraryError::Settings,
                (
                    "the model has {classes} classes, only {} have a name",
                    labels.len()
                )
            );
        }
        self.warnings.tell_kept(self.obj().upcast_ref());
        self.warn_of_unknown(&labels, &settings.classes);
        gst::info!(
            CAT,
            imp = self,
            "{} is {} with an input of {}x{} and {} classes",
            options.model.display(),
            model.model_type(),
            model.input.tensor.width,
            model.input.tensor.height,
            labels.len()
        );
        let client = engine.client(settings.timeout());
        *lock(&self.engine) = Some(engine);
        *lock(&self.opened) = Some(Opened { client, labels });
        *lock(&self.stats) = Stats::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        *lock(&self.opened) = None;
        *lock(&self.tracks) = None;
        *lock(&self.engine) = None;
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = VideoInfo::from_caps(incaps)
            .map_err(|_| gst::loggable_error!(CAT, "not raw video: {incaps}"))?;
        let mut state = lock(&self.state);
        let (client, labels) = match state.take() {
            Some(state) => (state.client, state.labels),
            None => {
                let opened = lock(&self.opened)
                    .take()
                    .ok_or_else(|| gst::loggable_error!(CAT, "caps before start"))?;
                (opened.client, opened.labels)
            }
        };
        let settings = lock(&self.settings).clone();
        *state = Some(State::new(info, client, labels, settings));
        Ok(())
    }

    /// Buffers pass as they are: upstream may send what downstream takes, strides included, and write straight into its memory.
    fn propose_allocation(
        &self,
        _decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        // Without an answer from there, the answer is that it takes nothing in particular.
        let _ = self.parent_propose_allocation(None, query);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::FlushStop {
            *lock(&self.tracks) = None;
            if let Some(state) = &mut *lock(&self.state) {
                state.planner.restart();
            }
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        match TracksEvent::parse(&event) {
            Some(tracks) => {
                *lock(&self.tracks) = Some(tracks);
                // It was for the nearest detector upstream of the tracker.
                true
            }
            None => self.parent_src_event(event),
        }
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(mut state) = lock(&self.state).take() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let result = self.work(&mut state, buffer);
        *lock(&self.state) = Some(state);
        result
    }
}

impl RegionDetect {
    fn import_grid(&self, text: &str) -> bool {
        match RegionGrid::from_json(text) {
            Ok(grid) => {
                *lock(&self.grid) = grid;
                true
            }
            Err(error) => {
                self.warnings
                    .tell(self.obj().upcast_ref(), error.to_string());
                false
            }
        }
    }

    /// Bounds that cannot be read change nothing.
    fn set_grid_bounds(&self, text: &str) {
        let bounds = match text {
            "" => Ok(None),
            text => text.parse().map(Some),
        };
        if let Err(error) = bounds.and_then(|bounds| lock(&self.grid).set_bounds(bounds)) {
            self.warnings
                .tell(self.obj().upcast_ref(), error.to_string());
        }
    }

    /// Nobody will ever see a detection of a class that the model has not.
    fn warn_of_unknown(&self, labels: &Labels, classes: &str) {
        let unknown: Vec<&str> = names(classes)
            .filter(|name| labels.id(name).is_none())
            .collect();
        if !unknown.is_empty() {
            let text = format!(
                "property classes: none of the model's {} classes is called {}",
                labels.len(),
                unknown.join(" or ")
            );
            self.warnings.tell(self.obj().upcast_ref(), text);
        }
    }

    fn work(
        &self,
        state: &mut State,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let begin = Instant::now();
        if self
            .changed
            .swap(false, std::sync::atomic::Ordering::Acquire)
        {
            let settings = lock(&self.settings).clone();
            if settings.classes != state.settings.classes {
                self.warn_of_unknown(&state.labels, &settings.classes);
            }
            state.apply(settings);
        }
        let mut stats = Stats {
            frames: 1,
            ..Stats::default()
        };
        let mut waited = Duration::ZERO;
        let regions_looked_at = if state.settings.enabled {
            match self.look(state, buffer, &mut stats) {
                Ok(blocked) => {
                    waited = blocked;
                    true
                }
                Err(Missed::Timeout(error)) => {
                    stats.timeouts += 1;
                    self.warn(state, &error.to_string());
                    false
                }
                Err(Missed::Unreadable(text)) => {
                    stats.unreadable += 1;
                    self.warn(state, &text);
                    false
                }
                Err(Missed::Failed(text)) => {
                    gst::element_imp_error!(
                        self,
                        gst::StreamError::Failed,
                        ("the model failed: {text}")
                    );
                    return Err(gst::FlowError::Error);
                }
            }
        } else {
            state.results.clear();
            false
        };
        state.write(buffer, regions_looked_at);
        stats.detections += state.results.len() as u64;
        stats.own_time += begin.elapsed().saturating_sub(waited);
        lock(&self.stats).absorb(&stats);
        Ok(gst::FlowSuccess::Ok)
    }

    /// Plans, runs and reduces one frame. Gives the time this thread was blocked by the engine.
    fn look(
        &self,
        state: &mut State,
        buffer: &gst::BufferRef,
        stats: &mut Stats,
    ) -> Result<Duration, Missed> {
        state.results.clear();
        let time = buffer.pts().map_or_else(
            || state.started.elapsed().as_nanos() as u64,
            gst::ClockTime::nseconds,
        );
        let size = state.planner.settings().frame;
        let (width, height) = (size.width as f32, size.height as f32);
        let motion = motion_state::get(buffer);
        state.motion.clear();
        if motion.is_some() {
            let boxes = detection_meta::motion_boxes(buffer, state.frame_size());
            state.motion.extend(boxes.map(|b| b.scaled(width, height)));
        }
        let tracked = match &*lock(&self.tracks) {
            Some(event) => {
                state.tracks.clear();
                state
                    .tracks
                    .extend(event.tracks.iter().map(|track| WatchedTrack {
                        id: track.id,
                        bbox: track.bbox.scaled(width, height),
                        stationary: track.stationary,
                    }));
                true
            }
            None => false,
        };
        let plan = state.planner.plan(
            &Look {
                time,
                motion: motion.map(|_| &state.motion[..]),
                calibrating: motion.is_some_and(|m| m.calibrating),
                tracks: tracked.then_some(&state.tracks[..]),
            },
            &lock(&self.grid),
        );
        stats.deferred += plan.deferred().iter().filter(|d| d.waits).count() as u64;
        state.candidates.clear();
        state.found.clear();
        let mut blocked = Duration::ZERO;
        if !plan.inputs().is_empty() {
            let frame =
                VideoFrameRef::from_buffer_ref_readable(buffer, &state.info).map_err(|error| {
                    Missed::Unreadable(format!("the buffer cannot be read: {error}"))
                })?;
            let picture = picture::picture(&frame).map_err(|error| {
                Missed::Unreadable(format!("the buffer cannot be read: {error}"))
            })?;
            let engine = std::sync::Arc::clone(state.client.engine());
            let spec = &engine.model().input.tensor;
            let begin = Instant::now();
            let mut busy = Duration::ZERO;
            let times: FrameTimes = state.client.run(
                plan.inputs().len(),
                state.settings.min_score as f32,
                |index, tensor, shown| {
                    let begin = Instant::now();
                    let placements = plan.placements(&plan.inputs()[index]);
                    (state.cropper).refill(&picture, placements, spec, tensor, shown);
                    busy += begin.elapsed();
                },
                |index, detections| {
                    for detection in detections {
                        let input = &plan.inputs()[index];
                        let wanted = state.classes.as_ref().is_none_or(|classes| {
                            classes.get(usize::from(detection.label)) == Some(&true)
                        });
                        let Some(placement) = plan.placement_of(input, &detection.bbox) else {
                            continue;
                        };
                        // A box may reach over the edge of its square into a neighbour's; there it is not true.
                        let shown = placement.dest.to_bbox();
                        let Some(inside) = detection.bbox.intersection(&shown).filter(|_| wanted)
                        else {
                            continue;
                        };
                        let bbox = placement.to_frame(&inside).clamped(width, height);
                        if !bbox.is_valid() {
                            continue;
                        }
                        let pixels = detection::PixelBox::new(
                            bbox.x1 as i32,
                            bbox.y1 as i32,
                            bbox.x2 as i32,
                            bbox.y2 as i32,
                        );
                        state.candidates.push(Candidate::new(
                            detection.label,
                            detection.score,
                            pixels,
                            placement.source,
                        ));
                        state.found.push(Detection { bbox, ..*detection });
                    }
                },
            )?;
            blocked = begin.elapsed().saturating_sub(busy);
            stats.engine += times;
            stats.frames_looked_at += 1;
            stats.inferences += plan.inputs().len() as u64;
            for input in plan.inputs() {
                stats.by_reason[input.reason as usize] += 1;
            }
            stats.regions += plan.all_placements().len() as u64;
        }
        let labels = &state.labels;
        state.reducer.reduce(
            size,
            &state.candidates,
            |label| Overlap::of(labels.name(label)),
            &mut state.kept,
        );
        let found = &state.found;
        state
            .results
            .extend(state.kept.iter().map(|index| found[*index]));
        state.planner.report(&state.results, &mut lock(&self.grid));
        Ok(blocked)
    }

    /// At most once a second: a camera that is too fast for its machine must not flood the bus too.
    fn warn(&self, state: &mut State, text: &str) {
        let recent = |at: Instant| at.elapsed() < Duration::from_secs(1);
        if !state.warned.is_some_and(recent) {
            state.warned = Some(Instant::now());
            gst::element_imp_warning!(self, gst::StreamError::Failed, ("{text}"));
        }
    }
}

/// The names in a list with commas.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|n| !n.is_empty())
}

/// Why a frame has no detections.
enum Missed {
    Timeout(RunError),
    Unreadable(String),
    Failed(String),
}

impl From<RunError> for Missed {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Timeout(_) => Self::Timeout(error),
            RunError::Failed(text) => Self::Failed(text),
        }
    }
}

impl State {
    fn new(info: VideoInfo, client: Client, labels: Labels, settings: Settings) -> Self {
        let frame = FrameSize::new(info.width() as i32, info.height() as i32);
        let tensor = client.engine().model().input.tensor;
        let input = tensor.width.min(tensor.height) as i32;
        let mut state = Self {
            info,
            planner: Planner::new(settings.plan(frame, input)),
            client,
            labels,
            cropper: Cropper::default(),
            reducer: Reducer::new(),
            classes: None,
            settings: settings.clone(),
            motion: Vec::new(),
            tracks: Vec::new(),
            candidates: Vec::new(),
            found: Vec::new(),
            kept: Vec::new(),
            results: Vec::new(),
            started: Instant::now(),
            warned: None,
        };
        state.apply(settings);
        state
    }

    /// Takes settings into use.
    fn apply(&mut self, settings: Settings) {
        let current = self.planner.settings();
        self.planner
            .set_settings(settings.plan(current.frame, current.input));
        // Boxes at the reducer's limit do not take part, those at ours do.
        self.reducer = Reducer::with_min_score(settings.min_score as f32 - 1e-6);
        self.client.set_timeout(settings.timeout());
        let wanted: Vec<&str> = names(&settings.classes).collect();
        self.classes = (!wanted.is_empty()).then(|| {
            self.labels
                .iter()
                .map(|label| wanted.contains(&label))
                .collect()
        });
        self.settings = settings;
    }

    fn frame_size(&self) -> detection_meta::FrameSize {
        detection_meta::FrameSize {
            width: self.info.width(),
            height: self.info.height(),
        }
    }

    /// Detections and what was looked at, onto the buffer.
    fn write(&self, buffer: &mut gst::BufferRef, looked_at: bool) {
        let frame = self.frame_size();
        let (width, height) = (frame.width as f32, frame.height as f32);
        for detection in &self.results {
            let roi = DetectionRoi {
                label: self.labels.name(detection.label),
                label_id: i32::from(detection.label),
                confidence: f64::from(detection.score),
                bbox: detection.bbox.scaled(1.0 / width, 1.0 / height),
                object_id: None,
            };
            detection_meta::add_detection(buffer, frame, &roi);
        }
        let placements = match looked_at {
            true => self.planner.last().all_placements(),
            false => &[],
        };
        let regions = placements.iter().map(|placement| {
            let seen = placement.source.to_bbox().clamped(width, height);
            seen.scaled(1.0 / width, 1.0 / height)
        });
        detection_meta::set_looked_at(buffer, regions);
    }
}
