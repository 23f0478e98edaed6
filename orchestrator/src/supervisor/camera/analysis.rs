//! The analysis of one camera: the worker it is attached to, the last reports, and whether it makes progress.
//!
//! Progress is a frame that the analysis has answered. A frame that passed the analysis because the engine did not answer
//! in time is none: otherwise an engine that hangs would look like one that works.

use super::super::backoff::Backoff;
use super::super::process::AnalysisId;
use crate::protocol::{AnalysisStats, UnreadObjects};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use watchpost_api::Object;
use watchpost_pipelines::fault::Fault;

/// A camera whose ring fills, and of which no frame was analysed for this long, hangs in the worker.
const NO_PROGRESS: Duration = Duration::from_secs(30);
/// The same before the first frame where the model runs on the processor; loading it takes seconds.
const FIRST_FRAME: Duration = Duration::from_secs(30);
/// The same with other execution providers: some compile the model first, which takes minutes.
const FIRST_FRAME_COMPILED: Duration = Duration::from_secs(600);
/// Frames that must wait before a camera is believed to hang: slow sources have few.
const WAITING_FRAMES: u64 = 5;
/// A camera whose ring fills, and of which no frame was analysed for this long, is not `running`.
const SILENCE: Duration = Duration::from_secs(3);
/// Wait before the next attempt at an analysis that could not be started.
const RETRY: Duration = Duration::from_secs(5);
/// Deaths of the analysis worker with this camera at work that make it a suspect.
const POISON_DEATHS: usize = 3;
/// The time they are counted in.
const POISON_WINDOW: Duration = Duration::from_secs(600);

/// The analysis of one camera.
#[derive(Debug)]
pub struct CameraAnalysis {
    /// The analysis worker, and its run, that was given this camera.
    attached_to: Option<(AnalysisId, u64)>,
    /// That worker reported that the pipeline runs.
    attached: bool,
    stats: AnalysisStats,
    fault: Option<String>,
    /// Time of the next attempt after a fault; `None` where waiting cannot help. It stays with the fault, until a frame
    /// has been analysed.
    retry: Option<Instant>,
    backoff: Backoff,
    deaths: VecDeque<Instant>,
    own_worker: bool,
    /// Of the newest frame that was analysed.
    objects: Option<UnreadObjects>,
    motion: bool,
    progress: Option<Progress>,
}

/// The newest progress of an attached camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// Time of it; before the first frame that of attaching.
    at: Instant,
    /// Frames written to the ring by then.
    written: u64,
    /// Frames answered by then.
    answered: u64,
}

impl Default for CameraAnalysis {
    fn default() -> Self {
        Self {
            attached_to: None,
            attached: false,
            stats: AnalysisStats::default(),
            fault: None,
            retry: None,
            backoff: Backoff::transient(),
            deaths: VecDeque::new(),
            own_worker: false,
            objects: None,
            motion: false,
            progress: None,
        }
    }
}

impl CameraAnalysis {
    /// The worker and its run that was given this camera.
    pub fn attached_to(&self) -> Option<&(AnalysisId, u64)> {
        self.attached_to.as_ref()
    }

    /// Whether this worker was given the camera.
    pub fn is_attached_to(&self, id: &AnalysisId) -> bool {
        self.attached_to.as_ref().is_some_and(|(own, _)| own == id)
    }

    /// Whether its pipeline runs and has answered a frame.
    pub fn is_at_work(&self) -> bool {
        self.attached && self.progress.is_some_and(|progress| progress.answered > 0)
    }

