//! The supervisor: one task owns the table of cameras, takes commands by channel, starts, watches and stops the workers.
//!
//! It never touches pixels. What a camera's state is and what follows from an event is decided in [`health`]; here it is done.

mod analysing;
mod analysis;
mod backoff;
mod budget;
mod camera;
mod cameras;
mod capturing;
mod configure;
pub mod health;
mod history;
mod memory;
mod pace;
mod process;
mod rate;
mod recording;
mod repeats;
mod ring;
pub mod status;
mod tasks;
mod workers;

use self::analysis::Analysis;
use self::camera::Camera;
use self::cameras::Cameras;
use self::health::Event;
use self::history::History;
use self::memory::Memory;
use self::process::{AnalysisId, CaptureId, Notice, Worker, WorkerEvent};
use self::status::{ProcessStatus, Status};
pub use self::tasks::TaskRefusal;
use self::workers::{News, Workers};
use crate::bus::Bus;
use crate::clock::seconds;
use crate::config::{Change, Config};
use crate::media::Media;
use crate::protocol::{AnalysisCommand, GridAction, Level, LogLine, TaskRequest};
use crate::run_dir::RunDir;
use crate::store::Store;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::libcamera::Offer;
use watchpost_pipelines::secret::hide;
use watchpost_pipelines::tasks::TaskStatus;

/// Time that the supervisor has for an answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How often heads are read and deadlines looked at.
const TICK: Duration = Duration::from_millis(200);
/// A tick that is late by this much was held up by something outside, such as SIGSTOP.
const OWN_SLEEP: Duration = Duration::from_secs(1);
/// Commands waiting for the supervisor.
const COMMANDS: usize = 64;
/// Reports taken before it looks after something else.
const TOGETHER: usize = 64;

/// What can be asked of the supervisor.
#[derive(Debug)]
pub enum Command {
    /// Everything it knows.
    Status(oneshot::Sender<Status>),
    /// Execute a planned change of the configuration.
    Apply(Box<Change>, oneshot::Sender<()>),
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
    /// Act on a camera's region grid. Answers whether there is such a camera.
    Grid {
        /// Which camera.
        camera: String,
        /// The action.
        action: GridAction,
        /// Whether it is known.
        reply: oneshot::Sender<bool>,
    },
    /// Something is asked of a camera's task.
    Task {
        /// Which camera.
        camera: String,
        /// What.
        request: TaskRequest,
        /// How the task is then.
        reply: oneshot::Sender<Result<TaskStatus, TaskRefusal>>,
    },
    /// A camera's configuration, with secrets. Answers nothing where there is no such camera.
    Camera {
        /// Which camera.
        camera: String,
        /// The configuration.
        reply: oneshot::Sender<Option<Box<CameraConfig>>>,
    },
    /// What a camera offers. Answers nothing where it was not asked.
    Offer {
        /// Which camera.
        camera: String,
        /// The offer.
        reply: oneshot::Sender<Option<Offer>>,
    },
    /// How a camera's tasks are. Answers nothing where there is no such camera.
    Tasks {
        /// Which camera.
        camera: String,
        /// How they are.
        reply: oneshot::Sender<Option<Vec<TaskStatus>>>,
    },
    /// Stop everything and end.
    Shutdown,
    /// Stop everything at once.
    Kill,
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
    /// A way to a supervisor that the test plays.
    #[cfg(test)]
    pub(crate) fn for_tests() -> (Self, mpsc::Receiver<Command>) {
        let (commands, questions) = mpsc::channel(COMMANDS);
        (Self { commands }, questions)
    }

    /// What is known now.
    pub async fn status(&self) -> Result<Status, Gone> {
        self.ask(Command::Status).await
    }

