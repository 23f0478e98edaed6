//! The elements of a [`Plan`].

use std::collections::BTreeMap;

use gst::glib;
use gst::prelude::*;

use super::plan::pad_name;
use super::{Abilities, Plan, Refusal, Wanted, cameras, plan, resolve};
use crate::camera::LibcameraSource;
use crate::tasks::{Merged, Stream};

/// A camera's elements, not yet in a pipeline.
#[derive(Debug)]
pub struct Built {
    /// `libcamerasrc`.
    pub source: gst::Element,
    /// The element whose `src` pad carries a stream, in the caps of its [`super::PlannedStream`].
    pub outputs: BTreeMap<Stream, gst::Element>,
    /// The frame rate of all streams.
    pub framerate: gst::Fraction,
    /// What was asked for and does not reach the camera, for people.
    pub not_applied: Vec<String>,
    /// A pad of the source and the elements behind it.
    chains: Vec<(gst::Pad, Vec<gst::Element>)>,
}

/// Everything at once: asks the installed element, finds the camera that `source.camera` means, plans and builds.
/// `framerate` and `still` are those of [`Wanted`].
pub fn build(
    source: &LibcameraSource,
    merged: &Merged,
    framerate: gst::Fraction,
    still: bool,
) -> Result<Built, Refusal> {
    let abilities = Abilities::find()?;
    let cameras = cameras();
    let wanted = Wanted {
        source,
        merged,
        camera: Some(resolve(&source.camera, &cameras)?),
        framerate,
        still,
    };
    plan(&wanted, &abilities)?.build()
}

impl Plan {
    /// Makes the elements. The camera is opened when they leave the state NULL.
    pub fn build(&self) -> Result<Built, Refusal> {
        let source = make("libcamerasrc", "gstreamer1.0-libcamera")?;
        for (name, value) in &self.properties {
            set(&source, name, value)?;
        }
        let mut outputs = BTreeMap::new();
        let mut chains = Vec::new();
        for (i, stream) in self.streams.iter().enumerate() {
            let pad = match i {
                0 => source.static_pad("src"),
                _ => source.request_pad_simple(&pad_name(i)),
            }
            .ok_or_else(|| {
                Refusal::new(
                    "stream",
                    format!("libcamerasrc gives no pad {}", pad_name(i)),
                )
            })?;
            set(&pad, "stream-role", stream.role)?;
            let filter = make("capsfilter", "libgstreamer1.0-0")?;
            filter.set_property("caps", &stream.caps);
            let mut chain = vec![filter];
            if self.streams.len() > 1 {
                chain.push(queue()?);
            }
            if let Some(direction) = stream.flip {
                let flip = make("videoflip", "gstreamer1.0-plugins-good")?;
                set(&flip, "video-direction", direction)?;
                chain.push(flip);
            }
            outputs.insert(stream.stream, chain[chain.len() - 1].clone());
            chains.push((pad, chain));
        }
        Ok(Built {
            source,
            outputs,
            framerate: self.framerate,
            not_applied: self.not_applied.clone(),
            chains,
        })
    }
}

impl Built {
    /// Puts the elements into a pipeline or bin and links them up to their [`Built::outputs`].
    pub fn add_to(&self, bin: &impl IsA<gst::Bin>) -> Result<(), glib::BoolError> {
        let bin = bin.upcast_ref::<gst::Bin>();
        bin.add(&self.source)?;
        for (pad, chain) in &self.chains {
            bin.add_many(chain)?;
            gst::Element::link_many(chain)?;
            let sink = chain[0].static_pad("sink");
            let sink = sink.ok_or_else(|| glib::bool_error!("capsfilter has no sink pad"))?;
            pad.link(&sink).map_err(|error| {
                glib::bool_error!(
                    "libcamerasrc's pad {} cannot be linked: {error}",
                    pad.name()
                )
            })?;
        }
        Ok(())
    }
}

/// libcamerasrc has one thread for all its pads: without one of its own, a stream whose sink waits for its first frame
/// would keep the others from theirs. One buffer, since those of the camera are few.
fn queue() -> Result<gst::Element, Refusal> {
    let queue = make("queue", "libgstreamer1.0-0")?;
    queue.set_property("max-size-buffers", 1u32);
    queue.set_property("max-size-bytes", 0u32);
    queue.set_property("max-size-time", 0u64);
    Ok(queue)
}

pub(super) fn make(factory: &str, package: &str) -> Result<gst::Element, Refusal> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        Refusal::new(
            "source.libcamera",
            format!(
                "GStreamer element {factory} is missing; install the plugin that has it (Debian: {package})"
            ),
        )
    })
}

pub(super) fn set(object: &impl IsA<glib::Object>, name: &str, text: &str) -> Result<(), Refusal> {
    let refuse = || Refusal::new(name, format!("{name} cannot be {text}"));
    let spec = object.find_property(name).ok_or_else(refuse)?;
    // A word of a text property is the text itself: what looks like a number or a quote stays one.
    let value = if spec.value_type() == glib::Type::STRING {
        text.to_value()
    } else {
        glib::Value::deserialize_with_pspec(text, &spec).map_err(|_| refuse())?
    };
    object.set_property_from_value(name, &value);
    Ok(())
}
