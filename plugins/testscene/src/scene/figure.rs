//! Walking people and cars: how they look and how they are put together from shapes.

use std::f32::consts::PI;

use super::paint::{Colour, Convex, Ellipse, Extent, I420Mut, Limb, Paint, Shape as _, fill};
use super::random::Dice;

/// Most parts a figure is made of.
const MAX_PARTS: usize = 30;

#[derive(Debug, Clone, Copy)]
enum Form {
    Limb(Limb),
    Ellipse(Ellipse),
    Four(Convex<4>),
    Six(Convex<6>),
}

/// A figure in its pose: parts from back to front, and the shadow under it.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    shadow: Ellipse,
    parts: [(Form, Paint); MAX_PARTS],
    len: usize,
}

impl Figure {
    fn new(shadow: Ellipse) -> Self {
        let nothing = (Form::Ellipse(shadow), Paint::plain(Colour::hex(0)));
        Self {
            shadow,
            parts: [nothing; MAX_PARTS],
            len: 0,
        }
    }

    fn add(&mut self, form: Form, paint: Paint) {
        self.parts[self.len] = (form, paint);
        self.len += 1;
    }

    /// What it covers, shadow left out, in pixels; may reach over the edges of the picture.
    pub fn extent(&self) -> Extent {
        self.parts[..self.len]
            .iter()
            .fold(Extent::EMPTY, |extent, (form, _)| {
                extent.join(match form {
                    Form::Limb(shape) => shape.extent(),
                    Form::Ellipse(shape) => shape.extent(),
                    Form::Four(shape) => shape.extent(),
                    Form::Six(shape) => shape.extent(),
                })
            })
    }

    pub fn paint(&self, picture: &mut I420Mut<'_>) {
        let dark = Colour {
            y: 22.0,
            u: 128.0,
            v: 128.0,
        };
        let soft = (self.shadow.ry * 1.2).max(1.0);
        fill(
            picture,
            &self.shadow,
            &Paint {
                opacity: 0.5,
                soft,
                ..Paint::plain(dark)
            },
        );
        for (form, paint) in &self.parts[..self.len] {
            match form {
                Form::Limb(shape) => fill(picture, shape, paint),
                Form::Ellipse(shape) => fill(picture, shape, paint),
                Form::Four(shape) => fill(picture, shape, paint),
                Form::Six(shape) => fill(picture, shape, paint),
            }
        }
    }
}

/// What a person wears and is built like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clothes {
    skin: Colour,
    hair: Colour,
    shirt: Colour,
    trousers: Colour,
    shoes: Colour,
    bag: Colour,
    build: f32,
    tallness: f32,
    stripes: bool,
    sleeves: bool,
    coat: bool,
    skirt: bool,
    long_hair: bool,
    hat: bool,
    backpack: bool,
    handbag: bool,
}

const SKINS: [u32; 5] = [0xF1C9A5, 0xD9A077, 0xB97A50, 0x8A5A3A, 0x5A3A28];
const HAIRS: [u32; 6] = [0x1C1714, 0x3A281C, 0x6B4A2B, 0xC9A464, 0x9A9A98, 0x7A2F1A];
const SHIRTS: [u32; 14] = [
    0xB3261E, 0x1F4E8C, 0x2E7D4F, 0xE0B23A, 0xECECE6, 0x23262B, 0x7B3F8C, 0xE07B39, 0x4FA3B8,
    0xC96A8A, 0x6B705C, 0x8D99AE, 0x5A3825, 0x30475E,
];
const TROUSERS: [u32; 8] = [
    0x22304A, 0x1B1B1F, 0x4A5568, 0x6B5B45, 0x8A8478, 0x35483A, 0xC9BFA8, 0x3B5B8C,
];

impl Clothes {
    pub fn draw(dice: &mut Dice) -> Self {
        let shirt = if dice.chance(0.75) {
            Colour::hex(dice.pick(&SHIRTS))
        } else {
            Colour::rgb(
                dice.range(20.0, 240.0),
                dice.range(20.0, 240.0),
                dice.range(20.0, 240.0),
            )
        };
        Self {
            skin: Colour::hex(dice.pick(&SKINS)),
            hair: Colour::hex(dice.pick(&HAIRS)),
            shirt,
            trousers: Colour::hex(dice.pick(&TROUSERS)).lit(dice.range(0.8, 1.3)),
            shoes: Colour::hex(dice.pick(&[0x17171A, 0x4A3424, 0xD8D8D4])),
            bag: Colour::hex(dice.pick(&SHIRTS)).lit(0.7),
            build: dice.range(0.85, 1.25),
            tallness: dice.range(0.86, 1.06),
            stripes: dice.chance(0.2),
            sleeves: dice.chance(0.6),
            coat: dice.chance(0.25),
            skirt: dice.chance(0.15),
            long_hair: dice.chance(0.35),
            hat: dice.chance(0.15),
            backpack: dice.chance(0.2),
            handbag: dice.chance(0.2),
        }
    }
}

