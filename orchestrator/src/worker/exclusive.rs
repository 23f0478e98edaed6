//! A task that has the camera for itself, step by step: drives the state machine of `watchpost_pipelines::tasks::Exclusive`.
//!
//! Steps that may hang (stopping a camera above all) are done in a thread of their own: the worker goes on listening, and a
//! deadline that passes is a failure like another. What hangs in the kernel only ends with the process, so a camera that is
//! failed ends it, and the supervisor starts another.

use super::link::Waker;
use super::running::Running;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};
use watchpost_pipelines::tasks::{Exclusive, Outcome, Parameters, Step, TaskId};

/// What a step leaves.
pub enum Done {
    /// Nothing.
    Nothing,
    /// A camera.
    Camera(Box<Running>),
}

/// A step that is being done in the background.
pub type Doing = Receiver<Result<Done, String>>;

/// One task's turn with the camera.
pub struct Turn {
    machine: Exclusive,
    begun: Instant,
    /// The task whose turn it is.
    pub id: TaskId,
    /// What it is for.
    pub parameters: Parameters,
    /// It was stopped before it had its turn.
    pub cancelled: bool,
    /// The step that was begun, and what it is waited for.
    doing: Option<(Step, Option<Doing>)>,
}

/// What is to be done next.
pub enum Next {
    /// Begin this step.
    Begin(Step),
    /// A step in the background has left a camera.
    Camera(Box<Running>),
    /// Nothing, until something happens.
    Wait,
    /// It is over.
    Over(Outcome),
}

impl Turn {
    /// Begins; `task_time` is what the task itself may take.
    pub fn begin(id: TaskId, parameters: Parameters, task_time: Duration) -> Self {
        Self {
            machine: Exclusive::begin(task_time, Duration::ZERO),
            begun: Instant::now(),
            id,
            parameters,
            cancelled: false,
            doing: None,
        }
    }

    /// The step it is at.
    pub fn step(&self) -> Option<Step> {
        self.machine.step()
    }

    /// When to look again at the latest.
    pub fn due_in(&self) -> Duration {
        let deadline = self.machine.deadline().unwrap_or_default();
        // A camera that has just been started says by its first frame that it has.
        let soon = Duration::from_millis(20);
        match self.machine.step() {
            Some(Step::StartForTask | Step::StartForLive) => soon,
            _ => deadline
                .saturating_sub(self.begun.elapsed())
                .min(Duration::from_secs(1)),
        }
    }

    /// The step was begun; `doing` tells when it is done, or it is told by [`Turn::done`].
    pub fn begun(&mut self, step: Step, doing: Option<Doing>) {
        self.doing = Some((step, doing));
    }

    /// The step at hand is done.
    pub fn done(&mut self) {
        self.doing = None;
        self.machine.done(self.begun.elapsed());
    }

    /// The step at hand has failed.
    pub fn failed(&mut self, reason: &str) {
        self.doing = None;
        self.machine.failed(reason, self.begun.elapsed());
    }

    /// What follows, by what has happened since.
    pub fn next(&mut self) -> Next {
        let Some(step) = self.machine.step() else {
            return match self.machine.outcome() {
                Some(outcome) => Next::Over(outcome),
                None => Next::Wait,
            };
        };
        let result = match &self.doing {
            Some((at, doing)) if *at == step => doing.as_ref().and_then(|d| match d.try_recv() {
                Ok(result) => Some(result),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err("internal error, see the log".into())),
            }),
            _ => return Next::Begin(step),
        };
        match result {
            Some(Ok(Done::Nothing)) => self.done(),
            Some(Ok(Done::Camera(camera))) => {
                self.done();
                return Next::Camera(camera);
            }
            Some(Err(reason)) => self.failed(&reason),
            None => {
                if self.machine.tick(self.begun.elapsed()) {
                    self.doing = None;
                } else {
                    return Next::Wait;
                }
            }
        }
        self.next()
    }

    /// Milliseconds of every step so far, for the log.
    pub fn trace(&self) -> String {
        let steps = self.machine.trace();
        let ends = steps.iter().skip(1).map(|(_, at)| *at);
        let ends = ends.chain([self.begun.elapsed()]);
        let text = |((step, at), end): (&(Step, Duration), Duration)| {
            format!("{step} {} ms", end.saturating_sub(*at).as_millis())
        };
        steps
            .iter()
            .zip(ends)
            .map(text)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

/// Does something in a thread of its own and wakes the worker when it is done.
pub fn in_background(
    waker: &Waker,
    work: impl FnOnce() -> Result<Done, String> + Send + 'static,
) -> Doing {
    let (sender, doing) = sync_channel(1);
    let waker = waker.clone();
    let spawned = std::thread::Builder::new()
        .name("exclusive".into())
        .spawn(move || {
            // Nobody waits any more for a step whose deadline has passed.
            let _ = sender.send(work());
            waker.wake();
        });
    if let Err(error) = spawned {
        tracing::error!("cannot start a thread: {error}");
    }
    doing
}
