//! Changes of the configuration: from the file, from SIGHUP and from HTTP, one after the other through one queue.

mod folder;
mod still;

use crate::config::{
    self, Action, ChangeError, Config, Document, HttpConfig, Loaded, Problem, Problems, WriteError,
};
use crate::supervisor::{Command, Gone, Handle};
use folder::FolderWatch;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use still::Still;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::Source;

/// From an event in the folder to reading the file: editors write in several steps.
const QUIET: Duration = Duration::from_millis(300);
/// So long a text must be the same before it counts: what is written over a slow line comes in pieces.
const STILL: Duration = Duration::from_millis(700);
/// The same for one in which cameras are missing: what was learned of them goes with them.
const STILL_WITHOUT: Duration = Duration::from_secs(5);
/// How often the file is looked at where events do not arrive (network mounts).
const LOOK: Duration = Duration::from_secs(5);
/// So many times in a row the file cannot be read before that is told.
const MISSING: u32 = 2;
/// Requests waiting.
const REQUESTS: usize = 16;

/// A change that is asked for over HTTP. Secrets may be given as they were shown (`***`): then they stay.
#[derive(Debug, Clone)]
pub enum Edit {
    /// Add or replace a camera.
    Put(String, Value),
    /// Change some keys of a camera (JSON merge patch).
    Patch(String, Value),
    /// Remove a camera.
    Remove(String),
    /// The whole configuration.
    All(Value),
}

impl Edit {
    fn of(&self, text: &str) -> Result<String, ChangeError> {
        let document = Document::new(text)?;
        match self.clone() {
            Edit::Put(name, camera) => document.put_camera(&name, camera),
            Edit::Patch(name, patch) => document.patch_camera(&name, patch),
            Edit::Remove(name) => document.remove_camera(&name),
            Edit::All(wanted) => document.put_all(wanted),
        }
    }

    /// The camera it is about, if one.
    fn camera(&self) -> Option<&String> {
        match self {
            Edit::Put(name, _) | Edit::Patch(name, _) | Edit::Remove(name) => Some(name),
            Edit::All(_) => None,
        }
    }

    fn value(&self) -> Option<&Value> {
        match self {
            Edit::Put(_, value) | Edit::Patch(_, value) | Edit::All(value) => Some(value),
            Edit::Remove(_) => None,
        }
    }
}

/// How a change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Only say what would happen.
    pub dry_run: bool,
    /// Write it into the file; otherwise it lasts until the next start.
    pub persist: bool,
}

/// Why a change was refused. Nothing of it has been applied.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It cannot be made of the text.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The configuration would be wrong.
    #[error("{0}")]
    Wrong(Problems),
    /// The file cannot be written.
    #[error("{0}; ?persist=0 makes the change until the next start")]
    Write(#[from] WriteError),
    /// The file was changed meanwhile, and has mistakes.
    #[error("the configuration file has mistakes, which a change would overwrite: {0}")]
    FileWrong(Problems),
    /// The file cannot be read.
    #[error("the configuration file cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// The file is being written.
    #[error("the configuration file is just being changed; try again in some seconds")]
    Unsettled,
    /// It names a local source.
    #[error(
        "camera {0}: {1} sources read what this program can read, so they are taken from the configuration file only, unless http.allow_local_sources is set there"
    )]
    Local(String, &'static str),
    /// It would allow itself more.
    #[error("http.allow_local_sources is set in the configuration file only")]
    Permission,
    /// It names a file or a variable of the environment.
    #[error(
        "references (${{NAME}}, file:PATH) are taken from the configuration file only, unless http.allow_local_sources is set there"
    )]
    Reference,
    /// It would listen where it cannot.
    #[error("http.listen {0}: {1}; it listens where it did, and nothing was changed")]
    Listen(SocketAddr, std::io::Error),
    /// Everything is ending.
    #[error(transparent)]
    Gone(#[from] Gone),
}

#[derive(Debug)]
enum Request {
    Show(oneshot::Sender<Result<Value, ChangeError>>),
    Change(Edit, Manner, oneshot::Sender<Result<Vec<Action>, Refusal>>),
}

