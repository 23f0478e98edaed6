//! Motion and crop-to-tensor beside OpenCV doing the same (`opencv.py`), one after the other in one run, the best time of
//! each: that is the one least disturbed by others on the machine.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use detection::{FrameSize, PixelBox};
use regiondetect_core::motion::{Luma, LumaLayout, MotionDetector, MotionSettings};
use regiondetect_core::regions::Placement;
use regiondetect_core::tensor::{
    ChannelOrder, ChromaSite, Colour, Cropper, Layout, Picture, PixelFormat, Plane, TensorMut,
    TensorSpec,
};

#[path = "scene/mod.rs"]
mod scene;

const INPUT: usize = 416;

/// Milliseconds by name.
type Times = BTreeMap<String, f64>;

fn main() {
    let mut ours = Times::new();
    measure(&mut ours);
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/opencv.py");
    let output = Command::new(&python).arg(script).output();
    let theirs: Times = match &output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout)
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter_map(|(name, ms)| Some((name.to_owned(), ms.parse().ok()?)))
            .collect(),
        failed => {
            let why = failed.as_ref().map_or_else(
                |error| error.to_string(),
                |output| String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            );
            println!("opencv: not compared, {python} has no OpenCV ({why});");
            println!(
                "opencv: `pip install opencv-python-headless` somewhere and name its Python in PYTHON"
            );
            Times::new()
        }
    };
    // Once more, so that both had the machine before and after.
    measure(&mut ours);
    let version = theirs.keys().find_map(|name| name.strip_prefix("version "));
    println!(
        "one thread, best of many, ms; OpenCV {}",
        version.unwrap_or("not there")
    );
    for (name, ms) in &ours {
        let beside = |name: &str| match theirs.get(name) {
            Some(theirs) => format!("{theirs:8.3} ({:.2})", ms / theirs),
            None => String::from("       -"),
        };
        let split = match name.strip_prefix("f32 ") {
            Some(side) if !theirs.is_empty() => {
                format!("  by split {}", beside(&format!("f32 split {side}")))
            }
            _ => String::new(),
        };
        println!("{name:14} ours {ms:6.3}  OpenCV {}{split}", beside(name));
    }
}

fn best(times: &mut Times, name: String, rounds: usize, mut work: impl FnMut(usize)) {
    let mut least = Duration::MAX;
    for n in 0..rounds {
        let start = Instant::now();
        work(n);
        least = least.min(start.elapsed());
    }
    let time = times.entry(name).or_insert(f64::INFINITY);
    *time = time.min(least.as_secs_f64() * 1e3);
}

fn measure(times: &mut Times) {
    for (name, width, height) in [("720p", 1280, 720), ("1080p", 1920, 1080)] {
        let frames: Vec<_> = (0..16).map(|n| scene::frame(width, height, n)).collect();
        let size = FrameSize::new(width as u32, height as u32);
        let mut detector = MotionDetector::new(MotionSettings::default(), size).expect("a size");
        best(times, format!("motion {name}"), 300, |n| {
            let luma = Luma::new(&frames[n % 16], width, width, height, LumaLayout::PLANE);
            black_box(detector.process(&luma.expect("a plane")).share);
        });
    }
    crops(times);
}

fn crops(times: &mut Times) {
    const WIDTH: usize = 1920;
    const HEIGHT: usize = 1080;
    let (luma, chroma) = (
        scene::noise(WIDTH * HEIGHT),
        scene::noise(WIDTH * HEIGHT / 2),
    );
    let plane = |data, stride| Plane { data, stride };
    let (u, v) = chroma.split_at(chroma.len() / 2);
    let planes = [
        plane(&luma[..], WIDTH),
        plane(u, WIDTH / 2),
        plane(v, WIDTH / 2),
    ];
    let picture = Picture::new(
        PixelFormat::I420,
        WIDTH,
        HEIGHT,
        &planes,
        Colour::default(),
        ChromaSite::default(),
    )
    .expect("planes of the right size");
    let spec = TensorSpec {
        width: INPUT,
        height: INPUT,
        layout: Layout::Nchw,
        order: ChannelOrder::Bgr,
        scale: [1.0; 3],
        bias: [0.0; 3],
        padding: 114,
    };
    let pixels = TensorSpec {
        layout: Layout::Nhwc,
        ..spec
    };
    let (mut floats, mut bytes) = (vec![0.0; spec.len()], vec![0; spec.len()]);
    let mut cropper = Cropper::default();
    for side in [320, 416, 640, 1080] {
        let x = 200.min(WIDTH as i32 - side);
        let placement = Placement {
            source: PixelBox::new(x, 0, x + side, side),
            dest: PixelBox::new(0, 0, INPUT as i32, INPUT as i32),
        };
        best(times, format!("f32 {side}"), 150, |_| {
            let out = TensorMut::F32(black_box(&mut floats));
            cropper.fill(&picture, &[placement], &spec, out);
        });
        best(times, format!("u8 {side}"), 150, |_| {
            let out = TensorMut::U8(black_box(&mut bytes));
            cropper.fill(&picture, &[placement], &pixels, out);
        });
    }
}
