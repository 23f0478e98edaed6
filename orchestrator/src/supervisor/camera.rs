//! One entry of the supervisor's table: a camera with its health, its worker, and its last reports.

mod analysis;

use self::analysis::CameraAnalysis;
use super::analysis::Analysis;
use super::health::{Health, Limits};
use super::process::AnalysisId;
use super::rate::Rate;
use super::repeats::Repeats;
use super::ring::RingMonitor;
use super::status::{AnalysisPhase, AnalysisState, CameraStatus, RingStatus};
use super::tasks::Board;
use crate::clock::seconds;
use crate::protocol::CaptureStats;
use std::time::{Duration, Instant, SystemTime};
use watchpost_api::Object;
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::{Role as Use, Source};
use watchpost_pipelines::libcamera::Offer;

/// A ring, as seen at its head.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RingInfo {
    pub slots: u32,
    pub slot_bytes: u64,
    pub width: u32,
    pub height: u32,
    pub written: u64,
    pub readers: u32,
    pub generation: u64,
}

/// The configuration a camera is to have, or what is wrong with it.
pub type Next = Result<CameraConfig, String>;

/// Where a camera is on its way out of the table.
#[derive(Debug)]
pub struct Leaving {
    /// With what it comes back, when it is only replaced.
    pub next: Option<Next>,
    /// When the analysis is no longer waited for.
    pub detach_by: Option<Instant>,
}

/// A camera in the table.
#[derive(Debug)]
pub struct Camera {
    pub name: String,
    pub config: CameraConfig,
    pub health: Health,
    /// The ring can be attached to. Stays while a dead worker is replaced.
    pub ring: Option<RingInfo>,
    pub monitor: Option<RingMonitor>,
    /// Size of the frames in the ring, as the worker told.
    pub size: Option<(u32, u32)>,
    /// Bytes of a frame that was larger than what had been granted.
    pub frame_bytes: Option<u64>,
    pub capture: CaptureStats,
    pub camera_rate: Rate,
    pub decoder: Option<String>,
    /// What a libcamera camera offers, as its worker asked it.
    pub offer: Option<Offer>,
    pub failed_decoders: Vec<String>,
    pub analysis: CameraAnalysis,
    pub mark: u32,
    /// What is asked of it beside detecting.
    pub board: Board,
    pub leaving: Option<Leaving>,
    /// Its configuration is wrong, so there is nothing to run.
    pub broken: bool,
    pub repeats: Repeats,
}

impl Camera {
    pub fn new(name: &str, config: CameraConfig, mark: u32, wall: SystemTime) -> Self {
        Self {
            name: name.to_owned(),
            health: Health::new(limits(&config), wall),
            config,
            ring: None,
            monitor: None,
            size: None,
            frame_bytes: None,
            capture: CaptureStats::default(),
            camera_rate: Rate::default(),
            offer: None,
            decoder: None,
            failed_decoders: Vec::new(),
            analysis: CameraAnalysis::default(),
            mark,
            board: Board::default(),
            leaving: None,
            broken: false,
            repeats: Repeats::default(),
        }
    }

    /// Bytes of a frame, where they are known from what it sent.
    pub fn known_frame_bytes(&self) -> Option<u64> {
        let slot = self.ring.as_ref().map(|ring| ring.slot_bytes);
        slot.max(self.frame_bytes)
    }

    /// Whether objects are looked for: what the configuration says, unless the task was started or stopped since.
    pub fn detects(&self) -> bool {
        self.board.detect.unwrap_or(self.config.detect.enabled)
    }

    /// Whether an analysis worker is needed for it, now or soon.
    pub fn needs_analysis(&self) -> bool {
        !self.broken && self.config.enabled && self.detects() && self.leaving.is_none()
    }

    /// The analysis worker that is to look at it at this moment. `captured`: there is a capture worker.
    pub fn wanted_analysis(&self, captured: bool, now: Instant) -> Option<AnalysisId> {
        let stays = match &self.leaving {
            None => self.config.enabled || captured,
            // Analysis goes after capture.
            Some(_) => captured,
        };
        (stays && self.detects() && self.ring.is_some() && self.analysis.may_start(now))
            .then(|| self.analysis.worker_for(&self.name))
    }

    /// Frames in its ring so far.
    pub fn written(&self) -> u64 {
        self.ring.as_ref().map_or(0, |ring| ring.written)
    }

    fn objects(&self) -> Vec<Object> {
        self.analysis.objects().unwrap_or_else(|error| {
            tracing::warn!(camera = self.name, "unreadable objects: {error}");
            Vec::new()
        })
    }

