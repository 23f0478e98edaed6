//! Non-maximum suppression: of overlapping boxes of one class the best stays.

use detection::Detection;

/// Candidates that take part. A model that finds more in one crop is broken, and must not cost quadratic time.
const LIMIT: usize = 1000;

/// Best first; equal scores by place, so that the order never depends on the input's.
pub fn sort(detections: &mut [Detection]) {
    detections.sort_unstable_by(|a, b| {
        let corner = |d: &Detection| (d.bbox.x1, d.bbox.y1, d.bbox.x2, d.bbox.y2);
        let ((ax, ay, aw, ah), (bx, by, bw, bh)) = (corner(a), corner(b));
        (b.score.total_cmp(&a.score))
            .then(a.label.cmp(&b.label))
            .then(ax.total_cmp(&bx))
            .then(ay.total_cmp(&by))
            .then(aw.total_cmp(&bw))
            .then(ah.total_cmp(&bh))
    });
}

/// Keeps, best first, each detection that overlaps no better one of its class by more than `iou`. `kept` is working
/// memory. At most the 1000 best are looked at.
pub fn per_class(detections: &mut Vec<Detection>, iou: f32, kept: &mut Vec<Detection>) {
    if detections.len() > LIMIT {
        detections.select_nth_unstable_by(LIMIT, |a, b| b.score.total_cmp(&a.score));
        detections.truncate(LIMIT);
    }
    sort(detections);
    kept.clear();
    for detection in detections.iter() {
        let covered = kept.iter().any(|better| {
            better.label == detection.label && better.bbox.iou(&detection.bbox) > iou
        });
        if !covered {
            kept.push(*detection);
        }
    }
    std::mem::swap(detections, kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use detection::BBox;

    fn found(x: f32, label: u16, score: f32) -> Detection {
        Detection {
            bbox: BBox::from_xywh(x, 0.0, 10.0, 10.0),
            label,
            score,
        }
    }

    #[test]
    fn the_best_of_overlapping_boxes_of_one_class_stays() {
        let mut list = vec![
            found(0.0, 0, 0.6),
            found(1.0, 0, 0.9),
            found(2.0, 1, 0.5),
            found(50.0, 0, 0.7),
        ];
        per_class(&mut list, 0.5, &mut Vec::new());
        let scores: Vec<f32> = list.iter().map(|d| d.score).collect();
        assert_eq!(
            scores,
            [0.9, 0.7, 0.5],
            "another class and another place stay"
        );
    }

    #[test]
    fn neighbours_that_only_touch_both_stay() {
        let mut list = vec![
            found(0.0, 0, 0.9),
            found(10.0, 0, 0.8),
            found(300.0, 0, 0.7),
        ];
        per_class(&mut list, 0.4, &mut Vec::new());
        assert_eq!(list.len(), 3);
    }

    #[test]
    fn a_flood_of_candidates_is_cut_to_the_best() {
        let mut list: Vec<_> = (0..5000)
            .map(|i| found(20.0 * i as f32, 0, i as f32 / 5000.0))
            .collect();
        per_class(&mut list, 0.5, &mut Vec::new());
        assert_eq!(list.len(), LIMIT);
        assert_eq!(list[0].score, 4999.0 / 5000.0);
    }
}
