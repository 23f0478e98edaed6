//! What state a camera is in and what to do next: a state machine that is told the time and does nothing itself.

use super::backoff::Backoff;
use std::time::{Duration, Instant, SystemTime};
pub(super) use watchpost_api::CameraState as State;
use watchpost_pipelines::fault::FaultKind;

/// How long frames must flow before earlier failures are forgotten.
const STABLE: Duration = Duration::from_secs(60);

/// The limits of one camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest time without a frame once it streamed.
    pub stall_timeout: Duration,
    /// Longest time from the start of a worker to its first frame.
    pub connect_timeout: Duration,
}

/// What happened to a camera.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It shall run (again); also ends any wait.
    Enable,
    /// It shall not run.
    Disable,
    /// It leaves the table, for good (then nobody is shown it any more) or until its worker has ended.
    Leave,
    /// Its configuration cannot work.
    Broken(String),
    /// There is no memory for its ring.
    Refused(String),
    /// Another camera's memory has become free.
    MemoryFreed,
    /// Its frames need more memory than it was granted, so it has to ask again.
    TooLarge,
    /// The position of the ring's head, read by the supervisor itself.
    Head(u64),
    /// A task has the camera to itself: no frame is missed meanwhile.
    Busy,
    /// The worker said what is wrong; it is about to end.
    Fault(FaultKind, String),
    /// The worker process is gone.
    Exited(String),
    /// Time has passed.
    Tick,
}

/// What the supervisor has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start a capture worker.
    Spawn,
    /// Stop the capture worker; its end is told as [`Event::Exited`].
    Stop,
}

/// What follows when the worker that is being stopped is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Rest,
    Wait(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No worker, none wanted until something changes.
    Resting,
    /// No worker until then.
    Waiting { until: Instant },
    /// A worker runs.
    Running {
        started: Instant,
        head: u64,
        last_frame: Option<Instant>,
        streaming_since: Option<Instant>,
    },
    /// A worker runs, but was told to stop.
    Stopping { then: Then },
}

/// The health of one camera.
#[derive(Debug, Clone)]
pub struct Health {
    phase: Phase,
    state: State,
    reason: Option<String>,
    since: SystemTime,
    limits: Limits,
    backoff: Backoff,
    credentials: Backoff,
    /// It waits for memory.
    refused: bool,
    reconnects: HourCount,
    stalls: HourCount,
}

impl Health {
    /// A camera that has not been started.
    pub fn new(limits: Limits, wall: SystemTime) -> Self {
        Self {
            phase: Phase::Resting,
            state: State::Disabled,
            reason: None,
            since: wall,
            limits,
            backoff: Backoff::transient(),
            credentials: Backoff::credentials(),
            refused: false,
            reconnects: HourCount::default(),
            stalls: HourCount::default(),
        }
    }

    /// The state shown to users.
    pub fn state(&self) -> State {
        self.state
    }

    /// Why it is in that state, if there is something to say.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// When the state began.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Attempts that were not the first one, in the last hour.
    pub fn reconnects(&self, now: Instant) -> u32 {
        self.reconnects.total(now)
    }

    /// Stalls and frozen pictures in the last hour.
    pub fn stalls(&self, now: Instant) -> u32 {
        self.stalls.total(now)
    }

    /// New limits; they apply from the next tick on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether a worker exists or is about to.
    pub fn has_worker(&self) -> bool {
        matches!(self.phase, Phase::Running { .. } | Phase::Stopping { .. })
    }

    /// Takes an event, answers with what has to be done.
    pub fn handle(&mut self, event: Event, now: Instant, wall: SystemTime) -> Option<Action> {
        match event {
            Event::Enable => self.enable(now, wall),
            Event::Disable => self.rest(State::Disabled, None, wall),
            Event::Leave => self.rest(
                State::Stopping,
                Some("it begins anew with its changed configuration".into()),
                wall,
            ),
            Event::Broken(reason) => self.rest(State::Failed, Some(reason), wall),
            Event::Refused(reason) => {
                self.show(State::Failed, Some(reason), wall);
                self.refused = true;
                // Memory comes back when other programs give some, so it is worth asking again.
                let wait = Duration::from_secs(30);
                match self.phase {
                    Phase::Running { .. } => {
                        self.phase = Phase::Stopping {
                            then: Then::Wait(wait),
                        };
                        Some(Action::Stop)
                    }
                    _ => {
                        self.phase = Phase::Waiting { until: now + wait };
                        None
                    }
                }
            }
            Event::MemoryFreed if self.refused && matches!(self.phase, Phase::Waiting { .. }) => {
                Some(self.again(now, wall))
            }
            Event::MemoryFreed => None,
            Event::TooLarge => self.ask_again(),
            Event::Head(head) => {
                self.head(head, now, wall);
                None
            }
            Event::Busy => {
                if let Phase::Running {
                    last_frame: Some(last_frame),
                    ..
                } = &mut self.phase
                {
                    *last_frame = now;
                }
                None
            }
            Event::Fault(kind, reason) => self.fault(kind, reason, now, wall),
            Event::Exited(reason) => self.exited(reason, now, wall),
            Event::Tick => self.tick(now, wall),
        }
    }

