//! How many inferences a frame costs and what is found with them: `make eval`.
//!
//! Runs `motiondetect ! regiondetect ! objecttrack` over the walking clip and over a crowd made of its people, and compares
//! with the same model on every part of every frame: on the clip the whole frame (the walk-throughs) and 416-pixel tiles
//! with 20% overlap, on the crowd the tiles. A person counts as found where a track lies, looked at in that frame or not.
//!
//! `eval [walk] [crowd] ["distant crowd"] [PROPERTIES of regiondetect ...]`; each text of properties is one more run, such as
//! `"min-object=60 max-inferences=25"`.

mod crowd;
mod footage;
mod reference;

use std::process::ExitCode;

use detection::BBox;

use footage::{Frame, Outcome, Run};
use reference::Reference;

/// From this score on a person of the reference counts.
const SURE: f32 = 0.5;
/// Overlap from which on a track is where a person is.
const SAME: f32 = 0.5;
/// Every so many frames of the clip are compared with tiles.
const SAMPLE: usize = 5;
/// The crowds, and how large their people are; the targets are for the first.
const CROWDS: [(&str, f32); 2] = [("crowd", 1.0), ("distant crowd", 0.6)];
/// Frames of the crowd, at 5 per second.
const CROWD_FRAMES: usize = 150;

fn main() -> ExitCode {
    match evaluate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("eval: {text}");
            ExitCode::FAILURE
        }
    }
}

fn evaluate() -> Result<(), String> {
    footage::init()?;
    let model = shared("models/yolox_nano.onnx")?;
    let clip = shared("media/one-by-one-person-detection.mp4")?;
    let mut parts = vec!["walk"];
    parts.extend(CROWDS.map(|(part, _)| part));
    let mut runs = Vec::new();
    let mut only = Vec::new();
    for arg in std::env::args().skip(1) {
        match arg.as_str() {
            part if parts.contains(&part) => only.push(arg.clone()),
            _ => runs.push(arg),
        }
    }
    if !only.is_empty() {
        parts.retain(|part| only.iter().any(|o| o == part));
    }
    if runs.is_empty() {
        runs.push(String::new());
    }
    let mut reference = Reference::open(&model)?;
    let mut cache = Cache::open();
    let walk = parts.contains(&"walk");
    // The people of the crowd are cut out where the whole-frame pass finds them, so both parts begin with it.
    if cache.whole.is_empty() {
        println!("reference: the whole frame of the clip ...");
        footage::decode(&clip, |frame: &Frame| {
            cache.whole.push(reference.whole_frame(frame)?);
            Ok(())
        })?;
        cache.save()?;
    }
    if walk && cache.clip_tiles.is_empty() {
        println!("reference: tiles of every {SAMPLE}th frame of the clip ...");
        let mut n = 0;
        footage::decode(&clip, |frame: &Frame| {
            let sampled = n % SAMPLE == 0;
            n += 1;
            cache.clip_tiles.push(match sampled {
                true => Some(reference.tiles(frame)?),
                false => None,
            });
            Ok(())
        })?;
        cache.save()?;
    }
    if walk {
        let whole = &cache.whole;
        let walks = walk_throughs(whole, footage::CLIP_FPS);
        println!(
            "the walking clip: {} frames, {} walk-throughs of at least 1 s (person at {SURE} or more in the whole frame)",
            whole.len(),
            walks.len()
        );
        for run in &runs {
            let ours = footage::run_clip(&clip, &model, run)?;
            report_walk(run, &ours, whole, &cache.clip_tiles, &walks);
        }
    }
    for (part, size) in CROWDS {
        if !parts.contains(&part) {
            continue;
        }
        let scene = crowd::Scene::new(crowd::People::of(&clip, &cache.whole)?, 35, size, 7);
        let frames: Vec<Frame> = (0..CROWD_FRAMES).map(|n| scene.render(n)).collect();
        if let Ok(path) = std::env::var("EVAL_DUMP") {
            footage::dump(&frames[CROWD_FRAMES / 2], &format!("{path}/{part}.png"))?;
        }
        if !cache.crowd_tiles.contains_key(part) {
            println!("reference: tiles of the {part} ...");
            let tiles: Result<Vec<_>, _> = frames
                .iter()
                .map(|f| reference.tiles(f).map(Some))
                .collect();
            cache.crowd_tiles.insert(part.to_owned(), tiles?);
            cache.save()?;
        }
        let tiles = &cache.crowd_tiles[part];
        let per_frame =
            tiles.iter().flatten().map(Vec::len).sum::<usize>() as f64 / frames.len() as f64;
        println!(
            "the {part}: {} frames of 35 people at 1280x720, 5 per second, {:.0} to {:.0} pixels high; {} tiles find {per_frame:.1} people per frame",
            frames.len(),
            90.0 * size,
            190.0 * size,
            reference.tile_count(&frames[0]),
        );
        for run in &runs {
            report_crowd(run, &footage::run_frames(&frames, &model, run)?, tiles);
        }
    }
    Ok(())
}

/// What the reference finds. It costs most of the time, so while a plan is tuned it can be kept in the file `EVAL_CACHE`.
#[derive(Default, serde::Serialize, serde::Deserialize)]
struct Cache {
    whole: Vec<Vec<BBox>>,
    clip_tiles: Vec<Option<Vec<BBox>>>,
    crowd_tiles: std::collections::BTreeMap<String, Vec<Option<Vec<BBox>>>>,
}

