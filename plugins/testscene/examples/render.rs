//! Renders test scenes, for training the demo model and for looking at them:
//!
//! `render frames SPEC WIDTHxHEIGHT FROM STEP COUNT` writes raw I420 frames to standard output, one moment of the scene
//! after the other (in seconds), and the truth about each as a line on standard error.
//!
//! `render samples FIRST_SEED SEEDS SIZE SCENE` writes training samples to standard output: random square crops of
//! random moments of random scenes, scaled to SIZE pixels as a detector's input is, what lies outside the frame filled
//! with 114. SCENE is `walkers`, `parking`, `empty` or `mixed`. A sample is SIZE * SIZE * 3 bytes RGB, then 16 boxes of
//! six little-endian floats: class (0 person, 1 car, -1 no box), x1, y1, x2, y2 in pixels of the sample, and the share
//! of the figure that can be seen.
//!
//! `render time SPEC WIDTHxHEIGHT` prints what painting a frame costs.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use gsttestscene::scene::{I420Mut, Scene, SceneKind, Script, Truth};

/// Crops taken from one scene: a new background costs as much as many frames.
const CROPS_PER_SEED: usize = 24;
const BOXES: usize = 16;
const SIZES: [(u32, u32); 7] = [
    (640, 360),
    (1280, 720),
    (640, 480),
    (768, 432),
    (320, 180),
    (854, 480),
    (480, 640),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        ["frames", spec, size, from, step, count] => {
            frames(spec, size, number(from), number(step), number(count) as u32)
        }
        ["samples", first, seeds, size, scene] => samples(
            number(first) as u64,
            number(seeds) as u64,
            number(size) as usize,
            scene,
        ),
        ["time", spec, size] => time(spec, size),
        _ => {
            eprintln!(
                "usage: render frames SPEC WIDTHxHEIGHT FROM STEP COUNT | render samples FIRST_SEED SEEDS SIZE SCENE | \
                 render time SPEC WIDTHxHEIGHT"
            );
            std::process::exit(2);
        }
    };
    if let Err(error) = done {
        // A reader that has enough closes the pipe.
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("render: {error}");
            std::process::exit(1);
        }
    }
}

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| {
        eprintln!("render: \"{text}\" is no number");
        std::process::exit(2);
    })
}

fn open(spec: &str, size: &str) -> io::Result<(Scene, Frame)> {
    let script: Script = spec.parse().map_err(io::Error::other)?;
    let (width, height) = size.split_once('x').unwrap_or((size, size));
    let scene = Scene::new(&script, number(width) as u32, number(height) as u32);
    let frame = Frame::new(&scene);
    Ok((scene, frame))
}

/// An I420 picture without padding.
struct Frame {
    width: usize,
    height: usize,
    data: Vec<u8>,
}

impl Frame {
    fn new(scene: &Scene) -> Self {
        let (width, height) = (scene.width(), scene.height());
        Self {
            width,
            height,
            data: vec![0; width * height * 3 / 2],
        }
    }

    fn render(&mut self, scene: &Scene, at: Duration) {
        let (width, height) = (self.width, self.height);
        let (y, chroma) = self.data.split_at_mut(width * height);
        let (u, v) = chroma.split_at_mut(width * height / 4);
        scene.render(
            at,
            &mut I420Mut {
                width,
                height,
                planes: [y, u, v],
                strides: [width, width / 2, width / 2],
            },
        );
    }

    fn plane(&self, plane: usize) -> (&[u8], usize, usize) {
        let luma = self.width * self.height;
        let start = [0, luma, luma + luma / 4][plane];
        if plane == 0 {
            (&self.data[..luma], self.width, self.height)
        } else {
            (
                &self.data[start..start + luma / 4],
                self.width / 2,
                self.height / 2,
            )
        }
    }

