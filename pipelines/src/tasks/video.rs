//! A recording: encoded pictures of a camera into MP4 files that survive whatever happens.

use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use super::event::{Events, TaskEvent, Worker};
use super::file::MediaFolder;
use super::film::Film;
use super::photo::wall_time;
use super::task::VideoParameters;
use crate::encode::{Consumer, EncodedStream, Packet, Received, Start};

/// How long a recording waits for its first picture.
const FIRST_PICTURE: Duration = Duration::from_secs(15);
/// How long pictures from before the end may still come out of the encoder.
const DRAIN: Duration = Duration::from_secs(2);
/// The same where a recording is stopped: the process may be about to exit.
const STOP_DRAIN: Duration = Duration::from_millis(400);
/// How often to look for commands.
const LOOK: Duration = Duration::from_millis(50);
/// How long [`VideoTask::stop`] waits for the end of the file.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How recordings are made.
#[derive(Debug, Clone)]
pub struct VideoSetup {
    /// Where they go.
    pub folder: MediaFolder,
    /// Time per fragment of the file.
    pub fragment: Duration,
    /// The first picture of the recording.
    pub start: Start,
    /// The configuration the camera runs with, for the record of each file.
    pub description: serde_json::Value,
}

/// A recording under way.
#[derive(Debug)]
pub struct VideoTask {
    worker: Worker<Stop>,
}

struct Stop;

impl VideoTask {
    /// Records `stream`. Events: progress each second, each file, the end.
    pub fn start(
        stream: EncodedStream,
        setup: VideoSetup,
        parameters: &VideoParameters,
        events: Events,
    ) -> Result<Self, String> {
        let requested = Instant::now();
        let duration = parameters.duration.map(Duration::from_secs_f64);
        let consumer = stream.subscribe(setup.start)?;
        let worker = Worker::spawn("video", events, move |inbox, events| {
            let lost_before = stream.lost();
            let mut recording = Recording {
                setup: &setup,
                requested,
                duration,
                stream,
                consumer,
                film: None,
                told: Instant::now(),
                events,
            };
            let result = recording.run(&inbox);
            let lost = recording.stream.lost().saturating_sub(lost_before);
            if lost > 0 {
                events(TaskEvent::Warning(format!(
                    "{lost} frames are not in the recording: the encoder is slower than the camera; a smaller size or \
                     fewer frames per second help"
                )));
            }
            let dropped = recording.consumer.dropped();
            if dropped > 0 {
                events(TaskEvent::Warning(format!(
                    "{dropped} frames are not in the recording: the disk does not keep up; a lower bit rate helps"
                )));
            }
            // What kept the file from being closed in order says what is left of it too.
            recording.close().and(result)
        })?;
        Ok(Self { worker })
    }

    /// Ends it, and waits until the file is complete, but not for long. True if it is.
    pub fn stop(&self) -> bool {
        self.worker.send(Stop);
        self.worker.wait(STOP_PATIENCE)
    }

    /// Asks it to end; the file comes by event.
    pub fn finish(&self) {
        self.worker.send(Stop);
    }
}

impl Drop for VideoTask {
    fn drop(&mut self) {
        self.worker.send(Stop);
    }
}

struct Recording<'a> {
    setup: &'a VideoSetup,
    requested: Instant,
    duration: Option<Duration>,
    stream: EncodedStream,
    consumer: Consumer,
    film: Option<Film>,
    told: Instant,
    events: &'a Events,
}

