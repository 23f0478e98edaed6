//! Encoded pictures of a camera for recordings: what it encoded itself, or what is encoded of its raw pictures; and a
//! buffer of the last seconds, where one is configured.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use gst::prelude::*;

use super::event::{Events, TaskEvent};
use super::h264;
use super::profile::{Size, Stream};
use super::still::{element, reason_of};
use super::tap::{Tap, TapLink, Taps};
use crate::camera::VideoConfig;

/// Bytes a buffer of the past may have, whatever time it is to hold.
const BUFFER_BYTES: usize = 64 << 20;
/// Pictures a recording may fall behind before it is given up.
const BEHIND: usize = 1024;
/// Frames that wait between camera and encoder.
const RAW_FRAMES: u32 = 30;
/// Encoded pictures that wait between camera and buffer; they are small.
const ENCODED_FRAMES: u64 = 120;
/// A key frame at least this often.
const KEY_FRAMES: gst::ClockTime = gst::ClockTime::SECOND;

/// One encoded picture, as MP4 wants it.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub buffer: gst::Buffer,
    pub caps: gst::Caps,
    /// Running times of the camera's pipeline.
    pub pts: gst::ClockTime,
    pub dts: gst::ClockTime,
    pub is_key: bool,
}

impl Packet {
    /// Whether both can be in one film.
    pub fn goes_with(&self, other: &Self) -> bool {
        let key = |packet: &Self| {
            let structure = packet.caps.structure(0)?;
            let side = |name| structure.get::<i32>(name).ok();
            let data = structure.get::<gst::Buffer>("codec_data").ok();
            let data = data.and_then(|data| Some(data.map_readable().ok()?.to_vec()));
            Some((
                structure.name().to_string(),
                side("width"),
                side("height"),
                data,
            ))
        };
        self.caps == other.caps || key(self) == key(other)
    }
}

/// What comes to a recording.
#[derive(Debug)]
pub(crate) enum Feed {
    Packet(Packet),
    /// The stream has ended.
    End,
    /// The encoder, or what feeds it, failed.
    Failed(String),
}

/// Told once how encoding ended; none: with the stream, or by request.
type OnEnd = Box<dyn FnOnce(Option<String>) + Send>;

/// Pictures from the last key frame that is old enough, and who else wants them.
#[derive(Default)]
struct Buffer {
    packets: VecDeque<Packet>,
    bytes: usize,
    /// How far back it is to reach.
    span: gst::ClockTime,
    listeners: Vec<SyncSender<Feed>>,
    ended: Option<String>,
    on_end: Option<OnEnd>,
}

impl Buffer {
    fn push(&mut self, packet: Packet) {
        // A recording that cannot keep up is told nothing more: the gap would make it unplayable.
        self.listeners
            .retain(|listener| listener.try_send(Feed::Packet(packet.clone())).is_ok());
        if self.span.is_zero() {
            return;
        }
        // What was encoded otherwise does not go into one file with what comes now.
        if self
            .packets
            .back()
            .is_some_and(|last| !last.goes_with(&packet))
        {
            self.packets.clear();
            self.bytes = 0;
        }
        if self.packets.is_empty() && !packet.is_key {
            return;
        }
        self.bytes += packet.buffer.size();
        let newest = packet.pts;
        self.packets.push_back(packet);
        while self.bytes > BUFFER_BYTES || self.second_key_is_old_enough(newest) {
            if !self.drop_group() {
                break;
            }
        }
    }

    /// Whether the buffer still reaches back far enough without its first group of pictures.
    fn second_key_is_old_enough(&self, newest: gst::ClockTime) -> bool {
        let second = self.packets.iter().skip(1).find(|packet| packet.is_key);
        second.is_some_and(|key| key.pts + self.span <= newest)
    }

    /// Drops the pictures before the second key frame. False if there is none: then all of them go once they are too many.
    fn drop_group(&mut self) -> bool {
        let second = self.packets.iter().skip(1).position(|packet| packet.is_key);
        let count = second.map_or(self.packets.len(), |position| position + 1);
        for packet in self.packets.drain(..count) {
            self.bytes -= packet.buffer.size();
        }
        second.is_some()
    }
}

