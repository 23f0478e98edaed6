//! Frigate's clusters: boxes near enough, and alike enough in size, to share a region.

use detection::{FrameSize, PixelBox};

use super::square::region_around;
use super::{area, box_inside};

/// A cluster's region is this many times as large as the cluster.
const MULTIPLIER: f64 = 1.35;
/// In a region larger than the smallest, each member covers at least this share.
const MIN_SHARE: f64 = 0.05;

/// How far from this box another may lie and still share a region with it.
pub fn cluster_boundary(b: &PixelBox, min_region: i32) -> PixelBox {
    let (w, h) = (f64::from(b.width()), f64::from(b.height()));
    let largest = min_region.max(((w * h).abs() / 0.1).sqrt() as i32);
    let (cx, cy) = (w / 2.0 + f64::from(b.x1), h / 2.0 + f64::from(b.y1));
    let half = |side: f64| f64::from((f64::from(largest) - side / 2.0 * 1.1) as i32);
    let (dx, dy) = (half(w), half(h));
    PixelBox::new(
        (cx - dx) as i32,
        (cy - dy) as i32,
        (cx + dx) as i32,
        (cy + dy) as i32,
    )
}

/// The region of some of the boxes.
pub fn cluster_region(
    frame: FrameSize,
    min_region: i32,
    cluster: &[usize],
    boxes: &[PixelBox],
) -> PixelBox {
    let (width, height) = frame.sides();
    let start = PixelBox::new(width, height, 0, 0);
    let around = cluster
        .iter()
        .fold(start, |around, i| around.union(&boxes[*i]));
    region_around(frame, &around, min_region, MULTIPLIER)
}

/// Groups the boxes, greedily in input order: each cluster lists indices into `boxes`, ascending. Every index is in
/// exactly one cluster.
pub fn cluster_candidates(
    frame: FrameSize,
    min_region: i32,
    boxes: &[PixelBox],
) -> Vec<Vec<usize>> {
    let mut used = vec![false; boxes.len()];
    let mut clusters = Vec::new();
    for seed in 0..boxes.len() {
        if used[seed] {
            continue;
        }
        used[seed] = true;
        let mut cluster = vec![seed];
        let boundary = cluster_boundary(&boxes[seed], min_region);
        for other in 0..boxes.len() {
            if used[other] || !box_inside(&boundary, &boxes[other]) {
                continue;
            }
            cluster.push(other);
            let region = cluster_region(frame, min_region, &cluster, boxes);
            let shares = |i: &usize| area(&boxes[*i]) as f64 / area(&region) as f64 >= MIN_SHARE;
            if region.width() > min_region && !cluster.iter().all(shares) {
                cluster.pop();
            } else {
                used[other] = true;
            }
        }
        cluster.sort_unstable();
        clusters.push(cluster);
    }
    clusters
}
