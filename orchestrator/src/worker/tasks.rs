//! The tasks of one camera: started, paused, resumed and stopped, each a pipeline of its own that takes frames from the
//! camera's taps. Here is known which run and how they are; what they do is in `watchpost_pipelines::tasks`.

use super::feeds::Failure;
use super::link::{Waker, report};
use crate::clock::now;
use crate::protocol::CaptureReport;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};
use watchpost_pipelines::camera::{CameraConfig, Source};
use watchpost_pipelines::encode::{EncodedStream, EncoderSetup, OnDemand, Start};
use watchpost_pipelines::tasks::{
    Events, LiveSetup, LiveTask, MediaFolder, Parameters, PhotoSetup, PhotoTask, Profile,
    RawPhotoTask, RawSetup, SeriesSetup, SeriesTask, Stream, Taps, Task, TaskEvent, TaskId,
    TaskState, TaskStatus, VideoSetup, VideoTask, photo,
};

/// A task at work. Letting go of one ends it, but for photos, which end by themselves.
enum Work {
    Live(LiveTask),
    Photo,
    RawPhoto,
    Series(SeriesTask),
    Video(VideoTask),
}

/// A task that was asked for.
struct Entry {
    /// Tells its events from those of an earlier one.
    run: u64,
    /// None while it waits or rests, or is ending.
    work: Option<Work>,
    /// It was told to end and has not said yet that it has.
    ending: bool,
    /// A recording's time has not begun: it counts from its start, not from the request.
    is_fresh: bool,
    /// It rests by request.
    paused: bool,
    /// It rests since another task has the camera.
    away: bool,
    parameters: Parameters,
    asked: Instant,
    status: TaskStatus,
}

impl Entry {
    /// Has a recording finish its file; what it still tells is that of an earlier run.
    fn finish(&mut self, next_run: &mut u64) {
        if let Some(Work::Video(video)) = self.work.take() {
            video.finish();
        }
        *next_run += 1;
        self.run = *next_run;
    }
}

/// What a task told.
pub struct News {
    id: TaskId,
    run: u64,
    event: TaskEvent,
}

/// How a task ended.
pub type Ending = (TaskId, Result<(), String>);

/// The tasks of a camera.
pub struct Tasks {
    camera: CameraConfig,
    live_socket: PathBuf,
    folder: MediaFolder,
    entries: BTreeMap<TaskId, Entry>,
    /// The stream that recordings and their pre-roll share.
    encoded: OnDemand,
    /// The recorder needs its pre-roll.
    records: bool,
    next_run: u64,
    /// What becomes of tasks is not told any more.
    quiet: bool,
    news: Receiver<News>,
    sender: Sender<News>,
    waker: Waker,
}

impl Tasks {
    /// None at work yet.
    pub fn new(
        camera: &CameraConfig,
        live_socket: PathBuf,
        folder: MediaFolder,
        waker: &Waker,
    ) -> Self {
        let (sender, news) = channel();
        Self {
            camera: camera.clone(),
            live_socket,
            folder,
            entries: BTreeMap::new(),
            encoded: OnDemand::default(),
            records: false,
            next_run: 0,
            quiet: false,
            news,
            sender,
            waker: waker.clone(),
        }
    }

    /// How a task is.
    pub fn status(&self, id: TaskId) -> TaskStatus {
        let entry = self.entries.get(&id);
        entry.map_or_else(|| TaskStatus::idle(id, now()), |entry| entry.status.clone())
    }

    /// Whether it was asked for and has not ended.
    pub fn is_under_way(&self, id: TaskId) -> bool {
        let entry = self.entries.get(&id);
        entry.is_some_and(|entry| entry.status.state.is_under_way())
    }

