//! A camera at work: its pipeline, what comes by its bus, and its figures once a second.

use super::link::{Waker, report};
use super::messages::Messages;
use super::picture::Freeze;
use super::room::Room;
use crate::protocol::{CaptureReport, CaptureStats};
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use watchpost_pipelines::camera::{CameraConfig, Source};
use watchpost_pipelines::capture::{Capture, CaptureEvent, StreamId};
use watchpost_pipelines::fault::{Fault, FaultKind};
use watchpost_pipelines::spec::CaptureSpec;
use watchpost_pipelines::tasks::Taps;

/// How often figures are reported.
pub const FIGURES: Duration = Duration::from_secs(1);
/// Frames per second no network camera has: a broken restream delivers old frames as fast as it can.
const IMPOSSIBLE_RATE: f64 = 150.0;
/// Where more are expected, it takes so many times as many.
const IMPOSSIBLE_TIMES: f64 = 3.0;
/// Seconds in a row with that rate before it is believed.
const RATE_CHECKS: u32 = 3;

/// A camera's pipeline at work.
pub struct Running {
    capture: Capture,
    messages: Messages,
    picture: Arc<Mutex<Freeze>>,
    frames: Arc<AtomicU64>,
    size: Option<(u32, u32)>,
    decoder: Option<String>,
    figures: Figures,
    /// More frames per second than this source can have.
    impossible_rate: Option<f64>,
    room: Option<Room>,
    too_fast: u32,
    /// Whether the source is one that is over some time.
    may_end: bool,
}

/// Counters at the last report.
struct Figures {
    at: Instant,
    received: u64,
    written: u64,
}

/// Why a camera cannot go on.
#[derive(Debug)]
pub enum End {
    /// The source was played to its end.
    Ended,
    /// Its pipeline failed, or delivers nothing usable.
    Failed(Fault),
    /// Its frames have more bytes than the ring was granted for.
    TooLarge(u64),
}

impl End {
    /// The report that says so.
    pub fn report(&self) -> CaptureReport {
        match self {
            Self::Ended => CaptureReport::Fault(Fault::new(
                FaultKind::Ended,
                "the source has ended (loop is false)",
            )),
            Self::Failed(fault) => CaptureReport::Fault(fault.clone()),
            Self::TooLarge(bytes) => CaptureReport::TooLarge { bytes: *bytes },
        }
    }

    /// The reason in words.
    pub fn reason(&self) -> String {
        match self {
            Self::Ended => "the source has ended".into(),
            Self::Failed(fault) => fault.reason.clone(),
            Self::TooLarge(bytes) => format!("its frames have {bytes} bytes"),
        }
    }
}

impl Running {
    /// Watches a pipeline that is about to be started.
    pub fn new(capture: Capture, spec: &CaptureSpec, waker: &Waker) -> Self {
        let messages = Messages::of(capture.pipeline(), waker);
        let source = spec.camera.primary_source();
        let is_camera = matches!(
            source,
            Some(Source::Rtsp(_) | Source::V4l2(_) | Source::Libcamera(_) | Source::Test(_))
        );
        let may_end = matches!(source, Some(Source::File(_)));
        let frames = Arc::new(AtomicU64::new(0));
        let limit = spec.camera.freeze_timeout;
        let picture = Arc::new(Mutex::new(Freeze::new(Duration::from_secs_f64(
            limit.clamp(0.0, 86_400.0),
        ))));
        let watched = (is_camera && limit > 0.0).then(|| picture.clone());
        let room = spec
            .frame_bytes
            .zip(capture.sink())
            .map(|(limit, sink)| Room::guard(sink, limit, waker));
        watch_frames(&capture, &frames, watched, waker);
        Self {
            capture,
            messages,
            picture,
            frames,
            size: None,
            decoder: None,
            figures: Figures {
                at: Instant::now(),
                received: 0,
                written: 0,
            },
            impossible_rate: impossible_rate(&spec.camera),
            room,
            too_fast: 0,
            may_end,
        }
    }

    /// The pipeline.
    pub fn capture(&self) -> &Capture {
        &self.capture
    }

    /// Where tasks take frames, once there are any.
    pub fn taps(&self) -> Option<Taps> {
        let taps = self.capture.taps();
        taps.has_frames(StreamId::Main).then_some(taps)
    }

    /// Until figures are due.
    pub fn figures_due_in(&self) -> Duration {
        FIGURES.saturating_sub(self.figures.at.elapsed())
    }

    /// Takes what is on the bus.
    pub fn take_messages(&mut self) -> Option<End> {
        if let Some(bytes) = self.room.as_ref().and_then(Room::too_large) {
            return Some(End::TooLarge(bytes));
        }
        while let Some(message) = self.messages.next() {
            match self.capture.handle(&message) {
                Some(CaptureEvent::Ended) if self.may_end => return Some(End::Ended),
                // A camera that goes off tells so, as a server does that closes the connection: it comes back.
                Some(CaptureEvent::Ended) => {
                    let fault = Fault::source("the stream has ended");
                    return Some(End::Failed(fault));
                }
                Some(CaptureEvent::Failed(fault)) => return Some(End::Failed(fault)),
                Some(CaptureEvent::Warning(text)) => tracing::warn!("{text}"),
                None => {}
            }
        }
        None
    }

