//! Frames in and out of pipelines.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use detection::BBox;
use gst::prelude::*;
use regiondetect_core::tensor::{ChromaSite, Colour, Picture, PixelFormat, Plane};

/// Frames per second of the walking clip.
pub const CLIP_FPS: usize = 10;

/// An I420 picture without padding; sides are even.
#[derive(Clone)]
pub struct Frame {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

impl Frame {
    pub fn new(width: usize, height: usize) -> Self {
        let mut data = vec![16; width * height];
        data.resize(width * height * 3 / 2, 128);
        Self {
            width,
            height,
            data,
        }
    }

    /// Start, width and height of a plane.
    pub fn plane(&self, i: usize) -> (usize, usize, usize) {
        let luma = self.width * self.height;
        match i {
            0 => (0, self.width, self.height),
            _ => (luma + (i - 1) * luma / 4, self.width / 2, self.height / 2),
        }
    }

    pub fn picture(&self) -> Result<Picture<'_>, String> {
        let plane = |i| {
            let (start, width, height) = self.plane(i);
            Plane {
                data: &self.data[start..start + width * height],
                stride: width,
            }
        };
        let planes = [plane(0), plane(1), plane(2)];
        Picture::new(
            PixelFormat::I420,
            self.width,
            self.height,
            &planes,
            Colour::default(),
            ChromaSite::default(),
        )
        .map_err(|error| error.to_string())
    }
}

/// What the pipeline said of a frame.
pub struct Outcome {
    /// Ids and places, in fractions of the frame.
    pub tracks: Vec<(i32, BBox)>,
    /// Inferences since the start.
    pub inferences: u64,
    /// Inferences by reason since the start.
    pub reasons: String,
    /// What decoding the model's outputs took, mean per inference since the start.
    pub decode_ms: f64,
}

/// A pipeline's way through all its frames.
pub struct Run {
    pub frames: Vec<Outcome>,
    pub cpu: Cpu,
}

/// CPU time per frame, in ms, of everything but inference.
pub struct Cpu {
    /// Of each element, in their order.
    pub elements: [f64; 3],
    /// Of making detections of what the model put out.
    pub decode: f64,
    /// Of the queue before the elements and the appsink behind them, which only the evaluation has.
    pub around: f64,
}

impl Cpu {
    /// From the frame to tracks and messages.
    pub fn own(&self) -> f64 {
        self.elements.iter().sum::<f64>() + self.decode
    }
}

pub fn init() -> Result<(), String> {
    gst::init().map_err(|e| e.to_string())?;
    gstregiondetect::plugin_register_static().map_err(|e| e.to_string())?;
    gstobjecttrack::plugin_register_static().map_err(|e| e.to_string())?;
    detection_meta::register_metas();
    Ok(())
}

/// Calls `each` with every frame of a clip.
pub fn decode(
    clip: &Path,
    mut each: impl FnMut(&Frame) -> Result<(), String>,
) -> Result<(), String> {
    let line = format!(
        "filesrc location={} ! decodebin ! videoconvert ! video/x-raw,format=I420 ! appsink name=sink sync=false max-buffers=4",
        clip.display()
    );
    let pipeline = launch(&line)?;
    pull(&pipeline, |sample| {
        let buffer = sample.buffer().ok_or("sample without a buffer")?;
        let caps = sample.caps().ok_or("sample without caps")?;
        let info = gst_video::VideoInfo::from_caps(caps).map_err(|e| e.to_string())?;
        let map = buffer.map_readable().map_err(|e| e.to_string())?;
        let mut frame = Frame::new(info.width() as usize, info.height() as usize);
        for i in 0..3 {
            let (start, width, height) = frame.plane(i);
            let (offset, stride) = (info.offset()[i], info.stride()[i] as usize);
            for y in 0..height {
                frame.data[start + y * width..][..width]
                    .copy_from_slice(&map[offset + y * stride..][..width]);
            }
        }
        each(&frame)
    })
}

