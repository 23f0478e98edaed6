//! One MP4 in fragments, while it is written.
//!
//! What was written plays up to the last complete fragment whatever ends the recording: the process, the disk, the camera.
//! A film that is finished in order has an index and its length besides.

use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use gst::prelude::*;
use watchpost_mp4::scan;

use super::event::Events;
use super::file::{FileError, MediaFolder, MediaName, PartFile, media_type};
use super::name::since_epoch;
use super::photo::thumbnail;
use super::pipe::{self, Running, element, internal, lock};
use super::still::{self, Jpeg};
use super::task::{MediaFile, Task};
use crate::encode::Packet;

/// Bytes that may wait for the disk.
const WAITING: u64 = 64 << 20;
/// How long the end of a film may take to be written.
const FINISH: Duration = Duration::from_secs(5);

/// A film that is being written.
pub(crate) struct Film {
    running: Running,
    source: gst_app::AppSrc,
    target: Arc<Mutex<Target>>,
    first: Packet,
    /// Made while the film goes on.
    thumbnail: Option<JoinHandle<Result<Jpeg, String>>>,
    time: SystemTime,
    last: gst::ClockTime,
    problem: Option<String>,
}

/// The file, and where in it is written.
struct Target {
    part: Option<PartFile>,
    at: u64,
    error: Option<FileError>,
}

impl Target {
    fn write(&mut self, bytes: &[u8]) -> Result<(), gst::FlowError> {
        let Some(part) = self.part.as_ref().filter(|_| self.error.is_none()) else {
            return Err(gst::FlowError::Error);
        };
        match part.file().write_all_at(bytes, self.at) {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(())
            }
            Err(cause) => {
                self.error = Some(part.error("write", cause));
                Err(gst::FlowError::Error)
            }
        }
    }
}

impl Film {
    /// Begins a film with a key frame that was taken at `time`.
    pub fn begin(
        folder: &MediaFolder,
        first: &Packet,
        time: SystemTime,
        fragment: Duration,
    ) -> Result<Self, String> {
        let name = MediaName {
            time,
            task: Task::Video,
            series: None,
            extension: "mp4".into(),
        };
        let part = folder.create(&name).map_err(|error| error.to_string())?;
        let target = Arc::new(Mutex::new(Target {
            part: Some(part),
            at: 0,
            error: None,
        }));
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder()
            .caps(&first.caps)
            .format(gst::Format::Time)
            .max_bytes(0)
            .build();
        let muxer = element("mp4mux")?;
        muxer.set_property(
            "fragment-duration",
            u32::try_from(fragment.as_millis())
                .unwrap_or(u32::MAX)
                .max(1),
        );
        let sink = sink(&target);
        let path = [source.upcast_ref(), &muxer, sink.upcast_ref()];
        pipeline.add_many(path).map_err(internal)?;
        // By name: its pads for sound would be linked first.
        source
            .link_pads(Some("src"), &muxer, Some("video_%u"))
            .map_err(internal)?;
        muxer.link(&sink).map_err(internal)?;
        Ok(Self {
            running: Running::start(pipeline, "the MP4 writer")?,
            source,
            target,
            thumbnail: thumbnail_of(first),
            first: first.clone(),
            time,
            last: gst::ClockTime::ZERO,
            problem: None,
        })
    }

    /// Whether a picture can be part of it.
    pub fn takes(&self, packet: &Packet) -> bool {
        self.first.version == packet.version
    }

