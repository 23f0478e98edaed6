//! The element's properties.

use detection::FrameSize;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use gst::glib;
use gst::prelude::*;
use regiondetect_core::decode::ModelType;
use regiondetect_core::regions::PlanSettings;

use crate::engine::{EngineOptions, Provider};

/// Values of the properties.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub model: Option<String>,
    pub model_type: String,
    pub labels: Option<String>,
    pub classes: String,
    pub provider: String,
    pub onnxruntime: Option<String>,
    pub input_size: u32,
    pub sessions: u32,
    pub threads: u32,
    pub enabled: bool,
    pub min_score: f64,
    pub min_region: u32,
    pub max_region: u32,
    pub min_object: u32,
    pub pack: bool,
    pub max_inferences: f64,
    /// Nanoseconds, as the next one.
    pub track_interval: u64,
    pub stationary_interval: u64,
    pub engine_timeout: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            model: None,
            model_type: String::from("auto"),
            labels: None,
            classes: String::new(),
            provider: Provider::default().to_string(),
            onnxruntime: None,
            input_size: 0,
            sessions: 0,
            threads: 0,
            enabled: true,
            min_score: 0.4,
            min_region: 0,
            max_region: 0,
            min_object: 80,
            pack: true,
            max_inferences: 0.0,
            track_interval: 120_000_000,
            stationary_interval: 10_000_000_000,
            engine_timeout: 5000,
        }
    }
}

