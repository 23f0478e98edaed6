//! The share of a box that a set of regions covers.

use detection::BBox;

/// Share of `b` covered by the union of `regions`, 0..=1. The shares of single regions are added up only as far as they do not
/// overlap; more than `MANY` regions that touch the box are taken as the largest single share, which never says too much.
pub fn covered(b: &BBox, regions: &[BBox]) -> f32 {
    const MANY: usize = 8;
    let area = b.area();
    if area <= 0.0 {
        return 0.0;
    }
    let mut parts = [BBox::default(); MANY];
    let (mut n, mut largest, mut too_many) = (0, 0.0f32, false);
    for r in regions {
        let Some(part) = b.intersection(r) else {
            continue;
        };
        largest = largest.max(part.area() / area);
        if largest >= 1.0 {
            return 1.0;
        }
        if n < MANY {
            parts[n] = part;
            n += 1;
        } else {
            too_many = true;
        }
    }
    if n <= 1 || too_many {
        return largest;
    }
    // Few parts: cut the box at their edges and count the cells that lie in any of them.
    let mut xs = [0.0f32; 2 * MANY];
    let mut ys = [0.0f32; 2 * MANY];
    for (i, p) in parts[..n].iter().enumerate() {
        xs[2 * i] = p.x1;
        xs[2 * i + 1] = p.x2;
        ys[2 * i] = p.y1;
        ys[2 * i + 1] = p.y2;
    }
    let (xs, ys) = (&mut xs[..2 * n], &mut ys[..2 * n]);
    xs.sort_unstable_by(f32::total_cmp);
    ys.sort_unstable_by(f32::total_cmp);
    let mut sum = 0.0;
    for y in ys.windows(2) {
        for x in xs.windows(2) {
            let cell = BBox::new(x[0], y[0], x[1], y[1]);
            if cell.area() > 0.0 && parts[..n].iter().any(|p| p.contains(&cell)) {
                sum += cell.area();
            }
        }
    }
    (sum / area).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn two_halves_cover_the_whole_and_an_overlap_counts_once() {
        let b = BBox::from_xywh(0.0, 0.0, 10.0, 10.0);
        let left = BBox::from_xywh(-5.0, -5.0, 11.0, 20.0);
        let right = BBox::from_xywh(4.0, -5.0, 11.0, 20.0);
        assert_eq!(covered(&b, &[left]), 0.6);
        assert!((covered(&b, &[left, right]) - 1.0).abs() < 1e-6);
        assert_eq!(covered(&b, &[]), 0.0);
    }

    proptest! {
        #[test]
        fn cover_is_a_share_and_grows_with_regions(rs in prop::collection::vec((0.0f32..90.0, 0.0f32..90.0, 1.0f32..60.0, 1.0f32..60.0), 0..7)) {
            let b = BBox::from_xywh(20.0, 20.0, 40.0, 40.0);
            let rs: Vec<BBox> = rs.into_iter().map(|(x, y, w, h)| BBox::from_xywh(x, y, w, h)).collect();
            let mut last = 0.0;
            for n in 0..=rs.len() {
                let c = covered(&b, &rs[..n]);
                prop_assert!((0.0..=1.0).contains(&c));
                prop_assert!(c >= last - 1e-4);
                last = c;
            }
        }
    }
}
