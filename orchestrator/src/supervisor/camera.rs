//! One entry of the supervisor's table: a camera with its health, its worker, and what was last heard about it.

use super::backoff::Backoff;
use super::health::{Health, Limits};
use super::process::{AnalysisId, Worker};
use super::rate::Rate;
use super::repeats::Repeats;
use super::ring::RingMonitor;
use super::status::{AnalysisPhase, AnalysisState, CameraStatus, RingStatus};
use super::tasks::Board;
use crate::clock::seconds;
use crate::protocol::{AnalysisStats, CaptureStats, UnreadObjects};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};
use watchpost_api::Object;
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::{Role as Use, Source};

/// Deaths of the analysis worker with this camera at work that make it a suspect.
const POISON_DEATHS: usize = 3;
/// The time they are counted in.
const POISON_WINDOW: Duration = Duration::from_secs(600);

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
    pub worker: Option<Worker>,
    /// Counts the runs of its capture worker, so that late news of an old one is recognised.
    pub runs: u64,
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
    pub failed_decoders: Vec<String>,
    /// The analysis worker, and which run of it, that was told about this camera.
    pub attached_to: Option<(AnalysisId, u64)>,
    /// That worker said the pipeline runs.
    pub attached: bool,
    pub analysis: AnalysisStats,
    pub analysis_fault: Option<String>,
    /// Since when, or when, a failed analysis is tried again; never where waiting cannot help. It stays with the fault, until
    /// a frame has been analysed.
    pub analysis_retry: Option<Instant>,
    pub analysis_backoff: Backoff,
    /// Bytes of memory its ring was allowed.
    pub granted_bytes: u64,
    pub deaths: VecDeque<Instant>,
    pub own_worker: bool,
    pub mark: u32,
    /// Of the newest frame that was analysed.
    pub objects: Option<UnreadObjects>,
    pub motion: bool,
    /// What is asked of it beside detecting.
    pub board: Board,
    pub leaving: Option<Leaving>,
    /// Its configuration is wrong, so there is nothing to run.
    pub broken: bool,
    pub repeats: Repeats,
    /// When the newest frame analysed was heard of, to see an analysis that hangs.
    pub last_analysed: Option<Instant>,
    /// Frames written to the ring by then.
    pub written_when_analysed: u64,
}

