//! Further sources of a camera: one for recordings and photos, one for the live picture, connected as long as a task
//! takes frames from them. Sources that several roles name are one connection.

use super::link::Waker;
use super::messages::Messages;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};
use watchpost_pipelines::camera::{CameraConfig, Role, Source};
use watchpost_pipelines::capture::{self, Capture, CaptureEvent, Setup, StreamId};
use watchpost_pipelines::fault::{Fault, FaultKind};
use watchpost_pipelines::secret::hide;
use watchpost_pipelines::spec::CaptureSpec;
use watchpost_pipelines::tasks::{Taps, Task};

/// How long a source stays connected after the last task.
const IDLE: Duration = Duration::from_secs(10);
/// From a failure to the next attempt.
const RETRY: Duration = Duration::from_secs(5);
/// The same where the credentials were refused: cameras lock an account after a few failures.
const RETRY_REFUSED: Duration = Duration::from_secs(300);

/// The sources beside the one that is always at work.
pub struct Feeds {
    camera: CameraConfig,
    failed_decoders: Vec<String>,
    waker: Waker,
    /// The source for recordings is recorded continuously or by events.
    records: bool,
    /// By the role that is named first.
    feeds: BTreeMap<Role, Feed>,
}

struct Feed {
    source: Source,
    /// None while nobody needs it, and until the next attempt.
    capture: Option<(Capture, Messages)>,
    /// A fault that is being looked into.
    fault: Option<(Fault, Receiver<String>)>,
    needed: Instant,
    try_at: Instant,
    failure: Option<Failure>,
}

/// Why a source gives no pictures.
pub struct Failure {
    /// For people.
    pub reason: String,
    /// When it failed last.
    pub at: Instant,
    /// When it is tried again.
    pub try_at: Instant,
}

impl Feed {
    /// Lets go of the connection, and looks into it in the background: that may take longer than other sources can wait.
    fn look_into(&mut self, fault: Fault, message: gst::Message, waker: &Waker) {
        self.capture = None;
        let (sender, why) = channel();
        let waker = waker.clone();
        let asking = move || {
            if let Some(why) = capture::why_not_connected(&message) {
                let _ = sender.send(why);
            }
            drop(sender);
            waker.wake();
        };
        // Without a thread there is no answer, and the fault stays as it was told.
        let _ = std::thread::Builder::new().name("why".into()).spawn(asking);
        self.fault = Some((fault, why));
    }

    fn failed(&mut self, role: Role, fault: &Fault, now: Instant) {
        let (role, why) = (role.as_str(), &fault.reason);
        let reason = match &self.source {
            Source::Rtsp(rtsp) => format!("source for {role}, {}: {why}", hide(&rtsp.url)),
            _ => format!("source for {role}: {why}"),
        };
        let known = self.failure.as_ref().map(|failure| &failure.reason);
        if known != Some(&reason) {
            tracing::warn!("{reason}");
        }
        self.capture = None;
        self.try_at = now
            + match fault.kind {
                FaultKind::Auth => RETRY_REFUSED,
                _ => RETRY,
            };
        self.failure = Some(Failure {
            reason,
            at: now,
            try_at: self.try_at,
        });
    }
}

impl Feeds {
    /// None connected yet.
    pub fn new(spec: &CaptureSpec, waker: &Waker) -> Self {
        let camera = &spec.camera;
        let primary = camera.primary_source();
        let now = Instant::now();
        let mut feeds: BTreeMap<Role, Feed> = BTreeMap::new();
        for role in [Role::Record, Role::Live] {
            let source = camera
                .source_for(role)
                .filter(|source| Some(*source) != primary);
            if let Some(source) = source
                && feeds.values().all(|feed| feed.source != *source)
            {
                let feed = Feed {
                    source: source.clone(),
                    capture: None,
                    fault: None,
                    needed: now,
                    try_at: now,
                    failure: None,
                };
                feeds.insert(role, feed);
            }
        }
        Self {
            camera: camera.clone(),
            failed_decoders: spec.failed_decoders.clone(),
            waker: waker.clone(),
            records: false,
            feeds,
        }
    }

    /// The feed a task takes its frames from; none where that is the source at work.
    fn of(&self, task: Task) -> Option<Role> {
        let role = match task {
            Task::Live => Role::Live,
            Task::Photo | Task::RawPhoto | Task::Series | Task::Video => Role::Record,
            Task::Detect => return None,
        };
        let source = self.camera.source_for(role)?;
        let (role, _) = self.feeds.iter().find(|(_, feed)| feed.source == *source)?;
        Some(*role)
    }

