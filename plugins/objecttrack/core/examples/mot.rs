//! Runs the tracker over a MOTChallenge detection file.
//!
//! ```text
//! mot DET OUT [--fps N] [--regions FILE] [--min-score S]
//! ```
//!
//! DET: `frame,-1,x,y,w,h,score,...`; OUT: `frame,id,x,y,w,h,score,-1,-1,-1`; FILE: `frame,x,y,w,h`, the parts of each frame the
//! detector looked at (a frame without a line was not looked at; without FILE every frame was looked at whole).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use detection::{BBox, Detection};
use objecttrack_core::{LookedAt, Params, Tracker};

struct Args {
    det: String,
    out: String,
    fps: f64,
    regions: Option<String>,
    min_score: f32,
}

fn main() {
    if let Err(problem) = parse().and_then(|args| run(&args)) {
        eprintln!("mot: {problem}");
        eprintln!("usage: mot DET OUT [--fps N] [--regions FILE] [--min-score S]");
        std::process::exit(2);
    }
}

fn parse() -> Result<Args, String> {
    let (mut files, mut fps, mut regions, mut min_score) = (Vec::new(), 25.0, None, 0.0);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--fps" => fps = number(&value()?)?,
            "--regions" => regions = Some(value()?),
            "--min-score" => min_score = number(&value()?)? as f32,
            _ if word.starts_with("--") => return Err(format!("unknown option {word}")),
            _ => files.push(word),
        }
    }
    if fps.is_nan() || fps <= 0.0 {
        return Err(format!("--fps {fps}: expected a number above 0"));
    }
    let [det, out] = <[String; 2]>::try_from(files)
        .map_err(|f| format!("expected DET and OUT, found {} names", f.len()))?;
    Ok(Args {
        det,
        out,
        fps,
        regions,
        min_score,
    })
}

fn number(text: &str) -> Result<f64, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("\"{text}\" is not a number"))
}

/// Rows of numbers, at least `least` in each.
fn rows(path: &str, least: usize) -> Result<Vec<Vec<f64>>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let mut all = Vec::new();
    for (n, line) in text
        .lines()
        .enumerate()
        .filter(|(_, l)| !l.trim().is_empty())
    {
        let row: Vec<f64> = line
            .split(',')
            .map(number)
            .collect::<Result<_, _>>()
            .map_err(|e| format!("{path}:{}: {e}", n + 1))?;
        if row.len() < least {
            return Err(format!(
                "{path}:{}: expected {least} columns, found {}",
                n + 1,
                row.len()
            ));
        }
        all.push(row);
    }
    Ok(all)
}

fn run(args: &Args) -> Result<(), String> {
    let mut frames: BTreeMap<u64, Vec<Detection>> = BTreeMap::new();
    for r in rows(&args.det, 7)? {
        let score = r[6] as f32;
        if score >= args.min_score {
            let bbox = BBox::from_xywh(r[2] as f32, r[3] as f32, r[4] as f32, r[5] as f32);
            frames.entry(r[0] as u64).or_default().push(Detection {
                bbox,
                label: 0,
                score,
            });
        }
    }
    let mut looked: Option<BTreeMap<u64, Vec<BBox>>> = None;
    if let Some(path) = &args.regions {
        let mut by_frame: BTreeMap<u64, Vec<BBox>> = BTreeMap::new();
        for r in rows(path, 5)? {
            let region = BBox::from_xywh(r[1] as f32, r[2] as f32, r[3] as f32, r[4] as f32);
            by_frame.entry(r[0] as u64).or_default().push(region);
        }
        looked = Some(by_frame);
    }
    let last = frames
        .keys()
        .chain(looked.iter().flat_map(BTreeMap::keys))
        .max()
        .copied()
        .unwrap_or(0);
    let mut tracker = Tracker::new(Params::default());
    let (mut out, mut spent) = (String::new(), Vec::new());
    for frame in 1..=last {
        let detections = frames.get(&frame).map_or(&[][..], Vec::as_slice);
        let at = match &looked {
            None => LookedAt::Everything,
            Some(l) => LookedAt::Regions(l.get(&frame).map_or(&[][..], Vec::as_slice)),
        };
        let start = Instant::now();
        let tracks = tracker.step((frame - 1) as f64 / args.fps, detections, at);
        spent.push(start.elapsed().as_secs_f64() * 1e6);
        for t in tracks.iter().filter(|t| t.shown) {
            let b = t.track.bbox;
            writeln!(
                out,
                "{frame},{},{:.2},{:.2},{:.2},{:.2},{:.3},-1,-1,-1",
                t.track.id,
                b.x1,
                b.y1,
                b.width(),
                b.height(),
                t.track.score
            )
            .map_err(|e| e.to_string())?;
        }
    }
    std::fs::write(&args.out, out).map_err(|e| format!("{}: {e}", args.out))?;
    // The median is what the work costs; the mean also has what else the machine did meanwhile.
    let mean = spent.iter().sum::<f64>() / spent.len().max(1) as f64;
    spent.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| {
        spent
            .get((spent.len() as f64 * share) as usize)
            .copied()
            .unwrap_or(0.0)
    };
    println!(
        "{last} frames, {:.2} us per frame (median; mean {mean:.2}, 99% below {:.2}), {} ids",
        at(0.5),
        at(0.99),
        tracker.next_id() - 1
    );
    Ok(())
}
