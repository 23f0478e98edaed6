//! The element: its states, properties, signals and events. What is done with a frame is in [`super::frame`].

use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use detection::Labels;
use detection_meta::{TracksEvent, Warnings};
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_base::subclass::prelude::*;
use gst_video::VideoInfo;
use regiondetect_core::grid::RegionGrid;

use super::frame::State;
use super::picture;
use super::settings::{PROPERTIES, Settings};
use super::stats::Stats;
use crate::engine::{Client, Engine};

pub(super) static CAT: LazyLock<gst::DebugCategory> = LazyLock::new(|| {
    gst::DebugCategory::new(
        "regiondetect",
        gst::DebugColorFlags::empty(),
        Some("Object detection where it pays"),
    )
});

/// The model, between start and stop.
struct Opened {
    client: Client,
    labels: Labels,
}

/// The instance. Where locks nest, the order is state, settings, grid, stats.
#[derive(Default)]
pub struct RegionDetect {
    pub(super) settings: Mutex<Settings>,
    /// Settings have changed since the streaming thread last looked.
    pub(super) changed: std::sync::atomic::AtomicBool,
    opened: Mutex<Option<Opened>>,
    state: Mutex<Option<State>>,
    engine: Mutex<Option<std::sync::Arc<Engine>>>,
    pub(super) tracks: Mutex<Option<TracksEvent>>,
    pub(super) grid: Mutex<RegionGrid>,
    pub(super) stats: Mutex<Stats>,
    pub(super) warnings: Warnings,
}

/// A panic elsewhere while a lock was held leaves plain values, which are used on.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[glib::object_subclass]
impl ObjectSubclass for RegionDetect {
    const NAME: &'static str = "GstWatchpostRegionDetect";
    type Type = super::RegionDetect;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for RegionDetect {
    fn properties() -> &'static [glib::ParamSpec] {
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        match pspec.name() {
            "region-grid" => {
                let text: Option<String> = value.get().expect("type checked by GObject");
                self.import_grid(text.as_deref().unwrap_or_default());
            }
            "freeze-grid" => {
                let frozen = value.get().expect("type checked by GObject");
                lock(&self.grid).set_frozen(frozen);
            }
            "grid-bounds" => {
                let text: Option<String> = value.get().expect("type checked by GObject");
                self.set_grid_bounds(text.as_deref().unwrap_or_default().trim());
            }
            name => {
                lock(&self.settings).set(name, value);
                self.changed
                    .store(true, std::sync::atomic::Ordering::Release);
            }
        }
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        match pspec.name() {
            "region-grid" => lock(&self.grid).to_json().to_value(),
            "region-grid-changes" => lock(&self.grid).changes().to_value(),
            "freeze-grid" => lock(&self.grid).is_frozen().to_value(),
            "grid-bounds" => {
                let bounds = lock(&self.grid).bounds();
                bounds
                    .map_or_else(String::new, |b| b.to_string())
                    .to_value()
            }
            "model-labels" => {
                let engine = lock(&self.engine);
                let labels = engine.as_ref().map(|engine| {
                    let names: Vec<_> = engine.model().labels.iter().collect();
                    names.join("\n")
                });
                labels.to_value()
            }
            "stats" => {
                let engine = lock(&self.engine).as_ref().map(|engine| engine.stats());
                lock(&self.stats).to_structure(engine).to_value()
            }
            name => {
                let value = lock(&self.settings).get(name);
                value.unwrap_or_else(|| unreachable!("no property {name}"))
            }
        }
    }

    fn signals() -> &'static [glib::subclass::Signal] {
        static SIGNALS: LazyLock<Vec<glib::subclass::Signal>> = LazyLock::new(|| {
            let element = |args: &[glib::Value]| {
                args[0]
                    .get::<super::RegionDetect>()
                    .expect("the signal's own instance")
            };
            vec![
                // The region grid as JSON.
                glib::subclass::Signal::builder("export-region-grid")
                    .action()
                    .return_type::<String>()
                    .class_handler(move |args| {
                        Some(lock(&element(args).imp().grid).to_json().to_value())
                    })
                    .build(),
                // Replaces the region grid by this JSON; false, and a warning, if it is none.
                glib::subclass::Signal::builder("import-region-grid")
                    .action()
                    .param_types([String::static_type()])
                    .return_type::<bool>()
                    .class_handler(move |args| {
                        let text = args[1].get::<Option<String>>().ok().flatten();
                        let element = element(args);
                        let done = element
                            .imp()
                            .import_grid(text.as_deref().unwrap_or_default());
                        Some(done.to_value())
                    })
                    .build(),
                // Forgets everything learned; frozen and bounds stay.
                glib::subclass::Signal::builder("reset-region-grid")
                    .action()
                    .class_handler(move |args| {
                        lock(&element(args).imp().grid).reset();
                        None
                    })
                    .build(),
            ]
        });
        &SIGNALS
    }
}

impl GstObjectImpl for RegionDetect {}

