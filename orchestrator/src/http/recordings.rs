//! Playback by time: what is recorded of a camera, and clips of it.

use std::ops::Range;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use watchpost_api::{RecordedActivity, RecordedSpan, RecordingGap, SpanQuery};
use watchpost_mp4::{Movie, Piece, Progressive, ProgressivePart, ReadAt, SampleTable};
use watchpost_pipelines::record::{Recorded, open};

use super::Api;
use super::error::ApiError;
use super::query::QueryOf;
use crate::recordings::{Recordings, SegmentRow};

/// Segments that join within this time are one span, in milliseconds.
const JOINS: i64 = 300;
/// Longest clip, in seconds.
const LONGEST: f64 = 6.0 * 3600.0;
/// Bytes that are read at once.
const CHUNK: u64 = 256 << 10;

/// `GET /api/cameras/{name}/recordings`: for a timeline.
pub async fn list(
    State(api): State<Api>,
    Path(name): Path<String>,
    QueryOf(query): QueryOf<SpanQuery>,
) -> Result<Json<watchpost_api::Recordings>, ApiError> {
    let (after, before) = span(&query)?;
    let pause = pause(query.bucket)?;
    let recordings = known(&api, &name).await?;
    let found = blocking(move || {
        let segments = recordings.segments(&name, after, before)?;
        let gaps = recordings.gaps(&name, after, before)?;
        Ok((segments, gaps))
    });
    let (segments, gaps) = found.await?;
    let gaps = gaps.into_iter().map(|gap| RecordingGap {
        start: seconds(gap.start),
        end: seconds(gap.end),
        reason: gap.reason,
    });
    Ok(Json(watchpost_api::Recordings {
        spans: spans(&segments),
        gaps: gaps.collect(),
        activity: activity(&segments, pause),
    }))
}

/// `GET /api/cameras/{name}/recordings/clip.mp4`: an ordinary MP4 file, cut at key frames, gaps closed.
pub async fn clip(
    State(api): State<Api>,
    Path(name): Path<String>,
    QueryOf(query): QueryOf<SpanQuery>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (after, before) = span(&query)?;
    if query.before - query.after > LONGEST {
        return Err(ApiError::Parameter(format!(
            "a clip has at most {LONGEST} s, and {} were asked for; ask for parts",
            query.before - query.after
        )));
    }
    let recordings = known(&api, &name).await?;
    let clip = blocking(move || {
        let segments = recordings.segments(&name, after, before)?;
        Clip::open(&segments, after, before)
    });
    let clip = match clip.await? {
        Ok(clip) => clip,
        Err(Refused::Nothing) => {
            return Err(ApiError::NoFootage(query.after, query.before));
        }
        Err(Refused::Changes(at)) => return Err(ApiError::FootageChanges(at)),
    };
    let length = clip.file.len();
    let asked = headers.get(RANGE).and_then(|range| range.to_str().ok());
    let range = asked.and_then(|range| one_range(range, length));
    if asked.is_some_and(|asked| asked.starts_with("bytes=")) && range.is_none() {
        return Err(ApiError::Parameter(format!(
            "the clip has {length} bytes, and the range asked for is not in it"
        )));
    }
    let mut response = Response::builder()
        .header(CONTENT_TYPE, "video/mp4")
        .header(ACCEPT_RANGES, "bytes");
    if let Some(range) = &range {
        let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        response = response
            .status(StatusCode::PARTIAL_CONTENT)
            .header(CONTENT_RANGE, text);
    }
    let range = range.unwrap_or(0..length);
    let (sender, pieces) = mpsc::channel(2);
    let bytes = range.end - range.start;
    tokio::task::spawn_blocking(move || clip.send(range, &sender));
    response
        .header(CONTENT_LENGTH, bytes)
        .body(Body::from_stream(ReceiverStream::new(pieces)))
        .map_err(|error| ApiError::Media(error.to_string()))
}

/// A clip: a virtual file over the segments.
struct Clip {
    file: Progressive,
    segments: Vec<Recorded>,
}

