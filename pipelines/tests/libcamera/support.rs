//! A camera of the stand-in that runs, and what comes out of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;
use watchpost_pipelines::camera::LibcameraSource;
use watchpost_pipelines::libcamera::{
    self, Abilities, Built, Plan, Refusal, Wanted, cameras, resolve,
};
use watchpost_pipelines::tasks::{ControlValue, Merged, Profiles, Stream, Use, merge};

pub use testkit::PATIENCE as DEADLINE;

pub fn source() -> LibcameraSource {
    LibcameraSource::from(String::new())
}

pub fn merged(uses: &[Use]) -> Merged {
    merge(&Profiles::default(), None, uses).unwrap()
}

pub fn with_control(name: &str, value: ControlValue) -> Merged {
    let mut merged = merged(&[Use::Video]);
    merged.controls.insert(name.to_owned(), value);
    merged
}

pub fn planned(merged: &Merged) -> Result<Plan, Refusal> {
    gst::init().unwrap();
    let (source, cameras) = (source(), cameras());
    let wanted = Wanted {
        source: &source,
        merged,
        camera: Some(resolve("", &cameras)?),
        framerate: gst::Fraction::new(30, 1),
        still: false,
    };
    libcamera::plan(&wanted, &Abilities::find()?)
}

pub fn integers(values: &[i64]) -> ControlValue {
    ControlValue::List(values.iter().copied().map(ControlValue::Integer).collect())
}

/// A camera that runs, and the frames of each of its streams.
pub struct Running {
    pub pipeline: gst::Pipeline,
    frames: BTreeMap<Stream, Arc<Mutex<Vec<gst::Sample>>>>,
}

/// Frames kept per stream: fewer than the camera has buffers, or it would stand still.
pub const KEPT: usize = 3;

impl Running {
    pub fn start(built: &Built) -> Self {
        let pipeline = gst::Pipeline::new();
        built.add_to(&pipeline).unwrap();
        let mut frames = BTreeMap::new();
        for (stream, output) in &built.outputs {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let kept = seen.clone();
            let sink = gst_app::AppSink::builder()
                .sync(false)
                .max_buffers(1)
                .build();
            sink.set_callbacks(
                gst_app::AppSinkCallbacks::builder()
                    .new_sample(move |sink| {
                        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                        let copy = sample.buffer().and_then(|buffer| buffer.copy_deep().ok());
                        let mut kept = kept.lock().unwrap();
                        if let Some(buffer) = copy
                            && kept.len() < KEPT
                        {
                            let mut sample = sample;
                            sample.make_mut().set_buffer(Some(&buffer));
                            kept.push(sample);
                        }
                        Ok(gst::FlowSuccess::Ok)
                    })
                    .build(),
            );
            pipeline.add(&sink).unwrap();
            output.link(&sink).unwrap();
            frames.insert(*stream, seen);
        }
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, frames }
    }

    pub fn error(&self, wait: Duration) -> Option<gst::Message> {
        let wait = gst::ClockTime::try_from(wait).unwrap();
        let bus = self.pipeline.bus().unwrap();
        bus.timed_pop_filtered(wait, &[gst::MessageType::Error])
    }

    /// The frames of each stream, once all have enough of them.
    pub fn frames(&self) -> BTreeMap<Stream, Vec<gst::Sample>> {
        let end = Instant::now() + DEADLINE;
        loop {
            let seen: BTreeMap<_, _> = self
                .frames
                .iter()
                .map(|(stream, seen)| (*stream, seen.lock().unwrap().clone()))
                .collect();
            if seen.values().all(|seen| seen.len() == KEPT) {
                return seen;
            }
            let counts: Vec<_> = seen.iter().map(|(s, seen)| (s, seen.len())).collect();
            assert!(Instant::now() < end, "only {counts:?}");
            if let Some(message) = self.error(Duration::from_millis(20)) {
                panic!("{message:?}");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