/// Where somebody is and what the limbs do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pose {
    /// Between the feet, in pixels.
    pub feet: (f32, f32),
    /// Height of a grown-up at this place, in pixels.
    pub height: f32,
    /// Where the face looks: 1 right, -1 left, 0 towards or away from the camera.
    pub facing: f32,
    /// Seen from behind.
    pub away: bool,
    /// Position within the double step, in radians.
    pub phase: f32,
    /// 0 standing, 1 walking.
    pub swing: f32,
}

/// A person in this pose. Lengths below are shares of the body's height, heights count from the ground.
pub(super) fn person(clothes: &Clothes, pose: &Pose) -> Figure {
    let Pose {
        feet,
        facing,
        phase,
        swing,
        ..
    } = *pose;
    let tall = pose.height * clothes.tallness;
    let at = |x: f32, up: f32| (feet.0 + x * tall, feet.1 - up * tall);
    let limb = |a, b, ra: f32, rb: f32| {
        Form::Limb(Limb {
            a,
            b,
            ra: ra * tall,
            rb: rb * tall,
        })
    };
    let front = (1.0 - facing * facing).max(0.0).sqrt();
    let build = clothes.build;
    let mut figure = Figure::new(Ellipse {
        centre: feet,
        rx: 0.19 * tall,
        ry: 0.035 * tall,
    });

    // Legs first: the lower foot stands on the ground and so says how high the hips are.
    let legs = [0.0, PI].map(|shift| {
        let thigh = 0.46 * swing * (phase + shift).sin();
        let bend = 0.85 * swing * (phase + shift).cos().max(0.0);
        (thigh, thigh - bend)
    });
    let reach = legs.map(|(thigh, shin)| 0.245 * thigh.cos() + 0.225 * shin.cos());
    let hip_height = 0.035 + reach[0].max(reach[1]);
    let lean = 0.02 * swing * facing;

    let arm = |figure: &mut Figure, side: usize| {
        let sign = if side == 0 { -1.0 } else { 1.0 };
        let angle = -0.55 * swing * (phase + side as f32 * PI).sin();
        let fore = angle + 0.15 + 0.35 * swing;
        let shoulder = (
            lean + sign * (0.098 * front + 0.012) * build,
            hip_height + 0.295,
        );
        let out = sign * 0.03 * front;
        let elbow = (
            shoulder.0 + 0.16 * angle.sin() * facing + out,
            shoulder.1 - 0.16 * angle.cos(),
        );
        let hand = (
            elbow.0 + 0.14 * fore.sin() * facing,
            elbow.1 - 0.14 * fore.cos(),
        );
        let upper = Paint::shaded(clothes.shirt.lit(if side == 0 { 0.75 } else { 0.95 }), 20.0);
        let lower = if clothes.sleeves {
            upper
        } else {
            Paint::shaded(clothes.skin, 15.0)
        };
        figure.add(
            limb(at(elbow.0, elbow.1), at(hand.0, hand.1), 0.026, 0.019),
            lower,
        );
        figure.add(
            limb(at(hand.0, hand.1), at(hand.0, hand.1 - 0.015), 0.021, 0.018),
            Paint::plain(clothes.skin),
        );
        figure.add(
            limb(
                at(shoulder.0, shoulder.1),
                at(elbow.0, elbow.1),
                0.036 * build,
                0.028,
            ),
            upper,
        );
        if clothes.handbag && side == 1 {
            let (x, y) = (hand.0, hand.1 - 0.06);
            figure.add(
                limb(at(x - 0.03, y), at(x + 0.03, y), 0.035, 0.035),
                Paint::shaded(clothes.bag, 20.0),
            );
        }
    };
    let leg = |figure: &mut Figure, side: usize| {
        let sign = if side == 0 { -1.0 } else { 1.0 };
        let (thigh, shin) = legs[side];
        let hip = (sign * 0.045 * front * build, hip_height);
        let knee = (
            hip.0 + 0.245 * thigh.sin() * facing,
            hip.1 - 0.245 * thigh.cos(),
        );
        let ankle = (
            knee.0 + 0.225 * shin.sin() * facing,
            knee.1 - 0.225 * shin.cos(),
        );
        let paint = Paint::shaded(
            clothes.trousers.lit(if side == 0 { 0.72 } else { 1.0 }),
            18.0,
        );
        let bare = Paint::shaded(clothes.skin.lit(if side == 0 { 0.8 } else { 1.0 }), 15.0);
        let toe = (
            ankle.0 + 0.07 * facing + sign * 0.012 * front,
            ankle.1 - 0.012,
        );
        figure.add(
            limb(at(ankle.0, ankle.1 - 0.01), at(toe.0, toe.1), 0.026, 0.02),
            Paint::plain(clothes.shoes),
        );
        let below = if clothes.skirt { bare } else { paint };
        figure.add(
            limb(
                at(knee.0, knee.1),
                at(ankle.0, ankle.1),
                0.042 * build,
                0.027,
            ),
            below,
        );
        figure.add(
            limb(
                at(hip.0, hip.1),
                at(knee.0, knee.1),
                0.062 * build,
                0.044 * build,
            ),
            paint,
        );
    };

    arm(&mut figure, 0);
    leg(&mut figure, 0);
    leg(&mut figure, 1);
    if clothes.skirt {
        let hem = limb(
            at(0.0, hip_height),
            at(0.0, hip_height - 0.17),
            0.075 * build,
            0.11 * build,
        );
        figure.add(hem, Paint::shaded(clothes.trousers, 25.0));
    }
    if clothes.backpack {
        let x = lean - 0.1 * facing;
        let pack = limb(
            at(x, hip_height + 0.25),
            at(x, hip_height + 0.1),
            0.06,
            0.065,
        );
        figure.add(pack, Paint::shaded(clothes.bag, 25.0));
    }
    // Uprights side by side make shoulders that are broad from the front and narrow from the side.
    let shirt = Paint {
        stripe: if clothes.stripes { 0.05 * tall } else { 0.0 },
        ..Paint::shaded(clothes.shirt, 30.0)
    };
    let waist = if clothes.coat {
        hip_height - 0.1
    } else {
        hip_height + 0.01
    };
    for sign in [-1.0, 0.0, 1.0] {
        let (top, low) = (sign * 0.055 * front * build, sign * 0.04 * front * build);
        let (ra, rb) = (
            0.062 * build,
            if clothes.coat { 0.075 } else { 0.064 } * build,
        );
        figure.add(
            limb(at(top + lean, hip_height + 0.28), at(low, waist), ra, rb),
            shirt,
        );
    }
    let neck = limb(
        at(lean, hip_height + 0.33),
        at(lean * 1.5, hip_height + 0.39),
        0.03,
        0.03,
    );
    figure.add(neck, Paint::plain(clothes.skin.lit(0.85)));

    let (x, y) = (lean * 2.0 + 0.012 * facing, hip_height + 0.43);
    let head = limb(at(x, y + 0.012), at(x, y - 0.012), 0.06, 0.055);
    let hair = Paint::shaded(clothes.hair, 20.0);
    if clothes.long_hair {
        let tail = limb(
            at(x - 0.02 * facing, y),
            at(x - 0.035 * facing, y - 0.1),
            0.058,
            0.05,
        );
        figure.add(tail, hair);
    }
    figure.add(head, hair);
    if !pose.away {
        let face = limb(
            at(x + 0.018 * facing, y - 0.008),
            at(x + 0.018 * facing, y - 0.022),
            0.047,
            0.043,
        );
        figure.add(face, Paint::shaded(clothes.skin, 22.0));
    }
    if clothes.hat {
        let crown = limb(
            at(x - 0.03, y + 0.045),
            at(x + 0.03, y + 0.045),
            0.032,
            0.032,
        );
        figure.add(crown, Paint::shaded(clothes.bag, 20.0));
    }
    arm(&mut figure, 1);
    figure
}

