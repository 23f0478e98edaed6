//! One segment: a fragmented MP4 file that grows by one write per fragment.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use watchpost_mp4::{
    AvcParameterSets, GopActivity, HevcParameterSets, Movie, Run, Sample, SampleTable, Summary,
    TableSample, VIDEO_TIMESCALE, VIDEO_TRACK, VideoCodec, VideoTrack, fragment_header,
};

use super::{Group, SegmentReport, Wanted, place};
use crate::encode::Packet;

/// A fragment ends at a key frame, and before one at these limits.
const FRAGMENT: Duration = Duration::from_secs(4);
const FRAGMENT_BYTES: usize = 8 << 20;
/// A segment ends at the first key frame after this time, and at the latest at these limits.
const LENGTH: Duration = Duration::from_secs(60);
const MOST: Duration = Duration::from_secs(120);
const MOST_BYTES: u64 = 256 << 20;
/// Time between two syncs.
const SYNC: Duration = Duration::from_secs(8);
/// Duration of a frame that has none behind it.
const LAST_DURATION: u32 = VIDEO_TIMESCALE / 25;

pub(super) struct Segment {
    file: Arc<File>,
    syncs: SyncSender<Arc<File>>,
    synced: Instant,
    path: PathBuf,
    name: String,
    start: i64,
    reasons: String,
    stream_version: u32,
    version: u64,
    /// Decoding time of the first frame.
    origin: u64,
    first_captured: u64,
    /// `ftyp` and `moov`, until they are written with the first fragment.
    head: Vec<u8>,
    waiting: Vec<Packet>,
    waiting_bytes: usize,
    sequence: u32,
    bytes: u64,
    samples: Vec<TableSample>,
    groups: Vec<Group>,
    /// End of what is written, in ticks.
    written: u64,
}

pub(super) enum Ended {
    Complete(SegmentReport),
    /// It had no frame; the file is gone.
    Empty,
    Failed(String),
}

impl Segment {
    /// Begins a file with this key frame, which was taken at `time`.
    pub fn begin(
        camera: &str,
        wanted: &Wanted,
        packet: &Packet,
        time: i64,
        clock_version: u64,
    ) -> Result<Self, String> {
        let head = movie(packet)?
            .initialisation()
            .map_err(|error| format!("the stream cannot be recorded: {error}"))?;
        let (file, name) = place::create(camera, wanted, time)?;
        Ok(Self {
            file: Arc::new(file),
            syncs: sync_thread()?,
            synced: Instant::now(),
            path: wanted.path.clone(),
            name,
            start: time,
            reasons: wanted.reasons.clone(),
            stream_version: packet.version,
            version: clock_version << 32 | u64::from(packet.version),
            origin: packet.dts.nseconds(),
            first_captured: packet.captured,
            head,
            waiting: Vec::new(),
            waiting_bytes: 0,
            sequence: 0,
            bytes: 0,
            samples: Vec::new(),
            groups: Vec::new(),
            written: 0,
        })
    }

    /// True where the packet can be in this file.
    pub fn takes(&self, packet: &Packet) -> bool {
        packet.version == self.stream_version && self.age(packet) < MOST && self.bytes < MOST_BYTES
    }

    /// True where the next key frame begins another file.
    pub fn is_long_enough(&self, packet: &Packet) -> bool {
        self.age(packet) >= LENGTH
    }

    fn age(&self, packet: &Packet) -> Duration {
        Duration::from_nanos(packet.captured.saturating_sub(self.first_captured))
    }

