//! The element: its properties, pads and states.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;

use super::LibcameraPad;
use super::stream::Stop;
use crate::camera::{Opened, cameras, log};
use crate::script::{FaultKind, Script};

/// How long a stop hangs that is told to hang.
const HANG: Duration = Duration::from_secs(600);

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Running {
    thread: JoinHandle<()>,
    stop: Arc<Stop>,
}

#[derive(Default)]
pub struct Source {
    /// Properties that were set, as text: values of any type may not cross threads.
    pub(super) values: Mutex<BTreeMap<String, String>>,
    pub(super) pads: Mutex<Vec<LibcameraPad>>,
    opened: Mutex<Option<Arc<Opened>>>,
    running: Mutex<Option<Running>>,
    pub(super) eos: AtomicBool,
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
            gst::StateChange::ReadyToPaused => {
                self.start();
                return Ok(gst::StateChangeSuccess::NoPreroll);
            }
            gst::StateChange::PlayingToPaused => return Ok(gst::StateChangeSuccess::NoPreroll),
            gst::StateChange::PausedToPlaying => {
                if let Some(running) = lock(&self.running).as_ref() {
                    running.stop.play();
                }
            }
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

    pub(super) fn value(&self, name: &str) -> Option<String> {
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
        // One that was only asked what it offers was never started.
        let opened = lock(&self.opened).clone().filter(|opened| opened.counts());
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
}