fn end(buffer: &Mutex<Buffer>, reason: Option<String>) {
    let mut buffer = lock(buffer);
    for listener in buffer.listeners.drain(..) {
        let feed = match &reason {
            None => Feed::End,
            Some(reason) => Feed::Failed(reason.clone()),
        };
        // One that is full notices that nobody sends any more.
        let _ = listener.try_send(feed);
    }
    let words = reason
        .clone()
        .unwrap_or_else(|| "the camera's stream has ended".into());
    buffer.ended.get_or_insert(words);
    let on_end = buffer.on_end.take();
    drop(buffer);
    if let Some(on_end) = on_end {
        on_end(reason);
    }
}

fn lock(buffer: &Mutex<Buffer>) -> MutexGuard<'_, Buffer> {
    buffer
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// How pictures are encoded.
#[derive(Debug, Clone, Default)]
pub struct EncoderSetup {
    /// Bitrate and pre-record time.
    pub config: VideoConfig,
    /// The stream that is recorded.
    pub stream: Option<Stream>,
    /// Size to scale to; none keeps the stream's own. Pictures that are already encoded keep theirs.
    pub size: Option<Size>,
}

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
        let buffer = lock(&self.feeder.buffer);
        let ends = buffer.packets.front().zip(buffer.packets.back());
        ends.map_or(Duration::ZERO, |(first, last)| {
            last.pts.saturating_sub(first.pts).into()
        })
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
        let buffer = Arc::new(Mutex::new(Buffer {
            span: gst::ClockTime::try_from_seconds_f64(seconds.max(0.0)).unwrap_or_default(),
            ..Buffer::default()
        }));
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
        let failed = |error: gst::glib::BoolError| error.to_string();
        pipeline.add(&source).map_err(failed)?;
        pipeline.add_many(&chain).map_err(failed)?;
        pipeline.add(&sink).map_err(failed)?;
        let path: Vec<&gst::Element> = std::iter::once(source.upcast_ref())
            .chain(&chain)
            .chain([sink.upcast_ref()])
            .collect();
        gst::Element::link_many(&path).map_err(failed)?;
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
        let mut buffer = lock(&self.buffer);
        if let Some(reason) = &buffer.ended {
            return Err(reason.clone());
        }
        let (sender, receiver) = sync_channel(buffer.packets.len() + BEHIND);
        for packet in &buffer.packets {
            // There is room for all of them.
            let _ = sender.try_send(Feed::Packet(packet.clone()));
        }
        buffer.listeners.push(sender);
        Ok(receiver)
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
        end(&self.buffer, None);
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Parser, and what puts decoding times in order, for what MP4 and players take as it is.
fn parser_of(media_type: &str) -> Option<[&'static str; 2]> {
    match media_type {
        "video/x-h264" => Some(["h264parse", "h264timestamper"]),
        "video/x-h265" => Some(["h265parse", "h265timestamper"]),
        _ => None,
    }
}

fn parse_chain([parser, timestamper]: [&str; 2]) -> Result<Vec<gst::Element>, String> {
    let mut chain = vec![element(parser)?];
    // Without it pictures that are sent in another order than they are shown get wrong times.
    if let Ok(timestamper) = gst::ElementFactory::make(timestamper).build() {
        chain.push(timestamper);
        chain.push(element(parser)?);
    }
    Ok(chain)
}