impl Camera {
    pub fn new(name: &str, config: CameraConfig, mark: u32, wall: SystemTime) -> Self {
        Self {
            name: name.to_owned(),
            health: Health::new(limits(&config), wall),
            config,
            worker: None,
            runs: 0,
            ring: None,
            monitor: None,
            size: None,
            frame_bytes: None,
            capture: CaptureStats::default(),
            camera_rate: Rate::default(),
            decoder: None,
            failed_decoders: Vec::new(),
            attached_to: None,
            attached: false,
            analysis: AnalysisStats::default(),
            analysis_fault: None,
            analysis_retry: None,
            analysis_backoff: Backoff::transient(),
            granted_bytes: 0,
            deaths: VecDeque::new(),
            own_worker: false,
            mark,
            objects: None,
            motion: false,
            board: Board::default(),
            leaving: None,
            broken: false,
            repeats: Repeats::default(),
            last_analysed: None,
            written_when_analysed: 0,
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

    /// The analysis worker that is to look at it at this moment.
    pub fn wanted_analysis(&self, now: Instant) -> Option<AnalysisId> {
        let stays = match &self.leaving {
            None => self.config.enabled || self.worker.is_some(),
            // Analysis goes after capture.
            Some(_) => self.worker.is_some(),
        };
        let tried_again = match (&self.analysis_fault, self.analysis_retry) {
            (None, _) => true,
            (Some(_), Some(at)) => now >= at,
            (Some(_), None) => false,
        };
        (stays && self.detects() && self.ring.is_some() && tried_again).then(|| {
            if self.own_worker {
                AnalysisId::Own(self.name.clone())
            } else {
                AnalysisId::Shared
            }
        })
    }

    /// Forgets what the analysis reported: it is gone, or starts again. Returns whether there was motion.
    pub fn clear_analysis(&mut self) -> bool {
        self.attached_to = None;
        self.attached = false;
        let detection_frame = self.analysis.detection_frame;
        self.analysis = AnalysisStats {
            detection_frame,
            ..AnalysisStats::default()
        };
        self.objects = None;
        self.last_analysed = None;
        std::mem::take(&mut self.motion)
    }

    fn objects(&self) -> Vec<Object> {
        let objects = self.objects.as_ref().map(UnreadObjects::read);
        objects.unwrap_or(Ok(Vec::new())).unwrap_or_else(|error| {
            tracing::warn!(camera = self.name, "unreadable objects: {error}");
            Vec::new()
        })
    }

    /// News of an analysed frame.
    pub fn has_been_analysed(&mut self, now: Instant) {
        self.last_analysed = Some(now);
        self.written_when_analysed = self.ring.as_ref().map_or(0, |ring| ring.written);
    }

    /// The analysis worker died while this camera was at work in it. Answers whether it is a suspect now.
    pub fn died_at_work(&mut self, now: Instant) -> bool {
        self.deaths.push_back(now);
        while self
            .deaths
            .front()
            .is_some_and(|at| now.duration_since(*at) > POISON_WINDOW)
            || self.deaths.len() > POISON_DEATHS
        {
            self.deaths.pop_front();
        }
        self.deaths.len() == POISON_DEATHS
    }

    /// What the API says about it.
    pub fn status(&self, analysis_pid: Option<u32>, now: Instant) -> CameraStatus {
        let phase = if self.analysis_fault.is_some() {
            AnalysisPhase::Failed
        } else if !self.needs_analysis() {
            AnalysisPhase::Off
        } else if self.attached {
            AnalysisPhase::Running
        } else {
            AnalysisPhase::Waiting
        };
        // One line for people: what capture says, else what analysis says.
        let reason = self.health.reason().map(str::to_owned).or_else(|| {
            self.analysis_fault
                .as_ref()
                .map(|fault| format!("no detection: {fault}"))
        });
        let camera_fps = self.camera_rate.per_second();
        CameraStatus {
            name: self.name.clone(),
            friendly_name: self.config.friendly_name.clone(),
            enabled: self.config.enabled,
            state: self.health.state(),
            reason,
            since: seconds(self.health.since()),
            camera_fps: round(camera_fps),
            process_fps: round(self.analysis.process_fps),
            detection_fps: round(self.analysis.detection_fps),
            skipped_fps: round(self.analysis.skipped_fps),
            skipped: self.analysis.skipped.clone(),
            detection_frame: self.analysis.detection_frame,
            age: self.analysis.age,
            inference_ms: self.analysis.inference_ms,
            queue_ms: self.analysis.queue_ms,
            capture_pid: self.worker.as_ref().map(Worker::pid),
            analysis_pid: self.attached_to.as_ref().and(analysis_pid),
            analysis: AnalysisState {
                state: phase,
                reason: self.analysis_fault.clone(),
                own_worker: self.own_worker,
            },
            decoder: self.decoder.clone(),
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
            tasks: self.board.shown(),
            motion: self.motion,
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
    Limits {
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
    fn three_deaths_in_ten_minutes_make_a_suspect() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut camera = camera();
        assert!(!camera.died_at_work(at(0)));
        assert!(!camera.died_at_work(at(300)));
        // The first is forgotten by then.
        assert!(!camera.died_at_work(at(700)));
        assert!(camera.died_at_work(at(800)));
    }

    #[test]
    fn analysis_is_wanted_once_there_is_a_ring_and_until_capture_is_gone() {
        let now = Instant::now();
        let mut camera = camera();
        assert_eq!(camera.wanted_analysis(now), None);
        camera.ring = Some(RingInfo::default());
        assert_eq!(camera.wanted_analysis(now), Some(AnalysisId::Shared));
        camera.own_worker = true;
        assert_eq!(
            camera.wanted_analysis(now),
            Some(AnalysisId::Own("c".into()))
        );
        camera.config.enabled = false;
        assert_eq!(camera.wanted_analysis(now), None);
    }

    #[test]
    fn a_failed_analysis_is_tried_again_only_where_waiting_can_help() {
        let now = Instant::now();
        let mut camera = camera();
        camera.ring = Some(RingInfo::default());
        camera.analysis_fault = Some("no such model".into());
        assert_eq!(camera.wanted_analysis(now), None);
        camera.analysis_retry = Some(now + Duration::from_secs(5));
        assert_eq!(camera.wanted_analysis(now), None);
        assert!(
            camera
                .wanted_analysis(now + Duration::from_secs(5))
                .is_some()
        );
    }
}
