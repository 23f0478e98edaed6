//! What state a camera is in and what to do next: a state machine that is told the time and does nothing itself.

use super::backoff::Backoff;
use super::pace::Pace;
use std::time::{Duration, Instant, SystemTime};
pub(super) use watchpost_api::CameraState as State;
use watchpost_pipelines::fault::FaultKind;

/// How long frames must flow before earlier failures are forgotten.
const STABLE: Duration = Duration::from_secs(60);

/// A new worker without a frame for this long gets a reason.
const PATIENCE: Duration = Duration::from_secs(3);

/// The limits of one camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest interval between frames that the configuration asks for.
    pub interval: Duration,
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
    /// The worker or a library in it logged a warning. It explains why no frames come, where none come.
    Warning(String),
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
    pace: Pace,
    /// The newest warning of the worker that runs, until frames come.
    warning: Option<String>,
    backoff: Backoff,
    /// Ends of its workers that were not asked for, since frames came for a minute.
    deaths: u32,
    /// The same since the start of the program.
    all_deaths: u64,
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
            pace: Pace::default(),
            warning: None,
            backoff: Backoff::transient(),
            deaths: 0,
            all_deaths: 0,
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

    /// Workers that died by themselves since the start of the program.
    pub fn deaths(&self) -> u64 {
        self.all_deaths
    }

    /// A line about the death that was reported last, where it is worth one: the 1st, 2nd, 4th, 8th ... in a row.
    pub fn death_notice(&self, now: Instant) -> Option<String> {
        let deaths = self.deaths;
        let next = match self.phase {
            Phase::Waiting { until } => {
                let wait = until.saturating_duration_since(now);
                format!("the next attempt is in {:.1} s", wait.as_secs_f64())
            }
            _ => "the next attempt is made now".to_owned(),
        };
        let reason = self.reason.as_deref().unwrap_or("no reason is known");
        deaths
            .is_power_of_two()
            .then(|| format!("the capture worker died, {deaths} in a row: {reason}; {next}"))
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
                    started,
                    last_frame,
                    ..
                } = &mut self.phase
                {
                    *last_frame.as_mut().unwrap_or(started) = now;
                    if self.state == State::Stalled {
                        self.show(State::Streaming, None, wall);
                    }
                }
                None
            }
            Event::Warning(text) => {
                self.warning = Some(text);
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
        self.warning = None;
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
        self.reason = self.reason.take().filter(|r| !r.starts_with(STARTING));
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
        if let Some(last) = *last_frame {
            let frames = position.saturating_sub(*head);
            self.pace.frames(frames, now.duration_since(last));
        }
        *head = position;
        *last_frame = Some(now);
        let since = *streaming_since.get_or_insert(now);
        if now.duration_since(since) >= STABLE {
            self.backoff.reset();
            self.credentials.reset();
            self.deaths = 0;
        }
        if self.state != State::Streaming {
            self.warning = None;
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
                self.deaths = self.deaths.saturating_add(1);
                self.all_deaths += 1;
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

    /// The reason, with the newest warning of the worker, which is often the cause.
    fn explained(&self, reason: String) -> String {
        match &self.warning {
            Some(warning) => format!("{reason}; the last warning: {warning}"),
            None => reason,
        }
    }

    fn tick(&mut self, now: Instant, wall: SystemTime) -> Option<Action> {
        match self.phase {
            Phase::Waiting { until } if now >= until => Some(self.again(now, wall)),
            Phase::Running {
                last_frame: Some(last),
                ..
            } if now.duration_since(last) >= self.limits.stall_timeout => {
                if self.state != State::Stalled {
                    self.stalls.add(now);
                }
                let wait = self.backoff.next_wait();
                let limit = self.limits.stall_timeout.as_secs_f64();
                let reason = format!("no frame for {limit} s (stall_timeout)");
                self.show(State::Stalled, Some(self.explained(reason)), wall);
                self.phase = Phase::Stopping {
                    then: Then::Wait(wait),
                };
                Some(Action::Stop)
            }
            Phase::Running {
                last_frame: Some(last),
                ..
            } if self.state == State::Streaming
                && now.duration_since(last) >= self.pace.quiet_after(self.limits.interval) =>
            {
                self.stalls.add(now);
                let quiet = self.pace.quiet_after(self.limits.interval).as_secs_f64();
                let limit = self.limits.stall_timeout.as_secs_f64();
                let reason = format!(
                    "no frame for {quiet:.0} s; capture restarts after {limit} s (stall_timeout)"
                );
                self.show(State::Stalled, Some(self.explained(reason)), wall);
                None
            }
            Phase::Running {
                started,
                last_frame: None,
                ..
            } if self.state == State::Connecting
                && self.reason.is_none()
                && now.duration_since(started) >= PATIENCE
                && now.duration_since(started) < self.limits.connect_timeout =>
            {
                let limit = self.limits.connect_timeout.as_secs_f64();
                let reason = format!("{STARTING}; capture restarts after {limit} s without one");
                self.show(State::Connecting, Some(self.explained(reason)), wall);
                None
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
                    .filter(|r| !r.starts_with("no frame within") && !r.starts_with(STARTING))
                    .map(|r| format!("; before that: {r}"))
                    .unwrap_or_default();
                let reason = format!("no frame within {limit} s of connecting{before}");
                self.show(State::BackingOff, Some(self.explained(reason)), wall);
                self.phase = Phase::Stopping {
                    then: Then::Wait(wait),
                };
                Some(Action::Stop)
            }
            _ => None,
        }
    }
}

/// The reason of a new worker that has not delivered a frame yet.
const STARTING: &str = "no frame has come since the start of capture";

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
                interval: Duration::ZERO,
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
    fn a_stream_without_frames_for_three_seconds_is_stalled_and_not_replaced() {
        let mut bench = Bench::streaming();
        assert_eq!(bench.pass(2.9), None);
        assert_eq!(bench.state(), State::Streaming);
        bench.tell(Event::Warning("the decoder takes no data".into()));
        assert_eq!(bench.pass(0.1), None);
        assert_eq!(bench.state(), State::Stalled);
        let reason = bench.health.reason().unwrap().to_owned();
        assert!(reason.starts_with("no frame for 3 s"), "{reason}");
        assert!(reason.contains("the decoder takes no data"), "{reason}");
        // The wait for the restart is the same stall, with the same reason.
        assert_eq!(bench.pass(1.0), None);
        assert_eq!(bench.health.reason(), Some(reason.as_str()));
        assert_eq!(bench.pass(6.0), Some(Action::Stop));
        assert_eq!(bench.health.stalls(bench.now), 1);
    }

    #[test]
    fn frames_end_a_stall() {
        let mut bench = Bench::streaming();
        bench.pass(5.0);
        assert_eq!(bench.state(), State::Stalled);
        bench.frame();
        assert_eq!(bench.state(), State::Streaming);
        assert_eq!(bench.health.reason(), None);
    }

    #[test]
    fn a_source_with_a_frame_every_two_seconds_streams() {
        let mut bench = Bench::streaming();
        for _ in 0..10 {
            bench.pass(2.0);
            bench.frame();
        }
        bench.pass(5.9);
        assert_eq!(bench.state(), State::Streaming);
        bench.pass(0.1);
        assert_eq!(bench.state(), State::Stalled);
    }

    #[test]
    fn an_exclusive_task_ends_a_stall() {
        let mut bench = Bench::streaming();
        bench.pass(5.0);
        bench.tell(Event::Busy);
        assert_eq!(bench.state(), State::Streaming);
    }

    #[test]
    fn a_worker_without_a_frame_has_a_reason_after_three_seconds() {
        let mut bench = Bench::new();
        bench.tell(Event::Enable);
        bench.pass(2.9);
        assert_eq!(bench.health.reason(), None);
        bench.tell(Event::Warning("no pictures in the stream".into()));
        bench.pass(0.1);
        let reason = bench.health.reason().unwrap();
        assert!(reason.contains("no pictures in the stream"), "{reason}");
        assert_eq!(bench.state(), State::Connecting);
        assert_eq!(bench.pass(17.0), Some(Action::Stop));
        let reason = bench.health.reason().unwrap();
        assert!(reason.starts_with("no frame within 20 s"), "{reason}");
        assert!(!reason.contains("before that"), "{reason}");
    }

    #[test]
    fn deaths_in_a_row_are_logged_more_and_more_rarely() {
        let mut bench = Bench::streaming();
        let mut logged = Vec::new();
        for death in 1..=20 {
            bench.tell(Event::Exited("killed by signal 11".into()));
            if let Some(text) = bench.health.death_notice(bench.now) {
                assert!(
                    text.contains(&format!("{death} in a row: killed by signal 11")),
                    "{text}"
                );
                assert!(text.contains("the next attempt is"), "{text}");
                logged.push(death);
            }
            while !bench.health.has_worker() {
                bench.pass(1.0);
            }
        }
        assert_eq!(logged, [1, 2, 4, 8, 16]);
        assert_eq!(bench.health.deaths(), 20);
        for _ in 0..62 {
            bench.pass(1.0);
            bench.frame();
        }
        bench.tell(Event::Exited("killed by signal 11".into()));
        assert!(
            bench
                .health
                .death_notice(bench.now)
                .is_some_and(|text| text.contains("1 in a row"))
        );
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
