//! An ordinary MP4 file over samples that lie in other files: `moov` in front, exact length, any byte range.

use std::ops::Range;

use mp4_atom::{
    Co64, Ctts, CttsEntry, Encode, Stbl, Stsc, StscEntry, Stss, Stsz, StszSamples, Stts, SttsEntry,
};

use crate::movie::ftyp;
use crate::{Error, Movie, Result, SampleTable, TableSample};

/// A chunk ends after this many samples, so that audio and video alternate while the file is read.
const CHUNK: usize = 64;

/// Samples of one file, as ranges into its tables.
#[derive(Debug, Clone)]
pub struct ProgressivePart<'a> {
    /// Number of the file, as the caller counts them.
    pub file: usize,
    /// Its tables, each with the range of samples that is wanted.
    pub tracks: Vec<(&'a SampleTable, Range<usize>)>,
}

/// One run of bytes of the virtual file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A range of [`Progressive::header`].
    Header(Range<usize>),
    /// A range of bytes of a file.
    File {
        /// Number of the file.
        file: usize,
        /// Its bytes.
        bytes: Range<u64>,
    },
}

impl Piece {
    fn len(&self) -> u64 {
        match self {
            Self::Header(range) => range.len() as u64,
            Self::File { bytes, .. } => bytes.end - bytes.start,
        }
    }
}

/// A virtual MP4 file.
#[derive(Debug, Clone)]
pub struct Progressive {
    header: Vec<u8>,
    /// Position in the virtual file, file, first byte in it, length.
    extents: Vec<(u64, usize, u64, u64)>,
    length: u64,
}

/// The tables of one track while the file is laid out.
#[derive(Default)]
struct Track {
    stts: Vec<SttsEntry>,
    ctts: Vec<CttsEntry>,
    stss: Vec<u32>,
    sizes: Vec<u32>,
    stsc: Vec<StscEntry>,
    chunks: Vec<u64>,
    duration: u64,
    keys: usize,
}

impl Track {
    fn push(&mut self, sample: &TableSample) -> Result<()> {
        self.duration += u64::from(sample.duration);
        match self.stts.last_mut() {
            Some(last) if last.sample_delta == sample.duration => last.sample_count += 1,
            _ => self.stts.push(SttsEntry {
                sample_count: 1,
                sample_delta: sample.duration,
            }),
        }
        let offset = i64::from(sample.composition_offset);
        match self.ctts.last_mut() {
            Some(last) if last.sample_offset == offset => last.sample_count += 1,
            _ => self.ctts.push(CttsEntry {
                sample_count: 1,
                sample_offset: offset,
            }),
        }
        self.sizes.push(sample.size);
        if sample.key {
            self.keys += 1;
            self.stss.push(
                u32::try_from(self.sizes.len()).map_err(|_| Error::TooLarge("count of samples"))?,
            );
        }
        Ok(())
    }

    fn end_chunk(&mut self, at: u64, samples: u32) -> Result<()> {
        self.chunks.push(at);
        let number =
            u32::try_from(self.chunks.len()).map_err(|_| Error::TooLarge("count of chunks"))?;
        if self
            .stsc
            .last()
            .is_none_or(|last| last.samples_per_chunk != samples)
        {
            self.stsc.push(StscEntry {
                first_chunk: number,
                samples_per_chunk: samples,
                sample_description_index: 1,
            });
        }
        Ok(())
    }

    fn stbl(&self, header: u64) -> Stbl {
        let shifted = self.ctts.iter().any(|entry| entry.sample_offset != 0);
        Stbl {
            stts: Stts {
                entries: self.stts.clone(),
            },
            ctts: shifted.then(|| Ctts {
                entries: self.ctts.clone(),
            }),
            // Without the box every sample is a key frame.
            stss: (self.keys < self.sizes.len()).then(|| Stss {
                entries: self.stss.clone(),
            }),
            stsc: Stsc {
                entries: self.stsc.clone(),
            },
            stsz: Stsz {
                samples: StszSamples::Different {
                    sizes: self.sizes.clone(),
                },
            },
            co64: Some(Co64 {
                entries: self.chunks.iter().map(|at| at + header).collect(),
            }),
            ..Default::default()
        }
    }
}

