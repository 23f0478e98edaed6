//! The owner of the configuration file and of the configuration at work.

use super::debounce::Debounce;
use super::folder::FolderWatch;
use super::{ApplyOptions, Changes, Edit, Refusal, Request, restrict};
use crate::config::{
    self, Change, ChangeError, Config, Document, HttpConfig, Loaded, Problem, Problems,
};
use crate::supervisor::{Command, Gone, Handle};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use watchpost_api::Action;

/// From an event in the folder to reading the file: editors write in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// A text counts after it was the same for so long: what is written over a slow line comes in pieces.
const STILL: Duration = Duration::from_millis(700);
/// The same for one in which cameras are missing: what was learned of them goes with them.
const STILL_WITHOUT: Duration = Duration::from_secs(5);
/// How often the file is read where events do not arrive (network mounts).
const POLL: Duration = Duration::from_secs(5);
/// After so many failures in a row to read the file an error is reported.
const MISSING: u32 = 2;
/// Requests waiting.
const REQUESTS: usize = 16;

/// The owner of the configuration file and of the configuration at work.
#[derive(Debug)]
pub struct ConfigManager {
    path: PathBuf,
    /// The file's text as it was read last, good or not.
    seen: String,
    /// The text that differs from it, and may be unfinished.
    debounce: Debounce,
    /// How often in a row the file could not be read.
    unreadable: u32,
    /// The configuration at work. Its text differs from the file after a change that was not to be kept.
    current: Arc<Loaded>,
    supervisor: Handle,
    http: watch::Sender<HttpConfig>,
    /// The configuration at work, for the outputs.
    at_work: watch::Sender<Arc<Config>>,
    requests: mpsc::Receiver<Request>,
}

/// A change that was checked and planned.
struct Planned {
    loaded: Loaded,
    change: Change,
}

