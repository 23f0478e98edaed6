//! Analysis workers: one for all cameras, and one for each camera that took others down with it.

use super::analysis::{Analysis, NO_PROGRESS, SILENCE};
use super::health::State;
use super::history::Ids;
use super::process::{self, AnalysisId, WorkerId};
use super::{Supervisor, log};
use crate::bus::Observation;
use crate::limits;
use crate::protocol::{AnalysisCommand, AnalysisReport, CameraReport, line};
use std::time::{Duration, Instant};
use watchpost_pipelines::fault::Fault;
use watchpost_pipelines::secret::hide;
use watchpost_pipelines::spec::AnalysisSpec;

/// A second attempt at an analysis that could not be started.
const ANALYSIS_RETRY: Duration = Duration::from_secs(5);
/// From asking the analysis to let go of a camera to going on without its answer.
const DETACH_GRACE: Duration = Duration::from_secs(2);
/// Frames that must wait before a camera of which nothing is analysed is believed to hang: slow sources have few.
const WAITING_FRAMES: u64 = 5;

impl Supervisor {
    pub(super) fn analysis_report(&mut self, id: &AnalysisId, report: AnalysisReport) {
        let Some(analysis) = self.analyses.get_mut(id) else {
            return;
        };
        analysis.last_report = Instant::now();
        match report {
            AnalysisReport::Heartbeat => analysis.ready = true,
            AnalysisReport::Camera { camera, report } => self.camera_report(id, &camera, report),
            AnalysisReport::Fault(fault) => {
                let advice = limits::advice_on(&fault.reason);
                tracing::error!("{} worker: {fault}{advice}", id.name());
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
        if camera.attached_to.as_ref().map(|(id, _)| id) != Some(id) {
            return;
        }
        match report {
            CameraReport::Attached => {
                camera.attached = true;
                camera.has_been_analysed(now);
            }
            CameraReport::Detached => {
                let was_motion = camera.clear_analysis();
                self.history.analysis_ended(name, was_motion);
            }
            CameraReport::Fault(fault) => self.analysis_failed(name, &fault),
            CameraReport::Stats(stats) => {
                if stats.process_fps > 0.0 {
                    camera.has_been_analysed(now);
                    camera.analysis_fault = None;
                    camera.analysis_retry = None;
                    camera.analysis_backoff.reset();
                }
                let newest = newest(camera.analysis.detection_frame, stats.detection_frame);
                camera.analysis = stats;
                camera.analysis.detection_frame = newest;
            }
            CameraReport::Objects {
                frame,
                size,
                objects,
            } => {
                let offset = camera.config.detect.annotation_offset.unwrap_or_default();
                let time = frame + f64::from(offset) / 1000.0;
                self.history.frame(name, time, size, &objects);
                camera.objects = Some(objects);
                camera.analysis.detection_frame =
                    newest(camera.analysis.detection_frame, Some(frame));
            }
            CameraReport::Motion { active, at } => {
                camera.motion = active;
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
        let was_motion = camera.clear_analysis();
        self.history.analysis_ended(&camera.name, was_motion);
        camera.analysis_fault = Some(reason);
        let wait = camera.analysis_backoff.next_wait().max(ANALYSIS_RETRY);
        camera.analysis_retry = (!fault.is_permanent()).then(|| now + wait);
    }

    /// `by_itself`: so that a camera may be the cause.
    pub(super) fn analysis_gone(&mut self, id: &AnalysisId, reason: &str, by_itself: bool) {
        let now = Instant::now();
        let Some(analysis) = self.analyses.get_mut(id) else {
            return;
        };
        let expected = analysis.stopping;
        analysis.worker = None;
        analysis.ready = false;
        analysis.stopping = false;
        if !expected {
            if analysis.started.elapsed() >= Duration::from_secs(60) {
                analysis.backoff.reset();
            }
            let wait = analysis.backoff.next_wait();
            analysis.retry_at = Some(now + wait);
            tracing::error!(
                "{} worker: {reason}; it starts again in {:.1} s",
                id.name(),
                wait.as_secs_f64()
            );
        }
        let mut dropped = false;
        for camera in self.cameras.values_mut() {
            if camera.attached_to.as_ref().map(|(r, _)| r) != Some(id) {
                continue;
            }
            let was_motion = camera.clear_analysis();
            self.history.analysis_ended(&camera.name, was_motion);
            if expected || !by_itself || !analysis.marks.at_work(camera.mark) {
                continue;
            }
            if matches!(id, AnalysisId::Own(_)) {
                let reason = format!(
                    "its analysis died repeatedly, at last in a worker of its own ({reason}); change the camera or the model"
                );
                tracing::error!(camera = camera.name, "{reason}");
                camera.analysis_fault = Some(reason);
                camera.analysis_retry = None;
                dropped = true;
            } else if camera.died_at_work(now) {
                tracing::error!(
                    camera = camera.name,
                    "was at work in three deaths of the analysis worker within ten minutes; it gets a worker of its own"
                );
                camera.own_worker = true;
            }
        }
        analysis.marks.clear();
        if dropped {
            self.analyses.remove(id);
        }
    }

    /// What an analysis worker needs to know of a camera. Ids and the region grid, which the store has, are added where
    /// a camera begins.
    pub(super) fn analysis_spec(&self, name: &str) -> AnalysisSpec {
        AnalysisSpec {
            name: name.to_owned(),
            camera: self.cameras[name].config.clone(),
            socket_path: crate::run_dir::socket(self.run_dir.path(), name),
            model: self.config.model.clone(),
            first_id: None,
            region_grid: None,
        }
    }

    /// Sends to the worker that looks at this camera.
    pub(super) fn tell_analysis_of(&mut self, name: &str, command: &AnalysisCommand) {
        let Some((id, run)) = self.cameras.get(name).and_then(|c| c.attached_to.clone()) else {
            return;
        };
        if let Some(analysis) = self.analyses.get(&id)
            && analysis.open_run() == Some(run)
            && let Some(worker) = &analysis.worker
            && !worker.send(line(command))
        {
            worker.kill();
        }
    }

    /// Ends workers that say nothing, or that do not get on with a camera; their end starts new ones.
    pub(super) fn replace_hanging(&mut self, now: Instant) {
        for analysis in self.analyses.values_mut() {
            let hangs = now.duration_since(analysis.last_report) >= SILENCE;
            if let Some(worker) = analysis.worker.as_ref().filter(|_| hangs) {
                tracing::error!(
                    pid = worker.pid(),
                    "{} worker: silent for {} s; it is replaced",
                    analysis.id.name(),
                    SILENCE.as_secs()
                );
                analysis.last_report = now;
                worker.kill();
            }
        }
        for camera in self.cameras.values_mut() {
            let written = camera.ring.as_ref().map_or(0, |ring| ring.written);
            let hangs = camera.health.state() == State::Streaming
                && written.saturating_sub(camera.written_when_analysed) >= WAITING_FRAMES
                && camera
                    .last_analysed
                    .is_some_and(|at| now.duration_since(at) >= NO_PROGRESS);
            let worker = camera
                .attached_to
                .as_ref()
                .filter(|_| hangs)
                .and_then(|(id, _)| self.analyses.get(id)?.worker.as_ref());
            if let Some(worker) = worker {
                tracing::error!(
                    camera = camera.name,
                    pid = worker.pid(),
                    "no frame analysed for {} s; the analysis worker is replaced",
                    NO_PROGRESS.as_secs()
                );
                camera.last_analysed = None;
                worker.kill();
            }
        }
    }

    pub(super) fn start_and_stop_analyses(&mut self, now: Instant) {
        let mut needed: Vec<AnalysisId> = Vec::new();
        for camera in self.cameras.values() {
            let id = if camera.own_worker {
                AnalysisId::Own(camera.name.clone())
            } else {
                AnalysisId::Shared
            };
            let wanted = camera.needs_analysis()
                && (camera.analysis_fault.is_none() || camera.analysis_retry.is_some());
            if (wanted || camera.attached_to.is_some()) && !needed.contains(&id) {
                needed.push(id);
            }
        }
        if !self.ending {
            for id in &needed {
                if self.analyses.contains_key(id) {
                    continue;
                }
                match Analysis::new(id.clone(), self.run_dir.path(), now) {
                    Ok(analysis) => drop(self.analyses.insert(id.clone(), analysis)),
                    Err(error) => tracing::error!("cannot start the analysis: {error:#}"),
                }
            }
        }
        let mut over = Vec::new();
        for (id, analysis) in &mut self.analyses {
            if !needed.contains(id) {
                match &analysis.worker {
                    // Cameras that are being replaced come back to it in a moment.
                    Some(_)
                        if !self.ending && self.cameras.values().any(|c| c.leaving.is_some()) => {}
                    Some(_) => stop_analysis(analysis),
                    None => over.push(id.clone()),
                }
                continue;
            }
            if self.ending || !analysis.due(now) {
                continue;
            }
            let run = self.next_run;
            self.next_run += 1;
            let first = line(&AnalysisCommand::Marks {
                path: analysis.marks.path().to_owned(),
            });
            analysis.started = now;
            analysis.last_report = now;
            analysis.retry_at = None;
            match process::spawn(id.clone(), run, first, self.finding_sender.clone()) {
                Ok(worker) => {
                    tracing::info!(pid = worker.pid(), "{} worker started", id.name());
                    analysis.worker = Some(worker);
                }
                Err(error) => {
                    let wait = analysis.backoff.next_wait().max(Duration::from_secs(1));
                    let advice = limits::advice(&error);
                    tracing::error!("cannot start the {} worker: {error}{advice}", id.name());
                    analysis.retry_at = Some(now + wait);
                }
            }
        }
        for id in over {
            self.analyses.remove(&id);
        }
    }

    pub(super) fn attach_and_detach(&mut self, now: Instant) {
        let names: Vec<String> = self.cameras.keys().cloned().collect();
        for name in names {
            let camera = &self.cameras[&name];
            let wanted = camera.wanted_analysis(now);
            let target = wanted.and_then(|id| {
                let run = self.analyses.get(&id)?.open_run()?;
                Some((id, run))
            });
            if camera.attached_to == target {
                continue;
            }
            if let Some((id, run)) = camera.attached_to.clone() {
                let worker = self
                    .analyses
                    .get(&id)
                    .filter(|a| a.open_run() == Some(run))
                    .and_then(|a| a.worker.as_ref());
                if let Some(worker) = worker {
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
                    let was_motion = camera.clear_analysis();
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
                    .analyses
                    .get(&id)
                    .and_then(|a| a.worker.as_ref())
                    .is_some_and(|worker| worker.send(line(&command)));
                if let Some(camera) = self.cameras.get_mut(&name).filter(|_| sent) {
                    camera.attached_to = Some((id, run));
                }
            }
        }
    }
}

pub(super) fn stop_analysis(analysis: &mut Analysis) {
    if let Some(worker) = analysis.worker.as_ref().filter(|_| !analysis.stopping) {
        worker.stop(line(&AnalysisCommand::Stop));
        analysis.stopping = true;
    }
}

/// The frame analysed last: of two reports that may have come in either order the newer one, unless the clock was set back between
/// them.
fn newest(known: Option<f64>, told: Option<f64>) -> Option<f64> {
    /// Seconds that one report comes after the other at most.
    const DISORDER: f64 = 60.0;
    match (known, told) {
        (Some(known), Some(told)) if told > known - DISORDER => Some(told.max(known)),
        (known, told) => told.or(known),
    }
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_frame_follows_a_clock_that_is_set_back() {
        assert_eq!(newest(None, None), None);
        assert_eq!(newest(Some(1000.0), None), Some(1000.0));
        assert_eq!(newest(None, Some(999.8)), Some(999.8));
        assert_eq!(newest(Some(1000.0), Some(1000.2)), Some(1000.2));
        assert_eq!(newest(Some(1000.0), Some(999.8)), Some(1000.0));
        assert_eq!(newest(Some(1000.0), Some(500.0)), Some(500.0));
    }
}
