//! Analysis workers: one for all cameras, and one for each camera that took others down with it.

use super::health::State;
use super::history::Ids;
use super::process::AnalysisId;
use super::{Supervisor, log};
use crate::bus::Observation;
use crate::config::Config;
use crate::limits;
use crate::protocol::{AnalysisCommand, AnalysisReport, CameraReport, line};
use std::time::{Duration, Instant};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::fault::Fault;
use watchpost_pipelines::secret::hide;
use watchpost_pipelines::spec::AnalysisSpec;

/// From asking the analysis to let go of a camera to going on without its answer.
const DETACH_GRACE: Duration = Duration::from_secs(2);
impl Supervisor {
    pub(super) fn analysis_report(&mut self, id: &AnalysisId, report: AnalysisReport) {
        let Some(analysis) = self.workers.analysis_mut(id) else {
            return;
        };
        analysis.reported(Instant::now());
        match report {
            AnalysisReport::Heartbeat => analysis.heartbeat(),
            AnalysisReport::Camera { camera, report } => self.camera_report(id, &camera, report),
            AnalysisReport::Fault(fault) => {
                // GStreamer goes on without the thread, and waits for ever.
                let advice = limits::advice_on(&fault.reason);
                analysis.replace(format!("{}{advice}", hide(&fault.reason)));
            }
            AnalysisReport::Log(line) => log(None, &line),
        }
    }

    fn camera_report(&mut self, id: &AnalysisId, name: &str, report: CameraReport) {
        let now = Instant::now();
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        // The last reports of a worker that no longer has this camera.
        if !camera.analysis.is_attached_to(id) {
            return;
        }
        match report {
            CameraReport::Attached => camera.analysis.runs(),
            CameraReport::Detached => {
                let was_motion = camera.analysis.detach();
                self.history.analysis_ended(name, was_motion);
            }
            CameraReport::Fault(fault) => self.analysis_failed(name, &fault),
            CameraReport::Stats(stats) => {
                let written = camera.written();
                camera.analysis.take_stats(stats, written, now);
            }
            CameraReport::Objects {
                frame,
                size,
                objects,
            } => {
                let offset = camera.config.detect.annotation_offset.unwrap_or_default();
                let time = frame + f64::from(offset) / 1000.0;
                self.history.frame(name, time, size, &objects);
                camera.analysis.take_objects(frame, objects);
            }
            CameraReport::Motion { active, at } => {
                camera.analysis.take_motion(active);
                if camera.leaving.is_none() {
                    self.history.motion(name, active, at);
                }
            }
            CameraReport::Grid { json, frozen } => self.history.save_grid(name, &json, frozen),
            CameraReport::Track(track) => {
                tracing::debug!(
                    camera = name,
                    id = track.object.id,
                    label = track.object.label,
                    "{}",
                    track.change.as_str()
                );
                // The events of a camera that leaves have ended already.
                if camera.leaving.is_none() {
                    let (object, bbox) = (&track.object, track.bbox);
                    let observation = Observation {
                        object_id: i64::from(object.id),
                        change: track.change,
                        label: object.label.clone(),
                        score: object.score,
                        bbox,
                        path_length: track.path_length,
                        first_seen: object.first_seen,
                        last_seen: object.last_seen,
                        zones: object.zones.clone(),
                        entered: track.entered,
                        left: track.left,
                    };
                    self.history.track(name, observation);
                }
            }
        }
    }

    /// One camera cannot be analysed; its capture goes on.
    fn analysis_failed(&mut self, name: &str, fault: &Fault) {
        let reason = hide(&fault.reason);
        let now = Instant::now();
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        if camera.repeats.is_new(&reason, now) {
            tracing::error!(camera = name, "no detection: {reason}");
        }
        let was_motion = camera.analysis.detach();
        self.history.analysis_ended(&camera.name, was_motion);
        camera.analysis.failed(fault, reason, now);
    }