impl Recording<'_> {
    fn run(&mut self, inbox: &Receiver<Stop>) -> Result<(), String> {
        let (clock, running) = (Instant::now(), self.stream.running_time());
        let running = running.ok_or("the camera is not running")?;
        // A running time of the camera's pipeline, on this process's clock.
        let on_clock = |time: gst::ClockTime| {
            let age = running.nseconds() as i128 - time.nseconds() as i128;
            let distance = Duration::from_nanos(age.unsigned_abs() as u64);
            if age >= 0 {
                clock.checked_sub(distance).unwrap_or(clock)
            } else {
                clock + distance
            }
        };
        let mut end = self.duration.map(|duration| self.requested + duration);
        // Pictures from before the end are waited for up to then.
        let mut last_call = end.map(|end| end + DRAIN);
        let mut stopped = false;
        let mut begun = false;
        let mut any = false;
        loop {
            let now = Instant::now();
            let stop = matches!(inbox.try_recv(), Ok(Stop) | Err(TryRecvError::Disconnected));
            if stop && !stopped {
                stopped = true;
                end = Some(end.map_or(now, |end| end.min(now)));
                last_call = Some(now + STOP_DRAIN);
            }
            if last_call.is_some_and(|until| now >= until) {
                return self.ended(any);
            }
            match self.consumer.receive(LOOK) {
                Received::Packet(packet) => {
                    // So many seconds of film: they count from its first picture, but for what is from before the request.
                    if packet.is_key && !begun {
                        begun = true;
                        if let Some(duration) = self.duration.filter(|_| !stopped) {
                            let until = on_clock(packet.pts).max(self.requested) + duration;
                            end = Some(until);
                            last_call = Some(until + DRAIN);
                        }
                    }
                    // By decoding time: where pictures are reordered, those before the end may still follow one after it.
                    if end.is_some_and(|end| on_clock(packet.dts) >= end) {
                        return self.ended(any);
                    }
                    any = true;
                    self.write(&packet, on_clock(packet.pts))?;
                }
                Received::Ended if stopped => return self.ended(any),
                Received::Ended => {
                    return Err(
                        "the camera's stream has ended; the recording is complete up to then"
                            .into(),
                    );
                }
                Received::Failed(reason) => return Err(reason),
                Received::Nothing if !any && now - self.requested > FIRST_PICTURE => {
                    return Err(format!(
                        "no picture came from the camera within {} s",
                        FIRST_PICTURE.as_secs()
                    ));
                }
                Received::Nothing => {}
            }
        }
    }

    fn ended(&self, any: bool) -> Result<(), String> {
        if any && self.film.is_some() {
            Ok(())
        } else {
            Err("it was stopped before the camera's first key frame came; there is no file".into())
        }
    }

    fn write(&mut self, packet: &Packet, taken: Instant) -> Result<(), String> {
        if self.film.as_ref().is_some_and(|film| !film.takes(packet)) {
            // Another codec, size or clock: that is another file.
            self.close()?;
        }
        let film = match &mut self.film {
            Some(film) => film,
            None if packet.is_key => {
                let fragment = self.setup.fragment;
                let folder = &self.setup.folder;
                let film = Film::begin(folder, packet, wall_time(taken), fragment)?;
                self.film.insert(film)
            }
            None => return Ok(()),
        };
        film.write(packet)?;
        if self.told.elapsed() >= Duration::from_secs(1) {
            self.told = Instant::now();
            let (time, bytes) = film.extent();
            (self.events)(TaskEvent::Progress(format!(
                "{:.0} s, {:.1} MB",
                time.as_secs_f64(),
                bytes as f64 / 1e6
            )));
        }
        Ok(())
    }

    /// Finishes the film there is.
    fn close(&mut self) -> Result<(), String> {
        let Some(film) = self.film.take() else {
            return Ok(());
        };
        let folder = &self.setup.folder;
        let (file, problem) = film.finish(&self.setup.description, folder, self.events);
        let kept = file.as_ref().and_then(|file| file.duration);
        if let Some(file) = file {
            (self.events)(TaskEvent::File(file));
        }
        match (problem, kept) {
            (None, _) => Ok(()),
            (Some(problem), Some(kept)) => Err(format!(
                "{problem}; the recording is closed and plays up to {kept:.1} s"
            )),
            (Some(problem), None) => Err(format!("{problem}; nothing of the recording is left")),
        }
    }
}
