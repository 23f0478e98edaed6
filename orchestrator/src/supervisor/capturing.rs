//! Capture workers: started, listened to, replaced, as the camera's health decides.

use super::budget;
use super::camera::{Camera, RingInfo};
use super::health::{Action, Event, State};
use super::ring::RingMonitor;
use super::workers::Monitored;
use super::{Supervisor, log};
use crate::clock::seconds;
use crate::limits::{advice, advice_on};
use crate::protocol::{CaptureCommand, CaptureReport, Level, line};
use std::time::{Instant, SystemTime};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::{Role as Use, Source};
use watchpost_pipelines::fault::FaultKind;
use watchpost_pipelines::secret::hide;
use watchpost_pipelines::spec::CaptureSpec;

impl Supervisor {
    /// Tells a camera's health about an event and does what follows.
    pub(super) fn handle(&mut self, name: &str, event: Event) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let before = (
            camera.health.state(),
            camera.health.reason().map(str::to_owned),
        );
        let action = camera.health.handle(event, now, wall);
        if !camera.health.has_worker() {
            self.memory.release(name);
        }
        let after = (camera.health.state(), camera.health.reason());
        if (before.0, before.1.as_deref()) != after && camera.leaving.is_none() {
            log_transition(camera, now);
            let since = seconds(camera.health.since());
            self.history
                .camera(name, camera.health.state(), camera.health.reason(), since);
        }
        match action {
            Some(Action::Spawn) => self.start_capture(name),
            Some(Action::Stop) => {
                match self.workers.capture(name) {
                    Some(worker) => worker.stop(line(&CaptureCommand::Stop)),
                    // Refused before there was one.
                    None => self.handle(name, Event::Exited(String::new())),
                }
            }
            None => {}
        }
    }

    pub(super) fn start_capture(&mut self, name: &str) {
        let socket = match self.workers.prepare_socket(name) {
            Ok(socket) => socket,
            Err(error) => return self.handle(name, Event::Refused(format!("{error:#}"))),
        };
        let slots = match self.grant(name) {
            Ok(slots) => slots,
            Err(refusal) => return self.handle(name, Event::Refused(refusal)),
        };
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let spec = CaptureSpec {
            name: name.to_owned(),
            camera: camera.config.clone(),
            socket_path: socket,
            slots,
            frame_bytes: camera
                .config
                .detect_size()
                .is_none()
                .then(|| budget::frame_bytes(&camera.config, camera.known_frame_bytes())),
            data_dir: self.data_dir.clone(),
            failed_decoders: camera.failed_decoders.clone(),
        };
        camera.monitor = None;
        camera.camera_rate.clear();
        self.history.prepare_ids(name);
        let kept = self.history.kept_tasks(name);
        if let Some(worker) = self.workers.start_capture(name, line(&spec)) {
            camera.board.restore(kept);
            for command in camera.board.wanted() {
                worker.send(line(&command));
            }
        }
    }

    pub(super) fn capture_report(&mut self, name: &str, report: CaptureReport) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        match report {
            CaptureReport::RingReady { width, height } => {
                camera.size = Some((width, height));
                self.workers.watch_ring(name);
            }
            CaptureReport::Offer { offer, unavailable } => {
                camera.offer = Some(*offer);
                camera.board.unavailable = unavailable;
            }
            CaptureReport::Decoder { name: decoder } => camera.decoder = Some(decoder),
            CaptureReport::TooLarge { bytes } => {
                tracing::debug!(camera = name, bytes, "a frame is larger than assumed");
                camera.frame_bytes = Some(bytes);
                self.handle(name, Event::TooLarge);
            }
            CaptureReport::Fault(fault) => {
                if let Some(decoder) = fault.decoder {
                    tracing::warn!(
                        camera = name,
                        decoder,
                        "decoder failed; the next one is tried"
                    );
                    if !camera.failed_decoders.contains(&decoder) {
                        camera.failed_decoders.push(decoder);
                    }
                }
                let advice = advice_on(&fault.reason);
                let reason = format!("{}{advice}", hide(&fault.reason));
                let reason = name_source(&camera.config, &reason);
                self.handle(name, Event::Fault(fault.kind, reason));
            }
            CaptureReport::Stats(stats) => camera.capture = stats,
            CaptureReport::TaskAnswer { id, answer } => self.task_answered(name, id, answer),
            CaptureReport::Task(status) => self.task_changed(name, status),
            CaptureReport::File(file) => self.file_made(name, file),
            CaptureReport::Record(event) => self.recorder_report(name, event),
            CaptureReport::Exclusive { active } => camera.board.exclusive = active,
            CaptureReport::Log(line) => {
                log(Some(name), &line);
                if matches!(line.level, Level::Warn | Level::Error) {
                    self.handle(name, Event::Warning(hide(&line.message)));
                }
            }
        }
    }

    pub(super) fn monitored(&mut self, monitored: Monitored) {
        let Monitored {
            camera: name,
            run,
            monitor,
        } = monitored;
        if !self.workers.is_capture_run(&name, run) || self.workers.capture(&name).is_none() {
            return;
        }
        let Some(camera) = self.cameras.get_mut(&name) else {
            return;
        };
        match monitor {
            Ok(monitor) => {
                camera.monitor = Some(monitor);
                camera.camera_rate.clear();
                self.read_head(&name, Instant::now());
            }
            // Unwatched it would count as silent, and nobody would learn why.
            Err(error) => {
                let reason = format!("cannot watch the ring: {error}{}", advice(error.as_ref()));
                self.handle(&name, Event::Fault(FaultKind::Source, reason));
            }
        }
    }

    pub(super) fn read_head(&mut self, name: &str, now: Instant) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let Some(head) = camera.monitor.as_mut().and_then(RingMonitor::head) else {
            return;
        };
        let (width, height) = camera.size.unwrap_or_default();
        camera.ring = Some(RingInfo {
            slots: head.slots,
            slot_bytes: head.slot_bytes,
            width,
            height,
            written: head.frames,
            readers: head.readers,
            generation: head.generation,
        });
        self.memory.measured(name, head.total_bytes);
        camera.camera_rate.sample(head.frames, now);
        self.handle(name, Event::Head(head.frames));
    }

    fn deaths(&self, name: &str) -> u64 {
        let camera = self.cameras.get(name);
        camera.map_or(0, |camera| camera.health.deaths())
    }

    pub(super) fn capture_gone(&mut self, name: &str, reason: String) {
        self.recorder_gone(name);
        if let Some(camera) = self.cameras.get_mut(name) {
            self.workers.capture_gone(name);
            camera.monitor = None;
            camera.camera_rate.clear();
            self.tasks_interrupted(name, &reason);
            let deaths = self.deaths(name);
            self.handle(name, Event::Exited(reason));
            if self.deaths(name) > deaths
                && let Some(camera) = self.cameras.get(name)
                && let Some(text) = camera.health.death_notice(Instant::now())
            {
                tracing::error!(camera = name, "{text}");
            }
        }
        if let Some(camera) = self.cameras.get_mut(name)
            && self.workers.capture(name).is_none()
            && matches!(camera.health.state(), State::Disabled | State::Failed)
            && camera.leaving.is_none()
        {
            // Nobody will write for a while: readers let go, and the ring's memory is free.
            camera.ring = None;
            // Not where it was refused memory itself, or two of them would wake each other for ever.
            if camera.health.state() == State::Disabled {
                self.memory_freed();
            }
        }
    }
}