enum Refused {
    Nothing,
    /// The format changes at this time, in milliseconds.
    Changes(i64),
}

impl Clip {
    fn open(rows: &[SegmentRow], after: i64, before: i64) -> anyhow::Result<Result<Self, Refused>> {
        let mut movie: Option<Movie> = None;
        let mut segments = Vec::new();
        let mut ranges = Vec::new();
        for row in rows {
            // A segment that was removed a moment ago is a gap.
            let Ok(Some(segment)) = open(&row.path.join(&row.name)) else {
                continue;
            };
            let range = cut(&segment.video, row.start, after, before);
            if range.is_empty() {
                continue;
            }
            if *movie.get_or_insert_with(|| segment.movie.clone()) != segment.movie {
                return Ok(Err(Refused::Changes(row.start)));
            }
            segments.push(segment);
            ranges.push(range);
        }
        let Some(movie) = movie else {
            return Ok(Err(Refused::Nothing));
        };
        let parts = segments.iter().zip(ranges).enumerate();
        let parts: Vec<_> = parts
            .map(|(file, (segment, range))| ProgressivePart {
                file,
                tracks: vec![(&segment.video, range)],
            })
            .collect();
        let file = Progressive::new(&movie, &parts)?;
        Ok(Ok(Self { file, segments }))
    }

    /// Sends a range of it; ends early where a file cannot be read any more, so that the length is not reached.
    fn send(&self, range: Range<u64>, sender: &mpsc::Sender<std::io::Result<Bytes>>) {
        for piece in self.file.pieces(range) {
            let (file, bytes) = match piece {
                Piece::Header(range) => {
                    let header = Bytes::copy_from_slice(&self.file.header()[range]);
                    if sender.blocking_send(Ok(header)).is_err() {
                        return;
                    }
                    continue;
                }
                Piece::File { file, bytes } => (&self.segments[file].file, bytes),
            };
            let mut at = bytes.start;
            while at < bytes.end {
                let size = (bytes.end - at).min(CHUNK);
                let mut chunk = vec![0; size as usize];
                let read = file.read_exact_at(&mut chunk, at);
                let failed = read.is_err();
                let sent = sender.blocking_send(read.map(|()| chunk.into()));
                if sent.is_err() || failed {
                    return;
                }
                at += size;
            }
        }
    }
}

/// The samples from the key frame at or before `after` up to `before`.
fn cut(table: &SampleTable, start: i64, after: i64, before: i64) -> Range<usize> {
    let scale = i64::from(table.timescale.max(1));
    let (mut first, mut end) = (0, 0);
    let mut at = 0_i64;
    for (index, sample) in table.samples.iter().enumerate() {
        let time = start + at * 1000 / scale;
        if time >= before {
            break;
        }
        if sample.key && time <= after {
            first = index;
        }
        end = index + 1;
        at += i64::from(sample.duration);
    }
    first..end
}

/// `bytes=0-99`, `bytes=100-` or `bytes=-100`, cut at the end of the file.
fn one_range(range: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>().ok(), last.parse::<u64>().ok()) {
        (Some(first), Some(last)) => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return None,
    };
    (!range.is_empty()).then_some(range)
}

fn spans(segments: &[SegmentRow]) -> Vec<RecordedSpan> {
    let mut spans: Vec<RecordedSpan> = Vec::new();
    for segment in segments {
        match spans.last_mut() {
            Some(last) if segment.start - milliseconds(last.end) <= JOINS => {
                last.end = last.end.max(seconds(segment.end));
                last.bytes += segment.bytes;
            }
            _ => spans.push(RecordedSpan {
                start: seconds(segment.start),
                end: seconds(segment.end),
                bytes: segment.bytes,
            }),
        }
    }
    spans
}