    /// `by_itself`: so that a camera may be the cause.
    pub(super) fn analysis_gone(&mut self, id: &AnalysisId, reason: &str, by_itself: bool) {
        let now = Instant::now();
        let Some(analysis) = self.workers.analysis_mut(id) else {
            return;
        };
        let unexpected = analysis.gone(reason, now);
        let mut dropped = false;
        for camera in self.cameras.iter_mut() {
            if !camera.analysis.is_attached_to(id) {
                continue;
            }
            let was_motion = camera.analysis.detach();
            self.history.analysis_ended(&camera.name, was_motion);
            let Some(reason) = unexpected.as_ref().filter(|_| by_itself) else {
                continue;
            };
            if !analysis.marks().at_work(camera.mark) {
                continue;
            }
            if matches!(id, AnalysisId::Own(_)) {
                let reason = format!(
                    "its analysis died repeatedly, at last in a worker of its own ({reason}); change the camera or the model"
                );
                tracing::error!(camera = camera.name, "{reason}");
                camera.analysis.given_up(reason);
                dropped = true;
            } else if camera.analysis.died_at_work(now) {
                tracing::error!(
                    camera = camera.name,
                    "was at work in three deaths of the analysis worker within ten minutes; it gets a worker of its own"
                );
            }
        }
        analysis.marks().clear();
        if dropped {
            self.workers.forget_analysis(id);
        }
    }

    /// What an analysis worker needs to know of a camera. Ids and the region grid, which the store has, are added where
    /// a camera begins.
    pub(super) fn analysis_spec(&self, name: &str) -> AnalysisSpec {
        AnalysisSpec {
            name: name.to_owned(),
            camera: self.cameras[name].config.clone(),
            socket_path: self.workers.socket(name),
            model: self.config.model.clone(),
            first_id: None,
            region_grid: None,
        }
    }

    /// Sends to the worker that looks at this camera.
    pub(super) fn tell_analysis_of(&mut self, name: &str, command: &AnalysisCommand) {
        let Some((id, run)) = self
            .cameras
            .get(name)
            .and_then(|c| c.analysis.attached_to().cloned())
        else {
            return;
        };
        if let Some(worker) = self.workers.open_analysis(&id, run)
            && !worker.send(line(command))
        {
            worker.kill();
        }
    }

    /// Ends workers that are silent, or that hang with a camera; their end starts new ones.
    pub(super) fn replace_hanging(&mut self, now: Instant) {
        for (_, analysis) in self.workers.analyses_mut() {
            if let Some(reason) = analysis.hangs(now) {
                analysis.replace(reason);
            }
        }
        let model = self.config.model.as_ref();
        let provider = model.and_then(|model| model.provider.as_deref());
        for camera in self.cameras.iter_mut() {
            if camera.health.state() != State::Streaming {
                continue;
            }
            let hangs = camera.analysis.hangs(camera.written(), provider, now);
            let id = camera.analysis.attached_to().map(|(id, _)| id);
            if let Some(seconds) = hangs
                && let Some(analysis) = id.and_then(|id| self.workers.analysis_mut(id))
            {
                let reason = format!(
                    "no frame analysed for {seconds} s; the inference engine hangs, or is too slow for this model"
                );
                analysis.replace(format!("camera {}: {reason}", camera.name));
                camera.analysis.hung(reason, now);
            }
        }
    }

    /// The supervisor itself did not run for this long: what it did not take meanwhile is not the workers' silence.
    pub(super) fn excuse_analyses(&mut self, asleep: Duration) {
        for (_, analysis) in self.workers.analyses_mut() {
            analysis.excuse(asleep);
        }
        for camera in self.cameras.iter_mut() {
            camera.analysis.excuse(asleep);
        }
    }

