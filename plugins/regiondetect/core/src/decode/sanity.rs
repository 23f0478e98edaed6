//! Whether what a model gives can be detections at all: the last resort, where a model was recognised as what it is not.

use detection::BBox;

/// Boxes of lower scores say little, even of a model that is read right.
const MIN_SCORE: f32 = 0.2;
/// Images with boxes that are remembered.
const REMEMBERED: u32 = 16;
/// From so many on there is a verdict.
const ENOUGH: u32 = 5;

/// What is odd about the boxes of one image.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    boxes: u32,
    tiny: u32,
    outside: u32,
    above_one: u32,
    /// Of these boxes all are like the first.
    equal: u32,
    first: Option<(BBox, u16)>,
}

impl Tally {
    /// Takes note of a box as the model gave it.
    pub(super) fn add(&mut self, bbox: &BBox, label: u16, score: f32, width: f32, height: f32) {
        if score.is_nan() || score < MIN_SCORE {
            return;
        }
        let (w, h) = (bbox.x2 - bbox.x1, bbox.y2 - bbox.y1);
        let overlaps = bbox.x1 < width && bbox.y1 < height && bbox.x2 > 0.0 && bbox.y2 > 0.0;
        let fits = w <= 2.0 * width && h <= 2.0 * height;
        self.boxes += 1;
        if !(w >= 0.0 && h >= 0.0 && overlaps && fits) {
            self.outside += 1;
        } else if w < 1.0 || h < 1.0 {
            self.tiny += 1;
        } else if score > 1.01 {
            self.above_one += 1;
        }
        let first = self.first.get_or_insert((*bbox, label));
        self.equal += u32::from(*first == (*bbox, label));
    }

    /// What most of the boxes have in common that no detections have.
    fn oddity(&self) -> Option<&'static str> {
        let most = |count: u32| 2 * count > self.boxes;
        [
            (most(self.tiny), "boxes are smaller than a pixel"),
            (
                most(self.outside),
                "boxes lie outside the picture or have their corners the wrong way round",
            ),
            (most(self.above_one), "scores are above 1"),
            (
                self.boxes >= 3 && self.equal == self.boxes,
                "all boxes are equal",
            ),
            (
                most(self.tiny + self.outside + self.above_one),
                "boxes are smaller than a pixel or outside the picture, or scores are above 1",
            ),
        ]
        .into_iter()
        .find_map(|(holds, text)| holds.then_some(text))
    }
}

/// The verdict over the last images in which a model found something.
#[derive(Debug, Clone, Default)]
pub struct Sanity {
    /// A bit per image, the newest lowest; set: it was odd.
    odd: u32,
    images: u32,
    implausible: Option<&'static str>,
}

impl Sanity {
    /// Takes note of an image. One without boxes says nothing.
    pub fn note(&mut self, tally: &Tally) {
        if tally.boxes == 0 {
            return;
        }
        let oddity = tally.oddity();
        self.odd = (self.odd << 1 | u32::from(oddity.is_some())) & ((1 << REMEMBERED) - 1);
        self.images = (self.images + 1).min(REMEMBERED);
        let odd = self.odd.count_ones();
        // Two limits, so that the verdict does not change with each image.
        if self.images >= ENOUGH && 10 * odd >= 8 * self.images {
            self.implausible = self.implausible.or(oddity);
        } else if 10 * odd <= 2 * self.images {
            self.implausible = None;
        }
    }

    /// Why what the model gives cannot be detections; `None` while it can.
    pub fn implausible(&self) -> Option<&'static str> {
        self.implausible
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(boxes: &[([f32; 4], f32)]) -> Tally {
        let mut tally = Tally::default();
        for ([x1, y1, x2, y2], score) in boxes {
            tally.add(&BBox::new(*x1, *y1, *x2, *y2), 0, *score, 320.0, 320.0);
        }
        tally
    }

    const GOOD: ([f32; 4], f32) = ([10.0, 20.0, 60.0, 90.0], 0.9);

    #[test]
    fn each_kind_of_nonsense_is_named_after_a_few_images() {
        for (odd, expected) in [
            (([0.5, 0.5, 0.9, 0.9], 0.9), "smaller than a pixel"),
            (([400.0, 20.0, 460.0, 90.0], 0.9), "outside"),
            (([60.0, 20.0, 10.0, 90.0], 0.9), "wrong way round"),
            (([f32::NAN, 20.0, 10.0, 90.0], 0.9), "outside"),
            (([-900.0, -900.0, 900.0, 900.0], 0.9), "outside"),
            (([10.0, 20.0, 60.0, 90.0], 7.5), "above 1"),
        ] {
            let mut sanity = Sanity::default();
            for n in 0..ENOUGH {
                assert_eq!(sanity.implausible(), None, "after {n} images");
                sanity.note(&image(&[odd, odd, GOOD]));
            }
            let found = sanity.implausible().unwrap_or_default();
            assert!(found.contains(expected), "{odd:?}: {found:?}");
            // A model file may be replaced, a camera uncovered.
            for _ in 0..REMEMBERED {
                sanity.note(&image(&[GOOD]));
            }
            assert_eq!(sanity.implausible(), None);
        }
    }

    #[test]
    fn equal_boxes_are_nonsense_and_a_single_box_is_not() {
        let (mut equal, mut single) = (Sanity::default(), Sanity::default());
        for _ in 0..20 {
            equal.note(&image(&[GOOD, GOOD, GOOD]));
            single.note(&image(&[GOOD]));
        }
        assert_eq!(equal.implausible(), Some("all boxes are equal"));
        assert_eq!(single.implausible(), None);
    }

    #[test]
    fn odd_boxes_now_and_then_and_weak_ones_are_no_reason() {
        let mut sanity = Sanity::default();
        for n in 0..100 {
            let odd = ([0.0, 0.0, 0.5, 0.5], 0.9);
            let boxes = [odd, GOOD];
            sanity.note(&image(&boxes[..if n % 3 == 0 { 1 } else { 2 }]));
            sanity.note(&image(&[([0.0; 4], 0.01), GOOD]));
            sanity.note(&image(&[]));
            assert_eq!(sanity.implausible(), None, "after {n}");
        }
    }
}
