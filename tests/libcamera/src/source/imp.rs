//! The element: opens a camera, streams from a thread of its own, fails as told.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::LibcameraPad;
use super::negotiate::{Refused, Stream, streams};
use super::pad::Role;
use crate::camera::{Opened, cameras, log};
use crate::script::{FaultKind, Script};

static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "libcamerasrc",
        gst::DebugColorFlags::empty(),
        Some("libcamera Source (test)"),
    )
});

/// How long a stop hangs that is told to hang.
const HANG: Duration = Duration::from_secs(600);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Default)]
struct Stop {
    asked: Mutex<bool>,
    wake: Condvar,
}

impl Stop {
    fn ask(&self) {
        *lock(&self.asked) = true;
        self.wake.notify_all();
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

struct Running {
    thread: JoinHandle<()>,
    stop: Arc<Stop>,
}

#[derive(Default)]
pub struct Source {
    /// Properties that were set, as text: values of any type may not cross threads.
    values: Mutex<BTreeMap<String, String>>,
    pads: Mutex<Vec<LibcameraPad>>,
    opened: Mutex<Option<Arc<Opened>>>,
    running: Mutex<Option<Running>>,
    eos: Arc<AtomicBool>,
}

#[glib::object_subclass]
impl ObjectSubclass for Source {
    const NAME: &'static str = "GstLibcameraTestSrc";
    type Type = super::LibcameraSrc;
    type ParentType = gst::Element;
    type Interfaces = (gst::ChildProxy,);
}

impl ObjectImpl for Source {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> =
            LazyLock::new(super::properties::properties);
        &PROPERTIES
    }

    fn set_property(&self, _: usize, value: &glib::Value, spec: &glib::ParamSpec) {
        let text = match value.get::<Option<String>>() {
            Ok(text) => text,
            Err(_) => value.serialize().ok().map(String::from),
        };
        let mut values = lock(&self.values);
        match text {
            Some(text) => values.insert(spec.name().to_owned(), text),
            None => values.remove(spec.name()),
        };
    }

    fn property(&self, _: usize, spec: &glib::ParamSpec) -> glib::Value {
        match self.value(spec.name()) {
            Some(text) if spec.value_type() == glib::Type::STRING => text.to_value(),
            Some(text) => glib::Value::deserialize_with_pspec(&text, spec)
                .expect("what was serialized is read again"),
            None => spec.default_value().clone(),
        }
    }

    fn constructed(&self) {
        self.parent_constructed();
        let template = self.obj().pad_template("src").expect("a template");
        self.add_pad(&template, "src");
        self.obj().set_element_flags(gst::ElementFlags::SOURCE);
    }
}

impl GstObjectImpl for Source {}

impl ChildProxyImpl for Source {
    fn children_count(&self) -> u32 {
        lock(&self.pads).len() as u32
    }

    fn child_by_name(&self, name: &str) -> Option<glib::Object> {
        let pads = lock(&self.pads);
        let found = pads.iter().find(|pad| pad.name() == name);
        found.map(|pad| pad.clone().upcast())
    }

    fn child_by_index(&self, index: u32) -> Option<glib::Object> {
        lock(&self.pads)
            .get(index as usize)
            .map(|pad| pad.clone().upcast())
    }
}

impl ElementImpl for Source {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "libcamera Source (test)",
                "Source/Video",
                "Pictures of a camera that is not there",
                env!("CARGO_PKG_NAME"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let mut caps = gst::Caps::builder_full()
                .structure(gst::Structure::new_empty("video/x-raw"))
                .structure(gst::Structure::new_empty("image/jpeg"));
            if Script::get().since(0, 4, 0) {
                caps = caps.structure(gst::Structure::new_empty("video/x-bayer"));
            }
            let caps = caps.build();
            [
                ("src", gst::PadPresence::Always),
                ("src_%u", gst::PadPresence::Request),
            ]
            .map(|(name, presence)| {
                gst::PadTemplate::with_gtype(
                    name,
                    gst::PadDirection::Src,
                    presence,
                    &caps,
                    LibcameraPad::static_type(),
                )
                .expect("a template")
            })
            .to_vec()
        });
        &TEMPLATES
    }

    fn request_new_pad(
        &self,
        template: &gst::PadTemplate,
        name: Option<&str>,
        _: Option<&gst::Caps>,
    ) -> Option<gst::Pad> {
        let name = match name {
            Some(name) if !name.contains('%') => name.to_owned(),
            _ => format!("src_{}", lock(&self.pads).len() - 1),
        };
        Some(self.add_pad(template, &name).upcast())
    }

    fn release_pad(&self, pad: &gst::Pad) {
        lock(&self.pads).retain(|known| known.upcast_ref::<gst::Pad>() != pad);
        self.obj().child_removed(pad, &pad.name());
        let _ = self.obj().remove_pad(pad);
    }

    fn send_event(&self, event: gst::Event) -> bool {
        // Before 0.2.0 nobody listened.
        let heard = event.type_() == gst::EventType::Eos && Script::get().since(0, 2, 0);
        if heard {
            self.eos.store(true, Ordering::Relaxed);
        }
        heard
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::PausedToReady
            && let Some(running) = lock(&self.running).as_ref()
        {
            running.stop.ask();
        }
        let success = self.parent_change_state(transition)?;
        match transition {
            gst::StateChange::NullToReady => self.open()?,
            gst::StateChange::ReadyToPaused | gst::StateChange::PlayingToPaused => {
                return Ok(gst::StateChangeSuccess::NoPreroll);
            }
            gst::StateChange::PausedToPlaying => self.start(),
            gst::StateChange::PausedToReady => self.stop(),
            gst::StateChange::ReadyToNull => *lock(&self.opened) = None,
            _ => {}
        }
        Ok(success)
    }
}

