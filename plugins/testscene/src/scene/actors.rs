//! Who is where at a given time. Each actor has a place in the cast and comes again and again, each time with another
//! look and another way; all is drawn from the seed, so that nothing has to be remembered from frame to frame.

use std::f32::consts::TAU;

use super::figure::{Bodywork, Clothes, Figure, Pose, car, person};
use super::random::Dice;
use super::{Layout, Lot, MAX_OBJECTS, SceneKind, Script};

/// Somebody in a frame.
pub(super) struct Actor {
    pub label: &'static str,
    pub id: u64,
    pub figure: Figure,
    pub still: bool,
}

/// Somebody about, not yet put together. The unit is the height of the frame.
#[derive(Debug, Clone, Copy)]
struct Placed {
    id: u64,
    still: bool,
    /// Where it meets the ground.
    ground: (f32, f32),
    /// Height of a grown-up there.
    size: f32,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Person {
        clothes: Clothes,
        pose: Pose,
    },
    Car {
        body: Bodywork,
        facing: f32,
        turn: f32,
    },
}

/// All who take part.
#[derive(Debug)]
pub(super) struct Cast {
    seed: u64,
    layout: Layout,
    aspect: f32,
    people: usize,
    cars: usize,
}

/// Shortest and longest stop of a walker, in seconds.
const PAUSE: (f32, f32) = (4.0, 14.0);
/// Slowest and fastest walk, in body heights per second.
const PACE: (f32, f32) = (0.55, 0.85);
/// Two steps, in body heights: what the swing of the legs in `figure` covers.
const DOUBLE_STEP: f32 = 0.84;
/// One round of a car: coming, parking, going and being away, in seconds.
const CAR_ROUND: f64 = 75.0;
/// Seconds a car takes to come in or to get away.
const CAR_DRIVE: f32 = 5.0;

impl Cast {
    pub fn new(script: &Script, layout: Layout, aspect: f32) -> Self {
        let bays = layout.lot.as_ref().map_or(0, |lot| lot.bays);
        let (people, cars) = match (script.scene, script.objects) {
            (SceneKind::Walkers, objects) => (objects.unwrap_or(6), 0),
            (SceneKind::Parking, None) => (3, bays),
            (SceneKind::Parking, Some(objects)) => {
                let cars = objects.div_ceil(2).min(bays);
                (objects - cars, cars)
            }
            (SceneKind::Empty | SceneKind::Still, _) => (0, 0),
        };
        Self {
            seed: script.seed,
            layout,
            aspect,
            people: people.min(MAX_OBJECTS),
            cars: cars.min(MAX_OBJECTS),
        }
    }

    /// Calls `act` for everybody who is about at `seconds`, from back to front; `unit` is the frame's height in
    /// pixels.
    pub fn for_each(&self, seconds: f64, unit: f32, mut act: impl FnMut(&Actor)) {
        let mut placed = [None; 2 * MAX_OBJECTS];
        let people = (0..self.people).map(|place| self.walker(place as u64, seconds));
        let cars = self
            .layout
            .lot
            .iter()
            .flat_map(|lot| (0..self.cars).map(|bay| self.parker(lot, bay, seconds)));
        for (slot, actor) in placed.iter_mut().zip(people.chain(cars)) {
            *slot = actor;
        }
        let depth = |actor: &Option<Placed>| actor.map_or(f32::MAX, |actor| actor.ground.1);
        placed.sort_unstable_by(|a, b| depth(a).total_cmp(&depth(b)));
        for actor in placed.iter().flatten() {
            let ground = (actor.ground.0 * unit, actor.ground.1 * unit);
            let height = actor.size * unit;
            let (label, figure) = match actor.what {
                What::Person { clothes, pose } => (
                    "person",
                    person(
                        &clothes,
                        &Pose {
                            feet: ground,
                            height,
                            ..pose
                        },
                    ),
                ),
                What::Car { body, facing, turn } => {
                    ("car", car(&body, ground, height, facing, turn))
                }
            };
            act(&Actor {
                label,
                id: actor.id,
                figure,
                still: actor.still,
            });
        }
    }

