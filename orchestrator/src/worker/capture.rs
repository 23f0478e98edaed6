//! The capture worker: one camera's frames into its ring and to its tasks.

use super::exclusive::{Done, Next, Turn, in_background};
use super::feeds::Feeds;
use super::link::{self, Input, Waker, report};
use super::packets::PacketRings;
use super::recording::Recording;
use super::running::{End, Running};
use super::tasks::{Tasks, time_of};
use crate::protocol::{CaptureCommand, CaptureReport, TaskRequest};
use crate::run_dir::LIVE_SOCKET;
use anyhow::{Context, Result, bail};
use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::Role;
use watchpost_pipelines::capture::{self, Setup};
use watchpost_pipelines::fault::Fault;
use watchpost_pipelines::libcamera::Offer;
use watchpost_pipelines::record::Order;
use watchpost_pipelines::spec::CaptureSpec;
use watchpost_pipelines::tasks::{
    Conflict, MediaFolder, Outcome, Parameters, Step, Taps, Task, TaskId, TaskState, Use, why_not,
};

/// From EOS to ending anyway.
const DRAIN: Duration = Duration::from_millis(600);
/// Time until a new reader of a packet ring is noticed.
const PACKET_READERS: Duration = Duration::from_millis(200);
/// Tasks that may wait for their turn with the camera.
const TURNS: usize = 8;

/// Reads the specification, runs the camera until its input ends or something fails.
pub fn run() -> Result<ExitCode> {
    let (inputs, waker) = link::start::<CaptureReport>()?;
    let first = match inputs.recv() {
        Ok(Input::Line(line)) => line,
        _ => bail!("a worker is started by `watchpost run`, and told on its input what to do"),
    };
    let spec: CaptureSpec = serde_json::from_str(&first).context("the specification")?;
    gst::init().context("GStreamer")?;
    gstshmring::plugin_register_static().context("plugin shmring")?;
    gsttestscene::plugin_register_static().context("plugin testscene")?;
    match Worker::start(spec, &waker) {
        Ok(mut worker) => worker.work(&inputs),
        Err(fault) => report(&CaptureReport::Fault(fault)),
    }
    Ok(ExitCode::SUCCESS)
}

struct Worker {
    spec: CaptureSpec,
    waker: Waker,
    /// What the camera serves when no task has it to itself.
    setup: Setup,
    /// What the camera offers, where it was asked.
    offer: Option<Offer>,
    /// None while a task has it to itself, or it changes hands.
    running: Option<Running>,
    /// Further sources of the camera.
    feeds: Feeds,
    packets: PacketRings,
    recording: Recording,
    tasks: Tasks,
    turn: Option<Turn>,
    queue: VecDeque<(TaskId, Parameters)>,
    end_by: Option<Instant>,
}

/// Files that an earlier run of this camera was writing when it was killed; in a thread of its own, since their
/// thumbnails take time.
fn adopt(folder: &MediaFolder) {
    let folder = folder.clone();
    std::thread::spawn(move || {
        let (files, problems) = folder.adopt_with_thumbnails();
        for file in files {
            tracing::info!(
                "{}: cut off when its process ended, and plays up to then",
                file.name
            );
            report(&CaptureReport::File(file));
        }
        for problem in problems {
            tracing::warn!("{problem}");
        }
    });
}

impl Worker {
    fn start(spec: CaptureSpec, waker: &Waker) -> Result<Self, Fault> {
        let offer = capture::ask(&spec.camera)?;
        if let Some(offer) = &offer {
            // They always run, so a camera that cannot serve them as they are set does not run.
            for one in [Use::Detect, Use::Live] {
                if let Some(reason) = why_not(&spec.camera, one, Some(offer)) {
                    return Err(Fault::permanent(reason));
                }
            }
            report(&offer_report(&spec.camera, offer));
        }
        let setup = Setup::standing(&spec.camera, offer.as_ref());
        let capture = capture::build(&spec, &setup)?;
        for text in capture.not_applied() {
            tracing::info!("not applied: {text}");
        }
        let running = Running::new(capture, &spec, waker);
        running.capture().start()?;
        let live_socket = spec.socket_path.with_file_name(LIVE_SOCKET);
        let folder = MediaFolder::new(&spec.data_dir, &spec.name);
        adopt(&folder);
        let tasks = Tasks::new(&spec.camera, live_socket, folder, waker);
        Ok(Self {
            setup,
            offer,
            feeds: Feeds::new(&spec, waker),
            packets: PacketRings::new(&spec.camera, &spec.socket_path),
            waker: waker.clone(),
            running: Some(running),
            recording: Recording::new(&spec.name),
            tasks,
            turn: None,
            queue: VecDeque::new(),
            end_by: None,
            spec,
        })
    }

