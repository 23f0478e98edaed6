//! An analysis worker as the supervisor sees it, and the file in which it marks which cameras it is at work for.

use super::backoff::Backoff;
use super::process::{AnalysisId, Worker, WorkerId};
use crate::limits;
use crate::protocol::{AnalysisCommand, line};
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A worker that reports nothing for this long hangs; it sends a heartbeat once a second.
const SILENCE: Duration = Duration::from_secs(10);
/// The same from its start to the first heartbeat: without a registry cache GStreamer scans all plugins first.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Cameras that can be told apart in the file of marks.
const MARKS: u64 = 4096;

/// One analysis worker, running or about to.
#[derive(Debug)]
pub struct Analysis {
    id: AnalysisId,
    worker: Option<Worker>,
    /// It takes commands.
    ready: bool,
    /// No attempt before then.
    retry_at: Option<Instant>,
    started: Instant,
    last_report: Instant,
    backoff: Backoff,
    /// It was asked to stop.
    stopping: bool,
    /// Why it is being replaced, where the supervisor ended it.
    replaced: Option<String>,
    /// Why it does not run, until the next heartbeat.
    fault: Option<String>,
    marks: Marks,
}

impl Analysis {
    pub fn new(id: AnalysisId, run_dir: &Path, now: Instant) -> Result<Self> {
        Ok(Self {
            marks: Marks::create(run_dir, &id)?,
            id,
            worker: None,
            ready: false,
            retry_at: None,
            started: now,
            last_report: now,
            backoff: Backoff::transient(),
            stopping: false,
            replaced: None,
            fault: None,
        })
    }

    /// Its name in the log.
    pub fn name(&self) -> String {
        self.id.name()
    }

    /// Its process.
    pub fn worker(&self) -> Option<&Worker> {
        self.worker.as_ref()
    }

    /// The id of its process.
    pub fn pid(&self) -> Option<u32> {
        self.worker.as_ref().map(Worker::pid)
    }

    /// Whether this is the run at work.
    pub fn is_run(&self, run: u64) -> bool {
        self.worker.as_ref().is_some_and(|w| w.run() == run)
    }

    /// Its file of marks.
    pub fn marks(&self) -> &Marks {
        &self.marks
    }

    /// Why it does not run.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// What a camera waits for that it has not attached to yet.
    pub fn waits_for(&self) -> Option<&'static str> {
        (!self.ready).then_some("the analysis worker is starting")
    }

    /// Whether a worker is to be started now.
    pub fn due(&self, now: Instant) -> bool {
        self.worker.is_none() && self.retry_at.is_none_or(|at| now >= at)
    }

    /// The run that takes commands about cameras.
    pub fn open_run(&self) -> Option<u64> {
        self.worker
            .as_ref()
            .filter(|_| self.ready && !self.stopping)
            .map(Worker::run)
    }

    /// A process was started for it, or could not be.
    pub fn start(&mut self, worker: std::io::Result<Worker>, now: Instant) {
        self.started = now;
        self.last_report = now;
        self.retry_at = None;
        self.replaced = None;
        match worker {
            Ok(worker) => {
                tracing::info!(pid = worker.pid(), "{} worker started", self.name());
                self.worker = Some(worker);
            }
            Err(error) => {
                let wait = self.backoff.next_wait().max(Duration::from_secs(1));
                let fault = format!(
                    "cannot start the {} worker: {error}{}",
                    self.name(),
                    limits::advice(&error)
                );
                tracing::error!("{fault}");
                self.fault = Some(fault);
                self.retry_at = Some(now + wait);
            }
        }
    }

    /// It sent a report.
    pub fn reported(&mut self, now: Instant) {
        self.last_report = now;
    }

    /// Its loop runs.
    pub fn heartbeat(&mut self) {
        self.ready = true;
        // A worker that is being replaced is not well.
        if self.replaced.is_none() {
            self.fault = None;
        }
    }

    /// Why it hangs, if it does.
    pub fn hangs(&self, now: Instant) -> Option<String> {
        let (limit, what) = if self.ready {
            (SILENCE, "silent")
        } else {
            (START_LIMIT, "starting")
        };
        let silent = now.saturating_duration_since(self.last_report);
        (self.worker.is_some() && self.replaced.is_none() && silent >= limit).then(|| {
            format!(
                "the {} worker is {what} for {} s",
                self.name(),
                limit.as_secs()
            )
        })
    }

    /// Ends its process, so that another one is started.
    pub fn replace(&mut self, reason: String) {
        let Some(worker) = self.worker.as_ref().filter(|_| self.replaced.is_none()) else {
            return;
        };
        tracing::error!(pid = worker.pid(), "{reason}; it is replaced");
        worker.kill();
        self.fault = Some(reason.clone());
        self.replaced = Some(reason);
    }

    /// The supervisor did not run for this long, so that no report could be taken.
    pub fn excuse(&mut self, asleep: Duration) {
        self.last_report += asleep;
    }

    /// Asks it to stop.
    pub fn stop(&mut self) {
        if let Some(worker) = self.worker.as_ref().filter(|_| !self.stopping) {
            worker.stop(line(&AnalysisCommand::Stop));
            self.stopping = true;
        }
    }

    /// Its process has ended. Answers with the reason, where it was not asked to.
    pub fn gone(&mut self, reason: &str, now: Instant) -> Option<String> {
        let expected = self.stopping;
        self.worker = None;
        self.ready = false;
        self.stopping = false;
        if expected {
            return None;
        }
        if now.duration_since(self.started) >= Duration::from_secs(60) {
            self.backoff.reset();
        }
        let wait = self.backoff.next_wait();
        self.retry_at = Some(now + wait);
        let reason = self.replaced.take().unwrap_or_else(|| reason.to_owned());
        tracing::error!(
            "{} worker: {reason}; it starts again in {:.1} s",
            self.name(),
            wait.as_secs_f64()
        );
        self.fault = Some(reason.clone());
        Some(reason)
    }
}

