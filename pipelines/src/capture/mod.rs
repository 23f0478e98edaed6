//! The capture pipeline of one camera: source, decoder, rate, size, ring.
//!
//! ```text
//! source -> (depayload, parse, decode) -> (wait for their time) -> tee -> fewer frames -> scale, convert -> shmringsink
//!                            └-> tap: encoded                        └-> tap: pictures
//! ```
//!
//! Frames are dropped before they are scaled, and nothing stands between the converter and `shmringsink`, so that the
//! converter writes straight into the ring. What is in brackets appears once the source says what it sends. Tasks connect
//! to the taps ([`crate::tasks`]); a tap without a task costs next to nothing. A libcamera camera has a tap for each of
//! its streams.

mod decode;
mod fault;
mod rate;
mod reach;
mod rtp;
mod rtsp;
mod setup;
mod source;
mod tap;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use gst::prelude::*;

pub use decode::check_decoder;
pub use rate::RateLimiter;
pub use reach::why_not_connected;
pub use setup::{Setup, ask};
use source::Pace;
pub use source::{check_source, split_credentials, split_port};
pub use tap::{StreamId, Tap, TapLink, Taps};

use crate::camera::{CameraConfig, Decoder, RtspTransport, Source, Stream};
use crate::fault::{Fault, FaultKind};
use crate::secret;
use crate::spec::CaptureSpec;

/// Different warnings that are counted.
const WARNINGS: usize = 16;
/// Equal warnings without a single picture after which there is none to be expected.
const NOTHING_BUT_WARNINGS: u64 = 50;

/// A capture pipeline. Dropping it takes the pipeline down.
pub struct Capture {
    pipeline: gst::Pipeline,
    sink: Option<gst::Element>,
    shared: Arc<Shared>,
    taps: Taps,
    not_applied: Vec<String>,
    repeat: bool,
}

/// What happened in a capture pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaptureEvent {
    /// The source has ended (a file that is not repeated).
    Ended,
    /// The pipeline cannot go on.
    Failed(Fault),
    /// Something to log; the pipeline goes on.
    Warning(String),
}

/// Frames counted since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Frames {
    /// Decoded frames.
    pub received: u64,
    /// Those of them that went on to the ring; the others were more than `detect.fps`.
    pub passed: u64,
}

struct Shared {
    pipeline: gst::glib::WeakRef<gst::Pipeline>,
    /// First element after the decoder.
    tail: gst::glib::WeakRef<gst::Element>,
    encoded: Mutex<Option<Tap>>,
    /// Whether anybody wants pictures.
    decode: Arc<AtomicBool>,
    /// A repeated file has not been sought in yet.
    beginning: AtomicBool,
    wanted: Decoder,
    failed: Vec<String>,
    linked: AtomicBool,
    /// Where packets of an RTSP camera come together, whichever synchronisation source sends them, and what they are.
    packets: Mutex<Option<(gst::Element, (u32, String))>>,
    decoder: Mutex<Option<gst::Element>>,
    refused_certificate: rtsp::Refused,
    /// The camera's transport may still be changed from TCP to UDP.
    may_use_udp: AtomicBool,
    /// Warnings and how often they came.
    warnings: Mutex<HashMap<String, u64>>,
    received: AtomicU64,
    passed: AtomicU64,
}

/// Builds the pipeline that fills a camera's ring, and feeds its tasks. `setup` is its [`Setup::standing`].
pub fn build(spec: &CaptureSpec, setup: &Setup) -> Result<Capture, Fault> {
    let source = spec
        .camera
        .primary_source()
        .ok_or_else(|| Fault::permanent("the camera has no source"))?;
    let sink = gst::ElementFactory::make("shmringsink")
        .build()
        .map_err(|_| Fault::permanent("GStreamer element shmringsink is not registered"))?;
    sink.set_property("socket-path", spec.socket_path.to_string_lossy().as_ref());
    sink.set_property("slots", spec.slots);
    build_from(
        source,
        setup,
        &spec.camera,
        &spec.failed_decoders,
        Some(sink),
    )
}