/// Spans with activity. With a resolution, those of all kinds that are closer are one.
fn activity(segments: &[SegmentRow], pause: Option<i64>) -> Vec<RecordedActivity> {
    let mut found: Vec<RecordedActivity> = Vec::new();
    for segment in segments {
        for (index, group) in segment.groups.iter().enumerate() {
            if !group.motion && group.objects == 0 {
                continue;
            }
            let start = segment.start + i64::from(group.at);
            let next = segment.groups.get(index + 1);
            let end = next.map_or(segment.end, |next| segment.start + i64::from(next.at));
            match found.last_mut() {
                Some(last)
                    if (pause.is_some() || last.motion == group.motion)
                        && start - milliseconds(last.end) <= pause.unwrap_or(JOINS) =>
                {
                    last.end = seconds(end);
                    last.motion |= group.motion;
                    last.objects = last.objects.max(group.objects);
                }
                _ => found.push(RecordedActivity {
                    start: seconds(start),
                    end: seconds(end),
                    motion: group.motion,
                    objects: group.objects,
                }),
            }
        }
    }
    found
}

/// The longest pause within one entry of activity, in milliseconds.
fn pause(bucket: Option<f64>) -> Result<Option<i64>, ApiError> {
    match bucket {
        None => Ok(None),
        Some(bucket) if bucket > 0.0 && bucket <= 86_400.0 => {
            Ok(Some(milliseconds(bucket).max(JOINS)))
        }
        Some(bucket) => Err(ApiError::Parameter(format!(
            "bucket={bucket} is no resolution, expected seconds above 0, at most 86400"
        ))),
    }
}

fn span(query: &SpanQuery) -> Result<(i64, i64), ApiError> {
    let (after, before) = (query.after, query.before);
    if !after.is_finite() || !before.is_finite() || after >= before {
        return Err(ApiError::Parameter(format!(
            "after={after}&before={before} is no span, expected seconds since 1970, `after` the smaller one"
        )));
    }
    Ok((milliseconds(after), milliseconds(before)))
}

/// The recordings, where the camera has any or is configured.
async fn known(api: &Api, camera: &str) -> Result<Recordings, ApiError> {
    let recordings = api.recordings.clone().ok_or(ApiError::NoStore)?;
    if recordings.figures().contains_key(camera) || api.supervisor.camera(camera).await?.is_some() {
        Ok(recordings)
    } else {
        Err(ApiError::NoSuchCamera(camera.to_owned()))
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| ApiError::NoStore)?
        .map_err(|error| ApiError::Media(format!("recordings: {error}")))
}

fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1000.0).round() as i64
}

fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_pipelines::record::Group;

    #[test]
    fn activity_has_the_resolution_that_is_asked_for() {
        let group = |at, motion, objects| Group {
            at,
            motion,
            objects,
        };
        let groups = [
            group(0, true, 0),
            group(1_000, false, 0),
            group(2_000, true, 2),
            group(3_000, false, 1),
            group(4_000, false, 0),
        ];
        let segment = SegmentRow::of_test(0, 60_000, &groups);
        let spans = |bucket| {
            let found = activity(std::slice::from_ref(&segment), pause(bucket).unwrap());
            let spans = found.iter().map(|a| (a.start, a.end, a.motion, a.objects));
            spans.collect::<Vec<_>>()
        };
        assert_eq!(
            spans(None),
            [
                (0.0, 1.0, true, 0),
                (2.0, 3.0, true, 2),
                (3.0, 4.0, false, 1)
            ]
        );
        assert_eq!(spans(Some(1.0)), [(0.0, 4.0, true, 2)]);
        assert!(pause(Some(0.0)).is_err() && pause(Some(f64::NAN)).is_err());
    }

    #[test]
    fn a_range_is_cut_at_the_end_and_refused_behind_it() {
        assert_eq!(one_range("bytes=0-99", 50), Some(0..50));
        assert_eq!(one_range("bytes=10-", 50), Some(10..50));
        assert_eq!(one_range("bytes=-20", 50), Some(30..50));
        assert_eq!(one_range("bytes=50-", 50), None);
        assert_eq!(one_range("bytes=5-2", 50), None);
        assert_eq!(one_range("lines=1-2", 50), None);
    }
}
