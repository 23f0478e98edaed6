//! The elements between a tap and encoded pictures that MP4 takes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use gst::prelude::*;

use super::encoder;
use crate::camera::VideoConfig;
use crate::camera::{Size, Stream};
use crate::tasks::event::{Events, TaskEvent};
use crate::tasks::pipe::{element, lock};

/// Frames that wait between camera and encoder.
const RAW_FRAMES: u32 = 30;
/// A key frame at least this often.
const KEY_FRAMES: gst::ClockTime = gst::ClockTime::SECOND;

/// How a stream is encoded and how much of it is kept.
#[derive(Debug, Clone, Default)]
pub struct EncoderSetup {
    /// Bit rate and pre-record time.
    pub config: VideoConfig,
    /// The stream that is recorded.
    pub stream: Option<Stream>,
    /// Size to scale to; none keeps the stream's own. Pictures that are already encoded keep theirs.
    pub size: Option<Size>,
}

/// Parser, and what puts decoding times in order, for what MP4 and players take as it is.
pub(crate) fn parser_of(media_type: &str) -> Option<[&'static str; 2]> {
    match media_type {
        "video/x-h264" => Some(["h264parse", "h264timestamper"]),
        "video/x-h265" => Some(["h265parse", "h265timestamper"]),
        _ => None,
    }
}

pub(crate) fn parse_chain([parser, timestamper]: [&str; 2]) -> Result<Vec<gst::Element>, String> {
    let mut chain = vec![parser_with_sets(parser)?];
    // Without it pictures that are sent in another order than they are shown get wrong times.
    if let Ok(timestamper) = gst::ElementFactory::make(timestamper).build() {
        chain.push(timestamper);
        chain.push(parser_with_sets(parser)?);
    }
    Ok(chain)
}

/// A parser that puts the parameter sets before each key frame.
fn parser_with_sets(factory: &str) -> Result<gst::Element, String> {
    let parser = element(factory)?;
    parser.set_property("config-interval", -1);
    Ok(parser)
}

/// Elements that encode pictures with these caps, and the name of the encoder; `lost` counts those for which the encoder has no time.
pub(crate) fn encode_chain(
    caps: &gst::Caps,
    setup: &EncoderSetup,
    events: &Events,
    lost: &Arc<AtomicU64>,
) -> Result<(Vec<gst::Element>, &'static str), String> {
    let info = gst_video::VideoInfo::from_caps(caps)
        .map_err(|_| format!("{caps} cannot be encoded, expected raw pictures"))?;
    let size = setup.size.unwrap_or(Size {
        width: info.width(),
        height: info.height(),
    });
    // Colours are kept for two by two pixels: an odd row or column has none.
    let size = Size {
        width: (size.width & !1).max(16),
        height: (size.height & !1).max(16),
    };
    let rate = info.fps();
    let fps = (rate.numer() > 0).then(|| f64::from(rate.numer()) / f64::from(rate.denom()));
    let encoder = encoder::encoder(size, fps, setup.config.bitrate)?;
    events(TaskEvent::Progress(format!("encoder {}", encoder.name)));
    if let Some(warning) = encoder.warning {
        events(TaskEvent::Warning(warning));
    }
    let copy = element("identity")?;
    release_camera_buffers(&copy);
    let queue = element("queue")?;
    queue.set_property("max-size-buffers", RAW_FRAMES);
    queue.set_property("max-size-bytes", 0u32);
    queue.set_property("max-size-time", 0u64);
    queue.set_property_from_str("leaky", "upstream");
    let lost = lost.clone();
    queue.connect("overrun", false, move |_| {
        lost.fetch_add(1, Ordering::Relaxed);
        None
    });
    let convert = element("videoconvertscale")?;
    let filter = element("capsfilter")?;
    let mut wanted = encoder.input;
    for structure in wanted.make_mut().iter_mut() {
        structure.set("width", size.width as i32);
        structure.set("height", size.height as i32);
        structure.set("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    }
    filter.set_property("caps", wanted);
    if let Some(first) = encoder.elements.first() {
        ask_for_key_frames(first);
    }
    let mut chain = vec![copy, queue, convert, filter];
    let name = encoder.name;
    chain.extend(encoder.elements);
    chain.extend(parse_chain(["h264parse", ""])?);
    Ok((chain, name))
}

/// Frames in memory of a camera or decoder, of which there are few, are copied before they wait: they would be missing
/// for the next pictures.
fn release_camera_buffers(element: &gst::Element) {
    let pad = element.static_pad("src").expect("identity has one");
    pad.add_probe(gst::PadProbeType::BUFFER, |_, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data
            && is_scarce(buffer)
            && let Ok(copy) = buffer.copy_deep()
        {
            *buffer = copy;
        }
        gst::PadProbeReturn::Ok
    });
}

fn is_scarce(buffer: &gst::BufferRef) -> bool {
    buffer.iter_memories().any(|memory| {
        let kind = memory.allocator().map(|allocator| allocator.memory_type());
        kind.is_none_or(|kind| kind.as_str() != "SystemMemory")
    })
}

/// Whatever the encoder makes of its settings: a recording can only begin, and be cut, at a key frame.
fn ask_for_key_frames(encoder: &gst::Element) {
    let pad = encoder.static_pad("sink").expect("encoders have one");
    let mut next: Option<gst::ClockTime> = None;
    let next = Mutex::new(move |pts: gst::ClockTime| {
        let due = next.is_none_or(|next| pts >= next || pts + KEY_FRAMES * 2 < next);
        if due {
            next = Some(pts + KEY_FRAMES);
        }
        due
    });
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let pts = info.buffer().and_then(|buffer| buffer.pts());
        if let Some(pts) = pts
            && lock(&next)(pts)
        {
            let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            pad.send_event(event);
        }
        gst::PadProbeReturn::Ok
    });
}
