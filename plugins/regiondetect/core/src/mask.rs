//! Motion masks: what polygons leave of a shrunk frame.

use detection::{FrameSize, Masks, Polygon};

/// What the polygons leave of a frame shrunk to `small`: 255 for a pixel that counts, 0 for one that lies wholly under a
/// polygon. Pixels a polygon's edge runs through are under it.
pub fn shrunk_mask(polygons: &[Polygon], frame: FrameSize, small: FrameSize) -> Vec<u8> {
    let (width, height) = (frame.width.max(1) as usize, frame.height.max(1) as usize);
    let (columns, rows) = (small.width.max(1) as usize, small.height.max(1) as usize);
    let mut mask = vec![255u8; columns * rows];
    if polygons.is_empty() {
        return mask;
    }
    // Row by row of the frame: how many of each small pixel's columns are under a polygon, over all its rows.
    let mut row = vec![false; width];
    let mut crossings = Vec::new();
    let (sx, sy) = (width as f64 / columns as f64, height as f64 / rows as f64);
    for small_y in 0..rows {
        let line = &mut mask[small_y * columns..][..columns];
        line.fill(0);
        for y in covered(small_y, sy, height) {
            row.fill(false);
            for polygon in polygons {
                fill_row(polygon, frame, y, &mut row, &mut crossings);
            }
            for (small_x, pixel) in line.iter_mut().enumerate() {
                if covered(small_x, sx, width).any(|x| !row[x]) {
                    *pixel = 255;
                }
            }
        }
    }
    mask
}

/// Pixels of the large picture that a small pixel covers, but for slivers that rounding loses.
fn covered(at: usize, scale: f64, size: usize) -> std::ops::Range<usize> {
    const SLIVER: f64 = 0.002;
    let from = (at as f64 * scale + SLIVER * scale).floor() as usize;
    let to = ((at + 1) as f64 * scale - SLIVER * scale).ceil() as usize;
    from.min(size - 1)..to.clamp(from.min(size - 1) + 1, size)
}

fn fill_row(
    polygon: &Polygon,
    frame: FrameSize,
    y: usize,
    row: &mut [bool],
    crossings: &mut Vec<f32>,
) {
    let at = y as f32;
    let last = row.len() as f32 - 1.0;
    let mut mark = |from: f32, to: f32| {
        if to >= 0.0 && from <= last && from <= to {
            row[from.max(0.0) as usize..=to.min(last) as usize].fill(true);
        }
    };
    crossings.clear();
    for ((ax, ay), (bx, by)) in polygon.edges(frame) {
        let x_at = |y: f32| ax + (y - ay) / (by - ay) * (bx - ax);
        if (ay > at) != (by > at) {
            crossings.push(x_at(at));
        }
        // What the edge itself runs through in this row, half a pixel up and down.
        let (top, bottom) = (ay.min(by).max(at - 0.5), ay.max(by).min(at + 0.5));
        if top <= bottom {
            let (from, to) = if ay == by {
                (ax, bx)
            } else {
                (x_at(top), x_at(bottom))
            };
            mark(from.min(to).round(), from.max(to).round());
        }
    }
    crossings.sort_unstable_by(f32::total_cmp);
    for pair in crossings.chunks_exact(2) {
        mark(pair[0].ceil(), pair[1].floor());
    }
}

/// Any bytes are read as masks or refused, and every mask has the size and the values it must have: for the fuzz target
/// and the property tests.
pub fn fuzz(bytes: &[u8]) {
    let Ok(masks) = String::from_utf8_lossy(bytes).parse::<Masks>() else {
        return;
    };
    let polygons: Vec<Polygon> = masks.polygons().cloned().collect();
    let (frame, small) = (FrameSize::new(64, 36), FrameSize::new(17, 10));
    let mask = shrunk_mask(&polygons, frame, small);
    assert_eq!(mask.len(), 170);
    assert!(mask.iter().all(|p| matches!(p, 0 | 255)));
    assert!(!polygons.is_empty() || mask.iter().all(|p| *p == 255));
    for polygon in &polygons {
        polygon.contains(frame, (f32::NAN, 3.0));
        polygon.contains(frame, (32.0, 18.0));
        let text = polygon.to_string();
        assert_eq!(text.parse::<Polygon>().as_ref(), Ok(polygon), "{text}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: FrameSize = FrameSize::new(200, 100);

    #[test]
    fn only_pixels_wholly_under_the_polygon_are_masked() {
        // Left half of the picture and 4 pixels more: the column it cuts stays.
        let half: Polygon = "0,0,104,0,104,100,0,100".parse().unwrap();
        let small = FrameSize::new(20, 10);
        let mask = shrunk_mask(&[half], FRAME, small);
        for y in 0..10 {
            for x in 0..20 {
                assert_eq!(
                    mask[y * 20 + x],
                    if x < 10 { 0 } else { 255 },
                    "x={x} y={y}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[\\[{]{0,2}[0-9,.; eE+\":\\[\\]{}-]{0,200}", w in 1u32..300, h in 1u32..300) {
            fuzz(text.as_bytes());
            if let Ok(masks) = text.parse::<Masks>() {
                let polygons: Vec<Polygon> = masks.polygons().cloned().collect();
                let mask = shrunk_mask(&polygons, FrameSize::new(w, h), FrameSize::new(40, 30));
                prop_assert_eq!(mask.len(), 1200);
            }
        }

        #[test]
        fn what_is_far_inside_is_masked_and_what_is_outside_is_not(
            x in 0f32..150.0, y in 0f32..50.0, w in 30f32..50.0, h in 30f32..50.0,
        ) {
            let text = format!("{x},{y},{},{y},{},{},{x},{}", x + w, x + w, y + h, y + h);
            let polygon: Polygon = text.parse().unwrap();
            let mask = shrunk_mask(std::slice::from_ref(&polygon), FRAME, FrameSize::new(50, 25));
            for sy in 0..25 {
                for sx in 0..50 {
                    let (px, py) = (sx as f32 * 4.0, sy as f32 * 4.0);
                    let masked = mask[sy * 50 + sx] == 0;
                    if px > x + 2.0 && px + 6.0 < x + w && py > y + 2.0 && py + 6.0 < y + h {
                        prop_assert!(masked);
                    }
                    if px > x + w + 2.0 || py > y + h + 2.0 || px + 6.0 < x || py + 6.0 < y {
                        prop_assert!(!masked);
                    }
                }
            }
        }
    }
}