    /// Whether a task is served from here, without touching the source at work.
    pub fn serve(&self, task: Task) -> bool {
        self.of(task).is_some()
    }

    /// What keeps a task's source from giving pictures.
    pub fn failure(&self, task: Task) -> Option<&Failure> {
        self.feeds.get(&self.of(task)?)?.failure.as_ref()
    }

    /// Where a task takes its frames from, once there are any; the outer `None` says that it is not from here.
    pub fn taps(&self, task: Task) -> Option<Option<Taps>> {
        let feed = self.feeds.get(&self.of(task)?)?;
        let taps = feed.capture.as_ref().map(|(capture, _)| capture.taps());
        Some(taps.filter(|taps| {
            let needed = match task {
                Task::Video => &[StreamId::Main, StreamId::Encoded][..],
                _ => &[StreamId::Main],
            };
            needed.iter().any(|id| taps.has_frames(*id))
        }))
    }

    /// Keeps the source for recordings connected, or not.
    pub fn record(&mut self, records: bool) {
        self.records = records;
    }

    /// Connects what is needed, lets go of what is not, and takes what the pipelines have told.
    pub fn look(&mut self, under_way: impl Fn(Task) -> bool, has_readers: impl Fn(Role) -> bool) {
        let now = Instant::now();
        let mut users: BTreeMap<Role, (bool, bool)> = BTreeMap::new();
        for role in [Role::Record, Role::Live]
            .into_iter()
            .filter(|role| has_readers(*role))
        {
            let source = self.camera.source_for(role);
            let feed = self
                .feeds
                .iter()
                .find(|(_, feed)| Some(&feed.source) == source);
            if let Some((role, _)) = feed {
                users.entry(*role).or_default().0 = true;
            }
        }
        for task in Task::ALL {
            let pre_records =
                task == Task::Video && (self.records || self.camera.tasks.video.pre_record > 0.0);
            if let Some(role) = self.of(task)
                && (under_way(task) || pre_records)
            {
                let (needed, pictures) = users.entry(role).or_default();
                *needed = true;
                *pictures |= task != Task::Video;
            }
        }
        for (role, feed) in &mut self.feeds {
            let (needed, pictures) = users.get(role).copied().unwrap_or_default();
            if needed {
                feed.needed = now;
            }
            if let Some((mut fault, why)) = feed.fault.take() {
                match why.try_recv() {
                    Err(TryRecvError::Empty) => {
                        feed.fault = Some((fault, why));
                        continue;
                    }
                    Ok(why) => fault.reason = why,
                    Err(TryRecvError::Disconnected) => {}
                }
                feed.failed(*role, &fault, now);
            }
            if let Some((capture, messages)) = &feed.capture {
                // Recordings take what the camera encoded; nobody else looks.
                capture.decode(pictures);
                let taps = capture.taps();
                if taps.has_frames(StreamId::Main) || taps.has_frames(StreamId::Encoded) {
                    feed.failure = None;
                }
                let mut failure = None;
                while let Some(message) = messages.next() {
                    match capture.handle(&message) {
                        Some(CaptureEvent::Failed(fault)) => failure = Some((fault, message)),
                        Some(CaptureEvent::Ended) => {
                            let fault = Fault::source("the source has ended");
                            failure = Some((fault, message));
                        }
                        Some(CaptureEvent::Warning(text)) => tracing::warn!("{text}"),
                        None => {}
                    }
                }
                if let Some((fault, message)) = failure {
                    feed.look_into(fault, message, &self.waker);
                } else if now.duration_since(feed.needed) > IDLE {
                    feed.capture = None;
                }
            } else if needed && now >= feed.try_at {
                match connect(
                    &feed.source,
                    &self.camera,
                    &self.failed_decoders,
                    &self.waker,
                ) {
                    Ok(capture) => feed.capture = Some(capture),
                    Err(fault) => feed.failed(*role, &fault, now),
                }
            }
        }
    }
}

fn connect(
    source: &Source,
    camera: &CameraConfig,
    failed_decoders: &[String],
    waker: &Waker,
) -> Result<(Capture, Messages), Fault> {
    let capture = capture::build_from(
        source,
        &Setup::standing(camera, None),
        camera,
        failed_decoders,
        None,
    )?;
    let messages = Messages::of(capture.pipeline(), waker);
    capture.start()?;
    Ok((capture, messages))
}