/// The way to the queue.
#[derive(Debug, Clone)]
pub struct Changes {
    requests: mpsc::Sender<Request>,
}

impl Changes {
    /// The configuration at work, references unresolved, secrets hidden.
    pub async fn shown(&self) -> Result<Value, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Show(reply)).await?;
        Ok(answer.await.map_err(|_| Gone)??)
    }

    /// Makes a change, and answers with what it means for each camera.
    pub async fn change(&self, edit: Edit, manner: Manner) -> Result<Vec<Action>, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Change(edit, manner, reply)).await?;
        answer.await.map_err(|_| Gone)?
    }

    async fn send(&self, request: Request) -> Result<(), Gone> {
        self.requests.send(request).await.map_err(|_| Gone)
    }
}

/// The owner of the configuration file.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    /// The file's text as it was looked at last, good or not.
    seen: String,
    /// What differs from it, and may be unfinished.
    still: Still,
    /// How often in a row the file could not be read.
    unreadable: u32,
    /// What is at work, and its text. Differs from the file after a change that was not to be kept.
    at_work: Config,
    text: String,
    /// Cameras with a mistake in that text.
    wrong: BTreeSet<String>,
    /// What of that text was warned of.
    warnings: Problems,
    supervisor: Handle,
    http: watch::Sender<HttpConfig>,
    requests: mpsc::Receiver<Request>,
}