    fn work(&mut self, inputs: &Receiver<Input>) {
        loop {
            match inputs.recv_timeout(self.patience()) {
                Ok(Input::Line(line)) => match serde_json::from_str(&line) {
                    Ok(CaptureCommand::Stop) => self.finish(),
                    Ok(CaptureCommand::Record(order)) => self.record(order),
                    Ok(CaptureCommand::Task { id, request }) => {
                        let task = request.id();
                        let answer = self.request(request).map(|()| {
                            // Most begin at once, and the answer says so.
                            self.start_waiting();
                            self.tasks.status(task)
                        });
                        report(&CaptureReport::TaskAnswer { id, answer });
                    }
                    Err(error) => tracing::error!("unknown command: {error}"),
                },
                Ok(Input::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => self.finish(),
            }
            if let Err(end) = self.look() {
                if self.end_by.is_none() {
                    report(&end.report());
                }
                // Files that were begun are closed with what there is.
                self.recording.stop();
                self.tasks.stop_all();
                let deadline = *self.end_by.get_or_insert_with(|| Instant::now() + DRAIN);
                while (self.tasks.is_writing() || self.recording.is_writing())
                    && Instant::now() < deadline
                {
                    let _ = inputs.recv_timeout(Duration::from_millis(20));
                    self.tasks.take_news(None);
                }
                return;
            }
            if self.end_by.is_some_and(|by| Instant::now() >= by) {
                return;
            }
        }
    }

    /// How long nothing has to be done unless something happens.
    fn patience(&self) -> Duration {
        let mut wait = Duration::from_secs(1);
        if let Some(running) = &self.running {
            wait = running.figures_due_in();
        }
        if let Some(by) = self.end_by {
            wait = wait.min(by.saturating_duration_since(Instant::now()));
        }
        if let Some(turn) = &self.turn {
            wait = wait.min(turn.due_in());
        }
        if self.tasks.is_waiting() {
            wait = wait.min(Duration::from_millis(50));
        }
        // Readers of packet rings come without a word to this thread.
        wait = wait.min(PACKET_READERS);
        wait
    }

    /// What is on its way still reaches the ring, and what is being written is closed.
    fn finish(&mut self) {
        if self.end_by.is_none() {
            self.end_by = Some(Instant::now() + DRAIN);
            self.packets.release();
            self.recording.stop();
            self.tasks.stop_all();
            match &self.running {
                Some(running) => running.capture().finish(),
                // A task has the camera; there is no ring to fill.
                None => self.end_by = Some(Instant::now() + DRAIN / 2),
            }
        }
    }

    /// Takes what has happened since the last look.
    fn look(&mut self) -> Result<(), End> {
        let in_turn = self.turn.is_some();
        if let Some(running) = &mut self.running {
            match running.take_messages() {
                // The camera of a turn fails its step only.
                Some(end) if in_turn => {
                    if let Some(turn) = &mut self.turn {
                        turn.failed(&end.reason());
                    }
                }
                Some(end) => return Err(end),
                None => {}
            }
            running.look();
            if running.figures_due_in().is_zero()
                && let Some(end) = running.tell_figures()
                && !in_turn
            {
                return Err(end);
            }
        }
        let turn = self.turn.as_ref().map(|turn| turn.id);
        for (id, result) in self.tasks.take_news(turn) {
            if self.end_by.is_none() {
                self.task_ended(id, result);
            }
        }
        if self.end_by.is_none() {
            self.start_waiting();
            let packets = &self.packets;
            self.feeds.look(
                |task| self.tasks.is_any_under_way(task),
                |role| packets.needs(role),
            );
            self.keep_recording();
            self.update_packets();
            self.take_turns()?;
        }
        Ok(())
    }

    fn request(&mut self, request: TaskRequest) -> Result<(), String> {
        if self.end_by.is_some() {
            return Err("the camera is stopping".into());
        }
        match request {
            TaskRequest::Start { id, parameters } => self.ask(id, parameters),
            TaskRequest::Pause(id) => {
                if self.turn.as_ref().is_some_and(|turn| turn.id == id) {
                    return Err(format!(
                        "{id} has the camera to itself, which would rest with it; stop it instead"
                    ));
                }
                self.tasks.pause(id)?;
                self.queue.retain(|(waiting, _)| *waiting != id);
                self.show_queue();
                Ok(())
            }
            TaskRequest::Resume(id) => {
                let Some(parameters) = self.tasks.resume(id)? else {
                    return Ok(());
                };
                self.tasks.again(id);
                if !self.is_served(&parameters) {
                    self.queue.push_back((id, parameters));
                    self.show_queue();
                }
                Ok(())
            }
            TaskRequest::Stop(id) => {
                self.queue.retain(|(waiting, _)| *waiting != id);
                match self.turn.as_mut().filter(|turn| turn.id == id) {
                    // It is over when it has given the camera back.
                    Some(turn) => {
                        turn.cancelled = true;
                        self.tasks.stop_work(id);
                    }
                    None => self.tasks.stop(id),
                }
                Ok(())
            }
        }
    }

    fn ask(&mut self, id: TaskId, parameters: Parameters) -> Result<(), String> {
        let task = id.task();
        if self.tasks.is_under_way(id) {
            return match task {
                Task::Live => Ok(()),
                Task::Photo | Task::RawPhoto => Err(format!("{task}: one is being taken already")),
                _ => Err(format!("{id} is under way already; stop it first")),
            };
        }
        if let Parameters::Video(video) = &parameters
            && video.is_over()
        {
            return Err(format!("{id}: its time is over"));
        }
        if !self.feeds.serve(task)
            && let Some(reason) =
                why_not_any(&self.spec.camera, &parameters.uses(), self.offer.as_ref())
        {
            return Err(format!("{id}: {reason}"));
        }
        if self.is_served(&parameters) {
            self.tasks
                .ask(id, parameters, "waiting for the camera's first picture");
            return Ok(());
        }
        if task == Task::Live {
            return Err("live cannot have the camera to itself".into());
        }
        let offer = self.offer.as_ref();
        if let Err(conflicts) = Setup::alone(&self.spec.camera, &parameters.uses(), offer) {
            return Err(format!("{id}: {}", Conflict::list(&conflicts)));
        }
        if self.queue.len() >= TURNS {
            return Err(format!(
                "{TURNS} tasks wait for the camera already; ask again later"
            ));
        }
        self.tasks.ask(
            id,
            parameters.clone(),
            "waiting for its turn with the camera",
        );
        self.queue.push_back((id, parameters));
        self.show_queue();
        Ok(())
    }

    /// Whether a task runs side by side with what runs.
    fn is_served(&mut self, parameters: &Parameters) -> bool {
        self.feeds.serve(parameters.task()) || self.setup.serves(&parameters.uses())
    }

    /// Tells everyone in the queue their place.
    fn show_queue(&mut self) {
        let ahead = usize::from(self.turn.is_some());
        for (index, (id, _)) in self.queue.iter().enumerate() {
            let place = index + ahead;
            if place > 0 {
                let text = format!("waiting for its turn with the camera, {place} before it");
                self.tasks.show(*id, TaskState::Waiting, Some(text));
            }
        }
    }

    /// Where a task takes its frames from, once there are any.
    fn taps_of(running: Option<&Running>, feeds: &Feeds, task: Task) -> Option<Taps> {
        match feeds.taps(task) {
            Some(taps) => taps,
            None => running?.taps(),
        }
    }

    /// Starts what was asked for and waits for a picture only.
    fn start_waiting(&mut self) {
        if self.turn.is_some() {
            return;
        }
        for id in self.tasks.waiting() {
            let task = id.task();
            if self.queue.iter().any(|(waiting, _)| *waiting == id) {
                continue;
            }
            let Some(taps) = Self::taps_of(self.running.as_ref(), &self.feeds, task) else {
                if let Some(failure) = self.feeds.failure(task) {
                    self.tasks.source_failed(id, failure);
                }
                continue;
            };
            if let Err(reason) = self.tasks.start(id, &taps, false) {
                self.tasks.end(id, Err(reason));
            }
        }
        let taps = Self::taps_of(self.running.as_ref(), &self.feeds, Task::Video);
        self.tasks.keep_encoded(taps.as_ref());
    }

    /// Starts and stops encoded streams as the readers of the packet rings need them.
    fn update_packets(&mut self) {
        if self.turn.is_some() {
            return;
        }
        let (running, feeds, tasks) = (self.running.as_ref(), &self.feeds, &mut self.tasks);
        self.packets.update(|role| match role {
            Role::Record => {
                Self::taps_of(running, feeds, Task::Video).map(|taps| tasks.encoded_stream(&taps))
            }
            Role::Live => {
                Self::taps_of(running, feeds, Task::Live).map(|taps| tasks.separate_stream(&taps))
            }
            Role::Detect => running?.taps().map(|taps| tasks.separate_stream(&taps)),
        });
    }

    fn record(&mut self, order: Order) {
        let records = order.pre_roll > 0.0;
        self.feeds.record(records);
        self.tasks.record(records);
        self.recording.order(order);
    }

    /// Starts the recorder where it is wanted and there are pictures.
    fn keep_recording(&mut self) {
        if self.turn.is_some() || !self.recording.is_due() {
            return;
        }
        if let Some(taps) = Self::taps_of(self.running.as_ref(), &self.feeds, Task::Video) {
            let stream = self.tasks.recorded_stream(&taps);
            self.recording.start(stream);
        }
    }

    fn task_ended(&mut self, id: TaskId, result: Result<(), String>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.id == id) else {
            return;
        };
        if turn.step() == Some(Step::RunTask) {
            match result {
                Ok(()) => turn.done(),
                Err(reason) => turn.failed(&reason),
            }
        }
    }