impl Cache {
    fn open() -> Self {
        std::env::var("EVAL_CACHE")
            .ok()
            .and_then(|path| std::fs::read(path).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    fn save(&self) -> Result<(), String> {
        let Ok(path) = std::env::var("EVAL_CACHE") else {
            return Ok(());
        };
        let text = serde_json::to_string(self).map_err(|e| e.to_string())?;
        std::fs::write(&path, text).map_err(|e| format!("{path}: {e}"))
    }
}

fn report_walk(
    run: &str,
    ours: &Run,
    whole: &[Vec<BBox>],
    tiles: &[Option<Vec<BBox>>],
    walks: &[std::ops::Range<usize>],
) {
    let (ours, cpu) = (&ours.frames, &ours.cpu);
    let inferences = inferences(ours);
    println!("  [{run}] {}", ours.last().map_or("", |o| &o.reasons));
    println!("    {inferences:.3} inferences per frame (target 0.9, Frigate 1.8)");
    println!(
        "    {:.3} ms of CPU per frame for everything but inference (target 0.3, Frigate 1.65 to 2.1): {}",
        cpu.own(),
        parts(cpu)
    );
    let mut found_walks = 0;
    for walk in walks {
        let with_track = walk
            .clone()
            .filter(|n| recall_of(&whole[*n], &ours[*n].tracks).0 > 0)
            .count();
        let share = with_track as f64 / walk.len() as f64;
        println!(
            "    walk-through in frames {}..{}: a track on the person in {:.0}% of them",
            walk.start,
            walk.end,
            share * 100.0
        );
        found_walks += usize::from(share >= 0.5);
    }
    println!(
        "    {found_walks} of {} walk-throughs found (in at least half of their frames)",
        walks.len()
    );
    println!(
        "    {:.1}% of what the tiles find in every {SAMPLE}th frame are tracks",
        recall(tiles, ours) * 100.0
    );
}

fn report_crowd(run: &str, ours: &Run, tiles: &[Option<Vec<BBox>>]) {
    let (ours, cpu) = (&ours.frames, &ours.cpu);
    let inferences = inferences(ours);
    println!("  [{run}] {}", ours.last().map_or("", |o| &o.reasons));
    println!("    {inferences:.3} inferences per frame (target 5, Frigate 13.4)");
    println!(
        "    {:.3} ms of CPU per frame for everything but inference: {}",
        cpu.own(),
        parts(cpu)
    );
    println!(
        "    {:.1}% of what the tiles find in each frame are tracks (target 90)",
        recall(tiles, ours) * 100.0
    );
    let late = ours.len() / 5;
    println!(
        "    {:.1}% without the first {late} frames",
        recall(&tiles[late..], &ours[late..]) * 100.0
    );
    let ids: std::collections::BTreeSet<i32> = ours
        .iter()
        .flat_map(|o| o.tracks.iter().map(|t| t.0))
        .collect();
    let tracks = ours.iter().map(|o| o.tracks.len()).sum::<usize>() as f64 / ours.len() as f64;
    println!("    {tracks:.1} tracks per frame, {} ids in all", ids.len());
}

fn parts(cpu: &footage::Cpu) -> String {
    let [motion, detect, track] = cpu.elements;
    format!(
        "motiondetect {motion:.3}, regiondetect {detect:.3} and {:.3} for the model's output, objecttrack {track:.3}; besides {:.3} for the queue and the appsink around them",
        cpu.decode, cpu.around
    )
}

/// Inferences per frame.
fn inferences(ours: &[Outcome]) -> f64 {
    let last = ours.last().map_or(0, |outcome| outcome.inferences);
    last as f64 / ours.len().max(1) as f64
}

/// Share of the reference's people that are tracks, over all frames that have a reference.
fn recall(reference: &[Option<Vec<BBox>>], ours: &[Outcome]) -> f64 {
    let (mut found, mut all) = (0, 0);
    for (people, outcome) in reference.iter().zip(ours) {
        let Some(people) = people else { continue };
        let (f, a) = recall_of(people, &outcome.tracks);
        found += f;
        all += a;
    }
    found as f64 / f64::from(all.max(1) as u32)
}

/// How many of the people have a track of their own, and how many there are.
fn recall_of(people: &[BBox], tracks: &[(i32, BBox)]) -> (usize, usize) {
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    for (p, person) in people.iter().enumerate() {
        for (t, (_, track)) in tracks.iter().enumerate() {
            let iou = person.iou(track);
            if iou >= SAME {
                pairs.push((iou, p, t));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut taken_people, mut taken_tracks) =
        (vec![false; people.len()], vec![false; tracks.len()]);
    for (_, p, t) in pairs {
        if !taken_people[p] && !taken_tracks[t] {
            taken_people[p] = true;
            taken_tracks[t] = true;
        }
    }
    (
        taken_people.iter().filter(|taken| **taken).count(),
        people.len(),
    )
}

/// Runs of frames with a person, gaps up to 1 s included, of at least 1 s.
fn walk_throughs(whole: &[Vec<BBox>], fps: usize) -> Vec<std::ops::Range<usize>> {
    let mut walks: Vec<std::ops::Range<usize>> = Vec::new();
    for (n, found) in whole.iter().enumerate() {
        if found.is_empty() {
            continue;
        }
        match walks.last_mut() {
            Some(walk) if n - walk.end <= fps => walk.end = n + 1,
            _ => walks.push(n..n + 1),
        }
    }
    walks.retain(|walk| walk.len() >= fps);
    walks
}

fn shared(path: &str) -> Result<std::path::PathBuf, String> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    match file.exists() {
        true => Ok(file),
        false => Err(format!("{} is not there", file.display())),
    }
}
