//! The supervisor: one task owns the table of cameras, takes commands by channel, starts, watches and stops the workers.
//!
//! It never touches pixels. What a camera's state is and what follows from an event is decided in [`health`]; here it is done.

mod analysis;
mod backoff;
mod budget;
mod camera;
pub mod health;
mod history;
mod process;
mod rate;
mod repeats;
mod ring;
pub mod status;

use self::analysis::{Analysis, NO_PROGRESS, SILENCE};
use self::budget::Budget;
use self::camera::{Camera, Leaving, RingInfo, limits};
use self::health::{Action, Event, State};
use self::history::History;
use self::process::{Notice, Role, WorkerEvent};
use self::ring::RingMonitor;
use self::status::{Status, seconds};
use crate::config::{Config, Loaded};
use crate::run_dir::RunDir;
use crate::store::Store;
use crate::worker::protocol::{AnalysisCommand, CaptureCommand, GridAction, Level, Report};
use detection::{BBox, TrackChange};
use shmring_core::sizing::Depth;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::{Role as Use, Source};
use watchpost_pipelines::secret::hide;
use watchpost_pipelines::spec::{AnalysisSpec, CaptureSpec};

/// How often heads are read and deadlines looked at.
const TICK: Duration = Duration::from_millis(200);
/// From asking the analysis to let go of a camera to going on without its answer.
const DETACH_GRACE: Duration = Duration::from_secs(2);
/// A second attempt at an analysis that could not be started.
const ANALYSIS_RETRY: Duration = Duration::from_secs(5);
/// Commands waiting for the supervisor.
const COMMANDS: usize = 64;
/// Reports waiting for the supervisor; workers wait when it is full.
const EVENTS: usize = 1024;

/// What can be asked of the supervisor.
#[derive(Debug)]
pub enum Command {
    /// Everything it knows.
    Status(oneshot::Sender<Status>),
    /// Take over another configuration; only what differs is touched.
    Apply(Box<Loaded>, oneshot::Sender<()>),
    /// A configuration could not be taken over; the last good one stays.
    ConfigError(String),
    /// A PTZ camera moves, or has come to rest. Answers whether there is such a camera.
    Moving {
        /// Which camera.
        camera: String,
        /// Whether it moves.
        moving: bool,
        /// Whether it is known.
        reply: oneshot::Sender<bool>,
    },
    /// Something is to be done to a camera's region grid. Answers whether there is such a camera.
    Grid {
        /// Which camera.
        camera: String,
        /// What.
        command: GridCommand,
        /// Whether it is known.
        reply: oneshot::Sender<bool>,
    },
    /// Stop everything and end.
    Shutdown,
    /// Stop everything at once.
    Kill,
}

/// What can be done to a camera's region grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GridCommand {
    /// Forget what was learned.
    Reset,
    /// Learn nothing more, or again.
    Freeze(bool),
}

/// The way to the supervisor.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
}

/// The supervisor does not answer: it has ended, or hangs.
#[derive(Debug, thiserror::Error)]
#[error("the supervisor does not answer")]
pub struct Gone;

impl Handle {
    /// What is known now.
    pub async fn status(&self) -> Result<Status, Gone> {
        self.ask(Command::Status).await
    }

    /// Takes over a configuration.
    pub async fn apply(&self, loaded: Loaded) -> Result<(), Gone> {
        self.ask(|reply| Command::Apply(Box::new(loaded), reply))
            .await
    }

    /// Says that a camera moves or rests.
    pub async fn moving(&self, camera: &str, moving: bool) -> Result<bool, Gone> {
        let camera = camera.to_owned();
        self.ask(|reply| Command::Moving {
            camera,
            moving,
            reply,
        })
        .await
    }

    /// Does something to a camera's region grid.
    pub async fn grid(&self, camera: &str, command: GridCommand) -> Result<bool, Gone> {
        let camera = camera.to_owned();
        self.ask(|reply| Command::Grid {
            camera,
            command,
            reply,
        })
        .await
    }

    /// Sends what needs no answer.
    pub async fn tell(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone)
    }

    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.tell(make(reply)).await?;
            answer.await.map_err(|_| Gone)
        };
        tokio::time::timeout(Duration::from_secs(5), exchange)
            .await
            .unwrap_or(Err(Gone))
    }
}

/// A monitor that was attached in the background.
struct Monitored {
    camera: String,
    run: u64,
    monitor: anyhow::Result<RingMonitor>,
}

/// The owner of the table.
pub struct Supervisor {
    config: Config,
    config_error: Option<String>,
    budget: Budget,
    run_dir: RunDir,
    history: History,
    started: SystemTime,
    cameras: BTreeMap<String, Camera>,
    analyses: BTreeMap<Role, Analysis>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Receiver<WorkerEvent>,
    event_sender: mpsc::Sender<WorkerEvent>,
    monitors: mpsc::Receiver<Monitored>,
    monitor_sender: mpsc::Sender<Monitored>,
    ending: bool,
    next_run: u64,
    /// Slots of cameras that are about to start together.
    shares: BTreeMap<String, u32>,
}

