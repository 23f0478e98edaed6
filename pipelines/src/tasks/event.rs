//! What a task tells whoever started it, and the thread it works in.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::series::SeriesPosition;
use super::task::MediaFile;

/// What a task has to tell. [`TaskEvent::Ended`] or [`TaskEvent::Failed`] comes once and is the last.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskEvent {
    /// For people: what it is doing now. At most once a second.
    Progress(String),
    /// A file is complete, under its final name and on the disk.
    File(MediaFile),
    /// Where a series is: given to [`super::series::SeriesTask::start`] again, it goes on from there.
    Series(SeriesPosition),
    /// Something to log; the task goes on.
    Warning(String),
    /// It did what it was asked for, or was stopped.
    Ended,
    /// It could not go on; files that were begun are closed. For people: why, and what to do.
    Failed(String),
}

/// Where events go. Called from the task's own threads; must not block.
pub type Events = Arc<dyn Fn(TaskEvent) + Send + Sync>;

/// A task's thread and the way to talk to it.
pub(crate) struct Worker<C> {
    commands: Sender<C>,
    done: Receiver<()>,
}

impl<C> fmt::Debug for Worker<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl<C: Send + 'static> Worker<C> {
    /// Starts a thread; its result becomes the task's last event.
    pub fn spawn(
        name: &str,
        events: Events,
        work: impl FnOnce(Receiver<C>, &Events) -> Result<(), String> + Send + 'static,
    ) -> Result<Self, String> {
        let (commands, inbox) = channel();
        let (alive, done) = channel();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let result = catch_unwind(AssertUnwindSafe(|| work(inbox, &events)));
                events(match result {
                    Ok(Ok(())) => TaskEvent::Ended,
                    Ok(Err(reason)) => TaskEvent::Failed(reason),
                    Err(_) => TaskEvent::Failed("internal error, see the log".into()),
                });
                drop(alive);
            })
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self { commands, done })
    }

    /// Whether it still listens.
    pub fn send(&self, command: C) -> bool {
        self.commands.send(command).is_ok()
    }

    /// Waits until the thread has told its last event; false if it has not within `limit`.
    pub fn wait(&self, limit: Duration) -> bool {
        matches!(
            self.done.recv_timeout(limit),
            Err(RecvTimeoutError::Disconnected)
        )
    }
}