impl ElementImpl for RegionDetect {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: LazyLock<gst::subclass::ElementMetadata> = LazyLock::new(|| {
            gst::subclass::ElementMetadata::new(
                "Region object detector",
                "Filter/Analyzer/Video",
                "Detects objects with an ONNX model in the regions where it pays",
                "The Watchpost project",
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: LazyLock<Vec<gst::PadTemplate>> = LazyLock::new(|| {
            let caps = gst_video::VideoCapsBuilder::new()
                .format_list(picture::FORMATS)
                .build();
            [
                ("sink", gst::PadDirection::Sink),
                ("src", gst::PadDirection::Src),
            ]
            .map(|(name, direction)| {
                gst::PadTemplate::new(name, direction, gst::PadPresence::Always, &caps)
                    .expect("a name, a direction and caps make a template")
            })
            .into()
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for RegionDetect {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::AlwaysInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        detection_meta::register_metas();
        let settings = lock(&self.settings).clone();
        let options = settings
            .engine_options()
            .map_err(|text| gst::error_msg!(gst::ResourceError::Settings, ("{text}")))?;
        let engine = Engine::open(&options)
            .map_err(|error| gst::error_msg!(gst::ResourceError::OpenRead, ("{error}")))?;
        if let Some(other) = engine.other_library(options.onnxruntime.as_deref()) {
            gst::element_imp_warning!(self, gst::LibraryError::Settings, ("{other}"));
        }
        let model = engine.model();
        let labels = match settings.labels.as_deref().filter(|path| !path.is_empty()) {
            None => model.labels.clone(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    gst::error_msg!(gst::ResourceError::OpenRead, ("label file {path}: {error}"))
                })?;
                Labels::from_text(&text)
            }
        };
        if let Some(classes) = model.classes().filter(|classes| labels.len() < *classes) {
            gst::element_imp_warning!(
                self,
                gst::LibraryError::Settings,
                (
                    "the model has {classes} classes, only {} have a name",
                    labels.len()
                )
            );
        }
        self.warnings.tell_kept(self.obj().upcast_ref());
        self.warn_of_unknown(&labels, &settings.classes);
        gst::info!(
            CAT,
            imp = self,
            "{} is {} with an input of {}x{} and {} classes",
            options.model.display(),
            model.model_type(),
            model.input.tensor.width,
            model.input.tensor.height,
            labels.len()
        );
        let client = engine.client(settings.timeout());
        *lock(&self.engine) = Some(engine);
        *lock(&self.opened) = Some(Opened { client, labels });
        *lock(&self.stats) = Stats::default();
        Ok(())
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        *lock(&self.state) = None;
        *lock(&self.opened) = None;
        *lock(&self.tracks) = None;
        *lock(&self.engine) = None;
        Ok(())
    }

    fn set_caps(&self, incaps: &gst::Caps, _outcaps: &gst::Caps) -> Result<(), gst::LoggableError> {
        let info = VideoInfo::from_caps(incaps)
            .map_err(|_| gst::loggable_error!(CAT, "not raw video: {incaps}"))?;
        let mut state = lock(&self.state);
        let (client, labels) = match state.take() {
            Some(state) => (state.client, state.labels),
            None => {
                let opened = lock(&self.opened)
                    .take()
                    .ok_or_else(|| gst::loggable_error!(CAT, "caps before start"))?;
                (opened.client, opened.labels)
            }
        };
        let settings = lock(&self.settings).clone();
        *state = Some(State::new(info, client, labels, settings));
        Ok(())
    }

    /// Buffers pass as they are: upstream may send what downstream takes, strides included, and write straight into its memory.
    fn propose_allocation(
        &self,
        _decide_query: Option<&gst::query::Allocation>,
        query: &mut gst::query::Allocation,
    ) -> Result<(), gst::LoggableError> {
        // Without an answer from there, the answer is that it takes nothing in particular.
        let _ = self.parent_propose_allocation(None, query);
        Ok(())
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::FlushStop {
            *lock(&self.tracks) = None;
            if let Some(state) = &mut *lock(&self.state) {
                state.planner.restart();
            }
        }
        self.parent_sink_event(event)
    }

    fn src_event(&self, event: gst::Event) -> bool {
        match TracksEvent::parse(&event) {
            Some(tracks) => {
                *lock(&self.tracks) = Some(tracks);
                // It was for the nearest detector upstream of the tracker.
                true
            }
            None => self.parent_src_event(event),
        }
    }

    fn transform_ip(
        &self,
        buffer: &mut gst::BufferRef,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        let Some(mut state) = lock(&self.state).take() else {
            return Err(gst::FlowError::NotNegotiated);
        };
        let result = self.work(&mut state, buffer);
        *lock(&self.state) = Some(state);
        result
    }
}

impl RegionDetect {
    fn import_grid(&self, text: &str) -> bool {
        match RegionGrid::from_json(text) {
            Ok(grid) => {
                *lock(&self.grid) = grid;
                true
            }
            Err(error) => {
                self.warnings
                    .tell(self.obj().upcast_ref(), error.to_string());
                false
            }
        }
    }

    /// Bounds that cannot be read change nothing.
    fn set_grid_bounds(&self, text: &str) {
        let bounds = match text {
            "" => Ok(None),
            text => text.parse().map(Some),
        };
        if let Err(error) = bounds.and_then(|bounds| lock(&self.grid).set_bounds(bounds)) {
            self.warnings
                .tell(self.obj().upcast_ref(), error.to_string());
        }
    }
}