    fn walker(&self, place: u64, seconds: f64) -> Option<Placed> {
        let mut fixed = Dice::new(self.seed, &[10]);
        let spread = (fixed.unit() + place as f32 * 0.618_034).fract();
        let (low, high) = self.layout.pavements[if place % 3 == 2 { 1 } else { 0 }];
        let usual = low + (high - low) * spread;
        let usual_size = self.layout.size(usual);
        let margin = 0.4 * usual_size;
        let distance = self.aspect + 2.0 * margin;
        let period = f64::from(distance / (PACE.0 * usual_size) + PAUSE.1 + 3.0);

        // Everybody is somewhere on the way when the scene begins.
        let ahead =
            Dice::new(self.seed, &[11, place]).range(0.15, 0.75) * distance / (PACE.1 * usual_size);
        let since = seconds + f64::from(ahead);
        let round = (since / period).floor();
        let now = (since - round * period) as f32;

        let mut dice = Dice::new(self.seed, &[12, place, round as u64]);
        let clothes = Clothes::draw(&mut dice);
        let direction = if dice.chance(0.5) { 1.0 } else { -1.0 };
        let walking = distance / (dice.range(PACE.0, PACE.1) * usual_size);
        let (stop_share, stop_length) = (dice.range(0.2, 0.8), dice.range(PAUSE.0, PAUSE.1));
        let stop_length = if dice.chance(0.5) { stop_length } else { 0.0 };
        let wander = if dice.chance(0.25) { 1.0 } else { 0.15 } * (high - low);
        let (from, to) = (
            usual + dice.range(-wander, wander),
            usual + dice.range(-wander, wander),
        );
        let (from, to) = (from.clamp(low, high), to.clamp(low, high));
        let phase = dice.range(0.0, TAU);

        let (stop, go) = (stop_share * walking, stop_share * walking + stop_length);
        let still = now >= stop && now < go;
        let gone = if now < stop {
            now
        } else {
            now.max(go) - stop_length
        };
        let share = if still { stop_share } else { gone / walking };
        if share > 1.0 {
            return None;
        }
        // Seconds to or from the stop, to come to a halt and turn round smoothly.
        let (moving, standing) = if stop_length == 0.0 {
            (1.0, 0.0)
        } else if still {
            (0.0, (now - stop).min(go - now))
        } else {
            ((now - stop).abs().min((now - go).abs()), 0.0)
        };
        let across = distance / (distance + 4.0 * (to - from).abs());
        let turned = 1.0 - 0.75 * ease(standing / 0.6);
        let y = from + (to - from) * share;
        let x = distance * (if direction > 0.0 { share } else { 1.0 - share }) - margin;
        Some(Placed {
            id: place << 32 | round as u64,
            still: still && standing > 0.6,
            ground: (x, y),
            size: self.layout.size(y),
            what: What::Person {
                clothes,
                pose: Pose {
                    feet: (0.0, 0.0),
                    height: 0.0,
                    facing: direction * across * turned,
                    away: to < from && across < 0.75,
                    phase: phase + TAU * share * distance / (DOUBLE_STEP * usual_size),
                    swing: ease(moving / 0.35),
                },
            },
        })
    }

    fn parker(&self, lot: &Lot, bay: usize, seconds: f64) -> Option<Placed> {
        let place = bay as u64;
        // At the start one car stands there, one is about to come and one about to go.
        let ahead = [8.0, 71.0, 44.0, 25.0][bay % 4]
            + f64::from(Dice::new(self.seed, &[20, place]).range(0.0, 2.0));
        let since = seconds + ahead;
        let round = (since / CAR_ROUND).floor();
        let now = (since - round * CAR_ROUND) as f32;
        let mut dice = Dice::new(self.seed, &[21, place, round as u64]);
        let body = Bodywork::draw(&mut dice);
        let leaves = CAR_DRIVE + dice.range(38.0, 52.0);
        let facing = if Dice::new(self.seed, &[22]).chance(0.5) {
            1.0
        } else {
            -1.0
        };

        let middle = lot.bay_left + (bay as f32 + 0.5) * lot.bay_wide;
        let beyond = 0.6 * body.length(self.layout.size(lot.lane));
        // How far it has to come and to go, in driving direction.
        let (before, after) = if facing > 0.0 {
            (middle, self.aspect - middle)
        } else {
            (self.aspect - middle, middle)
        };
        let (still, along, out) = if now < CAR_DRIVE {
            let left = 1.0 - now / CAR_DRIVE;
            (false, -(before + beyond) * left * left, ease(left / 0.5))
        } else if now < leaves {
            (true, 0.0, 0.0)
        } else {
            let gone = (now - leaves) / CAR_DRIVE;
            if gone > 1.0 {
                return None;
            }
            (false, (after + beyond) * gone * gone, ease(gone / 0.5))
        };
        let y = lot.bay_line + (lot.lane - lot.bay_line) * out;
        let size = self.layout.size(y);
        Some(Placed {
            id: 1 << 56 | place << 32 | round as u64,
            still,
            ground: (middle + along * facing, y),
            size,
            what: What::Car {
                body,
                facing,
                turn: along * facing / (0.17 * size),
            },
        })
    }
}

/// 0 to 1 with a soft start and end.
fn ease(share: f32) -> f32 {
    let share = share.clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}
