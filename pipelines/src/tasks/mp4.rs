//! What of a fragmented MP4 is there: how far it is complete, how long it lasts, and the size of its picture.
//!
//! A recording that was cut off anywhere plays up to its last complete fragment. Everything is read from files that
//! anything may have happened to, so nothing in them is believed before it was compared with what is there.

use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Boxes deeper than this, or more of them than that, are not looked at.
const HEADER_LIMIT: u64 = 4 << 20;

/// What [`scan`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Film {
    /// Bytes up to the end of the last complete fragment.
    pub complete: u64,
    /// Time from the first to the end of the last picture.
    pub duration: Duration,
    /// Width of the picture.
    pub width: u32,
    /// Height of the picture.
    pub height: u32,
}

/// Header of a box: its type, where its content begins, where it ends.
struct BoxAt {
    kind: [u8; 4],
    content: u64,
    end: u64,
}

fn box_at(file: &impl FileExt, at: u64) -> io::Result<Option<BoxAt>> {
    let mut head = [0; 16];
    let mut read = 0;
    while read < head.len() {
        match file.read_at(&mut head[read..], at + read as u64)? {
            0 => break,
            n => read += n,
        }
    }
    if read < 8 {
        return Ok(None);
    }
    let small = u64::from(u32::from_be_bytes(head[..4].try_into().expect("4 bytes")));
    let (size, header) = match small {
        1 if read == 16 => (
            u64::from_be_bytes(head[8..].try_into().expect("8 bytes")),
            16,
        ),
        size => (size, 8),
    };
    let Some(end) = at.checked_add(size).filter(|_| size >= header) else {
        return Ok(None);
    };
    Ok(Some(BoxAt {
        kind: head[4..8].try_into().expect("4 bytes"),
        content: at + header,
        end,
    }))
}

/// Reads how far a file is a playable film; none if it holds no picture.
pub(crate) fn scan(file: &std::fs::File) -> io::Result<Option<Film>> {
    let length = file.metadata()?.len();
    let mut track = None;
    let mut fragment = None;
    let (mut first, mut last) = (None, 0);
    let mut complete = 0;
    let mut at = 0;
    while let Some(found) = box_at(file, at)?.filter(|found| found.end <= length) {
        match &found.kind {
            b"moov" => track = read_all(file, &found)?.as_deref().and_then(track_of),
            b"moof" => {
                fragment = read_all(file, &found)?.as_deref().and_then(fragment_of);
            }
            b"mdat" => {
                if let Some((begin, end)) = fragment.take() {
                    first.get_or_insert(begin);
                    last = end;
                    complete = found.end;
                }
            }
            // The index at the end.
            b"mfra" if complete == at => complete = found.end,
            _ => {}
        }
        at = found.end;
    }
    let (Some(first), Some(track)) = (first, track) else {
        return Ok(None);
    };
    let ticks = u64::saturating_sub(last, first);
    let seconds = ticks as f64 / f64::from(track.timescale.max(1));
    Ok(Some(Film {
        complete,
        duration: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        width: track.width,
        height: track.height,
    }))
}

fn read_all(file: &std::fs::File, found: &BoxAt) -> io::Result<Option<Vec<u8>>> {
    let size = found.end - found.content;
    if size > HEADER_LIMIT {
        return Ok(None);
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, found.content)?;
    Ok(Some(bytes))
}

/// The boxes inside some bytes.
fn boxes(mut bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let size = u32_at(bytes, 0)? as usize;
        let content = bytes.get(8..size)?;
        let kind = bytes.get(4..8)?.try_into().ok()?;
        bytes = &bytes[size..];
        Some((kind, content))
    })
}

