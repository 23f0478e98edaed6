//! One function per kind of vector: calls ours with the inputs and compares with what Frigate gave.

use detection::{FrameSize, PixelBox};
use regiondetect_core::grid::{Cell, GRID_SIZE, RegionGrid};
use regiondetect_core::motion::{Luma, LumaLayout, MotionDetector, MotionSettings};
use regiondetect_core::reduce::{Candidate, Overlap, Reducer};
use regiondetect_core::regions::{
    box_overlaps, calculate_region, clipped, cluster_boundary, cluster_candidates, cluster_region,
    intersection, iou, reduce_boxes,
};
use serde_json::{Value, json};

use super::frames::Frames;

/// What came of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// One line per vector that did not pass.
    pub lines: Vec<String>,
    pub passed: usize,
    pub failed: usize,
    pub on_purpose: usize,
    pub unknown: usize,
}

impl Report {
    pub fn summary(&self) -> String {
        format!(
            "{} passed, {} failed, {} different on purpose, {} unknown",
            self.passed, self.failed, self.on_purpose, self.unknown
        )
    }
}

enum Outcome {
    Passed,
    Failed(String),
    OnPurpose(String),
    /// No function of ours, or an input in words this program does not read.
    Unknown(String),
}

/// What later vectors may refer to.
#[derive(Default)]
struct Context {
    frames: Option<Frames>,
    grid: Option<RegionGrid>,
}

/// Runs every vector of a file's text.
pub fn run(text: &str) -> Result<Report, String> {
    let file: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let vectors = file["vectors"]
        .as_array()
        .ok_or("no array named 'vectors'")?;
    let mut context = Context {
        // `the grid of region_grid_learn` may stand before what it refers to.
        grid: vectors
            .iter()
            .find(|v| v["fn"] == "region_grid_learn")
            .and_then(|v| learned(&v["in"])),
        ..Context::default()
    };
    let mut report = Report::default();
    for (i, vector) in vectors.iter().enumerate() {
        let name = vector["fn"].as_str().unwrap_or("?");
        let outcome = case(name, &vector["in"], &vector["out"], &mut context)
            .unwrap_or_else(|| Outcome::Failed("inputs are incomplete".to_owned()));
        let (count, word, why) = match outcome {
            Outcome::Passed => {
                report.passed += 1;
                continue;
            }
            Outcome::Failed(why) => (&mut report.failed, "FAILED", why),
            Outcome::OnPurpose(why) => (&mut report.on_purpose, "different on purpose", why),
            Outcome::Unknown(why) => (&mut report.unknown, "unknown", why),
        };
        *count += 1;
        report.lines.push(format!("{i} {name}: {word}: {why}"));
    }
    Ok(report)
}

