//! The street behind the figures: painted once per scene and size, copied under every frame.

use std::f32::consts::TAU;

use super::paint::{Colour, Convex, Ellipse, I420Mut, Limb, Paint, fill};
use super::random::{Dice, mix};
use super::{Layout, SceneKind};

const WALLS: [u32; 8] = [
    0xB8A58C, 0xA0756A, 0x8E9AA3, 0xC4B9A2, 0x9C8F80, 0x7F8C7A, 0xB59A7A, 0xA9A7A0,
];
const AWNINGS: [u32; 5] = [0x8E2F2B, 0x2F5D50, 0x34506E, 0xB98A35, 0x6E5A4A];

/// Three planes without padding.
#[derive(Debug, Clone)]
pub(super) struct Background {
    pub planes: [Vec<u8>; 3],
    pub width: usize,
    pub height: usize,
}

impl Background {
    pub fn new(kind: SceneKind, layout: &Layout, seed: u64, width: usize, height: usize) -> Self {
        let (luma, chroma) = (width * height, (width / 2) * (height / 2));
        let mut background = Self {
            planes: [vec![16; luma], vec![128; chroma], vec![128; chroma]],
            width,
            height,
        };
        let [y, u, v] = &mut background.planes;
        let mut picture = I420Mut {
            width,
            height,
            planes: [y, u, v],
            strides: [width, width / 2, width / 2],
        };
        let mut dice = Dice::new(seed, &[1]);
        houses(&mut picture, layout, &mut dice);
        ground(&mut picture, layout, &mut dice, kind == SceneKind::Parking);
        furniture(&mut picture, layout, &mut dice);
        grain(&mut picture, seed);
        background
    }
}

fn rect(
    picture: &mut I420Mut<'_>,
    unit: f32,
    (x1, y1, x2, y2): (f32, f32, f32, f32),
    paint: Paint,
) {
    fill(
        picture,
        &Convex::rect(x1 * unit, y1 * unit, x2 * unit, y2 * unit),
        &paint,
    );
}

/// A row of houses with windows above and shops below.
fn houses(picture: &mut I420Mut<'_>, layout: &Layout, dice: &mut Dice) {
    let unit = picture.height as f32;
    let aspect = picture.width as f32 / unit;
    let foot = layout.wall_foot;
    let sky = Colour::hex(0xAFC4D6);
    rect(
        picture,
        unit,
        (-0.1, -0.1, aspect + 0.1, foot),
        Paint::plain(sky),
    );
    let mut x = dice.range(-0.3, 0.0);
    while x < aspect {
        let wide = dice.range(0.4, 0.75);
        let wall = Colour::hex(dice.pick(&WALLS)).lit(dice.range(0.75, 1.05));
        let top = if dice.chance(0.5) {
            -0.05
        } else {
            dice.range(0.0, 0.06)
        };
        rect(
            picture,
            unit,
            (x, top, x + wide + 0.002, foot),
            Paint::shaded(wall, 14.0),
        );
        rect(
            picture,
            unit,
            (x, top - 0.012, x + wide, top + 0.008),
            Paint::plain(wall.lit(0.6)),
        );
        // Windows.
        let columns = dice.range(3.0, 6.0) as usize;
        let pitch = wide / columns as f32;
        let glass = Colour::hex(dice.pick(&[0x33414E, 0x46525A, 0x5A6870]));
        for row in 0..2 {
            let y = foot - 0.36 + 0.11 * row as f32;
            for column in 0..columns {
                let left = x + pitch * (column as f32 + 0.25);
                let right = left + pitch * 0.5;
                rect(
                    picture,
                    unit,
                    (left - 0.006, y - 0.006, right + 0.006, y + 0.08),
                    Paint::plain(wall.lit(1.2)),
                );
                let pane = if dice.chance(0.2) {
                    Colour::hex(0xC9B98A)
                } else {
                    glass.lit(dice.range(0.8, 1.2))
                };
                rect(
                    picture,
                    unit,
                    (left, y, right, y + 0.07),
                    Paint::shaded(pane, 16.0),
                );
                let middle = (left + right) / 2.0;
                rect(
                    picture,
                    unit,
                    (middle - 0.0015, y, middle + 0.0015, y + 0.07),
                    Paint::plain(wall.lit(1.1)),
                );
            }
        }
        // Shop front: window, door, awning.
        let door = x + wide * dice.range(0.65, 0.8);
        rect(
            picture,
            unit,
            (x + 0.04, foot - 0.12, door - 0.04, foot - 0.025),
            Paint::shaded(glass.lit(1.25), 30.0),
        );
        rect(
            picture,
            unit,
            (door, foot - 0.135, door + 0.06, foot),
            Paint::shaded(wall.lit(0.45), 10.0),
        );
        rect(
            picture,
            unit,
            (door + 0.01, foot - 0.12, door + 0.05, foot - 0.06),
            Paint::plain(glass),
        );
        if dice.chance(0.7) {
            let colour = Colour::hex(dice.pick(&AWNINGS));
            rect(
                picture,
                unit,
                (x + 0.03, foot - 0.155, door - 0.03, foot - 0.115),
                Paint::shaded(colour, 20.0),
            );
            rect(
                picture,
                unit,
                (x + 0.03, foot - 0.122, door - 0.03, foot - 0.115),
                Paint::plain(colour.lit(0.6)),
            );
        }
        rect(
            picture,
            unit,
            (x, foot - 0.018, x + wide, foot),
            Paint::plain(wall.lit(0.55)),
        );
        x += wide;
    }
}

