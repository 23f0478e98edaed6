//! Test scenes: pictures with moving people and cars that need no camera, the same on every machine, with the truth
//! about what is in them. No GStreamer here; `test_source` makes a live source of them.
//!
//! A scene is a pure function of its seed and the time: any frame can be rendered without those before it, in any
//! size. Rendering writes straight into the planes given and allocates nothing.
//!
//! ```
//! use std::time::Duration;
//! use watchpost_pipelines::scene::{I420Mut, Scene, Script};
//!
//! let script: Script = "walkers,seed=3".parse()?;
//! let mut scene = Scene::new(&script, 320, 180);
//! let (mut y, mut u, mut v) = (vec![0; 320 * 180], vec![0; 160 * 90], vec![0; 160 * 90]);
//! let at = Duration::from_secs(4);
//! scene.render(at, &mut I420Mut { width: 320, height: 180, planes: [&mut y, &mut u, &mut v], strides: [320, 160, 160] });
//! let mut truths = Vec::new();
//! scene.truth(at, &mut truths);
//! assert!(truths.iter().any(|truth| truth.label == "person"));
//! # Ok::<(), watchpost_pipelines::scene::ScriptError>(())
//! ```

mod actors;
mod background;
mod figure;
mod paint;
mod random;
mod script;

use std::time::Duration;

use detection::BBox;

use actors::{Actor, Cast};
use background::Background;
pub use paint::I420Mut;
use random::{Dice, mix};
pub use script::{Ending, Fault, FaultKind, FramePlan, MAX_OBJECTS, Next, Script, ScriptError};

/// What a test source can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SceneKind {
    /// `walkers`: a paved street in front of shops. People of all sizes and clothes walk by, cross each other, stand
    /// still for a while and walk on.
    Walkers,
    /// `parking`: a street with parking bays. Cars arrive, park, stay and leave; people walk on both pavements.
    Parking,
    /// `empty`: the street of `walkers` with nobody in it; noise and light change as they do there.
    Empty,
    /// `still`: the same street, nobody in it, and every frame the same.
    Still,
}

impl SceneKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Walkers, Self::Parking, Self::Empty, Self::Still];

    /// Its name in configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Walkers => "walkers",
            Self::Parking => "parking",
            Self::Empty => "empty",
            Self::Still => "still",
        }
    }

    /// The scene of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scene| scene.name() == name)
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

/// What is really in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// `person` or `car`.
    pub label: &'static str,
    /// The same for one and the same figure from its coming to its going.
    pub id: u64,
    /// Where it is, in pixels, cut at the edges of the frame.
    pub bbox: BBox,
    /// Share of it that can be seen: the rest is outside the frame or (by boxes) behind something nearer.
    pub visible: f32,
    /// It does not move at this moment.
    pub still: bool,
}

/// Where the ground is and how large things are on it. The unit is the height of the frame.
#[derive(Debug, Clone)]
struct Layout {
    /// Where lines of depth meet: at this height things would have size 0.
    horizon: f32,
    /// Height of a person per distance below the horizon.
    growth: f32,
    /// Where walls meet the ground.
    wall_foot: f32,
    /// Where people's feet may be: bands of lowest and highest.
    pavements: [(f32, f32); 2],
    lot: Option<Lot>,
}

/// The road of `parking`.
#[derive(Debug, Clone)]
struct Lot {
    kerb: f32,
    near_kerb: f32,
    /// Where the wheels of parked cars stand.
    bay_line: f32,
    /// Where those of driving cars do.
    lane: f32,
    bay_left: f32,
    bay_wide: f32,
    bays: usize,
}

impl Layout {
    fn new(kind: SceneKind, aspect: f32) -> Self {
        if kind != SceneKind::Parking {
            let band = (0.47, 0.985);
            return Self {
                horizon: 0.12,
                growth: 0.52,
                wall_foot: 0.42,
                pavements: [band, band],
                lot: None,
            };
        }
        let bay_wide = 0.62;
        let bays = ((aspect / bay_wide) as usize).max(1);
        Self {
            horizon: 0.0,
            growth: 0.34,
            wall_foot: 0.4,
            pavements: [(0.43, 0.52), (0.95, 0.99)],
            lot: Some(Lot {
                kerb: 0.55,
                near_kerb: 0.91,
                bay_line: 0.66,
                lane: 0.84,
                bay_left: (aspect - bays as f32 * bay_wide) / 2.0,
                bay_wide,
                bays,
            }),
        }
    }

    /// Height of a grown-up whose feet are at `y`.
    fn size(&self, y: f32) -> f32 {
        self.growth * (y - self.horizon)
    }
}

