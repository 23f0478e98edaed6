//! The live picture: JPEGs in a ring of their own, from which any number of viewers read without holding it up.
//!
//! ```text
//! tap -> fewer frames -> scale -> jpegenc -+-> appsrc -> shmringsink
//!        a notice, once a second ----------+
//! ```
//!
//! The ring stays when the camera goes away for a while: viewers then see the last picture with a notice across it, and
//! the live one again when the camera is back.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::event::{Events, TaskEvent, Worker};
use super::pipe::{Running, element, line, lock, reason, reason_of};
use super::still::{self, Jpeg, scaled_caps};
use crate::camera::LiveConfig;
use crate::camera::{Size, Stream};
use crate::capture::RateLimiter;
use crate::capture::{TapLink, Taps};

/// Pictures the ring has room for: each viewer reads one at a time, and reads the newest.
const SLOTS: u32 = 8;
/// Size of a notice where no picture has been seen.
const NOTICE_SIZE: Size = Size {
    width: 640,
    height: 360,
};
/// How often a notice is shown, so that viewers notice that they are connected.
const NOTICE: Duration = Duration::from_secs(1);
/// How long [`LiveTask::stop`] waits.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How the live picture is made.
#[derive(Debug, Clone)]
pub struct LiveSetup {
    /// Socket of the ring: `RUN_DIR/CAMERA/live.sock`. Its folder must exist.
    pub socket: PathBuf,
    /// The stream it is made of.
    pub stream: Stream,
    /// Size to scale to; none keeps the stream's own.
    pub size: Option<Size>,
    /// Rate and quality.
    pub config: LiveConfig,
}

/// The live picture of a camera, as long as somebody looks. Dropping it takes the ring down.
#[derive(Debug)]
pub struct LiveTask {
    worker: Worker<Command>,
}

enum Command {
    Attach(Taps),
    Notice(String),
    FeedFailed(String),
    FeedEnded,
    Stop,
}

impl LiveTask {
    /// Makes the ring, and fills it where the camera is there. Without `taps` a viewer waits for [`Self::attach`] or sees
    /// a notice. The element `shmringsink` must be registered.
    pub fn start(setup: LiveSetup, taps: Option<&Taps>, events: Events) -> Result<Self, String> {
        let ring = Ring::make(&setup)?;
        let worker = Worker::spawn("live", events, move |inbox, events| {
            work(&setup, &ring, &inbox, events)
        })?;
        let task = Self { worker };
        if let Some(taps) = taps {
            task.attach(taps);
        }
        Ok(task)
    }

    /// Shows the camera's picture (again); a notice goes away with the first frame.
    pub fn attach(&self, taps: &Taps) {
        self.worker.send(Command::Attach(taps.clone()));
    }

    /// Lets the camera go and shows the last picture with a text across it, once a second, until [`Self::attach`].
    pub fn show_notice(&self, text: &str) {
        self.worker.send(Command::Notice(text.to_owned()));
    }

    /// Takes the ring down, which ends all viewers' streams.
    pub fn stop(&self) -> bool {
        self.worker.send(Command::Stop);
        self.worker.wait(STOP_PATIENCE)
    }
}

impl Drop for LiveTask {
    fn drop(&mut self) {
        self.worker.send(Command::Stop);
    }
}

/// The pipeline that fills the ring with JPEGs from whoever has some.
struct Ring {
    running: Running,
    source: gst_app::AppSrc,
    shown: Arc<Mutex<Shown>>,
}

/// What viewers saw last, and whether a notice is up.
#[derive(Default)]
struct Shown {
    last: Option<gst::Sample>,
    notice: Option<gst::Sample>,
}

impl Ring {
    fn make(setup: &LiveSetup) -> Result<Self, String> {
        let sink = gst::ElementFactory::make("shmringsink")
            .build()
            .map_err(|_| "GStreamer element shmringsink is not registered".to_owned())?;
        sink.set_property("socket-path", setup.socket.to_string_lossy().as_ref());
        sink.set_property("slots", SLOTS);
        // One byte per pixel is more than a JPEG of a camera's picture has; the ring grows where that is wrong.
        if let Some(size) = setup.size {
            let bytes = u64::from(size.width) * u64::from(size.height);
            sink.set_property("slot-size", bytes);
        }
        let source = gst_app::AppSrc::builder()
            .format(gst::Format::Time)
            .is_live(true)
            .do_timestamp(true)
            .max_buffers(2)
            .leaky_type(gst_app::AppLeakyType::Downstream)
            .build();
        let pipeline = gst::Pipeline::new();
        line(&pipeline, &[source.clone().upcast(), sink])?;
        Ok(Self {
            running: Running::start(pipeline, "the live picture's ring")?,
            source,
            shown: Arc::default(),
        })
    }
}

/// Puts a JPEG into the ring, with the time it has there.
fn put(source: &gst_app::AppSrc, sample: &gst::Sample) {
    let Some(mut buffer) = sample.buffer_owned() else {
        return;
    };
    {
        let buffer = buffer.make_mut();
        buffer.set_pts(None);
        buffer.set_dts(None);
    }
    if let Some(caps) = sample.caps_owned()
        && source.caps().as_ref() != Some(&caps)
    {
        source.set_caps(Some(&caps));
    }
    let _ = source.push_buffer(buffer);
}