fn inside<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    path.iter().try_fold(bytes, |bytes, wanted| {
        boxes(bytes)
            .find(|(kind, _)| kind == *wanted)
            .map(|(_, content)| content)
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

struct Track {
    timescale: u32,
    width: u32,
    height: u32,
}

fn track_of(moov: &[u8]) -> Option<Track> {
    let track = inside(moov, &[b"trak"])?;
    let media = inside(track, &[b"mdia", b"mdhd"])?;
    let timescale = u32_at(media, if media.first() == Some(&1) { 20 } else { 12 })?;
    // Version and flags, type of the entry, then the picture's size at a fixed place.
    let entry = inside(track, &[b"mdia", b"minf", b"stbl", b"stsd"])?;
    let size = u32_at(entry, 8 + 8 + 24)?;
    Some(Track {
        timescale,
        width: size >> 16,
        height: size & 0xffff,
    })
}

/// When a fragment begins and ends, in ticks of its track.
fn fragment_of(moof: &[u8]) -> Option<(u64, u64)> {
    let fragment = inside(moof, &[b"traf"])?;
    let header = inside(fragment, &[b"tfhd"])?;
    let flags = u32_at(header, 0)? & 0xff_ffff;
    // Optional fields stand in this order before the duration a picture has by default.
    let at = 8 + [(1, 8), (2, 4)]
        .map(|(flag, size)| if flags & flag != 0 { size } else { 0 })
        .iter()
        .sum::<usize>();
    let default = if flags & 8 != 0 {
        u32_at(header, at)?
    } else {
        0
    };
    let decode_time = inside(fragment, &[b"tfdt"])?;
    let begin = if decode_time.first() == Some(&1) {
        u64_at(decode_time, 4)?
    } else {
        u64::from(u32_at(decode_time, 4)?)
    };
    let mut end = begin;
    for (kind, run) in boxes(fragment) {
        if &kind == b"trun" {
            end = end.checked_add(run_length(run, default)?)?;
        }
    }
    Some((begin, end))
}

fn run_length(run: &[u8], default: u32) -> Option<u64> {
    let flags = u32_at(run, 0)? & 0xff_ffff;
    let count = u32_at(run, 4)? as usize;
    if flags & 0x100 == 0 {
        return Some(count as u64 * u64::from(default));
    }
    let optional = |bits: &[u32]| bits.iter().filter(|bit| flags & **bit != 0).count() * 4;
    let first = 8 + optional(&[0x1, 0x4]);
    let each = optional(&[0x100, 0x200, 0x400, 0x800]);
    (0..count).try_fold(0u64, |sum, i| {
        let duration = u32_at(run, first.checked_add(i.checked_mul(each)?)?)?;
        Some(sum + u64::from(duration))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan_bytes(bytes: &[u8]) -> Option<Film> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(bytes, 0).unwrap();
        scan(&file).unwrap()
    }

    fn boxed(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let size = (content.len() as u32 + 8).to_be_bytes();
        [&size, &kind[..], content].concat()
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// A head for 640x360 at 1000 ticks a second.
    fn head() -> Vec<u8> {
        let header = boxed(b"mdhd", &words(&[0, 0, 0, 1000, 0, 0]));
        let entry = [
            words(&[0, 1, 100, 0]),
            vec![0; 24],
            words(&[640 << 16 | 360]),
        ]
        .concat();
        let table = boxed(b"stbl", &boxed(b"stsd", &entry));
        let media = boxed(b"mdia", &[header, boxed(b"minf", &table)].concat());
        boxed(b"moov", &boxed(b"trak", &media))
    }

    /// A fragment with three pictures of 40 ticks.
    fn fragment(begin: u32) -> Vec<u8> {
        let header = boxed(b"tfhd", &words(&[0x8, 1, 40]));
        let time = boxed(b"tfdt", &words(&[0, begin]));
        let run = boxed(b"trun", &words(&[0x1, 3, 0]));
        let moof = boxed(b"moof", &boxed(b"traf", &[header, time, run].concat()));
        [moof, boxed(b"mdat", &[7; 30])].concat()
    }

    #[test]
    fn a_film_is_complete_up_to_its_last_whole_fragment_wherever_it_is_cut() {
        let whole = [head(), fragment(500), fragment(620)].concat();
        let film = scan_bytes(&whole).unwrap();
        assert_eq!(film.complete, whole.len() as u64);
        assert_eq!(film.duration, Duration::from_millis(240));
        assert_eq!((film.width, film.height), (640, 360));
        let (first, one) = (head().len(), fragment(0).len());
        for cut in 0..whole.len() {
            let film = scan_bytes(&whole[..cut]);
            let fragments = cut.saturating_sub(first) / one;
            match film {
                None => assert_eq!(fragments, 0, "{cut}"),
                Some(film) => {
                    assert_eq!(film.complete, (first + fragments * one) as u64, "{cut}");
                    assert_eq!(film.duration.as_millis(), fragments as u128 * 120);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_file_is_read_without_harm(
            at in 0..400usize,
            junk in proptest::collection::vec(any::<u8>(), 1..12),
        ) {
            let mut bytes = [head(), fragment(0), fragment(120)].concat();
            for (byte, junk) in bytes.iter_mut().skip(at).zip(junk) {
                *byte = junk;
            }
            let length = bytes.len() as u64;
            if let Some(film) = scan_bytes(&bytes) {
                prop_assert!(film.complete <= length);
            }
        }
    }
}