/// All properties, those of the grid and the statistics included.
pub(super) static PROPERTIES: LazyLock<Vec<glib::ParamSpec>> = LazyLock::new(|| {
    let d = Settings::default();
    let string = |name: &'static str, nick: &'static str, blurb: &'static str| {
        glib::ParamSpecString::builder(name).nick(nick).blurb(blurb)
    };
    let uint = |name: &'static str, nick: &'static str, blurb: &'static str, value: u32| {
        glib::ParamSpecUInt::builder(name)
            .nick(nick)
            .blurb(blurb)
            .default_value(value)
    };
    vec![
        string("model", "Model", "ONNX file of the detection model (required)")
            .mutable_ready()
            .build(),
        string(
            "model-type",
            "Model type",
            "Family of the model where it is not to be recognised: auto, yolox, yolov5, yolov8 (yolo-generic), end2end, \
             yolonas, ssd, detr (rtdetr, dfine, rfdetr), nanodet",
        )
        .default_value(Some(d.model_type.as_str()))
        .mutable_ready()
        .build(),
        string(
            "labels",
            "Labels",
            "File with the names of the model's classes, one a line or `number name`; without it those in the model, else \
             COCO's",
        )
        .mutable_ready()
        .build(),
        string(
            "classes",
            "Classes",
            "Names of the classes to report, separated by commas; empty: all",
        )
        .default_value(Some(""))
        .mutable_playing()
        .build(),
        string(
            "provider",
            "Provider",
            "ONNX Runtime's execution provider: cpu, cuda, tensorrt, openvino, migraphx, rocm, xnnpack, qnn, acl, rknpu",
        )
        .default_value(Some(d.provider.as_str()))
        .mutable_ready()
        .build(),
        string(
            "onnxruntime",
            "ONNX Runtime",
            "Library file of ONNX Runtime; without it ORT_DYLIB_PATH, the system's, or what `make setup` installed. The \
             first element of a process decides; others get a warning if they name another",
        )
        .mutable_ready()
        .build(),
        uint(
            "input-size",
            "Input size",
            "Side of the model's input in pixels where the file leaves it open; 0: as its metadata says, else 640",
            d.input_size,
        )
        .maximum(8192)
        .mutable_ready()
        .build(),
        uint(
            "sessions",
            "Sessions",
            "Most sessions of the engine, each with a copy of the model; 0: one per core, at most 8 (1 on accelerators). They \
             are made when work first waits",
            d.sessions,
        )
        .maximum(64)
        .mutable_ready()
        .build(),
        uint(
            "threads",
            "Threads",
            "Threads of each session; 0: the cores shared out among the sessions",
            d.threads,
        )
        .maximum(256)
        .mutable_ready()
        .build(),
        glib::ParamSpecBoolean::builder("enabled")
            .nick("Enabled")
            .blurb("Look for objects; when false every buffer passes with an empty list of regions")
            .default_value(d.enabled)
            .mutable_playing()
            .build(),
        glib::ParamSpecDouble::builder("min-score")
            .nick("Minimum score")
            .blurb("Detections below this confidence are not reported. A tracker downstream makes use of weak ones")
            .minimum(0.01)
            .maximum(1.0)
            .default_value(d.min_score)
            .mutable_playing()
            .build(),
        uint(
            "min-region",
            "Minimum region",
            "Smallest region in frame pixels, for looking and for learning; 0: 320, or the model's input if that is smaller",
            d.min_region,
        )
        .maximum(8192)
        .mutable_playing()
        .build(),
        uint(
            "max-region",
            "Maximum region",
            "Largest region that holds several objects, in frame pixels; 0: no limit",
            d.max_region,
        )
        .maximum(32768)
        .mutable_playing()
        .build(),
        uint(
            "min-object",
            "Minimum object",
            "Pixels that the longer side of an object should keep in the model's input; regions are shared only as far as \
             this holds",
            d.min_object,
        )
        .minimum(1)
        .maximum(1024)
        .mutable_playing()
        .build(),
        glib::ParamSpecBoolean::builder("pack")
            .nick("Pack")
            .blurb("Let several small regions share one model input")
            .default_value(d.pack)
            .mutable_playing()
            .build(),
        glib::ParamSpecDouble::builder("max-inferences")
            .nick("Maximum inferences")
            .blurb("Most inferences per second for this stream; what does not fit is looked at first next time. 0: no limit")
            .minimum(0.0)
            .maximum(10000.0)
            .default_value(d.max_inferences)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("track-interval")
            .nick("Track interval")
            .blurb("Nanoseconds between two looks at an object that moves as it did; 0: in every frame")
            .default_value(d.track_interval)
            .mutable_playing()
            .build(),
        glib::ParamSpecUInt64::builder("stationary-interval")
            .nick("Stationary interval")
            .blurb("Nanoseconds between two looks at an object that rests")
            .default_value(d.stationary_interval)
            .mutable_playing()
            .build(),
        uint(
            "engine-timeout",
            "Engine timeout",
            "Milliseconds after which a frame goes on without detections and with an empty list of regions",
            d.engine_timeout,
        )
        .minimum(1)
        .mutable_playing()
        .build(),
        string(
            "region-grid",
            "Region grid",
            "What was learned about where objects are and how large, as JSON; setting it replaces it",
        )
        .mutable_playing()
        .build(),
        glib::ParamSpecUInt64::builder("region-grid-changes")
            .nick("Region grid changes")
            .blurb("Goes up with every change of the region grid: tells when there is something to store")
            .read_only()
            .build(),
        glib::ParamSpecBoolean::builder("freeze-grid")
            .nick("Freeze grid")
            .blurb("Use the region grid but do not learn")
            .mutable_playing()
            .build(),
        string(
            "grid-bounds",
            "Grid bounds",
            "Sizes of regions that learned ones are held within: MIN,MAX as shares of the frame's width (0.001 to 16); \
             empty: none. They are part of the region grid",
        )
        .default_value(Some(""))
        .mutable_playing()
        .build(),
        string("model-labels", "Model labels", "Names of the model's classes, separated by line ends; once it is loaded")
            .read_only()
            .build(),
        glib::ParamSpecBoxed::builder::<gst::Structure>("stats")
            .nick("Statistics")
            .blurb("Counters since start, mean times, drops by reason")
            .read_only()
            .build(),
    ]
});