    /// A value between pixels; `x` and `y` in pixels of the luma plane.
    fn sample(&self, plane: usize, x: f32, y: f32, smooth: bool) -> f32 {
        let (data, width, height) = self.plane(plane);
        let scale = if plane == 0 { 1.0 } else { 0.5 };
        let clamp = |value: f32, size: usize| value.clamp(0.0, (size - 1) as f32);
        if !smooth {
            let (x, y) = (
                clamp((x * scale).floor(), width) as usize,
                clamp((y * scale).floor(), height) as usize,
            );
            return f32::from(data[y * width + x]);
        }
        let (x, y) = (
            clamp(x * scale - 0.5, width),
            clamp(y * scale - 0.5, height),
        );
        let (x0, y0) = (x as usize, y as usize);
        let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
        let (fx, fy) = (x - x0 as f32, y - y0 as f32);
        let at = |x: usize, y: usize| f32::from(data[y * width + x]);
        let top = at(x0, y0) + (at(x1, y0) - at(x0, y0)) * fx;
        let bottom = at(x0, y1) + (at(x1, y1) - at(x0, y1)) * fx;
        top + (bottom - top) * fy
    }
}

fn frames(spec: &str, size: &str, from: f64, step: f64, count: u32) -> io::Result<()> {
    let (scene, mut frame) = open(spec, size)?;
    let mut out = io::stdout().lock();
    let mut truths = Vec::new();
    for index in 0..count {
        let at = Duration::from_secs_f64((from + step * f64::from(index)).max(0.0));
        frame.render(&scene, at);
        out.write_all(&frame.data)?;
        scene.truth(at, &mut truths);
        for Truth {
            label,
            id,
            bbox,
            visible,
            still,
        } in &truths
        {
            let (x1, y1, x2, y2) = (bbox.x1, bbox.y1, bbox.x2, bbox.y2);
            eprintln!(
                "{{\"time\":{},\"label\":\"{label}\",\"id\":{id},\"box\":[{x1:.1},{y1:.1},{x2:.1},{y2:.1}],\"visible\":{visible:.2},\"still\":{still}}}",
                at.as_secs_f64()
            );
        }
    }
    Ok(())
}

fn time(spec: &str, size: &str) -> io::Result<()> {
    let (scene, mut frame) = open(spec, size)?;
    let (mut truths, mut figures) = (Vec::new(), 0);
    let count = 500;
    let start = Instant::now();
    for index in 0..count {
        frame.render(&scene, Duration::from_millis(200 * index));
    }
    let each = start.elapsed() / count as u32;
    for index in 0..count {
        scene.truth(Duration::from_millis(200 * index), &mut truths);
        figures += truths.len();
    }
    println!(
        "{spec} {size}: {each:?} a frame with {:.1} figures in it",
        figures as f64 / count as f64
    );
    Ok(())
}

/// Chance for the samples: the same for the same seed.
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }

    fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    fn index(&mut self, count: usize) -> usize {
        ((self.unit() * count as f32) as usize).min(count.saturating_sub(1))
    }
}