fn case(name: &str, input: &Value, out: &Value, context: &mut Context) -> Option<Outcome> {
    let same = |ours: Value| {
        Some(if ours == *out {
            Outcome::Passed
        } else {
            Outcome::Failed(format!("{input} gives {ours}, expected {out}"))
        })
    };
    match name {
        "calculate_region" => {
            let multiplier = input["multiplier"].as_f64().unwrap_or(2.0);
            let region = calculate_region(
                frame(input)?,
                corners(&input["box"])?,
                int(&input["min_region"])?,
                multiplier,
            );
            same(list(&region))
        }
        "cluster_boundary" => same(list(&cluster_boundary(
            &pixel_box(&input["box"])?,
            int(&input["min_region"])?,
        ))),
        "cluster_candidates" => clusters(input, out),
        "region_from_grid" => {
            let grid = grid_in(input, context)?;
            let b = pixel_box(&input["box"])?;
            same(list(&grid.region_for(
                frame(input)?,
                &b,
                int(&input["min_region"])?,
            )))
        }
        "region_grid_learn" => {
            let grid = learned(input)?;
            let outcome = same_grid(&grid, &out["cells[x][y]"])?;
            context.grid = Some(grid);
            Some(outcome)
        }
        "startup_regions" => {
            let grid = grid_in(input, context)?;
            let regions = grid.startup_regions(frame(input)?, int(&input["min_region"])?);
            same(regions.map(|r| list(&r)).collect())
        }
        "box_overlaps" => same(json!(box_overlaps(
            &pixel_box(&input["a"])?,
            &pixel_box(&input["b"])?
        ))),
        "intersection" => {
            let both = intersection(&pixel_box(&input["a"])?, &pixel_box(&input["b"])?);
            same(both.map_or(Value::Null, |b| list(&b)))
        }
        "iou" => {
            let ours = iou(&pixel_box(&input["a"])?, &pixel_box(&input["b"])?);
            if (ours - out.as_f64()?).abs() < 1e-9 {
                return Some(Outcome::Passed);
            }
            same(json!(ours))
        }
        "clipped" => same(json!(clipped(
            &pixel_box(&input["box"])?,
            &pixel_box(&input["region"])?,
            frame(input)?
        ))),
        "reduce_boxes" => {
            let threshold = input["iou_threshold"].as_f64().unwrap_or(0.0);
            let joined = reduce_boxes(&boxes(&input["boxes"])?, threshold);
            same(joined.iter().map(list).collect())
        }
        "reduce_detections" => {
            let detections = input["detections(label,score,box,area,ratio,region)"]
                .as_array()
                .or_else(|| input["detections"].as_array())?;
            same(reduced(frame(input)?, detections)?)
        }
        "motion" => motion(input, out, context),
        _ => Some(Outcome::Unknown("no function of this name".to_owned())),
    }
}

fn clusters(input: &Value, out: &Value) -> Option<Outcome> {
    let (frame, min_region) = (frame(input)?, int(&input["min_region"])?);
    let boxes = boxes(&input["boxes"])?;
    let pair = |cluster: &[usize], region: Value| (cluster.to_vec(), region.to_string());
    let mut ours: Vec<_> = cluster_candidates(frame, min_region, &boxes)
        .iter()
        .map(|c| pair(c, list(&cluster_region(frame, min_region, c, &boxes))))
        .collect();
    let mut theirs = Vec::new();
    let regions = out["regions"].as_array()?;
    for (cluster, region) in out["clusters_sorted"].as_array()?.iter().zip(regions) {
        let members = cluster.as_array()?.iter().filter_map(Value::as_u64);
        let mut cluster: Vec<usize> = members.map(|i| i as usize).collect();
        cluster.sort_unstable();
        theirs.push(pair(&cluster, region.clone()));
    }
    ours.sort();
    theirs.sort();
    Some(if ours == theirs {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{input} gives {ours:?}, expected {theirs:?}"))
    })
}