/// Paving in perspective, and for `road` a road with parking bays along it.
fn ground(picture: &mut I420Mut<'_>, layout: &Layout, dice: &mut Dice, road: bool) {
    let unit = picture.height as f32;
    let aspect = picture.width as f32 / unit;
    let stone = Colour::hex(dice.pick(&[0x9A968E, 0x8D8A86, 0xA69C8C, 0x84888C]))
        .lit(dice.range(0.85, 1.05));
    rect(
        picture,
        unit,
        (-0.1, layout.wall_foot, aspect + 0.1, 1.1),
        Paint::plain(stone),
    );
    let first = (layout.wall_foot * unit) as usize;
    let shift = dice.range(0.0, 1.0);
    for y in first..picture.height {
        let down = (y as f32 + 0.5) / unit - layout.horizon;
        let far = 1.0 / down;
        let light = 4.0 * (down - 0.5) + 9.0 * (-((y - first) as f32) / (0.02 * unit)).exp() * -2.0;
        // A joint is one unit/350 wide at the front; far away it only darkens a little.
        let rows = far * 4.0 + shift;
        let joint_row = rows.fract() < 0.02 * far * far.min(2.0);
        let offset = if (rows as i32) % 2 == 0 { 0.5 } else { 0.0 };
        for (x, pixel) in picture.row(0, y).iter_mut().enumerate() {
            let across = ((x as f32 + 0.5) / unit - aspect / 2.0) * far * 2.6 + 50.0 + offset;
            let joint = joint_row || across.fract() < 0.012 * far;
            let slab = mix((across as u64) << 20 | rows as u64) & 15;
            let value = f32::from(*pixel) + light + slab as f32 * 0.7
                - if joint { 16.0 / far.max(1.0) } else { 0.0 };
            *pixel = value.clamp(16.0, 235.0) as u8;
        }
    }
    if road {
        let Some(lot) = &layout.lot else { return };
        let asphalt = Colour::hex(0x55585C).lit(dice.range(0.85, 1.15));
        let white = Paint {
            opacity: 0.8,
            ..Paint::plain(Colour::hex(0xD8D8D0))
        };
        let (top, bottom) = (lot.kerb, lot.near_kerb);
        rect(
            picture,
            unit,
            (-0.1, top, aspect + 0.1, bottom),
            Paint::plain(asphalt),
        );
        rect(
            picture,
            unit,
            (-0.1, top - 0.012, aspect + 0.1, top),
            Paint::plain(stone.lit(1.2)),
        );
        rect(
            picture,
            unit,
            (-0.1, top, aspect + 0.1, top + 0.008),
            Paint::plain(asphalt.lit(0.6)),
        );
        rect(
            picture,
            unit,
            (-0.1, bottom, aspect + 0.1, bottom + 0.014),
            Paint::plain(stone.lit(1.2)),
        );
        let edge = lot.bay_line + 0.02;
        rect(
            picture,
            unit,
            (-0.1, edge, aspect + 0.1, edge + 0.006),
            white,
        );
        for bay in 0..=lot.bays {
            let x = lot.bay_left + bay as f32 * lot.bay_wide;
            let slant = (x - aspect / 2.0) * 0.12;
            let line = [
                (x, top + 0.01),
                (x + 0.008, top + 0.01),
                (x + 0.012 + slant, edge),
                (x + slant, edge),
            ];
            fill(
                picture,
                &Convex::new(line.map(|(x, y)| (x * unit, y * unit))),
                &white,
            );
        }
        let mut x = dice.range(-0.3, 0.0);
        while x < aspect {
            rect(
                picture,
                unit,
                (x, bottom - 0.05, x + 0.16, bottom - 0.042),
                white,
            );
            x += 0.36;
        }
    }
}

