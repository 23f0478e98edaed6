//! An analysis worker as the supervisor sees it, and the file in which it marks which cameras it is at work for.

use super::backoff::Backoff;
use super::process::{AnalysisId, Worker};
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A worker that says nothing for this long hangs; it reports figures once a second.
pub const SILENCE: Duration = Duration::from_secs(10);
/// A camera of which no frame was analysed for this long, although its ring fills, hangs in the worker.
pub const NO_PROGRESS: Duration = Duration::from_secs(30);
/// Cameras that can be told apart in the file of marks.
const MARKS: u64 = 4096;

/// One analysis worker, running or about to.
#[derive(Debug)]
pub struct Analysis {
    pub id: AnalysisId,
    pub worker: Option<Worker>,
    /// It takes commands.
    pub ready: bool,
    /// No attempt before then.
    pub retry_at: Option<Instant>,
    pub started: Instant,
    pub last_report: Instant,
    pub backoff: Backoff,
    /// It was told to stop.
    pub stopping: bool,
    pub marks: Marks,
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
        })
    }

    /// Whether a worker is to be started now.
    pub fn due(&self, now: Instant) -> bool {
        self.worker.is_none() && self.retry_at.is_none_or(|at| now >= at)
    }

    /// The run that can be told about cameras.
    pub fn open_run(&self) -> Option<u64> {
        self.worker
            .as_ref()
            .filter(|_| self.ready && !self.stopping)
            .map(Worker::run)
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
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
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
}
