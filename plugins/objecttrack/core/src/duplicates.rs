//! One object told of twice: two boxes that are nearly one, or a piece of an object that the edge of a looked-at region cut off
//! beside the whole of it. Detectors that inspect overlapping regions give both.

use detection::BBox;

use crate::candidates::Candidates;
use crate::tracker::{LookedAt, Seen};

/// Share of the smaller box that lies in the larger for it to be a piece of it.
const INSIDE: f32 = 0.85;

/// Removes what is told of twice; of two equal boxes the more confident one stays, of a piece and a whole the whole.
pub fn remove(
    seen: &mut Vec<Seen>,
    looked_at: LookedAt<'_>,
    least_iou: f32,
    boxes: &mut Vec<BBox>,
    candidates: &mut Candidates,
) {
    if seen.len() < 2 {
        return;
    }
    boxes.clear();
    boxes.extend(seen.iter().map(|s| s.bbox));
    candidates.find(boxes, boxes);
    let mut any = false;
    for &(i, j) in candidates.pairs.iter().filter(|(i, j)| i < j) {
        let (a, b) = (&seen[i as usize], &seen[j as usize]);
        if a.taken || b.taken || a.group != b.group {
            continue;
        }
        let drop = if a.bbox.iou(&b.bbox) > least_iou {
            if a.score >= b.score { j } else { i }
        } else if a.bbox.area() >= b.bbox.area() && is_piece(&b.bbox, &a.bbox, looked_at) {
            j
        } else if a.bbox.area() < b.bbox.area() && is_piece(&a.bbox, &b.bbox, looked_at) {
            i
        } else {
            continue;
        };
        seen[drop as usize].taken = true;
        any = true;
    }
    if any {
        seen.retain(|s| !s.taken);
    }
}

/// `part` lies in `whole` and ends at the edge of a region beyond which `whole` goes on.
fn is_piece(part: &BBox, whole: &BBox, looked_at: LookedAt<'_>) -> bool {
    let LookedAt::Regions(regions) = looked_at else {
        return false;
    };
    let common = part.intersection(whole).map_or(0.0, |p| p.area());
    if common < INSIDE * part.area() {
        return false;
    }
    let (tx, ty) = (
        (0.03 * part.width()).max(2.0),
        (0.03 * part.height()).max(2.0),
    );
    regions.iter().any(|r| {
        ((part.x1 - r.x1).abs() < tx && whole.x1 < part.x1 - tx)
            || ((part.x2 - r.x2).abs() < tx && whole.x2 > part.x2 + tx)
            || ((part.y1 - r.y1).abs() < ty && whole.y1 < part.y1 - ty)
            || ((part.y2 - r.y2).abs() < ty && whole.y2 > part.y2 + ty)
    })
}