impl Progressive {
    /// Lays the file out. Gaps between the parts are closed: each track is the concatenation of its samples.
    pub fn new(movie: &Movie, parts: &[ProgressivePart]) -> Result<Self> {
        let mut tracks: Vec<(u32, Track)> = Vec::new();
        let mut extents: Vec<(u64, usize, u64, u64)> = Vec::new();
        let mut at = 0;
        for part in parts {
            let mut rest = part.tracks.clone();
            for (table, range) in &rest {
                if range.start > range.end || range.end > table.samples.len() {
                    let (first, end, count) = (range.start, range.end, table.samples.len());
                    return Err(Error::Range { first, end, count });
                }
            }
            // Chunks of all tracks alternate, the one whose next sample lies first in the file goes first.
            while let Some((table, range)) = rest
                .iter_mut()
                .filter(|(_, range)| !range.is_empty())
                .min_by_key(|(table, range)| table.samples[range.start].offset)
            {
                let known = tracks.iter().position(|(id, _)| *id == table.track);
                let index = known.unwrap_or(tracks.len());
                if known.is_none() {
                    tracks.push((table.track, Track::default()));
                }
                let track = &mut tracks[index].1;
                let begin = at;
                let mut samples = 0;
                let mut end = table.samples[range.start].offset;
                while let Some(sample) = table.samples[range.clone()].first()
                    && sample.offset == end
                    && samples < CHUNK
                {
                    end += u64::from(sample.size);
                    track.push(sample)?;
                    match extents.last_mut() {
                        Some((_, file, first, length))
                            if *file == part.file && *first + *length == sample.offset =>
                        {
                            *length += u64::from(sample.size);
                        }
                        _ => extents.push((at, part.file, sample.offset, u64::from(sample.size))),
                    }
                    at += u64::from(sample.size);
                    range.start += 1;
                    samples += 1;
                }
                track.end_chunk(begin, u32::try_from(samples).unwrap_or(u32::MAX))?;
            }
        }
        let header = header(movie, &tracks, at)?;
        let shift = header.len() as u64;
        for extent in &mut extents {
            extent.0 += shift;
        }
        Ok(Self {
            header,
            extents,
            length: at + shift,
        })
    }

    /// `ftyp`, `moov` and the header of `mdat`.
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Bytes of the whole file.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// True where the file has no samples.
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// The pieces that make up a range of the file; the range is cut at the end of the file.
    pub fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        let header = self.header.len() as u64;
        let (begin, end) = (range.start, range.end.min(self.length));
        // Positions below the header's length fit a usize.
        let in_header = (begin < header.min(end))
            .then(|| Piece::Header(begin as usize..header.min(end) as usize));
        let first = self
            .extents
            .partition_point(|(at, _, _, length)| at + length <= begin);
        let in_files = self.extents[first..]
            .iter()
            .take_while(move |(at, ..)| *at < end)
            .map(move |&(at, file, first, length)| {
                let skip = begin.saturating_sub(at);
                let bytes = first + skip..first + length.min(end - at);
                Piece::File { file, bytes }
            });
        in_header
            .into_iter()
            .chain(in_files)
            .filter(|piece| piece.len() > 0)
    }
}

fn header(movie: &Movie, tracks: &[(u32, Track)], data: u64) -> Result<Vec<u8>> {
    let encode = |shift: u64| -> Result<Vec<u8>> {
        let mut out = Vec::new();
        ftyp(b"isom", &[b"isom", b"iso2", b"mp41"]).encode(&mut out)?;
        let moov = movie.moov(
            |id| {
                let track = tracks.iter().find(|(track, _)| *track == id);
                track.map_or_else(Default::default, |(_, track)| {
                    (track.stbl(shift), track.duration)
                })
            },
            false,
        )?;
        moov.encode(&mut out)?;
        // A 64-bit size: the header has the same length whatever the data has.
        out.extend_from_slice(&1_u32.to_be_bytes());
        out.extend_from_slice(b"mdat");
        out.extend_from_slice(&(data + 16).to_be_bytes());
        Ok(out)
    };
    // The offsets depend on the size of the header, which does not depend on their values.
    let size = encode(0)?.len();
    encode(size as u64)
}