/// Trees, lamps and bins along the wall.
fn furniture(picture: &mut I420Mut<'_>, layout: &Layout, dice: &mut Dice) {
    let unit = picture.height as f32;
    let aspect = picture.width as f32 / unit;
    let foot = layout.wall_foot + 0.015;
    let size = layout.size(foot);
    let count = dice.range(1.0, 4.0) as usize;
    for place in 0..count {
        let x = aspect * (place as f32 + dice.range(0.2, 0.8)) / count as f32;
        let (sx, sy) = (x * unit, foot * unit);
        let tall = size * unit;
        fill(
            picture,
            &Ellipse {
                centre: (sx, sy),
                rx: 0.3 * tall,
                ry: 0.04 * tall,
            },
            &Paint {
                opacity: 0.4,
                soft: 6.0,
                ..Paint::plain(Colour::hex(0x202020))
            },
        );
        match dice.pick(&[0, 0, 1, 2]) {
            0 => {
                let trunk = Limb {
                    a: (sx, sy),
                    b: (sx + 0.02 * tall, sy - 1.1 * tall),
                    ra: 0.07 * tall,
                    rb: 0.05 * tall,
                };
                fill(picture, &trunk, &Paint::shaded(Colour::hex(0x4B3A2C), 24.0));
                let leaf = Colour::hex(dice.pick(&[0x3E5B33, 0x4E6B3A, 0x56602F]));
                for _ in 0..26 {
                    let (angle, out) = (dice.range(0.0, TAU), dice.range(0.0, 0.45).sqrt() * 0.55);
                    let centre = (
                        sx + angle.cos() * out * tall,
                        sy - (1.35 + 0.7 * angle.sin() * out) * tall,
                    );
                    let radius = dice.range(0.08, 0.2) * tall;
                    let paint = Paint::shaded(leaf.lit(dice.range(0.65, 1.35)), 16.0);
                    fill(
                        picture,
                        &Ellipse {
                            centre,
                            rx: radius,
                            ry: radius * 0.8,
                        },
                        &paint,
                    );
                }
            }
            1 => {
                let post = Limb {
                    a: (sx, sy),
                    b: (sx, sy - 1.9 * tall),
                    ra: 0.035 * tall,
                    rb: 0.025 * tall,
                };
                fill(picture, &post, &Paint::shaded(Colour::hex(0x2E3236), 20.0));
                let lamp = Ellipse {
                    centre: (sx, sy - 1.92 * tall),
                    rx: 0.11 * tall,
                    ry: 0.08 * tall,
                };
                fill(picture, &lamp, &Paint::shaded(Colour::hex(0xE8E2C8), 20.0));
            }
            _ => {
                let bin = Limb {
                    a: (sx, sy - 0.12 * tall),
                    b: (sx, sy - 0.42 * tall),
                    ra: 0.12 * tall,
                    rb: 0.14 * tall,
                };
                fill(
                    picture,
                    &bin,
                    &Paint::shaded(
                        Colour::hex(dice.pick(&[0x3C4A3E, 0x4A4E54, 0x5C4632])),
                        26.0,
                    ),
                );
            }
        }
    }
}

/// Fine and coarse unevenness, as every surface has it.
fn grain(picture: &mut I420Mut<'_>, seed: u64) {
    let cell = (picture.height as f32 / 24.0).max(4.0);
    for y in 0..picture.height {
        for (x, pixel) in picture.row(0, y).iter_mut().enumerate() {
            let coarse = smooth_noise(seed, x as f32 / cell, y as f32 / cell) * 9.0;
            let fine = (mix(seed ^ ((x as u64) << 32 | y as u64)) & 7) as f32 - 3.5;
            *pixel = (f32::from(*pixel) + coarse + fine).clamp(16.0, 235.0) as u8;
        }
    }
}

/// -0.5..0.5, changing smoothly over one unit.
fn smooth_noise(seed: u64, x: f32, y: f32) -> f32 {
    let (cx, cy) = (x.floor(), y.floor());
    let ease = |t: f32| t * t * (3.0 - 2.0 * t);
    let (fx, fy) = (ease(x - cx), ease(y - cy));
    let corner = |dx: f32, dy: f32| {
        (mix(seed ^ (((cx + dx) as u64) << 24 | (cy + dy) as u64)) >> 40) as f32
            / (1u64 << 24) as f32
            - 0.5
    };
    let top = corner(0.0, 0.0) + (corner(1.0, 0.0) - corner(0.0, 0.0)) * fx;
    let bottom = corner(0.0, 1.0) + (corner(1.0, 1.0) - corner(0.0, 1.0)) * fx;
    top + (bottom - top) * fy
}
