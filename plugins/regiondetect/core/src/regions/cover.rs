//! Covering boxes with few squares, none so large that a box in it becomes too small to see.

use detection::BBox;

use super::PlanSettings;

/// In no group yet.
pub(super) const NONE: u16 = u16::MAX;
/// Small regions that share an input: two rows of two.
pub(super) const SHARED: usize = 4;

/// A box that should be looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Want {
    /// What must be seen whole, in frame pixels, inside the frame.
    pub(super) bbox: BBox,
    /// The same with some of its surroundings.
    pub(super) grown: BBox,
    /// Side a region of its own should have.
    pub(super) side: f32,
    /// Largest side of a region it may be shown in, at the most demanding level; see [`Want::limit`].
    pub(super) comfort: f32,
    /// Its limit may grow with the level (its size is known).
    pub(super) elastic: bool,
    /// A region of this side is always allowed.
    pub(super) floor: f32,
}

impl Want {
    /// Largest side of a region it may be shown in when objects may be `ease` (>= 1) times smaller than is comfortable.
    pub(super) fn limit(&self, ease: f32) -> f32 {
        let limit = if self.elastic {
            self.comfort * ease
        } else {
            self.comfort
        };
        limit.max(self.floor).max(longest(&self.grown))
    }
}

/// A square-to-be: what it must hold and how large it may get.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// Box around its members with their surroundings.
    pub(super) around: BBox,
    /// Side its members would like.
    pub(super) side: f32,
    /// Largest side all members allow.
    pub(super) limit: f32,
}

impl Group {
    /// What it needs at least to be seen with its surroundings.
    pub(super) fn needed_side(&self, settings: &PlanSettings) -> f32 {
        longest(&self.around).max(settings.min_region as f32 / 2.0)
    }

    /// Its objects stay large enough in a quarter of an input.
    pub(super) fn is_small(&self, settings: &PlanSettings) -> bool {
        settings.pack && self.needed_side(settings) * 2.0 <= self.limit
    }

    fn take_in(&mut self, grown: &BBox, side: f32, limit: f32) {
        self.around = union(&self.around, grown);
        self.side = greater(self.side, side);
        self.limit = lesser(self.limit, limit);
    }
}

/// Groups, and which of them each want is in.
#[derive(Debug, Default)]
pub(super) struct Cover {
    pub(super) groups: Vec<Group>,
    pub(super) of: Vec<u16>,
    /// How many of the groups are small.
    small: usize,
}

impl Cover {
    /// No group, and so many wants without one.
    fn clear(&mut self, wants: usize) {
        self.groups.clear();
        self.small = 0;
        self.of.clear();
        self.of.resize(wants, NONE);
    }

    /// Adds a group that has all its members.
    fn push(&mut self, group: Group, settings: &PlanSettings) {
        self.small += usize::from(group.is_small(settings));
        self.groups.push(group);
    }

    /// Model inputs that the groups fill.
    pub(super) fn inputs(&self) -> usize {
        self.groups.len() - self.small + self.small.div_ceil(SHARED)
    }
}

/// What is to be covered, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task<'a> {
    /// The wants, most urgent first.
    pub(super) wants: &'a [Want],
    /// Each one's limit.
    pub(super) limits: &'a [f32],
    /// What holds for all of them.
    pub(super) settings: &'a PlanSettings,
    /// With more inputs than this a cover is of no use.
    pub(super) most: usize,
}

/// Longer side.
#[inline]
pub(super) fn longest(b: &BBox) -> f32 {
    b.width().max(b.height())
}

/// The greater of two numbers. `f32::max` takes four instructions for what is one here, as no want has a NaN.
#[inline]
fn greater(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// The lesser of two numbers.
#[inline]
fn lesser(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline]
pub(super) fn union(a: &BBox, b: &BBox) -> BBox {
    BBox::new(
        lesser(a.x1, b.x1),
        lesser(a.y1, b.y1),
        greater(a.x2, b.x2),
        greater(a.y2, b.y2),
    )
}

/// A want that belongs to no group yet, as the greedy way looks at it.
#[derive(Debug, Clone, Copy)]
struct Free {
    grown: BBox,
    limit: f32,
    index: u16,
}

/// Working memory for covering.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// In no group yet, in input order.
    free: Vec<Free>,
    /// Those of them that may still join the group that is being made.
    near: Vec<Free>,
    /// In no square yet, from top to bottom.
    order: Vec<u16>,
    /// In no square of this row yet, from left to right.
    row: Vec<u16>,
}

