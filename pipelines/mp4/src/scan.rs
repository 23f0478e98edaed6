//! Reads a fragmented MP4 file of unknown origin up to its last complete fragment.
//!
//! A recording that was cut off anywhere plays up to there. Headers are bounded, every offset is compared with the
//! length of the file, and sample data is never read.

use std::io;
use std::time::Duration;

use mp4_atom::{Decode, Moof, Moov};

use crate::{SampleTable, Summary, TableSample};

/// `moov`, `moof` and summary boxes larger than this are not read.
const HEADER_LIMIT: u64 = 16 << 20;
/// Most samples of one file: 2 hours at 240 frames per second.
const SAMPLE_LIMIT: usize = 2_000_000;
/// Most tracks that are looked into.
const TRACK_LIMIT: usize = 8;
/// `sample_is_non_sync_sample`.
const NON_SYNC: u32 = 0x0001_0000;

/// A file, or bytes in memory.
pub trait ReadAt {
    /// Length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads exactly these bytes.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl ReadAt for std::fs::File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, at)
    }
}

impl ReadAt for [u8] {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let part = usize::try_from(at)
            .ok()
            .and_then(|at| self.get(at..at.checked_add(bytes.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        bytes.copy_from_slice(part);
        Ok(())
    }
}

/// The readable part of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Bytes up to the end of the last complete fragment.
    pub complete: u64,
    /// The tracks as `moov` describes them.
    pub moov: Moov,
    /// Bytes of `ftyp` and `moov`: the initialisation segment.
    pub initialisation: u64,
    /// Samples of the complete fragments.
    pub tables: Vec<SampleTable>,
    /// The summary box at the end, where it is there and undamaged.
    pub summary: Option<Summary>,
}

/// What a list of recordings shows of the video track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoExtent {
    /// From the first sample to the end of the last complete one.
    pub duration: Duration,
    /// Width of the picture in pixels.
    pub width: u32,
    /// Height of the picture in pixels.
    pub height: u32,
}

struct BoxAt {
    kind: [u8; 4],
    begin: u64,
    content: u64,
    end: u64,
}

fn box_at(file: &(impl ReadAt + ?Sized), begin: u64, length: u64) -> io::Result<Option<BoxAt>> {
    if length.saturating_sub(begin) < 8 {
        return Ok(None);
    }
    let mut head = [0; 8];
    file.read_exact_at(&mut head, begin)?;
    let kind = [head[4], head[5], head[6], head[7]];
    let (size, header) = match u32::from_be_bytes([head[0], head[1], head[2], head[3]]) {
        1 if length - begin >= 16 => {
            let mut large = [0; 8];
            file.read_exact_at(&mut large, begin + 8)?;
            (u64::from_be_bytes(large), 16)
        }
        size => (u64::from(size), 8),
    };
    let end = begin
        .checked_add(size)
        .filter(|end| size >= header && *end <= length);
    Ok(end.map(|end| BoxAt {
        kind,
        begin,
        content: begin + header,
        end,
    }))
}

fn read(file: &(impl ReadAt + ?Sized), begin: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let size = end - begin;
    if size > HEADER_LIMIT {
        return Ok(None);
    }
    let mut bytes = vec![0; usize::try_from(size).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, begin)?;
    Ok(Some(bytes))
}

/// Reads a file; `None` where it has no `moov` in front of its first fragment, or no complete fragment.
pub fn scan(file: &(impl ReadAt + ?Sized)) -> io::Result<Option<Scan>> {
    let length = file.length()?;
    let mut found: Option<Scan> = None;
    let mut fragment: Option<(BoxAt, Moof)> = None;
    let mut at = 0;
    while let Some(next) = box_at(file, at, length)? {
        match &next.kind {
            b"moov" if found.is_none() => {
                let moov = read(file, next.begin, next.end)?;
                if let Some(moov) = moov.and_then(|bytes| Moov::decode(&mut &bytes[..]).ok()) {
                    found = Some(Scan {
                        complete: 0,
                        initialisation: next.end,
                        tables: tables_of(&moov),
                        moov,
                        summary: None,
                    });
                }
            }
            b"moof" => {
                let moof = read(file, next.begin, next.end)?;
                fragment = moof
                    .and_then(|bytes| Moof::decode(&mut &bytes[..]).ok())
                    .map(|moof| (BoxAt { ..next }, moof));
                at = fragment.as_ref().map_or(next.end, |(moof, _)| moof.end);
                continue;
            }
            b"mdat" => {
                if let (Some(scan), Some((moof_at, moof))) = (&mut found, fragment.take()) {
                    let counts: Vec<_> = scan
                        .tables
                        .iter()
                        .map(|table| table.samples.len())
                        .collect();
                    if !scan.add(&moof, moof_at.begin, next.content, next.end) {
                        for (table, count) in scan.tables.iter_mut().zip(counts) {
                            table.samples.truncate(count);
                        }
                        break;
                    }
                    scan.complete = next.end;
                }
            }
            b"uuid" => {
                if let (Some(scan), Some(bytes)) = (&mut found, read(file, next.begin, next.end)?)
                    && Summary::is_at(&bytes)
                {
                    scan.summary = Summary::decode(&bytes).ok();
                }
            }
            _ => {}
        }
        at = next.end;
    }
    Ok(found.filter(|scan| scan.complete > 0))
}

