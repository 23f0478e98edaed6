//! The streaming thread: agrees on streams, sends frames in time, fails as told.

use std::sync::atomic::Ordering;
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::imp::{Source, lock};
use super::negotiate::{Refused, Stream, streams};
use super::pad::Role;
use crate::camera::{Opened, log};
use crate::script::{FaultKind, Script, Shape};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "libcamerasrc",
        gst::DebugColorFlags::empty(),
        Some("libcamera Source (test)"),
    )
});

/// A streaming thread is to play, or to end.
#[derive(Default)]
pub struct Stop {
    asked: Mutex<bool>,
    playing: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    /// Asks for it.
    pub fn ask(&self) {
        *lock(&self.asked) = true;
        self.wake.notify_all();
    }

    /// The element plays.
    pub fn play(&self) {
        *lock(&self.playing) = true;
    }

    /// Waits until the element plays; false when it is to stop. As in libcamera's element streams are agreed on before.
    fn wait_to_play(&self) -> bool {
        while !*lock(&self.playing) {
            if !self.wait_until(Instant::now() + Duration::from_millis(5)) {
                return false;
            }
        }
        true
    }

    /// Waits until then; false when it is to stop.
    fn wait_until(&self, then: Instant) -> bool {
        let mut asked = lock(&self.asked);
        loop {
            if *asked {
                return false;
            }
            let left = then.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.wake.wait_timeout(asked, left);
            asked = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Source {
    fn stream_error(&self, reason: &str) {
        gst::element_imp_error!(
            self,
            gst::StreamError::Failed,
            ("Internal data stream error."),
            ["streaming stopped, reason {reason}"]
        );
    }

    fn settings_error(&self, what: &str, detail: &str) {
        gst::element_imp_error!(self, gst::ResourceError::Settings, ("{what}"), ["{detail}"]);
    }

    /// Streams until it is to stop, or cannot go on.
    pub(super) fn run(&self, opened: &Opened, stop: &Stop) {
        if let Some((streams, framerate)) = self.begin(opened) {
            if stop.wait_to_play() {
                self.stream(opened, stop, &streams, framerate);
            }
            for stream in &streams {
                let _ = stream.pool.set_active(false);
            }
        }
    }

    fn begin(&self, opened: &Opened) -> Option<(Vec<Stream>, gst::Fraction)> {
        let pads = lock(&self.pads).clone();
        let group = gst::GroupId::next();
        for pad in &pads {
            let id = pad.create_stream_id(&*self.obj(), Some(pad.name().as_str()));
            let event = gst::event::StreamStart::builder(&id).group_id(group);
            pad.push_event(event.build());
        }
        let fault = |kind| Script::get().fault(kind, opened.opening).is_some();
        let no_memory = || {
            gst::element_imp_error!(
                self,
                gst::ResourceError::NoSpaceLeft,
                ("Failed to allocate memory"),
                ["gst_libcamera_allocator_new() failed."]
            );
        };
        let agreed = match streams(&opened.camera, &pads) {
            Ok(agreed) => agreed,
            Err(Refused::Roles) => {
                self.settings_error(
                    "Failed to generate camera configuration from roles",
                    "Camera::generateConfiguration() returned nullptr",
                );
                return None;
            }
            Err(Refused::NotNegotiated) => {
                self.stream_error("not-negotiated (-4)");
                return None;
            }
            Err(Refused::NoMemory) => {
                no_memory();
                return None;
            }
        };
        opened.count();
        if fault(FaultKind::Configure) || !self.sensor_mode_is_there(opened) {
            self.settings_error(
                "Failed to configure camera: Invalid argument",
                "Camera::configure() failed with error code -22",
            );
            return None;
        }
        for stream in &agreed.0 {
            if !stream.pad.push_event(gst::event::Caps::new(&stream.caps)) && stream.pad.is_linked()
            {
                self.stream_error("not-negotiated (-4)");
                return None;
            }
            let segment = gst::FormattedSegment::<gst::ClockTime>::new();
            stream.pad.push_event(gst::event::Segment::new(&segment));
        }
        if fault(FaultKind::NoMemory) {
            no_memory();
            return None;
        }
        if fault(FaultKind::Start) {
            self.settings_error(
                "Failed to start the camera: Input/output error",
                "Camera.start() failed with error code -5",
            );
            return None;
        }
        self.log_start(opened, &agreed.0);
        Some(agreed)
    }

    fn sensor_mode_is_there(&self, opened: &Opened) -> bool {
        let config = self
            .value("sensor-config")
            .and_then(|text| glib::Value::deserialize(&text, gst::Structure::static_type()).ok())
            .and_then(|value| value.get::<gst::Structure>().ok());
        let Some(config) = config else {
            return true;
        };
        let side = |name: &str| config.get::<i32>(name).unwrap_or(0) as u32;
        let modes = opened.camera.modes();
        modes.contains(&(side("width"), side("height")))
    }

    fn log_start(&self, opened: &Opened, streams: &[Stream]) {
        let mut line = format!("start {} {}", opened.opening, opened.camera.id);
        for stream in streams {
            let role = match stream.pad.role() {
                Role::Raw => "raw",
                Role::StillCapture => "still-capture",
                Role::VideoRecording => "video-recording",
                Role::Viewfinder => "view-finder",
            };
            line.push_str(&format!(" | {} {role} {}", stream.pad.name(), stream.caps));
        }
        line.push_str(" |");
        for (name, value) in lock(&self.values).iter() {
            line.push_str(&format!(" {name}={value}"));
        }
        log(&line);
    }

    fn stream(&self, opened: &Opened, stop: &Stop, streams: &[Stream], framerate: gst::Fraction) {
        let script = Script::get();
        let frame =
            Duration::from_secs_f64(f64::from(framerate.denom()) / f64::from(framerate.numer()));
        let began = Instant::now();
        let mut combiner = gst_base::UniqueFlowCombiner::new();
        for stream in streams {
            combiner.add_pad(&stream.pad);
        }
        let mut first_pts = None;
        let mut n = 0u32;
        // A virtual camera fills the requests that are queued at the start at once.
        let burst = if script.shape == Shape::Virtual { 4 } else { 0 };
        while stop.wait_until(began + frame * n.saturating_sub(burst)) {
            // What the sensor sent while nobody was ready for it is lost.
            let elapsed = began.elapsed();
            n = n.max((elapsed.as_secs_f64() / frame.as_secs_f64()) as u32);
            if self.eos.swap(false, Ordering::Relaxed) {
                self.push_eos(streams);
                return;
            }
            let due = |kind| script.is_due(kind, opened.opening, elapsed);
            if due(FaultKind::Error) {
                return self.stream_error("error (-5)");
            }
            if due(FaultKind::Unplug) {
                opened.camera.unplug();
                return;
            }
            if due(FaultKind::Timeout) {
                eprintln!("ERROR RPI pipeline_base.cpp:1346 Camera frontend has timed out!");
                eprintln!(
                    "ERROR RPI pipeline_base.cpp:1347 Please check that your camera sensor connector is attached securely."
                );
                return;
            }
            let starved = due(FaultKind::Starve);
            if let Some(buffers) = (!starved).then(|| buffers(streams)).flatten() {
                // A sensor has a rate; what fills requests at once has only the time it does so.
                let since = if burst > 0 { elapsed } else { frame * n };
                let since = gst::ClockTime::try_from(since).unwrap_or_default();
                let pts = since
                    + *first_pts.get_or_insert_with(|| {
                        let now = self.obj().current_running_time().unwrap_or_default();
                        now.saturating_sub(since)
                    });
                for (stream, buffer) in streams.iter().zip(buffers) {
                    let buffer = filled(stream, buffer, n, pts);
                    let flow = combiner.update_pad_flow(&stream.pad, stream.pad.push(buffer));
                    match flow {
                        Ok(_) => {}
                        Err(gst::FlowError::Flushing) => return,
                        Err(gst::FlowError::Eos) => return self.push_eos(streams),
                        Err(error) => {
                            let number = gst::FlowReturn::from(error) as i32;
                            let name = format!("{error:?}").to_lowercase();
                            return self.stream_error(&format!("{name} ({number})"));
                        }
                    }
                }
            } else {
                gst::debug!(CAT, imp = self, "no buffers for frame {n}");
            }
            n += 1;
        }
    }

    fn push_eos(&self, streams: &[Stream]) {
        for stream in streams {
            stream.pad.push_event(gst::event::Eos::new());
        }
    }
}

/// A buffer for each stream, or none: a request to the camera has one of each.
fn buffers(streams: &[Stream]) -> Option<Vec<gst::Buffer>> {
    let wait = gst::BufferPoolAcquireParams::with_flags(gst::BufferPoolAcquireFlags::DONTWAIT);
    streams
        .iter()
        .map(|stream| stream.pool.acquire_buffer(Some(&wait)).ok())
        .collect()
}

fn filled(stream: &Stream, mut buffer: gst::Buffer, n: u32, pts: gst::ClockTime) -> gst::Buffer {
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(pts);
        buffer.set_offset(n.into());
        buffer.set_offset_end(n.into());
        let drawn = buffer
            .map_writable()
            .map(|mut map| stream.picture.draw(n.into(), &mut map));
        if let Ok(drawn) = drawn {
            buffer.set_size(drawn);
        }
    }
    buffer
}
