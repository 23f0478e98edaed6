//! What `libcamerasrc` is told, from the merged configuration of a camera.

use super::Refusal;
use super::abilities::{Abilities, Version};
use super::cameras::Camera;
use super::controls::{self, FRAME_DURATION};
use super::format::{self, Colours};
use super::modes::{Mode, modes};
use super::offer::{MAIN_SIZE, MJPEG};
use super::rate::{duration_of, frame_duration, framerate};
use crate::camera::LibcameraSource;
use crate::tasks::{ControlValue, Merged, MergedStream, Size, Stream};

/// What is wanted of a camera.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The source: size of main and format where no profile says one.
    pub source: &'a LibcameraSource,
    /// What the profiles in use want together.
    pub merged: &'a Merged,
    /// The camera meant, where it was looked for ([`super::resolve`]). None: the source's `camera` as an id, or the first one.
    pub camera: Option<&'a Camera>,
    /// Frames per second; kept inside `FrameDurationLimits` where a profile has them.
    pub framerate: gst::Fraction,
    /// Main serves single photos and nothing that moves: libcamera then gives it one buffer, which is too few for
    /// anything else.
    pub still: bool,
}

/// One stream of a [`Plan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStream {
    /// Which one.
    pub stream: Stream,
    /// The pad's `stream-role`.
    pub role: &'static str,
    /// What the capsfilter behind the pad lets through.
    pub caps: gst::Caps,
    /// What videoflip does behind that (`video-direction`), if it is needed.
    pub flip: Option<&'static str>,
}

/// What `libcamerasrc` is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Properties of the element and their values, as GStreamer reads them.
    pub properties: Vec<(String, String)>,
    /// The streams: the first on `src`, the others on request pads.
    pub streams: Vec<PlannedStream>,
    /// The frame rate of all streams.
    pub framerate: gst::Fraction,
    /// What was asked for and does not reach the camera, for people.
    pub not_applied: Vec<String>,
    /// Whether pad properties can be given in a launch line.
    pub(super) pad_properties: bool,
}

/// Plans a camera, or says what this installation cannot do.
pub fn plan(wanted: &Wanted<'_>, abilities: &Abilities) -> Result<Plan, Refusal> {
    let Wanted { source, merged, .. } = wanted;
    if merged.streams.is_empty() {
        return Err(Refusal::new(
            "streams",
            "no stream of the camera is asked for",
        ));
    }
    if merged.streams.contains_key(&Stream::Raw) && !abilities.has_raw() {
        let reason = abilities.needs("the raw stream", Version::RAW);
        return Err(Refusal::new("stream", reason));
    }
    let mut not_applied = Vec::new();
    let mut properties = Vec::new();
    match wanted.camera {
        Some(camera) => properties.push(("camera-name".into(), camera.id.clone())),
        None if !source.camera.is_empty() => {
            properties.push(("camera-name".into(), source.camera.clone()));
        }
        None => {}
    }

    let limits = frame_duration(merged)?;
    let framerate = framerate(wanted.framerate, limits)?;
    properties.extend(control_settings(
        merged,
        abilities,
        framerate,
        limits,
        &mut not_applied,
    )?);
    let mode = sensor_mode(wanted, abilities)?;
    if let Some(mode) = mode {
        let Size { width, height } = mode.size;
        properties.push((
            "sensor-config".into(),
            format!(
                "sensor/config, width=(int){width}, height=(int){height}, depth=(int){}",
                mode.bits
            ),
        ));
    }

    let main = merged.streams.get(&Stream::Main);
    let main_size = main.map(|main| main.size.unwrap_or(size_of(source)));
    let mut streams = Vec::new();
    for (&stream, asked) in &merged.streams {
        let planned = match stream {
            Stream::Main | Stream::Lores => {
                let size = match stream {
                    Stream::Main => main_size.unwrap_or(size_of(source)),
                    _ => asked
                        .size
                        .unwrap_or_else(|| small(main_size.unwrap_or(size_of(source)))),
                };
                processed(wanted, stream, asked, size, main_size, framerate)?
            }
            Stream::Raw => raw(asked, mode, framerate, &mut not_applied)?,
        };
        streams.push(planned);
    }
    let flips = streams.iter().any(|stream| stream.flip.is_some()) || flip(merged).is_some();
    if flips && merged.streams.contains_key(&Stream::Raw) {
        not_applied.push("transform: raw pictures stay as the sensor sees them".into());
    }
    if let Some(count) = merged.buffer_count {
        not_applied.push(format!(
            "buffer_count {count}: libcamerasrc leaves the number of buffers to libcamera"
        ));
    }
    if let Some(queue) = merged.queue {
        not_applied.push(format!(
            "queue {queue}: libcamerasrc always queues its requests"
        ));
    }
    Ok(Plan {
        properties,
        streams,
        framerate,
        not_applied,
        pad_properties: abilities.version >= Version(0, 3, 1),
    })
}

