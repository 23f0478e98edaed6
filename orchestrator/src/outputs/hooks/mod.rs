//! Hooks: commands and webhooks that events start.
//!
//! Each hook has a bounded queue and a task of its own, so that a slow one holds up no other.

mod choice;
mod command;
mod http;
mod webhook;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Sources;
use crate::bus::{Published, Received};
use crate::config::{Config, HookConfig};
use crate::live::Live;
use choice::Subject;
use webhook::Webhook;

/// Events that wait for a hook.
const QUEUE: usize = 64;
/// How old an event may be for the live picture to be one of it.
const OF_NOW: Duration = Duration::from_secs(5);
/// How long the live picture may take.
const PICTURE_LIMIT: Duration = Duration::from_secs(5);
/// Oldest picture that is sent.
const FRESH: Duration = Duration::from_secs(1);

/// What became of the events of one hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Runs that succeeded.
    pub(crate) done: u64,
    /// Runs that failed, all attempts counted as one.
    pub(crate) failed: u64,
    /// Events that found the queue full.
    pub(crate) dropped: u64,
}

/// Figures of the hooks for metrics.
#[derive(Debug, Default)]
pub(crate) struct Numbers(Mutex<BTreeMap<String, Counts>>);

impl Numbers {
    /// By name of the hook.
    pub(crate) fn counts(&self) -> BTreeMap<String, Counts> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn count(&self, hook: &str, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(counts.entry(hook.to_owned()).or_default());
    }
}

/// An event for a hook.
#[derive(Debug, Clone)]
struct Job {
    /// The event's number.
    number: i64,
    camera: Option<String>,
    /// The event, with the names of the hook and of the kind of event.
    json: Value,
}

/// A hook at work.
struct Hook {
    config: HookConfig,
    jobs: mpsc::Sender<(Instant, Job)>,
    task: JoinHandle<()>,
}

/// Starts hooks on events until `done`.
pub(super) async fn run(
    sources: Sources,
    mut config: watch::Receiver<Arc<Config>>,
    numbers: Arc<Numbers>,
    done: CancellationToken,
) {
    let mut events = sources.bus.subscribe("hooks");
    let mut hooks = Vec::new();
    let current = config.borrow_and_update().clone();
    configure(&mut hooks, &current.hooks, &sources.live, &numbers);
    loop {
        tokio::select! {
            () = done.cancelled() => break,
            changed = config.changed() => {
                if changed.is_err() {
                    break;
                }
                let current = config.borrow_and_update().clone();
                configure(&mut hooks, &current.hooks, &sources.live, &numbers);
            }
            received = events.next() => match received {
                None => break,
                // Counted by the bus.
                Some(Received::Lost(_)) => {}
                Some(Received::Event(event)) => dispatch(&hooks, &event, &numbers),
            }
        }
    }
    // What runs is ended: a retry could take minutes.
    for hook in hooks {
        hook.task.abort();
    }
}

/// Takes the hooks over as they are configured now. One that did not change goes on; one that is gone finishes its queue.
fn configure(hooks: &mut Vec<Hook>, wanted: &[HookConfig], live: &Live, numbers: &Arc<Numbers>) {
    let mut before = std::mem::take(hooks);
    for config in wanted.iter().filter(|config| config.enabled) {
        let known = before.iter().position(|hook| hook.config == *config);
        hooks.push(match known {
            Some(index) => before.swap_remove(index),
            None => start(config.clone(), live.clone(), numbers.clone()),
        });
    }
}

fn dispatch(hooks: &[Hook], event: &Published, numbers: &Numbers) {
    let Some(subject) = Subject::of(&event.event) else {
        return;
    };
    for hook in hooks {
        if !subject.matches(&hook.config.on) {
            continue;
        }
        let mut json = serde_json::to_value(&event.event).unwrap_or_default();
        json["hook"] = json!(hook.config.name);
        json["hook_event"] = json!(subject.kind);
        let job = Job {
            number: event.number,
            camera: subject.camera.map(str::to_owned),
            json,
        };
        if hook.jobs.try_send((Instant::now(), job)).is_err() {
            let name = &hook.config.name;
            numbers.count(name, |counts| counts.dropped += 1);
            tracing::warn!("hook {name}: {QUEUE} events wait already; one was dropped");
        }
    }
}

fn start(config: HookConfig, live: Live, numbers: Arc<Numbers>) -> Hook {
    numbers.count(&config.name, |_| {});
    let (jobs, received) = mpsc::channel(QUEUE);
    let of_task = config.clone();
    let task = tokio::spawn(async move {
        if of_task.webhook.is_some() {
            send_webhooks(&of_task, received, &live, &numbers).await;
        } else {
            run_commands(of_task, received, numbers).await;
        }
    });
    Hook { config, jobs, task }
}

fn ended(hook: &str, numbers: &Numbers, result: Result<(), String>) {
    match result {
        Ok(()) => numbers.count(hook, |counts| counts.done += 1),
        Err(why) => {
            numbers.count(hook, |counts| counts.failed += 1);
            tracing::warn!("hook {hook}: {why}");
        }
    }
}

async fn run_commands(
    config: HookConfig,
    mut jobs: mpsc::Receiver<(Instant, Job)>,
    numbers: Arc<Numbers>,
) {
    let room = Arc::new(Semaphore::new(config.concurrency as usize));
    let limit = Duration::from_secs(config.timeout.into());
    let config = Arc::new(config);
    // Dropping it ends what runs.
    let mut running = JoinSet::new();
    loop {
        // Room first: a job leaves the bounded queue only when it can run.
        let Ok(permit) = room.clone().acquire_owned().await else {
            return;
        };
        let Some((_, job)) = jobs.recv().await else {
            break;
        };
        while running.try_join_next().is_some() {}
        let (config, numbers) = (config.clone(), numbers.clone());
        running.spawn(async move {
            let mut input = job.json.to_string().into_bytes();
            input.push(b'\n');
            let result = command::run(&config.command, &input, limit).await;
            ended(&config.name, &numbers, result);
            drop(permit);
        });
    }
    while running.join_next().await.is_some() {}
}

async fn send_webhooks(
    config: &HookConfig,
    mut jobs: mpsc::Receiver<(Instant, Job)>,
    live: &Live,
    numbers: &Numbers,
) {
    let Some(webhook) = &config.webhook else {
        return;
    };
    let wants_picture = webhook.picture;
    let limit = Duration::from_secs(config.timeout.into());
    let webhook = Webhook::new(webhook, limit);
    while let Some((came, job)) = jobs.recv().await {
        let picture = match &job.camera {
            Some(camera) if wants_picture && came.elapsed() < OF_NOW => picture(live, camera).await,
            _ => None,
        };
        let result = match &webhook {
            Ok(webhook) => webhook.send(&job, picture.as_deref()).await,
            Err(why) => Err(why.clone()),
        };
        ended(&config.name, numbers, result);
    }
}

/// What a camera sees now. Without it the event is sent all the same.
async fn picture(live: &Live, camera: &str) -> Option<Bytes> {
    let mut viewer = live.look(camera).ok()?;
    let picture = tokio::time::timeout(PICTURE_LIMIT, viewer.fresh(FRESH)).await;
    picture.ok()?.ok().map(|picture| picture.jpeg)
}
