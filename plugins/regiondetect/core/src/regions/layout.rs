//! From wants to model inputs: tries the ways of covering them, takes the one with the fewest inputs, and puts small
//! regions side by side.

use detection::{BBox, FrameSize, PixelBox};

use super::cover::{Cover, Group, Memory, NONE, SHARED, Task, Want, greedy, longest, sweep, union};
use super::{Input, Placement, Plan, PlanSettings, Reason};

/// How many times smaller than is comfortable objects may become, from the least demanding level, which says how few inputs
/// will do, to the most demanding one, and the one between. The most demanding with no more inputs is taken.
const LEVELS: [f32; 3] = [2.0, 1.0, 1.5];
/// From this many wants on the sweep is tried too; fewer are always served best by the greedy way.
const CROWD: usize = 6;
/// With more wants than this only two levels are tried.
const FEW: usize = 24;
/// More wants than this are swept only: the greedy way takes quadratic time.
const MULTITUDE: usize = 64;

/// A group with what decides about its place.
#[derive(Debug, Clone, Copy)]
struct Square {
    group: u16,
    /// Its most urgent member.
    want: u16,
    place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An input of its own.
    Full,
    /// A quarter of an input will do.
    Small,
    /// Has been placed.
    Done,
}

/// Working memory for laying out one frame's wants.
#[derive(Debug, Default)]
pub(super) struct Layout {
    best: Cover,
    trial: Cover,
    /// The wants' limits at the level that is tried, and the same in any order.
    limits: Vec<f32>,
    sorted: Vec<f32>,
    memory: Memory,
    squares: Vec<Square>,
    plan: Plan,
    /// What `best` needs, at which level.
    inputs: usize,
    ease: f32,
}

impl Layout {
    /// Lays out wants, most urgent first. `reason_of` names a want's reason.
    pub(super) fn arrange(
        &mut self,
        wants: &[Want],
        settings: &PlanSettings,
        reason_of: impl Fn(usize) -> Reason,
    ) {
        self.plan.clear();
        if wants.is_empty() {
            return;
        }
        self.inputs = usize::MAX;
        self.ease = f32::INFINITY;
        for ease in LEVELS {
            // The level between is worth its time only where few things share few inputs.
            if ease == LEVELS[2] && (self.ease == LEVELS[1] || wants.len() > FEW) {
                break;
            }
            self.set_limits(wants, ease);
            if wants.len() <= MULTITUDE {
                let task = task(wants, &self.limits, settings, self.useful(ease));
                if greedy(task, 0, &mut self.memory, &mut self.trial) {
                    self.take_trial(ease);
                }
            }
            if wants.len() >= CROWD && (self.inputs > 1 || wants.len() > MULTITUDE) {
                let side = self.typical_limit().min(settings.max_region as f32);
                let task = task(wants, &self.limits, settings, self.useful(ease));
                if sweep(task, side, &mut self.memory, &mut self.trial) {
                    self.take_trial(ease);
                }
            }
        }
        self.place(settings, reason_of);
    }

    /// Adds the wants from `from` on to the layout of those before.
    pub(super) fn extend(
        &mut self,
        wants: &[Want],
        from: usize,
        settings: &PlanSettings,
        reason_of: impl Fn(usize) -> Reason,
    ) {
        if from == 0 {
            return self.arrange(wants, settings, reason_of);
        }
        self.plan.clear();
        let Cover { groups, of, .. } = &mut self.best;
        of.resize(wants.len(), NONE);
        let max_side = settings.max_region as f32;
        for (want, of) in wants.iter().zip(of.iter_mut()).skip(from) {
            // What fits into a region that there is anyway costs nothing.
            for (index, group) in groups.iter_mut().enumerate() {
                let around = union(&group.around, &want.grown);
                let limit = group.limit.min(want.limit(LEVELS[0])).min(max_side);
                if !group.is_small(settings) && longest(&around) <= limit {
                    group.around = around;
                    *of = index as u16;
                    break;
                }
            }
        }
        self.set_limits(wants, self.ease);
        let task = task(wants, &self.limits, settings, usize::MAX);
        greedy(task, from, &mut self.memory, &mut self.best);
        self.place(settings, reason_of);
    }

    /// How many inputs the layout needs.
    pub(super) fn inputs(&self) -> usize {
        self.plan.inputs.len()
    }

    /// One placement shows the whole of this want, large enough.
    pub(super) fn shows(&self, want: &Want, settings: &PlanSettings) -> bool {
        shows(&self.plan, want, settings)
    }

    /// Writes the first `allowed` inputs to `plan`.
    pub(super) fn keep(&self, allowed: usize, plan: &mut Plan) {
        for input in self.plan.inputs.iter().take(allowed) {
            let first = plan.placements.len();
            plan.placements
                .extend_from_slice(self.plan.placements(input));
            plan.inputs.push(Input { first, ..*input });
        }
    }

    /// More inputs than this make a cover at this level worse than the best so far.
    fn useful(&self, ease: f32) -> usize {
        self.inputs - usize::from(ease >= self.ease)
    }

