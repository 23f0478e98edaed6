//! The `uuid` box at the end of a recorded file: sample tables and the facts that the index keeps of the file.
//!
//! Layout after the box header, all numbers as LEB128 (signed ones zigzag) unless a width is given:
//!
//! ```text
//! uuid                16 bytes
//! version             1 byte (1)
//! stream version, Unix time of the first frame (ns)
//! tracks: count, then per track: id, timescale, decode time of the first sample, sample count, then per sample:
//!         offset less the end of the sample before (signed), size, duration * 2 + key, composition offset (signed)
//! activity: count, then per GOP: motion (1 byte, 0..=255), objects (1 byte)
//! reasons: length, UTF-8 text
//! CRC-32 of everything from `uuid` on, 4 bytes big-endian
//! ```

use crate::{Error, Result};

/// Identifies the box: a random UUID of this project.
const ID: [u8; 16] = [
    0x6f, 0x1e, 0x52, 0xc0, 0x77, 0x0b, 0x4c, 0x1d, 0x9a, 0x84, 0x15, 0x3b, 0xe2, 0x5a, 0x60, 0x9c,
];
const VERSION: u8 = 1;
/// Size and type.
const HEADER: usize = 8;

/// One sample of a recorded file. Times are ticks of its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSample {
    /// Its first byte in the file.
    pub offset: u64,
    /// Its bytes.
    pub size: u32,
    /// Time to the next sample in decode order.
    pub duration: u32,
    /// Presentation time less decode time.
    pub composition_offset: i32,
    /// A decoder can start here.
    pub key: bool,
}

/// The samples of one track of a file, in decode order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleTable {
    /// Number of the track.
    pub track: u32,
    /// Ticks per second.
    pub timescale: u32,
    /// Decode time of the first sample.
    pub start: u64,
    /// All samples.
    pub samples: Vec<TableSample>,
}

impl SampleTable {
    /// Ticks from the decode time of the first to the end of the last sample.
    pub fn duration(&self) -> u64 {
        let ticks = self.samples.iter().map(|sample| u64::from(sample.duration));
        ticks.sum()
    }
}

/// Activity in one group of pictures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GopActivity {
    /// Share of the picture that moved, 0 (none) to 255 (all).
    pub motion: u8,
    /// Active objects, at most 255.
    pub objects: u8,
}

/// What stands in the box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Version of the stream that the file holds; a file has exactly one.
    pub stream_version: u64,
    /// Unix time of the first frame in nanoseconds.
    pub first_frame: u64,
    /// Sample tables, video first.
    pub tables: Vec<SampleTable>,
    /// Activity per group of pictures.
    pub activity: Vec<GopActivity>,
    /// Reasons to keep the file, as the recorder names them.
    pub reasons: String,
}