    fn show(&mut self, state: State, reason: Option<String>, wall: SystemTime) {
        if self.state != state {
            self.since = wall;
        }
        self.state = state;
        self.reason = reason;
    }

    fn spawn(&mut self, now: Instant) -> Action {
        self.refused = false;
        self.phase = Phase::Running {
            started: now,
            head: 0,
            last_frame: None,
            streaming_since: None,
        };
        Action::Spawn
    }

    fn enable(&mut self, now: Instant, wall: SystemTime) -> Option<Action> {
        self.backoff.reset();
        self.credentials.reset();
        match self.phase {
            Phase::Resting | Phase::Waiting { .. } => {
                self.show(State::Connecting, None, wall);
                Some(self.spawn(now))
            }
            Phase::Stopping { .. } => {
                self.show(State::Connecting, None, wall);
                self.phase = Phase::Stopping {
                    then: Then::Wait(Duration::ZERO),
                };
                None
            }
            Phase::Running { .. } => None,
        }
    }

    fn rest(&mut self, state: State, reason: Option<String>, wall: SystemTime) -> Option<Action> {
        self.show(state, reason, wall);
        match self.phase {
            Phase::Running { .. } => {
                self.phase = Phase::Stopping { then: Then::Rest };
                Some(Action::Stop)
            }
            Phase::Stopping { .. } => {
                self.phase = Phase::Stopping { then: Then::Rest };
                None
            }
            Phase::Resting | Phase::Waiting { .. } => {
                self.phase = Phase::Resting;
                None
            }
        }
    }

    /// No failure: nothing is counted, and nothing waited for.
    fn ask_again(&mut self) -> Option<Action> {
        if !matches!(self.phase, Phase::Running { .. }) {
            return None;
        }
        self.phase = Phase::Stopping {
            then: Then::Wait(Duration::ZERO),
        };
        Some(Action::Stop)
    }

    fn head(&mut self, position: u64, now: Instant, wall: SystemTime) {
        let Phase::Running {
            head,
            last_frame,
            streaming_since,
            ..
        } = &mut self.phase
        else {
            return;
        };
        if position == *head {
            return;
        }
        *head = position;
        *last_frame = Some(now);
        let since = *streaming_since.get_or_insert(now);
        if now.duration_since(since) >= STABLE {
            self.backoff.reset();
            self.credentials.reset();
        }
        if self.state != State::Streaming {
            self.show(State::Streaming, None, wall);
        }
    }

    fn fault(
        &mut self,
        kind: FaultKind,
        reason: String,
        now: Instant,
        wall: SystemTime,
    ) -> Option<Action> {
        if !matches!(self.phase, Phase::Running { .. }) {
            return None;
        }
        match kind {
            FaultKind::Ended => return self.rest(State::Disabled, Some(reason), wall),
            FaultKind::Permanent => return self.rest(State::Failed, Some(reason), wall),
            FaultKind::Memory => return self.handle(Event::Refused(reason), now, wall),
            FaultKind::Auth => {
                let wait = self.credentials.next_wait();
                self.show(State::AuthFailed, Some(reason), wall);
                self.phase = Phase::Stopping {
                    then: Then::Wait(wait),
                };
            }
            FaultKind::Frozen | FaultKind::Rate => {
                self.stalls.add(now);
                let wait = self.backoff.next_wait();
                self.show(State::Stalled, Some(reason), wall);
                self.phase = Phase::Stopping {
                    then: Then::Wait(wait),
                };
            }
            FaultKind::Source | FaultKind::Decode => {
                let wait = self.backoff.next_wait();
                self.show(State::BackingOff, Some(reason), wall);
                self.phase = Phase::Stopping {
                    then: Then::Wait(wait),
                };
            }
        }
        Some(Action::Stop)
    }

