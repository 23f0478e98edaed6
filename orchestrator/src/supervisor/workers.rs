//! The owner of the worker processes: starts them, receives what they report, passes commands on, ends them.
//!
//! It decides nothing: when a worker starts or stops follows from the cameras, and is decided by the supervisor.

use super::analysis::Analysis;
use super::process::{self, AnalysisId, CaptureId, Notice, Worker, WorkerEvent, WorkerId};
use super::ring::RingMonitor;
use super::status::ProcessStatus;
use crate::limits::advice;
use crate::protocol::{AnalysisCommand, line};
use crate::run_dir::{self, RunDir};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Reports that wait to be taken; workers wait when it is full.
const EVENTS: usize = 1024;
/// Rings that were attached to and wait to be taken.
const MONITORS: usize = 64;
/// Attempts to watch a ring, a second apart.
const WATCH_TRIES: u32 = 5;

/// A monitor that was attached in the background.
pub struct Monitored {
    /// The camera of the ring.
    pub camera: String,
    /// The run of its capture worker.
    pub run: u64,
    /// The monitor, or why there is none.
    pub monitor: anyhow::Result<RingMonitor>,
}

/// What has happened to a worker.
pub enum News {
    /// To a capture worker.
    Capture(WorkerEvent<CaptureId>),
    /// To an analysis worker.
    Analysis(WorkerEvent<AnalysisId>),
    /// A ring can be watched, or cannot.
    Monitored(Monitored),
}

impl News {
    /// Whether nothing is started or stopped because of it.
    pub fn is_routine(&self) -> bool {
        match self {
            Self::Capture(event) => event.notice.is_routine(),
            Self::Analysis(event) => event.notice.is_routine(),
            Self::Monitored(_) => false,
        }
    }
}

/// The capture worker of a camera.
struct Capture {
    /// Late reports of earlier runs are told by it.
    run: u64,
    worker: Option<Worker>,
}

/// All workers.
pub struct Workers {
    run_dir: RunDir,
    /// Environment variables of the configuration, which workers do not inherit.
    secrets: Vec<String>,
    next_run: u64,
    captures: BTreeMap<String, Capture>,
    analyses: BTreeMap<AnalysisId, Analysis>,
    capture_events: mpsc::Receiver<WorkerEvent<CaptureId>>,
    capture_sender: mpsc::Sender<WorkerEvent<CaptureId>>,
    analysis_events: mpsc::Receiver<WorkerEvent<AnalysisId>>,
    analysis_sender: mpsc::Sender<WorkerEvent<AnalysisId>>,
    monitors: mpsc::Receiver<Monitored>,
    monitor_sender: mpsc::Sender<Monitored>,
}

impl Workers {
    /// None yet; their sockets will be in this folder.
    pub fn new(run_dir: RunDir) -> Self {
        let (capture_sender, capture_events) = mpsc::channel(EVENTS);
        let (analysis_sender, analysis_events) = mpsc::channel(EVENTS);
        let (monitor_sender, monitors) = mpsc::channel(MONITORS);
        Self {
            run_dir,
            secrets: Vec::new(),
            next_run: 1,
            captures: BTreeMap::new(),
            analyses: BTreeMap::new(),
            capture_events,
            capture_sender,
            analysis_events,
            analysis_sender,
            monitors,
            monitor_sender,
        }
    }

    /// The text of the configuration: workers do not inherit the variables to which it refers.
    pub fn configure(&mut self, text: &str) {
        self.secrets = process::secrets(text);
    }

    /// Waits for news.
    pub async fn next(&mut self) -> News {
        tokio::select! {
            Some(event) = self.capture_events.recv() => News::Capture(event),
            Some(event) = self.analysis_events.recv() => News::Analysis(event),
            Some(monitored) = self.monitors.recv() => News::Monitored(monitored),
            // The senders are here, so that the channels stay open.
            else => std::future::pending().await,
        }
    }

    /// News that have come already.
    pub fn try_next(&mut self) -> Option<News> {
        if let Ok(event) = self.capture_events.try_recv() {
            return Some(News::Capture(event));
        }
        let event = self.analysis_events.try_recv();
        event.ok().map(News::Analysis)
    }

    /// The socket of a camera's ring.
    pub fn socket(&self, camera: &str) -> PathBuf {
        run_dir::socket(self.run_dir.path(), camera)
    }

    /// Makes the place of a camera's socket, and answers with the socket.
    pub fn prepare_socket(&self, camera: &str) -> anyhow::Result<PathBuf> {
        self.run_dir.prepare(camera)
    }

    /// Removes a camera's socket: from a worker that does not end, or of a camera that has left.
    pub fn remove_socket(&self, camera: &str) {
        self.run_dir.remove(camera);
    }

    fn run(&mut self) -> u64 {
        let run = self.next_run;
        self.next_run += 1;
        run
    }

