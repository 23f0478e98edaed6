//! The threads that run the model: one per session, and one that makes sessions when work waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use super::queue::{Job, Queue};
use super::session::Inference;
use super::{EngineError, FrameTimes};

/// Makes a session more.
type Opener = Box<dyn Fn() -> Result<Inference, EngineError> + Send>;

/// Starts the first worker, and whoever makes more of them.
pub(super) fn start(queue: &Arc<Queue>, first: Inference, opener: Opener) {
    queue.grown(spawn_worker(queue, first));
    let queue = Arc::clone(queue);
    let grower = move || {
        while queue.wait_for_growth() {
            // Not enough memory for one more: those that are there go on.
            let made = opener().is_ok_and(|inference| spawn_worker(&queue, inference));
            queue.grown(made);
            if !made {
                break;
            }
        }
    };
    // Without this thread the engine works with the session it has.
    let _ = std::thread::Builder::new()
        .name("engine-grow".into())
        .spawn(grower);
}

fn spawn_worker(queue: &Arc<Queue>, mut inference: Inference) -> bool {
    let queue = Arc::clone(queue);
    let work = move || {
        let mut jobs: Vec<Job> = Vec::new();
        while queue.next(&mut jobs) {
            let started = Instant::now();
            // A panic in what is around a foreign library must not leave cameras waiting for an answer.
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut inference, &mut jobs)))
                .unwrap_or_else(|_| Err(String::from("the engine panicked")));
            queue.finish(&mut jobs, outcome, started);
        }
        // The session goes before its end is announced: nobody unloads anything while it is freed.
        drop(inference);
        queue.worker_ended();
    };
    std::thread::Builder::new()
        .name("engine".into())
        .spawn(work)
        .is_ok()
}

fn run(inference: &mut Inference, jobs: &mut [Job]) -> Result<FrameTimes, String> {
    let mut failed = None;
    let mut found: Vec<_> = jobs
        .iter_mut()
        .map(|job| (job.min_score, std::mem::take(&mut job.found)))
        .collect();
    let took = inference.run(jobs.iter().map(|job| &job.input), |image, decode| {
        let (min_score, found) = &mut found[image];
        if let Err(error) = decode(*min_score, found) {
            failed = Some(error);
        }
    });
    for (job, (_, found)) in jobs.iter_mut().zip(found) {
        job.found = found;
    }
    match failed {
        Some(error) => Err(error),
        None => took,
    }
}
