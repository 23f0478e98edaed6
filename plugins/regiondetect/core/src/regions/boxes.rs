//! Box arithmetic in Frigate's convention: whole pixels, both edges counted (a box from 0 to 9 is 10 pixels wide).

use detection::{FrameSize, PixelBox};

/// A region edge nearer to the frame's edge than this cuts nothing off, and a box nearer to a region edge than this is cut.
const EDGE: i32 = 5;

/// Pixels of a box, both edges counted; 0 for an inverted one.
pub fn area(b: &PixelBox) -> i64 {
    let side = |from: i32, to: i32| (i64::from(to) - i64::from(from) + 1).max(0);
    side(b.x1, b.x2) * side(b.y1, b.y2)
}

/// The boxes share at least an edge.
pub fn box_overlaps(a: &PixelBox, b: &PixelBox) -> bool {
    a.x2 >= b.x1 && a.x1 <= b.x2 && a.y1 <= b.y2 && a.y2 >= b.y1
}

/// `inner` lies wholly inside `outer`.
pub fn box_inside(outer: &PixelBox, inner: &PixelBox) -> bool {
    outer.contains(inner)
}

/// What both boxes cover, if they share at least an edge.
pub fn intersection(a: &PixelBox, b: &PixelBox) -> Option<PixelBox> {
    box_overlaps(a, b).then(|| {
        PixelBox::new(
            a.x1.max(b.x1),
            a.y1.max(b.y1),
            a.x2.min(b.x2),
            a.y2.min(b.y2),
        )
    })
}

/// Intersection over union, 0..=1.
pub fn iou(a: &PixelBox, b: &PixelBox) -> f64 {
    let Some(both) = intersection(a, b) else {
        return 0.0;
    };
    let inter = area(&both);
    let union = area(a) + area(b) - inter;
    if union <= 0 {
        return 0.0;
    }
    inter as f64 / union as f64
}

/// The object probably goes on beyond its region: its box comes within 5 pixels of a region edge that is itself more than
/// 5 pixels from the frame's edge.
pub fn clipped(object: &PixelBox, region: &PixelBox, frame: FrameSize) -> bool {
    let (width, height) = frame.sides();
    (region.x1 > EDGE && object.x1 - region.x1 <= EDGE)
        || (region.y1 > EDGE && object.y1 - region.y1 <= EDGE)
        || (width - region.x2 > EDGE && region.x2 - object.x2 <= EDGE)
        || (height - region.y2 > EDGE && region.y2 - object.y2 <= EDGE)
}

/// Joins boxes that overlap more than `threshold` (IoU) into the box around them, in one pass in input order.
pub fn reduce_boxes(boxes: &[PixelBox], threshold: f64) -> Vec<PixelBox> {
    let mut joined: Vec<PixelBox> = Vec::new();
    for b in boxes {
        let mut found = false;
        for cluster in &mut joined {
            if iou(b, cluster) > threshold {
                *cluster = cluster.union(b);
                found = true;
            }
        }
        if !found {
            joined.push(*b);
        }
    }
    joined
}