/// The median of frames.
pub fn median(frames: &[Frame]) -> Option<Frame> {
    let mut median = frames.first()?.clone();
    let mut values = vec![0; frames.len()];
    for i in 0..median.data.len() {
        for (value, frame) in values.iter_mut().zip(frames) {
            *value = frame.data[i];
        }
        values.sort_unstable();
        median.data[i] = values[values.len() / 2];
    }
    Some(median)
}

fn chain(model: &Path, properties: &str) -> String {
    format!(
        "queue max-size-buffers=2 ! motiondetect name=motion ! regiondetect name=detect model={} classes=person {properties} ! objecttrack name=track ! appsink name=sink sync=false max-buffers=1",
        model.display()
    )
}

/// Our elements over the clip.
pub fn run_clip(clip: &Path, model: &Path, properties: &str) -> Result<Run, String> {
    let line = format!(
        "filesrc location={} ! decodebin ! videoconvert ! video/x-raw,format=I420 ! {}",
        clip.display(),
        chain(model, properties)
    );
    outcomes(&launch(&line)?)
}

/// Our elements over frames at 5 per second.
pub fn run_frames(frames: &[Frame], model: &Path, properties: &str) -> Result<Run, String> {
    let first = frames.first().ok_or("no frames")?;
    let line = format!(
        "appsrc name=src format=time block=true max-buffers=2 caps=video/x-raw,format=I420,width={},height={},framerate=5/1 ! {}",
        first.width,
        first.height,
        chain(model, properties)
    );
    let pipeline = launch(&line)?;
    let source = pipeline
        .by_name("src")
        .and_downcast::<gst_app::AppSrc>()
        .ok_or("no appsrc")?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for (n, frame) in frames.iter().enumerate() {
                let mut buffer = gst::Buffer::from_slice(frame.data.clone());
                if let Some(buffer) = buffer.get_mut() {
                    buffer.set_pts(gst::ClockTime::from_mseconds(200 * n as u64));
                    buffer.set_duration(gst::ClockTime::from_mseconds(200));
                }
                if source.push_buffer(buffer).is_err() {
                    return;
                }
            }
            // An error downstream has ended the pipeline already.
            let _ = source.end_of_stream();
        });
        outcomes(&pipeline)
    })
}

fn outcomes(pipeline: &gst::Pipeline) -> Result<Run, String> {
    let detect = pipeline.by_name("detect").ok_or("no regiondetect")?;
    let cpu = CpuTime::of(pipeline)?;
    let mut outcomes = Vec::new();
    pull(pipeline, |sample| {
        let buffer = sample.buffer().ok_or("sample without a buffer")?;
        let info = gst_video::VideoInfo::from_caps(sample.caps().ok_or("no caps")?)
            .map_err(|e| e.to_string())?;
        let size = detection::FrameSize {
            width: info.width(),
            height: info.height(),
        };
        let stats = detect.property::<gst::Structure>("stats");
        outcomes.push(Outcome {
            tracks: detection_meta::detections(buffer, size)
                .filter_map(|d| Some((d.object_id?, d.bbox)))
                .collect(),
            inferences: stats.get("inferences").unwrap_or(0),
            reasons: [
                "track",
                "untracked",
                "motion",
                "stationary",
                "startup",
                "scan",
            ]
            .map(|reason| {
                let count = stats.get::<u64>(&format!("inferences-{reason}"));
                format!("{reason} {}", count.unwrap_or(0))
            })
            .join(", "),
            decode_ms: stats.get("decode-ms").unwrap_or(0.0),
        });
        Ok(())
    })?;
    let frames = outcomes.len().max(1) as f64;
    let decode = outcomes
        .last()
        .map_or(0.0, |last| last.decode_ms * last.inferences as f64 / frames);
    let [elements @ .., around] = cpu.milliseconds().map(|ms| ms / frames);
    Ok(Run {
        cpu: Cpu {
            elements,
            decode,
            around,
        },
        frames: outcomes,
    })
}

