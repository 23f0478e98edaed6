//! One picture into a JPEG.

use std::path::Path;
use std::time::{Duration, Instant};

use gst::prelude::*;

use super::pipe::{Running, element, internal, line, reason};
use crate::camera::Size;

/// Width of thumbnails.
const THUMBNAIL_WIDTH: u32 = 320;
/// Quality of thumbnails.
const THUMBNAIL_QUALITY: u32 = 75;
/// How long encoding one picture may take, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often to look whether it failed.
const LOOK: gst::ClockTime = gst::ClockTime::from_mseconds(50);

/// An encoded picture.
pub(crate) struct Jpeg {
    pub bytes: Vec<u8>,
    pub width: u32,
    pub height: u32,
}

/// Encodes a raw picture, scaled to `size` where one is given (with borders where the shape differs).
pub(crate) fn jpeg(sample: &gst::Sample, size: Option<Size>, quality: u32) -> Result<Jpeg, String> {
    let caps = sample.caps().ok_or("the picture has no format")?;
    let buffer = sample.buffer_owned().ok_or("the picture has no data")?;
    let source = gst_app::AppSrc::builder()
        .caps(&caps.to_owned())
        .format(gst::Format::Time)
        .build();
    encode(source.upcast_ref(), [None, None], size, quality, || {
        push(&source, buffer)
    })
}

/// The thumbnail of a raw picture.
pub(crate) fn thumbnail(sample: &gst::Sample) -> Result<Jpeg, String> {
    let info = sample
        .caps()
        .and_then(|caps| gst_video::VideoInfo::from_caps(caps).ok())
        .ok_or("the picture has no format")?;
    jpeg(
        sample,
        Some(thumbnail_size(info.width(), info.height())),
        THUMBNAIL_QUALITY,
    )
}

/// 320 wide, in the shape of the picture; smaller pictures keep their size.
fn thumbnail_size(width: u32, height: u32) -> Size {
    let across = width.min(THUMBNAIL_WIDTH);
    let down = u64::from(height) * u64::from(across) / u64::from(width.max(1));
    Size {
        width: across.next_multiple_of(2),
        height: (down as u32).max(2).next_multiple_of(2),
    }
}

/// The thumbnail of a film's first picture, still encoded.
pub(crate) fn thumbnail_of_first(caps: &gst::Caps, picture: gst::Buffer) -> Result<Jpeg, String> {
    let side = |name| {
        let value = caps.structure(0).and_then(|s| s.get::<i32>(name).ok());
        value.and_then(|value| u32::try_from(value).ok())
    };
    let size = side("width").zip(side("height"));
    let (width, height) = size.ok_or("the picture has no size")?;
    let source = gst_app::AppSrc::builder()
        .caps(caps)
        .format(gst::Format::Time)
        .build();
    let size = Some(thumbnail_size(width, height));
    let between = [Some(element("decodebin")?), None];
    encode(
        source.upcast_ref(),
        between,
        size,
        THUMBNAIL_QUALITY,
        || push(&source, picture),
    )
}

/// The thumbnail of a film: its first picture, decoded.
pub(crate) fn thumbnail_of_film(path: &Path, width: u32, height: u32) -> Result<Jpeg, String> {
    let reader = element("filesrc")?;
    reader.set_property("location", path.to_string_lossy().as_ref());
    let decoder = element("decodebin")?;
    let size = Some(thumbnail_size(width, height));
    let between = [Some(decoder), None];
    encode(&reader, between, size, THUMBNAIL_QUALITY, || Ok(()))
}

