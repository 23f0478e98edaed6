//! The square of picture around a box that goes into a model.

use detection::{FrameSize, PixelBox};

/// Frigate's square region around a box (x1, y1, x2, y2): as large as its longer side times `multiplier`, in steps of 4
/// pixels, at least `min_region`, pushed into the frame. It reaches beyond the right or lower edge only where it is larger
/// than the frame. `multiplier`: 1.35 around tracked objects, 2 around motion, 1 at start-up.
pub fn calculate_region(
    frame: FrameSize,
    (x1, y1, x2, y2): (f64, f64, f64, f64),
    min_region: i32,
    multiplier: f64,
) -> PixelBox {
    let longest = (x2 - x1).max(y2 - y1);
    let size = (((longest * multiplier) / 4.0).floor() * 4.0) as i32;
    let size = size.max(min_region).clamp(1, i32::MAX / 4);
    let offset = |from: f64, to: f64, dim: i32| {
        // Truncated towards zero, as Python's int() does.
        let offset = ((to - from) / 2.0 + from - f64::from(size) / 2.0) as i32;
        if offset < 0 {
            0
        } else {
            offset.min((dim - size).max(0))
        }
    };
    let (width, height) = frame.sides();
    let (x, y) = (offset(x1, x2, width), offset(y1, y2, height));
    PixelBox::new(x, y, x + size, y + size)
}

/// [`calculate_region`] around a box in whole pixels.
pub(super) fn region_around(
    frame: FrameSize,
    b: &PixelBox,
    min_region: i32,
    multiplier: f64,
) -> PixelBox {
    let corners = (
        f64::from(b.x1),
        f64::from(b.y1),
        f64::from(b.x2),
        f64::from(b.y2),
    );
    calculate_region(frame, corners, min_region, multiplier)
}
