//! One fragment: a `moof` box and the `mdat` box with its samples.

use mp4_atom::{Encode, Mfhd, Moof, Tfdt, Tfhd, Traf, Trun, TrunEntry};

use crate::{Error, Result};

/// `sample_depends_on = 2`: a key frame.
const KEY_FLAGS: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, `sample_is_non_sync_sample`.
const DELTA_FLAGS: u32 = 0x0101_0000;
/// Bytes of the `mdat` header in front of the data.
const MDAT_HEADER: usize = 8;

/// One sample of a fragment. Times are ticks of its track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// Bytes of its data.
    pub size: u32,
    /// Time to the next sample in decode order.
    pub duration: u32,
    /// Presentation time less decode time.
    pub composition_offset: i32,
    /// A decoder can start here.
    pub key: bool,
}

/// The samples of one track in a fragment, in decode order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run<'a> {
    /// Number of the track.
    pub track: u32,
    /// Decode time of the first sample, from the start of the stream.
    pub decode_time: u64,
    /// Its samples.
    pub samples: &'a [Sample],
}

/// The boxes in front of a fragment's data: `moof` and the header of `mdat`. The data of all runs follows, run by run.
pub fn fragment_header(sequence: u32, runs: &[Run]) -> Result<Vec<u8>> {
    let data: u64 = runs
        .iter()
        .flat_map(|run| run.samples)
        .map(|sample| u64::from(sample.size))
        .sum();
    let mdat_size = u32::try_from(data + MDAT_HEADER as u64)
        .map_err(|_| Error::TooLarge("size of a fragment"))?;

    // The data offsets depend on the size of `moof`, which does not depend on their values.
    let mut out =
        Vec::with_capacity(256 + 16 * runs.iter().map(|run| run.samples.len()).sum::<usize>());
    moof(sequence, runs, 0)?.encode(&mut out)?;
    let size = out.len() + MDAT_HEADER;
    out.clear();
    moof(sequence, runs, size as u64)?.encode(&mut out)?;
    out.extend_from_slice(&mdat_size.to_be_bytes());
    out.extend_from_slice(b"mdat");
    Ok(out)
}

/// A whole fragment. `data` holds the data of all samples, run by run, in the order of `runs`.
pub fn fragment(sequence: u32, runs: &[Run], data: &[&[u8]]) -> Result<Vec<u8>> {
    let mut out = fragment_header(sequence, runs)?;
    out.reserve_exact(data.iter().map(|part| part.len()).sum());
    for part in data {
        out.extend_from_slice(part);
    }
    Ok(out)
}

fn moof(sequence: u32, runs: &[Run], data_at: u64) -> Result<Moof> {
    let mut offset = data_at;
    let mut traf = Vec::with_capacity(runs.len());
    for run in runs {
        let data_offset =
            i32::try_from(offset).map_err(|_| Error::TooLarge("offset in a fragment"))?;
        let mut entries = Vec::with_capacity(run.samples.len());
        for sample in run.samples {
            entries.push(TrunEntry {
                duration: Some(sample.duration),
                size: Some(sample.size),
                flags: Some(if sample.key { KEY_FLAGS } else { DELTA_FLAGS }),
                cts: Some(i64::from(sample.composition_offset)),
            });
            offset += u64::from(sample.size);
        }
        traf.push(Traf {
            tfhd: Tfhd {
                track_id: run.track,
                default_base_is_moof: true,
                ..Default::default()
            },
            tfdt: Some(Tfdt {
                base_media_decode_time: run.decode_time,
            }),
            trun: vec![Trun {
                data_offset: Some(data_offset),
                samples: entries.into(),
            }],
            ..Default::default()
        });
    }
    Ok(Moof {
        mfhd: Mfhd {
            sequence_number: sequence,
        },
        traf,
    })
}