/// A picture with a text across it: the JPEG that is given, or a dark picture in its place.
pub(crate) fn with_text(
    jpeg: Option<&gst::Sample>,
    text: &str,
    size: Option<Size>,
    quality: u32,
) -> Result<Jpeg, String> {
    let overlay = element("textoverlay")?;
    overlay.set_property("text", text);
    for (property, value) in [
        ("font-desc", "Sans Bold 24"),
        ("halignment", "center"),
        ("valignment", "center"),
        ("shaded-background", "true"),
        ("wrap-mode", "word"),
    ] {
        overlay.set_property_from_str(property, value);
    }
    let Some((buffer, caps)) = jpeg.and_then(|jpeg| Some((jpeg.buffer_owned()?, jpeg.caps()?)))
    else {
        let dark = element("videotestsrc")?;
        dark.set_property_from_str("pattern", "black");
        dark.set_property("num-buffers", 1);
        return encode(&dark, [None, Some(overlay)], size, quality, || Ok(()));
    };
    let source = gst_app::AppSrc::builder()
        .caps(&caps.to_owned())
        .format(gst::Format::Time)
        .build();
    let between = [Some(element("jpegdec")?), Some(overlay)];
    encode(source.upcast_ref(), between, size, quality, || {
        push(&source, buffer)
    })
}

fn push(source: &gst_app::AppSrc, buffer: gst::Buffer) -> Result<(), String> {
    source
        .push_buffer(buffer)
        .map_err(|flow| flow.to_string())?;
    source.end_of_stream().map_err(|flow| flow.to_string())?;
    Ok(())
}

/// Runs `source ! decoder ! scale ! overlay ! jpegenc` until the first JPEG; decoder and overlay where there are some.
fn encode(
    source: &gst::Element,
    [decoder, overlay]: [Option<gst::Element>; 2],
    size: Option<Size>,
    quality: u32,
    feed: impl FnOnce() -> Result<(), String>,
) -> Result<Jpeg, String> {
    let pipeline = gst::Pipeline::new();
    let convert = element("videoconvertscale")?;
    let filter = element("capsfilter")?;
    filter.set_property("caps", scaled_caps("video/x-raw", size));
    let encoder = element("jpegenc")?;
    encoder.set_property("quality", quality.clamp(1, 100) as i32);
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .max_buffers(1)
        .enable_last_sample(false)
        .build();
    let mut tail = vec![convert.clone()];
    tail.extend(overlay);
    tail.extend([filter, encoder, sink.clone().upcast()]);
    line(&pipeline, &tail)?;
    pipeline.add(source).map_err(internal)?;
    match decoder {
        None => source.link(&convert).map_err(internal)?,
        Some(decoder) => {
            pipeline.add(&decoder).map_err(internal)?;
            source.link(&decoder).map_err(internal)?;
            // Some have their pad at once, some when they know what they decode.
            if decoder.link(&convert).is_err() {
                let first = convert.static_pad("sink").expect("converters have one");
                decoder.connect_pad_added(move |_, pad| {
                    if !first.is_linked() {
                        let _ = pad.link(&first);
                    }
                });
            }
        }
    }
    let running = Running::start(pipeline, "the JPEG encoder")?;
    feed()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(sample) = sink.try_pull_sample(LOOK) {
            return read(&sample);
        }
        if let Some(reason) = reason(&running.0) {
            return Err(reason);
        }
        if sink.is_eos() || Instant::now() >= deadline {
            return Err("no JPEG came out of the encoder".into());
        }
    }
}

/// Caps of a media type in a size, with square pixels; without a size in any.
pub(crate) fn scaled_caps(media_type: &str, size: Option<Size>) -> gst::Caps {
    let mut caps = gst::Caps::builder(media_type);
    if let Some(size) = size {
        caps = caps
            .field("width", size.width as i32)
            .field("height", size.height as i32)
            .field("pixel-aspect-ratio", gst::Fraction::new(1, 1));
    }
    caps.build()
}

fn read(sample: &gst::Sample) -> Result<Jpeg, String> {
    let side = |name| {
        let value: i32 = sample.caps()?.structure(0)?.get(name).ok()?;
        u32::try_from(value).ok()
    };
    let map = sample
        .buffer()
        .and_then(|buffer| buffer.map_readable().ok())
        .ok_or("the JPEG cannot be read")?;
    Ok(Jpeg {
        width: side("width").unwrap_or_default(),
        height: side("height").unwrap_or_default(),
        bytes: map.to_vec(),
    })
}
