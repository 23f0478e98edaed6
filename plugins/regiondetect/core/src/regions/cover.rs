//! Covering boxes with few squares, none so large that a box in it becomes too small to see.

use detection::BBox;

/// In no group yet.
pub(super) const NONE: u16 = u16::MAX;

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
    /// Members.
    pub(super) members: u16,
}

/// Longer side.
#[inline]
pub(super) fn longest(b: &BBox) -> f32 {
    b.width().max(b.height())
}

pub(super) fn union(a: &BBox, b: &BBox) -> BBox {
    BBox::new(
        a.x1.min(b.x1),
        a.y1.min(b.y1),
        a.x2.max(b.x2),
        a.y2.max(b.y2),
    )
}

/// A want that belongs to no group yet, as the greedy way looks at it.
#[derive(Debug, Clone, Copy)]
struct Free {
    grown: BBox,
    limit: f32,
    index: u16,
}

/// What bounds a cover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// How many times smaller than is comfortable objects may become.
    pub(super) ease: f32,
    /// Largest side of a group with several members.
    pub(super) side: f32,
    /// With more groups than this it is not worth going on.
    pub(super) groups: usize,
}

/// Working memory of [`greedy`].
#[derive(Debug, Default)]
pub(super) struct Greedy {
    /// In no group yet, in input order.
    free: Vec<Free>,
    /// Those of them that may still join the group that is being made.
    near: Vec<Free>,
}

/// Assigns the wants from `from` on to groups, which are appended: seeds in input order, each taking in whatever keeps it
/// smallest for as long as all its members allow. `of[i]` becomes the group of want `i`; those from `from` on that have one
/// keep it. False if it gave up.
pub(super) fn greedy(
    wants: &[Want],
    from: usize,
    limits: Limits,
    memory: &mut Greedy,
    groups: &mut Vec<Group>,
    of: &mut Vec<u16>,
) -> bool {
    if from == 0 {
        of.clear();
    }
    of.resize(wants.len(), NONE);
    let Greedy { free, near } = memory;
    free.clear();
    for (i, want) in wants.iter().enumerate().skip(from) {
        if of[i] == NONE {
            free.push(Free {
                grown: want.grown,
                limit: want.limit(limits.ease),
                index: i as u16,
            });
        }
    }
    while let Some(seed) = free.first() {
        if groups.len() >= limits.groups {
            return false;
        }
        let index = groups.len() as u16;
        let mut group = Group {
            around: seed.grown,
            side: wants[usize::from(seed.index)].side,
            limit: seed.limit,
            members: 1,
        };
        of[usize::from(seed.index)] = index;
        near.clear();
        near.extend_from_slice(&free[1..]);
        loop {
            // A group only grows and its limit only falls, so what does not fit now never will.
            let mut kept = 0;
            let mut best: Option<(usize, f32)> = None;
            for i in 0..near.len() {
                let other = near[i];
                let side = longest(&union(&group.around, &other.grown));
                if side <= group.limit.min(other.limit).min(limits.side) {
                    if best.is_none_or(|(_, least)| side < least) {
                        best = Some((kept, side));
                    }
                    near[kept] = other;
                    kept += 1;
                }
            }
            near.truncate(kept);
            let Some((place, _)) = best else { break };
            let other = near.swap_remove(place);
            group.around = union(&group.around, &other.grown);
            group.limit = group.limit.min(other.limit);
            group.side = group.side.max(wants[usize::from(other.index)].side);
            group.members += 1;
            of[usize::from(other.index)] = index;
        }
        groups.push(group);
        free.retain(|f| of[usize::from(f.index)] == NONE);
    }
    true
}

/// The same for a crowd: rows of squares of one side, swept from top to bottom and left to right. Wants that need a
/// larger square, or do not allow one of this size, get their own.
pub(super) fn sweep(
    wants: &[Want],
    ease: f32,
    side: f32,
    order: &mut Vec<u16>,
    groups: &mut Vec<Group>,
    of: &mut Vec<u16>,
) {
    groups.clear();
    of.clear();
    of.resize(wants.len(), NONE);
    let add = |groups: &mut Vec<Group>, i: usize| {
        let want = &wants[i];
        groups.push(Group {
            around: want.grown,
            side: want.side,
            limit: want.limit(ease),
            members: 1,
        });
        groups.len() as u16 - 1
    };
    order.clear();
    for (i, want) in wants.iter().enumerate() {
        if longest(&want.grown) > side || want.limit(ease) < side {
            of[i] = add(groups, i);
        } else {
            order.push(i as u16);
        }
    }
    order.sort_unstable_by(|a, b| {
        let top = |i: &u16| wants[usize::from(*i)].grown.y1;
        top(a).total_cmp(&top(b))
    });
    let mut done = 0;
    while done < order.len() {
        // The row that begins with the topmost box left; what reaches below it waits for the next row.
        let lower = wants[usize::from(order[done])].grown.y1 + side;
        let inside = |i: u16| wants[usize::from(i)].grown.y2 <= lower;
        let mut end = done;
        for at in done..order.len() {
            // The first is inside by definition, whatever rounding says.
            if at == done || inside(order[at]) {
                order.swap(at, end);
                end += 1;
            }
        }
        order[done..end].sort_unstable_by(|a, b| {
            let left = |i: &u16| wants[usize::from(*i)].grown.x1;
            left(a).total_cmp(&left(b))
        });
        let mut at = done;
        while at < end {
            let index = add(groups, usize::from(order[at]));
            let right = wants[usize::from(order[at])].grown.x1 + side;
            let mut kept = at;
            for next in at..end {
                let i = usize::from(order[next]);
                if next == at || wants[i].grown.x2 <= right {
                    let group = &mut groups[usize::from(index)];
                    group.around = union(&group.around, &wants[i].grown);
                    group.limit = group.limit.min(wants[i].limit(ease));
                    group.side = group.side.max(wants[i].side);
                    group.members += u16::from(next != at);
                    of[i] = index;
                    // Keeps the rest in order behind what is done.
                    order[kept..=next].rotate_right(1);
                    kept += 1;
                }
            }
            at = kept;
        }
        done = end;
        order[done..].sort_unstable_by(|a, b| {
            let top = |i: &u16| wants[usize::from(*i)].grown.y1;
            top(a).total_cmp(&top(b))
        });
    }
}