    fn exited(&mut self, reason: String, now: Instant, wall: SystemTime) -> Option<Action> {
        match self.phase {
            Phase::Stopping { then: Then::Rest } => {
                self.phase = Phase::Resting;
                None
            }
            Phase::Stopping {
                then: Then::Wait(wait),
            } => self.wait(wait, now, wall),
            Phase::Running { .. } => {
                let wait = self.backoff.next_wait();
                self.show(State::BackingOff, Some(reason), wall);
                self.wait(wait, now, wall)
            }
            Phase::Resting | Phase::Waiting { .. } => None,
        }
    }

    fn wait(&mut self, wait: Duration, now: Instant, wall: SystemTime) -> Option<Action> {
        if wait.is_zero() {
            return Some(self.again(now, wall));
        }
        self.phase = Phase::Waiting { until: now + wait };
        None
    }

    /// A new attempt. The reason of the last failure stays visible until frames come.
    fn again(&mut self, now: Instant, wall: SystemTime) -> Action {
        // Nothing was tried while there was no memory, and now there is some.
        let reason = self.reason.take().filter(|_| !self.refused);
        if reason.is_some() {
            self.reconnects.add(now);
        }
        self.show(State::Connecting, reason, wall);
        self.spawn(now)
    }

    fn tick(&mut self, now: Instant, wall: SystemTime) -> Option<Action> {
        match self.phase {
            Phase::Waiting { until } if now >= until => Some(self.again(now, wall)),
            Phase::Running {
                last_frame: Some(last),
                ..
            } if now.duration_since(last) >= self.limits.stall_timeout => {
                self.stalls.add(now);
                let wait = self.backoff.next_wait();
                let limit = self.limits.stall_timeout.as_secs_f64();
                self.show(
                    State::Stalled,
                    Some(format!("no frame for {limit} s (stall_timeout)")),
                    wall,
                );
                self.phase = Phase::Stopping {
                    then: Then::Wait(wait),
                };
                Some(Action::Stop)
            }
            Phase::Running {
                started,
                last_frame: None,
                ..
            } if now.duration_since(started) >= self.limits.connect_timeout => {
                let wait = self.backoff.next_wait();
                let limit = self.limits.connect_timeout.as_secs_f64();
                let before = self
                    .reason
                    .take()
                    .filter(|r| !r.starts_with("no frame within"))
                    .map(|r| format!("; before that: {r}"))
                    .unwrap_or_default();
                self.show(
                    State::BackingOff,
                    Some(format!("no frame within {limit} s of connecting{before}")),
                    wall,
                );
                self.phase = Phase::Stopping {
                    then: Then::Wait(wait),
                };
                Some(Action::Stop)
            }
            _ => None,
        }
    }
}

/// Events in the last hour, in minutes of constant memory.
#[derive(Debug, Clone)]
pub struct HourCount {
    origin: Option<Instant>,
    minutes: [(u64, u32); 60],
}

impl Default for HourCount {
    fn default() -> Self {
        Self {
            origin: None,
            minutes: [(0, 0); 60],
        }
    }
}

impl HourCount {
    fn minute(&self, now: Instant) -> u64 {
        self.origin
            .map_or(0, |o| now.saturating_duration_since(o).as_secs() / 60)
    }

    /// Counts one more.
    pub fn add(&mut self, now: Instant) {
        self.origin.get_or_insert(now);
        let minute = self.minute(now);
        let slot = &mut self.minutes[(minute % 60) as usize];
        if slot.0 != minute {
            *slot = (minute, 0);
        }
        slot.1 = slot.1.saturating_add(1);
    }