    /// Whether one that does this was asked for and has not ended.
    pub fn is_any_under_way(&self, task: Task) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|(id, entry)| id.task() == task && entry.status.state.is_under_way())
    }

    /// Those that were asked for, in the order in which they are shown.
    fn ids(&self) -> Vec<TaskId> {
        self.entries.keys().copied().collect()
    }

    /// Notes that a task was asked for.
    pub fn ask(&mut self, id: TaskId, parameters: Parameters, detail: &str) {
        self.next_run += 1;
        let is_fresh = matches!(&parameters, Parameters::Video(video) if video.until.is_none());
        let parameters = with_end(parameters);
        let entry = Entry {
            run: self.next_run,
            work: None,
            ending: false,
            is_fresh,
            paused: false,
            away: false,
            asked: Instant::now(),
            status: TaskStatus {
                state: TaskState::Waiting,
                detail: Some(detail.to_owned()),
                parameters: Some(parameters.clone()),
                ..TaskStatus::idle(id, now())
            },
            parameters,
        };
        report(&CaptureReport::Task(entry.status.clone()));
        self.entries.insert(id, entry);
    }

    /// Starts what was asked for.
    pub fn start(&mut self, id: TaskId, taps: &Taps, exclusive: bool) -> Result<(), String> {
        let Some(entry) = self.entries.get_mut(&id) else {
            return Ok(());
        };
        if std::mem::take(&mut entry.is_fresh)
            && let Parameters::Video(video) = &mut entry.parameters
        {
            video.until = video.duration.map(|duration| now() + duration);
            entry.status.parameters = Some(entry.parameters.clone());
        }
        let (run, parameters) = (entry.run, entry.parameters.clone());
        let events = self.events(id, run);
        let work = match &parameters {
            Parameters::Live(_) => {
                LiveTask::start(self.live_setup(), Some(taps), events).map(Work::Live)
            }
            Parameters::Photo(_) => {
                PhotoTask::start(taps, self.photo_setup(), events).map(|_| Work::Photo)
            }
            Parameters::RawPhoto(_) => {
                RawPhotoTask::start(taps, self.raw_setup(), events).map(|_| Work::RawPhoto)
            }
            Parameters::Series(series) => {
                let setup = SeriesSetup {
                    photo: self.photo_setup(),
                    raw: self.raw_setup(),
                };
                SeriesTask::start(Some(taps), setup, series, series.position, events)
                    .map(Work::Series)
            }
            Parameters::Video(video) => {
                let config = &self.camera.tasks.video;
                let setup = VideoSetup {
                    folder: self.folder.clone(),
                    fragment: Duration::from_secs_f64(config.fragment),
                    start: match config.pre_record > 0.0 {
                        true => Start::OldestKey,
                        false => Start::Next,
                    },
                    description: taps.description.clone(),
                };
                let mut video = video.clone();
                video.duration = video.until.map(|until| (until - now()).max(0.1));
                let encoder = self.encoder_setup();
                // A recording that has the camera to itself has its own stream of it.
                let stream = match exclusive {
                    true => EncodedStream::start(taps, &encoder, &events),
                    false => self.encoded.get(taps, &encoder, &events, Instant::now()),
                };
                stream
                    .and_then(|stream| VideoTask::start(stream, setup, &video, events))
                    .map(Work::Video)
            }
            Parameters::Detect(_) => Err("detection is not a task of the capture worker".into()),
        }?;
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.work = Some(work);
        }
        let state = if exclusive {
            TaskState::Exclusive
        } else {
            TaskState::Active
        };
        self.show(id, state, None);
        Ok(())
    }

    /// Lets it rest until [`Tasks::resume`].
    pub fn pause(&mut self, id: TaskId) -> Result<(), String> {
        let entry = self.entries.get_mut(&id);
        let Some(entry) = entry.filter(|entry| entry.status.state.is_under_way()) else {
            return Err(format!("{id} is not under way, so it cannot be paused"));
        };
        match &entry.work {
            Some(Work::Series(series)) => series.pause(),
            // The file is complete; going on begins another.
            Some(Work::Video(_)) => {
                entry.finish(&mut self.next_run);
            }
            None if matches!(id.task(), Task::Series | Task::Video) && !entry.ending => {}
            _ => return Err(format!("{id} cannot be paused; stop it instead")),
        }
        entry.paused = true;
        self.show(id, TaskState::Paused, None);
        Ok(())
    }

    /// Goes on with what was paused. Answers with what has to be started again.
    pub fn resume(&mut self, id: TaskId) -> Result<Option<Parameters>, String> {
        let entry = self.entries.get_mut(&id);
        let Some(entry) = entry.filter(|entry| entry.status.state == TaskState::Paused) else {
            return Err(format!("{id} is not paused"));
        };
        if !entry.paused {
            return Err(format!("{id}: {AWAY}; it goes on by itself after that"));
        }
        entry.paused = false;
        let away = entry.away;
        match &entry.work {
            Some(Work::Series(series)) => series.resume(),
            // Begun again once the camera is back.
            _ if away => {}
            _ => return Ok(Some(entry.parameters.clone())),
        }
        if away {
            self.show(id, TaskState::Paused, Some(AWAY.into()));
        } else {
            self.show(id, TaskState::Active, None);
        }
        Ok(None)
    }

    /// Ends it. What does not run ends at once, the others say when they have.
    pub fn stop(&mut self, id: TaskId) {
        let entry = self.entries.get(&id);
        if entry.is_some_and(|e| e.work.is_none() && !e.ending && e.status.state.is_under_way()) {
            self.end(id, Ok(()));
        }
        self.stop_work(id);
    }

    /// Ends what is at work for it.
    pub fn stop_work(&mut self, id: TaskId) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        match entry.work.take() {
            // It ends by itself, with its frame or its patience.
            Some(work @ (Work::Photo | Work::RawPhoto)) => entry.work = Some(work),
            // Letting go of it ends it.
            Some(work) => {
                entry.ending = true;
                drop(work);
            }
            None => {}
        }
    }

    /// Ends everything: the worker is about to exit.
    pub fn stop_all(&mut self) {
        // Nobody asked them to end: the next worker goes on with them.
        self.quiet = true;
        self.encoded.stop();
        for id in self.ids() {
            self.stop(id);
        }
    }

    /// Whether files are still being finished.
    pub fn is_writing(&self) -> bool {
        let writing = |entry: &Entry| entry.ending || entry.work.is_some();
        let mut entries = self.entries.iter();
        entries.any(|(id, entry)| id.task() != Task::Live && writing(entry))
    }

    /// Whether it was asked for and needs nothing more than a picture to start with.
    pub fn waits_for_a_picture(&self, id: TaskId) -> bool {
        let entry = self.entries.get(&id);
        entry.is_some_and(|entry| entry.work.is_none() && entry.status.state == TaskState::Waiting)
    }

    /// The source it waits for has failed. A photo was meant for now, and does not wait for what may come later.
    pub fn source_failed(&mut self, id: TaskId, failure: &Failure) {
        let Some(entry) = self.entries.get(&id) else {
            return;
        };
        let is_over = failure.at > entry.asked
            || failure.try_at.saturating_duration_since(entry.asked) > photo::PATIENCE;
        let reason = failure.reason.clone();
        if is_over && matches!(id.task(), Task::Photo | Task::RawPhoto) {
            self.end(id, Err(reason));
        } else if entry.status.detail.as_ref() != Some(&reason) {
            self.show(id, TaskState::Waiting, Some(reason));
        }
    }

    /// Whether any does.
    pub fn is_waiting(&self) -> bool {
        let mut ids = self.entries.keys();
        ids.any(|id| self.waits_for_a_picture(*id))
    }

    /// Those that do.
    pub fn waiting(&self) -> Vec<TaskId> {
        let waits = |id: &TaskId| self.waits_for_a_picture(*id);
        self.ids().into_iter().filter(waits).collect()
    }

    /// Has it started anew, by [`Tasks::start`].
    pub fn again(&mut self, id: TaskId) {
        self.show(id, TaskState::Waiting, None);
    }

    /// The camera is there: everything that rests for want of it goes on, but for what rests by request.
    pub fn attach(&mut self, taps_of: &dyn Fn(Task) -> Option<Taps>) {
        for id in self.ids() {
            let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.away) else {
                continue;
            };
            entry.away = false;
            let paused = entry.paused;
            let taps = taps_of(id.task());
            match (&entry.work, &taps) {
                (Some(Work::Live(live)), Some(taps)) => live.attach(taps),
                (Some(Work::Series(series)), taps) => series.set_taps(taps.as_ref()),
                (Some(_), _) => {}
                (None, _) if paused => {}
                (None, _) => {
                    self.again(id);
                    continue;
                }
            }
            if !paused {
                self.show(id, TaskState::Active, None);
            }
        }
    }

    /// Keeps the stream of recordings running where they begin before their start, and stops it when nothing has used
    /// it for a while. `taps` is where a recording would take its pictures now.
    pub fn keep_encoded(&mut self, taps: Option<&Taps>) {
        let now = Instant::now();
        let pre_record = self.camera.tasks.video.pre_record > 0.0;
        if let Some(taps) = taps.filter(|_| pre_record && self.encoded.may_start(now)) {
            let events = log_events("pre-recording");
            let setup = self.encoder_setup();
            if let Err(reason) = self.encoded.get(taps, &setup, &events, now) {
                tracing::error!("pre-recording: {reason}");
            }
        }
        self.encoded.release(pre_record || self.records, now);
    }

    /// The stream of recordings, for the recorder.
    pub fn recorded_stream(&mut self, taps: &Taps) -> Result<EncodedStream, String> {
        let events: Events = Arc::new(|event| match event {
            TaskEvent::Warning(text) => tracing::warn!("recording: {text}"),
            TaskEvent::Progress(text) => tracing::info!("recording: {text}"),
            _ => {}
        });
        let setup = self.encoder_setup();
        self.encoded.get(taps, &setup, &events, Instant::now())
    }

    /// Whether the stream of recordings runs even without a consumer: the recorder's pre-roll is in it.
    pub fn record(&mut self, records: bool) {
        self.records = records;
    }

    /// The stream that recordings, their pre-roll and viewers share.
    pub fn encoded_stream(&mut self, taps: &Taps) -> Result<EncodedStream, String> {
        let setup = self.encoder_setup();
        self.encoded
            .get(taps, &setup, &log_events("live video"), Instant::now())
    }

    /// A stream of a source that is not recorded.
    pub fn separate_stream(&self, taps: &Taps) -> Result<EncodedStream, String> {
        let setup = EncoderSetup {
            stream: Some(Stream::Main),
            ..EncoderSetup::default()
        };
        EncodedStream::start(taps, &setup, &log_events("live video"))
    }

    /// Another task is to have the camera for itself: viewers see a notice, recordings end their file, series miss shots.
    pub fn detach(&mut self, but: TaskId) {
        self.encoded.stop();
        for id in self.ids().into_iter().filter(|id| *id != but) {
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            match &entry.work {
                Some(Work::Live(live)) => {
                    live.show_notice(&format!("paused: {but} has the camera"));
                }
                Some(Work::Series(series)) => series.set_taps(None),
                Some(Work::Video(_)) => {
                    entry.finish(&mut self.next_run);
                }
                // Its frame comes before the camera stops, or its patience ends.
                _ => continue,
            }
            entry.away = true;
            if !entry.paused {
                self.show(id, TaskState::Paused, Some(AWAY.into()));
            }
        }
    }

    /// Takes what the tasks have told since the last look; answers with those that have ended. The one whose `turn` with the
    /// camera it is ends when it has given the camera back.
    pub fn take_news(&mut self, turn: Option<TaskId>) -> Vec<Ending> {
        let mut endings = Vec::new();
        while let Ok(News { id, run, event }) = self.news.try_recv() {
            if let TaskEvent::File(file) = event {
                // Also of one that has been replaced meanwhile.
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.status.files += 1;
                }
                report(&CaptureReport::File(file));
                continue;
            }
            let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.run == run) else {
                continue;
            };
            match event {
                TaskEvent::File(_) => {}
                TaskEvent::Progress(text) => {
                    let state = entry.status.state;
                    self.show(id, state, Some(text));
                }
                TaskEvent::Series(position) => {
                    if let Parameters::Series(series) = &mut entry.parameters {
                        series.position = Some(position);
                    }
                    entry.status.parameters = Some(entry.parameters.clone());
                    report(&CaptureReport::Task(entry.status.clone()));
                }
                TaskEvent::Warning(text) => tracing::warn!("{id}: {text}"),
                TaskEvent::Ended => endings.push((id, Ok(()))),
                TaskEvent::Failed(reason) => endings.push((id, Err(reason))),
            }
        }
        for (id, ending) in &endings {
            if turn == Some(*id) {
                self.let_go(*id);
            } else {
                self.end(*id, ending.clone());
            }
        }
        endings
    }

    /// A task is over.
    pub fn end(&mut self, id: TaskId, ending: Result<(), String>) {
        self.let_go(id);
        let (state, detail) = match ending {
            Ok(()) => (TaskState::Idle, None),
            Err(reason) => (TaskState::Error, Some(reason)),
        };
        self.show(id, state, detail);
    }

    /// Nothing is at work for a task any more.
    fn let_go(&mut self, id: TaskId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.work = None;
            entry.ending = false;
        }
    }

    /// Shows where a task is.
    pub fn show(&mut self, id: TaskId, state: TaskState, detail: Option<String>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        if entry.status.state != state {
            entry.status.since = now();
        }
        (entry.status.state, entry.status.detail) = (state, detail);
        if !self.quiet {
            report(&CaptureReport::Task(entry.status.clone()));
        }
    }

    fn events(&self, id: TaskId, run: u64) -> Events {
        let (sender, waker) = (self.sender.clone(), self.waker.clone());
        Arc::new(move |event| {
            // Whoever listened is about to exit.
            let _ = sender.send(News { id, run, event });
            waker.wake();
        })
    }

    /// The size a task scales to: none where the camera itself is configured for it.
    fn scaled(&self, profile: &Profile) -> Option<watchpost_pipelines::tasks::Size> {
        match self.camera.primary_source() {
            // The camera has the size, but for the small one of a camera with one stream at a time.
            Some(Source::Libcamera(_)) if profile.stream == Stream::Main => None,
            Some(Source::V4l2(_)) if profile.stream == Stream::Main => None,
            _ => profile.size,
        }
    }

    fn live_setup(&self) -> LiveSetup {
        let profile = &self.camera.profiles.live;
        LiveSetup {
            socket: self.live_socket.clone(),
            stream: profile.stream,
            size: self.scaled(profile),
            config: self.camera.tasks.live.clone(),
        }
    }

    fn photo_setup(&self) -> PhotoSetup {
        let profile = &self.camera.profiles.photo;
        PhotoSetup {
            folder: self.folder.clone(),
            stream: profile.stream,
            size: self.scaled(profile),
            quality: self.camera.tasks.photo.quality,
            patience: photo::PATIENCE,
        }
    }

    fn raw_setup(&self) -> RawSetup {
        let (make, model) = match self.camera.primary_source() {
            Some(Source::Libcamera(source)) => ("Raspberry Pi", source.camera.clone()),
            Some(source) => ("", source.kind().to_owned()),
            None => ("", String::new()),
        };
        RawSetup {
            folder: self.folder.clone(),
            make: make.into(),
            model,
            transform: self.camera.profiles.raw_photo.transform,
            patience: photo::PATIENCE,
        }
    }

    fn encoder_setup(&self) -> EncoderSetup {
        let profile = &self.camera.profiles.video;
        EncoderSetup {
            config: self.camera.tasks.video.clone(),
            stream: Some(profile.stream),
            size: self.scaled(profile),
        }
    }
}

