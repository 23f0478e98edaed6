//! Boxes: [`BBox`] with real corners for measuring, [`PixelBox`] with whole ones for cutting pictures.

use serde::{Deserialize, Serialize};

/// A box by its corners, `x1 <= x2` and `y1 <= y2`. The unit is the holder's: pixels of the detect frame inside the
/// cores, fractions of the frame (0..1) in metadata, events and messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct BBox {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

impl BBox {
    /// A box from its corners.
    #[inline]
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// A box from its left top corner and its size.
    #[inline]
    pub fn from_xywh(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self::new(x, y, x + w, y + h)
    }

    /// A box from its centre and its size.
    pub fn from_centre(cx: f32, cy: f32, w: f32, h: f32) -> Self {
        Self::new(cx - w / 2.0, cy - h / 2.0, cx + w / 2.0, cy + h / 2.0)
    }

    /// Width, negative for an inverted box.
    #[inline]
    pub fn width(&self) -> f32 {
        self.x2 - self.x1
    }

    /// Height, negative for an inverted box.
    #[inline]
    pub fn height(&self) -> f32 {
        self.y2 - self.y1
    }

    /// Area, 0 for an empty or inverted box.
    #[inline]
    pub fn area(&self) -> f32 {
        self.width().max(0.0) * self.height().max(0.0)
    }

    /// Centre.
    #[inline]
    pub fn centre(&self) -> (f32, f32) {
        ((self.x1 + self.x2) / 2.0, (self.y1 + self.y2) / 2.0)
    }

    /// Middle of the lower edge: where something stands, and what zones and masks ask about.
    pub fn bottom_centre(&self) -> (f32, f32) {
        ((self.x1 + self.x2) / 2.0, self.y2)
    }

    /// All four corners are finite and the box has an area.
    #[inline]
    pub fn is_valid(&self) -> bool {
        [self.x1, self.y1, self.x2, self.y2]
            .iter()
            .all(|v| v.is_finite())
            && self.x1 < self.x2
            && self.y1 < self.y2
    }

    /// The part both boxes share, if there is any.
    #[inline]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let shared = Self::new(
            self.x1.max(other.x1),
            self.y1.max(other.y1),
            self.x2.min(other.x2),
            self.y2.min(other.y2),
        );
        (shared.x1 < shared.x2 && shared.y1 < shared.y2).then_some(shared)
    }

    /// The smallest box around both.
    #[inline]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(
            self.x1.min(other.x1),
            self.y1.min(other.y1),
            self.x2.max(other.x2),
            self.y2.max(other.y2),
        )
    }

    /// Intersection over union, 0..=1; 0 where either box is empty.
    #[inline]
    pub fn iou(&self, other: &Self) -> f32 {
        let shared = self.intersection(other).map_or(0.0, |b| b.area());
        if shared <= 0.0 {
            return 0.0;
        }
        shared / (self.area() + other.area() - shared)
    }

    /// How much of this box lies in `other`, 0..=1.
    #[inline]
    pub fn share_in(&self, other: &Self) -> f32 {
        let area = self.area();
        if area <= 0.0 {
            return 0.0;
        }
        self.intersection(other).map_or(0.0, |b| b.area()) / area
    }

    /// `other` lies wholly inside this box.
    #[inline]
    pub fn contains(&self, other: &Self) -> bool {
        other.x1 >= self.x1 && other.y1 >= self.y1 && other.x2 <= self.x2 && other.y2 <= self.y2
    }

    /// This box made larger by `share` of its size on every side.
    #[inline]
    pub fn grown(&self, share: f32) -> Self {
        let (dx, dy) = (self.width() * share, self.height() * share);
        Self::new(self.x1 - dx, self.y1 - dy, self.x2 + dx, self.y2 + dy)
    }

    /// Multiplied by `sx` across and `sy` down: pixels to fractions and back, or one frame size to another.
    #[inline]
    pub fn scaled(&self, sx: f32, sy: f32) -> Self {
        Self::new(self.x1 * sx, self.y1 * sy, self.x2 * sx, self.y2 * sy)
    }

    /// Cut to the frame `0..width`, `0..height`.
    #[inline]
    pub fn clamped(&self, width: f32, height: f32) -> Self {
        Self::new(
            self.x1.clamp(0.0, width),
            self.y1.clamp(0.0, height),
            self.x2.clamp(0.0, width),
            self.y2.clamp(0.0, height),
        )
    }
}

/// A box in whole pixels by its corners; the right and lower edges are exclusive.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct PixelBox {
    /// Left edge.
    pub x1: i32,
    /// Top edge.
    pub y1: i32,
    /// Right edge.
    pub x2: i32,
    /// Bottom edge.
    pub y2: i32,
}

impl PixelBox {
    /// A box from its corners.
    #[inline]
    pub const fn new(x1: i32, y1: i32, x2: i32, y2: i32) -> Self {
        Self { x1, y1, x2, y2 }
    }

    /// Width, negative for an inverted box.
    #[inline]
    pub const fn width(&self) -> i32 {
        self.x2 - self.x1
    }

    /// Height, negative for an inverted box.
    #[inline]
    pub const fn height(&self) -> i32 {
        self.y2 - self.y1
    }

    /// `other` lies wholly inside this box.
    #[inline]
    pub const fn contains(&self, other: &Self) -> bool {
        other.x1 >= self.x1 && other.y1 >= self.y1 && other.x2 <= self.x2 && other.y2 <= self.y2
    }

    /// The smallest box around both.
    #[inline]
    pub fn union(&self, other: &Self) -> Self {
        Self::new(
            self.x1.min(other.x1),
            self.y1.min(other.y1),
            self.x2.max(other.x2),
            self.y2.max(other.y2),
        )
    }

    /// The same box with real corners.
    #[inline]
    pub fn to_bbox(self) -> BBox {
        BBox::new(
            self.x1 as f32,
            self.y1 as f32,
            self.x2 as f32,
            self.y2 as f32,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iou_of_a_box_with_itself_is_one_and_with_a_stranger_zero() {
        let a = BBox::from_xywh(10.0, 10.0, 20.0, 40.0);
        assert_eq!(a.iou(&a), 1.0);
        assert_eq!(a.iou(&BBox::from_xywh(100.0, 10.0, 20.0, 40.0)), 0.0);
        assert_eq!(a.iou(&BBox::from_xywh(20.0, 10.0, 20.0, 40.0)), 1.0 / 3.0);
    }

    #[test]
    fn empty_inverted_and_infinite_boxes_measure_zero() {
        let inverted = BBox::new(10.0, 10.0, 5.0, 5.0);
        assert_eq!(inverted.area(), 0.0);
        assert_eq!(inverted.iou(&inverted), 0.0);
        assert!(!inverted.is_valid());
        assert!(!BBox::new(0.0, 0.0, f32::NAN, 1.0).is_valid());
    }

    #[test]
    fn share_in_counts_only_this_boxs_area() {
        let small = BBox::from_xywh(0.0, 0.0, 10.0, 10.0);
        let large = BBox::from_xywh(5.0, 0.0, 100.0, 100.0);
        assert_eq!(small.share_in(&large), 0.5);
    }
}