impl Supervisor {
    /// A supervisor for this configuration; nothing is started before [`Supervisor::run`].
    pub fn new(loaded: &Loaded, run_dir: RunDir, store: Option<Arc<Store>>) -> (Self, Handle) {
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let (monitor_sender, monitors) = mpsc::channel(COMMANDS);
        let mut supervisor = Self {
            config: Config::default(),
            config_error: None,
            budget: Budget::of_system(),
            run_dir,
            history: History::new(store),
            started: SystemTime::now(),
            cameras: BTreeMap::new(),
            analyses: BTreeMap::new(),
            commands,
            events,
            event_sender,
            monitors,
            monitor_sender,
            ending: false,
            next_run: 1,
            shares: BTreeMap::new(),
        };
        supervisor.config.model = loaded.config.model.clone();
        let handle = Handle {
            commands: command_sender,
        };
        (supervisor, handle)
    }

    /// Works until told to stop and everything has ended.
    pub async fn run(mut self, loaded: Loaded) {
        self.forget_strangers(&loaded);
        self.apply(loaded);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => self.shut_down(),
                },
                Some(event) = self.events.recv() => self.event(event),
                Some(monitored) = self.monitors.recv() => self.monitored(monitored),
                _ = tick.tick() => self.tick(),
            }
            self.reconcile();
            if self.ending && self.cameras.is_empty() && self.analyses.is_empty() {
                tracing::info!("everything has stopped");
                return;
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            // Whoever asked may have gone away meanwhile.
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Apply(loaded, reply) => {
                if !self.ending {
                    self.apply(*loaded);
                }
                let _ = reply.send(());
            }
            Command::ConfigError(error) => self.refuse_config(error),
            Command::Moving {
                camera,
                moving,
                reply,
            } => {
                let known = self.cameras.contains_key(&camera);
                if known {
                    let command = AnalysisCommand::Moving {
                        camera: camera.clone(),
                        moving,
                    };
                    self.tell_analysis_of(&camera, &command);
                }
                let _ = reply.send(known);
            }
            Command::Grid {
                camera,
                command,
                reply,
            } => {
                let _ = reply.send(self.act_on_grid(&camera, command));
            }
            Command::Shutdown => self.shut_down(),
            Command::Kill => {
                self.shut_down();
                let captures = self.cameras.values().filter_map(|c| c.worker.as_ref());
                let analyses = self.analyses.values().filter_map(|a| a.worker.as_ref());
                captures.chain(analyses).for_each(process::Worker::kill);
            }
        }
    }

    fn act_on_grid(&mut self, camera: &str, command: GridCommand) -> bool {
        if !self.cameras.contains_key(camera) {
            return false;
        }
        let action = match command {
            GridCommand::Reset => GridAction::Reset,
            GridCommand::Freeze(true) => GridAction::Freeze,
            GridCommand::Freeze(false) => GridAction::Thaw,
        };
        if command == GridCommand::Reset {
            self.history.forget_grid(camera);
        }
        let command = AnalysisCommand::Grid {
            camera: camera.to_owned(),
            action,
        };
        self.tell_analysis_of(camera, &command);
        true
    }

    fn status(&self) -> Status {
        let now = Instant::now();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started: seconds(self.started),
            config_error: self.config_error.clone(),
            cameras: self
                .cameras
                .values()
                .filter(|c| c.leaving.as_ref().is_none_or(|l| l.replacement.is_some()))
                .map(|c| c.status(self.analysis_pid(c), now))
                .collect(),
        }
    }

    fn analysis_pid(&self, camera: &Camera) -> Option<u32> {
        let (role, _) = camera.attached_to.as_ref()?;
        Some(self.analyses.get(role)?.worker.as_ref()?.pid())
    }

    fn shut_down(&mut self) {
        if self.ending {
            return;
        }
        tracing::info!("stopping");
        self.ending = true;
        let names: Vec<String> = self.cameras.keys().cloned().collect();
        for name in names {
            self.leave(&name, None);
        }
    }

    /// What is stored of cameras that are not configured any more goes; broken and renamed ones are not strangers.
    fn forget_strangers(&mut self, loaded: &Loaded) {
        let cameras = &loaded.config.cameras;
        for (name, config) in cameras {
            if let Some(previous) = &config.previous_name
                && !cameras.contains_key(previous)
            {
                self.history.renamed(previous, name);
            }
        }
        let known: Vec<String> = cameras
            .keys()
            .chain(loaded.broken.keys())
            .cloned()
            .collect();
        self.history.retain(&known);
    }

    // ---- configuration

    fn apply(&mut self, loaded: Loaded) {
        let new = loaded.config;
        let mut errors = Vec::new();
        for (name, problems) in &loaded.broken {
            let problems = hide(&problems.to_string());
            if self
                .cameras
                .get(name)
                .is_some_and(|c| c.leaving.is_none() && !c.broken)
            {
                // It works; a mistake made in the file meanwhile does not end that.
                errors.push(problems);
            } else {
                self.add_broken(name, problems);
            }
        }
        let model_changed = new.model != self.config.model;
        let gone: Vec<String> = self
            .cameras
            .keys()
            .filter(|name| !new.cameras.contains_key(*name) && !loaded.broken.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            let new_name = new
                .cameras
                .iter()
                .find(|(_, config)| config.previous_name.as_deref() == Some(&name));
            match new_name {
                Some((new_name, _)) => {
                    tracing::info!(camera = name, "renamed to {new_name}");
                    self.history.renamed(&name, new_name);
                }
                None => {
                    tracing::info!(camera = name, "removed");
                    self.history.removed(&name);
                }
            }
            self.leave(&name, None);
        }
        self.share_memory(&new);
        for (name, config) in &new.cameras {
            match self.cameras.get(name) {
                None => self.add(name, config.clone()),
                Some(camera)
                    if camera.config != *config || camera.leaving.is_some() || camera.broken =>
                {
                    self.change(name, config.clone());
                }
                Some(_) => {}
            }
        }
        self.config = new;
        self.config_error = None;
        if !errors.is_empty() {
            self.refuse_config(errors.join("\n"));
        }
        if model_changed {
            tracing::info!("the model changed; the analysis starts again with it");
            for analysis in self.analyses.values_mut() {
                stop_analysis(analysis);
            }
            for camera in self.cameras.values_mut() {
                camera.analysis_fault = None;
                camera.analysis_retry = None;
            }
        }
    }

    /// Cameras that start together share what memory there is, so that the last one is not the one without.
    fn share_memory(&mut self, new: &Config) {
        let starting: Vec<(&String, &CameraConfig)> = new
            .cameras
            .iter()
            .filter(|(name, config)| config.enabled && !self.cameras.contains_key(*name))
            .collect();
        let requests: Vec<_> = starting
            .iter()
            .map(|(_, config)| budget::request(config, None))
            .collect();
        let depths = budget::grant(&requests, self.budget.left(self.handed_out(None)));
        self.shares = starting
            .into_iter()
            .zip(depths)
            .filter_map(|((name, _), depth)| Some((name.clone(), depth.ok()?.slots)))
            .collect();
    }

    /// Bytes of all rings that exist or are about to, but this one.
    fn handed_out(&self, except: Option<&str>) -> u64 {
        self.cameras
            .values()
            .filter(|c| Some(c.name.as_str()) != except && c.health.has_worker())
            .map(|c| c.granted_bytes)
            .sum()
    }

    /// How many slots a camera may have now; an error names the bytes needed and free.
    fn grant(&mut self, name: &str) -> Result<u32, String> {
        let left = self.budget.left(self.handed_out(Some(name)));
        let share = self.shares.remove(name);
        let Some(camera) = self.cameras.get_mut(name) else {
            return Err("no such camera".into());
        };
        let known = camera.ring.as_ref().map(|ring| ring.slot_bytes);
        let wanted = budget::request(&camera.config, known);
        let mut request = wanted;
        if let Some(slots) = share {
            request.slots = slots;
        }
        let depth = budget::grant(&[request], left)
            .pop()
            .expect("one answer for one request")
            .map_err(|refusal| refusal.to_string())?;
        camera.granted_bytes = depth.bytes;
        let told = Depth {
            wanted_slots: wanted.slots,
            wanted_bytes: depth.bytes / u64::from(depth.slots.max(1)) * u64::from(wanted.slots),
            ..depth
        };
        let frigate = budget::frigate(self.cameras.values().map(|c| &c.config));
        if let (Some(text), Some(camera)) = (
            told.warning(name, Some(&frigate)),
            self.cameras.get_mut(name),
        ) && camera.repeats.is_new(&text, Instant::now())
        {
            tracing::warn!("{text}");
        }
        Ok(depth.slots)
    }

    fn refuse_config(&mut self, error: String) {
        if self.config_error.as_deref() != Some(&error) {
            tracing::error!("the configuration was not taken over, the last one stays: {error}");
        }
        self.config_error = Some(error);
    }

    /// A camera whose configuration is wrong from the start: shown, and nothing more.
    fn add_broken(&mut self, name: &str, problems: String) {
        let mark = self.free_mark();
        let mut camera = Camera::new(name, CameraConfig::default(), mark, SystemTime::now());
        camera.broken = true;
        self.cameras.insert(name.to_owned(), camera);
        self.handle(name, Event::Broken(problems));
    }

    fn add(&mut self, name: &str, config: CameraConfig) {
        let mark = self.free_mark();
        let enabled = config.enabled;
        let camera = Camera::new(name, config, mark, SystemTime::now());
        self.cameras.insert(name.to_owned(), camera);
        if enabled {
            self.handle(name, Event::Enable);
        } else {
            tracing::info!(camera = name, "disabled");
        }
    }

    fn free_mark(&self) -> u32 {
        (0..)
            .find(|mark| self.cameras.values().all(|c| c.mark != *mark))
            .unwrap_or_default()
    }

    fn change(&mut self, name: &str, config: CameraConfig) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        if let Some(leaving) = &mut camera.leaving {
            leaving.replacement = Some(Box::new(config));
            return;
        }
        if camera.broken {
            self.cameras.remove(name);
            return self.add(name, config);
        }
        let restart = needs_restart(&camera.config, &config);
        if camera.config.enabled && config.enabled && restart {
            tracing::info!(camera = name, "restarting with its new configuration");
            self.leave(name, Some(config));
            return;
        }
        let was_enabled = camera.config.enabled;
        camera.config = config;
        camera.health.set_limits(limits(&camera.config));
        camera.analysis_fault = None;
        camera.analysis_retry = None;
        match (was_enabled, camera.config.enabled) {
            (false, true) => self.handle(name, Event::Enable),
            (true, false) => self.handle(name, Event::Disable),
            (true, true) => {
                tracing::info!(camera = name, "changed while it runs");
                let command = AnalysisCommand::Update {
                    spec: Box::new(self.analysis_spec(name)),
                };
                self.tell_analysis_of(name, &command);
            }
            (false, false) => {}
        }
    }

    /// Begins the way out: capture first, then analysis, then the ring.
    fn leave(&mut self, name: &str, replacement: Option<CameraConfig>) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        camera.leaving = Some(Leaving {
            replacement: replacement.map(Box::new),
            detach_by: None,
        });
        self.handle(name, Event::Disable);
    }

    // ---- what happens

    /// Tells a camera's health about an event and does what follows.
    fn handle(&mut self, name: &str, event: Event) {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let before = (
            camera.health.state(),
            camera.health.reason().map(str::to_owned),
        );
        let action = camera.health.handle(event, now, wall);
        let after = (camera.health.state(), camera.health.reason());
        if (before.0, before.1.as_deref()) != after && camera.leaving.is_none() {
            log_transition(camera, now);
        }
        match action {
            Some(Action::Spawn) => self.start_capture(name),
            Some(Action::Stop) => {
                match self.cameras.get(name).and_then(|c| c.worker.as_ref()) {
                    Some(worker) => worker.stop(line(&CaptureCommand::Stop)),
                    // Refused before there was one.
                    None => self.handle(name, Event::Exited(String::new())),
                }
            }
            None => {}
        }
    }

    fn start_capture(&mut self, name: &str) {
        let socket = match self.run_dir.prepare(name) {
            Ok(socket) => socket,
            Err(error) => return self.handle(name, Event::Refused(format!("{error:#}"))),
        };
        let slots = match self.grant(name) {
            Ok(slots) => slots,
            Err(refusal) => return self.handle(name, Event::Refused(refusal)),
        };
        let run = self.next_run;
        self.next_run += 1;
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let spec = CaptureSpec {
            name: name.to_owned(),
            camera: camera.config.clone(),
            socket_path: socket,
            slots,
            failed_decoders: camera.failed_decoders.clone(),
        };
        camera.runs = run;
        camera.monitor = None;
        camera.camera_rate.clear();
        let role = Role::Capture(name.to_owned());
        match process::spawn(role, run, line(&spec), self.event_sender.clone()) {
            Ok(worker) => {
                tracing::debug!(camera = name, pid = worker.pid(), "capture worker started");
                camera.worker = Some(worker);
            }
            Err(error) => {
                camera.worker = None;
                let reason = format!("cannot start a capture worker: {error}");
                // Through the queue, so that a failure cannot recurse.
                let event = WorkerEvent {
                    role: Role::Capture(name.to_owned()),
                    run,
                    notice: Notice::Exited(reason),
                };
                let events = self.event_sender.clone();
                tokio::spawn(async move {
                    let _ = events.send(event).await;
                });
            }
        }
    }

    fn event(&mut self, event: WorkerEvent) {
        let WorkerEvent { role, run, notice } = event;
        match &role {
            Role::Capture(name) => {
                // News of a worker that has been given up already.
                if self.cameras.get(name).is_none_or(|c| c.runs != run) {
                    return;
                }
                let name = name.clone();
                match notice {
                    Notice::Report(report) => self.capture_report(&name, report),
                    Notice::Exited(reason) => self.capture_gone(&name, reason),
                    Notice::Stuck(reason) => {
                        tracing::error!(camera = name, "{reason}; it is replaced");
                        self.capture_gone(&name, reason);
                    }
                }
            }
            Role::Analysis | Role::OwnAnalysis(_) => {
                let known = self
                    .analyses
                    .get(&role)
                    .is_some_and(|a| a.worker.as_ref().is_some_and(|w| w.run() == run));
                if !known {
                    return;
                }
                match notice {
                    Notice::Report(report) => self.analysis_report(&role, report),
                    Notice::Exited(reason) | Notice::Stuck(reason) => {
                        self.analysis_gone(&role, &reason);
                    }
                }
            }
        }
    }

    fn capture_report(&mut self, name: &str, report: Report) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        match report {
            Report::RingReady { width, height } => {
                camera.size = Some((width, height));
                self.watch_ring(name);
            }
            Report::Decoder { name: decoder } => camera.decoder = Some(decoder),
            Report::DecoderFailed { name: decoder } => {
                tracing::warn!(
                    camera = name,
                    decoder,
                    "decoder failed; the next one is tried"
                );
                if !camera.failed_decoders.contains(&decoder) {
                    camera.failed_decoders.push(decoder);
                }
            }
            Report::Fault { kind, reason } => {
                let reason = name_source(&camera.config, &hide(&reason));
                self.handle(name, Event::Fault(kind, reason));
            }
            Report::Capture(stats) => {
                camera.capture = stats;
            }
            Report::Log { level, message, .. } => log(level, Some(name), &message),
            other => tracing::debug!(
                camera = name,
                ?other,
                "unexpected report of a capture worker"
            ),
        }
    }

    /// Attaches to the ring in the background: a worker that hangs in its handshake must not hold up the table.
    fn watch_ring(&self, name: &str) {
        let Some(camera) = self.cameras.get(name) else {
            return;
        };
        let (run, name) = (camera.runs, name.to_owned());
        let socket = crate::run_dir::socket(self.run_dir.path(), &name);
        let sender = self.monitor_sender.clone();
        tokio::task::spawn_blocking(move || {
            let monitor = RingMonitor::attach(&socket);
            let _ = sender.blocking_send(Monitored {
                camera: name,
                run,
                monitor,
            });
        });
    }

    fn monitored(&mut self, monitored: Monitored) {
        let Some(camera) = self.cameras.get_mut(&monitored.camera) else {
            return;
        };
        if camera.runs != monitored.run || camera.worker.is_none() {
            return;
        }
        match monitored.monitor {
            Ok(monitor) => {
                camera.monitor = Some(monitor);
                camera.camera_rate.clear();
                let name = monitored.camera;
                self.read_head(&name, Instant::now());
            }
            Err(error) => {
                tracing::warn!(camera = camera.name, "cannot watch the ring: {error:#}");
            }
        }
    }

    fn read_head(&mut self, name: &str, now: Instant) {
        let Some(camera) = self.cameras.get_mut(name) else {
            return;
        };
        let Some(head) = camera.monitor.as_mut().and_then(RingMonitor::head) else {
            return;
        };
        let (width, height) = camera.size.unwrap_or_default();
        camera.ring = Some(RingInfo {
            slots: head.slots,
            slot_bytes: head.slot_bytes,
            width,
            height,
            written: head.frames,
            readers: head.readers,
            generation: head.generation,
        });
        camera.camera_rate.sample(head.frames, now);
        self.handle(name, Event::Head(head.frames));
    }

    fn capture_gone(&mut self, name: &str, reason: String) {
        if let Some(camera) = self.cameras.get_mut(name) {
            camera.worker = None;
            camera.monitor = None;
            camera.camera_rate.clear();
            self.handle(name, Event::Exited(reason));
        }
        if let Some(camera) = self.cameras.get_mut(name)
            && camera.worker.is_none()
            && matches!(camera.health.state(), State::Disabled | State::Failed)
            && camera.leaving.is_none()
        {
            // Nobody will write for a while: readers let go, and the ring's memory is free.
            camera.ring = None;
        }
    }

    // ---- analysis

    fn analysis_report(&mut self, role: &Role, report: Report) {
        let now = Instant::now();
        let Some(analysis) = self.analyses.get_mut(role) else {
            return;
        };
        analysis.last_report = now;
        let camera_name = match &report {
            Report::Attached { camera }
            | Report::Detached { camera }
            | Report::AnalysisFault { camera, .. }
            | Report::Analysis { camera, .. }
            | Report::Objects { camera, .. }
            | Report::Track { camera, .. }
            | Report::Grid { camera, .. }
            | Report::Motion { camera, .. } => Some(camera.clone()),
            _ => None,
        };
        let Some(name) = camera_name else {
            match report {
                Report::Ready => analysis.ready = true,
                Report::Log {
                    level,
                    camera,
                    message,
                } => log(level, camera.as_deref(), &message),
                other => tracing::debug!(?other, "unexpected report of an analysis worker"),
            }
            return;
        };
        let Some(camera) = self.cameras.get_mut(&name) else {
            return;
        };
        // A worker that was told to let go may have some last words.
        if camera.attached_to.as_ref().map(|(r, _)| r) != Some(role)
            && !matches!(report, Report::Detached { .. })
        {
            return;
        }
        match report {
            Report::Attached { .. } => {
                camera.attached = true;
                camera.last_analysed = Some(now);
            }
            // Perhaps it has been given to another worker meanwhile.
            Report::Detached { .. }
                if camera.attached_to.as_ref().is_some_and(|(r, _)| r == role) =>
            {
                camera.clear_analysis();
            }
            Report::AnalysisFault {
                reason, permanent, ..
            } => {
                let reason = hide(&reason).to_string();
                if camera.repeats.is_new(&reason, now) {
                    tracing::error!(camera = name, "no detection: {reason}");
                }
                camera.clear_analysis();
                camera.analysis_fault = Some(reason);
                let wait = camera.analysis_backoff.next_wait().max(ANALYSIS_RETRY);
                camera.analysis_retry = (!permanent).then(|| now + wait);
            }
            Report::Analysis { stats, .. } => {
                if stats.process_fps > 0.0 {
                    camera.last_analysed = Some(now);
                    camera.analysis_fault = None;
                    camera.analysis_retry = None;
                    camera.analysis_backoff.reset();
                }
                let newest = newest(camera.analysis.detection_frame, stats.detection_frame);
                camera.analysis = stats;
                camera.analysis.detection_frame = newest;
            }
            Report::Objects { frame, objects, .. } => {
                camera.objects = objects;
                camera.analysis.detection_frame =
                    newest(camera.analysis.detection_frame, Some(frame));
            }
            Report::Motion { active, .. } => camera.motion = active,
            Report::Grid { json, frozen, .. } => self.history.save_grid(&name, &json, frozen),
            Report::Track {
                change,
                object,
                place: [x1, y1, x2, y2],
                path_length,
                ..
            } => {
                if let Some(change) = TrackChange::from_word(&change) {
                    let bbox = BBox::new(x1, y1, x2, y2);
                    self.history
                        .track(&name, change, &object, bbox, path_length);
                }
                tracing::debug!(
                    camera = name,
                    id = object.id,
                    label = object.label,
                    "{change}"
                );
            }
            _ => {}
        }
    }

    fn analysis_gone(&mut self, role: &Role, reason: &str) {
        let now = Instant::now();
        let Some(analysis) = self.analyses.get_mut(role) else {
            return;
        };
        let expected = analysis.stopping;
        analysis.worker = None;
        analysis.ready = false;
        analysis.stopping = false;
        if !expected {
            if analysis.started.elapsed() >= Duration::from_secs(60) {
                analysis.backoff.reset();
            }
            let wait = analysis.backoff.next_wait();
            analysis.retry_at = Some(now + wait);
            tracing::error!(
                "{} worker: {reason}; it starts again in {:.1} s",
                role.name(),
                wait.as_secs_f64()
            );
        }
        let mut dropped = false;
        for camera in self.cameras.values_mut() {
            if camera.attached_to.as_ref().map(|(r, _)| r) != Some(role) {
                continue;
            }
            camera.clear_analysis();
            if expected || !analysis.marks.at_work(camera.mark) {
                continue;
            }
            if matches!(role, Role::OwnAnalysis(_)) {
                let reason = format!(
                    "its analysis died repeatedly, at last in a worker of its own ({reason}); change the camera or the model"
                );
                tracing::error!(camera = camera.name, "{reason}");
                camera.analysis_fault = Some(reason);
                camera.analysis_retry = None;
                dropped = true;
            } else if camera.died_at_work(now) {
                tracing::error!(
                    camera = camera.name,
                    "was at work in three deaths of the analysis worker within ten minutes; it gets a worker of its own"
                );
                camera.own_worker = true;
            }
        }
        analysis.marks.clear();
        if dropped {
            self.analyses.remove(role);
        }
    }

    fn analysis_spec(&mut self, name: &str) -> AnalysisSpec {
        AnalysisSpec {
            name: name.to_owned(),
            camera: self.cameras[name].config.clone(),
            socket_path: crate::run_dir::socket(self.run_dir.path(), name),
            model: self.config.model.clone(),
            first_id: self.history.first_id(name),
            region_grid: self.history.grid(name).map(|grid| grid.json),
        }
    }

    /// Sends to the worker that looks at this camera.
    fn tell_analysis_of(&mut self, name: &str, command: &AnalysisCommand) {
        let Some((role, run)) = self.cameras.get(name).and_then(|c| c.attached_to.clone()) else {
            return;
        };
        if let Some(analysis) = self.analyses.get(&role)
            && analysis.open_run() == Some(run)
            && let Some(worker) = &analysis.worker
            && !worker.send(line(command))
        {
            worker.kill();
        }
    }

    // ---- what should be, compared with what is

    fn tick(&mut self) {
        let now = Instant::now();
        let names: Vec<String> = self.cameras.keys().cloned().collect();
        for name in names {
            self.read_head(&name, now);
            self.handle(&name, Event::Tick);
            let Some(camera) = self.cameras.get_mut(&name) else {
                continue;
            };
            for (text, count) in camera.repeats.due(now) {
                tracing::warn!(
                    camera = name,
                    "{count} more times in the last minute: {text}"
                );
            }
        }
        for analysis in self.analyses.values_mut() {
            let hangs = now.duration_since(analysis.last_report) >= SILENCE;
            if let Some(worker) = analysis.worker.as_ref().filter(|_| hangs) {
                tracing::error!(
                    pid = worker.pid(),
                    "{} worker: silent for {} s; it is replaced",
                    analysis.role.name(),
                    SILENCE.as_secs()
                );
                analysis.last_report = now;
                worker.kill();
            }
        }
        for camera in self.cameras.values_mut() {
            let hangs = camera.health.state() == State::Streaming
                && camera
                    .last_analysed
                    .is_some_and(|at| now.duration_since(at) >= NO_PROGRESS);
            let worker = camera
                .attached_to
                .as_ref()
                .filter(|_| hangs && camera.camera_rate.per_second() > 0.0)
                .and_then(|(role, _)| self.analyses.get(role)?.worker.as_ref());
            if let Some(worker) = worker {
                tracing::error!(
                    camera = camera.name,
                    pid = worker.pid(),
                    "no frame analysed for {} s; the analysis worker is replaced",
                    NO_PROGRESS.as_secs()
                );
                camera.last_analysed = Some(now);
                worker.kill();
            }
        }
    }

    fn reconcile(&mut self) {
        let now = Instant::now();
        self.start_and_stop_analyses(now);
        self.attach_and_detach(now);
        self.finish_leaving(now);
    }

    fn start_and_stop_analyses(&mut self, now: Instant) {
        let mut needed: Vec<Role> = Vec::new();
        for camera in self.cameras.values() {
            let role = if camera.own_worker {
                Role::OwnAnalysis(camera.name.clone())
            } else {
                Role::Analysis
            };
            let wanted = camera.needs_analysis()
                && (camera.analysis_fault.is_none() || camera.analysis_retry.is_some());
            if (wanted || camera.attached_to.is_some()) && !needed.contains(&role) {
                needed.push(role);
            }
        }
        if !self.ending {
            for role in &needed {
                if self.analyses.contains_key(role) {
                    continue;
                }
                match Analysis::new(role.clone(), self.run_dir.path(), now) {
                    Ok(analysis) => drop(self.analyses.insert(role.clone(), analysis)),
                    Err(error) => tracing::error!("cannot start the analysis: {error:#}"),
                }
            }
        }
        let mut over = Vec::new();
        for (role, analysis) in &mut self.analyses {
            if !needed.contains(role) {
                match &analysis.worker {
                    // Cameras that are being replaced come back to it in a moment.
                    Some(_)
                        if !self.ending && self.cameras.values().any(|c| c.leaving.is_some()) => {}
                    Some(_) => stop_analysis(analysis),
                    None => over.push(role.clone()),
                }
                continue;
            }
            if self.ending || !analysis.due(now) {
                continue;
            }
            let run = self.next_run;
            self.next_run += 1;
            let first = line(&AnalysisCommand::Marks {
                path: analysis.marks.path().to_owned(),
            });
            analysis.started = now;
            analysis.last_report = now;
            analysis.retry_at = None;
            match process::spawn(role.clone(), run, first, self.event_sender.clone()) {
                Ok(worker) => {
                    tracing::info!(pid = worker.pid(), "{} worker started", role.name());
                    analysis.worker = Some(worker);
                }
                Err(error) => {
                    let wait = analysis.backoff.next_wait().max(Duration::from_secs(1));
                    tracing::error!("cannot start the {} worker: {error}", role.name());
                    analysis.retry_at = Some(now + wait);
                }
            }
        }
        for role in over {
            self.analyses.remove(&role);
        }
    }

    fn attach_and_detach(&mut self, now: Instant) {
        let names: Vec<String> = self.cameras.keys().cloned().collect();
        for name in names {
            let camera = &self.cameras[&name];
            let wanted = camera.wanted_analysis(now);
            let target = wanted.and_then(|role| {
                let run = self.analyses.get(&role)?.open_run()?;
                Some((role, run))
            });
            if camera.attached_to == target {
                continue;
            }
            if let Some((role, run)) = camera.attached_to.clone() {
                let worker = self
                    .analyses
                    .get(&role)
                    .filter(|a| a.open_run() == Some(run))
                    .and_then(|a| a.worker.as_ref());
                if let Some(worker) = worker {
                    let command = AnalysisCommand::Remove {
                        camera: name.clone(),
                    };
                    let leaving = self.cameras.get(&name).and_then(|c| c.leaving.as_ref());
                    match leaving.map(|l| l.detach_by) {
                        // Its answer is waited for.
                        Some(Some(_)) => continue,
                        Some(None) => {
                            worker.send(line(&command));
                            if let Some(leaving) =
                                self.cameras.get_mut(&name).and_then(|c| c.leaving.as_mut())
                            {
                                leaving.detach_by = Some(now + DETACH_GRACE);
                            }
                            continue;
                        }
                        None => drop(worker.send(line(&command))),
                    }
                }
                if let Some(camera) = self.cameras.get_mut(&name) {
                    camera.clear_analysis();
                }
            }
            if let Some((role, run)) = target {
                let command = AnalysisCommand::Add {
                    spec: Box::new(self.analysis_spec(&name)),
                    mark: self.cameras[&name].mark,
                };
                let sent = self
                    .analyses
                    .get(&role)
                    .and_then(|a| a.worker.as_ref())
                    .is_some_and(|worker| worker.send(line(&command)));
                if let Some(camera) = self.cameras.get_mut(&name).filter(|_| sent) {
                    camera.attached_to = Some((role, run));
                    camera.analysis_retry = None;
                }
            }
        }
    }

    /// Cameras whose workers are gone leave the table, or come back with their new configuration.
    fn finish_leaving(&mut self, now: Instant) {
        let done: Vec<String> = self
            .cameras
            .values()
            .filter(|c| {
                c.worker.is_none()
                    && c.leaving.as_ref().is_some_and(|leaving| {
                        c.attached_to.is_none() || leaving.detach_by.is_some_and(|at| now >= at)
                    })
            })
            .map(|c| c.name.clone())
            .collect();
        for name in done {
            let Some(camera) = self.cameras.remove(&name) else {
                continue;
            };
            drop(camera.monitor);
            self.run_dir.remove(&name);
            if let Some(config) = camera.leaving.and_then(|l| l.replacement)
                && !self.ending
            {
                self.add(&name, *config);
            }
        }
    }
}