    /// How many there were in the last hour.
    pub fn total(&self, now: Instant) -> u32 {
        let minute = self.minute(now);
        self.minutes
            .iter()
            .filter(|(at, _)| minute.saturating_sub(*at) < 60)
            .map(|(_, count)| count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bench {
        health: Health,
        now: Instant,
        wall: SystemTime,
        head: u64,
    }

    impl Bench {
        fn new() -> Self {
            let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
            let limits = Limits {
                stall_timeout: Duration::from_secs(10),
                connect_timeout: Duration::from_secs(20),
            };
            Self {
                health: Health::new(limits, wall),
                now: Instant::now(),
                wall,
                head: 0,
            }
        }

        fn tell(&mut self, event: Event) -> Option<Action> {
            self.health.handle(event, self.now, self.wall)
        }

        fn pass(&mut self, seconds: f64) -> Option<Action> {
            self.now += Duration::from_secs_f64(seconds);
            self.wall += Duration::from_secs_f64(seconds);
            self.tell(Event::Tick)
        }

        fn frame(&mut self) {
            self.head += 1;
            let head = self.head;
            self.tell(Event::Head(head));
        }

        fn state(&self) -> State {
            self.health.state()
        }

        /// Brings the camera to streaming.
        fn streaming() -> Self {
            let mut bench = Self::new();
            assert_eq!(bench.tell(Event::Enable), Some(Action::Spawn));
            bench.frame();
            assert_eq!(bench.state(), State::Streaming);
            bench
        }
    }

    #[test]
    fn a_camera_connects_and_streams() {
        let mut bench = Bench::new();
        assert_eq!(bench.state(), State::Disabled);
        assert_eq!(bench.tell(Event::Enable), Some(Action::Spawn));
        assert_eq!(bench.state(), State::Connecting);
        bench.pass(1.0);
        bench.frame();
        assert_eq!(bench.state(), State::Streaming);
        assert_eq!(bench.health.since(), bench.wall);
        assert_eq!(bench.health.reason(), None);
    }

    #[test]
    fn a_killed_worker_is_restarted_at_once_and_then_later_and_later() {
        let mut bench = Bench::streaming();
        assert_eq!(
            bench.tell(Event::Exited("killed by signal 9".into())),
            Some(Action::Spawn)
        );
        assert_eq!(bench.health.reason(), Some("killed by signal 9"));
        assert_eq!(bench.tell(Event::Exited("killed by signal 9".into())), None);
        assert_eq!(bench.state(), State::BackingOff);
        assert_eq!(bench.pass(0.5), None);
        assert_eq!(bench.pass(1.0), Some(Action::Spawn));
        assert_eq!(bench.state(), State::Connecting);
        assert_eq!(bench.health.reconnects(bench.now), 2);
    }

    #[test]
    fn a_stable_minute_forgives_earlier_failures() {
        let mut bench = Bench::streaming();
        bench.tell(Event::Exited("x".into()));
        for _ in 0..62 {
            bench.pass(1.0);
            bench.frame();
        }
        assert_eq!(bench.tell(Event::Exited("x".into())), Some(Action::Spawn));
    }

    #[test]
    fn a_stream_without_frames_is_stalled_and_replaced() {
        let mut bench = Bench::streaming();
        assert_eq!(bench.pass(9.0), None);
        assert_eq!(bench.pass(1.0), Some(Action::Stop));
        assert_eq!(bench.state(), State::Stalled);
        assert_eq!(bench.health.stalls(bench.now), 1);
        // Its end is expected and leads to the next attempt, not to another failure.
        assert_eq!(
            bench.tell(Event::Exited("terminated".into())),
            Some(Action::Spawn)
        );
        assert!(bench.health.reason().unwrap().contains("stall_timeout"));
        bench.frame();
        assert_eq!(bench.state(), State::Streaming);
    }

    #[test]
    fn the_same_head_twice_is_no_frame() {
        let mut bench = Bench::streaming();
        for _ in 0..10 {
            bench.pass(1.0);
            let head = bench.head;
            bench.tell(Event::Head(head));
        }
        assert_eq!(bench.state(), State::Stalled);
    }

    #[test]
    fn a_camera_that_a_task_has_to_itself_is_not_stalled() {
        let mut bench = Bench::streaming();
        for _ in 0..120 {
            bench.tell(Event::Busy);
            assert_eq!(bench.pass(1.0), None);
        }
        assert_eq!(bench.state(), State::Streaming);
    }

    #[test]
    fn a_worker_that_never_delivers_is_replaced() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        assert_eq!(bench.pass(19.0), None);
        assert_eq!(bench.pass(1.0), Some(Action::Stop));
        assert_eq!(bench.state(), State::BackingOff);
        assert!(bench.health.reason().unwrap().contains("20 s"));
    }

    #[test]
    fn refused_credentials_wait_for_minutes() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        assert_eq!(
            bench.tell(Event::Fault(FaultKind::Auth, "401".into())),
            Some(Action::Stop)
        );
        assert_eq!(bench.state(), State::AuthFailed);
        assert_eq!(bench.tell(Event::Exited("exit".into())), None);
        assert_eq!(bench.pass(299.0), None);
        assert_eq!(bench.state(), State::AuthFailed);
        assert_eq!(bench.pass(120.0), Some(Action::Spawn));
    }