/// What a car looks like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bodywork {
    colour: Colour,
    length: f32,
    tallness: f32,
    /// How far back the roof reaches: estates and vans 1, saloons less.
    boot: f32,
}

const CARS: [u32; 9] = [
    0xB0B4B8, 0x1E2124, 0xE8E8E4, 0x9B1B1B, 0x22457A, 0x2F5D46, 0xC8A04A, 0x5B6470, 0x7A4A2A,
];

impl Bodywork {
    pub fn draw(dice: &mut Dice) -> Self {
        Self {
            colour: Colour::hex(dice.pick(&CARS)).lit(dice.range(0.85, 1.15)),
            length: dice.range(0.92, 1.1),
            tallness: dice.range(0.92, 1.15),
            boot: dice.pick(&[0.0, 0.5, 1.0]),
        }
    }

    /// Length of the car where a grown-up would be `height` tall.
    pub fn length(&self, height: f32) -> f32 {
        2.35 * self.length * height
    }
}

/// A car seen from the side: `ground` is the middle below it, `facing` 1 or -1, `turn` how far the wheels turned.
pub(super) fn car(
    body: &Bodywork,
    ground: (f32, f32),
    height: f32,
    facing: f32,
    turn: f32,
) -> Figure {
    let (long, tall) = (body.length(height), 0.84 * height * body.tallness);
    // Along the car from tail (-0.5) to nose (0.5), up from the ground (0) to the roof (1).
    let at = |along: f32, up: f32| (ground.0 + along * long * facing, ground.1 - up * tall);
    // A mirrored polygon would run the wrong way round.
    let four = |c: [(f32, f32); 4]| {
        let p = c.map(|(along, up)| at(along, up));
        Form::Four(Convex::new(if facing > 0.0 {
            p
        } else {
            [p[3], p[2], p[1], p[0]]
        }))
    };
    let six = |c: [(f32, f32); 6]| {
        let p = c.map(|(along, up)| at(along, up));
        Form::Six(Convex::new(if facing > 0.0 {
            p
        } else {
            [p[5], p[4], p[3], p[2], p[1], p[0]]
        }))
    };
    let disc = |along: f32, up: f32, radius: f32| {
        Form::Ellipse(Ellipse {
            centre: at(along, up),
            rx: radius * tall,
            ry: radius * tall,
        })
    };
    let mut figure = Figure::new(Ellipse {
        centre: ground,
        rx: long * 0.56,
        ry: tall * 0.14,
    });
    let paint = Paint::shaded(body.colour, 14.0);
    let tail = -0.28 - 0.17 * body.boot;

    // Cabin, windows, then the body over the lower edge of both.
    figure.add(
        six([
            (tail - 0.07, 0.55),
            (tail, 0.93),
            (tail + 0.05, 1.0),
            (0.03, 1.0),
            (0.09, 0.95),
            (0.25, 0.55),
        ]),
        paint,
    );
    let glass = Paint::shaded(Colour::hex(0x2A3640), 30.0);
    figure.add(
        four([
            (tail - 0.02, 0.58),
            (tail + 0.04, 0.92),
            (-0.1, 0.92),
            (-0.1, 0.58),
        ]),
        glass,
    );
    figure.add(
        four([(-0.07, 0.58), (-0.07, 0.92), (0.06, 0.92), (0.18, 0.58)]),
        glass,
    );
    figure.add(
        six([
            (-0.5, 0.2),
            (-0.49, 0.56),
            (-0.46, 0.62),
            (0.3, 0.61),
            (0.48, 0.5),
            (0.5, 0.2),
        ]),
        paint,
    );
    figure.add(
        four([(-0.49, 0.14), (-0.5, 0.24), (0.5, 0.24), (0.49, 0.14)]),
        Paint::plain(body.colour.lit(0.55)),
    );
    // Door line, handle and lights.
    figure.add(
        four([(-0.088, 0.24), (-0.088, 0.6), (-0.08, 0.6), (-0.08, 0.24)]),
        Paint::plain(body.colour.lit(0.7)),
    );
    figure.add(
        four([(-0.16, 0.5), (-0.16, 0.53), (-0.11, 0.53), (-0.11, 0.5)]),
        Paint::plain(body.colour.lit(0.5)),
    );
    figure.add(
        four([(0.43, 0.38), (0.43, 0.48), (0.485, 0.46), (0.495, 0.38)]),
        Paint::plain(Colour::hex(0xFFF4D0)),
    );
    figure.add(
        four([(-0.495, 0.4), (-0.49, 0.52), (-0.46, 0.52), (-0.46, 0.4)]),
        Paint::plain(Colour::hex(0xB01414)),
    );
    for along in [-0.31, 0.31] {
        figure.add(disc(along, 0.2, 0.235), Paint::plain(body.colour.lit(0.4)));
        figure.add(disc(along, 0.2, 0.2), Paint::plain(Colour::hex(0x17181A)));
        figure.add(
            disc(along, 0.2, 0.115),
            Paint::shaded(Colour::hex(0xA8ACB0), 30.0),
        );
        // A spoke makes the turning seen.
        let (sin, cos) = turn.sin_cos();
        let reach = 0.1 * tall;
        let hub = at(along, 0.2);
        let spoke = Limb {
            a: (hub.0 - cos * reach, hub.1 - sin * reach),
            b: (hub.0 + cos * reach, hub.1 + sin * reach),
            ra: 0.02 * tall,
            rb: 0.02 * tall,
        };
        figure.add(Form::Limb(spoke), Paint::plain(Colour::hex(0x4A4E52)));
    }
    figure
}