impl Source {
    fn add_pad(&self, template: &gst::PadTemplate, name: &str) -> LibcameraPad {
        let pad = gst::PadBuilder::<LibcameraPad>::from_template(template)
            .name(name)
            .query_function(|pad, parent, query| match query.view_mut() {
                gst::QueryViewMut::Latency(latency) => {
                    let frame = gst::ClockTime::from_mseconds(33);
                    latency.set(true, frame, frame);
                    true
                }
                _ => gst::Pad::query_default(pad, parent, query),
            })
            .build();
        self.obj().add_pad(&pad).expect("a name of its own");
        lock(&self.pads).push(pad.clone());
        self.obj().child_added(&pad, name);
        pad
    }

    fn value(&self, name: &str) -> Option<String> {
        lock(&self.values).get(name).cloned()
    }

    fn open(&self) -> Result<(), gst::StateChangeError> {
        let name = self.value("camera-name");
        let all = cameras();
        let camera = match &name {
            Some(name) => all.into_iter().find(|camera| camera.id == *name),
            None => all.into_iter().next(),
        };
        let Some(camera) = camera else {
            let text = match name {
                Some(name) => format!("Could not find a camera named '{name}'."),
                None => "Could not find any supported camera on this system.".into(),
            };
            gst::element_imp_error!(
                self,
                gst::ResourceError::NotFound,
                ("{text}"),
                ["libcamera::CameraMananger::get() returned nullptr"]
            );
            return Err(gst::StateChangeError);
        };
        let id = camera.id.clone();
        let Some(opened) = camera.open() else {
            gst::element_imp_error!(
                self,
                gst::ResourceError::Busy,
                ("Camera '{id}' is already in use."),
                ["libcamera::Camera::acquire() failed: Device or resource busy"]
            );
            return Err(gst::StateChangeError);
        };
        *lock(&self.opened) = Some(Arc::new(opened));
        Ok(())
    }

    fn start(&self) {
        let mut running = lock(&self.running);
        if running.is_some() {
            return;
        }
        let Some(opened) = lock(&self.opened).clone() else {
            return;
        };
        self.eos.store(false, Ordering::Relaxed);
        let stop = Arc::new(Stop::default());
        let (element, asked) = (self.obj().clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("libcamerasrc".into())
            .spawn(move || element.imp().run(&opened, &asked))
            .expect("a thread");
        *running = Some(Running { thread, stop });
    }

    fn stop(&self) {
        let Some(running) = lock(&self.running).take() else {
            return;
        };
        let opened = lock(&self.opened).clone();
        if let Some(opened) = &opened
            && let Some(hang) = Script::get().fault(FaultKind::HangStop, opened.opening)
        {
            log(&format!("hang {} {}", opened.opening, opened.camera.id));
            std::thread::sleep(if hang.is_zero() { HANG } else { hang });
        }
        let _ = running.thread.join();
        if let Some(opened) = &opened {
            log(&format!("stop {} {}", opened.opening, opened.camera.id));
        }
    }

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

    /// The streaming thread.
    fn run(&self, opened: &Opened, stop: &Stop) {
        if let Some((streams, framerate)) = self.begin(opened) {
            self.stream(opened, stop, &streams, framerate);
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
            .and_then(|text| gst::Structure::from_str(&text).ok());
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
        while stop.wait_until(began + frame * n) {
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
                let pts = *first_pts.get_or_insert_with(|| {
                    let now = self.obj().current_running_time().unwrap_or_default();
                    now.saturating_sub(gst::ClockTime::try_from(frame * n).unwrap_or_default())
                }) + gst::ClockTime::try_from(frame * n).unwrap_or_default();
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
        if let Ok(mut map) = buffer.map_writable() {
            stream.picture.draw(n.into(), &mut map);
        }
    }
    buffer
}
