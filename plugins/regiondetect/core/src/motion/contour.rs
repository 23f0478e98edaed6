//! Outer borders of connected areas (Suzuki and Abe's border following, outermost borders only).

/// An outer border.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Contour {
    /// Area of the polygon through the centres of its border pixels.
    pub area: f64,
    /// First column and row, and the ones behind the last.
    pub x1: i32,
    pub y1: i32,
    pub x2: i32,
    pub y2: i32,
}

const BACKGROUND: u8 = 0;
const FRESH: u8 = 1;
/// On a border that has been followed.
const SEEN: u8 = 2;
/// The same, with background to its right: behind it one is outside again.
const RIGHT_EDGE: u8 = 3;

/// Columns and rows to the eight neighbours, anticlockwise from the right, as rows grow downwards.
const STEPS: [(i32, i32); 8] = [
    (1, 0),
    (1, -1),
    (0, -1),
    (-1, -1),
    (-1, 0),
    (-1, 1),
    (0, 1),
    (1, 1),
];

/// Follows borders in a picture of 0 and 1. Keeps its working memory.
#[derive(Debug, Default)]
pub(super) struct Tracer {
    marks: Vec<u8>,
    stride: usize,
}

impl Tracer {
    /// Appends the outermost borders of the 8-connected areas of ones. What lies in a hole of another area is none.
    pub(super) fn trace(&mut self, plane: &[u8], width: usize, found: &mut Vec<Contour>) {
        self.stride = width + 2;
        let rows = plane.len() / width;
        // Everything is written below but the border, which stays background.
        self.marks.resize(self.stride * (rows + 2), BACKGROUND);
        for (row, marks) in plane
            .chunks_exact(width)
            .zip(self.marks[self.stride..].chunks_exact_mut(self.stride))
        {
            marks[1..=width].copy_from_slice(row);
        }
        for y in 1..=rows {
            self.trace_row(y, found);
        }
    }

    fn trace_row(&mut self, y: usize, found: &mut Vec<Contour>) {
        let row = y * self.stride..(y + 1) * self.stride;
        let mut previous = BACKGROUND;
        // The followed border passed last in this row; the picture's own border to begin with.
        let mut passed = row.start;
        let mut at = row.start;
        while at < row.end {
            if previous == BACKGROUND {
                // Nothing happens until something is set.
                let Some(next) = next_set(&self.marks[at..row.end]) else {
                    return;
                };
                at += next;
            }
            // Where the last border passed is SEEN we are inside that area, in a hole of it.
            if previous == BACKGROUND && self.marks[at] == FRESH && self.marks[passed] != SEEN {
                found.push(self.follow(at));
            }
            previous = self.marks[at];
            if previous == SEEN || previous == RIGHT_EDGE {
                passed = at;
            }
            at += 1;
        }
    }

    /// Follows the outer border that begins at `start`, anticlockwise.
    fn follow(&mut self, start: usize) -> Contour {
        let stride = self.stride as i32;
        let step = STEPS.map(|(x, y)| (y * stride + x) as isize);
        let neighbour = |at: usize, direction: usize| at.wrapping_add_signed(step[direction]);
        let (x, y) = (start % self.stride, start / self.stride);
        let (mut x, mut y) = (x as i32 - 1, y as i32 - 1);
        let mut contour = Contour {
            area: 0.0,
            x1: x,
            y1: y,
            x2: x + 1,
            y2: y + 1,
        };
        // Clockwise from the left: the last neighbour of the border.
        let Some(last) = (1..8)
            .map(|turn| (4 + 8 - turn) % 8)
            .find(|d| self.marks[neighbour(start, *d)] != BACKGROUND)
        else {
            self.marks[start] = RIGHT_EDGE;
            return contour;
        };
        let end = neighbour(start, last);
        let mut at = start;
        let mut from = last;
        let mut twice = 0i64;
        loop {
            // Anticlockwise from where we came from; that neighbour is set, so this ends.
            let mut direction = from;
            let mut right_is_background = false;
            loop {
                direction = (direction + 1) % 8;
                if self.marks[neighbour(at, direction)] != BACKGROUND {
                    break;
                }
                right_is_background |= direction == 0;
            }
            if right_is_background {
                self.marks[at] = RIGHT_EDGE;
            } else if self.marks[at] == FRESH {
                self.marks[at] = SEEN;
            }
            let next = neighbour(at, direction);
            let (dx, dy) = STEPS[direction];
            twice += i64::from(x * dy - dx * y);
            (x, y) = (x + dx, y + dy);
            contour.x1 = contour.x1.min(x);
            contour.y1 = contour.y1.min(y);
            contour.x2 = contour.x2.max(x + 1);
            contour.y2 = contour.y2.max(y + 1);
            if next == start && at == end {
                break;
            }
            at = next;
            from = (direction + 4) % 8;
        }
        contour.area = twice.abs() as f64 / 2.0;
        contour
    }
}

/// The first mark that is not background; sixteen are looked at in one go.
fn next_set(marks: &[u8]) -> Option<usize> {
    let (chunks, rest) = marks.as_chunks::<16>();
    for (chunk, words) in chunks.iter().enumerate() {
        let word = u128::from_le_bytes(*words);
        if word != 0 {
            return Some(16 * chunk + word.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|mark| *mark != BACKGROUND)?;
    Some(16 * chunks.len() + place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(rows: &[&str]) -> Vec<Contour> {
        let width = rows[0].len();
        let plane: Vec<u8> = rows
            .iter()
            .flat_map(|r| r.bytes().map(|b| u8::from(b == b'#')))
            .collect();
        let mut found = Vec::new();
        Tracer::default().trace(&plane, width, &mut found);
        found
    }

    #[test]
    fn the_area_is_that_of_the_polygon_through_pixel_centres() {
        let found = trace(&["......", ".####.", ".####.", ".####.", "......"]);
        let square = Contour {
            area: 6.0,
            x1: 1,
            y1: 1,
            x2: 5,
            y2: 4,
        };
        assert_eq!(found, [square]);
        assert_eq!(trace(&["#"])[0].area, 0.0);
        assert_eq!(trace(&["####"])[0].area, 0.0);
        assert_eq!(trace(&["#..", ".#.", "..#"]).len(), 1, "corners connect");
        assert_eq!(trace(&["##", "##"])[0].area, 1.0);
    }

    #[test]
    fn what_lies_in_a_hole_is_not_outermost() {
        let found = trace(&[
            "#######..##",
            "#.....#..##",
            "#.###.#....",
            "#.###.#.###",
            "#.....#.#.#",
            "#######.###",
        ]);
        let boxes: Vec<_> = found.iter().map(|c| (c.x1, c.y1, c.x2, c.y2)).collect();
        assert_eq!(boxes, [(0, 0, 7, 6), (9, 0, 11, 2), (8, 3, 11, 6)]);
        assert_eq!(found[0].area, 30.0);
    }
}
