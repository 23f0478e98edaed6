//! A crowd made of the walking clip's people: cut out where they differ from the empty room, and shown many times over, at
//! other times and smaller.

use std::path::Path;

use detection::BBox;

use super::footage::{self, Frame};

const WIDTH: usize = 1280;
const HEIGHT: usize = 720;
/// Height people are kept at; the scene shows them at this or less.
const KEPT: usize = 200;
/// Difference to the empty room from which on a pixel is person, and from which on it is nothing else.
const FAINT: f32 = 12.0;
const CLEAR: f32 = 36.0;
/// Frames without people before and after an empty one.
const EMPTY: usize = 8;
/// Frames with a person that make a walk.
const LEAST: usize = 20;
/// Frames of the clip per frame of the scene: 10 per second against 5.
const STEP: usize = 2;

/// One person in one frame, cut out.
struct Patch {
    width: usize,
    height: usize,
    /// Y, U, V and how much of it is person, per pixel.
    pixels: Vec<[u8; 4]>,
    /// Where the feet were, in clip pixels, and how high the cut-out was there.
    feet: (f32, f32),
    was_high: f32,
}

/// What the crowd is made of.
pub struct People {
    background: Frame,
    walks: Vec<Vec<Patch>>,
}

impl People {
    /// Cuts people out of a clip where they were found, one list per frame in fractions of it.
    pub fn of(clip: &Path, found: &[Vec<BBox>]) -> Result<Self, String> {
        let mut empty = Vec::new();
        let mut n = 0;
        footage::decode(clip, |frame| {
            let around = n.max(EMPTY) - EMPTY..(n + EMPTY).min(found.len());
            if n % 5 == 0 && found[around].iter().all(Vec::is_empty) {
                empty.push(frame.clone());
            }
            n += 1;
            Ok(())
        })?;
        let background = footage::median(&empty).ok_or("the clip is never empty")?;
        let mut people = Self {
            background,
            walks: Vec::new(),
        };
        let mut last = 0;
        n = 0;
        footage::decode(clip, |frame| {
            if let Some([person]) = found.get(n).map(Vec::as_slice) {
                if n > last + 5 || people.walks.is_empty() {
                    people.walks.push(Vec::new());
                }
                last = n;
                let (w, h) = (frame.width as f32, frame.height as f32);
                let b = person.scaled(w, h).grown(0.08).clamped(w, h);
                // At the edge of the frame people are cut off.
                if b.x1 > 1.0 && b.y2 < h - 1.0 && b.x2 < w - 1.0 {
                    let patch = people.patch(frame, &b);
                    people.walks.last_mut().ok_or("no walk")?.push(patch);
                }
            }
            n += 1;
            Ok(())
        })?;
        people.walks.retain(|walk| walk.len() >= LEAST);
        match people.walks.is_empty() {
            true => Err("no people found to make a crowd of".to_owned()),
            false => Ok(people),
        }
    }

    fn patch(&self, frame: &Frame, b: &BBox) -> Patch {
        let scale = (KEPT as f32 / b.height()).min(1.0);
        let height = (b.height() * scale) as usize;
        let width = ((b.width() * scale) as usize).max(1);
        let mut pixels = Vec::with_capacity(width * height);
        let at = |frame: &Frame, plane: usize, x: f32, y: f32| {
            let (start, w, h) = frame.plane(plane);
            let half = if plane == 0 { 1.0 } else { 0.5 };
            sample(&frame.data[start..start + w * h], w, h, x * half, y * half)
        };
        for py in 0..height {
            for px in 0..width {
                let (x, y) = (b.x1 + px as f32 / scale, b.y1 + py as f32 / scale);
                let yuv = [0, 1, 2].map(|plane| at(frame, plane, x, y));
                let difference: f32 = (0..3)
                    .map(|i| (yuv[i] - at(&self.background, i, x, y)).abs())
                    .sum();
                let alpha = ((difference - FAINT) / (CLEAR - FAINT)).clamp(0.0, 1.0);
                pixels.push([
                    yuv[0] as u8,
                    yuv[1] as u8,
                    yuv[2] as u8,
                    (alpha * 255.0) as u8,
                ]);
            }
        }
        fill_holes(&mut pixels, width);
        Patch {
            width,
            height,
            pixels,
            feet: b.bottom_centre(),
            was_high: b.height(),
        }
    }
}

/// Clothes of the wall's colour are holes in a person: a pixel with person on both sides in its row is person.
fn fill_holes(pixels: &mut [[u8; 4]], width: usize) {
    for row in pixels.chunks_exact_mut(width) {
        let solid = |p: &[u8; 4]| p[3] > 200;
        let (Some(first), Some(last)) = (row.iter().position(solid), row.iter().rposition(solid))
        else {
            continue;
        };
        let share = row[first..=last].iter().filter(|p| solid(p)).count() as f32
            / (last - first + 1) as f32;
        // Between legs, or beside an arm held out, the room is seen.
        if share > 0.6 {
            row[first..=last].iter_mut().for_each(|p| p[3] = 255);
        }
    }
}

