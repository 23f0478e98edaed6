//! Reads segments again: for the index after a crash, and for playback.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use watchpost_mp4::{Movie, ReadAt, SampleTable, Summary, scan};

use super::place::{FOLDER, segment_start};
use super::segment::movie_of;
use super::{Group, SegmentReport};

/// A segment for playback.
#[derive(Debug)]
pub struct Recorded {
    /// The file.
    pub file: File,
    /// Its track.
    pub movie: Movie,
    /// Its samples.
    pub video: SampleTable,
}

/// Opens a segment; `None` where it has no complete fragment.
pub fn open(path: &Path) -> io::Result<Option<Recorded>> {
    let file = File::open(path)?;
    let Some(found) = scan(&file)? else {
        return Ok(None);
    };
    let (Some(extent), Some(first)) = (
        found.video(),
        found.tables.first().and_then(|table| table.samples.first()),
    ) else {
        return Ok(None);
    };
    let mut head = vec![
        0;
        usize::try_from(found.initialisation)
            .unwrap_or(0)
            .min(1 << 20)
    ];
    file.read_exact_at(&mut head, 0)?;
    let mut data = vec![0; first.size as usize];
    file.read_exact_at(&mut data, first.offset)?;
    let has = |kind: &[u8]| head.windows(4).any(|window| window == kind);
    let media_type = if has(b"hvcC") {
        "video/x-h265"
    } else {
        "video/x-h264"
    };
    let size = |size: u32| u16::try_from(size).unwrap_or(0);
    let movie = movie_of(media_type, &data, size(extent.width), size(extent.height));
    let movie = movie.map_err(io::Error::other)?;
    let video = found.tables.into_iter().next();
    Ok(video.map(|video| Recorded { file, movie, video }))
}

/// Completes a segment that a killed process left without its summary, and describes it for the index. `None` where no
/// fragment is complete; the file stays as it is.
pub fn recover(path: &Path, name: &str) -> io::Result<Option<SegmentReport>> {
    let full = path.join(name);
    let file = OpenOptions::new().read(true).write(true).open(&full)?;
    let Some(found) = scan(&file)? else {
        return Ok(None);
    };
    let Some(start) = segment_start(name) else {
        return Ok(None);
    };
    let summary = match found.summary {
        Some(summary) => summary,
        None => {
            let groups = found.tables.iter().take(1).flat_map(|table| &table.samples);
            let summary = Summary {
                first_frame: u64::try_from(start).unwrap_or(0) * 1_000_000,
                activity: groups
                    .filter(|s| s.key)
                    .map(|_| Default::default())
                    .collect(),
                tables: found.tables.clone(),
                ..Summary::default()
            };
            let bytes = summary.encode().map_err(io::Error::other)?;
            file.set_len(found.complete)?;
            let mut end = OpenOptions::new().append(true).open(&full)?;
            end.write_all(&bytes)?;
            end.sync_data()?;
            summary
        }
    };
    let Some(table) = summary.tables.first() else {
        return Ok(None);
    };
    let scale = u64::from(table.timescale.max(1));
    let start = i64::try_from(summary.first_frame / 1_000_000).unwrap_or(start);
    let mut at = 0;
    let mut groups = Vec::new();
    for sample in &table.samples {
        if sample.key {
            let activity = summary
                .activity
                .get(groups.len())
                .copied()
                .unwrap_or_default();
            groups.push(Group {
                at: u32::try_from(at * 1000 / scale).unwrap_or(u32::MAX),
                motion: activity.motion > 0,
                objects: activity.objects,
            });
        }
        at += u64::from(sample.duration);
    }
    Ok(Some(SegmentReport {
        path: path.to_owned(),
        name: name.to_owned(),
        start,
        end: start + i64::try_from(at * 1000 / scale).unwrap_or(0),
        bytes: file.metadata()?.len(),
        version: summary.stream_version,
        groups,
        reasons: summary.reasons.clone(),
        summary: Some(found.complete),
    }))
}

/// The names of all segments below a path.
pub fn segments(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![(path.join(FOLDER), FOLDER.to_owned(), 0)];
    while let Some((folder, name, depth)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (Ok(kind), Ok(file)) = (entry.file_type(), entry.file_name().into_string()) else {
                continue;
            };
            let name = format!("{name}/{file}");
            // Camera, day, hour.
            if kind.is_dir() && depth < 3 {
                folders.push((entry.path(), name, depth + 1));
            } else if kind.is_file() && depth == 3 && segment_start(&name).is_some() {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}