    /// Executes a planned change. It is planned once, so that it must not get lost: its way into the queue has no time
    /// limit.
    pub async fn apply(&self, change: Change) -> Result<(), Gone> {
        let (reply, answer) = oneshot::channel();
        self.tell(Command::Apply(Box::new(change), reply)).await?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Gone),
        }
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
    pub async fn grid(&self, camera: &str, action: GridAction) -> Result<bool, Gone> {
        let camera = camera.to_owned();
        self.ask(|reply| Command::Grid {
            camera,
            action,
            reply,
        })
        .await
    }

    /// Asks something of a camera's task.
    pub async fn task(
        &self,
        camera: &str,
        request: TaskRequest,
    ) -> Result<Result<TaskStatus, TaskRefusal>, Gone> {
        let camera = camera.to_owned();
        self.ask(|reply| Command::Task {
            camera,
            request,
            reply,
        })
        .await
    }

    /// A camera's configuration, with secrets; nothing where there is no such camera.
    pub async fn camera(&self, camera: &str) -> Result<Option<Box<CameraConfig>>, Gone> {
        let camera = camera.to_owned();
        self.ask(|reply| Command::Camera { camera, reply }).await
    }

    /// What a camera offers, where its worker has asked it.
    pub async fn offer(&self, camera: &str) -> Result<Option<Offer>, Gone> {
        let camera = camera.to_owned();
        self.ask(|reply| Command::Offer { camera, reply }).await
    }

    /// How a camera's tasks are; nothing where there is no such camera.
    pub async fn tasks(&self, camera: &str) -> Result<Option<Vec<TaskStatus>>, Gone> {
        let camera = camera.to_owned();
        self.ask(|reply| Command::Tasks { camera, reply }).await
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
        tokio::time::timeout(ANSWER, exchange)
            .await
            .unwrap_or(Err(Gone))
    }
}

/// Decides. What it decides about has three owners, none of which knows another: the cameras, the workers and the memory
/// of the rings.
pub struct Supervisor {
    config: Config,
    config_error: Option<String>,
    cameras: Cameras,
    workers: Workers,
    memory: Memory,
    data_dir: PathBuf,
    history: History,
    recording: Option<recording::Recording>,
    started: SystemTime,
    commands: mpsc::Receiver<Command>,
    ending: bool,
    /// The last tick, to see that this process itself did not run (stopped, or the machine busy).
    ticked: Instant,
}

impl Supervisor {
    /// A supervisor for this configuration; nothing is started before [`Supervisor::run`].
    pub fn new(
        first: &Change,
        run_dir: RunDir,
        bus: Bus,
        (store, media): (Option<Arc<Store>>, Option<Media>),
    ) -> (Self, Handle) {
        let (command_sender, commands) = mpsc::channel(COMMANDS);
        let supervisor = Self {
            config: Config::default(),
            config_error: None,
            cameras: Cameras::default(),
            workers: Workers::new(run_dir),
            memory: Memory::of_system(),
            data_dir: crate::data_dir::choose(first.config.data_dir.as_deref()),
            history: History::new(bus, store, media),
            recording: None,
            started: SystemTime::now(),
            commands,
            ending: false,
            ticked: Instant::now(),
        };
        let handle = Handle {
            commands: command_sender,
        };
        (supervisor, handle)
    }