fn tables_of(moov: &Moov) -> Vec<SampleTable> {
    let tracks = moov.trak.iter().take(TRACK_LIMIT);
    tracks
        .map(|trak| SampleTable {
            track: trak.tkhd.track_id,
            timescale: trak.mdia.mdhd.timescale.max(1),
            start: 0,
            samples: Vec::new(),
        })
        .collect()
}

impl Scan {
    /// Extent of the first video track; `None` where the file has no track with handler `vide`.
    pub fn video(&self) -> Option<VideoExtent> {
        let mut traks = self.moov.trak.iter();
        let trak = traks.find(|trak| trak.mdia.hdlr.handler == b"vide".into())?;
        let mut tables = self.tables.iter();
        let table = tables.find(|table| table.track == trak.tkhd.track_id)?;
        Some(VideoExtent {
            duration: Duration::from_secs_f64(table.duration() as f64 / f64::from(table.timescale)),
            width: u32::from(trak.tkhd.width.integer()),
            height: u32::from(trak.tkhd.height.integer()),
        })
    }

    /// Adds a fragment's samples. Returns false where they do not lie in its `mdat` or are too many.
    fn add(&mut self, moof: &Moof, moof_begin: u64, data_begin: u64, data_end: u64) -> bool {
        for traf in &moof.traf {
            let Some(table) = self
                .tables
                .iter_mut()
                .find(|table| table.track == traf.tfhd.track_id)
            else {
                continue;
            };
            let mut defaults = self.moov.mvex.iter().flat_map(|mvex| &mvex.trex);
            let trex = defaults.find(|trex| trex.track_id == table.track);
            let default_duration = traf
                .tfhd
                .default_sample_duration
                .or(trex.map(|trex| trex.default_sample_duration));
            let default_size = traf
                .tfhd
                .default_sample_size
                .or(trex.map(|trex| trex.default_sample_size));
            let default_flags = traf
                .tfhd
                .default_sample_flags
                .or(trex.map(|trex| trex.default_sample_flags));
            if table.samples.is_empty() {
                table.start = traf
                    .tfdt
                    .as_ref()
                    .map_or(0, |tfdt| tfdt.base_media_decode_time);
            }
            let mut offset = data_begin;
            for trun in &traf.trun {
                if let Some(from_moof) = trun.data_offset {
                    let base = traf.tfhd.base_data_offset.unwrap_or(moof_begin);
                    let Some(begin) = base.checked_add_signed(i64::from(from_moof)) else {
                        return false;
                    };
                    offset = begin;
                }
                if table.samples.len() + trun.samples.len() > SAMPLE_LIMIT {
                    return false;
                }
                for (index, entry) in trun.samples.iter().enumerate() {
                    let size = entry.size.or(default_size).unwrap_or(0);
                    let end = offset.saturating_add(u64::from(size));
                    if offset < data_begin || end > data_end {
                        return false;
                    }
                    let flags = entry.flags.or(default_flags).unwrap_or(if index == 0 {
                        0
                    } else {
                        NON_SYNC
                    });
                    table.samples.push(TableSample {
                        offset,
                        size,
                        duration: entry.duration.or(default_duration).unwrap_or(0),
                        composition_offset: i32::try_from(entry.cts.unwrap_or(0)).unwrap_or(0),
                        key: flags & NON_SYNC == 0,
                    });
                    offset = end;
                }
            }
        }
        true
    }
}