    fn take_trial(&mut self, ease: f32) {
        std::mem::swap(&mut self.best, &mut self.trial);
        self.inputs = self.best.inputs();
        self.ease = ease;
    }

    fn set_limits(&mut self, wants: &[Want], ease: f32) {
        self.limits.clear();
        self.limits
            .extend(wants.iter().map(|want| want.limit(ease)));
    }

    /// A side that three quarters of the wants allow.
    fn typical_limit(&mut self) -> f32 {
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.limits);
        let at = self.sorted.len() / 4;
        *self.sorted.select_nth_unstable_by(at, f32::total_cmp).1
    }

    fn place(&mut self, settings: &PlanSettings, reason_of: impl Fn(usize) -> Reason) {
        self.squares.clear();
        for (index, group) in self.best.groups.iter().enumerate() {
            self.squares.push(Square {
                group: index as u16,
                want: u16::MAX,
                place: if group.is_small(settings) {
                    Place::Small
                } else {
                    Place::Full
                },
            });
        }
        for (want, group) in self.best.of.iter().enumerate() {
            let square = &mut self.squares[usize::from(*group)];
            square.want = square.want.min(want as u16);
        }
        self.squares.sort_unstable_by_key(|square| square.want);
        let mut small = self
            .squares
            .iter()
            .filter(|square| square.place == Place::Small)
            .count();
        for at in 0..self.squares.len() {
            let square = self.squares[at];
            let reason = reason_of(usize::from(square.want));
            match square.place {
                Place::Done => {}
                Place::Small if small > 1 => {
                    small -= self.share_input(at, settings, reason);
                }
                Place::Small | Place::Full => {
                    small -= usize::from(square.place == Place::Small);
                    let group = &self.best.groups[usize::from(square.group)];
                    let placement = Placement {
                        source: square_around(
                            settings.frame,
                            &group.around,
                            full_side(group, settings),
                        ),
                        dest: PixelBox::new(0, 0, settings.input, settings.input),
                    };
                    self.push_input(&[placement], reason);
                }
            }
        }
    }

    /// Makes one input of the small square `from` and the next ones; says how many went into it.
    fn share_input(&mut self, from: usize, settings: &PlanSettings, reason: Reason) -> usize {
        let half = settings.input / 2;
        let first = self.plan.placements.len();
        for square in &mut self.squares[from..] {
            let count = self.plan.placements.len() - first;
            if count == SHARED {
                break;
            }
            if square.place != Place::Small {
                continue;
            }
            square.place = Place::Done;
            let group = &self.best.groups[usize::from(square.group)];
            let (x, y) = (count as i32 % 2 * half, count as i32 / 2 * half);
            self.plan.placements.push(Placement {
                source: square_around(settings.frame, &group.around, small_side(group, settings)),
                dest: PixelBox::new(x, y, x + half, y + half),
            });
        }
        let count = self.plan.placements.len() - first;
        self.plan.inputs.push(Input {
            first,
            count,
            reason,
        });
        count
    }

    fn push_input(&mut self, placements: &[Placement], reason: Reason) {
        self.plan.inputs.push(Input {
            first: self.plan.placements.len(),
            count: placements.len(),
            reason,
        });
        self.plan.placements.extend_from_slice(placements);
    }
}

/// One placement of the plan shows the whole of this want, no smaller than the least demanding level allows.
pub(super) fn shows(plan: &Plan, want: &Want, settings: &PlanSettings) -> bool {
    let limit = want.limit(LEVELS[0]).max(want.side);
    plan.shows(&want.bbox, limit, settings.input)
}

fn task<'a>(
    wants: &'a [Want],
    limits: &'a [f32],
    settings: &'a PlanSettings,
    most: usize,
) -> Task<'a> {
    Task {
        wants,
        limits,
        settings,
        most,
    }
}

/// A quarter of an input shows this much of the frame: no more than it has pixels for, if that will do.
fn small_side(group: &Group, settings: &PlanSettings) -> f32 {
    let largest = (settings.input as f32 / 2.0).min(group.limit / 2.0);
    group
        .side
        .max(settings.min_region as f32)
        .min(largest)
        .max(group.needed_side(settings))
}

fn full_side(group: &Group, settings: &PlanSettings) -> f32 {
    group
        .side
        .max(settings.min_region as f32)
        .min(settings.max_region as f32)
        .max(longest(&group.around))
}

/// The square of this side, in steps of 4 pixels, about a box's centre, pushed into the frame. Holds the box if that lies
/// inside the frame and is no longer than `side`.
fn square_around(frame: FrameSize, b: &BBox, side: f32) -> PixelBox {
    let side = ((side.min(1e6) / 4.0).ceil() as i32 * 4).max(4);
    let (cx, cy) = b.centre();
    let offset = |centre: f32, dim: i32| {
        let offset = (centre - side as f32 / 2.0).floor() as i32;
        offset.clamp(0, (dim - side).max(0))
    };
    let (width, height) = frame.sides();
    let (x, y) = (offset(cx, width), offset(cy, height));
    PixelBox::new(x, y, x + side, y + side)
}