    /// Starts the capture worker of a camera. Where that fails, its end is reported with the reason.
    pub fn start_capture(&mut self, camera: &str, spec: String) -> Option<&Worker> {
        let run = self.run();
        let id = CaptureId(camera.to_owned());
        let events = self.capture_sender.clone();
        let worker = match process::spawn(id.clone(), run, spec, &self.secrets, events) {
            Ok(worker) => {
                tracing::debug!(camera, pid = worker.pid(), "capture worker started");
                Some(worker)
            }
            Err(error) => {
                let reason = format!("cannot start a capture worker: {error}{}", advice(&error));
                // Through the queue, so that a failure cannot recurse.
                let event = WorkerEvent {
                    id,
                    run,
                    notice: Notice::Exited(reason),
                };
                let events = self.capture_sender.clone();
                tokio::spawn(async move {
                    let _ = events.send(event).await;
                });
                None
            }
        };
        self.captures
            .insert(camera.to_owned(), Capture { run, worker });
        self.capture(camera)
    }

    /// The capture worker of a camera.
    pub fn capture(&self, camera: &str) -> Option<&Worker> {
        self.captures.get(camera)?.worker.as_ref()
    }

    /// Whether this is the newest run of a camera's capture worker.
    pub fn is_capture_run(&self, camera: &str, run: u64) -> bool {
        self.captures
            .get(camera)
            .is_some_and(|capture| capture.run == run)
    }

    /// The capture worker of a camera has ended, or is given up.
    pub fn capture_gone(&mut self, camera: &str) {
        if let Some(capture) = self.captures.get_mut(camera) {
            capture.worker = None;
        }
    }

    /// A camera has left: later news of its workers are of no interest.
    pub fn forget_capture(&mut self, camera: &str) {
        self.captures.remove(camera);
    }

    /// Attaches to a ring in the background: a worker that hangs in its handshake must not hold up the table.
    pub fn watch_ring(&self, camera: &str) {
        let Some(run) = self.captures.get(camera).map(|capture| capture.run) else {
            return;
        };
        let (socket, camera) = (self.socket(camera), camera.to_owned());
        let sender = self.monitor_sender.clone();
        tokio::spawn(async move {
            let mut tries = 0;
            let monitor = loop {
                let socket = socket.clone();
                let attached =
                    tokio::task::spawn_blocking(move || RingMonitor::attach(&socket)).await;
                let Ok(monitor) = attached else {
                    return;
                };
                tries += 1;
                if monitor.is_ok() || tries == WATCH_TRIES {
                    break monitor;
                }
                // A worker that dies just now says why by its end, which is the better reason.
                tokio::time::sleep(Duration::from_secs(1)).await;
            };
            let _ = sender
                .send(Monitored {
                    camera,
                    run,
                    monitor,
                })
                .await;
        });
    }

    /// Starts an analysis worker that does not run and is due.
    pub fn start_analysis(&mut self, id: &AnalysisId, now: Instant) {
        if !self.analyses.contains_key(id) {
            match Analysis::new(id.clone(), self.run_dir.path(), now) {
                Ok(analysis) => drop(self.analyses.insert(id.clone(), analysis)),
                Err(error) => tracing::error!("cannot start the analysis: {error:#}"),
            }
        }
        let run = self.next_run;
        let Some(analysis) = self.analyses.get_mut(id).filter(|a| a.due(now)) else {
            return;
        };
        self.next_run += 1;
        let first = line(&AnalysisCommand::Marks {
            path: analysis.marks().path().to_owned(),
        });
        let events = self.analysis_sender.clone();
        let worker = process::spawn(id.clone(), run, first, &self.secrets, events);
        analysis.start(worker, now);
    }

    /// An analysis worker.
    pub fn analysis(&self, id: &AnalysisId) -> Option<&Analysis> {
        self.analyses.get(id)
    }

    /// The same, to change it.
    pub fn analysis_mut(&mut self, id: &AnalysisId) -> Option<&mut Analysis> {
        self.analyses.get_mut(id)
    }

    /// All analysis workers.
    pub fn analyses_mut(&mut self) -> impl Iterator<Item = (&AnalysisId, &mut Analysis)> {
        self.analyses.iter_mut()
    }

    /// Whether there is any analysis worker, running or about to.
    pub fn has_analyses(&self) -> bool {
        !self.analyses.is_empty()
    }

    /// An analysis worker that has ended is not needed any more.
    pub fn forget_analysis(&mut self, id: &AnalysisId) {
        self.analyses.remove(id);
    }

    /// An analysis worker, where it is in this run and takes commands about cameras.
    pub fn open_analysis(&self, id: &AnalysisId, run: u64) -> Option<&Worker> {
        let analysis = self.analyses.get(id).filter(|a| a.open_run() == Some(run));
        analysis.and_then(Analysis::worker)
    }

    /// Ends all without asking.
    pub fn kill(&self) {
        let captures = self.captures.values().filter_map(|c| c.worker.as_ref());
        let analyses = self.analyses.values().filter_map(Analysis::worker);
        captures.chain(analyses).for_each(Worker::kill);
    }

    /// The processes of all, those of the analysis first.
    pub fn processes(&self) -> Vec<ProcessStatus> {
        let analyses = self
            .analyses
            .values()
            .filter_map(|analysis| Some(ProcessStatus::named(analysis.name(), analysis.pid()?)));
        let captures = self.captures.iter().filter_map(|(camera, capture)| {
            let name = CaptureId(camera.clone()).name();
            Some(ProcessStatus::named(name, capture.worker.as_ref()?.pid()))
        });
        analyses.chain(captures).collect()
    }
}