/// Whether a change needs a new capture worker and ring.
fn needs_restart(old: &CameraConfig, new: &CameraConfig) -> bool {
    let live = CameraConfig {
        enabled: old.enabled,
        friendly_name: old.friendly_name.clone(),
        previous_name: old.previous_name.clone(),
        motion: old.motion.clone(),
        objects: old.objects.clone(),
        zones: old.zones.clone(),
        stall_timeout: old.stall_timeout,
        ..new.clone()
    };
    live != *old
}

fn stop_analysis(analysis: &mut Analysis) {
    if let Some(worker) = analysis.worker.as_ref().filter(|_| !analysis.stopping) {
        worker.stop(line(&AnalysisCommand::Stop));
        analysis.stopping = true;
    }
}

fn newest(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// The reason, with the address of what it is about in front.
fn name_source(config: &CameraConfig, reason: &str) -> String {
    let address = match config.source_for(Use::Detect) {
        Some(Source::Rtsp(rtsp)) => hide(&rtsp.url),
        Some(Source::File(file)) => file.path.display().to_string(),
        Some(Source::V4l2(v4l2)) => v4l2.device.display().to_string(),
        _ => return reason.to_owned(),
    };
    if reason.contains(&address) {
        reason.to_owned()
    } else {
        format!("{address}: {reason}")
    }
}

/// A message as one line of JSON. Our own types always have one.
fn line(message: &impl serde::Serialize) -> String {
    serde_json::to_string(message).expect("the protocol's types have string keys only")
}

fn log_transition(camera: &mut Camera, now: Instant) {
    let (state, name) = (camera.health.state(), camera.name.as_str());
    let text = match camera.health.reason() {
        Some(reason) => format!("{}: {reason}", state.name()),
        None => state.name().to_owned(),
    };
    // A camera that flaps goes through the same states again and again.
    if !camera.repeats.is_new(&text, now) {
        return;
    }
    match state {
        // The next attempt after a failure that has been told.
        State::Connecting if camera.health.reason().is_some() => {
            tracing::debug!(camera = name, "{text}");
        }
        State::Connecting | State::Streaming | State::Disabled => {
            tracing::info!(camera = name, "{text}");
        }
        State::Stalled | State::BackingOff => tracing::warn!(camera = name, "{text}"),
        State::AuthFailed | State::Failed => tracing::error!(camera = name, "{text}"),
    }
}

/// Passes a worker's line on.
fn log(level: Level, camera: Option<&str>, message: &str) {
    let (camera, message) = (camera.unwrap_or("-"), hide(message));
    match level {
        Level::Error => tracing::error!(camera, "{message}"),
        Level::Warn => tracing::warn!(camera, "{message}"),
        Level::Info => tracing::info!(camera, "{message}"),
        Level::Debug => tracing::debug!(camera, "{message}"),
    }
}