/// Assigns the wants from `from` on to groups, which are appended: seeds in input order, each taking in whatever keeps it
/// smallest for as long as all its members allow. `of[i]` becomes the group of want `i`; those from `from` on that have one
/// keep it. False if it gave up, because more inputs than are of use would be needed.
pub(super) fn greedy(task: Task, from: usize, memory: &mut Memory, cover: &mut Cover) -> bool {
    if from == 0 {
        cover.clear(task.wants.len());
    }
    let largest = task.settings.max_region as f32;
    let Memory { free, near, .. } = memory;
    free.clear();
    for (i, (want, limit)) in task.wants.iter().zip(task.limits).enumerate().skip(from) {
        if cover.of[i] == NONE {
            free.push(Free {
                grown: want.grown,
                limit: *limit,
                index: i as u16,
            });
        }
    }
    while let Some((seed, others)) = free.split_first() {
        let index = cover.groups.len() as u16;
        let mut group = Group {
            around: seed.grown,
            side: task.wants[usize::from(seed.index)].side,
            limit: seed.limit,
        };
        cover.of[usize::from(seed.index)] = index;
        near.clear();
        near.extend_from_slice(others);
        // A group only grows and its limit only falls, so what does not fit now never will.
        while let Some(nearest) = keep_fitting(near, &group, lesser(group.limit, largest)) {
            let other = near.swap_remove(nearest);
            let side = task.wants[usize::from(other.index)].side;
            group.take_in(&other.grown, side, other.limit);
            cover.of[usize::from(other.index)] = index;
        }
        cover.push(group, task.settings);
        if cover.inputs() > task.most {
            return false;
        }
        free.retain(|f| cover.of[usize::from(f.index)] == NONE);
    }
    true
}

/// Keeps those that fit into the group; the place of the one with which it stays smallest. Which fit cannot be foretold, so
/// there is no branch on it.
fn keep_fitting(near: &mut Vec<Free>, group: &Group, limit: f32) -> Option<usize> {
    let mut kept = 0;
    let (mut nearest, mut least) = (None, f32::INFINITY);
    for i in 0..near.len() {
        let other = near[i];
        let around = union(&group.around, &other.grown);
        let side = greater(around.x2 - around.x1, around.y2 - around.y1);
        let fits = side <= lesser(limit, other.limit);
        near[kept] = other;
        let nearer = fits & (side < least);
        least = if nearer { side } else { least };
        nearest = if nearer { Some(kept) } else { nearest };
        kept += usize::from(fits);
    }
    near.truncate(kept);
    nearest
}

/// The same for a crowd: rows of squares of one side, swept from top to bottom and left to right. Wants that need a
/// larger square, or do not allow one of this size, get their own.
pub(super) fn sweep(task: Task, side: f32, memory: &mut Memory, cover: &mut Cover) -> bool {
    let Task {
        wants,
        limits,
        settings,
        most,
    } = task;
    let Memory { order, row, .. } = memory;
    let alone = |i: usize| Group {
        around: wants[i].grown,
        side: wants[i].side,
        limit: limits[i],
    };
    let grown = |i: u16| &wants[usize::from(i)].grown;
    cover.clear(wants.len());
    order.clear();
    for (i, want) in wants.iter().enumerate() {
        if longest(&want.grown) > side || limits[i] < side {
            cover.of[i] = cover.groups.len() as u16;
            cover.push(alone(i), settings);
        } else {
            order.push(i as u16);
        }
    }
    order.sort_unstable_by(|a, b| grown(*a).y1.total_cmp(&grown(*b).y1));
    while let Some(&top) = order.first() {
        // The row that begins with the topmost box left; what reaches below it waits for the next row. The first is
        // inside by definition, whatever rounding says.
        let lower = grown(top).y1 + side;
        row.clear();
        order.retain(|&i| {
            let inside = i == top || grown(i).y2 <= lower;
            if inside {
                row.push(i);
            }
            !inside
        });
        row.sort_unstable_by(|a, b| grown(*a).x1.total_cmp(&grown(*b).x1));
        while let Some(&first) = row.first() {
            let index = cover.groups.len() as u16;
            let right = grown(first).x1 + side;
            let mut group = alone(usize::from(first));
            row.retain(|&next| {
                let i = usize::from(next);
                let inside = next == first || wants[i].grown.x2 <= right;
                if inside {
                    group.take_in(&wants[i].grown, wants[i].side, limits[i]);
                    cover.of[i] = index;
                }
                !inside
            });
            cover.push(group, settings);
            if cover.inputs() > most {
                return false;
            }
        }
    }
    true
}
