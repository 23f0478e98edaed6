//! What the element tests share: the plugin in this process, files of the shared directory, and waiting for the bus.

#![allow(dead_code)] // each test file uses its part

pub mod onnx;

use std::path::{Path, PathBuf};
use std::sync::Once;

use gst::prelude::*;

/// GStreamer with this plugin, statically linked.
pub fn init() {
    static INIT: Once = Once::new();
    INIT.call_once(|| {
        gst::init().expect("GStreamer starts");
        gstregiondetect::plugin_register_static().expect("the plugin registers");
        detection_meta::register_metas();
    });
}

/// A file beside the workspace that is not part of it; says so when it is not there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {} is not there", file.display());
    None
}

/// The detections and regions of one buffer.
#[derive(Debug, Clone)]
pub struct Seen {
    pub pts: Option<gst::ClockTime>,
    pub detections: Vec<(String, f64, detection::BBox)>,
    pub regions: Option<Vec<detection::BBox>>,
}

/// Runs a launch line that ends in an appsink named `sink` until EOS, calling `each` with every buffer. Panics with the
/// text of an error message.
pub fn run(line: &str, mut each: impl FnMut(&gst::Pipeline, Seen)) -> gst::Pipeline {
    init();
    let pipeline = gst::parse::launch(line)
        .unwrap_or_else(|error| panic!("{line}: {error}"))
        .downcast::<gst::Pipeline>()
        .expect("a launch line with several elements is a pipeline");
    let sink = pipeline
        .by_name("sink")
        .and_downcast::<gst_app::AppSink>()
        .expect("an appsink named sink");
    sink.set_property("sync", false);
    pipeline.set_state(gst::State::Playing).ok();
    let bus = pipeline.bus().expect("a pipeline has a bus");
    loop {
        match sink.try_pull_sample(gst::ClockTime::from_mseconds(200)) {
            Some(sample) => each(&pipeline, seen(&sample)),
            None if sink.is_eos() => break,
            None => {}
        }
        if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
            && let gst::MessageView::Error(error) = message.view()
        {
            let text = format!("{} ({:?})", error.error(), error.debug());
            pipeline.set_state(gst::State::Null).ok();
            panic!("{text}");
        }
    }
    pipeline
}

fn seen(sample: &gst::Sample) -> Seen {
    let buffer = sample.buffer().expect("a sample has a buffer");
    let caps = sample.caps().expect("a sample has caps");
    let info = gst_video::VideoInfo::from_caps(caps).expect("raw video");
    let frame = detection::FrameSize {
        width: info.width(),
        height: info.height(),
    };
    Seen {
        pts: buffer.pts(),
        detections: detection_meta::detections(buffer, frame)
            .map(|d| (d.label.to_owned(), d.confidence, d.bbox))
            .collect(),
        regions: detection_meta::looked_at(buffer),
    }
}

/// The statistics of the element named `detect`.
pub fn stats(pipeline: &gst::Pipeline) -> gst::Structure {
    let element = pipeline.by_name("detect").expect("an element named detect");
    element.property::<gst::Structure>("stats")
}

/// The texts of all warnings of a launch line until its end.
pub fn warnings_of(line: &str) -> Vec<String> {
    init();
    let pipeline = gst::parse::launch(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let bus = pipeline.bus().expect("a pipeline has a bus");
    pipeline.set_state(gst::State::Playing).ok();
    let types = [
        gst::MessageType::Warning,
        gst::MessageType::Error,
        gst::MessageType::Eos,
    ];
    let mut warnings = Vec::new();
    loop {
        let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &types);
        match message.as_ref().map(|message| message.view()) {
            Some(gst::MessageView::Warning(warning)) => {
                warnings.push(warning.error().message().to_owned());
            }
            Some(gst::MessageView::Eos(_)) => break,
            other => panic!("no end: {other:?}"),
        }
    }
    pipeline.set_state(gst::State::Null).ok();
    warnings
}

/// The text of the error that starting this line ends in.
pub fn error_of(line: &str) -> String {
    init();
    let pipeline = gst::parse::launch(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let bus = pipeline.bus().expect("a pipeline has a bus");
    pipeline.set_state(gst::State::Playing).ok();
    let message = bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Error, gst::MessageType::Eos],
    );
    let text = match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Error(error)) => error.error().message().to_owned(),
        other => panic!("no error: {other:?}"),
    };
    pipeline.set_state(gst::State::Null).ok();
    text
}