pub(super) fn log_transition(camera: &mut Camera, now: Instant) {
    let (state, name) = (camera.health.state(), camera.name.as_str());
    let text = match camera.health.reason() {
        Some(reason) => format!("{}: {reason}", state.name()),
        None => state.name().to_owned(),
    };
    // A camera that flaps goes through the same states again and again.
    if !camera.repeats.is_new(&text, now) {
        return;
    }
    match state {
        // The next attempt after a failure that has been told.
        State::Connecting if camera.health.reason().is_some() => {
            tracing::debug!(camera = name, "{text}");
        }
        State::Connecting | State::Streaming | State::Disabled | State::Stopping => {
            tracing::info!(camera = name, "{text}");
        }
        State::Stalled | State::BackingOff => tracing::warn!(camera = name, "{text}"),
        State::AuthFailed | State::Failed => tracing::error!(camera = name, "{text}"),
    }
}

/// The reason, with the address of what it is about in front.
pub(super) fn name_source(config: &CameraConfig, reason: &str) -> String {
    let address = match config.source_for(Use::Detect) {
        Some(Source::Rtsp(rtsp)) => hide(&rtsp.url),
        Some(Source::File(file)) => file.path.display().to_string(),
        Some(Source::V4l2(v4l2)) => v4l2.device.display().to_string(),
        _ => return reason.to_owned(),
    };
    if reason.contains(&address) {
        reason.to_owned()
    } else {
        format!("{address}: {reason}")
    }
}