    /// What one that is not at work, and has no fault, waits for.
    pub fn waits_for(&self, has_ring: bool) -> &'static str {
        match (&self.attached_to, self.attached) {
            (None, _) if has_ring => "the analysis worker is to take this camera",
            (None, _) => "the camera has delivered no frame yet",
            (Some(_), false) => "the model is being loaded",
            (Some(_), true) => "the first frame is being analysed",
        }
    }

    /// What to say while frames wait and none is analysed. `written` are the frames of the ring so far.
    pub fn silence(&self, written: u64, now: Instant) -> Option<&'static str> {
        let progress = self.progress?;
        let silent = now.saturating_duration_since(progress.at) >= SILENCE;
        let waiting = written.saturating_sub(progress.written) >= WAITING_FRAMES;
        (silent && waiting).then_some(match (self.attached, progress.answered) {
            (false, _) => "no frame analysed for 3 s; the model is being loaded",
            (true, 0) => "no frame analysed for 3 s; the first one is being analysed",
            (true, _) => "no frame analysed for 3 s",
        })
    }

    /// The last figures.
    pub fn stats(&self) -> &AnalysisStats {
        &self.stats
    }

    /// Why it does not work.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether the camera has an analysis worker of its own.
    pub fn has_own_worker(&self) -> bool {
        self.own_worker
    }

    /// Whether there is motion.
    pub fn motion(&self) -> bool {
        self.motion
    }

    /// The worker that analyses a camera of this name.
    pub fn worker_for(&self, camera: &str) -> AnalysisId {
        if self.own_worker {
            AnalysisId::Own(camera.to_owned())
        } else {
            AnalysisId::Shared
        }
    }

    /// Whether it works, or is tried again at some time.
    pub fn may_work(&self) -> bool {
        self.fault.is_none() || self.retry.is_some()
    }

    /// Whether it may be started now.
    pub fn may_start(&self, now: Instant) -> bool {
        match (&self.fault, self.retry) {
            (None, _) => true,
            (Some(_), Some(at)) => now >= at,
            (Some(_), None) => false,
        }
    }

    /// The camera was given to this run of a worker.
    pub fn attach(&mut self, id: AnalysisId, run: u64, written: u64, now: Instant) {
        self.attached_to = Some((id, run));
        self.progress = Some(Progress {
            at: now,
            written,
            answered: 0,
        });
    }

    /// The worker reported that the pipeline runs.
    pub fn runs(&mut self) {
        self.attached = true;
    }

    /// Forgets the reports: the worker no longer has the camera. Answers whether there was motion.
    pub fn detach(&mut self) -> bool {
        self.attached_to = None;
        self.attached = false;
        self.stats = AnalysisStats {
            detection_frame: self.stats.detection_frame,
            ..AnalysisStats::default()
        };
        self.objects = None;
        self.progress = None;
        std::mem::take(&mut self.motion)
    }

    /// Takes the figures of the last second. A frame that was answered ends a fault.
    pub fn take_stats(&mut self, stats: AnalysisStats, written: u64, now: Instant) {
        if let Some(progress) = &mut self.progress
            && stats.answered > progress.answered
        {
            *progress = Progress {
                at: now,
                written,
                answered: stats.answered,
            };
            self.forgive();
            self.backoff.reset();
        }
        let newest = newest(self.stats.detection_frame, stats.detection_frame);
        self.stats = stats;
        self.stats.detection_frame = newest;
    }

    /// Takes the objects of a frame.
    pub fn take_objects(&mut self, frame: f64, objects: UnreadObjects) {
        self.objects = Some(objects);
        self.stats.detection_frame = newest(self.stats.detection_frame, Some(frame));
    }

    /// Motion began or ended.
    pub fn take_motion(&mut self, active: bool) {
        self.motion = active;
    }

    /// The objects in the newest frame analysed.
    pub fn objects(&self) -> serde_json::Result<Vec<Object>> {
        self.objects
            .as_ref()
            .map_or(Ok(Vec::new()), UnreadObjects::read)
    }

    /// It failed; the next attempt is some time away, or never made. The worker has let go of it.
    pub fn failed(&mut self, fault: &Fault, reason: String, now: Instant) {
        self.fault = Some(reason);
        let wait = self.backoff.next_wait().max(RETRY);
        self.retry = (!fault.is_permanent()).then(|| now + wait);
    }

    /// Its worker is being replaced, since this camera hangs in it.
    pub fn hung(&mut self, reason: String, now: Instant) {
        self.fault = Some(reason);
        self.retry = Some(now);
        self.progress = None;
    }

    /// It does not work, and no other attempt is made.
    pub fn given_up(&mut self, reason: String) {
        self.fault = Some(reason);
        self.retry = None;
    }

    /// Something changed: what failed before may work now.
    pub fn forgive(&mut self) {
        self.fault = None;
        self.retry = None;
    }

    /// Seconds without progress, where that many say that it hangs. `written` are the frames of the ring so far.
    pub fn hangs(&self, written: u64, provider: Option<&str>, now: Instant) -> Option<u64> {
        let progress = self.progress?;
        let limit = match (progress.answered, provider) {
            (1.., _) => NO_PROGRESS,
            (0, None | Some("cpu")) => FIRST_FRAME,
            (0, Some(_)) => FIRST_FRAME_COMPILED,
        };
        let silent = now.saturating_duration_since(progress.at);
        let waiting = written.saturating_sub(progress.written);
        (silent >= limit && waiting >= WAITING_FRAMES).then_some(limit.as_secs())
    }

    /// The supervisor did not run for this long, so that no report could be taken.
    pub fn excuse(&mut self, asleep: Duration) {
        if let Some(progress) = &mut self.progress {
            progress.at += asleep;
        }
    }

    /// The analysis worker died while this camera was at work in it. Gives it a worker of its own where that happened
    /// repeatedly, and answers whether it did.
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
        self.own_worker |= self.deaths.len() == POISON_DEATHS;
        self.own_worker
    }
}