    /// Appends a picture; the first one has time 0.
    pub fn write(&mut self, packet: &Packet) -> Result<(), String> {
        self.problem = self.problem.take().or_else(|| self.trouble());
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if self.source.current_level_bytes() > WAITING {
            return Err(format!(
                "the disk does not keep up: {} MiB wait to be written",
                WAITING >> 20
            ));
        }
        let mut buffer = packet.buffer.clone();
        let zero = self.first.dts;
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(packet.pts.saturating_sub(zero));
            buffer.set_dts(packet.dts.saturating_sub(zero));
        }
        self.last = packet.pts.saturating_sub(zero);
        self.source
            .push_buffer(buffer)
            .map(|_| ())
            .map_err(|flow| flow.to_string())
    }

    /// Time and bytes it has so far.
    pub fn extent(&self) -> (Duration, u64) {
        (self.last.into(), lock(&self.target).at)
    }

    fn trouble(&self) -> Option<String> {
        let error = lock(&self.target).error.as_ref().map(FileError::to_string);
        error.or_else(|| pipe::reason(&self.running.0))
    }

    /// Ends it in order, or cuts it after the last complete fragment where that is not possible; in both cases it gets its
    /// name. The file is none where not one picture is complete. The error is what kept it from ending in order.
    pub fn finish(
        mut self,
        camera_config: &serde_json::Value,
        folder: &MediaFolder,
        events: &Events,
    ) -> (Option<MediaFile>, Option<String>) {
        let mut problem = self.close();
        let part = lock(&self.target).part.take();
        let Some(part) = part else {
            return (None, problem);
        };
        let video = match scan(part.file()) {
            Ok(scan) => scan.and_then(|scan| Some((scan.complete, scan.video()?))),
            Err(cause) => {
                problem.get_or_insert(part.error("read", cause).to_string());
                None
            }
        };
        let Some((complete, video)) = video else {
            return (None, problem);
        };
        if let Err(cause) = part.file().set_len(complete) {
            problem.get_or_insert(part.error("cut", cause).to_string());
        }
        let finished = match part.finish() {
            Ok(finished) => finished,
            Err(error) => {
                problem.get_or_insert(error.to_string());
                return (None, problem);
            }
        };
        let made = self.thumbnail.take().map(JoinHandle::join);
        let thumbnail = thumbnail(folder, &finished.name, events, || match made {
            Some(Ok(made)) => made,
            _ => Err("its thread could not work".into()),
        });
        let file = MediaFile {
            task: Task::Video,
            name: finished.name,
            media_type: media_type("mp4").into(),
            time: since_epoch(self.time).as_secs_f64(),
            duration: Some(video.duration.as_secs_f64()),
            bytes: finished.bytes,
            width: video.width,
            height: video.height,
            thumbnail,
            series: None,
            camera_config: camera_config.clone(),
        };
        (Some(file), problem)
    }

    /// Lets the muxer write its end.
    fn close(&mut self) -> Option<String> {
        let mut problem = self.problem.take().or_else(|| self.trouble());
        if problem.is_none() {
            let _ = self.source.end_of_stream();
            let deadline = Instant::now() + FINISH;
            let bus = self.running.0.bus().expect("a pipeline has a bus");
            let wait = deadline.saturating_duration_since(Instant::now());
            let end = bus.timed_pop_filtered(
                gst::ClockTime::try_from(wait).ok(),
                &[gst::MessageType::Eos, gst::MessageType::Error],
            );
            problem = match end.as_ref().map(|end| end.view()) {
                Some(gst::MessageView::Eos(_)) => self.trouble(),
                Some(gst::MessageView::Error(error)) => {
                    let of_file = lock(&self.target).error.as_ref().map(FileError::to_string);
                    Some(of_file.unwrap_or_else(|| pipe::reason_of(error)))
                }
                _ => Some(format!(
                    "the end of the recording was not written within {} s",
                    FINISH.as_secs()
                )),
            };
        }
        let _ = self.running.0.set_state(gst::State::Null);
        problem
    }
}

/// Decodes the first picture in a thread of its own: nobody waits for it when the film ends.
fn thumbnail_of(first: &Packet) -> Option<JoinHandle<Result<Jpeg, String>>> {
    let (caps, picture) = (first.caps.clone(), first.buffer.clone());
    thread::Builder::new()
        .name("thumbnail".into())
        .spawn(move || still::thumbnail_of_first(&caps, picture))
        .ok()
}

/// Writes what the muxer sends to where it says.
fn sink(target: &Arc<Mutex<Target>>) -> gst_app::AppSink {
    let on_sample = target.clone();
    let sink = gst_app::AppSink::builder()
        .sync(false)
        .async_(false)
        .enable_last_sample(false)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let map = sample
                        .buffer()
                        .and_then(|buffer| buffer.map_readable().ok())
                        .ok_or(gst::FlowError::Error)?;
                    lock(&on_sample).write(&map)?;
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        )
        .build();
    let pad = sink.static_pad("sink").expect("an appsink has a pad");
    let target = target.clone();
    let types = gst::PadProbeType::EVENT_DOWNSTREAM | gst::PadProbeType::QUERY_DOWNSTREAM;
    pad.add_probe(types, move |_, info| {
        match &mut info.data {
            // The muxer goes back to write the length into the head.
            Some(gst::PadProbeData::Event(event)) => {
                if let gst::EventView::Segment(segment) = event.view()
                    && let Some(segment) = segment.segment().downcast_ref::<gst::format::Bytes>()
                {
                    lock(&target).at = segment.start().map_or(0, |start| *start);
                }
            }
            Some(gst::PadProbeData::Query(query)) => {
                if let gst::QueryViewMut::Seeking(query) = query.view_mut()
                    && query.format() == gst::Format::Bytes
                {
                    query.set(true, gst::format::Bytes::ZERO, gst::format::Bytes::NONE);
                    return gst::PadProbeReturn::Handled;
                }
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
    sink
}