    /// Goes on with the task that has the camera to itself, or gives it to the next one.
    fn take_turns(&mut self) -> Result<(), End> {
        if self.turn.is_none() {
            // A camera that has not started yet is not taken away.
            if self
                .running
                .as_ref()
                .is_none_or(|running| running.taps().is_none())
            {
                return Ok(());
            }
            let Some((id, parameters)) = self.queue.pop_front() else {
                return Ok(());
            };
            let time = time_of(&parameters);
            self.turn = Some(Turn::begin(id, parameters, time));
            self.show_queue();
        }
        loop {
            let Some(turn) = &mut self.turn else {
                return Ok(());
            };
            match turn.next() {
                Next::Wait => {
                    let started =
                        matches!(turn.step(), Some(Step::StartForTask | Step::StartForLive))
                            && self.running.as_ref().is_some_and(|r| r.taps().is_some());
                    if !started {
                        return Ok(());
                    }
                    turn.done();
                }
                Next::Camera(camera) => self.running = Some(*camera),
                Next::Begin(step) => self.begin(step),
                Next::Over(outcome) => return self.turn_over(outcome),
            }
        }
    }

    /// Begins a step of the turn at hand.
    fn begin(&mut self, step: Step) {
        let Some(turn) = &mut self.turn else { return };
        let id = turn.id;
        tracing::info!("{id} has the camera to itself: {step}");
        let detail = Some(format!("it has the camera to itself: {step}"));
        self.tasks.show(id, TaskState::Exclusive, detail);
        match step {
            Step::PauseLive => {
                report(&CaptureReport::Exclusive { active: true });
                turn.begun(step, None);
                turn.done();
            }
            // The encoder of the live picture, and what else takes frames.
            Step::StopLiveEncoder => {
                self.packets.release();
                self.recording.stop();
                self.tasks.detach(id);
                turn.begun(step, None);
                turn.done();
            }
            Step::StopCamera | Step::StopAfterTask => {
                let camera = self.running.take();
                let doing = in_background(&self.waker, move || {
                    drop(camera);
                    Ok(Done::Nothing)
                });
                turn.begun(step, Some(doing));
            }
            Step::ConfigureForTask | Step::ConfigureForLive => {
                let (spec, waker) = (self.spec.clone(), self.waker.clone());
                let (setup, offer) = (self.setup.clone(), self.offer.clone());
                let uses = turn.parameters.uses();
                let doing = in_background(&self.waker, move || {
                    let capture = if step == Step::ConfigureForLive {
                        capture::build(&spec, &setup)
                    } else {
                        build_alone(&spec, &uses, offer.as_ref())
                    };
                    let capture = capture.map_err(|fault| fault.reason)?;
                    let running = Running::new(capture, &spec, &waker);
                    Ok(Done::Camera(Box::new(running)))
                });
                turn.begun(step, Some(doing));
            }
            Step::StartForTask | Step::StartForLive => {
                turn.begun(step, None);
                let started = self
                    .running
                    .as_ref()
                    .map(|running| running.capture().start());
                if let Some(Err(fault)) = started {
                    turn.failed(&fault.reason);
                }
            }
            Step::RunTask if turn.cancelled => {
                turn.begun(step, None);
                turn.done();
            }
            Step::RunTask => {
                turn.begun(step, None);
                let taps = self.running.as_ref().and_then(Running::taps);
                let taps = taps.ok_or_else(|| "no picture came".to_owned());
                if let Err(reason) = taps.and_then(|taps| self.tasks.start(id, &taps, true)) {
                    turn.failed(&reason);
                }
            }
            Step::StopTaskEncoder => {
                // It has ended by itself, and its files are closed.
                turn.begun(step, None);
                turn.done();
            }
            Step::StartLiveEncoder => {
                turn.begun(step, None);
                let (running, feeds) = (self.running.as_ref(), &self.feeds);
                self.tasks
                    .attach(&|task| Self::taps_of(running, feeds, task));
                turn.done();
            }
            Step::ResumeLive => {
                report(&CaptureReport::Exclusive { active: false });
                turn.begun(step, None);
                turn.done();
            }
        }
    }