    /// Its status in the API. `worker` is the analysis worker that analyses it, or should.
    pub fn status(
        &self,
        capture_pid: Option<u32>,
        worker: Option<&Analysis>,
        now: Instant,
    ) -> CameraStatus {
        let silence = self.analysis.silence(self.written(), now);
        let phase = if self.analysis.fault().is_some() {
            AnalysisPhase::Failed
        } else if !self.needs_analysis() {
            AnalysisPhase::Off
        } else if self.analysis.is_at_work() && silence.is_none() {
            AnalysisPhase::Running
        } else {
            AnalysisPhase::Waiting
        };
        let waits_for = worker.filter(|_| phase == AnalysisPhase::Waiting);
        let fault = self
            .analysis
            .fault()
            .or_else(|| waits_for.and_then(Analysis::fault))
            .or(silence.filter(|_| phase == AnalysisPhase::Waiting));
        let analysis_reason = fault.or_else(|| {
            (phase == AnalysisPhase::Waiting)
                .then(|| waits_for.and_then(Analysis::waits_for))?
                .or_else(|| Some(self.analysis.waits_for(self.ring.is_some())))
        });
        // One line: the reason of capture, else that of the analysis.
        let reason = self.health.reason().map(str::to_owned);
        let reason = reason.or_else(|| fault.map(|fault| format!("no detection: {fault}")));
        let stats = self.analysis.stats();
        let camera_fps = self.camera_rate.per_second();
        CameraStatus {
            name: self.name.clone(),
            friendly_name: self.config.friendly_name.clone(),
            enabled: self.config.enabled,
            state: self.health.state(),
            reason,
            since: seconds(self.health.since()),
            camera_fps: round(camera_fps),
            process_fps: round(stats.process_fps),
            detection_fps: round(stats.detection_fps),
            skipped_fps: round(stats.skipped_fps),
            skipped: stats.skipped.clone(),
            detection_frame: stats.detection_frame,
            age: stats.age,
            inference_ms: stats.inference_ms,
            queue_ms: stats.queue_ms,
            capture_pid,
            analysis_pid: self.analysis.attached_to().and_then(|_| worker?.pid()),
            analysis: AnalysisState {
                state: phase,
                reason: analysis_reason.map(str::to_owned),
                own_worker: self.analysis.has_own_worker(),
            },
            decoder: self.decoder.clone(),
            offer: self.offer.clone(),
            unavailable: self.board.unavailable.clone(),
            ring: self.ring.as_ref().map(|ring| RingStatus {
                slots: ring.slots,
                slot_bytes: ring.slot_bytes,
                width: ring.width,
                height: ring.height,
                written: ring.written,
                readers: ring.readers,
                generation: ring.generation,
                dropped: self.capture.dropped.clone(),
            }),
            reconnects_last_hour: self.health.reconnects(now),
            stalls_last_hour: self.health.stalls(now),
            worker_deaths: self.health.deaths(),
            tasks: self.board.shown(),
            motion: self.analysis.motion(),
            objects: self.objects(),
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// The limits a configuration means.
pub fn limits(config: &CameraConfig) -> Limits {
    let stall_timeout = Duration::from_secs_f64(config.stall_timeout.clamp(0.5, 86_400.0));
    // A source has the time it was given to answer, then that of a stream without frames.
    let answer = match config.source_for(Use::Detect) {
        Some(Source::Rtsp(rtsp)) => Duration::from_secs_f64(rtsp.timeout.clamp(1.0, 600.0)),
        _ => Duration::from_secs(5),
    };
    let rate = match config.source_for(Use::Detect) {
        Some(Source::Test(test)) => test.fps.min(config.detect.fps),
        _ => config.detect.fps,
    };
    let interval = Duration::try_from_secs_f64(1.0 / rate).unwrap_or_default();
    Limits {
        interval,
        stall_timeout,
        connect_timeout: answer + stall_timeout.max(Duration::from_secs(10)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera() -> Camera {
        Camera::new("c", CameraConfig::default(), 0, SystemTime::now())
    }

    #[test]
    fn analysis_is_wanted_once_there_is_a_ring_and_until_capture_is_gone() {
        let now = Instant::now();
        let mut camera = camera();
        assert_eq!(camera.wanted_analysis(false, now), None);
        camera.ring = Some(RingInfo::default());
        assert_eq!(camera.wanted_analysis(false, now), Some(AnalysisId::Shared));
        camera.config.enabled = false;
        assert_eq!(camera.wanted_analysis(true, now), Some(AnalysisId::Shared));
        assert_eq!(camera.wanted_analysis(false, now), None);
    }
}