/// One scene at one size.
#[derive(Debug)]
pub struct Scene {
    kind: SceneKind,
    seed: u64,
    background: Background,
    cast: Cast,
    /// Sensor noise to be added, in grey levels: any stretch of it does for any row.
    noise: Vec<i16>,
}

impl Scene {
    /// The scene of `script` at a size in pixels; odd sizes are rounded down to even ones, the least is 16x16.
    pub fn new(script: &Script, width: u32, height: u32) -> Self {
        let even = |side: u32| (side.max(16) & !1) as usize;
        let (width, height) = (even(width), even(height));
        let layout = Layout::new(script.scene, width as f32 / height as f32);
        let background = Background::new(script.scene, &layout, script.seed, width, height);
        let mut dice = Dice::new(script.seed, &[2]);
        let noise = (0..width + 4096)
            .map(|_| {
                // The sum of four even chances is round enough for noise.
                let sum: f32 = (0..4).map(|_| dice.range(-0.5, 0.5)).sum();
                (sum * script.noise * 3f32.sqrt()).round() as i16
            })
            .collect();
        Self {
            kind: script.scene,
            seed: script.seed,
            background,
            cast: Cast::new(script, layout, width as f32 / height as f32),
            noise,
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.background.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.background.height
    }

    /// Paints the moment `at` into `picture`, which must have the scene's size (otherwise nothing is painted).
    pub fn render(&self, at: Duration, picture: &mut I420Mut<'_>) {
        if (picture.width, picture.height) != (self.width(), self.height()) {
            return;
        }
        for plane in 0..3 {
            let (width, height) = picture.plane_size(plane);
            for y in 0..height {
                picture
                    .row(plane, y)
                    .copy_from_slice(&self.background.planes[plane][y * width..][..width]);
            }
        }
        let seconds = at.as_secs_f64();
        self.cast
            .for_each(seconds, self.height() as f32, |actor: &Actor| {
                actor.figure.paint(picture)
            });
        if self.kind != SceneKind::Still {
            self.weather(at, seconds, picture);
        }
    }

    /// Sensor noise, and light that comes and goes slowly.
    fn weather(&self, at: Duration, seconds: f64, picture: &mut I420Mut<'_>) {
        let wave = |period: f64, height: f64| {
            ((seconds / period).fract() * std::f64::consts::TAU).sin() * height
        };
        let light = wave(47.0, 2.5) + wave(19.0, 1.0);
        let moment = mix(self.seed ^ at.as_nanos() as u64);
        for y in 0..picture.height {
            let chance = mix(moment ^ y as u64);
            // Fractions of a grey level: that share of the rows gets one more.
            let gain = (light + (chance >> 40) as f64 / (1u64 << 24) as f64).floor() as i16;
            let noise = &self.noise[(chance % 4096) as usize..];
            for (pixel, noise) in picture.row(0, y).iter_mut().zip(noise) {
                *pixel = (i16::from(*pixel) + noise + gain).clamp(0, 255) as u8;
            }
        }
    }

    /// What is in the frame at `at`, from back to front, into `truths` (cleared before). Figures outside the frame
    /// are left out.
    pub fn truth(&self, at: Duration, truths: &mut Vec<Truth>) {
        truths.clear();
        let (width, height) = (self.width() as f32, self.height() as f32);
        self.cast
            .for_each(at.as_secs_f64(), height, |actor: &Actor| {
                let full = actor.figure.extent();
                let full = BBox::new(full.x1, full.y1, full.x2, full.y2);
                let bbox = BBox::new(
                    full.x1.max(0.0),
                    full.y1.max(0.0),
                    full.x2.min(width),
                    full.y2.min(height),
                );
                // Whoever comes now stands before all that came so far.
                for behind in truths.iter_mut() {
                    let hidden = overlap(&behind.bbox, &bbox) / behind.bbox.area().max(1.0);
                    behind.visible = behind.visible.min(1.0 - hidden);
                }
                if bbox.width() > 0.0 && bbox.height() > 0.0 {
                    let visible = bbox.area() / full.area();
                    truths.push(Truth {
                        label: actor.label,
                        id: actor.id,
                        bbox,
                        visible,
                        still: actor.still,
                    });
                }
            });
    }
}

fn overlap(a: &BBox, b: &BBox) -> f32 {
    let width = a.x2.min(b.x2) - a.x1.max(b.x1);
    let height = a.y2.min(b.y2) - a.y1.max(b.y1);
    width.max(0.0) * height.max(0.0)
}