    fn turn_over(&mut self, outcome: Outcome) -> Result<(), End> {
        let Some(turn) = self.turn.take() else {
            return Ok(());
        };
        let id = turn.id;
        tracing::info!("{id} has given the camera back: {}", turn.trace());
        match outcome {
            Outcome::Live(failure) => {
                self.tasks.end(
                    id,
                    failure.map_or(Ok(()), |failure| Err(failure.to_string())),
                );
                self.show_queue();
                Ok(())
            }
            Outcome::Failed(failures) => {
                let reasons: Vec<_> = failures.iter().map(ToString::to_string).collect();
                let reason = format!(
                    "the camera did not come back from {id}: {}",
                    reasons.join("; ")
                );
                self.tasks.end(id, Err(reason.clone()));
                Err(End::Failed(Fault::source(reason)))
            }
        }
    }
}

/// Why a camera cannot serve one of these uses.
fn why_not_any(camera: &CameraConfig, uses: &[Use], offer: Option<&Offer>) -> Option<String> {
    uses.iter().find_map(|one| why_not(camera, *one, offer))
}

fn offer_report(camera: &CameraConfig, offer: &Offer) -> CaptureReport {
    let reason = |task: Task| Some((task, why_not(camera, task.camera_use(), Some(offer))?));
    CaptureReport::Offer {
        offer: Box::new(offer.clone()),
        unavailable: Task::ALL.into_iter().filter_map(reason).collect(),
    }
}

/// The camera for these uses alone, without a ring.
fn build_alone(
    spec: &CaptureSpec,
    uses: &[Use],
    offer: Option<&Offer>,
) -> Result<capture::Capture, Fault> {
    let setup = Setup::alone(&spec.camera, uses, offer)
        .map_err(|conflicts| Fault::permanent(Conflict::list(&conflicts)))?;
    let source = spec.camera.primary_source();
    let source = source.ok_or_else(|| Fault::permanent("the camera has no source"))?;
    capture::build_from(source, &setup, &spec.camera, &spec.failed_decoders, None)
}