impl Keeper {
    /// For the file that was loaded. What changes under `http` goes to whoever serves it.
    pub fn new(
        path: &Path,
        loaded: &Loaded,
        supervisor: Handle,
        http: watch::Sender<HttpConfig>,
    ) -> (Self, Changes) {
        let (sender, requests) = mpsc::channel(REQUESTS);
        let keeper = Self {
            path: path.to_owned(),
            seen: loaded.text.clone(),
            still: Still::default(),
            unreadable: 0,
            at_work: loaded.config.clone(),
            text: loaded.text.clone(),
            wrong: loaded.broken.keys().cloned().collect(),
            warnings: loaded.warnings.clone(),
            supervisor,
            http,
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
        let mut next: Option<Instant> = None;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = done.cancelled() => return,
                () = watch.changed() => {
                    next.get_or_insert_with(|| Instant::now() + QUIET);
                }
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {
                    next = self.look_at_file(false).await;
                }
                _ = look.tick() => if next.is_none() { next = self.look_at_file(false).await },
                _ = hangup.recv() => {
                    tracing::info!("SIGHUP: reading {}", self.path.display());
                    next = self.look_at_file(true).await;
                }
                Some(request) = self.requests.recv() => self.request(request).await,
            }
        }
    }

    async fn request(&mut self, request: Request) {
        // Whoever asked may have gone away.
        match request {
            Request::Show(reply) => {
                let shown = Document::new(&self.text).map(|document| document.shown());
                let _ = reply.send(shown);
            }
            Request::Change(edit, manner, reply) => {
                let answer = self.change(&edit, manner).await;
                if let Err(refusal) = &answer {
                    tracing::warn!("a change over HTTP was refused: {refusal}");
                }
                let _ = reply.send(answer);
            }
        }
    }

    async fn change(&mut self, edit: &Edit, manner: Manner) -> Result<Vec<Action>, Refusal> {
        if manner.persist {
            self.catch_up().await?;
        }
        if let Some(value) = edit
            .value()
            .filter(|_| !self.at_work.http.allow_local_sources)
            && has_new_reference(value, &self.text)
        {
            return Err(Refusal::Reference);
        }
        let loaded = self.checked(edit)?;
        if !self.at_work.http.allow_local_sources {
            refuse_local(&self.at_work, &loaded.config)?;
        }
        try_to_listen(self.at_work.http.listen, loaded.config.http.listen)?;
        let actions = self.plan(&loaded);
        if manner.dry_run {
            return Ok(actions);
        }
        if manner.persist {
            // Changes made earlier that were not to be kept stay out of the file.
            let file = if self.seen == self.text {
                Ok(loaded.text.clone())
            } else {
                edit.of(&self.seen)
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
        self.take_over(loaded).await?;
        Ok(actions)
    }

    /// What a change means, cameras included that were wrong from the start and are gone with it.
    fn plan(&self, loaded: &Loaded) -> Vec<Action> {
        let mut actions = config::plan(&self.at_work, &loaded.config);
        let (before, now) = (&self.at_work.cameras, &loaded.config.cameras);
        let was_never_at_work = |name: &&String| !before.contains_key(*name);
        let is_gone =
            |name: &&String| !now.contains_key(*name) && !loaded.broken.contains_key(*name);
        let gone = self.wrong.iter().filter(was_never_at_work).filter(is_gone);
        actions.extend(gone.map(|camera| Action::Stop {
            camera: camera.clone(),
            removed: true,
        }));
        actions
    }

    /// Whatever was written into the file meanwhile comes first, so that nobody's change is lost.
    async fn catch_up(&mut self) -> Result<(), Refusal> {
        let read = |path: &Path| config::read_text(path).map_err(Refusal::Unreadable);
        let mut text = read(&self.path)?;
        if text != self.seen
            && let Some(then) = self.unsettled(&text)
        {
            sleep_until(then).await;
            text = read(&self.path)?;
        }
        if text != self.seen {
            if self.unsettled(&text).is_some() {
                return Err(Refusal::Unsettled);
            }
            let loaded = check(&self.path, text.clone()).map_err(Refusal::FileWrong)?;
            self.seen = text;
            self.take_over(loaded).await?;
        } else if self.seen != self.text
            && let Err(problems) = check(&self.path, text)
        {
            return Err(Refusal::FileWrong(problems));
        }
        Ok(())
    }

    /// What comes of a change. One with a mistake is refused; mistakes of other cameras were there before.
    fn checked(&self, edit: &Edit) -> Result<Loaded, Refusal> {
        let mut loaded = check(&self.path, edit.of(&self.text)?).map_err(Refusal::Wrong)?;
        let new = |name: &&String| edit.camera() == Some(*name) || !self.wrong.contains(*name);
        if let Some(name) = loaded.broken.keys().find(new) {
            return Err(Refusal::Wrong(loaded.broken[name].clone()));
        }
        loaded.keep_working(&self.at_work);
        Ok(loaded)
    }

    async fn take_over(&mut self, mut loaded: Loaded) -> Result<(), Gone> {
        loaded.keep_working(&self.at_work);
        for action in config::plan(&self.at_work, &loaded.config) {
            if let Action::NeedsNewStart { key } = action {
                tracing::warn!("{key} was changed; that takes effect at the next start");
            }
        }
        self.at_work = loaded.config.clone();
        self.text.clone_from(&loaded.text);
        self.wrong = loaded.broken.keys().cloned().collect();
        for warning in loaded.warnings.iter() {
            // Lines above it may have come and gone.
            let same =
                |known: &Problem| known.key == warning.key && known.message == warning.message;
            if !self.warnings.iter().any(same) {
                tracing::warn!("{warning}");
            }
        }
        self.warnings = loaded.warnings.clone();
        self.http.send_if_modified(|http| {
            let changed = *http != loaded.config.http;
            http.clone_from(&loaded.config.http);
            changed
        });
        self.supervisor.apply(loaded).await
    }

    /// When a text that differs may count, where it may not yet.
    fn unsettled(&mut self, text: &str) -> Option<Instant> {
        let loses_cameras = config::parse(&self.path, text.to_owned()).is_ok_and(|loaded| {
            let stays = |name: &String| {
                loaded.config.cameras.contains_key(name) || loaded.broken.contains_key(name)
            };
            !self.at_work.cameras.keys().all(stays)
        });
        let long = if loses_cameras { STILL_WITHOUT } else { STILL };
        self.still.wait(text, long, Instant::now())
    }

    /// Reads the file, and takes it over if it differs, stands still and is good. `asked`: at once, and also when it is the
    /// same, since what it refers to may have changed, and an error is worth repeating. Answers with when to look again.
    async fn look_at_file(&mut self, asked: bool) -> Option<Instant> {
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
            && let Some(then) = self.unsettled(&text)
        {
            return Some(then);
        }
        let was_unreadable = std::mem::take(&mut self.unreadable) > 0;
        if text == self.seen && !asked && !was_unreadable {
            self.still = Still::default();
            return None;
        }
        self.seen.clone_from(&text);
        // What an editor leaves on a full disk would remove every camera, with all it has learned.
        if text.trim().is_empty() && !self.text.trim().is_empty() {
            let empty = "is empty, expected `cameras: {}` where there is to be none";
            self.refuse(Problem::of_file(&self.path, empty).to_string())
                .await;
            return None;
        }
        match check(&self.path, text) {
            Ok(loaded) => {
                tracing::info!("taking over {}", self.path.display());
                // Without a supervisor everything is about to end.
                let _ = self.take_over(loaded).await;
            }
            Err(problems) => self.refuse(problems.to_string()).await,
        }
        None
    }

    async fn refuse(&self, error: String) {
        let _ = self.supervisor.tell(Command::ConfigError(error)).await;
    }
}

/// A configuration that can be taken over while others run: a mistake outside the cameras keeps the last good one.
fn check(path: &Path, text: String) -> Result<Loaded, Problems> {
    let loaded = config::parse(path, text)?;
    if !loaded.general.is_empty() {
        return Err(loaded.general);
    }
    match config::http_problem(&loaded.config.http) {
        Some(problem) => Err(Problem::of_file(path, problem).into()),
        None => Ok(loaded),
    }
}

/// Whether an address to listen at can be had. Ours with the same port would be in the way, and is let go of before.
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

/// Whether a value holds a reference that the configuration does not hold already.
fn has_new_reference(value: &Value, text: &str) -> bool {
    match value {
        Value::String(s) => {
            (s.starts_with("file:") || s.contains("${")) && !text.contains(s.as_str())
        }
        Value::Array(items) => items.iter().any(|item| has_new_reference(item, text)),
        Value::Object(keys) => keys.values().any(|value| has_new_reference(value, text)),
        _ => false,
    }
}

/// Refuses local sources that were not there before, and the permission to bring them.
fn refuse_local(old: &Config, new: &Config) -> Result<(), Refusal> {
    if new.http.allow_local_sources {
        return Err(Refusal::Permission);
    }
    for (name, camera) in &new.cameras {
        let before: Vec<&Source> = old.cameras.get(name).map(sources).unwrap_or_default();
        for source in sources(camera) {
            if matches!(source, Source::File(_) | Source::Launch(_)) && !before.contains(&source) {
                return Err(Refusal::Local(name.clone(), source.kind()));
            }
        }
    }
    Ok(())
}

fn sources(camera: &CameraConfig) -> Vec<&Source> {
    let entries = camera.sources.iter().map(|entry| &entry.source);
    camera.source.iter().chain(entries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_from_outside_are_seen_and_old_ones_may_stay() {
        let text = "cameras: {front: {source: {rtsp: {url: rtsp://h, password: \"${PW}\"}}}}";
        assert!(!has_new_reference(&json!({"password": "${PW}"}), text));
        assert!(has_new_reference(&json!({"password": "${HOME}"}), text));
        assert!(has_new_reference(&json!([{"a": "file:/etc/shadow"}]), text));
        assert!(!has_new_reference(&json!({"a": ["plain", 1, null]}), text));
    }

    #[test]
    fn local_sources_from_outside_are_refused_and_old_ones_may_stay() {
        let camera = |source: Source| CameraConfig::from_source(source);
        let with = |list: &[(&str, CameraConfig)]| Config {
            cameras: list
                .iter()
                .map(|(n, c)| ((*n).to_owned(), c.clone()))
                .collect(),
            ..Config::default()
        };
        let launch = camera(Source::Launch("videotestsrc".into()));
        let old = with(&[("a", launch.clone())]);
        refuse_local(&old, &old).unwrap();
        let moved = with(&[("b", launch)]);
        let refusal = refuse_local(&old, &moved).unwrap_err().to_string();
        assert!(refusal.contains("camera b: launch sources"), "{refusal}");
        let rtsp = camera(Source::Rtsp("rtsp://h/1".to_owned().into()));
        refuse_local(&old, &with(&[("a", rtsp)])).unwrap();
    }
}
