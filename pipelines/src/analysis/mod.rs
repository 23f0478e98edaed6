//! The analysis pipeline of one camera: ring, motion, objects, tracks.
//!
//! ```text
//! shmringsrc -> motiondetect -> regiondetect -> objecttrack -> appsink
//! ```
//!
//! Without a model it ends after `motiondetect`. What a configuration key means for which property is said once, in
//! [`properties`], for the first start and for changes while it runs.

mod properties;

use gst::prelude::*;

pub use properties::{Property, Stage, properties};

use crate::camera::CameraConfig;
use crate::spec::AnalysisSpec;
use crate::strides;

/// An analysis pipeline. Dropping it takes the pipeline down.
pub struct Analysis {
    pipeline: gst::Pipeline,
    source: gst::Element,
    motion: gst::Element,
    detect: Option<gst::Element>,
    track: Option<gst::Element>,
    sink: gst_app::AppSink,
}

/// Why an analysis pipeline cannot be built or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnalysisError {
    /// An element is not registered.
    #[error("GStreamer element {0} is not registered")]
    Missing(&'static str),
    /// Elements do not fit together.
    #[error("{0}")]
    Link(String),
    /// An element has no such property, or it takes no such value.
    #[error("{element} has no property {property} that takes {value}")]
    Property {
        /// The element's factory.
        element: &'static str,
        /// The property.
        property: &'static str,
        /// What it was to be set to.
        value: String,
    },
}

/// Builds the pipeline that analyses a camera's ring.
pub fn build(spec: &AnalysisSpec) -> Result<Analysis, AnalysisError> {
    let source = make("shmringsrc")?;
    source.set_property("socket-path", spec.socket_path.to_string_lossy().as_ref());
    source.set_property_from_str("policy", "newest");
    source.set_property_from_str("reconnect", "always");
    build_from(spec, source)
}

/// As [`build`], with another element where the ring would be.
pub fn build_from(spec: &AnalysisSpec, source: gst::Element) -> Result<Analysis, AnalysisError> {
    let motion = make("motiondetect")?;
    let (detect, track) = match &spec.model {
        None => (None, None),
        Some(model) => {
            let detect = make("regiondetect")?;
            detect.set_property("model", model.path.to_string_lossy().as_ref());
            if let Some(kind) = &model.kind {
                detect.set_property("model-type", kind);
            }
            if let Some(labels) = &model.labels {
                detect.set_property("labels", labels.to_string_lossy().as_ref());
            }
            if let Some(provider) = &model.provider {
                detect.set_property("provider", provider);
            }
            (Some(detect), Some(make("objecttrack")?))
        }
    };
    // A sample kept for later would keep a slot of the ring with it.
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .max_buffers(1)
        .enable_last_sample(false)
        .build();
    // Nobody there looks at pixels, and the elements before it take any strides.
    strides::are_taken_by(&sink);

    let analysis = Analysis {
        pipeline: gst::Pipeline::new(),
        source,
        motion,
        detect,
        track,
        sink,
    };
    for property in properties(&spec.camera, spec.first_id) {
        analysis.set(&property)?;
    }
    let chain: Vec<&gst::Element> = [&analysis.source, &analysis.motion]
        .into_iter()
        .chain(&analysis.detect)
        .chain(&analysis.track)
        .chain([analysis.sink.upcast_ref()])
        .collect();
    let link = |error: gst::glib::BoolError| AnalysisError::Link(error.to_string());
    analysis.pipeline.add_many(&chain).map_err(link)?;
    gst::Element::link_many(&chain).map_err(link)?;
    Ok(analysis)
}

fn make(factory: &'static str) -> Result<gst::Element, AnalysisError> {
    gst::ElementFactory::make(factory)
        .build()
        .map_err(|_| AnalysisError::Missing(factory))
}

impl Analysis {
    /// The pipeline, for its bus and its state.
    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// Where the frames come from: `shmringsrc`.
    pub fn source(&self) -> &gst::Element {
        &self.source
    }

    /// `motiondetect`.
    pub fn motion(&self) -> &gst::Element {
        &self.motion
    }

    /// `regiondetect`, where there is a model.
    pub fn detect(&self) -> Option<&gst::Element> {
        self.detect.as_ref()
    }

    /// `objecttrack`, where there is a model.
    pub fn track(&self) -> Option<&gst::Element> {
        self.track.as_ref()
    }

    /// Where every analysed frame arrives, with all that was found in it.
    pub fn sink(&self) -> &gst_app::AppSink {
        &self.sink
    }

    /// Takes over what may change while the pipeline runs: everything in `detect` but the size, `motion`, `objects` and
    /// `zones`. Only what differs is set, so an unchanged mask does not reset the motion background.
    pub fn update(&self, old: &CameraConfig, new: &CameraConfig) -> Result<(), AnalysisError> {
        let before = properties(old, None);
        for property in properties(new, None) {
            if !before.contains(&property) {
                self.set(&property)?;
            }
        }
        Ok(())
    }

    /// The camera is being moved (PTZ) or has come to rest: meanwhile its motion means nothing.
    pub fn set_moving(&self, moving: bool) -> Result<(), AnalysisError> {
        self.set(&Property::new(Stage::Motion, "ptz-moving", moving))
    }

    fn set(&self, property: &Property) -> Result<(), AnalysisError> {
        let (element, factory) = match property.stage {
            Stage::Motion => (Some(&self.motion), "motiondetect"),
            Stage::Detect => (self.detect.as_ref(), "regiondetect"),
            Stage::Track => (self.track.as_ref(), "objecttrack"),
        };
        let Some(element) = element else {
            return Ok(());
        };
        // Numbers come in whatever type the property has.
        let value = element
            .find_property(property.name)
            .filter(|pspec| pspec.flags().contains(gst::glib::ParamFlags::WRITABLE))
            .and_then(|pspec| property.value.transform_with_type(pspec.value_type()).ok());
        match value {
            Some(value) => {
                element.set_property_from_value(property.name, &value);
                Ok(())
            }
            None => Err(AnalysisError::Property {
                element: factory,
                property: property.name,
                value: format!("{:?}", property.value),
            }),
        }
    }
}

impl Drop for Analysis {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
