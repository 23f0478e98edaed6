//! A raw photo: the sensor's own values as a DNG, or whatever else the camera gives as it is, with a description beside it.

use std::time::{Duration, Instant};

use serde_json::json;

use super::bayer::Bayer;
use super::dng::{self, Description, Values};
use super::event::{Events, TaskEvent, Worker};
use super::file::{MediaFolder, MediaName, PartFile, media_type};
use super::frames::{Frame, Frames};
use super::name::since_epoch;
use super::photo::{thumbnail, wall_time};
use super::still;
use super::task::{MediaFile, Task};
use crate::camera::Transform;
use crate::capture::{StreamId, Taps};

/// How long [`RawPhotoTask::stop`] waits at most.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// How raw photos are made.
#[derive(Debug, Clone)]
pub struct RawSetup {
    /// Where they go.
    pub folder: MediaFolder,
    /// Maker of the camera, for the DNG.
    pub make: String,
    /// Model of the sensor or camera, for the DNG; an id that contains it will do.
    pub model: String,
    /// Mirroring that is done behind the sensor, so that its values do not have it.
    pub transform: Transform,
    /// How long to wait for a frame.
    pub patience: Duration,
}

/// A raw photo that is being taken. It ends by itself.
#[derive(Debug)]
pub struct RawPhotoTask {
    worker: Worker<()>,
}

impl RawPhotoTask {
    /// Takes one, from the raw stream where the camera has one, else from main. Events: the file, then the end.
    pub fn start(taps: &Taps, setup: RawSetup, events: Events) -> Result<Self, String> {
        let requested = Instant::now();
        let taps = taps.clone();
        let worker = Worker::spawn("raw-photo", events, move |_, events| {
            let tap = taps
                .get(StreamId::Raw)
                .or(taps.get(StreamId::Main))
                .ok_or("the camera has no stream of pictures")?;
            let frame = {
                let frames = Frames::connect(tap, 1)?;
                frames.next_since(requested, requested + setup.patience)?
            };
            let config = &taps.description;
            let file = save(&frame, &setup, Task::RawPhoto, None, config, events)?;
            events(TaskEvent::File(file));
            Ok(())
        })?;
        Ok(Self { worker })
    }

    /// Waits for its end; it takes no longer than its patience and writing need. False if it has not ended yet: it then
    /// ends by itself.
    pub fn stop(&self) -> bool {
        self.worker.wait(STOP_PATIENCE)
    }
}

/// Writes a frame: a DNG of Bayer values, else the bytes and their description.
pub(crate) fn save(
    frame: &Frame,
    setup: &RawSetup,
    task: Task,
    series: Option<(String, u64)>,
    camera_config: &serde_json::Value,
    events: &Events,
) -> Result<MediaFile, String> {
    let caps = frame.sample.caps().ok_or("the frame has no format")?;
    let buffer = frame.sample.buffer().ok_or("the frame has no data")?;
    let structure = caps.structure(0).ok_or("the frame has no format")?;
    let side = |name| {
        let value = structure.get::<i32>(name).ok();
        value
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or_default()
    };
    let (width, height) = (side("width"), side("height"));
    let bayer = (structure.name() == "video/x-bayer")
        .then(|| structure.get::<&str>("format").ok())
        .flatten()
        .and_then(Bayer::parse);
    let time = wall_time(frame.taken);
    let name = |extension: &str| MediaName {
        time,
        task,
        series: series.clone(),
        extension: extension.into(),
    };
    let map = buffer
        .map_readable()
        .map_err(|_| "the frame's memory cannot be read".to_owned())?;
    let (finished, extension) = match bayer {
        Some(format) => {
            let values = unpack(format, width, height, stride(buffer), &map)?;
            let part = create(setup, &name("dng"))?;
            let image = Values {
                format,
                width,
                height,
                values: &values,
            };
            let about = Description {
                make: &setup.make,
                model: &setup.model,
                time,
                transform: setup.transform,
            };
            dng::write(part.file(), &image, &about)
                .map_err(|cause| part.error("write", cause).to_string())?;
            (part.finish().map_err(|e| e.to_string())?, "dng")
        }
        None => {
            let part = create(setup, &name("raw"))?;
            part.write_all(&map).map_err(|e| e.to_string())?;
            let finished = part.finish().map_err(|e| e.to_string())?;
            let text = describe(caps, buffer, since_epoch(time).as_secs_f64());
            setup
                .folder
                .description(&finished.name, text.to_string().as_bytes())
                .map_err(|error| error.to_string())?;
            (finished, "raw")
        }
    };
    drop(map);
    // A thumbnail only of what is a picture without further work.
    let thumbnail = (structure.name() == "video/x-raw")
        .then(|| {
            thumbnail(&setup.folder, &finished.name, events, || {
                still::thumbnail(&frame.sample)
            })
        })
        .flatten();
    Ok(MediaFile {
        task,
        name: finished.name,
        media_type: media_type(extension).into(),
        time: since_epoch(time).as_secs_f64(),
        duration: None,
        bytes: finished.bytes,
        width,
        height,
        thumbnail,
        series,
        camera_config: camera_config.clone(),
    })
}

fn create(setup: &RawSetup, name: &MediaName) -> Result<PartFile, String> {
    setup.folder.create(name).map_err(|error| error.to_string())
}

/// Bytes from one row to the next, where the frame says so.
fn stride(buffer: &gst::BufferRef) -> Option<usize> {
    let meta = buffer.meta::<gst_video::VideoMeta>()?;
    usize::try_from(*meta.stride().first()?).ok()
}

fn unpack(
    format: Bayer,
    width: u32,
    height: u32,
    stride: Option<usize>,
    bytes: &[u8],
) -> Result<Vec<u16>, String> {
    let (width, height) = (width as usize, height as usize);
    let row_bytes = format.row_bytes(width);
    // Drivers pad rows, and not all of them say so; then all rows are equally long.
    let stride = stride
        .filter(|stride| *stride >= row_bytes)
        .unwrap_or_else(|| (bytes.len() / height.max(1)).max(row_bytes));
    let needed = stride * height.saturating_sub(1) + row_bytes;
    if width == 0 || height == 0 || bytes.len() < needed {
        return Err(format!(
            "the frame has {} bytes, expected at least {needed} for {width}x{height} values of {} bits",
            bytes.len(),
            format.bits
        ));
    }
    let mut values = vec![0; width * height];
    for (row, values) in bytes.chunks(stride).zip(values.chunks_mut(width)) {
        format.unpack(row, values);
    }
    Ok(values)
}

/// What somebody who reads the raw bytes has to know.
fn describe(caps: &gst::CapsRef, buffer: &gst::BufferRef, time: f64) -> serde_json::Value {
    let mut text = json!({
        "caps": caps.to_string(),
        "bytes": buffer.size(),
        "time": time,
        "pts_ns": buffer.pts().map(|pts| pts.nseconds()),
    });
    let info = gst_video::VideoInfo::from_caps(caps).ok();
    let meta = buffer.meta::<gst_video::VideoMeta>();
    if let Some(info) = &info {
        text["format"] = json!(info.format().to_str().as_str());
        text["width"] = json!(info.width());
        text["height"] = json!(info.height());
        text["strides"] = json!(info.stride());
        text["offsets"] = json!(info.offset());
    }
    if let Some(meta) = meta {
        text["strides"] = json!(meta.stride());
        text["offsets"] = json!(meta.offset());
    }
    text
}
