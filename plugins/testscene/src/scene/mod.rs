//! Test scenes: pictures with moving people and cars that need no camera, the same on every machine, with the truth
//! about what is in them. No GStreamer here; `source` makes a live source of them.
//!
//! A scene is a pure function of its seed and the time: any frame can be rendered without those before it, in any
//! size. Rendering writes straight into the planes given and allocates nothing.
//!
//! ```
//! use std::time::Duration;
//! use gsttestscene::scene::{I420Mut, Scene, Script};
//!
//! let script: Script = "walkers,seed=3".parse()?;
//! let mut scene = Scene::new(&script, 320, 180);
//! let (mut y, mut u, mut v) = (vec![0; 320 * 180], vec![0; 160 * 90], vec![0; 160 * 90]);
//! let at = Duration::from_secs(4);
//! scene.render(at, &mut I420Mut { width: 320, height: 180, planes: [&mut y, &mut u, &mut v], strides: [320, 160, 160] });
//! let mut truths = Vec::new();
//! scene.truth(at, &mut truths);
//! assert!(truths.iter().any(|truth| truth.label == "person"));
//! # Ok::<(), gsttestscene::scene::ScriptError>(())
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const WIDTH: usize = 320;
    const HEIGHT: usize = 180;

    fn scene(spec: &str) -> Scene {
        Scene::new(&spec.parse().unwrap(), WIDTH as u32, HEIGHT as u32)
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// The luma plane, and all bytes.
    fn render(scene: &Scene, at: Duration) -> (Vec<u8>, Vec<u8>) {
        let (width, height) = (scene.width(), scene.height());
        let (mut y, mut u, mut v) = (
            vec![0; width * height],
            vec![0; width * height / 4],
            vec![0; width * height / 4],
        );
        let planes = [&mut y[..], &mut u[..], &mut v[..]];
        scene.render(
            at,
            &mut I420Mut {
                width,
                height,
                planes,
                strides: [width, width / 2, width / 2],
            },
        );
        let all = [&y[..], &u[..], &v[..]].concat();
        (y, all)
    }

    fn truth(scene: &Scene, at: Duration) -> Vec<Truth> {
        let mut truths = Vec::new();
        scene.truth(at, &mut truths);
        truths
    }

    #[test]
    fn a_frame_depends_on_nothing_but_seed_and_time() {
        for spec in ["walkers,seed=3", "parking,seed=3", "empty"] {
            let (one, other) = (scene(spec), scene(spec));
            let expected = render(&one, seconds(7.4));
            for at in [0.0, 100.0, 3.3] {
                render(&other, seconds(at));
            }
            assert!(render(&other, seconds(7.4)) == expected, "{spec}");
        }
        assert!(
            render(&scene("walkers,seed=3"), seconds(1.0))
                != render(&scene("walkers,seed=4"), seconds(1.0))
        );
    }

    #[test]
    fn bytes_between_rows_stay_as_they_are() {
        let scene = scene("walkers");
        let (_, expected) = render(&scene, seconds(2.0));
        let strides = [WIDTH + 24, WIDTH / 2 + 16, WIDTH / 2 + 16];
        let rows = [HEIGHT, HEIGHT / 2, HEIGHT / 2];
        // The last row ends where its pixels end.
        let plane =
            |index: usize, width: usize| vec![0xEE; strides[index] * (rows[index] - 1) + width];
        let (mut y, mut u, mut v) = (plane(0, WIDTH), plane(1, WIDTH / 2), plane(2, WIDTH / 2));
        let planes = [&mut y[..], &mut u[..], &mut v[..]];
        scene.render(
            seconds(2.0),
            &mut I420Mut {
                width: WIDTH,
                height: HEIGHT,
                planes,
                strides,
            },
        );
        let mut packed = Vec::new();
        for (plane, (stride, width)) in [&y, &u, &v].into_iter().zip([
            (strides[0], WIDTH),
            (strides[1], WIDTH / 2),
            (strides[2], WIDTH / 2),
        ]) {
            for row in plane.chunks(stride) {
                packed.extend_from_slice(&row[..width]);
                assert!(row[width..].iter().all(|&byte| byte == 0xEE));
            }
        }
        assert!(packed == expected);
    }

    /// Pixels a scene with figures and the same without differ in, noise and all else being equal.
    fn figures(kind: &str, at: Duration) -> (Vec<bool>, Vec<Truth>) {
        let with = scene(&format!("{kind},seed=6,noise=0"));
        let without = scene(&format!("{kind},seed=6,noise=0,objects=0"));
        let (a, b) = (render(&with, at).0, render(&without, at).0);
        (
            a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b) > 6).collect(),
            truth(&with, at),
        )
    }

    #[test]
    fn figures_are_inside_their_boxes_and_fill_them() {
        let mut checked = 0;
        for (kind, at) in (0..20).flat_map(|step| {
            [
                ("walkers", seconds(f64::from(step) * 5.3)),
                ("parking", seconds(f64::from(step) * 5.3)),
            ]
        }) {
            let (changed, truths) = figures(kind, at);
            for (index, _) in changed.iter().enumerate().filter(|(_, changed)| **changed) {
                let (x, y) = ((index % WIDTH) as f32, (index / WIDTH) as f32);
                // Shadows lie outside: left, right and below of what throws them.
                let explained = truths.iter().any(|truth| {
                    let b = truth.bbox;
                    let (side, below) = (
                        0.25 * b.height().max(0.3 * b.width()),
                        0.12 * b.height() + 1.5,
                    );
                    x > b.x1 - 1.5 - side
                        && x < b.x2 + 1.5 + side
                        && y > b.y1 - 1.5
                        && y < b.y2 + below
                        && (y > b.y2 - below || (x > b.x1 - 1.5 && x < b.x2 + 1.5))
                        || b.x1 <= 0.0
                        || b.x2 >= WIDTH as f32
                });
                assert!(
                    explained,
                    "{kind} at {at:?}: pixel {x},{y} belongs to no box of {truths:?}"
                );
            }
            for truth in truths.iter().filter(|truth| truth.visible > 0.99) {
                checked += 1;
                let b = truth.bbox;
                let (x1, y1, x2, y2) = (
                    b.x1 as usize,
                    b.y1 as usize,
                    (b.x2 as usize).min(WIDTH - 1),
                    (b.y2 as usize).min(HEIGHT - 1),
                );
                let any = |xs: std::ops::RangeInclusive<usize>,
                           ys: std::ops::RangeInclusive<usize>| {
                    ys.into_iter()
                        .any(|y| xs.clone().any(|x| changed[y * WIDTH + x]))
                };
                let sides = [
                    any(x1..=x1 + 2, y1..=y2),
                    any(x2 - 2..=x2, y1..=y2),
                    any(x1..=x2, y1..=y1 + 2),
                    any(x1..=x2, y2 - 2..=y2),
                ];
                // A dark figure may lose one edge against a dark wall.
                assert!(
                    sides.iter().filter(|side| **side).count() >= 3,
                    "{kind} at {at:?}: {sides:?} {truth:?}"
                );
            }
        }
        assert!(checked > 40, "{checked} figures checked");
    }

    /// Per figure: when, where and whether still, five times a second for three minutes.
    fn lives(kind: &str) -> HashMap<u64, Vec<(f64, Truth)>> {
        let scene = scene(kind);
        let mut lives: HashMap<u64, Vec<_>> = HashMap::new();
        for step in 0..900 {
            let at = f64::from(step) / 5.0;
            for truth in truth(&scene, seconds(at)) {
                lives.entry(truth.id).or_default().push((at, truth));
            }
        }
        lives
    }

    #[test]
    fn walkers_come_go_and_stand_still_for_a_while() {
        let lives = lives("walkers,seed=2");
        assert!(lives.len() > 15, "{} people in three minutes", lives.len());
        let mut stops = 0;
        for life in lives.values() {
            for pair in life.windows(2) {
                let ((t0, a), (t1, b)) = (&pair[0], &pair[1]);
                assert!(t1 - t0 < 0.21, "nobody comes back as the same");
                let moved = (a.bbox.bottom_centre().0 - b.bbox.bottom_centre().0).abs();
                assert!(
                    moved < 0.35 * HEIGHT as f32 * 0.5,
                    "nobody jumps: {a:?} {b:?}"
                );
            }
            let still = life.iter().filter(|(_, truth)| truth.still).count();
            if still >= 15 && !life[0].1.still && !life[life.len() - 1].1.still {
                stops += 1;
            }
        }
        assert!(
            stops >= 2,
            "{stops} stopped for three seconds or more and walked on"
        );
        let height = |life: &Vec<(f64, Truth)>| life[life.len() / 2].1.bbox.height();
        let (least, most) = lives
            .values()
            .map(height)
            .fold((f32::MAX, 0.0f32), |(a, b), h| (a.min(h), b.max(h)));
        assert!(most > 1.5 * least, "near and far: {least} to {most}");
    }

    #[test]
    fn cars_arrive_park_and_leave() {
        let lives = lives("parking,seed=2");
        let cars: Vec<_> = lives
            .values()
            .filter(|life| life[0].1.label == "car")
            .collect();
        let whole = cars.iter().filter(|life| {
            let parked: Vec<_> = life.iter().filter(|(_, truth)| truth.still).collect();
            let stays = parked
                .first()
                .zip(parked.last())
                .is_some_and(|(first, last)| {
                    last.0 - first.0 > 30.0 && first.1.bbox == last.1.bbox
                });
            stays && !life[0].1.still && !life[life.len() - 1].1.still
        });
        assert!(whole.count() >= 3, "of {} cars", cars.len());
        assert!(lives.values().any(|life| life[0].1.label == "person"));
    }

    #[test]
    fn nothing_moves_in_empty_and_nothing_at_all_changes_in_still() {
        let still = scene("still");
        assert!(render(&still, seconds(1.0)) == render(&still, seconds(60.0)));
        let empty = scene("empty");
        let (a, b) = (
            render(&empty, seconds(1.0)).0,
            render(&empty, seconds(1.2)).0,
        );
        assert!(a != b);
        let most = a.iter().zip(&b).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(most < 20, "{most}");
        for scene in [still, empty] {
            assert!(truth(&scene, seconds(3.0)).is_empty());
        }
    }

    #[test]
    fn any_size_can_be_rendered() {
        for (width, height) in [(0, 0), (16, 16), (17, 999), (2000, 16), (641, 361)] {
            for kind in SceneKind::ALL {
                let scene = Scene::new(&Script::new(kind), width, height);
                assert_eq!((scene.width() % 2, scene.height() % 2), (0, 0));
                render(&scene, seconds(5.0));
                truth(&scene, seconds(5.0));
            }
        }
        let small = scene("walkers");
        let mut nothing = [];
        let [mut u, mut v] = [[]; 2];
        small.render(
            seconds(0.0),
            &mut I420Mut {
                width: 0,
                height: 0,
                planes: [&mut nothing, &mut u, &mut v],
                strides: [0; 3],
            },
        );
    }
}