fn reduced(frame: FrameSize, detections: &[Value]) -> Option<Value> {
    let mut names: Vec<&str> = Vec::new();
    let mut candidates = Vec::new();
    for detection in detections {
        let name = detection[0].as_str()?;
        let label = names.iter().position(|n| *n == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        candidates.push(Candidate {
            label: label as u16,
            score: detection[1].as_f64()? as f32,
            bbox: pixel_box(&detection[2])?,
            area: detection[3].as_f64()?,
            region: pixel_box(&detection[5])?,
        });
    }
    let mut kept = Vec::new();
    let overlap = |label| Overlap::of(names[usize::from(label)]);
    Reducer::new().reduce(frame, &candidates, overlap, &mut kept);
    Some(kept.into_iter().map(|i| detections[i].clone()).collect())
}

fn learned(input: &Value) -> Option<RegionGrid> {
    let (width, height) = (size(&input["width"])?, size(&input["height"])?);
    let min_region = int(&input["min_region_size"]).or_else(|| int(&input["min_region"]))?;
    let mut grid = RegionGrid::new();
    for b in input["relative_boxes_xywh"].as_array()? {
        let (x, y, w, h) = corners(b)?;
        let (fw, fh) = (f64::from(width), f64::from(height));
        let corners = (x * fw, y * fh, (x + w) * fw, (y + h) * fh);
        grid.learn(FrameSize::new(width, height), corners, min_region);
    }
    Some(grid)
}

fn same_grid(grid: &RegionGrid, cells: &Value) -> Option<Outcome> {
    for x in 0..GRID_SIZE {
        for y in 0..GRID_SIZE {
            let (ours, theirs) = (grid.cell(x, y)?, &cells[x][y]);
            let near = |a: f64, b: &Value| b.as_f64().is_some_and(|b| (a - b).abs() < 1e-4);
            let count = theirs["n"].as_u64()?;
            let equal = ours.count == count
                && (count == 0
                    || near(ours.mean, &theirs["mean"]) && near(ours.std_dev, &theirs["std_dev"]));
            if !equal {
                return Some(Outcome::Failed(format!(
                    "cell x={x} y={y} is {ours:?}, expected {theirs}"
                )));
            }
        }
    }
    Some(Outcome::Passed)
}

/// The grid a vector names: single cells as `grid[x=3][y=5]`, all of them, or the one learned in this file.
fn grid_in(input: &Value, context: &Context) -> Option<RegionGrid> {
    let mut grid = RegionGrid::new();
    let mut given = false;
    for (key, value) in input.as_object()? {
        if let Some(place) = key.strip_prefix("grid[x=") {
            let (x, y) = place.strip_suffix(']')?.split_once("][y=")?;
            grid.set_cell(x.parse().ok()?, y.parse().ok()?, cell(value)?)
                .ok()?;
            given = true;
        }
    }
    if given {
        return Some(grid);
    }
    match &input["grid"] {
        Value::String(_) => context.grid.clone(),
        Value::Null => Some(grid),
        all => {
            let columns = all.get("cells[x][y]").unwrap_or(all).as_array()?;
            for (x, column) in columns.iter().enumerate() {
                for (y, value) in column.as_array()?.iter().enumerate() {
                    grid.set_cell(x, y, cell(value)?).ok()?;
                }
            }
            Some(grid)
        }
    }
}

fn cell(value: &Value) -> Option<Cell> {
    let count = match value["sizes"].as_array() {
        Some(sizes) => sizes.len() as u64,
        None => value["n"].as_u64().unwrap_or(0),
    };
    if count == 0 {
        return Some(Cell::default());
    }
    Some(Cell {
        count,
        mean: value["mean"].as_f64()?,
        std_dev: value["std_dev"].as_f64()?,
    })
}

/// Rules for what differs on purpose, by Frigate's defects:
///
/// * 1: after a frame over the skip threshold Frigate leaves its average as it is and may never recover; ours learns from
///   that frame. From the first skipped frame on, average, boxes and calibration may differ.
/// * 2: Frigate calibrates for as long as more than 5% of the picture or more than 4 places move; ours says so for 50 frames
///   at most. Only the flag differs, never boxes or average.
fn motion(input: &Value, out: &Value, context: &mut Context) -> Option<Outcome> {
    let Some(text) = input["frame"].as_str() else {
        return Some(Outcome::Unknown(
            "frames that are not described in words".to_owned(),
        ));
    };
    let frames = match (text, &context.frames) {
        ("same", Some(frames)) => frames.clone(),
        _ => match Frames::parse(text) {
            Some(frames) => frames,
            None => return Some(Outcome::Unknown(format!("cannot read '{text}'"))),
        },
    };
    context.frames = Some(frames.clone());
    let settings = match motion_settings(input) {
        Ok(settings) => settings,
        Err(key) => return Some(Outcome::Unknown(format!("setting '{key}'"))),
    };
    let size = FrameSize::new(frames.width as u32, frames.height as u32);
    let mut detector = MotionDetector::new(settings, size)?;
    let mut plane = vec![0; frames.width * frames.height];
    let mut skipped = false;
    let mut on_purpose = None;
    for (n, expected) in out.as_array()?.iter().enumerate() {
        frames.paint(n as i64, &mut plane)?;
        let luma = Luma::new(
            &plane,
            frames.width,
            frames.width,
            frames.height,
            LumaLayout::PLANE,
        );
        let found = detector.process(&luma.ok()?);
        let ours: Vec<PixelBox> = found.boxes.to_vec();
        let calibrating = found.calibrating;
        skipped |= found.skipped;
        let mut theirs = boxes(&expected["boxes"])?;
        theirs.sort_unstable();
        let their_mean = expected["avg_mean"]
            .as_f64()
            .unwrap_or(detector.average_mean());
        let same_boxes = ours == theirs;
        let same_mean = (detector.average_mean() - their_mean).abs() < 2e-3;
        let same_flag = expected["calibrating"]
            .as_bool()
            .is_none_or(|c| c == calibrating);
        let learning = expected["calibrating"].as_bool() == Some(detector.is_learning());
        let here = format!(
            "frame {n} has {ours:?} calibrating={calibrating} average {:.4}, expected {expected}",
            detector.average_mean()
        );
        match (same_boxes && same_mean, same_flag) {
            (true, true) => {}
            (true, false) if learning && !calibrating && !skipped => {
                on_purpose.get_or_insert(format!("calibration ends (defect 2): {here}"));
            }
            _ if skipped => {
                on_purpose.get_or_insert(format!("learns from skipped frames (defect 1): {here}"));
            }
            _ => return Some(Outcome::Failed(here)),
        }
    }
    Some(on_purpose.map_or(Outcome::Passed, Outcome::OnPurpose))
}

fn motion_settings(input: &Value) -> Result<MotionSettings, String> {
    let mut settings = MotionSettings::default();
    for (key, value) in input.as_object().into_iter().flatten() {
        match (key.as_str(), value.as_f64(), value.as_bool()) {
            ("frame", ..) => {}
            ("skip_motion_threshold", number, _) if number.is_some() || value.is_null() => {
                settings.skip_motion_threshold = number;
            }
            ("threshold", Some(v), _) => settings.threshold = v as u8,
            ("contour_area", Some(v), _) => settings.contour_area = v,
            ("frame_height", Some(v), _) => settings.frame_height = v as u32,
            ("frame_alpha", Some(v), _) => settings.frame_alpha = v as f32,
            ("lightning_threshold", Some(v), _) => settings.lightning_threshold = v,
            ("improve_contrast", _, Some(v)) => settings.improve_contrast = v,
            _ => return Err(format!("{key}: {value}")),
        }
    }
    Ok(settings)
}

fn int(value: &Value) -> Option<i32> {
    value.as_f64().map(|v| v as i32)
}

fn size(value: &Value) -> Option<u32> {
    u32::try_from(int(value)?).ok()
}

fn frame(input: &Value) -> Option<FrameSize> {
    let hw = &input["frame_hw"];
    Some(FrameSize::new(size(&hw[1])?, size(&hw[0])?))
}

fn corners(value: &Value) -> Option<(f64, f64, f64, f64)> {
    let at = |i: usize| value[i].as_f64();
    Some((at(0)?, at(1)?, at(2)?, at(3)?))
}

fn pixel_box(value: &Value) -> Option<PixelBox> {
    let at = |i: usize| int(&value[i]);
    Some(PixelBox::new(at(0)?, at(1)?, at(2)?, at(3)?))
}

fn boxes(value: &Value) -> Option<Vec<PixelBox>> {
    value.as_array()?.iter().map(pixel_box).collect()
}

fn list(b: &PixelBox) -> Value {
    json!([b.x1, b.y1, b.x2, b.y2])
}
