//! Changes of the configuration: from the file, from SIGHUP and from HTTP, one after the other through one queue.

mod watch;

use crate::config::{self, Loaded, Problems};
use crate::supervisor::{Command, Gone, Handle};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use watch::FolderWatch;

/// From the last event in the folder to reading the file: editors write in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// How often the file is looked at where events do not arrive (network mounts).
const LOOK: Duration = Duration::from_secs(5);
/// Requests waiting.
const REQUESTS: usize = 16;

/// What can be asked over HTTP.
#[derive(Debug)]
pub enum Request {
    /// The text of the configuration file as it is at work.
    Text(oneshot::Sender<String>),
}

/// The way to the queue.
#[derive(Debug, Clone)]
pub struct Changes {
    requests: mpsc::Sender<Request>,
}

impl Changes {
    /// The text of the configuration file as it is at work, with whatever secrets stand in it.
    pub async fn text(&self) -> Result<String, Gone> {
        let (reply, answer) = oneshot::channel();
        self.requests
            .send(Request::Text(reply))
            .await
            .map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}

/// The owner of the configuration file.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    /// The text that was looked at last, good or not.
    seen: String,
    /// The text that is at work.
    at_work: String,
    supervisor: Handle,
    requests: mpsc::Receiver<Request>,
}

impl Keeper {
    /// For the file that was loaded.
    pub fn new(path: &Path, loaded: &Loaded, supervisor: Handle) -> (Self, Changes) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let keeper = Self {
            path: path.to_owned(),
            seen: loaded.text.clone(),
            at_work: loaded.text.clone(),
            supervisor,
            requests,
        };
        (keeper, Changes { requests: sender })
    }

    /// Works until `done`.
    pub async fn run(mut self, done: CancellationToken) {
        let mut watch = FolderWatch::of_file(&self.path);
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP cannot be taken; the configuration does not change any more");
            return;
        };
        let mut quiet: Option<Instant> = None;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                () = watch.changed() => quiet = Some(Instant::now() + QUIET),
                () = sleep_until(quiet.unwrap_or_else(Instant::now)), if quiet.is_some() => {
                    quiet = None;
                    self.look_at_file(false).await;
                }
                _ = look.tick() => if quiet.is_none() { self.look_at_file(false).await },
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: reading {}", self.path.display());
                    self.look_at_file(true).await;
                }
                Some(request) = self.requests.recv() => self.request(request),
            }
        }
    }

    fn request(&self, request: Request) {
        match request {
            // Whoever asked may have gone away.
            Request::Text(reply) => drop(reply.send(self.at_work.clone())),
        }
    }

    /// Reads the file, and takes it over if it differs and is good. `asked`: also when it is the same, since what it refers
    /// to may have changed, and an error is worth repeating.
    async fn look_at_file(&mut self, asked: bool) {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => {
                // Between two steps of an editor it may be missing.
                if asked {
                    let error = format!("{}: {error}", self.path.display());
                    self.refuse(error).await;
                }
                return;
            }
        };
        if text == self.seen && !asked {
            return;
        }
        self.seen.clone_from(&text);
        match check(&self.path, text) {
            Ok(loaded) => {
                for warning in loaded.warnings.iter() {
                    tracing::warn!("{warning}");
                }
                self.at_work.clone_from(&loaded.text);
                tracing::info!("taking over {}", self.path.display());
                // Without a supervisor everything is about to end.
                let _ = self.supervisor.apply(loaded).await;
            }
            Err(problems) => self.refuse(problems.to_string()).await,
        }
    }

    async fn refuse(&self, error: String) {
        let _ = self.supervisor.tell(Command::ConfigError(error)).await;
    }
}

/// A configuration that can be taken over while others run: a mistake outside the cameras keeps the last good one.
fn check(path: &Path, text: String) -> Result<Loaded, Problems> {
    let loaded = config::parse(path, text)?;
    if loaded.general.is_empty() {
        Ok(loaded)
    } else {
        Err(loaded.general)
    }
}
