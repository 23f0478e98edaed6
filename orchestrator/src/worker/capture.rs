//! The capture worker: one camera's frames into its ring.

use super::link::{self, Input, Waker, report};
use super::picture::Freeze;
use super::protocol::{CaptureCommand, CaptureStats, FaultKind, Report};
use super::room::Room;
use anyhow::{Context, Result, bail};
use gst::prelude::*;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::{Role, Source};
use watchpost_pipelines::capture::{self, Capture, CaptureEvent};
use watchpost_pipelines::spec::CaptureSpec;

/// How often figures are reported.
const FIGURES: Duration = Duration::from_secs(1);
/// Frames per second no network camera has: a broken restream delivers old frames as fast as it can.
const IMPOSSIBLE_RATE: f64 = 150.0;
/// Where more are expected, it takes so many times as many.
const IMPOSSIBLE_TIMES: f64 = 3.0;
/// Seconds in a row with that rate before it is believed.
const RATE_CHECKS: u32 = 3;
/// From EOS to ending anyway.
const DRAIN: Duration = Duration::from_millis(600);

/// Reads the specification, runs the camera until its input ends or something fails.
pub fn run() -> Result<ExitCode> {
    let (inputs, waker) = link::start();
    let first = match inputs.recv() {
        Ok(Input::Line(line)) => line,
        _ => bail!("a worker is started by `watchpost run`, and told on its input what to do"),
    };
    let spec: CaptureSpec = serde_json::from_str(&first).context("the specification")?;
    gst::init().context("GStreamer")?;
    gstshmring::plugin_register_static().context("plugin shmring")?;
    match Worker::start(&spec, &waker) {
        Ok(mut worker) => worker.work(&inputs),
        Err(fault) => tell_fault(&fault),
    }
    Ok(ExitCode::SUCCESS)
}

struct Worker {
    capture: Capture,
    bus: gst::Bus,
    picture: Arc<Mutex<Freeze>>,
    room: Option<Room>,
    frames: Arc<AtomicU64>,
    size: Option<(u32, u32)>,
    decoder: Option<String>,
    figures: Figures,
    /// More frames per second than this source can have.
    impossible_rate: Option<f64>,
    too_fast: u32,
    end_by: Option<Instant>,
}

/// Counters at the last report.
struct Figures {
    at: Instant,
    received: u64,
    written: u64,
}

impl Worker {
    fn start(spec: &CaptureSpec, waker: &Waker) -> Result<Self, capture::Fault> {
        let capture = capture::build(spec)?;
        let bus = capture.pipeline().bus().expect("a pipeline has a bus");
        let on_bus = waker.clone();
        bus.set_sync_handler(move |_, _| {
            on_bus.wake();
            gst::BusSyncReply::Pass
        });
        let source = spec.camera.source_for(Role::Detect);
        let is_camera = matches!(
            source,
            Some(Source::Rtsp(_) | Source::V4l2(_) | Source::Libcamera(_) | Source::Test(_))
        );
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
        capture.start()?;
        Ok(Self {
            capture,
            bus,
            picture,
            room,
            frames,
            size: None,
            decoder: None,
            figures: Figures {
                at: Instant::now(),
                received: 0,
                written: 0,
            },
            impossible_rate: impossible_rate(&spec.camera),
            too_fast: 0,
            end_by: None,
        })
    }

    fn work(&mut self, inputs: &Receiver<Input>) {
        loop {
            let mut wait = FIGURES.saturating_sub(self.figures.at.elapsed());
            if let Some(by) = self.end_by {
                wait = wait.min(by.saturating_duration_since(Instant::now()));
            }
            match inputs.recv_timeout(wait) {
                Ok(Input::Line(line)) => match serde_json::from_str(&line) {
                    Ok(CaptureCommand::Stop) => self.finish(),
                    Ok(CaptureCommand::Task { id, .. }) => report(&Report::TaskAnswer {
                        id,
                        answer: Err("not yet".into()),
                    }),
                    Err(error) => tracing::error!("unknown command: {error}"),
                },
                Ok(Input::Wake) | Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => self.finish(),
            }
            if let Some(bytes) = self.room.as_ref().and_then(Room::too_large) {
                return report(&Report::TooLarge { bytes });
            }
            if self.end_by.is_some_and(|by| Instant::now() >= by) || !self.take_messages() {
                return;
            }
            self.look();
            if self.figures.at.elapsed() >= FIGURES && !self.tell_figures() {
                return;
            }
        }
    }

    /// What is on its way still reaches the ring.
    fn finish(&mut self) {
        if self.end_by.is_none() {
            self.end_by = Some(Instant::now() + DRAIN);
            self.capture.finish();
        }
    }

    /// Whether to go on.
    fn take_messages(&mut self) -> bool {
        while let Some(message) = self.bus.pop() {
            match self.capture.handle(&message) {
                Some(CaptureEvent::Ended) => {
                    if self.end_by.is_none() {
                        report(&Report::Fault {
                            kind: FaultKind::Ended,
                            reason: "the source has ended (loop is false)".into(),
                        });
                    }
                    return false;
                }
                Some(CaptureEvent::Failed(fault)) => {
                    tell_fault(&fault);
                    return false;
                }
                Some(CaptureEvent::Warning(text)) => tracing::warn!("{text}"),
                None => {}
            }
        }
        true
    }

    /// Tells what became known since the last look.
    fn look(&mut self) {
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
            report(&Report::RingReady { width, height });
        }
        if self.decoder.is_none()
            && let Some(name) = self.capture.decoder()
        {
            self.decoder = Some(name.clone());
            report(&Report::Decoder { name });
        }
    }

    /// Whether to go on.
    fn tell_figures(&mut self) -> bool {
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
        report(&Report::Capture(stats));
        if self.too_fast >= RATE_CHECKS {
            report(&Report::Fault {
                kind: FaultKind::Rate,
                reason: format!(
                    "{rate:.0} frames per second come from it, more than any camera has"
                ),
            });
            return false;
        }
        let frozen = self.picture.lock().ok().and_then(|p| p.frozen_for());
        if let Some(time) = frozen {
            report(&Report::Fault {
                kind: FaultKind::Frozen,
                reason: format!("the picture has not changed for {} s", time.as_secs()),
            });
            return false;
        }
        true
    }
}

/// More frames per second than the camera can be believed to have: 150, or three times what its configuration expects where
/// that is more. Devices of this machine and files are as fast as they are.
fn impossible_rate(camera: &CameraConfig) -> Option<f64> {
    let expected = match camera.source_for(Role::Detect)? {
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

fn tell_fault(fault: &capture::Fault) {
    if let Some(name) = fault
        .decoder
        .clone()
        .filter(|_| fault.kind == capture::FaultKind::Decode)
    {
        report(&Report::DecoderFailed { name });
    }
    report(&Report::Fault {
        kind: match fault.kind {
            capture::FaultKind::Auth => FaultKind::Auth,
            capture::FaultKind::Source => FaultKind::Source,
            capture::FaultKind::Decode => FaultKind::Decode,
            capture::FaultKind::Memory => FaultKind::Memory,
            capture::FaultKind::Permanent => FaultKind::Permanent,
        },
        reason: fault.reason.clone(),
    });
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