/// Which cameras were at work when the worker died: one byte for each, written before and after every frame.
///
/// A file, not a report, because a report would be lost with the worker's buffers, and costs a line per frame.
#[derive(Debug)]
pub struct Marks {
    path: PathBuf,
    file: File,
}

impl Marks {
    fn create(run_dir: &Path, id: &AnalysisId) -> Result<Self> {
        let name = match id {
            AnalysisId::Shared => "analysis.marks".to_owned(),
            AnalysisId::Own(camera) => format!("analysis-{camera}.marks"),
        };
        let path = run_dir.join(name);
        // Always a new file: what is there under this name, perhaps a link, is not written to.
        let removed = std::fs::remove_file(&path);
        removed
            .or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            })
            .with_context(|| format!("cannot remove {}", path.display()))?;
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        file.set_len(MARKS)?;
        Ok(Self { path, file })
    }

    /// Where the worker finds it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a camera was at work.
    pub fn at_work(&self, mark: u32) -> bool {
        let mut byte = [0];
        self.file
            .read_exact_at(&mut byte, u64::from(mark))
            .is_ok_and(|()| byte[0] != 0)
    }

    /// Nobody is at work.
    pub fn clear(&self) {
        // Two changes of length write zeros without a buffer.
        let _ = self.file.set_len(0);
        let _ = self.file.set_len(MARKS);
    }
}

impl Drop for Marks {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_tell_who_was_at_work() {
        let temp = tempfile::tempdir().unwrap();
        let marks = Marks::create(temp.path(), &AnalysisId::Shared).unwrap();
        let writer = File::options().write(true).open(marks.path()).unwrap();
        writer.write_all_at(&[1], 3).unwrap();
        assert!(marks.at_work(3));
        assert!(!marks.at_work(2));
        assert!(!marks.at_work(u32::MAX));
        marks.clear();
        assert!(!marks.at_work(3));
        let path = marks.path().to_owned();
        drop(marks);
        assert!(!path.exists());
    }

    #[test]
    fn marks_are_not_written_through_a_link() {
        let temp = tempfile::tempdir().unwrap();
        let target = temp.path().join("target");
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, temp.path().join("analysis.marks")).unwrap();
        let marks = Marks::create(temp.path(), &AnalysisId::Shared).unwrap();
        assert!(!marks.at_work(0));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
    }

    #[test]
    fn a_worker_that_cannot_be_started_says_which_limit_to_raise() {
        let temp = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let mut analysis = Analysis::new(AnalysisId::Shared, temp.path(), now).unwrap();
        assert_eq!(
            analysis.waits_for(),
            Some("the analysis worker is starting")
        );
        assert!(analysis.due(now));
        analysis.start(Err(std::io::Error::from_raw_os_error(24)), now);
        let fault = analysis.fault().unwrap();
        assert!(fault.contains("LimitNOFILE"), "{fault}");
        assert!(!analysis.due(now) && analysis.due(now + Duration::from_secs(3600)));
        analysis.heartbeat();
        assert_eq!((analysis.fault(), analysis.waits_for()), (None, None));
    }
}
