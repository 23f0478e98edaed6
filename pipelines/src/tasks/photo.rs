//! One photo: the first frame that is not older than the request, as a JPEG with a thumbnail beside it.

use std::time::{Duration, Instant, SystemTime};

use super::event::{Events, TaskEvent, Worker};
use super::file::{MediaFolder, MediaName, media_type};
use super::frames::{Frame, Frames};
use super::name::since_epoch;
use super::still;
use super::task::{MediaFile, Task};
use crate::camera::{Size, Stream};
use crate::capture::Taps;

/// From the request until it fails for want of a frame.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long [`PhotoTask::stop`] waits at most.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// How photos are made.
#[derive(Debug, Clone)]
pub struct PhotoSetup {
    /// Where they go.
    pub folder: MediaFolder,
    /// The stream they are taken from.
    pub stream: Stream,
    /// Size to scale to; none keeps the stream's own. A camera that is configured to its profile's size needs none.
    pub size: Option<Size>,
    /// JPEG quality, 1 to 100.
    pub quality: u32,
    /// How long to wait for a frame; [`PATIENCE`] unless exposures are longer.
    pub patience: Duration,
}

/// A photo that is being taken. It ends by itself.
#[derive(Debug)]
pub struct PhotoTask {
    worker: Worker<()>,
}

impl PhotoTask {
    /// Takes one. Events: the file, then the end.
    pub fn start(taps: &Taps, setup: PhotoSetup, events: Events) -> Result<Self, String> {
        let requested = Instant::now();
        let taps = taps.clone();
        let worker = Worker::spawn("photo", events, move |_, events| {
            let tap = taps
                .stream(setup.stream)
                .ok_or_else(|| format!("the camera has no stream {}", setup.stream))?;
            let deadline = requested + setup.patience;
            let frame = {
                let frames = Frames::connect(tap, 1)?;
                frames.next_since(requested, deadline)?
            };
            let file = save(&frame, &setup, Task::Photo, None, &taps.description, events)?;
            events(TaskEvent::File(file));
            Ok(())
        })?;
        Ok(Self { worker })
    }

    /// Waits for its end; it takes no longer than its patience and the encoder need. False if it has not ended yet: it
    /// then ends by itself.
    pub fn stop(&self) -> bool {
        self.worker.wait(STOP_PATIENCE)
    }
}

/// The wall clock's time of a moment of the monotonic one.
pub(crate) fn wall_time(moment: Instant) -> SystemTime {
    let (now, wall) = (Instant::now(), SystemTime::now());
    if moment > now {
        wall + (moment - now)
    } else {
        wall - (now - moment)
    }
}

/// Encodes a frame, writes it and its thumbnail.
pub(crate) fn save(
    frame: &Frame,
    setup: &PhotoSetup,
    task: Task,
    series: Option<(String, u64)>,
    camera_config: &serde_json::Value,
    events: &Events,
) -> Result<MediaFile, String> {
    let jpeg = still::jpeg(&frame.sample, setup.size, setup.quality)
        .map_err(|reason| format!("{task}: {reason}"))?;
    let time = wall_time(frame.taken);
    let name = MediaName {
        time,
        task,
        series: series.clone(),
        extension: "jpg".into(),
    };
    let part = setup.folder.create(&name).map_err(|e| e.to_string())?;
    part.write_all(&jpeg.bytes).map_err(|e| e.to_string())?;
    let finished = part.finish().map_err(|e| e.to_string())?;
    let thumbnail = thumbnail(&setup.folder, &finished.name, events, || {
        still::thumbnail(&frame.sample)
    });
    Ok(MediaFile {
        task,
        name: finished.name,
        media_type: media_type("jpg").into(),
        time: since_epoch(time).as_secs_f64(),
        duration: None,
        bytes: finished.bytes,
        width: jpeg.width,
        height: jpeg.height,
        thumbnail,
        series,
        camera_config: camera_config.clone(),
    })
}

/// Makes a thumbnail. Without one the file is still good: what went wrong is only a warning.
pub(crate) fn thumbnail(
    folder: &MediaFolder,
    of: &str,
    events: &Events,
    make: impl FnOnce() -> Result<still::Jpeg, String>,
) -> Option<String> {
    let made = make().and_then(|jpeg| {
        folder
            .thumbnail(of, &jpeg.bytes)
            .map_err(|error| error.to_string())
    });
    match made {
        Ok(name) => Some(name),
        Err(reason) => {
            events(TaskEvent::Warning(format!("thumbnail of {of}: {reason}")));
            None
        }
    }
}