impl ConfigManager {
    /// For the file that was loaded. The HTTP server receives what changes under `http`.
    pub fn new(
        path: &Path,
        loaded: Loaded,
        supervisor: Handle,
        http: watch::Sender<HttpConfig>,
    ) -> (Self, Changes) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let manager = Self {
            path: path.to_owned(),
            seen: loaded.text.clone(),
            at_work: watch::Sender::new(Arc::new(loaded.config.clone())),
            debounce: Debounce::default(),
            unreadable: 0,
            current: Arc::new(loaded),
            supervisor,
            http,
            requests,
        };
        (manager, Changes { requests: sender })
    }

    /// The configuration at work, now and after each change.
    pub fn at_work(&self) -> watch::Receiver<Arc<Config>> {
        self.at_work.subscribe()
    }

    /// Works until `done`.
    pub async fn run(mut self, done: CancellationToken) {
        let mut watch = FolderWatch::of_file(&self.path);
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            tracing::error!("SIGHUP cannot be taken; the configuration does not change any more");
            return;
        };
        let mut next: Option<Instant> = None;
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let step = async {
                tokio::select! {
                    () = watch.changed() => {
                        next.get_or_insert_with(|| Instant::now() + QUIET);
                    }
                    () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                        next = self.read_file(false).await;
                    }
                    _ = poll.tick() => if next.is_none() { next = self.read_file(false).await },
                    _ = hangup.recv() => {
                        tracing::info!("SIGHUP: reading {}", self.path.display());
                        next = self.read_file(true).await;
                    }
                    Some(request) = self.requests.recv() => self.request(request).await,
                }
            };
            tokio::select! {
                () = done.cancelled() => return,
                () = step => {}
            }
        }
    }

    async fn request(&mut self, request: Request) {
        // The client may have gone away: an answer that cannot be delivered is no error.
        match request {
            Request::Show(reply) => {
                let current = self.current.clone();
                let show = move || Document::new(&current.text).map(|document| document.shown());
                if let Ok(shown) = computed(show).await {
                    let _ = reply.send(shown);
                }
            }
            // Nobody waits for it any more, and nothing of it was begun.
            Request::Change(_, _, reply) if reply.is_closed() => {}
            Request::Change(edit, options, reply) => {
                let answer = self.change(edit, options).await;
                if let Err(refusal) = &answer {
                    tracing::warn!("a change over HTTP was refused: {refusal}");
                }
                let _ = reply.send(answer);
            }
        }
    }

    async fn change(&mut self, edit: Edit, options: ApplyOptions) -> Result<Vec<Action>, Refusal> {
        if options.persist {
            self.catch_up().await?;
        }
        let edit = Arc::new(edit);
        let plan = {
            let (edit, path, current) = (edit.clone(), self.path.clone(), self.current.clone());
            move || plan_edit(&edit, &path, &current)
        };
        let planned = computed(plan).await??;
        try_to_listen(
            self.current.config.http.listen,
            planned.loaded.config.http.listen,
        )?;
        let actions = planned.change.actions.clone();
        if options.dry_run {
            return Ok(actions);
        }
        if options.persist {
            // Changes made earlier that were not to be kept stay out of the file.
            let file = if self.seen == self.current.text {
                Ok(planned.loaded.text.clone())
            } else {
                let seen = self.seen.clone();
                computed(move || edited(&edit, &seen)).await?
            };
            match file {
                Ok(file) => {
                    config::replace(&self.path, &file)?;
                    self.seen = file;
                }
                // A camera that was never in the file.
                Err(ChangeError::NoCamera(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.take_over(planned).await?;
        Ok(actions)
    }

    /// What was written into the file meanwhile comes first, so that no change is lost.
    async fn catch_up(&mut self) -> Result<(), Refusal> {
        let read = |path: &Path| config::read_text(path).map_err(Refusal::Unreadable);
        let mut text = read(&self.path)?;
        if text != self.seen
            && let Some(then) = self.unsettled(&text).await
        {
            sleep_until(then).await;
            text = read(&self.path)?;
        }
        if text != self.seen {
            if self.unsettled(&text).await.is_some() {
                return Err(Refusal::Unsettled);
            }
            let planned = self
                .planned(text.clone())
                .await?
                .map_err(Refusal::FileWrong)?;
            self.seen = text;
            self.take_over(planned).await?;
        } else if self.seen != self.current.text {
            let path = self.path.clone();
            computed(move || check(&path, text))
                .await?
                .map_err(Refusal::FileWrong)?;
        }
        Ok(())
    }

    /// The change to a text that stands in the file.
    async fn planned(&self, text: String) -> Result<Result<Planned, Problems>, Gone> {
        let (path, current) = (self.path.clone(), self.current.clone());
        computed(move || {
            let mut loaded = check(&path, text)?;
            loaded.keep_working(&current.config);
            let change = Change::between(&current, &loaded);
            Ok(Planned { loaded, change })
        })
        .await
    }

    /// Hands a planned change to those who execute it.
    async fn take_over(&mut self, planned: Planned) -> Result<(), Gone> {
        let Planned { loaded, change } = planned;
        for action in &change.actions {
            if let Action::NeedsNewStart { key } = action {
                tracing::warn!("{key} was changed; that takes effect at the next start");
            }
        }
        for warning in loaded.warnings.iter() {
            // Lines above it may have come and gone.
            let same =
                |known: &Problem| known.key == warning.key && known.message == warning.message;
            if !self.current.warnings.iter().any(same) {
                tracing::warn!("{warning}");
            }
        }
        self.http.send_if_modified(|http| {
            let changed = *http != loaded.config.http;
            http.clone_from(&loaded.config.http);
            changed
        });
        self.current = Arc::new(loaded);
        let applied = self.supervisor.apply(change).await;
        let config = Arc::new(self.current.config.clone());
        self.at_work.send_replace(config);
        applied
    }

    /// When a text that differs may count, where it may not yet.
    async fn unsettled(&mut self, text: &str) -> Option<Instant> {
        let (path, owned, current) = (self.path.clone(), text.to_owned(), self.current.clone());
        let loses_cameras = computed(move || {
            config::parse(&path, owned).is_ok_and(|loaded| {
                let stays = |name: &String| {
                    loaded.config.cameras.contains_key(name) || loaded.broken.contains_key(name)
                };
                !current.config.cameras.keys().all(stays)
            })
        })
        .await
        .unwrap_or(true);
        let long = if loses_cameras { STILL_WITHOUT } else { STILL };
        self.debounce.wait(text, long, Instant::now())
    }

    /// Reads the file, and takes it over if it differs, stands still and is good. `asked`: at once, and also when it is the
    /// same, since what it refers to may have changed, and an error is worth repeating. Answers with when to read again.
    async fn read_file(&mut self, asked: bool) -> Option<Instant> {
        let text = match config::read_text(&self.path) {
            Ok(text) => text,
            Err(error) => {
                self.unreadable = self.unreadable.saturating_add(1);
                // Between two steps of an editor it may be missing.
                if asked || self.unreadable == MISSING {
                    self.refuse(format!("{} cannot be read: {error}", self.path.display()))
                        .await;
                }
                return None;
            }
        };
        if text != self.seen
            && !asked
            && let Some(then) = self.unsettled(&text).await
        {
            return Some(then);
        }
        let was_unreadable = std::mem::take(&mut self.unreadable) > 0;
        if text == self.seen && !asked && !was_unreadable {
            self.debounce = Debounce::default();
            return None;
        }
        self.seen.clone_from(&text);
        // An editor leaves this on a full disk; it would remove every camera, with all that was learned.
        if text.trim().is_empty() && !self.current.text.trim().is_empty() {
            let empty = "is empty, expected `cameras: {}` where there is to be none";
            self.refuse(Problem::of_file(&self.path, empty).to_string())
                .await;
            return None;
        }
        match self.planned(text).await {
            Ok(Ok(planned)) => {
                tracing::info!("taking over {}", self.path.display());
                // Without a supervisor everything is about to end.
                let _ = self.take_over(planned).await;
            }
            Ok(Err(problems)) => self.refuse(problems.to_string()).await,
            Err(Gone) => {}
        }
        None
    }

    async fn refuse(&self, error: String) {
        let _ = self.supervisor.tell(Command::ConfigError(error)).await;
    }
}

/// Runs long computing beside the threads that answer requests. The end of the program does not wait for it.
async fn computed<T: Send + 'static>(
    compute: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Gone> {
    tokio::task::spawn_blocking(compute).await.map_err(|error| {
        tracing::error!("a change of the configuration was given up: {error}");
        Gone
    })
}

/// Checks a change that was requested over HTTP, and plans it. The values are checked before the text is edited. A camera
/// with a mistake is refused; mistakes of other cameras were there before.
fn plan_edit(edit: &Edit, path: &Path, current: &Loaded) -> Result<Planned, Refusal> {
    let document = Document::new(&current.text)?;
    let wanted = edit.wanted(&document)?;
    let allows_local = current.config.http.allow_local_sources;
    if !allows_local && let Some(place) = wanted.foreign_reference() {
        return Err(Refusal::Reference(place));
    }
    let checked = |loaded: Result<Loaded, Problems>| {
        let mut loaded = loaded
            .and_then(|loaded| without_general(path, loaded))
            .map_err(Refusal::Wrong)?;
        let new =
            |name: &&String| edit.camera() == Some(*name) || !current.broken.contains_key(*name);
        if let Some(name) = loaded.broken.keys().find(new) {
            return Err(Refusal::Wrong(loaded.broken[name].clone()));
        }
        loaded.keep_working(&current.config);
        restrict::refuse_hooks(&current.config, &loaded.config)?;
        if !allows_local {
            restrict::refuse_local(&current.config, &loaded.config)?;
        }
        Ok(loaded)
    };
    checked(config::parse_value(path, wanted.value()))?;
    let text = document.edited(&wanted)?;
    let loaded = checked(config::parse(path, text))?;
    let change = Change::between(current, &loaded);
    Ok(Planned { loaded, change })
}

fn edited(edit: &Edit, text: &str) -> Result<String, ChangeError> {
    let document = Document::new(text)?;
    let wanted = edit.wanted(&document)?;
    document.edited(&wanted)
}

/// A configuration that can be taken over while others run: a mistake outside the cameras keeps the last good one.
fn check(path: &Path, text: String) -> Result<Loaded, Problems> {
    config::parse(path, text).and_then(|loaded| without_general(path, loaded))
}

fn without_general(path: &Path, loaded: Loaded) -> Result<Loaded, Problems> {
    if !loaded.general.is_empty() {
        return Err(loaded.general);
    }
    match config::http_problem(&loaded.config.http) {
        Some(problem) => Err(Problem::of_file(path, problem).into()),
        None => Ok(loaded),
    }
}

/// Whether the address can be listened at. Ours with the same port would be in the way, and is released before.
fn try_to_listen(now: SocketAddr, wanted: SocketAddr) -> Result<(), Refusal> {
    if wanted == now {
        return Ok(());
    }
    match std::net::TcpListener::bind(wanted) {
        Err(error) if error.kind() != ErrorKind::AddrInUse || wanted.port() != now.port() => {
            Err(Refusal::Listen(wanted, error))
        }
        _ => Ok(()),
    }
}