    #[test]
    fn a_change_ends_the_long_wait() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        bench.tell(Event::Fault(FaultKind::Auth, "401".into()));
        bench.tell(Event::Exited("exit".into()));
        assert_eq!(bench.tell(Event::Enable), Some(Action::Spawn));
        assert_eq!(bench.health.reason(), None);
    }

    #[test]
    fn what_cannot_work_is_not_tried_again() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        bench.tell(Event::Fault(FaultKind::Permanent, "no decoder".into()));
        assert_eq!(bench.tell(Event::Exited("exit".into())), None);
        assert_eq!(bench.state(), State::Failed);
        assert_eq!(bench.pass(36_000.0), None);
    }

    #[test]
    fn a_camera_without_memory_asks_again_later() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        assert_eq!(
            bench.tell(Event::Refused("needs 9 MiB, 3 free".into())),
            Some(Action::Stop)
        );
        bench.tell(Event::Exited("exit".into()));
        assert_eq!(bench.state(), State::Failed);
        assert_eq!(bench.pass(30.0), Some(Action::Spawn));
    }

    #[test]
    fn a_camera_without_memory_starts_when_another_one_gives_it_back() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        let refused = || Event::Refused("needs 9 MiB, 3 free".into());
        bench.tell(refused());
        bench.tell(Event::Exited(String::new()));
        assert_eq!(bench.tell(Event::MemoryFreed), Some(Action::Spawn));
        assert_eq!(bench.health.reconnects(bench.now), 0);
        bench.frame();
        assert_eq!(bench.tell(Event::MemoryFreed), None);
        // One that waits for another reason goes on waiting.
        bench.tell(Event::Exited("x".into()));
        bench.tell(Event::Exited("x".into()));
        assert_eq!(bench.tell(Event::MemoryFreed), None);
    }

    #[test]
    fn a_camera_with_larger_frames_than_assumed_asks_again_at_once() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        assert_eq!(bench.tell(Event::TooLarge), Some(Action::Stop));
        assert_eq!(bench.state(), State::Connecting);
        assert_eq!(
            bench.tell(Event::Exited("exit".into())),
            Some(Action::Spawn)
        );
        assert_eq!(bench.health.reconnects(bench.now), 0);
        assert_eq!(bench.health.reason(), None);
    }

    #[test]
    fn a_disabled_camera_stops_and_stays_stopped() {
        let mut bench = Bench::streaming();
        assert_eq!(bench.tell(Event::Disable), Some(Action::Stop));
        assert_eq!(bench.state(), State::Disabled);
        // Frames of the last moments change nothing.
        bench.frame();
        assert_eq!(bench.state(), State::Disabled);
        assert_eq!(bench.tell(Event::Exited("exit".into())), None);
        assert_eq!(bench.pass(3600.0), None);
        assert!(!bench.health.has_worker());
    }

    #[test]
    fn a_camera_that_is_to_begin_anew_is_stopping() {
        let mut bench = Bench::streaming();
        assert_eq!(bench.tell(Event::Leave), Some(Action::Stop));
        bench.frame();
        assert_eq!(bench.state(), State::Stopping);
        assert!(bench.health.reason().is_some_and(|r| r.contains("anew")));
        assert_eq!(bench.tell(Event::Exited("exit".into())), None);
        assert!(!bench.health.has_worker());
    }

    #[test]
    fn enabling_while_it_stops_starts_it_when_the_old_worker_is_gone() {
        let mut bench = Bench::streaming();
        bench.tell(Event::Disable);
        assert_eq!(bench.tell(Event::Enable), None);
        assert_eq!(
            bench.tell(Event::Exited("exit".into())),
            Some(Action::Spawn)
        );
    }

    #[test]
    fn a_frozen_picture_counts_as_a_stall() {
        let mut bench = Bench::streaming();
        bench.tell(Event::Fault(
            FaultKind::Frozen,
            "same picture for 30 s".into(),
        ));
        assert_eq!(bench.state(), State::Stalled);
        assert_eq!(bench.health.stalls(bench.now), 1);
    }

    #[test]
    fn only_the_last_hour_is_counted() {
        let mut count = HourCount::default();
        let start = Instant::now();
        for minute in 0..120 {
            count.add(start + Duration::from_secs(minute * 60));
        }
        assert_eq!(count.total(start + Duration::from_secs(119 * 60)), 60);
        assert_eq!(count.total(start + Duration::from_secs(149 * 60)), 30);
        assert_eq!(count.total(start + Duration::from_secs(400 * 60)), 0);
    }
}