/// As [`build`], with another element where the ring would be.
pub fn build_into(
    camera: &CameraConfig,
    failed_decoders: &[String],
    sink: gst::Element,
) -> Result<Capture, Fault> {
    let source = camera
        .primary_source()
        .ok_or_else(|| Fault::permanent("the camera has no source"))?;
    let setup = Setup::standing(camera, ask(camera)?.as_ref());
    build_from(source, &setup, camera, failed_decoders, Some(sink))
}

/// Builds the pipeline of one of a camera's sources. Without a sink it only feeds tasks.
pub fn build_from(
    source: &Source,
    setup: &Setup,
    camera: &CameraConfig,
    failed_decoders: &[String],
    sink: Option<gst::Element>,
) -> Result<Capture, Fault> {
    let scarce = matches!(source, Source::Libcamera(_) | Source::V4l2(_));
    let source = source::build(source, setup, camera)?;
    let pipeline = gst::Pipeline::new();
    let (tap, tap_sink) = Tap::new("pictures", scarce);
    let tee = element("tee")?;
    let mut tail = Vec::new();
    if source.pace != Pace::Source {
        let sync = element("clocksync")?;
        if source.pace == Pace::OursUnlessLive {
            sync.set_property("sync", false);
            sync_unless_live(&sync);
        }
        tail.push(sync);
    }
    tail.push(tee.clone());

    let all: Vec<&gst::Element> = source
        .elements
        .iter()
        .chain(&tail)
        .chain([&tap_sink])
        .collect();
    pipeline.add_many(&all).map_err(internal)?;
    for (one, next) in &source.links {
        one.link(next).map_err(internal)?;
    }
    if let Some(built) = &source.libcamera {
        built.add_to(&pipeline).map_err(internal)?;
    }
    gst::Element::link_many(&tail).map_err(internal)?;

    let shared = Arc::new(Shared {
        pipeline: pipeline.downgrade(),
        tail: tail[0].downgrade(),
        encoded: Mutex::new(None),
        decode: Arc::new(AtomicBool::new(true)),
        beginning: AtomicBool::new(source.repeat),
        wanted: camera.decoder,
        failed: failed_decoders.to_vec(),
        linked: AtomicBool::new(false),
        packets: Mutex::new(None),
        refused_certificate: source.refused_certificate,
        may_use_udp: AtomicBool::new(source.transport == Some(RtspTransport::Auto)),
        warnings: Mutex::new(HashMap::new()),
        decoder: Mutex::new(None),
        received: AtomicU64::new(0),
        passed: AtomicU64::new(0),
    });
    if let Some(sink) = &sink {
        let convert = element("videoconvertscale")?;
        let format = element("capsfilter")?;
        format.set_property("caps", detect_caps(camera, setup));
        let branch = [&convert, &format, sink];
        pipeline.add_many(branch).map_err(internal)?;
        gst::Element::link_many([&tee, &convert, &format, sink]).map_err(internal)?;
        limit_rate(&convert, camera.detect.fps, &shared);
    }
    // After the ring's branch: a sink that waits for its first frame would otherwise wait for the tap, and that for it.
    tee.link(&tap_sink).map_err(internal)?;
    if source.repeat {
        repeat(&tee, &shared);
    }
    let mut taps = Taps::new(source.description);
    if source.stream == Stream::Raw {
        taps.insert(StreamId::Raw, tap.clone());
    }
    taps.insert(StreamId::Main, tap);
    for (stream, element) in source.others {
        let (tap, sink) = Tap::new(&stream.to_string(), scarce);
        pipeline.add(&sink).map_err(internal)?;
        element.link(&sink).map_err(internal)?;
        // Detection uses the small stream; its tap was made first, as that of main.
        if stream == Stream::Main
            && let Some(small) = taps.get(StreamId::Main).cloned()
        {
            taps.insert(StreamId::Lores, small);
        }
        taps.insert(stream.into(), tap);
    }
    follow(&source.output, &shared);

    Ok(Capture {
        pipeline,
        sink,
        shared,
        taps,
        not_applied: source.not_applied,
        repeat: source.repeat,
    })
}

fn element(factory: &str) -> Result<gst::Element, Fault> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        Fault::permanent(format!(
            "GStreamer element {factory} is missing; install GStreamer 1.22 or later with its base plugins \
             (Debian: gstreamer1.0-plugins-base)"
        ))
    })
}

