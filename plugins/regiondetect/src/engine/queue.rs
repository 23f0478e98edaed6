//! The queue between cameras and workers.
//!
//! Everything lies under one lock that is held for moments only: free inputs, who waits for one (first come, first
//! served, one input each turn), and inputs to be run. Whoever waits has a condition of its own, so that nobody is woken
//! for nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use detection::Detection;
use regiondetect_core::decode::Model;
use regiondetect_core::tensor::{Shown, TensorMut};

use super::input::Input;
use super::{Engine, RunError, lock};

/// How long closing waits for a run that is under way.
const CLOSING: Duration = Duration::from_secs(5);

/// A job that waits longer than this for a session calls for one more.
const PATIENCE: Duration = Duration::from_millis(3);

/// What an engine has done, for all its clients together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineStats {
    /// Model inputs that were run.
    pub inferences: u64,
    /// Runs of the model; fewer than inputs where several went into one.
    pub runs: u64,
    /// Time the model ran, all sessions together.
    pub inference_time: Duration,
    /// Time inputs waited for a session, all together.
    pub queue_time: Duration,
    /// Sessions there are.
    pub sessions: usize,
}

/// One input to be run.
#[derive(Debug)]
pub(super) struct Job {
    pub input: Input,
    pub min_score: f32,
    pub queued: Instant,
    reply: Arc<Reply>,
    frame: u64,
    index: usize,
    /// Travels along so that the result has memory.
    pub found: Vec<Detection>,
}

/// Where the results of one client's frame come together.
#[derive(Debug, Default)]
struct Reply {
    state: Mutex<Results>,
    /// With the queue's lock: an input is free, and it is this client's turn.
    turn: Condvar,
    /// With this reply's lock: all results are there.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Results {
    frame: u64,
    expected: usize,
    arrived: usize,
    found: Vec<Vec<Detection>>,
    error: Option<String>,
    times: FrameTimes,
}

#[derive(Debug)]
pub(super) struct State {
    free: Vec<Input>,
    waiting: VecDeque<(u64, Arc<Reply>)>,
    jobs: VecDeque<Job>,
    /// Working memory for results, handed round with the jobs.
    spare: Vec<Vec<Detection>>,
    pub sessions: usize,
    idle: usize,
    wanted: bool,
    starting: bool,
    closing: bool,
    stats: EngineStats,
}

/// The queue of one engine.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    /// A worker has ended.
    ended: Condvar,
    /// A session more is wanted.
    pub grow: Condvar,
    max_sessions: usize,
    max_batch: usize,
    next_client: AtomicU64,
}

impl Queue {
    pub fn new(model: &Model, inputs: usize, max_sessions: usize, max_batch: usize) -> Arc<Self> {
        let free = (0..inputs).map(|_| Input::new(&model.input, 1)).collect();
        Arc::new(Self {
            state: Mutex::new(State {
                free,
                waiting: VecDeque::new(),
                jobs: VecDeque::with_capacity(inputs),
                spare: Vec::new(),
                sessions: 0,
                idle: 0,
                wanted: false,
                starting: false,
                closing: false,
                stats: EngineStats::default(),
            }),
            work: Condvar::new(),
            ended: Condvar::new(),
            grow: Condvar::new(),
            max_sessions,
            max_batch,
            next_client: AtomicU64::new(0),
        })
    }

    pub fn stats(&self) -> EngineStats {
        let state = lock(&self.state);
        EngineStats {
            sessions: state.sessions,
            ..state.stats
        }
    }