fn samples(first: u64, seeds: u64, size: usize, scene: &str) -> io::Result<()> {
    let fixed = match scene {
        "mixed" => None,
        name => Some(
            SceneKind::from_name(name)
                .ok_or_else(|| io::Error::other(format!("no scene {name}")))?,
        ),
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut truths = Vec::new();
    let mut pixels = vec![0u8; size * size * 3];
    for seed in first..first + seeds {
        let mut chance = Chance(seed.wrapping_mul(0xD134_2543_DE82_EF95));
        let kind = fixed.unwrap_or(match chance.unit() {
            ..0.58 => SceneKind::Walkers,
            ..0.95 => SceneKind::Parking,
            _ => SceneKind::Empty,
        });
        let mut script = Script::new(kind);
        script.seed = seed;
        script.objects = Some(1 + chance.index(10));
        script.noise = chance.range(0.0, 4.0);
        let (width, height) = SIZES[chance.index(SIZES.len())];
        let scene = Scene::new(&script, width, height);
        let mut frame = Frame::new(&scene);
        for _ in 0..CROPS_PER_SEED {
            let at = Duration::from_secs_f32(chance.range(0.0, 600.0));
            frame.render(&scene, at);
            scene.truth(at, &mut truths);
            let crop = choose_crop(&mut chance, &truths, width as f32, height as f32);
            cut(&mut chance, &frame, crop, size, &mut pixels);
            out.write_all(&pixels)?;
            write_boxes(&mut out, &truths, crop, size as f32)?;
        }
    }
    out.flush()
}

/// Left, top and side of a square: often around a figure, sometimes anywhere, now and then the whole frame.
fn choose_crop(chance: &mut Chance, truths: &[Truth], width: f32, height: f32) -> (f32, f32, f32) {
    let (short, long) = (width.min(height), width.max(height));
    if chance.unit() < 0.2 {
        // Padded in the middle or at the far end, as crops to tensors do it.
        let pad = if chance.unit() < 0.5 { 0.5 } else { 0.0 };
        return (-(long - width) * pad, -(long - height) * pad, long);
    }
    let least = 160.0f32.min(short);
    let side = (least.ln() + (720.0f32.min(short).ln() - least.ln()) * chance.unit()).exp();
    let (mut x, mut y) = (
        chance.range(0.0, width - side),
        chance.range(0.0, height - side),
    );
    if !truths.is_empty() && chance.unit() < 0.75 {
        let (cx, cy) = truths[chance.index(truths.len())].bbox.centre();
        x = (cx - side * chance.range(0.15, 0.85)).clamp(0.0, width - side);
        y = (cy - side * chance.range(0.15, 0.85)).clamp(0.0, height - side);
    }
    (x, y, side)
}

/// Scales the crop to RGB: by the nearest pixel, smoothly, or smoothly over four points.
fn cut(
    chance: &mut Chance,
    frame: &Frame,
    (left, top, side): (f32, f32, f32),
    size: usize,
    pixels: &mut [u8],
) {
    let step = side / size as f32;
    let (smooth, points): (bool, &[f32]) = match chance.index(3) {
        0 => (false, &[0.5]),
        1 => (true, &[0.5]),
        _ => (true, &[0.25, 0.75]),
    };
    for (index, pixel) in pixels.chunks_exact_mut(3).enumerate() {
        let (column, row) = (index % size, index / size);
        let middle = (
            left + (column as f32 + 0.5) * step,
            top + (row as f32 + 0.5) * step,
        );
        if middle.0 < 0.0
            || middle.1 < 0.0
            || middle.0 >= frame.width as f32
            || middle.1 >= frame.height as f32
        {
            pixel.fill(114);
            continue;
        }
        let mut luma = 0.0;
        for dy in points {
            for dx in points {
                luma += frame.sample(
                    0,
                    left + (column as f32 + dx) * step,
                    top + (row as f32 + dy) * step,
                    smooth,
                );
            }
        }
        let y = (luma / (points.len() * points.len()) as f32 - 16.0) * 1.164;
        let u = frame.sample(1, middle.0, middle.1, smooth) - 128.0;
        let v = frame.sample(2, middle.0, middle.1, smooth) - 128.0;
        pixel.copy_from_slice(&[
            (y + 1.596 * v) as u8,
            (y - 0.392 * u - 0.813 * v) as u8,
            (y + 2.017 * u) as u8,
        ]);
    }
}

fn write_boxes(
    out: &mut impl Write,
    truths: &[Truth],
    (left, top, side): (f32, f32, f32),
    size: f32,
) -> io::Result<()> {
    let scale = size / side;
    let mut written = 0;
    for truth in truths {
        let full = truth.bbox;
        let (x1, y1) = (full.x1.max(left), full.y1.max(top));
        let (x2, y2) = (full.x2.min(left + side), full.y2.min(top + side));
        if x2 <= x1 || y2 <= y1 || written == BOXES {
            continue;
        }
        written += 1;
        let visible = truth.visible * (x2 - x1) * (y2 - y1) / full.area();
        let class = if truth.label == "car" { 1.0 } else { 0.0 };
        for value in [
            class,
            (x1 - left) * scale,
            (y1 - top) * scale,
            (x2 - left) * scale,
            (y2 - top) * scale,
            visible,
        ] {
            out.write_all(&f32::to_le_bytes(value))?;
        }
    }
    for _ in written..BOXES {
        for value in [-1.0f32, 0.0, 0.0, 0.0, 0.0, 0.0] {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    Ok(())
}