fn work(
    setup: &LiveSetup,
    ring: &Ring,
    inbox: &Receiver<Command>,
    events: &Events,
) -> Result<(), String> {
    let mut feed: Option<Feed> = None;
    let mut notice_due: Option<Instant> = None;
    let (failures, failed) = std::sync::mpsc::channel();
    loop {
        let wait = notice_due.map_or(NOTICE, |due| due.saturating_duration_since(Instant::now()));
        let command = match failed.try_recv() {
            Ok(command) => Ok(command),
            Err(_) => inbox.recv_timeout(wait),
        };
        match command {
            Ok(Command::Attach(taps)) => {
                let_go(&mut feed, &failed);
                feed = Some(Feed::start(setup, &taps, ring, failures.clone())?);
            }
            Ok(Command::Notice(text)) => {
                let_go(&mut feed, &failed);
                let last = lock(&ring.shown).last.clone();
                match notice(setup, last.as_ref(), &text) {
                    Ok(sample) => lock(&ring.shown).notice = Some(sample),
                    Err(reason) => {
                        events(TaskEvent::Warning(format!(
                            "the notice {text:?} cannot be drawn, viewers see the last picture without it: {reason}"
                        )));
                        let mut shown = lock(&ring.shown);
                        shown.notice = shown.last.clone();
                    }
                }
                notice_due = Some(Instant::now());
            }
            Ok(Command::FeedFailed(reason)) => return Err(reason),
            Ok(Command::FeedEnded) => drop(feed.take()),
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(reason) = reason(&ring.running.0) {
            return Err(format!("the live picture's ring: {reason}"));
        }
        if notice_due.is_some_and(|due| Instant::now() >= due) {
            let notice = lock(&ring.shown).notice.clone();
            notice_due = notice.as_ref().map(|_| Instant::now() + NOTICE);
            if let Some(notice) = notice {
                put(&ring.source, &notice);
            }
        }
    }
}

/// What a feed still told is not about the next one.
fn let_go(feed: &mut Option<Feed>, told: &Receiver<Command>) {
    drop(feed.take());
    while told.try_recv().is_ok() {}
}

fn notice(
    setup: &LiveSetup,
    last: Option<&gst::Sample>,
    text: &str,
) -> Result<gst::Sample, String> {
    let size = match last {
        // As it is.
        Some(_) => None,
        None => Some(setup.size.unwrap_or(NOTICE_SIZE)),
    };
    let Jpeg {
        bytes,
        width,
        height,
    } = still::with_text(last, text, size, setup.config.quality)?;
    let caps = gst::Caps::builder("image/jpeg")
        .field("width", width as i32)
        .field("height", height as i32)
        .build();
    Ok(gst::Sample::builder()
        .buffer(&gst::Buffer::from_slice(bytes))
        .caps(&caps)
        .build())
}

/// The pipeline from a tap to JPEGs.
struct Feed {
    _link: TapLink,
    _running: Running,
}

impl Feed {
    fn start(
        setup: &LiveSetup,
        taps: &Taps,
        ring: &Ring,
        failures: Sender<Command>,
    ) -> Result<Self, String> {
        let tap = taps
            .stream(setup.stream)
            .ok_or_else(|| format!("the camera has no stream {}", setup.stream))?;
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().build();
        let convert = element("videoconvertscale")?;
        let filter = element("capsfilter")?;
        filter.set_property("caps", scaled_caps("video/x-raw", setup.size));
        let encoder = element("jpegenc")?;
        encoder.set_property("quality", setup.config.quality.clamp(1, 100) as i32);
        let (jpegs, shown) = (ring.source.clone(), ring.shown.clone());
        let ended = failures.clone();
        let sink = gst_app::AppSink::builder()
            .sync(false)
            .async_(false)
            .enable_last_sample(false)
            .callbacks(
                gst_app::AppSinkCallbacks::builder()
                    .new_sample(move |sink| {
                        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                        put(&jpegs, &sample);
                        let mut shown = lock(&shown);
                        shown.notice = None;
                        shown.last = Some(sample);
                        Ok(gst::FlowSuccess::Ok)
                    })
                    .eos(move |_| {
                        let _ = ended.send(Command::FeedEnded);
                    })
                    .build(),
            )
            .build();
        let path = [
            source.clone().upcast(),
            convert.clone(),
            filter,
            encoder,
            sink.upcast(),
        ];
        line(&pipeline, &path)?;
        limit_rate(&convert, setup.config.fps);
        let bus = pipeline.bus().expect("a pipeline has a bus");
        bus.set_sync_handler(move |_, message| {
            if let gst::MessageView::Error(error) = message.view() {
                let _ = failures.send(Command::FeedFailed(reason_of(error)));
            }
            gst::BusSyncReply::Drop
        });
        // The newest frame is the one to show.
        let link = tap.connect(&pipeline, &source, 1)?;
        Ok(Self {
            _running: Running::start(pipeline, "the encoder of the live picture")?,
            _link: link,
        })
    }
}

/// Drops surplus frames before any work is done on them.
fn limit_rate(element: &gst::Element, fps: f64) {
    let pad = element.static_pad("sink").expect("converters have one");
    let limiter = Mutex::new(RateLimiter::new(fps));
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        let passes = pts.zip(limiter.lock().ok());
        if passes.is_some_and(|(pts, mut limiter)| !limiter.passes(pts.nseconds())) {
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    });
}