impl Settings {
    /// Sets a property; `false` for those that are not settings.
    pub fn set(&mut self, name: &str, value: &glib::Value) -> bool {
        fn get<T: for<'a> glib::value::FromValue<'a>>(value: &glib::Value) -> T {
            value.get().expect("GObject has checked the type")
        }
        match name {
            "model" => self.model = get(value),
            "model-type" => self.model_type = get::<Option<String>>(value).unwrap_or_default(),
            "labels" => self.labels = get(value),
            "classes" => self.classes = get::<Option<String>>(value).unwrap_or_default(),
            "provider" => self.provider = get::<Option<String>>(value).unwrap_or_default(),
            "onnxruntime" => self.onnxruntime = get(value),
            "input-size" => self.input_size = get(value),
            "sessions" => self.sessions = get(value),
            "threads" => self.threads = get(value),
            "enabled" => self.enabled = get(value),
            "min-score" => self.min_score = get(value),
            "min-region" => self.min_region = get(value),
            "max-region" => self.max_region = get(value),
            "min-object" => self.min_object = get(value),
            "pack" => self.pack = get(value),
            "max-inferences" => self.max_inferences = get(value),
            "track-interval" => self.track_interval = get(value),
            "stationary-interval" => self.stationary_interval = get(value),
            "engine-timeout" => self.engine_timeout = get(value),
            _ => return false,
        }
        true
    }

    /// The value of a property; `None` for those that are not settings.
    pub fn get(&self, name: &str) -> Option<glib::Value> {
        Some(match name {
            "model" => self.model.to_value(),
            "model-type" => self.model_type.to_value(),
            "labels" => self.labels.to_value(),
            "classes" => self.classes.to_value(),
            "provider" => self.provider.to_value(),
            "onnxruntime" => self.onnxruntime.to_value(),
            "input-size" => self.input_size.to_value(),
            "sessions" => self.sessions.to_value(),
            "threads" => self.threads.to_value(),
            "enabled" => self.enabled.to_value(),
            "min-score" => self.min_score.to_value(),
            "min-region" => self.min_region.to_value(),
            "max-region" => self.max_region.to_value(),
            "min-object" => self.min_object.to_value(),
            "pack" => self.pack.to_value(),
            "max-inferences" => self.max_inferences.to_value(),
            "track-interval" => self.track_interval.to_value(),
            "stationary-interval" => self.stationary_interval.to_value(),
            "engine-timeout" => self.engine_timeout.to_value(),
            _ => return None,
        })
    }

    /// What the engine is opened with; an error names the property that is wrong.
    pub fn engine_options(&self) -> Result<EngineOptions, String> {
        let given =
            |text: &Option<String>| text.as_ref().filter(|t| !t.is_empty()).map(PathBuf::from);
        let some = |number: u32| (number > 0).then_some(number as usize);
        Ok(EngineOptions {
            model: given(&self.model)
                .ok_or("no model: set the property `model` to an ONNX file")?,
            onnxruntime: given(&self.onnxruntime),
            model_type: ModelType::named(&self.model_type)?,
            side: some(self.input_size),
            provider: match self.provider.as_str() {
                "" => Provider::default(),
                name => name.parse()?,
            },
            sessions: self.sessions as usize,
            threads: self.threads as usize,
        })
    }

    /// What the planner goes by.
    pub fn plan(&self, frame: FrameSize, input: i32) -> PlanSettings {
        let mut plan = PlanSettings::new(frame, input);
        if self.min_region > 0 {
            plan.min_region = self.min_region as i32;
        }
        if self.max_region > 0 {
            plan.max_region = self.max_region as i32;
        }
        plan.min_object = self.min_object as i32;
        plan.pack = self.pack;
        plan.budget = (self.max_inferences > 0.0).then_some(self.max_inferences as f32);
        plan.track_interval = self.track_interval;
        plan.stationary_interval = self.stationary_interval;
        plan
    }

    /// How long a frame waits for the engine.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.engine_timeout))
    }
}
