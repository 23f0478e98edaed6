//! Where recordings take their pictures from: what the camera encoded itself, or what is encoded of its raw pictures, and
//! before that the last seconds, where that is configured.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use gst::prelude::*;

pub use super::encode::EncoderSetup;
use super::encode::{encode_chain, parse_chain, parser_of};
use super::event::{Events, TaskEvent};
use super::packet::{self, Buffer, Feed, OnEnd};
use super::pipe::{line, lock, reason_of};
use super::profile::Stream;
use super::tap::{Tap, TapLink, Taps};

/// Encoded pictures that wait between camera and buffer; they are small.
const ENCODED_FRAMES: u64 = 120;
/// Keeps the last seconds of a camera encoded, for recordings that begin before they are asked for.
pub struct PreRecorder {
    feeder: Arc<Feeder>,
}

impl std::fmt::Debug for PreRecorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PreRecorder").finish_non_exhaustive()
    }
}

impl PreRecorder {
    /// Starts to encode, and to keep `config.pre_record` seconds of it. It ends with the camera's stream, or fails, by
    /// event; a new one is then started with the camera's new taps. Fails at once where nothing can be encoded yet:
    /// before the camera's first frame.
    pub fn start(taps: &Taps, setup: &EncoderSetup, events: Events) -> Result<Self, String> {
        let told = events.clone();
        let on_end = Box::new(move |reason: Option<String>| {
            told(reason.map_or(TaskEvent::Ended, TaskEvent::Failed));
        });
        let seconds = setup.config.pre_record;
        let feeder = Feeder::start(taps, setup, seconds, &events, Some(on_end))?;
        Ok(Self {
            feeder: Arc::new(feeder),
        })
    }

    /// Seconds it holds now.
    pub fn held(&self) -> Duration {
        lock(&self.feeder.buffer).held()
    }

    /// Stops encoding. Recordings that take from it end.
    pub fn stop(&self) {
        self.feeder.stop();
    }

    pub(crate) fn feeder(&self) -> Arc<Feeder> {
        self.feeder.clone()
    }
}

/// The pipeline from a tap to encoded pictures.
pub(crate) struct Feeder {
    pipeline: gst::Pipeline,
    source: gst_app::AppSrc,
    buffer: Arc<Mutex<Buffer>>,
    tap: Tap,
    link: TapLink,
    /// Raw frames for which the encoder had no room; none where the camera encodes.
    lost: Option<Arc<AtomicU64>>,
}

impl Feeder {
    pub fn start(
        taps: &Taps,
        setup: &EncoderSetup,
        seconds: f64,
        events: &Events,
        on_end: Option<OnEnd>,
    ) -> Result<Self, String> {
        let buffer = Arc::new(Mutex::new(Buffer::new(seconds)));
        let pipeline = gst::Pipeline::new();
        let source = gst_app::AppSrc::builder().build();
        let encoded = taps.encoded.as_ref().and_then(|tap| {
            let caps = tap.caps()?;
            Some((tap, parser_of(caps.structure(0)?.name())?))
        });
        let (tap, frames, chain, lost) = match encoded {
            Some((tap, parsers)) => (tap, ENCODED_FRAMES, parse_chain(parsers)?, None),
            None => {
                let stream = setup.stream.unwrap_or(Stream::Main);
                let tap = taps
                    .stream(stream)
                    .ok_or_else(|| format!("the camera has no stream {stream}"))?;
                let caps = tap
                    .caps()
                    .ok_or("no frame has come from the camera yet, so nothing can be encoded")?;
                // Two frames: what waits longer waits behind the copy, so that the camera's own buffers do not.
                let lost = Arc::default();
                let chain = encode_chain(&caps, setup, events, &lost)?;
                (tap, 2, chain, Some(lost))
            }
        };
        let sink = sink(&buffer);
        let mut path = vec![source.clone().upcast()];
        path.extend(chain);
        path.push(sink.upcast());
        line(&pipeline, &path)?;
        watch_bus(&pipeline, &buffer);
        let link = tap.connect(&pipeline, &source, frames)?;
        let feeder = Self {
            tap: tap.clone(),
            source,
            buffer,
            link,
            lost,
            pipeline,
        };
        feeder
            .pipeline
            .set_state(gst::State::Playing)
            .map_err(|_| {
                let ended = lock(&feeder.buffer).ended.clone();
                ended.unwrap_or_else(|| "the encoder does not start".into())
            })?;
        // Only now: what goes wrong before is the result.
        lock(&feeder.buffer).on_end = on_end;
        Ok(feeder)
    }

    /// Everything it holds, from a key frame on, then all that comes.
    pub fn listen(&self) -> Result<Receiver<Feed>, String> {
        lock(&self.buffer).listen()
    }

    /// Whether nothing comes out of it any more.
    pub fn is_over(&self) -> bool {
        lock(&self.buffer).ended.is_some()
    }

    /// The time of a picture that is taken now.
    pub fn running_time(&self) -> Option<gst::ClockTime> {
        self.tap.running_time()
    }

    /// Frames that were not encoded since the encoder was too slow.
    pub fn lost(&self) -> u64 {
        let lost = self.lost.as_ref();
        lost.map_or(0, |lost| lost.load(Ordering::Relaxed) + self.link.dropped())
    }

    /// Lets what is in the encoder come out, then ends.
    pub fn drain(&self) {
        let _ = self.source.end_of_stream();
    }

    pub fn stop(&self) {
        let _ = self.pipeline.set_state(gst::State::Null);
        if let Some(bus) = self.pipeline.bus() {
            bus.unset_sync_handler();
        }
        packet::end(&self.buffer, None);
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop();
    }
}

fn sink(buffer: &Arc<Mutex<Buffer>>) -> gst_app::AppSink {
    let caps: gst::Caps =
        "video/x-h264,stream-format=avc,alignment=au;video/x-h265,stream-format=hvc1,alignment=au"
            .parse()
            .expect("valid caps");
    let (on_sample, on_end) = (buffer.clone(), buffer.clone());
    let mut last = None;
    gst_app::AppSink::builder()
        .caps(&caps)
        .sync(false)
        .async_(false)
        .enable_last_sample(false)
        .callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    if let Some(packet) = packet::of_sample(&sample, &mut last) {
                        lock(&on_sample).push(packet);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .eos(move |_| packet::end(&on_end, None))
                .build(),
        )
        .build()
}

fn watch_bus(pipeline: &gst::Pipeline, buffer: &Arc<Mutex<Buffer>>) {
    let buffer = Arc::downgrade(buffer);
    let bus = pipeline.bus().expect("a pipeline has a bus");
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && let Some(buffer) = buffer.upgrade()
        {
            packet::end(&buffer, Some(reason_of(error)));
        }
        gst::BusSyncReply::Drop
    });
}