fn internal(error: gst::glib::BoolError) -> Fault {
    Fault::permanent(error.to_string())
}

/// I420 in the detect size, or in that of the stream where none is configured.
fn detect_caps(camera: &CameraConfig, setup: &Setup) -> gst::Caps {
    let mut caps = gst::Caps::builder("video/x-raw").field("format", "I420");
    if let Some(size) = camera.detect_size().or(setup.detect_size(camera)) {
        caps = caps
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    }
    caps.build()
}

/// Drops surplus frames before they are scaled (they are `Handled`: the bindings make GStreamer 1.22 complain about each
/// that a probe drops), and tells everyone behind about the lower rate and the colours ([`detect_input_caps`]).
fn limit_rate(convert: &gst::Element, fps: f64, shared: &Arc<Shared>) {
    let pad = convert.static_pad("sink").expect("filters have a sink pad");
    let limiter = Mutex::new((
        RateLimiter::new(fps),
        gst::FormattedSegment::<gst::ClockTime>::new(),
    ));
    let shared = Arc::downgrade(shared);
    let framerate = gst::Fraction::approximate_f64(fps);
    let types = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    pad.add_probe(types, move |_, info| {
        let Some(shared) = shared.upgrade() else {
            return gst::PadProbeReturn::Ok;
        };
        let mut limiter = limiter.lock().expect("no panic while held");
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                shared.received.fetch_add(1, Ordering::Relaxed);
                // Running time goes on where a repeated file's own timestamps start again.
                let time = buffer
                    .pts()
                    .map(|pts| limiter.1.to_running_time(pts).unwrap_or(pts));
                if time.is_some_and(|time| !limiter.0.passes(time.nseconds())) {
                    return gst::PadProbeReturn::Handled;
                }
                shared.passed.fetch_add(1, Ordering::Relaxed);
            }
            Some(gst::PadProbeData::Event(event)) => match event.view() {
                gst::EventView::Segment(segment) => {
                    if let Some(segment) = segment.segment().downcast_ref::<gst::ClockTime>() {
                        limiter.1 = segment.clone();
                    }
                }
                gst::EventView::Caps(caps) => {
                    if let Some(caps) = detect_input_caps(caps.caps(), framerate) {
                        *event = gst::event::Caps::builder(&caps)
                            .seqnum(event.seqnum())
                            .build();
                    }
                }
                _ => {}
            },
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// The first frame asks whether what it comes from is live; if not, it and those behind it wait for their time. A source that
/// does not say counts as live: frames of a camera that waited could pile up in it.
fn sync_unless_live(sync: &gst::Element) {
    let pad = sync.static_pad("sink").expect("filters have a sink pad");
    pad.add_probe(gst::PadProbeType::BUFFER, |pad, _| {
        let mut latency = gst::query::Latency::new();
        if pad.peer_query(&mut latency)
            && !latency.result().0
            && let Some(sync) = pad.parent_element()
        {
            sync.set_property("sync", true);
        }
        gst::PadProbeReturn::Remove
    });
}

/// A repeated file: its first frames only tell that it can be sought in, and its end, which comes where the demuxer knows no
/// segment seeks, that it is to be started again. [`Capture::handle`] does both.
fn repeat(tee: &gst::Element, shared: &Arc<Shared>) {
    let pad = tee.static_pad("sink").expect("a tee has a sink pad");
    let shared = Arc::downgrade(shared);
    let asked = AtomicBool::new(false);
    let types = gst::PadProbeType::BUFFER
        | gst::PadProbeType::EVENT_DOWNSTREAM
        | gst::PadProbeType::EVENT_FLUSH;
    pad.add_probe(types, move |_, info| {
        let Some(shared) = shared.upgrade() else {
            return gst::PadProbeReturn::Ok;
        };
        let event = info.event().map(|event| event.type_());
        match event {
            None if shared.beginning.load(Ordering::SeqCst) => {
                if asked.swap(true, Ordering::SeqCst) {
                    return gst::PadProbeReturn::Handled;
                }
            }
            Some(gst::EventType::Eos) => {}
            Some(gst::EventType::FlushStop) => {
                shared.beginning.store(false, Ordering::SeqCst);
                return gst::PadProbeReturn::Ok;
            }
            _ => return gst::PadProbeReturn::Ok,
        }
        if let Some(pipeline) = shared.pipeline.upgrade() {
            let again = gst::Structure::new_empty(AGAIN);
            let _ = pipeline.post_message(gst::message::Application::new(again));
        }
        gst::PadProbeReturn::Handled
    });
}

/// Name of the message that asks for a file to be started again.
const AGAIN: &str = "watchpost-again";

/// The caps as the detect branch sees them: at most its frame rate, and with colours described. Where the source does not
/// describe them, GStreamer assumes BT.709 from 720 lines on and BT.601 below, so that scaling an undescribed picture down
/// would also convert every pixel between the two. None where nothing changes.
fn detect_input_caps(caps: &gst::CapsRef, rate: Option<gst::Fraction>) -> Option<gst::Caps> {
    let given = caps.structure(0)?;
    let rate = rate.filter(|rate| {
        given
            .get("framerate")
            .is_ok_and(|given: gst::Fraction| given > *rate)
    });
    let colorimetry = match given.has_field("colorimetry") {
        true => None,
        false => gst_video::VideoInfo::from_caps(caps)
            .ok()
            .map(|info| info.colorimetry().to_string())
            .filter(|colorimetry| !colorimetry.is_empty()),
    };
    if rate.is_none() && colorimetry.is_none() {
        return None;
    }
    let mut caps = caps.to_owned();
    if let Some(rate) = rate {
        caps.make_mut().set("framerate", rate);
    }
    if let Some(colorimetry) = colorimetry {
        caps.make_mut().set("colorimetry", colorimetry);
    }
    Some(caps)
}

/// Links whatever video comes out of the source, now or later, to the rest.
fn follow(output: &gst::Element, shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    for pad in output.src_pads() {
        link_when_known(&pad, &weak);
    }
    output.connect_pad_added(move |_, pad| {
        if pad.direction() == gst::PadDirection::Src {
            link_when_known(pad, &weak);
        }
    });
    // A synchronisation source that has fallen silent: its place where the packets come together is free again.
    output.connect_pad_removed(|_, pad| {
        if let Some(place) = pad.peer()
            && let Some(funnel) = place.parent_element()
            && fault::factory_name(&funnel) == "funnel"
        {
            funnel.release_request_pad(&place);
        }
    });
}

fn link_when_known(pad: &gst::Pad, shared: &Weak<Shared>) {
    if let Some(caps) = pad.current_caps() {
        take(pad, &caps, shared);
        return;
    }
    let shared = shared.clone();
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |pad, info| {
        if let Some(gst::EventView::Caps(event)) = info.event().map(|event| event.view()) {
            take(pad, &event.caps_owned(), &shared);
            return gst::PadProbeReturn::Remove;
        }
        gst::PadProbeReturn::Ok
    });
}

fn take(pad: &gst::Pad, caps: &gst::Caps, shared: &Weak<Shared>) {
    let Some(shared) = shared.upgrade() else {
        return;
    };
    let (Some(pipeline), Some(tail)) = (shared.pipeline.upgrade(), shared.tail.upgrade()) else {
        return;
    };
    let source = rtspsrc_of(pad);
    if source.is_some() && goes_on(pad, caps, &shared) {
        watch(pad, caps, source.as_ref(), &pipeline);
        return;
    }
    if !is_video(caps) || shared.linked.load(Ordering::SeqCst) {
        discard(pad);
        return;
    }
    let linked = if encoding_of(caps) == Some(decode::MPEG_TS) {
        demux(pad, &shared, &pipeline)
    } else if shared.linked.swap(true, Ordering::SeqCst) {
        discard(pad);
        return;
    } else {
        link(pad, caps, &shared, &pipeline, &tail)
    };
    match linked {
        Err(fault) => post(&pipeline, &fault),
        Ok(()) => watch(pad, caps, source.as_ref(), &pipeline),
    }
}

/// Links a pad that continues the stream of another one: cameras and restreamers change their synchronisation source, and
/// `rtspsrc` gives each a pad of its own.
fn goes_on(pad: &gst::Pad, caps: &gst::Caps, shared: &Shared) -> bool {
    let packets = shared.packets.lock().expect("no panic while held");
    let Some((funnel, stream)) = &*packets else {
        return false;
    };
    rtsp::stream_of(pad, caps).as_ref() == Some(stream)
        && funnel
            .request_pad_simple("sink_%u")
            .is_some_and(|sink| pad.link(&sink).is_ok())
}

/// Takes the times and the kind of packets of an RTSP camera from the packets themselves, and keeps its session alive.
fn watch(
    pad: &gst::Pad,
    caps: &gst::Caps,
    source: Option<&gst::Element>,
    pipeline: &gst::Pipeline,
) {
    let Some(source) = source else {
        return;
    };
    let pipeline = pipeline.downgrade();
    rtp::watch(pad, caps, move |fault| {
        if let Some(pipeline) = pipeline.upgrade() {
            post(&pipeline, &fault);
        }
    });
    rtsp::keep_alive(source, pad);
}

/// Takes a transport stream apart; the video in it is linked when it appears.
fn demux(pad: &gst::Pad, shared: &Arc<Shared>, pipeline: &gst::Pipeline) -> Result<(), Fault> {
    let elements = decode::mpeg_ts()?;
    pipeline.add_many(&elements).map_err(internal)?;
    gst::Element::link_many(&elements).map_err(internal)?;
    let [depayloader, demuxer] = &elements;
    follow(demuxer, shared);
    for element in [demuxer, depayloader] {
        element.sync_state_with_parent().map_err(internal)?;
    }
    let sink = depayloader
        .static_pad("sink")
        .expect("filters have a sink pad");
    pad.link(&sink).map(drop).map_err(|error| {
        Fault::source(format!(
            "the transport stream cannot be taken apart: {error}"
        ))
    })
}

fn encoding_of(caps: &gst::Caps) -> Option<&str> {
    let structure = caps.structure(0)?;
    (structure.name() == "application/x-rtp").then(|| decode::encoding_of(structure))?
}

/// Puts a fault on the pipeline's bus; `classify` makes the same kind of it again.
fn post(pipeline: &gst::Pipeline, fault: &Fault) {
    let error = match fault.kind {
        FaultKind::Source => gst::StreamError::WrongType,
        _ => gst::StreamError::CodecNotFound,
    };
    gst::element_error!(pipeline, error, ("{}", fault.reason));
}

/// The `rtspsrc` whose pad this is.
fn rtspsrc_of(pad: &gst::Pad) -> Option<gst::Element> {
    let element = pad.parent_element()?;
    (fault::factory_name(&element) == "rtspsrc").then_some(element)
}

fn is_video(caps: &gst::Caps) -> bool {
    caps.structure(0).is_some_and(|structure| {
        let name = structure.name();
        match name.as_str() {
            "application/x-rtp" => structure.get::<&str>("media").is_ok_and(|m| m == "video"),
            _ => name.starts_with("video/") || name == "image/jpeg",
        }
    })
}

fn link(
    pad: &gst::Pad,
    caps: &gst::Caps,
    shared: &Shared,
    pipeline: &gst::Pipeline,
    tail: &gst::Element,
) -> Result<(), Fault> {
    let chain = decode::chain(caps, shared.wanted, &shared.failed)?;
    shared
        .decoder
        .lock()
        .expect("no panic while held")
        .clone_from(&chain.decoder);
    // What the camera encoded is there for recordings just before it is decoded.
    let encoded = chain.decoder.is_some().then(|| Tap::new("encoded", false));
    let mut elements = chain.elements;
    let stream = rtspsrc_of(pad).and_then(|_| rtsp::stream_of(pad, caps));
    if let Some(stream) = stream {
        let funnel = element("funnel")?;
        elements.insert(0, funnel.clone());
        *shared.packets.lock().expect("no panic while held") = Some((funnel, stream));
    }
    if encoded.is_some() {
        elements.insert(elements.len() - 1, element("tee")?);
    }
    pipeline.add_many(&elements).map_err(internal)?;
    let path: Vec<&gst::Element> = elements.iter().chain([tail]).collect();
    gst::Element::link_many(&path).map_err(internal)?;
    if let (Some((tap, sink)), [.., tee, decoder]) = (encoded, elements.as_slice()) {
        decode_when_wanted(decoder, shared);
        pipeline.add(&sink).map_err(internal)?;
        tee.link(&sink).map_err(internal)?;
        sink.sync_state_with_parent().map_err(internal)?;
        *shared.encoded.lock().expect("no panic while held") = Some(tap);
    }
    for element in elements.iter().rev() {
        element.sync_state_with_parent().map_err(internal)?;
    }
    let first = path[0]
        .static_pad("sink")
        .or_else(|| path[0].request_pad_simple("sink_%u"))
        .expect("filters and funnels have sink pads");
    match (pad.link(&first), &chain.decoder) {
        (Ok(_), _) => Ok(()),
        // The parser passes on what the decoder can take (profile, level): another decoder may take more.
        (Err(_), Some(decoder)) => {
            gst::element_error!(decoder, gst::StreamError::Format, ("cannot decode {caps}"));
            Ok(())
        }
        (Err(error), None) => Err(Fault::permanent(format!(
            "{caps} does not fit {}: {error}",
            path[0].name()
        ))),
    }
}

/// Keeps a stream from its decoder while nobody wants pictures; when somebody does again, they begin with a key frame.
fn decode_when_wanted(decoder: &gst::Element, shared: &Shared) {
    let pad = decoder
        .static_pad("sink")
        .expect("decoders have a sink pad");
    let wanted = shared.decode.clone();
    let gap = AtomicBool::new(false);
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        if !wanted.load(Ordering::Relaxed) {
            gap.store(true, Ordering::Relaxed);
            return gst::PadProbeReturn::Handled;
        }
        let is_delta = info
            .buffer()
            .is_some_and(|buffer| buffer.flags().contains(gst::BufferFlags::DELTA_UNIT));
        if is_delta && gap.load(Ordering::Relaxed) {
            return gst::PadProbeReturn::Handled;
        }
        gap.store(false, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
}

/// A pad nobody takes from would stop the demuxer; a sink of its own would wait for its first frame and stop it too.
fn discard(pad: &gst::Pad) {
    let data = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
    pad.add_probe(data, |_, _| gst::PadProbeReturn::Handled);
}

impl Capture {
    /// The pipeline, for its bus.
    pub fn pipeline(&self) -> &gst::Pipeline {
        &self.pipeline
    }

    /// The element that fills the ring; none where only tasks are fed.
    pub fn sink(&self) -> Option<&gst::Element> {
        self.sink.as_ref()
    }

    /// Whether pictures are wanted, or only what the camera encoded; they are, unless it is said otherwise.
    pub fn decode(&self, wanted: bool) {
        self.shared.decode.store(wanted, Ordering::Relaxed);
    }

    /// What the configuration asks of the camera and does not reach it, for people.
    pub fn not_applied(&self) -> &[String] {
        &self.not_applied
    }

    /// Where tasks take their frames. What the camera encoded is among them once it has said what it sends.
    pub fn taps(&self) -> Taps {
        let mut taps = self.taps.clone();
        let encoded = self.shared.encoded.lock().expect("no panic while held");
        if let Some(tap) = &*encoded {
            taps.insert(StreamId::Encoded, tap.clone());
        }
        taps
    }

    /// The decoder at work, by the name of its factory; `None` before the source said what it sends, and for a source
    /// that needs none.
    pub fn decoder(&self) -> Option<String> {
        let decoder = self.shared.decoder.lock().expect("no panic while held");
        decoder.as_ref().map(fault::factory_name)
    }

    /// Frames counted so far.
    pub fn frames(&self) -> Frames {
        Frames {
            received: self.shared.received.load(Ordering::Relaxed),
            passed: self.shared.passed.load(Ordering::Relaxed),
        }
    }

    /// Starts the pipeline. What goes wrong later comes by the bus.
    pub fn start(&self) -> Result<(), Fault> {
        self.set_state(gst::State::Playing)
    }

    fn set_state(&self, state: gst::State) -> Result<(), Fault> {
        if self.pipeline.set_state(state).is_ok() {
            return Ok(());
        }
        // The reason is on the bus.
        let bus = self.pipeline.bus().expect("a pipeline has a bus");
        while let Some(message) = bus.pop_filtered(&[gst::MessageType::Error]) {
            if let Some(CaptureEvent::Failed(fault)) = self.handle(&message) {
                return Err(fault);
            }
        }
        Err(Fault::source(format!(
            "the pipeline does not go to {state:?}"
        )))
    }

    /// With the SEGMENT flag the demuxer says when it is through instead of sending EOS.
    fn seek(&self, flags: gst::SeekFlags) -> bool {
        self.pipeline
            .seek_simple(gst::SeekFlags::SEGMENT | flags, gst::ClockTime::ZERO)
            .is_ok()
    }

    /// Lets the source end: what is on its way still reaches the ring, then [`CaptureEvent::Ended`] comes.
    pub fn finish(&self) {
        self.pipeline.send_event(gst::event::Eos::new());
    }

    /// Starts the pipeline over with UDP where `transport: auto` found nothing over TCP.
    fn tries_udp(&self, error: &gst::message::Error) -> bool {
        if !fault::without_video(error) || !self.shared.may_use_udp.swap(false, Ordering::SeqCst) {
            return false;
        }
        let Some(source) = fault::rtspsrc(error) else {
            return false;
        };
        let _ = self.pipeline.set_state(gst::State::Null);
        rtsp::set_transport(source, RtspTransport::Udp);
        self.pipeline.set_state(gst::State::Playing).is_ok()
    }

    /// Passes on a warning the first, tenth, hundredth... time: some elements repeat one with every picture. Where there is
    /// nothing but warnings, they are the reason why no picture comes.
    fn warned(&self, text: String) -> Option<CaptureEvent> {
        let mut warnings = self.shared.warnings.lock().expect("no panic while held");
        if warnings.len() >= WARNINGS && !warnings.contains_key(&text) {
            warnings.clear();
        }
        let count = warnings.entry(text.clone()).or_default();
        *count += 1;
        if *count == NOTHING_BUT_WARNINGS && self.shared.received.load(Ordering::Relaxed) == 0 {
            let reason = format!("no picture could be decoded: {text} ({count} times)");
            return Some(CaptureEvent::Failed(Fault::source(reason)));
        }
        match *count {
            1 => Some(CaptureEvent::Warning(text)),
            count if count.ilog10() > (count - 1).ilog10() => {
                Some(CaptureEvent::Warning(format!("{text} ({count} times)")))
            }
            _ => None,
        }
    }

    /// Takes a message of the pipeline's bus; every one must be handed in.
    pub fn handle(&self, message: &gst::Message) -> Option<CaptureEvent> {
        match message.view() {
            gst::MessageView::Eos(_) => Some(CaptureEvent::Ended),
            gst::MessageView::Error(error) => {
                if self.tries_udp(error) {
                    return Some(CaptureEvent::Warning(
                        "the camera offers no video over TCP; UDP is tried".into(),
                    ));
                }
                let decoder = self
                    .shared
                    .decoder
                    .lock()
                    .expect("no panic while held")
                    .clone();
                let mut fault = fault::classify(error, decoder.as_ref(), self.sink.as_ref());
                // There is time for it: without this source the camera has nothing else to do.
                if let Some(why) = rtsp::refused_certificate(&self.shared.refused_certificate) {
                    fault.reason = why;
                } else if self.sink.is_some()
                    && let Some(why) = why_not_connected(message)
                {
                    fault.reason = why;
                }
                Some(CaptureEvent::Failed(fault))
            }
            gst::MessageView::Warning(warning) => {
                self.warned(secret::hide(warning.error().message()))
            }
            gst::MessageView::SegmentDone(_) if self.repeat => {
                self.seek(gst::SeekFlags::empty());
                None
            }
            gst::MessageView::Application(application)
                if application.structure().is_some_and(|s| s.name() == AGAIN) =>
            {
                if !self.seek(gst::SeekFlags::FLUSH) {
                    // Then it plays as it is, and ends.
                    self.shared.beginning.store(false, Ordering::SeqCst);
                }
                None
            }
            _ => None,
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}