    /// Starts the worker that all cameras need before those of single cameras: where descriptors or threads are short,
    /// one camera is missing rather than the detection of all.
    pub(super) fn start_analysis_first(&mut self, config: &Config) {
        let needed = |camera: &CameraConfig| camera.enabled && camera.detect.enabled;
        if !self.workers.has_analyses() && config.cameras.values().any(needed) {
            self.workers
                .start_analysis(&AnalysisId::Shared, Instant::now());
        }
    }

    pub(super) fn start_and_stop_analyses(&mut self, now: Instant) {
        let mut needed: Vec<AnalysisId> = Vec::new();
        for camera in self.cameras.iter() {
            let id = camera.analysis.worker_for(&camera.name);
            let wanted = camera.needs_analysis() && camera.analysis.may_work();
            if (wanted || camera.analysis.attached_to().is_some()) && !needed.contains(&id) {
                needed.push(id);
            }
        }
        let mut over = Vec::new();
        for (id, analysis) in self.workers.analyses_mut() {
            if needed.contains(id) {
                continue;
            }
            match analysis.worker() {
                // Cameras that are being replaced come back to it in a moment.
                Some(_) if !self.ending && self.cameras.iter().any(|c| c.leaving.is_some()) => {}
                Some(_) => analysis.stop(),
                None => over.push(id.clone()),
            }
        }
        for id in over {
            self.workers.forget_analysis(&id);
        }
        if !self.ending {
            for id in needed {
                self.workers.start_analysis(&id, now);
            }
        }
    }

    pub(super) fn attach_and_detach(&mut self, now: Instant) {
        for name in self.cameras.names() {
            let camera = &self.cameras[&name];
            let captured = self.workers.capture(&name).is_some();
            let wanted = camera.wanted_analysis(captured, now);
            let target = wanted.and_then(|id| {
                let run = self.workers.analysis(&id)?.open_run()?;
                Some((id, run))
            });
            if camera.analysis.attached_to() == target.as_ref() {
                continue;
            }
            if let Some((id, run)) = camera.analysis.attached_to().cloned() {
                if let Some(worker) = self.workers.open_analysis(&id, run) {
                    let command = AnalysisCommand::Remove {
                        camera: name.clone(),
                    };
                    let leaving = self.cameras.get(&name).and_then(|c| c.leaving.as_ref());
                    match leaving.map(|l| l.detach_by) {
                        // Its answer is waited for.
                        Some(Some(_)) => continue,
                        Some(None) => {
                            worker.send(line(&command));
                            if let Some(leaving) =
                                self.cameras.get_mut(&name).and_then(|c| c.leaving.as_mut())
                            {
                                leaving.detach_by = Some(now + DETACH_GRACE);
                            }
                            continue;
                        }
                        None => drop(worker.send(line(&command))),
                    }
                }
                if let Some(camera) = self.cameras.get_mut(&name) {
                    let was_motion = camera.analysis.detach();
                    self.history.analysis_ended(&camera.name, was_motion);
                }
            }
            if let Some((id, run)) = target {
                let first_id = match self.history.first_id(&name) {
                    Ok(Ids::From(first_id)) => first_id,
                    Ok(Ids::Soon) => continue,
                    Err(error) => {
                        let fault = Fault::source(format!("object ids: {error}"));
                        self.analysis_failed(&name, &fault);
                        continue;
                    }
                };
                let spec = AnalysisSpec {
                    first_id,
                    region_grid: self.history.grid(&name).map(|grid| grid.json),
                    ..self.analysis_spec(&name)
                };
                let command = AnalysisCommand::Add {
                    spec: Box::new(spec),
                    mark: self.cameras[&name].mark,
                };
                let sent = self
                    .workers
                    .open_analysis(&id, run)
                    .is_some_and(|worker| worker.send(line(&command)));
                if let Some(camera) = self.cameras.get_mut(&name).filter(|_| sent) {
                    let written = camera.written();
                    camera.analysis.attach(id, run, written, now);
                }
            }
        }
    }
}