    /// Takes a packet. The result says whether a fragment was written.
    pub fn push(&mut self, packet: &Packet, motion: bool, objects: u8) -> Result<bool, String> {
        let mut wrote = false;
        if let Some(first) = self.waiting.first() {
            let length = packet.dts.saturating_sub(first.dts);
            if packet.is_key
                || Duration::from(length) >= FRAGMENT
                || self.waiting_bytes >= FRAGMENT_BYTES
            {
                self.write(Some(packet.dts.nseconds()))?;
                wrote = true;
            }
        }
        if packet.is_key {
            let at = packet.captured.saturating_sub(self.first_captured) / 1_000_000;
            self.groups.push(Group {
                at: u32::try_from(at).unwrap_or(u32::MAX),
                motion,
                objects,
            });
        } else if let Some(group) = self.groups.last_mut() {
            group.motion |= motion;
            group.objects = group.objects.max(objects);
        }
        self.waiting_bytes += packet.buffer.size();
        self.waiting.push(packet.clone());
        Ok(wrote)
    }

    /// Writes the waiting packets as one fragment, by one write.
    fn write(&mut self, next_dts: Option<u64>) -> Result<(), String> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let mut samples = Vec::with_capacity(self.waiting.len());
        for (index, packet) in self.waiting.iter().enumerate() {
            let decode = self.ticks(packet.dts.nseconds());
            let next = self.waiting.get(index + 1).map(|next| next.dts.nseconds());
            let duration = match next.or(next_dts) {
                Some(next) => u32::try_from(self.ticks(next) - decode).unwrap_or(LAST_DURATION),
                None => samples
                    .last()
                    .map_or(LAST_DURATION, |last: &Sample| last.duration),
            };
            let offset = self.ticks(packet.pts.nseconds()) - decode;
            samples.push(Sample {
                size: u32::try_from(packet.buffer.size()).map_err(|_| "a frame exceeds 4 GiB")?,
                duration,
                composition_offset: i32::try_from(offset).unwrap_or(0),
                key: packet.is_key,
            });
        }
        self.sequence += 1;
        let decode_time = self.ticks(self.waiting[0].dts.nseconds());
        let run = Run {
            track: VIDEO_TRACK,
            decode_time,
            samples: &samples,
        };
        let header = fragment_header(self.sequence, &[run])
            .map_err(|error| format!("the stream cannot be recorded: {error}"))?;
        let mut out = std::mem::take(&mut self.head);
        out.reserve(header.len() + self.waiting_bytes);
        out.extend_from_slice(&header);
        let mut offset = self.bytes + out.len() as u64;
        for (packet, sample) in self.waiting.iter().zip(&samples) {
            let data = packet.buffer.map_readable();
            let data = data.map_err(|_| "a frame cannot be mapped for reading")?;
            out.extend_from_slice(&data);
            self.samples.push(TableSample {
                offset,
                size: sample.size,
                duration: sample.duration,
                composition_offset: sample.composition_offset,
                key: sample.key,
            });
            offset += u64::from(sample.size);
        }
        self.append(&out)?;
        let length: u64 = samples.iter().map(|s| u64::from(s.duration)).sum();
        self.written = decode_time + length;
        self.waiting.clear();
        self.waiting_bytes = 0;
        if self.synced.elapsed() >= SYNC {
            self.sync();
        }
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), String> {
        (&*self.file).write_all(bytes).map_err(|error| {
            // Half a fragment would be in the way of what is appended later.
            let _ = self.file.set_len(self.bytes);
            place::failure("write", &place::full(&self.path, &self.name), &error)
        })?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Asks for a sync in the background; one that is still under way is enough.
    fn sync(&mut self) {
        self.synced = Instant::now();
        let _ = self.syncs.try_send(self.file.clone());
    }

    /// Writes what waits, and the summary.
    pub fn finish(mut self, next: Option<&Packet>) -> Ended {
        let next = next.filter(|next| next.version == self.stream_version);
        if let Err(reason) = self.write(next.map(|next| next.dts.nseconds())) {
            return Ended::Failed(reason);
        }
        if self.samples.is_empty() {
            let _ = std::fs::remove_file(place::full(&self.path, &self.name));
            return Ended::Empty;
        }
        let at = self.bytes;
        let table = SampleTable {
            track: VIDEO_TRACK,
            timescale: VIDEO_TIMESCALE,
            start: 0,
            samples: std::mem::take(&mut self.samples),
        };
        let activity = self.groups.iter().map(|group| GopActivity {
            motion: if group.motion { u8::MAX } else { 0 },
            objects: group.objects,
        });
        let summary = Summary {
            stream_version: self.version,
            first_frame: u64::try_from(self.start).unwrap_or(0) * 1_000_000,
            tables: vec![table],
            activity: activity.collect(),
            reasons: self.reasons.clone(),
        };
        let written = summary
            .encode()
            .map_err(|error| error.to_string())
            .and_then(|bytes| self.append(&bytes));
        self.sync();
        match written {
            Ok(()) => Ended::Complete(self.report(Some(at))),
            Err(reason) => Ended::Failed(reason),
        }
    }

    /// What is known of it now.
    pub fn report(&self, summary: Option<u64>) -> SegmentReport {
        let length = self.written * 1000 / u64::from(VIDEO_TIMESCALE);
        SegmentReport {
            path: self.path.clone(),
            name: self.name.clone(),
            start: self.start,
            end: self.start + i64::try_from(length).unwrap_or(0),
            bytes: self.bytes,
            version: self.version,
            groups: self.groups.clone(),
            reasons: self.reasons.clone(),
            summary,
        }
    }

    /// Ticks from the first frame's decoding time.
    fn ticks(&self, time: u64) -> u64 {
        let since = u128::from(time.saturating_sub(self.origin));
        u64::try_from(since * u128::from(VIDEO_TIMESCALE) / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

/// A thread that syncs the files it is sent; it ends with the sender.
fn sync_thread() -> Result<SyncSender<Arc<File>>, String> {
    let (sender, files) = sync_channel::<Arc<File>>(1);
    let sync = move || {
        for file in files {
            let _ = file.sync_data();
        }
    };
    std::thread::Builder::new()
        .name("sync".into())
        .spawn(sync)
        .map_err(|error| format!("no thread that syncs: {error}"))?;
    Ok(sender)
}

/// The track that begins with this key frame.
fn movie(packet: &Packet) -> Result<Movie, String> {
    let structure = packet.caps.structure(0).ok_or("the stream has no format")?;
    let size = |name: &str| -> Result<u16, String> {
        let size = structure.get::<i32>(name).map_err(|e| e.to_string())?;
        u16::try_from(size).map_err(|_| format!("{name} {size} cannot be recorded"))
    };
    let data = packet.buffer.map_readable();
    let data = data.map_err(|_| "a frame cannot be mapped for reading")?;
    movie_of(
        structure.name().as_str(),
        &data,
        size("width")?,
        size("height")?,
    )
}

/// The track of a stream with this key frame.
pub(super) fn movie_of(
    media_type: &str,
    key_frame: &[u8],
    width: u16,
    height: u16,
) -> Result<Movie, String> {
    let stream = byte_stream(key_frame);
    let codec = match media_type {
        "video/x-h264" => {
            let mut sets = AvcParameterSets::default();
            sets.observe(&stream);
            VideoCodec::H264(sets)
        }
        "video/x-h265" => {
            let mut sets = HevcParameterSets::default();
            sets.observe(&stream);
            VideoCodec::H265(sets)
        }
        other => {
            return Err(format!(
                "{other} cannot be recorded, expected H.264 or H.265"
            ));
        }
    };
    Ok(Movie {
        video: VideoTrack {
            codec,
            width,
            height,
        },
        audio: None,
    })
}

/// The byte-stream form of an access unit with length-prefixed NAL units.
fn byte_stream(mut data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((unit, rest)) = rest.split_at_checked(length) else {
            break;
        };
        out.extend_from_slice(&[0, 0, 0, 1]);
        out.extend_from_slice(unit);
        data = rest;
    }
    out
}