    /// Works until told to stop and everything has ended.
    pub async fn run(mut self, first: Change) {
        self.forget_strangers(&first);
        self.history.begin_tasks().await;
        self.apply(first);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => self.shut_down(),
                },
                news = self.workers.next() => {
                    if self.take_together(news) {
                        continue;
                    }
                }
                _ = tick.tick() => self.tick(),
            }
            self.reconcile();
            if self.ending && self.cameras.is_empty() && !self.workers.has_analyses() {
                tracing::info!("everything has stopped");
                return;
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            // Whoever asked may have gone away meanwhile.
            Command::Status(reply) => drop(reply.send(self.status())),
            Command::Apply(change, reply) => {
                if !self.ending {
                    self.apply(*change);
                }
                let _ = reply.send(());
            }
            Command::ConfigError(error) => self.refuse_config(error),
            Command::Moving {
                camera,
                moving,
                reply,
            } => {
                let known = self.cameras.contains(&camera);
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
                action,
                reply,
            } => {
                let _ = reply.send(self.act_on_grid(&camera, action));
            }
            Command::Task {
                camera,
                request,
                reply,
            } => self.ask_task(&camera, request, reply),
            Command::Camera { camera, reply } => {
                let camera = self.cameras.get(&camera);
                let _ = reply.send(camera.map(|camera| Box::new(camera.config.clone())));
            }
            Command::Offer { camera, reply } => {
                let camera = self.cameras.get(&camera);
                let _ = reply.send(camera.and_then(|camera| camera.offer.clone()));
            }
            Command::Tasks { camera, reply } => {
                let _ = reply.send(self.cameras.get(&camera).map(Camera::task_statuses));
            }
            Command::Shutdown => self.shut_down(),
            Command::Kill => {
                self.shut_down();
                self.workers.kill();
            }
        }
    }

    fn act_on_grid(&mut self, camera: &str, action: GridAction) -> bool {
        if !self.cameras.contains(camera) {
            return false;
        }
        if action == GridAction::Reset {
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
                .iter()
                .filter(|c| c.leaving.as_ref().is_none_or(|l| l.next.is_some()))
                .map(|c| {
                    let capture = self.workers.capture(&c.name);
                    c.status(capture.map(Worker::pid), self.analysis_of(c), now)
                })
                .collect(),
            processes: self.processes(),
        }
    }

    fn processes(&self) -> Vec<ProcessStatus> {
        let own = ProcessStatus::named("supervisor".into(), std::process::id());
        std::iter::once(own)
            .chain(self.workers.processes())
            .collect()
    }

    /// The worker that analyses a camera, or should.
    fn analysis_of(&self, camera: &Camera) -> Option<&Analysis> {
        let id = match camera.analysis.attached_to() {
            Some((id, _)) => id.clone(),
            None => camera.analysis.worker_for(&camera.name),
        };
        self.workers.analysis(&id)
    }

    fn shut_down(&mut self) {
        if self.ending {
            return;
        }
        tracing::info!("stopping");
        self.ending = true;
        for name in self.cameras.names() {
            self.leave(&name, None);
        }
    }

    /// Handles this event and those that wait behind it: reports come several at a time. Answers whether all of them
    /// were routine, so that nothing has to be started or stopped.
    fn take_together(&mut self, first: News) -> bool {
        let mut is_routine = first.is_routine();
        self.take(first);
        for _ in 0..TOGETHER {
            let Some(news) = self.workers.try_next() else {
                break;
            };
            is_routine &= news.is_routine();
            self.take(news);
        }
        is_routine
    }

    fn take(&mut self, news: News) {
        match news {
            News::Capture(event) => self.capture_event(event),
            News::Analysis(event) => self.analysis_event(event),
            News::Monitored(monitored) => self.monitored(monitored),
        }
    }

    fn capture_event(&mut self, event: WorkerEvent<CaptureId>) {
        let WorkerEvent { id, run, notice } = event;
        let CaptureId(name) = id;
        // A report of a worker that has been given up already.
        if !self.workers.is_capture_run(&name, run) {
            return;
        }
        match notice {
            Notice::Report(report) => self.capture_report(&name, report),
            Notice::Exited(reason) | Notice::Killed(reason) => self.capture_gone(&name, reason),
            Notice::Stuck(reason) => {
                tracing::error!(camera = name, "{reason}; it is replaced");
                // It still holds its socket, and a living writer's is not taken over.
                self.workers.remove_socket(&name);
                self.capture_gone(&name, reason);
            }
        }
    }

    fn analysis_event(&mut self, event: WorkerEvent<AnalysisId>) {
        let WorkerEvent { id, run, notice } = event;
        let known = self
            .workers
            .analysis(&id)
            .is_some_and(|analysis| analysis.is_run(run));
        if !known {
            return;
        }
        match notice {
            Notice::Report(report) => self.analysis_report(&id, report),
            Notice::Exited(reason) | Notice::Stuck(reason) => {
                self.analysis_gone(&id, &reason, true);
            }
            Notice::Killed(reason) => self.analysis_gone(&id, &reason, false),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        let asleep = now.duration_since(self.ticked).saturating_sub(TICK);
        if asleep >= OWN_SLEEP {
            self.excuse_analyses(asleep);
        }
        self.ticked = now;
        for name in self.cameras.names() {
            self.read_head(&name, now);
            if self.cameras.get(&name).is_some_and(|c| c.board.exclusive) {
                self.handle(&name, Event::Busy);
            }
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
        self.order_recorders();
        self.replace_hanging(now);
    }

    fn reconcile(&mut self) {
        let now = Instant::now();
        self.start_and_stop_analyses(now);
        self.attach_and_detach(now);
        self.finish_leaving(now);
    }
}

/// Passes a worker's line on.
fn log(camera: Option<&str>, line: &LogLine) {
    let (camera, message) = (camera.unwrap_or("-"), hide(&line.message));
    match line.level {
        Level::Error => tracing::error!(camera, "{message}"),
        Level::Warn => tracing::warn!(camera, "{message}"),
        Level::Info => tracing::info!(camera, "{message}"),
        Level::Debug => tracing::debug!(camera, "{message}"),
    }
}