/// The capture time of the newest frame analysed: of two reports in either order the later one, unless the clock was set
/// back between them.
fn newest(known: Option<f64>, reported: Option<f64>) -> Option<f64> {
    /// Seconds that one report comes after the other at most.
    const DISORDER: f64 = 60.0;
    match (known, reported) {
        (Some(known), Some(reported)) if reported > known - DISORDER => Some(reported.max(known)),
        (known, reported) => reported.or(known),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    fn answered(answered: u64) -> AnalysisStats {
        AnalysisStats {
            process_fps: 5.0,
            answered,
            ..AnalysisStats::default()
        }
    }

    fn attached(now: Instant) -> CameraAnalysis {
        let mut analysis = CameraAnalysis::default();
        analysis.attach(AnalysisId::Shared, 1, 0, now);
        analysis
    }

    #[test]
    fn frames_that_the_engine_does_not_answer_are_no_progress() {
        let start = Instant::now();
        let mut analysis = attached(start);
        analysis.runs();
        analysis.take_stats(answered(10), 10, at(start, 1));
        // Frames pass, none is answered.
        for second in 2..31 {
            analysis.take_stats(answered(10), 10 + second * 5, at(start, second));
            assert_eq!(
                analysis.hangs(10 + second * 5, None, at(start, second)),
                None
            );
        }
        analysis.take_stats(answered(9), 160, at(start, 31));
        assert_eq!(analysis.hangs(160, None, at(start, 31)), Some(30));
        analysis.take_stats(answered(11), 160, at(start, 32));
        assert_eq!(analysis.hangs(165, None, at(start, 32)), None);
    }

    #[test]
    fn detection_that_is_silent_for_three_seconds_does_not_run() {
        let start = Instant::now();
        let mut analysis = attached(start);
        assert!(!analysis.is_at_work());
        assert_eq!(analysis.silence(4, at(start, 9)), None);
        assert!(
            analysis
                .silence(5, at(start, 3))
                .is_some_and(|r| r.contains("loaded"))
        );
        analysis.runs();
        assert!(!analysis.is_at_work());
        analysis.take_stats(answered(1), 5, at(start, 3));
        assert!(analysis.is_at_work());
        assert_eq!(analysis.silence(20, at(start, 5)), None);
        assert_eq!(
            analysis.silence(20, at(start, 6)),
            Some("no frame analysed for 3 s")
        );
        // The source is the one that is silent.
        assert_eq!(analysis.silence(9, at(start, 6)), None);
        analysis.take_stats(answered(2), 20, at(start, 6));
        assert_eq!(analysis.silence(20, at(start, 6)), None);
    }

    #[test]
    fn a_camera_that_never_runs_in_the_worker_hangs_too() {
        let start = Instant::now();
        let analysis = attached(start);
        assert_eq!(analysis.hangs(100, None, at(start, 29)), None);
        assert_eq!(analysis.hangs(100, Some("cpu"), at(start, 30)), Some(30));
        // No frame waits: the camera is the one that is silent.
        assert_eq!(analysis.hangs(4, None, at(start, 30)), None);
        // An execution provider may compile the model first.
        assert_eq!(analysis.hangs(100, Some("tensorrt"), at(start, 300)), None);
        assert_eq!(
            analysis.hangs(1000, Some("tensorrt"), at(start, 600)),
            Some(600)
        );
        assert_eq!(CameraAnalysis::default().hangs(100, None, start), None);
    }

    #[test]
    fn a_hang_is_a_fault_until_a_frame_is_answered() {
        let start = Instant::now();
        let mut analysis = attached(start);
        analysis.hung("no frame".into(), start);
        analysis.detach();
        assert_eq!(analysis.fault(), Some("no frame"));
        assert!(analysis.may_start(start));
        analysis.attach(AnalysisId::Shared, 2, 0, start);
        analysis.take_stats(answered(0), 5, start);
        assert_eq!(analysis.fault(), Some("no frame"));
        analysis.take_stats(answered(1), 5, start);
        assert_eq!(analysis.fault(), None);
    }

    #[test]
    fn the_supervisors_own_sleep_is_not_the_workers_silence() {
        let start = Instant::now();
        let mut analysis = attached(start);
        analysis.excuse(Duration::from_secs(60));
        assert_eq!(analysis.hangs(600, None, at(start, 89)), None);
        assert_eq!(analysis.hangs(600, None, at(start, 90)), Some(30));
    }

    #[test]
    fn a_failed_analysis_is_tried_again_only_where_waiting_can_help() {
        let now = Instant::now();
        let mut analysis = CameraAnalysis::default();
        analysis.failed(&Fault::permanent("x"), "no such model".into(), now);
        assert!(!analysis.may_work() && !analysis.may_start(at(now, 3600)));
        analysis.failed(&Fault::source("x"), "the ring has ended".into(), now);
        assert!(analysis.may_work() && !analysis.may_start(now));
        assert!(analysis.may_start(at(now, 600)));
    }

    #[test]
    fn three_deaths_in_ten_minutes_make_a_suspect() {
        let start = Instant::now();
        let mut analysis = CameraAnalysis::default();
        assert!(!analysis.died_at_work(at(start, 0)));
        assert!(!analysis.died_at_work(at(start, 300)));
        // The first is forgotten by then.
        assert!(!analysis.died_at_work(at(start, 700)));
        assert!(analysis.died_at_work(at(start, 800)));
        assert_eq!(analysis.worker_for("c"), AnalysisId::Own("c".into()));
    }

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
