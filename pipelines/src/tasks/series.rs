//! Photos at an interval, on the grid of [`super::schedule`].

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::event::{Events, TaskEvent, Worker};
use super::frames::{Frame, Frames, Next};
use super::name::since_epoch;
use super::photo::{self, PhotoSetup};
use super::raw::{self, RawSetup};
use super::schedule::{Schedule, Shot};
use super::task::{SeriesKind, SeriesParameters, Task};
use crate::camera::Stream;
use crate::capture::{StreamId, Taps};

/// Name of a series without one.
const UNNAMED: &str = "series";
/// How long before a shot the camera's frames are looked at. In between none of its buffers is held.
const AHEAD: Duration = Duration::from_millis(500);
/// Frames that may wait for the encoder; a shot for which there is no room is missed.
const WAITING: usize = 2;
/// How often to look at the clock while nothing is due.
const LOOK: Duration = Duration::from_secs(1);
/// How long [`SeriesTask::stop`] waits for the last files.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// Where a series is, to go on from there in another run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SeriesPosition {
    /// When number 0 was due, seconds since 1970.
    pub origin: f64,
    /// The number that follows.
    pub next: u64,
    /// Shots that were taken.
    pub taken: u64,
    /// Shots for which no frame came in time.
    pub missed: u64,
}

/// How a series makes its files.
#[derive(Debug, Clone)]
pub struct SeriesSetup {
    /// Of the jpg.
    pub photo: PhotoSetup,
    /// Of the raw photo beside it, for a series that has one.
    pub raw: RawSetup,
}

/// A series under way.
#[derive(Debug)]
pub struct SeriesTask {
    worker: Worker<Command>,
}

enum Command {
    Taps(Option<Taps>),
    Pause,
    Resume,
    Stop,
}

impl SeriesTask {
    /// Starts one, or goes on with one at the position it last told. `taps` is none while the camera is away; see
    /// [`Self::set_taps`]. Events: files, the position after each shot, warnings that name what was missed.
    pub fn start(
        taps: Option<&Taps>,
        setup: SeriesSetup,
        parameters: &SeriesParameters,
        position: Option<SeriesPosition>,
        events: Events,
    ) -> Result<Self, String> {
        let parameters = parameters.clone();
        let taps = taps.cloned();
        let worker = Worker::spawn("series", events, move |inbox, events| {
            Series::new(setup, &parameters, position, events)?.run(taps, &inbox)
        })?;
        Ok(Self { worker })
    }

    /// The camera is there (again), or away for a while. Shots that are due while it is away are missed.
    pub fn set_taps(&self, taps: Option<&Taps>) {
        self.worker.send(Command::Taps(taps.cloned()));
    }

    /// No shots until it is resumed; the grid stays.
    pub fn pause(&self) {
        self.worker.send(Command::Pause);
    }

    /// Goes on with the next point of the grid.
    pub fn resume(&self) {
        self.worker.send(Command::Resume);
    }

    /// Ends it; waits for the files that are being written, but not for long. True if it has ended.
    pub fn stop(&self) -> bool {
        self.worker.send(Command::Stop);
        self.worker.wait(STOP_PATIENCE)
    }
}

impl Drop for SeriesTask {
    fn drop(&mut self) {
        self.worker.send(Command::Stop);
    }
}

/// A shot on its way to the encoder.
struct Work {
    shot: Shot,
    frame: Frame,
    raw: Option<Frame>,
    camera_config: serde_json::Value,
}

/// The thread that writes files, and the way to it.
type Saver = (SyncSender<Work>, JoinHandle<Result<(), String>>);

struct Series<'a> {
    name: String,
    interval: Duration,
    /// Given start, seconds since 1970.
    start: Option<f64>,
    stream: Stream,
    with_raw: bool,
    schedule: Schedule,
    /// The monotonic clock counts from here.
    zero: Instant,
    /// Wall clock at `zero`, as it was when the grid was placed.
    wall_zero: f64,
    saver: Option<Saver>,
    told: Instant,
    events: &'a Events,
}

/// The wall clock at a moment of the monotonic one, as both stand now.
fn wall_at(moment: Instant) -> f64 {
    let wall = since_epoch(SystemTime::now()).as_secs_f64();
    wall - Instant::now().duration_since(moment).as_secs_f64()
}