/// Size of main where neither profile nor source sets one, and the camera was not asked.
fn size_of(source: &LibcameraSource) -> Size {
    source.size().unwrap_or(MAIN_SIZE)
}

/// A lores size where none is asked for: main's shape, at most 640 wide, even.
fn small(main: Size) -> Size {
    let width = main.width.min(640);
    let height = u64::from(main.height) * u64::from(width) / u64::from(main.width.max(1));
    Size {
        width: width & !1,
        height: (height as u32) & !1,
    }
}

const LARGEST: u32 = 16_384;
const SMALLEST: u32 = 16;

fn check_size(key: &str, size: Size) -> Result<(), Refusal> {
    let fits = |side: u32| (SMALLEST..=LARGEST).contains(&side);
    if fits(size.width) && fits(size.height) {
        return Ok(());
    }
    Err(Refusal::new(
        key,
        format!(
            "{key}: {size} is no possible size, expected {SMALLEST} to {LARGEST} pixels each way"
        ),
    ))
}

fn processed(
    wanted: &Wanted<'_>,
    stream: Stream,
    asked: &MergedStream,
    size: Size,
    main: Option<Size>,
    framerate: gst::Fraction,
) -> Result<PlannedStream, Refusal> {
    let merged = wanted.merged;
    let key = format!("{stream}.size");
    check_size(&key, size)?;
    if let Some(main) = main
        && (size.width > main.width || size.height > main.height)
    {
        let reason = format!("{key}: lores at {size} is larger than main at {main}");
        return Err(Refusal::new(key, reason));
    }
    let name = asked
        .format
        .as_deref()
        .or(wanted.source.format.as_deref())
        .unwrap_or("YUV420");
    let role = match stream {
        Stream::Lores => "view-finder",
        _ if wanted.still => "still-capture",
        _ => "video-recording",
    };
    if name.eq_ignore_ascii_case(MJPEG) {
        return Ok(PlannedStream {
            stream,
            role,
            // What a camera compresses is what the camera makes of it: its colours are in the picture.
            caps: gst::Caps::builder("image/jpeg")
                .field("width", size.width as i32)
                .field("height", size.height as i32)
                .field("framerate", framerate)
                .build(),
            flip: None,
        });
    }
    let format = format::processed(&format!("{stream}.format"), name)?;
    let even = |side: u32| side.is_multiple_of(2);
    let fits = match format.colours {
        Colours::Quarter => even(size.width) && even(size.height),
        Colours::HalfWidth => even(size.width),
        Colours::Full | Colours::Rgb => true,
    };
    if !fits {
        let reason = format!(
            "{key}: {size} is odd, {} needs even sides",
            format.libcamera
        );
        return Err(Refusal::new(key, reason));
    }
    let rgb = format.colours == Colours::Rgb;
    let mut caps = gst::Caps::builder("video/x-raw")
        .field("format", format.gst)
        .field("width", size.width as i32)
        .field("height", size.height as i32)
        .field("framerate", framerate);
    if let Some(name) = &merged.colour_space {
        caps = caps.field("colorimetry", format::colorimetry(name, rgb)?);
    }
    Ok(PlannedStream {
        stream,
        role,
        caps: caps.field("interlace-mode", "progressive").build(),
        flip: flip(merged),
    })
}

fn raw(
    asked: &MergedStream,
    mode: Option<Mode>,
    framerate: gst::Fraction,
    not_applied: &mut Vec<String>,
) -> Result<PlannedStream, Refusal> {
    let key = "raw.format";
    let mut caps = gst::Caps::builder("video/x-bayer");
    match asked.format.as_deref() {
        Some(name) => {
            let bayer = format::bayer(name).ok_or_else(|| {
                Refusal::new(
                    key,
                    format!(
                        "{key}: {name} is no raw format, expected one such as SRGGB10 or SBGGR12"
                    ),
                )
            })?;
            if let Some(packing) = bayer.packing {
                not_applied.push(format!(
                    "{key} {name}: GStreamer has no {packing} packing, {} comes with {} bits a pixel",
                    bayer.gst,
                    if bayer.bits == 8 { 8 } else { 16 }
                ));
            }
            caps = caps.field("format", bayer.gst);
        }
        // The order of colours is the sensor's; libcamera knows it.
        None => {
            caps = caps.field(
                "format",
                gst::List::new(format::all_bayer(mode.map(|m| m.bits))),
            )
        }
    }
    caps = match asked.size.or(mode.map(|mode| mode.size)) {
        Some(size) => {
            check_size("raw.size", size)?;
            caps.field("width", size.width as i32)
                .field("height", size.height as i32)
        }
        // Nearest to the sensor's own size, of those libcamera offers.
        None => {
            let range = gst::IntRange::new(SMALLEST as i32, LARGEST as i32);
            caps.field("width", range).field("height", range)
        }
    };
    Ok(PlannedStream {
        stream: Stream::Raw,
        role: "raw",
        caps: caps
            .field("framerate", framerate)
            .field("colorimetry", format::RAW_COLORIMETRY)
            .field("interlace-mode", "progressive")
            .build(),
        flip: None,
    })
}