    /// Tells what became known since the last look.
    pub fn look(&mut self) {
        if self.frames.load(Ordering::Relaxed) == 0 {
            return;
        }
        let pad = self.capture.sink().and_then(|sink| sink.static_pad("sink"));
        let size = pad.and_then(|pad| pad.current_caps()).and_then(|caps| {
            let structure = caps.structure(0)?;
            let side = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok();
            Some((side("width")?, side("height")?))
        });
        if size != self.size
            && let Some((width, height)) = size
        {
            self.size = size;
            report(&CaptureReport::RingReady { width, height });
        }
        if self.decoder.is_none()
            && let Some(name) = self.capture.decoder()
        {
            self.decoder = Some(name.clone());
            report(&CaptureReport::Decoder { name });
        }
    }

    /// Tells its figures, and whether they are those of a camera.
    pub fn tell_figures(&mut self) -> Option<End> {
        let passed = self.figures.at.elapsed().as_secs_f64();
        let (received, written) = (
            self.capture.frames().received,
            self.frames.load(Ordering::Relaxed),
        );
        let stats = CaptureStats {
            source_fps: received.saturating_sub(self.figures.received) as f64 / passed,
            camera_fps: written.saturating_sub(self.figures.written) as f64 / passed,
            written,
            dropped: self.capture.sink().map(drops).unwrap_or_default(),
        };
        self.figures = Figures {
            at: Instant::now(),
            received,
            written,
        };
        let too_fast = |limit| stats.source_fps > limit;
        self.too_fast = if self.impossible_rate.is_some_and(too_fast) {
            self.too_fast + 1
        } else {
            0
        };
        let rate = stats.source_fps;
        report(&CaptureReport::Stats(stats));
        if self.too_fast >= RATE_CHECKS {
            return Some(End::Failed(Fault::new(
                FaultKind::Rate,
                format!("{rate:.0} frames per second come from it, more than any camera has"),
            )));
        }
        let frozen = self.picture.lock().ok().and_then(|p| p.frozen_for());
        if let Some(time) = frozen {
            return Some(End::Failed(Fault::new(
                FaultKind::Frozen,
                format!("the picture has not changed for {} s", time.as_secs()),
            )));
        }
        None
    }
}

/// More frames per second than the camera can be believed to have: 150, or three times what its configuration expects where
/// that is more. Devices of this machine and files are as fast as they are.
fn impossible_rate(camera: &CameraConfig) -> Option<f64> {
    let expected = match camera.primary_source()? {
        Source::Rtsp(_) => camera.detect.fps,
        Source::Test(test) => test.fps.max(camera.detect.fps),
        _ => return None,
    };
    Some((IMPOSSIBLE_TIMES * expected).max(IMPOSSIBLE_RATE))
}

/// Counts frames at the ring's door, and looks whether the picture changes.
fn watch_frames(
    capture: &Capture,
    frames: &Arc<AtomicU64>,
    picture: Option<Arc<Mutex<Freeze>>>,
    waker: &Waker,
) {
    let Some(pad) = capture.sink().and_then(|sink| sink.static_pad("sink")) else {
        return;
    };
    let (frames, waker) = (frames.clone(), waker.clone());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if frames.fetch_add(1, Ordering::Relaxed) == 0 {
            waker.wake();
        }
        if let (Some(picture), Some(buffer)) = (&picture, info.buffer())
            && let Ok(map) = buffer.map_readable()
            && let Ok(mut picture) = picture.try_lock()
        {
            picture.look(&map, Instant::now());
        }
        gst::PadProbeReturn::Ok
    });
}

/// The ring's counters of frames it did not take.
fn drops(sink: &gst::Element) -> std::collections::BTreeMap<String, u64> {
    let mut drops = std::collections::BTreeMap::new();
    if sink.find_property("stats").is_none() {
        return drops;
    }
    let Some(stats) = sink.property::<Option<gst::Structure>>("stats") else {
        return drops;
    };
    for (name, value) in stats.iter() {
        if let Some(reason) = name.as_str().strip_prefix("dropped-")
            && let Ok(count) = value.get::<u64>()
        {
            drops.insert(reason.to_owned(), count);
        }
    }
    drops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_rate_is_far_beyond_what_is_expected() {
        let camera = |source: serde_json::Value, fps: f64| -> CameraConfig {
            let camera = serde_json::json!({"source": source, "detect": {"fps": fps}});
            serde_json::from_value(camera).unwrap()
        };
        let limit = |source, fps| impossible_rate(&camera(source, fps));
        let rtsp = || serde_json::json!({"rtsp": "rtsp://h/1"});
        assert_eq!(limit(rtsp(), 5.0), Some(150.0));
        assert_eq!(limit(rtsp(), 100.0), Some(300.0));
        let fast = serde_json::json!({"test": {"scene": "walkers", "fps": 240}});
        assert_eq!(limit(fast, 5.0), Some(720.0));
        let file = serde_json::json!({"file": {"path": "/a.mp4", "realtime": false}});
        assert_eq!(limit(file, 5.0), None);
    }
}
