//! Giving the camera to one task alone and getting it back: a state machine of twelve steps, each with a deadline.
//!
//! Pure: whoever owns the camera is told which step to do, does it, and says how it went; time is an argument. A failure at
//! any step, a deadline that passes included, goes on with whatever restores the live picture; there is no path that ends
//! half-way. It ends with the live picture back, or with the camera failed and a reason.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Show viewers the last picture with a notice from now on.
    PauseLive,
    /// Stop the encoder of the live stream.
    StopLiveEncoder,
    /// Stop the camera.
    StopCamera,
    /// Configure it for the task alone.
    ConfigureForTask,
    /// Start it.
    StartForTask,
    /// Start the task's encoder and do the task.
    RunTask,
    /// Stop the task's encoder and close its files.
    StopTaskEncoder,
    /// Stop the camera again.
    StopAfterTask,
    /// Configure it for the live stream and everything that goes with it.
    ConfigureForLive,
    /// Start it.
    StartForLive,
    /// Start the encoder of the live stream.
    StartLiveEncoder,
    /// Let viewers see the live picture again.
    ResumeLive,
}

impl Step {
    /// The twelve steps in their order.
    pub const ALL: [Self; 12] = [
        Self::PauseLive,
        Self::StopLiveEncoder,
        Self::StopCamera,
        Self::ConfigureForTask,
        Self::StartForTask,
        Self::RunTask,
        Self::StopTaskEncoder,
        Self::StopAfterTask,
        Self::ConfigureForLive,
        Self::StartForLive,
        Self::StartLiveEncoder,
        Self::ResumeLive,
    ];

    /// How long it may take. [`Step::RunTask`] gets the task's own time on top.
    pub const fn deadline(self) -> Duration {
        match self {
            Self::PauseLive | Self::ResumeLive => Duration::from_secs(1),
            Self::StopLiveEncoder | Self::StopTaskEncoder | Self::StartLiveEncoder => {
                Duration::from_secs(5)
            }
            Self::StopCamera | Self::StopAfterTask => Duration::from_secs(10),
            Self::ConfigureForTask | Self::ConfigureForLive => Duration::from_secs(5),
            Self::StartForTask | Self::StartForLive => Duration::from_secs(10),
            Self::RunTask => Duration::from_secs(5),
        }
    }

    /// Where to go on when this step failed, so that the live picture comes back. `None`: nothing more can be done.
    const fn after_failure(self) -> Option<Self> {
        match self {
            // Viewers could not be told; nothing has been touched yet.
            Self::PauseLive => Some(Self::ResumeLive),
            // What was being stopped is in an unknown state: start over from a stopped camera.
            Self::StopLiveEncoder | Self::StopCamera => Some(Self::StopAfterTask),
            Self::ConfigureForTask => Some(Self::ConfigureForLive),
            Self::StartForTask | Self::RunTask | Self::StopTaskEncoder => Some(Self::StopAfterTask),
            // A camera that does not stop, take the configuration it had, or start, is not ours to mend.
            Self::StopAfterTask
            | Self::ConfigureForLive
            | Self::StartForLive
            | Self::StartLiveEncoder
            | Self::ResumeLive => None,
        }
    }

    fn next(self) -> Option<Self> {
        Self::ALL.get(self as usize + 1).copied()
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = format!("{self:?}");
        for (i, letter) in words.char_indices() {
            if letter.is_uppercase() && i > 0 {
                f.write_str("-")?;
            }
            write!(f, "{}", letter.to_ascii_lowercase())?;
        }
        Ok(())
    }
}

/// A step that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Which one.
    pub step: Step,
    /// Why, for people.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.reason)
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The live picture is back. The failure is why the task was not done, if it was not.
    Live(Option<Failure>),
    /// The camera is failed: the live picture could not be brought back. The first failure is the one to show.
    Failed(Vec<Failure>),
}

/// One run through the twelve steps.
#[derive(Debug)]
pub struct Exclusive {
    step: Option<Step>,
    since: Duration,
    task_time: Duration,
    failures: Vec<Failure>,
    trace: Vec<(Step, Duration)>,
}

impl Exclusive {
    /// Begins at `now` (any monotonic time); `task_time` is how long the task itself may take.
    pub fn begin(task_time: Duration, now: Duration) -> Self {
        Self {
            step: Some(Step::PauseLive),
            since: now,
            task_time,
            failures: Vec::new(),
            trace: vec![(Step::PauseLive, now)],
        }
    }

    /// The step to do now; none once it has ended.
    pub fn step(&self) -> Option<Step> {
        self.step
    }

    /// When the step to do now will have taken too long.
    pub fn deadline(&self) -> Option<Duration> {
        let step = self.step?;
        let task = if step == Step::RunTask {
            self.task_time
        } else {
            Duration::ZERO
        };
        Some(self.since + step.deadline() + task)
    }

