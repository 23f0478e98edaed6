//! `watchpost recordings`: a day of a camera's footage, asked of a running watchpost.

use std::process::ExitCode;

use anyhow::{Context, Result};
use watchpost::config::Bytes;
use watchpost_api::{Recordings, SpanQuery};
use watchpost_pipelines::record::segment_start;

use super::client::{self, Place};
use crate::table::plain;

const DAY: f64 = 86_400.0;

/// Arguments of `recordings`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The camera.
    camera: String,
    /// The day, as YYYY-MM-DD in UTC like the folders of the files; without it today.
    #[arg(long, value_parser = day)]
    day: Option<f64>,
    /// The answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

/// Asks, and prints the table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let address = args.place.address()?;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    let today = (now.as_secs_f64() / DAY).floor() * DAY;
    let after = args.day.unwrap_or(today);
    let span = SpanQuery {
        after,
        before: after + DAY,
        bucket: None,
    };
    let path = format!(
        "/api/cameras/{}/recordings?{}",
        args.camera,
        client::query(&span)?
    );
    let body = client::get(address, &path, args.place.token())?;
    if args.json {
        println!("{}", body.trim());
        return Ok(ExitCode::SUCCESS);
    }
    let found: Recordings = serde_json::from_str(&body)
        .with_context(|| format!("the answer of {address} is not a watchpost's"))?;
    for line in lines(&found, after) {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Footage and gaps in the order of their times, and the sum.
fn lines(found: &Recordings, day: f64) -> Vec<String> {
    let row = |start: f64, end: f64, what: &str| {
        let length = format!("{:.1} s", end - start);
        let (start, end) = (clock(start - day), clock(end - day));
        format!("{start:<12} {end:<12} {length:<10} {what}")
    };
    let spans = found.spans.iter().map(|span| {
        let bytes = Bytes(span.bytes).to_string();
        (span.start, row(span.start, span.end, &bytes))
    });
    let gaps = found.gaps.iter().map(|gap| {
        let reason = format!("gap: {}", plain(&gap.reason));
        (gap.start, row(gap.start, gap.end, &reason))
    });
    let mut rows: Vec<_> = spans.chain(gaps).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut lines = vec!["FROM (UTC)   TO           LENGTH     SIZE".to_owned()];
    lines.extend(rows.into_iter().map(|(_, row)| row));
    let seconds: f64 = found.spans.iter().map(|span| span.end - span.start).sum();
    let bytes = Bytes(found.spans.iter().map(|span| span.bytes).sum());
    let gaps = found.gaps.len();
    lines.push(format!(
        "{seconds:.1} s of footage, {bytes}, gaps with a reason: {gaps}"
    ));
    lines
}

/// A time of the day. Footage that reaches over midnight begins on the day before.
fn clock(seconds: f64) -> String {
    let of_day = seconds.rem_euclid(DAY);
    let whole = of_day as u64;
    let sign = match seconds {
        s if s < 0.0 => "-1d ",
        s if s >= DAY => "+1d ",
        _ => "",
    };
    let (hour, minute, second) = (whole / 3600, whole / 60 % 60, whole % 60);
    format!("{sign}{hour:02}:{minute:02}:{second:02}")
}

/// Seconds from 1970 to the start of a day.
fn day(text: &str) -> Result<f64, String> {
    // The name of the first segment that a day may have.
    let start = segment_start(&format!("{text}/00/00-00.000.mp4"));
    start
        .map(|milliseconds| milliseconds as f64 / 1000.0)
        .ok_or_else(|| "expected a day of the calendar as YYYY-MM-DD".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use watchpost_api::{RecordedSpan, RecordingGap};

    #[test]
    fn a_day_is_one_of_the_calendar() {
        assert_eq!(day("1970-01-02"), Ok(DAY));
        for text in ["2026-02-30", "2026-2-3", "today", "", "../2026-01-01x"] {
            assert!(day(text).is_err(), "{text}");
        }
    }

    #[test]
    fn footage_and_gaps_are_in_order_with_the_sum_below() {
        let found = Recordings {
            spans: vec![
                RecordedSpan {
                    start: DAY - 2.0,
                    end: DAY + 61.5,
                    bytes: 3 << 19,
                },
                RecordedSpan {
                    start: DAY + 70.0,
                    end: DAY + 80.0,
                    bytes: 1 << 19,
                },
            ],
            gaps: vec![RecordingGap {
                start: DAY + 61.5,
                end: DAY + 70.0,
                reason: "the camera was away".into(),
            }],
            activity: Vec::new(),
        };
        assert_eq!(
            lines(&found, DAY),
            [
                "FROM (UTC)   TO           LENGTH     SIZE",
                "-1d 23:59:58 00:01:01     63.5 s     1.5 MiB",
                "00:01:01     00:01:10     8.5 s      gap: the camera was away",
                "00:01:10     00:01:20     10.0 s     512 KiB",
                "73.5 s of footage, 2 MiB, gaps with a reason: 1",
            ]
        );
    }
}
