//! What is done with one frame: plan where to look, run the model there, reduce what it found, write it down.

use std::time::{Duration, Instant};

use detection::{Detection, FrameSize, Labels};
use detection_meta::{DetectionRoi, frame_size};
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_video::{VideoFrameRef, VideoInfo};
use regiondetect_core::reduce::{Candidate, Overlap, Reducer};
use regiondetect_core::regions::{Look, Planner, WatchedTrack};
use regiondetect_core::tensor::Cropper;

use super::imp::{CAT, RegionDetect, lock};
use super::picture;
use super::settings::Settings;
use super::stats::Stats;
use crate::engine::{Client, FrameTimes, RunError};

/// One frame's memory and the planner: taken out of its lock while a frame is worked on, so that no lock is held across
/// inference.
pub(super) struct State {
    info: VideoInfo,
    pub planner: Planner,
    pub client: Client,
    pub labels: Labels,
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
    /// What the model gives cannot be detections; the bus has been told.
    implausible: bool,
}

impl State {
    pub(super) fn new(info: VideoInfo, client: Client, labels: Labels, settings: Settings) -> Self {
        let frame = frame_size(&info);
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
            implausible: false,
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

    fn frame_size(&self) -> FrameSize {
        frame_size(&self.info)
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
                bbox: frame.to_fractions(&detection.bbox),
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
            frame.to_fractions(&seen)
        });
        detection_meta::set_looked_at(buffer, regions);
        detection_meta::keep_detections(buffer, frame);
    }
}

impl RegionDetect {
    pub(super) fn work(
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
                Err(Missed::Implausible) => {
                    stats.implausible += 1;
                    state.results.clear();
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
            gst::log!(CAT, imp = self, "nothing is looked at: enabled=false");
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
        let motion = detection_meta::motion_state(buffer);
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
        let waiting = plan.deferred().iter().filter(|d| d.waits).count();
        stats.deferred += waiting as u64;
        if plan.inputs().is_empty() {
            let motion = match motion {
                None => "no motiondetect upstream says where something moves".to_owned(),
                Some(motion) if motion.calibrating => "motiondetect calibrates".to_owned(),
                Some(_) if state.motion.is_empty() => "nothing moves".to_owned(),
                Some(_) => format!("{} motion boxes, none due", state.motion.len()),
            };
            let tracks = match tracked {
                true => format!("{} tracks, none due", state.tracks.len()),
                false => "no tracks announced from downstream".to_owned(),
            };
            gst::log!(
                CAT,
                imp = self,
                "{:?}: nothing is looked at: {motion}; {tracks}; {waiting} regions wait for the budget",
                buffer.pts()
            );
        } else {
            gst::log!(
                CAT,
                imp = self,
                "{:?}: {} inputs with {} regions, first reason {:?}; {waiting} regions wait for the budget",
                buffer.pts(),
                plan.inputs().len(),
                plan.all_placements().len(),
                plan.inputs()[0].reason
            );
        }
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
            let reason = engine.implausible();
            if reason.is_some() != state.implausible {
                state.implausible = reason.is_some();
                self.tell_implausible(state, reason);
            }
        }
        if state.implausible {
            return Err(Missed::Implausible);
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

    /// Nobody will ever see a detection of a class that the model has not.
    pub(super) fn warn_of_unknown(&self, labels: &Labels, classes: &str) {
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

    /// The state `implausible` begins or ends: an element message for programs, and words for people.
    fn tell_implausible(&self, state: &State, reason: Option<&str>) {
        let obj = self.obj();
        let mut structure = gst::Structure::builder("regiondetect-state").field(
            "state",
            if reason.is_some() {
                "implausible"
            } else {
                "working"
            },
        );
        if let Some(reason) = reason {
            let settings = &state.settings;
            structure = structure.field("reason", reason);
            gst::element_imp_warning!(
                self,
                gst::StreamError::Failed,
                (
                    "what the model {} gives cannot be detections ({reason}): it was taken for {}. Set model-type to what \
                     it is; until its output makes sense there are no detections",
                    settings.model.as_deref().unwrap_or_default(),
                    state.client.engine().model().model_type()
                )
            );
        } else {
            gst::info!(CAT, imp = self, "what the model gives makes sense again");
        }
        let message = gst::message::Element::builder(structure.build())
            .src(&*obj)
            .build();
        let _ = obj.post_message(message);
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
    Implausible,
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