/// Logs the warnings and the encoder of a stream that belongs to no task.
fn log_events(purpose: &'static str) -> Events {
    Arc::new(move |event| match event {
        TaskEvent::Warning(text) => tracing::warn!("{purpose}: {text}"),
        TaskEvent::Progress(text) => tracing::info!("{purpose}: {text}"),
        _ => {}
    })
}

/// What the status of a task says that rests since another has the camera.
const AWAY: &str = "another task has the camera to itself";

/// A recording that ends after a while ends at a time, so that it can be begun again without becoming longer.
fn with_end(parameters: Parameters) -> Parameters {
    match parameters {
        Parameters::Video(mut video) => {
            let end = video.duration.map(|duration| now() + duration);
            video.until = video.until.or(end);
            Parameters::Video(video)
        }
        other => other,
    }
}

/// Time a task may take that has the camera to itself; those without an end of their own are ended by request.
pub fn time_of(parameters: &Parameters) -> Duration {
    const NO_END: Duration = Duration::from_secs(10 * 365 * 86_400);
    match parameters {
        Parameters::Photo(_) | Parameters::RawPhoto(_) => photo::PATIENCE + Duration::from_secs(20),
        Parameters::Video(video) => video.duration.map_or(NO_END, |seconds| {
            Duration::from_secs_f64(seconds) + Duration::from_secs(20)
        }),
        Parameters::Live(_) | Parameters::Series(_) | Parameters::Detect(_) => NO_END,
    }
}