fn sample(plane: &[u8], width: usize, height: usize, x: f32, y: f32) -> f32 {
    let (x, y) = (
        x.clamp(0.0, (width - 1) as f32),
        y.clamp(0.0, (height - 1) as f32),
    );
    let (x0, y0) = (x as usize, y as usize);
    let (x1, y1) = ((x0 + 1).min(width - 1), (y0 + 1).min(height - 1));
    let (fx, fy) = (x.fract(), y.fract());
    let at = |x: usize, y: usize| f32::from(plane[y * width + x]);
    let top = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
    let bottom = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
    top * (1.0 - fy) + bottom * fy
}

struct Actor {
    walk: usize,
    start: usize,
    /// Height of this actor on the screen, against its height in the clip.
    scale: f32,
    /// Where its feet are at their mean place.
    at: (f32, f32),
}

/// The crowd: the same for the same seed.
pub struct Scene {
    people: People,
    room: Frame,
    actors: Vec<Actor>,
}

impl Scene {
    /// `size` 1 shows people 90 to 190 pixels high.
    pub fn new(people: People, actors: usize, size: f32, seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let columns = 9;
        let actors = (0..actors)
            .map(|i| {
                let (column, row) = (i % columns, i / columns);
                let rows = actors.div_ceil(columns) as f32;
                let walk = random.below(people.walks.len());
                let depth = (row as f32 + random.share()) / rows;
                Actor {
                    walk,
                    start: random.below(10_000),
                    // Those further up are further away.
                    scale: size * (0.24 + 0.18 * depth + 0.04 * random.share()),
                    at: (
                        (column as f32 + 0.2 + 0.6 * random.share()) / columns as f32
                            * WIDTH as f32,
                        190.0 + depth * (HEIGHT as f32 - 210.0),
                    ),
                }
            })
            .collect();
        let mut room = Frame::new(WIDTH, HEIGHT);
        for plane in 0..3 {
            let (start, width, height) = room.plane(plane);
            let (from, w, h) = people.background.plane(plane);
            let source = &people.background.data[from..from + w * h];
            let (sx, sy) = (w as f32 / width as f32, h as f32 / height as f32);
            for y in 0..height {
                for x in 0..width {
                    room.data[start + y * width + x] =
                        sample(source, w, h, x as f32 * sx, y as f32 * sy) as u8;
                }
            }
        }
        Self {
            people,
            room,
            actors,
        }
    }

    /// Frame `n` of the scene.
    pub fn render(&self, n: usize) -> Frame {
        let mut frame = self.room.clone();
        let mut shown: Vec<_> = self
            .actors
            .iter()
            .map(|actor| self.pose(actor, n))
            .collect();
        // From the back to the front.
        shown.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
        for (patch, feet, scale) in shown {
            paint(&mut frame, patch, feet, scale);
        }
        frame
    }

    /// What an actor looks like in frame `n`, where its feet are and how large it is. Walks go on to their end and back.
    fn pose(&self, actor: &Actor, n: usize) -> (&Patch, (f32, f32), f32) {
        let walk = &self.people.walks[actor.walk];
        let turn = 2 * (walk.len() - 1);
        let at = (actor.start + n * STEP) % turn;
        let patch = &walk[at.min(turn - at)];
        let count = walk.len() as f32;
        let mean = walk.iter().fold((0.0, 0.0), |m, p| {
            (m.0 + p.feet.0 / count, m.1 + p.feet.1 / count)
        });
        let feet = (
            actor.at.0 + (patch.feet.0 - mean.0) * actor.scale * 2.0,
            actor.at.1 + (patch.feet.1 - mean.1) * actor.scale,
        );
        (
            patch,
            feet,
            actor.scale * patch.was_high / patch.height as f32,
        )
    }
}

fn paint(frame: &mut Frame, patch: &Patch, feet: (f32, f32), scale: f32) {
    let (width, height) = (patch.width as f32 * scale, patch.height as f32 * scale);
    let (left, top) = (feet.0 - width / 2.0, feet.1 - height);
    for plane in 0..3 {
        let (start, w, h) = frame.plane(plane);
        let half = if plane == 0 { 1.0 } else { 2.0 };
        let range = |from: f32, size: f32, dim: usize| {
            let from_px = (from / half).max(0.0) as usize;
            let to = ((from + size) / half).max(0.0) as usize;
            from_px..to.min(dim)
        };
        for y in range(top, height, h) {
            for x in range(left, width, w) {
                let px = (((x as f32 + 0.5) * half - left) / scale) as usize;
                let py = (((y as f32 + 0.5) * half - top) / scale) as usize;
                // The mean of four pixels, since patches are shown smaller than they are.
                let (mut value, mut alpha) = (0.0, 0.0);
                for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                    let (qx, qy) = (
                        (px + dx).min(patch.width - 1),
                        (py + dy).min(patch.height - 1),
                    );
                    let pixel = &patch.pixels[qy * patch.width + qx];
                    let a = f32::from(pixel[3]) / 255.0;
                    value += f32::from(pixel[plane]) * a;
                    alpha += a;
                }
                if alpha > 0.0 {
                    let out = &mut frame.data[start + y * w + x];
                    let share = alpha / 4.0;
                    *out = (f32::from(*out) * (1.0 - share) + value / alpha * share) as u8;
                }
            }
        }
    }
}

/// xorshift64*.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n
    }

    fn share(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }
}