    /// Ends the workers; those that are running get a moment to finish.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closing = true;
        self.work.notify_all();
        self.grow.notify_all();
        // A run that hangs inside a driver must not hang the pipeline too.
        let _ = self
            .ended
            .wait_timeout_while(state, CLOSING, |state| state.sessions > 0 || state.starting);
    }

    /// The next jobs for a worker that has nothing to do, as many as it should run together. `false`: the end.
    pub fn next(&self, jobs: &mut Vec<Job>) -> bool {
        let mut state = lock(&self.state);
        state.idle += 1;
        while state.jobs.is_empty() && !state.closing {
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.idle -= 1;
        if state.closing {
            return false;
        }
        // Work is shared with those who wait for some; only what is left over is worth running together.
        let share = state.jobs.len().div_ceil(state.idle + 1);
        let count = share.min(self.max_batch);
        jobs.extend(state.jobs.drain(..count));
        // Work had to wait for hands, or still does: a session more pays, if there may be one.
        let waited = jobs
            .first()
            .is_some_and(|job| job.queued.elapsed() > PATIENCE);
        let more = state.jobs.len() > state.idle;
        if (waited || more) && state.sessions < self.max_sessions && !state.starting {
            state.wanted = true;
            self.grow.notify_one();
        }
        true
    }

    /// Takes back the inputs of jobs that were run, and tells their clients.
    pub fn finish(
        &self,
        jobs: &mut Vec<Job>,
        outcome: Result<FrameTimes, String>,
        started: Instant,
    ) {
        let mut state = lock(&self.state);
        state.stats.runs += 1;
        state.stats.inferences += jobs.len() as u64;
        if let Ok(took) = outcome {
            state.stats.inference_time += took.inference;
        }
        let share = jobs.len().max(1) as u32;
        for job in jobs.drain(..) {
            let queue_time = started.saturating_duration_since(job.queued);
            state.stats.queue_time += queue_time;
            let outcome = outcome.as_ref().map(|took| FrameTimes {
                inference: took.inference / share,
                decode: took.decode / share,
                queue: queue_time,
            });
            let left = job.reply.deliver(job.frame, job.index, job.found, outcome);
            state.spare.extend(left);
            state.free.push(job.input);
        }
        self.wake_waiting(&state);
    }

    /// As many clients as there are free inputs, in their order.
    fn wake_waiting(&self, state: &State) {
        for (_, reply) in state.waiting.iter().take(state.free.len()) {
            reply.turn.notify_one();
        }
    }

    /// A free input, when it is this client's turn.
    fn take_input(&self, client: u64, reply: &Arc<Reply>, deadline: Instant) -> Option<Input> {
        let mut state = lock(&self.state);
        state.waiting.push_back((client, Arc::clone(reply)));
        loop {
            let place = state.waiting.iter().position(|(id, _)| *id == client);
            let place = place.unwrap_or(0);
            if place < state.free.len() {
                state.waiting.remove(place);
                return state.free.pop();
            }
            let now = Instant::now();
            if now >= deadline {
                state.waiting.remove(place);
                self.wake_waiting(&state);
                return None;
            }
            (state, _) = reply
                .turn
                .wait_timeout(state, deadline - now)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn submit(&self, mut job: Job) {
        let mut state = lock(&self.state);
        job.found = state.spare.pop().unwrap_or_default();
        state.jobs.push_back(job);
        self.work.notify_one();
    }

    /// Takes a client's inputs out of the queue.
    fn withdraw(&self, reply: &Arc<Reply>) {
        let mut state = lock(&self.state);
        let mut index = 0;
        while index < state.jobs.len() {
            if Arc::ptr_eq(&state.jobs[index].reply, reply) {
                if let Some(job) = state.jobs.remove(index) {
                    state.free.push(job.input);
                }
            } else {
                index += 1;
            }
        }
        self.wake_waiting(&state);
    }

    /// Waits until a session more is wanted. `false`: the end.
    pub fn wait_for_growth(&self) -> bool {
        let mut state = lock(&self.state);
        while !state.closing && state.sessions < self.max_sessions {
            state = self
                .grow
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            if !state.closing && state.jobs.len() > state.idle && state.sessions < self.max_sessions
            {
                state.starting = true;
                return true;
            }
        }
        false
    }

    /// A session was made (or not).
    pub fn grown(&self, made: bool) {
        let mut state = lock(&self.state);
        state.starting = false;
        state.sessions += usize::from(made);
        self.ended.notify_all();
    }

    pub fn worker_ended(&self) {
        let mut state = lock(&self.state);
        state.sessions -= 1;
        self.ended.notify_all();
    }
}

impl Reply {
    /// Puts one result in its place; gives back memory that is spare.
    fn deliver(
        &self,
        frame: u64,
        index: usize,
        mut found: Vec<Detection>,
        outcome: Result<FrameTimes, &String>,
    ) -> Option<Vec<Detection>> {
        let mut results = lock(&self.state);
        // The client has given up on that frame.
        if results.frame != frame || index >= results.found.len() {
            return Some(found);
        }
        match outcome {
            Ok(took) => {
                results.times += took;
                std::mem::swap(&mut results.found[index], &mut found);
            }
            Err(error) => results.error = Some(error.clone()),
        }
        results.arrived += 1;
        if results.arrived == results.expected {
            self.done.notify_one();
        }
        Some(found)
    }
}

/// What one frame's inferences took.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameTimes {
    /// Time the model ran.
    pub inference: Duration,
    /// Time it took to make detections of what came out of it.
    pub decode: Duration,
    /// Time inputs waited for a session, all together.
    pub queue: Duration,
}

impl std::ops::AddAssign for FrameTimes {
    fn add_assign(&mut self, other: Self) {
        self.inference += other.inference;
        self.decode += other.decode;
        self.queue += other.queue;
    }
}

/// One camera's place in an engine.
#[derive(Debug)]
pub struct Client {
    engine: Arc<Engine>,
    id: u64,
    reply: Arc<Reply>,
    timeout: Duration,
    frame: u64,
}

impl Client {
    pub(super) fn new(engine: Arc<Engine>, timeout: Duration) -> Self {
        let id = engine.queue().next_client.fetch_add(1, Ordering::Relaxed);
        Self {
            engine,
            id,
            reply: Arc::default(),
            timeout,
            frame: 0,
        }
    }

    /// The engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Gives up on a frame after this time.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Runs one frame: `fill` makes each of `count` inputs, in memory that shows what it was given last, `found` gets the detections of each in order, in pixels of
    /// the input. Blocks until all are there or the timeout has passed, in which case none are given.
    pub fn run(
        &mut self,
        count: usize,
        min_score: f32,
        mut fill: impl FnMut(usize, TensorMut, &mut Shown),
        mut found: impl FnMut(usize, &[Detection]),
    ) -> Result<FrameTimes, RunError> {
        let queue = self.engine.queue();
        let deadline = Instant::now() + self.timeout;
        self.frame += 1;
        {
            let mut results = lock(&self.reply.state);
            let results = &mut *results;
            results.frame = self.frame;
            results.expected = count;
            results.arrived = 0;
            results.error = None;
            results.times = FrameTimes::default();
            results
                .found
                .resize_with(count.max(results.found.len()), Vec::new);
        }
        for index in 0..count {
            let Some(mut input) = queue.take_input(self.id, &self.reply, deadline) else {
                return Err(self.give_up());
            };
            let (tensor, shown) = input.as_mut();
            fill(index, tensor, shown);
            queue.submit(Job {
                input,
                min_score,
                queued: Instant::now(),
                reply: Arc::clone(&self.reply),
                frame: self.frame,
                index,
                found: Vec::new(),
            });
        }
        let results = lock(&self.reply.state);
        let wait = deadline.saturating_duration_since(Instant::now());
        let (mut results, _) = (self.reply.done)
            .wait_timeout_while(results, wait, |results| results.arrived < results.expected)
            .unwrap_or_else(PoisonError::into_inner);
        if results.arrived < results.expected {
            drop(results);
            return Err(self.give_up());
        }
        if let Some(error) = results.error.take() {
            return Err(RunError::Failed(error));
        }
        for (index, detections) in results.found[..count].iter().enumerate() {
            found(index, detections);
        }
        Ok(results.times)
    }

    fn give_up(&self) -> RunError {
        // From here on, what still runs finds no frame to report to.
        lock(&self.reply.state).frame = 0;
        self.engine.queue().withdraw(&self.reply);
        RunError::Timeout(self.timeout)
    }
}