/// Word of `video-direction` for the transform.
fn flip(merged: &Merged) -> Option<&'static str> {
    let transform = &merged.transform;
    match (transform.hflip == Some(true), transform.vflip == Some(true)) {
        (false, false) => None,
        (true, false) => Some("horiz"),
        (false, true) => Some("vert"),
        (true, true) => Some("180"),
    }
}

fn sensor_mode(wanted: &Wanted<'_>, abilities: &Abilities) -> Result<Option<Mode>, Refusal> {
    let key = "sensor_mode";
    let Some(number) = wanted.merged.sensor_mode else {
        return Ok(None);
    };
    if !abilities.has_sensor_config() {
        let reason = abilities.needs("sensor_mode", Version::SENSOR_CONFIG);
        return Err(Refusal::new(key, reason));
    }
    let model = wanted.camera.map_or("this camera", |camera| &camera.model);
    let Some(modes) = modes(model) else {
        return Err(Refusal::new(
            key,
            format!(
                "sensor_mode {number}: the modes of {model} are not known; leave sensor_mode out, and give raw_photo \
                 the size of the mode"
            ),
        ));
    };
    modes
        .get(number as usize)
        .copied()
        .map(Some)
        .ok_or_else(|| {
            let list: Vec<String> = modes
                .iter()
                .enumerate()
                .map(|(i, mode)| format!("{i} ({}, {} bits)", mode.size, mode.bits))
                .collect();
            Refusal::new(
                key,
                format!("sensor_mode {number}: {model} has {}", list.join(", ")),
            )
        })
}

fn control_settings(
    merged: &Merged,
    abilities: &Abilities,
    framerate: gst::Fraction,
    limits: Option<[i64; 2]>,
    not_applied: &mut Vec<String>,
) -> Result<Vec<(String, String)>, Refusal> {
    let duration = duration_of(framerate);
    let mut settings = Vec::new();
    for (name, value) in &merged.controls {
        if name != FRAME_DURATION {
            settings.push(controls::setting(name, value, abilities)?);
        }
    }
    if let Some([shortest, longest]) = limits {
        if controls::is_there(FRAME_DURATION, abilities) {
            // The frame rate is what was asked for, not what the sensor could do.
            let limits = [shortest.max(duration), longest.max(duration)];
            let limits = ControlValue::List(limits.map(ControlValue::Integer).to_vec());
            settings.push(controls::setting(FRAME_DURATION, &limits, abilities)?);
        } else if [shortest, longest] != [duration, duration] {
            not_applied.push(format!(
                "control {FRAME_DURATION} [{shortest}, {longest}]: only the frame rate, {}/{}, is; {}",
                framerate.numer(),
                framerate.denom(),
                abilities.needs("more", Version::CONTROLS)
            ));
        }
    }
    let longest = limits.map_or(duration, |[_, longest]| longest.max(duration));
    if let Some(ControlValue::Integer(exposure)) = merged.controls.get("ExposureTime")
        && *exposure > longest
    {
        return Err(Refusal::new(
            "controls.ExposureTime",
            format!(
                "control ExposureTime: {exposure} us do not fit into a frame of at most {longest} us; \
                 raise FrameDurationLimits, or lower the frame rate"
            ),
        ));
    }
    Ok(settings)
}

impl Plan {
    /// The same as a line for `gst-launch-1.0`, each stream into an element described by `sink`. Before libcamera 0.3.1
    /// a launch line cannot say the roles of the streams.
    pub fn launch_line(&self, sink: &str) -> String {
        let mut line = String::from("libcamerasrc name=camera");
        let mut add = |name: &str, value: &str| {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            line.push_str(&format!(" {name}=\"{quoted}\""));
        };
        for (name, value) in &self.properties {
            add(name, value);
        }
        if self.pad_properties {
            for (i, stream) in self.streams.iter().enumerate() {
                add(&format!("{}::stream-role", pad_name(i)), stream.role);
            }
        }
        for (i, stream) in self.streams.iter().enumerate() {
            line.push_str(&format!(
                " camera.{} ! capsfilter caps=\"{}\"",
                pad_name(i),
                stream.caps.to_string().replace('"', "\\\"")
            ));
            if self.streams.len() > 1 {
                line.push_str(" ! queue max-size-buffers=1");
            }
            if let Some(flip) = stream.flip {
                line.push_str(&format!(" ! videoflip video-direction={flip}"));
            }
            line.push_str(&format!(" ! {sink}"));
        }
        line
    }
}

/// Name of the pad of the stream that comes `index`th.
pub(super) fn pad_name(index: usize) -> String {
    match index {
        0 => "src".into(),
        _ => format!("src_{}", index - 1),
    }
}

#[cfg(test)]
mod tests;