impl Summary {
    /// The complete box.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut out = vec![0; HEADER];
        out[4..8].copy_from_slice(b"uuid");
        out.extend_from_slice(&ID);
        out.push(VERSION);
        put(&mut out, self.stream_version);
        put(&mut out, self.first_frame);
        put(&mut out, self.tables.len() as u64);
        for table in &self.tables {
            put(&mut out, u64::from(table.track));
            put(&mut out, u64::from(table.timescale));
            put(&mut out, table.start);
            put(&mut out, table.samples.len() as u64);
            let mut end = 0_u64;
            for sample in &table.samples {
                put_signed(&mut out, sample.offset.wrapping_sub(end).cast_signed());
                put(&mut out, u64::from(sample.size));
                put(
                    &mut out,
                    u64::from(sample.duration) << 1 | u64::from(sample.key),
                );
                put_signed(&mut out, i64::from(sample.composition_offset));
                end = sample.offset + u64::from(sample.size);
            }
        }
        put(&mut out, self.activity.len() as u64);
        for gop in &self.activity {
            out.extend_from_slice(&[gop.motion, gop.objects]);
        }
        put(&mut out, self.reasons.len() as u64);
        out.extend_from_slice(self.reasons.as_bytes());
        let checksum = crc32fast::hash(&out[HEADER..]);
        out.extend_from_slice(&checksum.to_be_bytes());
        let size =
            u32::try_from(out.len()).map_err(|_| Error::TooLarge("size of the summary box"))?;
        out[..4].copy_from_slice(&size.to_be_bytes());
        Ok(out)
    }

    /// True where these bytes begin with a summary box, of whatever version.
    pub fn is_at(bytes: &[u8]) -> bool {
        bytes.get(4..8) == Some(b"uuid") && bytes.get(8..24) == Some(&ID[..])
    }

    /// Reads a complete box.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if !Self::is_at(bytes) {
            return Err(Error::Summary("not a summary box"));
        }
        let size = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        if size != bytes.len() || size < HEADER + ID.len() + 5 {
            return Err(Error::Summary(
                "its size does not match the bytes that are there",
            ));
        }
        let (content, checksum) = bytes[HEADER..].split_at(size - HEADER - 4);
        if crc32fast::hash(content).to_be_bytes() != checksum {
            return Err(Error::Summary("its checksum does not match"));
        }
        let mut reader = Reader {
            rest: &content[ID.len()..],
        };
        if reader.byte()? != VERSION {
            return Err(Error::Summary("it was written by another version"));
        }
        let (stream_version, first_frame) = (reader.number()?, reader.number()?);
        // A table has at least 4 bytes, a sample 4, a GOP 2: counts beyond that are refused before memory is reserved.
        let tables = (0..reader.count(4)?)
            .map(|_| reader.table())
            .collect::<Result<_>>()?;
        let activity = (0..reader.count(2)?)
            .map(|_| {
                Ok(GopActivity {
                    motion: reader.byte()?,
                    objects: reader.byte()?,
                })
            })
            .collect::<Result<_>>()?;
        let length = reader.count(1)?;
        let (text, rest) = reader.rest.split_at(length);
        if !rest.is_empty() {
            return Err(Error::Summary("bytes follow its last field"));
        }
        let reasons =
            str::from_utf8(text).map_err(|_| Error::Summary("its reasons are not UTF-8"))?;
        Ok(Self {
            stream_version,
            first_frame,
            tables,
            activity,
            reasons: reasons.into(),
        })
    }
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, (value << 1 ^ value >> 63).cast_unsigned());
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or(Error::Summary("it is cut off"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Error::Summary("a number is too long"))
    }

    fn signed(&mut self) -> Result<i64> {
        let value = self.number()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    fn small<T: TryFrom<u64>>(&mut self) -> Result<T> {
        T::try_from(self.number()?).map_err(|_| Error::Summary("a number is out of range"))
    }

    /// A count of items that have at least `least` bytes each.
    fn count(&mut self, least: usize) -> Result<usize> {
        let count: usize = self.small()?;
        if count > self.rest.len() / least {
            return Err(Error::Summary("a count exceeds the bytes that are there"));
        }
        Ok(count)
    }

    fn table(&mut self) -> Result<SampleTable> {
        let (track, timescale, start) = (self.small()?, self.small()?, self.number()?);
        let count = self.count(4)?;
        let mut samples = Vec::with_capacity(count);
        let mut end = 0_u64;
        for _ in 0..count {
            let offset = end.wrapping_add(self.signed()?.cast_unsigned());
            let size: u32 = self.small()?;
            let timing: u64 = self.number()?;
            let duration = u32::try_from(timing >> 1)
                .map_err(|_| Error::Summary("a number is out of range"))?;
            let composition_offset = i32::try_from(self.signed()?);
            end = offset
                .checked_add(u64::from(size))
                .ok_or(Error::Summary("a sample ends beyond any file"))?;
            samples.push(TableSample {
                offset,
                size,
                duration,
                composition_offset: composition_offset
                    .map_err(|_| Error::Summary("a number is out of range"))?,
                key: timing & 1 == 1,
            });
        }
        Ok(SampleTable {
            track,
            timescale,
            start,
            samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn summaries() -> impl Strategy<Value = Summary> {
        let sample = (
            any::<u32>(),
            0..1_u64 << 40,
            any::<u32>(),
            any::<i32>(),
            any::<bool>(),
        );
        let sample =
            sample.prop_map(
                |(size, offset, duration, composition_offset, key)| TableSample {
                    offset,
                    size,
                    duration,
                    composition_offset,
                    key,
                },
            );
        let table = (
            1..3_u32,
            1..100_000_u32,
            any::<u32>(),
            proptest::collection::vec(sample, 0..40),
        );
        let table = table.prop_map(|(track, timescale, start, samples)| SampleTable {
            track,
            timescale,
            start: u64::from(start),
            samples,
        });
        let gop = (any::<u8>(), any::<u8>())
            .prop_map(|(motion, objects)| GopActivity { motion, objects });
        (
            any::<u64>(),
            any::<u64>(),
            proptest::collection::vec(table, 0..3),
            proptest::collection::vec(gop, 0..20),
            "[a-z,]{0,20}",
        )
            .prop_map(
                |(stream_version, first_frame, tables, activity, reasons)| Summary {
                    stream_version,
                    first_frame,
                    tables,
                    activity,
                    reasons,
                },
            )
    }

    proptest! {
        #[test]
        fn survives_encoding(summary in summaries()) {
            let bytes = summary.encode().unwrap();
            prop_assert!(Summary::is_at(&bytes));
            prop_assert_eq!(Summary::decode(&bytes).unwrap(), summary);
        }

        #[test]
        fn refuses_every_changed_byte(summary in summaries(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let mut bytes = summary.encode().unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(Summary::decode(&bytes).is_err());
        }

        #[test]
        fn refuses_content_with_a_right_checksum_without_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = Summary::default().encode().unwrap();
            bytes.truncate(HEADER + ID.len() + 1);
            bytes.extend_from_slice(&content);
            let checksum = crc32fast::hash(&bytes[HEADER..]);
            bytes.extend_from_slice(&checksum.to_be_bytes());
            let size = u32::try_from(bytes.len()).unwrap();
            bytes[..4].copy_from_slice(&size.to_be_bytes());
            let _ = Summary::decode(&bytes);
        }
    }
}