fn encode_chain(
    caps: &gst::Caps,
    setup: &EncoderSetup,
    events: &Events,
    lost: &Arc<AtomicU64>,
) -> Result<Vec<gst::Element>, String> {
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
    let encoder = h264::encoder(size, fps, setup.config.bitrate)?;
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
    chain.extend(encoder.elements);
    chain.extend(parse_chain(["h264parse", ""])?);
    Ok(chain)
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
            && let Ok(mut is_due) = next.lock()
            && is_due(pts)
        {
            let event = gst_video::DownstreamForceKeyUnitEvent::builder()
                .all_headers(true)
                .build();
            drop(is_due);
            pad.send_event(event);
        }
        gst::PadProbeReturn::Ok
    });
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
                    if let Some(packet) = packet(&sample, &mut last) {
                        lock(&on_sample).push(packet);
                    }
                    Ok(gst::FlowSuccess::Ok)
                })
                .eos(move |_| end(&on_end, None))
                .build(),
        )
        .build()
}

fn packet(sample: &gst::Sample, last: &mut Option<gst::ClockTime>) -> Option<Packet> {
    let buffer = sample.buffer_owned()?;
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let pts = segment.to_running_time(buffer.pts().or(buffer.dts()))?;
    let dts = match segment.to_running_time_full(buffer.dts()) {
        Some(gst::Signed::Positive(dts)) => dts,
        Some(gst::Signed::Negative(_)) => gst::ClockTime::ZERO,
        None => pts,
    };
    // Times in a film only go forward; a camera that sets its clock back would end it.
    let dts = match *last {
        Some(last) if dts <= last => last + gst::ClockTime::from_useconds(1),
        _ => dts,
    };
    *last = Some(dts);
    Some(Packet {
        is_key: !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT),
        caps: sample.caps_owned()?,
        pts: pts.max(dts),
        dts,
        buffer,
    })
}

fn watch_bus(pipeline: &gst::Pipeline, buffer: &Arc<Mutex<Buffer>>) {
    let buffer = Arc::downgrade(buffer);
    let bus = pipeline.bus().expect("a pipeline has a bus");
    bus.set_sync_handler(move |_, message| {
        if let gst::MessageView::Error(error) = message.view()
            && let Some(buffer) = buffer.upgrade()
        {
            end(&buffer, Some(reason_of(error)));
        }
        gst::BusSyncReply::Drop
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A buffer that reaches back two seconds, and ten pictures a second with a key frame every `group`.
    fn filled(pictures: u64, group: u64, bytes: usize) -> Buffer {
        gst::init().unwrap();
        let caps: gst::Caps = "video/x-h264,width=640,height=360".parse().unwrap();
        let mut buffer = Buffer {
            span: gst::ClockTime::from_seconds(2),
            ..Buffer::default()
        };
        for number in 0..pictures {
            buffer.push(Packet {
                buffer: gst::Buffer::with_size(bytes).unwrap(),
                caps: caps.clone(),
                pts: number * 100 * gst::ClockTime::MSECOND,
                dts: number * 100 * gst::ClockTime::MSECOND,
                is_key: number % group == 0,
            });
        }
        buffer
    }

    #[test]
    fn the_past_begins_with_a_key_frame_and_is_as_long_as_asked_but_hardly_longer() {
        for pictures in 1..100 {
            let buffer = filled(pictures, 7, 10);
            assert!(buffer.packets[0].is_key);
            let held = buffer.packets.len() as u64;
            assert!(
                held >= pictures.min(21) && held <= 21 + 7,
                "{held} of {pictures}"
            );
            assert_eq!(buffer.bytes as u64, held * 10);
        }
    }

    #[test]
    fn the_past_never_has_more_bytes_than_allowed() {
        // One key frame and then none: nothing of it could begin a recording later.
        let endless = filled(200, 1000, 1 << 20);
        assert!(endless.bytes <= BUFFER_BYTES, "{}", endless.bytes);
        let large = filled(200, 2, 8 << 20);
        assert!(large.bytes <= BUFFER_BYTES && large.bytes > 0);
        assert!(large.packets[0].is_key);
    }

    #[test]
    fn what_is_encoded_otherwise_begins_anew() {
        let mut buffer = filled(15, 5, 10);
        let mut other = buffer.packets[0].clone();
        other.caps = "video/x-h264,width=320,height=180".parse().unwrap();
        buffer.push(other);
        assert_eq!((buffer.packets.len(), buffer.bytes), (1, 10));
    }
}