impl<'a> Series<'a> {
    fn new(
        setup: SeriesSetup,
        parameters: &SeriesParameters,
        position: Option<SeriesPosition>,
        events: &'a Events,
    ) -> Result<Self, String> {
        let zero = Instant::now();
        let wall_zero = wall_at(zero);
        let origin = position.map_or(parameters.start, |position| Some(position.origin));
        let begins = origin.unwrap_or(wall_zero);
        let schedule = Schedule::new(
            nanos(begins - wall_zero),
            parameters.interval,
            parameters.count,
            parameters.end.map(|end| end - begins),
        );
        let schedule = match position {
            Some(position) => schedule.resume(position.next, position.taken, position.missed, 0),
            None => schedule,
        };
        let name = parameters.name.clone().unwrap_or_else(|| UNNAMED.into());
        let (shots, inbox) = sync_channel(WAITING);
        let stream = setup.photo.stream;
        let (saver_name, saver_events) = (name.clone(), events.clone());
        let saver = thread::Builder::new()
            .name("series-files".into())
            .spawn(move || save_all(&inbox, &setup, &saver_name, &saver_events))
            .map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            name,
            interval: Duration::from_secs_f64(parameters.interval),
            start: parameters.start,
            stream,
            with_raw: parameters.kind == SeriesKind::RawJpg,
            schedule,
            zero,
            wall_zero,
            saver: Some((shots, saver)),
            told: zero,
            events,
        })
    }

    fn run(mut self, mut taps: Option<Taps>, inbox: &Receiver<Command>) -> Result<(), String> {
        let mut frames: Option<(Frames, Option<Frames>)> = None;
        let result = loop {
            self.follow_wall_clock();
            let Some(due) = self.schedule.next_due() else {
                break Ok(());
            };
            let until_due = due - i128::from(self.now());
            let wait = until_due - AHEAD.as_nanos() as i128;
            let watch = taps.is_some() && !self.schedule.is_paused() && wait <= 0;
            // While frames are watched, waiting is done at the tap.
            let command = if watch {
                inbox.try_recv().map_err(|error| match error {
                    std::sync::mpsc::TryRecvError::Empty => RecvTimeoutError::Timeout,
                    std::sync::mpsc::TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else {
                let limit = Duration::from_nanos(u64::try_from(wait).unwrap_or(0)).min(LOOK);
                let pause = Duration::from_millis(if wait > 0 { 1 } else { 100 });
                inbox.recv_timeout(limit.max(pause))
            };
            match command {
                Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => break Ok(()),
                Ok(Command::Taps(new)) => {
                    taps = new;
                    frames = None;
                    continue;
                }
                Ok(Command::Pause) => {
                    self.schedule.pause();
                    frames = None;
                    continue;
                }
                Ok(Command::Resume) => {
                    let now = self.now();
                    self.schedule.go_on(now);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.saver_failed() {
                break Ok(());
            }
            let Some(there) = taps.as_ref().filter(|_| watch) else {
                frames = None;
                self.let_pass("the camera is away");
                continue;
            };
            if frames.is_none() {
                match self.connect(there) {
                    Ok(connected) => frames = Some(connected),
                    Err(reason) => break Err(reason),
                }
            }
            let Some((main, raw)) = &frames else { continue };
            match main.next(LOOK.min(AHEAD)) {
                Next::Frame(frame) => self.look(frame, raw.as_ref(), there),
                Next::Nothing => self.let_pass("no frame comes from the camera"),
                Next::Ended => {
                    taps = None;
                    frames = None;
                }
            }
            let next_far = self
                .schedule
                .next_due()
                .is_none_or(|due| due - i128::from(self.now()) > 2 * AHEAD.as_nanos() as i128);
            if next_far {
                frames = None;
            }
        };
        drop(frames);
        let saved = self.finish_saving();
        (self.events)(TaskEvent::Series(self.position()));
        result.and(saved)
    }

    fn now(&self) -> u64 {
        self.zero.elapsed().as_nanos() as u64
    }

    /// Until its first shot a series with a given start follows the wall clock, which may be set in the meantime.
    fn follow_wall_clock(&mut self) {
        if self.schedule.next() == 0
            && let Some(start) = self.start
        {
            self.wall_zero = wall_at(self.zero);
            self.schedule.place(nanos(start - self.wall_zero));
        }
    }

    fn connect(&self, taps: &Taps) -> Result<(Frames, Option<Frames>), String> {
        let stream = self.stream;
        let main = taps
            .stream(stream)
            .ok_or_else(|| format!("the camera has no stream {stream}"))?;
        let main = Frames::connect(main, 2)?;
        // Without a raw stream of its own the raw photo is the frame the jpg is made of.
        let raw = match taps.get(StreamId::Raw) {
            Some(raw) if self.with_raw => Some(Frames::connect(raw, 2)?),
            _ => None,
        };
        Ok((main, raw))
    }

    fn look(&mut self, frame: Frame, raw: Option<&Frames>, taps: &Taps) {
        let time = frame.taken.duration_since(self.zero).as_nanos() as u64;
        let Some(shot) = self.schedule.frame(time) else {
            return;
        };
        self.tell_missed(&shot.missed, "no frame came in time");
        let due = self.schedule.due(shot.number).max(0) as u64;
        let earliest = self.zero + Duration::from_nanos(due);
        let raw = match raw {
            None if self.with_raw => Some(Frame {
                sample: frame.sample.clone(),
                taken: frame.taken,
            }),
            None => None,
            Some(raw) => {
                let deadline = Instant::now() + self.interval.min(photo::PATIENCE);
                match raw.next_since(earliest, deadline) {
                    Ok(frame) => Some(frame),
                    Err(reason) => {
                        let number = shot.number;
                        self.warn(format!("no raw photo for number {number}: {reason}"));
                        None
                    }
                }
            }
        };
        let number = shot.number;
        let late = Duration::from_nanos(shot.late);
        let work = Work {
            shot,
            frame,
            raw,
            camera_config: taps.description.clone(),
        };
        let full = match &self.saver {
            Some((saver, _)) => matches!(saver.try_send(work), Err(TrySendError::Full(_))),
            None => false,
        };
        if full {
            self.schedule.lost();
            self.warn(format!(
                "number {number} is missed: files are not written as fast as shots are due; a longer interval or a \
                 smaller picture helps"
            ));
        } else {
            self.tell_position(number, late);
        }
    }

    fn let_pass(&mut self, reason: &str) {
        let now = self.now();
        let passed = self.schedule.pass_by(now);
        if !self.schedule.is_paused() {
            self.tell_missed(&passed, reason);
        }
    }

    fn tell_missed(&self, missed: &std::ops::Range<u64>, reason: &str) {
        match missed.end.saturating_sub(missed.start) {
            0 => {}
            1 => self.warn(format!("number {} is missed: {reason}", missed.start)),
            _ => self.warn(format!(
                "numbers {} to {} are missed: {reason}",
                missed.start,
                missed.end - 1
            )),
        }
    }

    fn warn(&self, text: String) {
        (self.events)(TaskEvent::Warning(format!("series {}: {text}", self.name)));
    }

    fn tell_position(&mut self, number: u64, late: Duration) {
        (self.events)(TaskEvent::Series(self.position()));
        if self.told.elapsed() >= LOOK || number == 0 {
            self.told = Instant::now();
            (self.events)(TaskEvent::Progress(format!(
                "number {number} taken {:.0} ms after its time; {} taken, {} missed",
                late.as_secs_f64() * 1e3,
                self.schedule.taken(),
                self.schedule.missed()
            )));
        }
    }

    fn position(&self) -> SeriesPosition {
        SeriesPosition {
            origin: self.wall_zero + self.schedule.origin() as f64 / 1e9,
            next: self.schedule.next(),
            taken: self.schedule.taken(),
            missed: self.schedule.missed(),
        }
    }

    fn saver_failed(&self) -> bool {
        self.saver
            .as_ref()
            .is_some_and(|(_, thread)| thread.is_finished())
    }

    fn finish_saving(&mut self) -> Result<(), String> {
        match self.saver.take() {
            None => Ok(()),
            Some((shots, thread)) => {
                drop(shots);
                thread
                    .join()
                    .unwrap_or_else(|_| Err("internal error, see the log".into()))
            }
        }
    }
}

fn nanos(seconds: f64) -> i128 {
    (seconds * 1e9).round() as i128
}

/// Writes the files of all shots; ends at the first that cannot be written.
fn save_all(
    inbox: &Receiver<Work>,
    setup: &SeriesSetup,
    name: &str,
    events: &Events,
) -> Result<(), String> {
    for work in inbox {
        let series = Some((name.to_owned(), work.shot.number));
        let config = &work.camera_config;
        let file = photo::save(
            &work.frame,
            &setup.photo,
            Task::Series,
            series.clone(),
            config,
            events,
        )?;
        events(TaskEvent::File(file));
        if let Some(raw) = &work.raw {
            let file = raw::save(raw, &setup.raw, Task::Series, series, config, events)?;
            events(TaskEvent::File(file));
        }
    }
    Ok(())
}