/// The pads where one element's work ends and the next one's begins: before each element, and before the sink.
const PADS: [&str; 4] = ["motion", "detect", "track", "sink"];

/// CPU time of the thread that all elements run in, from one of [`PADS`] to the next. The last entry is from the sink to the
/// next frame's first pad.
#[derive(Default)]
struct CpuTime {
    nanoseconds: [AtomicU64; PADS.len()],
    last: AtomicU64,
}

impl CpuTime {
    fn of(pipeline: &gst::Pipeline) -> Result<Arc<Self>, String> {
        let time = Arc::new(Self::default());
        for (place, name) in PADS.iter().enumerate() {
            let pad = pipeline.by_name(name).and_then(|e| e.static_pad("sink"));
            let seen = Arc::clone(&time);
            pad.ok_or_else(|| format!("no {name}"))?.add_probe(
                gst::PadProbeType::BUFFER,
                move |_, _| {
                    seen.reached(place);
                    gst::PadProbeReturn::Ok
                },
            );
        }
        Ok(time)
    }

    /// A frame is at this pad. What came before the first frame is the start, and counts for nothing.
    fn reached(&self, place: usize) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let now = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        let last = self.last.swap(now, Ordering::Relaxed);
        let from = (place + PADS.len() - 1) % PADS.len();
        if last > 0 {
            self.nanoseconds[from].fetch_add(now.saturating_sub(last), Ordering::Relaxed);
        }
    }

    fn milliseconds(&self) -> [f64; PADS.len()] {
        let of = |time: &AtomicU64| time.load(Ordering::Relaxed) as f64 / 1e6;
        self.nanoseconds.each_ref().map(of)
    }
}

fn launch(line: &str) -> Result<gst::Pipeline, String> {
    gst::parse::launch(line)
        .map_err(|error| format!("{line}: {error}"))?
        .downcast()
        .map_err(|_| format!("{line}: not a pipeline"))
}

/// Plays to the end, calling `each` with every sample.
fn pull(
    pipeline: &gst::Pipeline,
    mut each: impl FnMut(&gst::Sample) -> Result<(), String>,
) -> Result<(), String> {
    let sink = pipeline
        .by_name("sink")
        .and_downcast::<gst_app::AppSink>()
        .ok_or("no appsink")?;
    let bus = pipeline.bus().ok_or("no bus")?;
    let mut play = || {
        // What goes wrong here comes as an error message.
        let _ = pipeline.set_state(gst::State::Playing);
        loop {
            match sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
                Some(sample) => each(&sample)?,
                None if sink.is_eos() => return Ok(()),
                None => {}
            }
            if let Some(message) = bus.pop_filtered(&[gst::MessageType::Error])
                && let gst::MessageView::Error(error) = message.view()
            {
                return Err(format!("{} ({:?})", error.error(), error.debug()));
            }
        }
    };
    let result = play();
    let _ = pipeline.set_state(gst::State::Null);
    result
}

/// Writes a frame as PNG, to look at.
pub fn dump(frame: &Frame, path: &str) -> Result<(), String> {
    let line = format!(
        "appsrc name=src format=time caps=video/x-raw,format=I420,width={},height={},framerate=5/1 ! videoconvert ! pngenc ! filesink location=\"{path}\"",
        frame.width, frame.height
    );
    let pipeline = launch(&line)?;
    let source = pipeline
        .by_name("src")
        .and_downcast::<gst_app::AppSrc>()
        .ok_or("no appsrc")?;
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|e| e.to_string())?;
    source
        .push_buffer(gst::Buffer::from_slice(frame.data.clone()))
        .map_err(|e| e.to_string())?;
    source.end_of_stream().map_err(|e| e.to_string())?;
    let bus = pipeline.bus().ok_or("no bus")?;
    bus.timed_pop_filtered(
        gst::ClockTime::from_seconds(10),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline
        .set_state(gst::State::Null)
        .map_err(|e| e.to_string())?;
    Ok(())
}
