//! A recording: encoded pictures of a camera into MP4 files that survive whatever happens.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant};

use super::event::{Events, TaskEvent, Worker};
use super::file::MediaFolder;
use super::film::Film;
use super::packet::{Feed, Packet};
use super::photo::wall_time;
use super::prerecord::{EncoderSetup, Feeder, PreRecorder};
use super::tap::Taps;
use super::task::VideoParameters;

/// How long a recording waits for its first picture.
const FIRST_PICTURE: Duration = Duration::from_secs(15);
/// How long pictures may still come out of the encoder after the end.
const DRAIN: Duration = Duration::from_secs(2);
/// How often to look for commands.
const LOOK: Duration = Duration::from_millis(50);
/// How long [`VideoTask::stop`] waits for the end of the file.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How recordings are made.
#[derive(Debug, Clone)]
pub struct VideoSetup {
    /// Where they go.
    pub folder: MediaFolder,
    /// How pictures are encoded, where the camera does not.
    pub encoder: EncoderSetup,
}

/// A recording under way.
#[derive(Debug)]
pub struct VideoTask {
    worker: Worker<Stop>,
}

struct Stop;

impl VideoTask {
    /// Starts one. With a [`PreRecorder`] it begins as many seconds ago as that holds, and its encoder is used; otherwise
    /// it has its own. Events: a warning with the cost where the processor encodes, progress each second, each file, the
    /// end.
    pub fn start(
        taps: &Taps,
        setup: VideoSetup,
        parameters: &VideoParameters,
        before: Option<&PreRecorder>,
        events: Events,
    ) -> Result<Self, String> {
        let requested = Instant::now();
        let taps = taps.clone();
        let before = before.map(PreRecorder::feeder);
        let duration = parameters.duration.map(Duration::from_secs_f64);
        let worker = Worker::spawn("video", events, move |inbox, events| {
            // A pre-recorder that failed is no reason to record nothing.
            let before = before.filter(|feeder| !feeder.is_over());
            let (feeder, own) = match before {
                Some(feeder) => (feeder, false),
                None => {
                    let feeder = Feeder::start(&taps, &setup.encoder, 0.0, events, None)?;
                    (Arc::new(feeder), true)
                }
            };
            let lost_before = feeder.lost();
            let mut recording = Recording {
                setup: &setup,
                requested,
                duration,
                feeder,
                own,
                lost_before,
                camera_config: &taps.description,
                film: None,
                told: Instant::now(),
                events,
            };
            let result = recording.run(&inbox);
            let lost = recording
                .feeder
                .lost()
                .saturating_sub(recording.lost_before);
            if lost > 0 {
                events(TaskEvent::Warning(format!(
                    "{lost} frames are not in the recording: the encoder is slower than the camera; a smaller size or \
                     fewer frames per second help"
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
    feeder: Arc<Feeder>,
    /// Whether the encoder works for this recording alone.
    own: bool,
    /// Frames the encoder had lost before.
    lost_before: u64,
    camera_config: &'a serde_json::Value,
    film: Option<Film>,
    told: Instant,
    events: &'a Events,
}

impl Recording<'_> {
    fn run(&mut self, inbox: &Receiver<Stop>) -> Result<(), String> {
        let feed = self.feeder.listen()?;
        let (clock, running) = (Instant::now(), self.feeder.running_time());
        let running = running.ok_or("the camera is not running")?;
        // When a picture was taken, on this process's clock.
        let taken = |packet: &Packet| {
            let age = running.nseconds() as i128 - packet.pts.nseconds() as i128;
            let distance = Duration::from_nanos(age.unsigned_abs() as u64);
            if age >= 0 {
                clock.checked_sub(distance).unwrap_or(clock)
            } else {
                clock + distance
            }
        };
        let end = self.duration.map(|duration| self.requested + duration);
        let mut last_call: Option<Instant> = None;
        let mut any = false;
        loop {
            let now = Instant::now();
            let stop = match inbox.try_recv() {
                Ok(Stop) | Err(TryRecvError::Disconnected) => true,
                Err(TryRecvError::Empty) => end.is_some_and(|end| now >= end + DRAIN),
            };
            if stop && last_call.is_none() {
                last_call = Some(now + DRAIN);
                if self.own {
                    self.feeder.drain();
                } else {
                    return self.ended(any);
                }
            }
            if last_call.is_some_and(|until| now >= until) {
                return self.ended(any);
            }
            match feed.recv_timeout(LOOK) {
                Ok(Feed::Packet(packet)) => {
                    let taken = taken(&packet);
                    if end.is_some_and(|end| taken >= end) {
                        return self.ended(any);
                    }
                    any = true;
                    self.write(&packet, taken)?;
                }
                Ok(Feed::End) if last_call.is_some() => return self.ended(any),
                Ok(Feed::End) => {
                    return Err(
                        "the camera's stream has ended; the recording is complete up to then"
                            .into(),
                    );
                }
                Ok(Feed::Failed(reason)) => return Err(reason),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the disk does not keep up with the recording".into());
                }
                Err(RecvTimeoutError::Timeout) if !any && now - self.requested > FIRST_PICTURE => {
                    return Err(format!(
                        "no picture came from the camera within {} s",
                        FIRST_PICTURE.as_secs()
                    ));
                }
                Err(RecvTimeoutError::Timeout) => {}
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
            // The camera now sends another format: that is another film.
            self.close()?;
        }
        let film = match &mut self.film {
            Some(film) => film,
            None if packet.is_key => {
                let fragment = Duration::from_secs_f64(self.setup.encoder.config.fragment);
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
        let (file, problem) = film.finish(self.camera_config, folder, self.events);
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