    /// Every step that was begun, with the time: for log and API.
    pub fn trace(&self) -> &[(Step, Duration)] {
        &self.trace
    }

    /// The step was done.
    pub fn done(&mut self, now: Duration) {
        if let Some(step) = self.step {
            self.go(step.next(), now);
        }
    }

    /// The step failed.
    pub fn failed(&mut self, reason: impl Into<String>, now: Duration) {
        let Some(step) = self.step else { return };
        self.failures.push(Failure {
            step,
            reason: reason.into(),
        });
        self.go(step.after_failure(), now);
    }

    /// Time has passed: fails the step when its deadline is over. True if it was.
    pub fn tick(&mut self, now: Duration) -> bool {
        let Some((step, deadline)) = self.step.zip(self.deadline()) else {
            return false;
        };
        if now < deadline {
            return false;
        }
        let taken = deadline - self.since;
        self.failed(
            format!("{step} was not done within {} s", taken.as_secs_f64()),
            now,
        );
        true
    }

    /// How it ended; none while it is under way.
    pub fn outcome(&self) -> Option<Outcome> {
        if self.step.is_some() {
            return None;
        }
        // It ends by its last step, or by a failure of a step after which nothing is left to try.
        Some(match self.failures.last() {
            Some(last) if last.step.after_failure().is_none() => {
                Outcome::Failed(self.failures.clone())
            }
            _ => Outcome::Live(self.failures.first().cloned()),
        })
    }

    fn go(&mut self, step: Option<Step>, now: Duration) {
        self.step = step;
        self.since = now;
        self.trace.extend(step.map(|step| (step, now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Runs to the end; steps in `failing` fail, and each step is counted as it is begun.
    fn run(failing: &[Step]) -> (Vec<Step>, Outcome) {
        let mut exclusive = Exclusive::begin(SECOND, Duration::ZERO);
        let mut now = Duration::ZERO;
        while let Some(step) = exclusive.step() {
            now += Duration::from_millis(10);
            if failing.contains(&step) {
                exclusive.failed("injected", now);
            } else {
                exclusive.done(now);
            }
            assert!(
                exclusive.trace().len() <= 2 * Step::ALL.len(),
                "it ends: {:?}",
                exclusive.trace()
            );
        }
        let steps = exclusive.trace().iter().map(|(step, _)| *step).collect();
        (steps, exclusive.outcome().unwrap())
    }

    #[test]
    fn without_a_failure_all_twelve_steps_are_done_in_order() {
        let (steps, outcome) = run(&[]);
        assert_eq!(steps, Step::ALL);
        assert_eq!(outcome, Outcome::Live(None));
    }

    #[test]
    fn a_failure_at_each_step_ends_with_live_restored_or_the_camera_failed_with_a_reason() {
        for failing in Step::ALL {
            let (steps, outcome) = run(&[failing]);
            match outcome {
                Outcome::Live(failure) => {
                    assert_eq!(failure.unwrap().step, failing);
                    assert_eq!(
                        steps.last(),
                        Some(&Step::ResumeLive),
                        "{failing}: viewers see the picture again"
                    );
                    let camera_touched = steps.contains(&Step::StopCamera);
                    assert!(
                        !camera_touched || steps.contains(&Step::StartForLive),
                        "{failing}: the camera runs again"
                    );
                }
                Outcome::Failed(failures) => {
                    assert_eq!(failures[0].step, failing);
                    assert!(
                        failing >= Step::StopAfterTask,
                        "{failing}: the live picture was not tried"
                    );
                }
            }
        }
    }

    #[test]
    fn two_failures_end_too() {
        for first in Step::ALL {
            for second in Step::ALL {
                let (_, outcome) = run(&[first, second]);
                assert_ne!(outcome, Outcome::Live(None), "{first} and {second}");
            }
        }
    }

    #[test]
    fn a_step_that_hangs_fails_at_its_deadline_and_the_task_has_its_own_time() {
        let mut exclusive = Exclusive::begin(60 * SECOND, Duration::ZERO);
        while exclusive.step() != Some(Step::RunTask) {
            exclusive.done(Duration::ZERO);
        }
        assert!(!exclusive.tick(64 * SECOND));
        assert!(exclusive.tick(65 * SECOND));
        assert_eq!(exclusive.step(), Some(Step::StopAfterTask));
        while exclusive.step().is_some() {
            exclusive.done(66 * SECOND);
        }
        let Some(Outcome::Live(Some(failure))) = exclusive.outcome() else {
            panic!("{exclusive:?}")
        };
        assert_eq!(
            failure.to_string(),
            "run-task: run-task was not done within 65 s"
        );
    }
}
