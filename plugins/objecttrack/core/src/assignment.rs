//! Who belongs to whom: the pairing with the largest sum of scores, found separately in each connected component of the allowed
//! pairs, so that a thousand objects cost a thousand small problems and not one large one.

/// One allowed pair and how well it fits (above 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Index of the track.
    pub row: u32,
    /// Index of the detection.
    pub col: u32,
    /// The higher, the better.
    pub score: f32,
}

/// Larger components are paired greedily: a crowd of boxes that all overlap each other has no meaningful optimum, and the optimal
/// pairing costs the cube of its size.
const OPTIMAL_UP_TO: usize = 96;

const NONE: u32 = u32::MAX;

/// Scratch memory of the pairing, kept from frame to frame.
#[derive(Debug, Default)]
pub struct Assignment {
    parent: Vec<u32>,
    order: Vec<u32>,
    rows: Vec<u32>,
    cols: Vec<u32>,
    local: Vec<u32>,
    cost: Vec<f32>,
    u: Vec<f64>,
    v: Vec<f64>,
    way: Vec<u32>,
    matched: Vec<u32>,
    min_v: Vec<f64>,
    used: Vec<bool>,
    taken: Vec<bool>,
    /// The pairs of the last [`Self::solve`]: track, detection.
    pub result: Vec<(u32, u32)>,
}

impl Assignment {
    /// Pairs `rows` tracks with `cols` detections; the answer is in [`Self::result`].
    pub fn solve(&mut self, rows: usize, cols: usize, pairs: &[Pair]) {
        self.result.clear();
        if pairs.is_empty() {
            return;
        }
        let nodes = rows + cols;
        self.parent.clear();
        self.parent.extend(0..nodes as u32);
        for p in pairs {
            let (a, b) = (
                find(&mut self.parent, p.row),
                find(&mut self.parent, rows as u32 + p.col),
            );
            // The smaller index is the root: the order of components does not depend on the order of pairs.
            if a < b {
                self.parent[b as usize] = a;
            } else {
                self.parent[a as usize] = b;
            }
        }
        self.order.clear();
        self.order.extend(0..pairs.len() as u32);
        let parent = &mut self.parent;
        for p in pairs {
            find(parent, p.row);
        }
        let parent = &self.parent;
        let root = |i: u32| {
            let mut n = pairs[i as usize].row;
            while parent[n as usize] != n {
                n = parent[n as usize];
            }
            n
        };
        self.order.sort_unstable_by_key(|&i| (root(i), i));
        self.local.clear();
        self.local.resize(nodes, NONE);
        let mut start = 0;
        while start < self.order.len() {
            let r = {
                let mut n = pairs[self.order[start] as usize].row;
                while self.parent[n as usize] != n {
                    n = self.parent[n as usize];
                }
                n
            };
            let mut end = start + 1;
            while end < self.order.len() {
                let mut n = pairs[self.order[end] as usize].row;
                while self.parent[n as usize] != n {
                    n = self.parent[n as usize];
                }
                if n != r {
                    break;
                }
                end += 1;
            }
            self.component(start, end, rows as u32, pairs);
            start = end;
        }
    }

    fn component(&mut self, start: usize, end: usize, rows: u32, pairs: &[Pair]) {
        if end - start == 1 {
            let p = pairs[self.order[start] as usize];
            self.result.push((p.row, p.col));
            return;
        }
        self.rows.clear();
        self.cols.clear();
        for k in start..end {
            let p = pairs[self.order[k] as usize];
            if self.local[p.row as usize] == NONE {
                self.local[p.row as usize] = self.rows.len() as u32;
                self.rows.push(p.row);
            }
            let c = rows + p.col;
            if self.local[c as usize] == NONE {
                self.local[c as usize] = self.cols.len() as u32;
                self.cols.push(p.col);
            }
        }
        if self.rows.len().max(self.cols.len()) > OPTIMAL_UP_TO {
            self.greedy(start, end, rows, pairs);
        } else {
            self.optimal(start, end, rows, pairs);
        }
    }

    fn greedy(&mut self, start: usize, end: usize, rows: u32, pairs: &[Pair]) {
        let order = &mut self.order[start..end];
        order.sort_unstable_by(|&a, &b| {
            pairs[b as usize]
                .score
                .total_cmp(&pairs[a as usize].score)
                .then(a.cmp(&b))
        });
        self.taken.clear();
        self.taken.resize(self.local.len(), false);
        for &i in order.iter() {
            let p = pairs[i as usize];
            let (r, c) = (p.row as usize, (rows + p.col) as usize);
            if !self.taken[r] && !self.taken[c] {
                self.taken[r] = true;
                self.taken[c] = true;
                self.result.push((p.row, p.col));
            }
        }
    }

    /// Shortest augmenting paths with potentials (Jonker-Volgenant), on the dense matrix of one component.
    fn optimal(&mut self, start: usize, end: usize, rows: u32, pairs: &[Pair]) {
        let (r, c) = (self.rows.len(), self.cols.len());
        let flip = r > c;
        let (n, m) = if flip { (c, r) } else { (r, c) };
        self.cost.clear();
        self.cost.resize(n * m, 0.0);
        for k in start..end {
            let p = pairs[self.order[k] as usize];
            let a = self.local[p.row as usize] as usize;
            let b = self.local[(rows + p.col) as usize] as usize;
            let (i, j) = if flip { (b, a) } else { (a, b) };
            self.cost[i * m + j] = -p.score;
        }
        reset(&mut self.u, n + 1, 0.0);
        reset(&mut self.v, m + 1, 0.0);
        reset(&mut self.matched, m + 1, 0);
        reset(&mut self.way, m + 1, 0);
        for i in 1..=n {
            self.matched[0] = i as u32;
            let mut j0 = 0usize;
            reset(&mut self.min_v, m + 1, f64::INFINITY);
            reset(&mut self.used, m + 1, false);
            loop {
                self.used[j0] = true;
                let i0 = self.matched[j0] as usize;
                let (mut delta, mut j1) = (f64::INFINITY, 0usize);
                for j in 1..=m {
                    if self.used[j] {
                        continue;
                    }
                    let cur = f64::from(self.cost[(i0 - 1) * m + j - 1]) - self.u[i0] - self.v[j];
                    if cur < self.min_v[j] {
                        self.min_v[j] = cur;
                        self.way[j] = j0 as u32;
                    }
                    if self.min_v[j] < delta {
                        delta = self.min_v[j];
                        j1 = j;
                    }
                }
                for j in 0..=m {
                    if self.used[j] {
                        self.u[self.matched[j] as usize] += delta;
                        self.v[j] -= delta;
                    } else {
                        self.min_v[j] -= delta;
                    }
                }
                j0 = j1;
                if self.matched[j0] == 0 {
                    break;
                }
            }
            while j0 != 0 {
                let j1 = self.way[j0] as usize;
                self.matched[j0] = self.matched[j1];
                j0 = j1;
            }
        }
        for j in 1..=m {
            let i = self.matched[j] as usize;
            if i == 0 || self.cost[(i - 1) * m + j - 1] >= 0.0 {
                continue;
            }
            let (a, b) = if flip { (j - 1, i - 1) } else { (i - 1, j - 1) };
            self.result.push((self.rows[a], self.cols[b]));
        }
    }
}

fn reset<T: Copy>(v: &mut Vec<T>, len: usize, value: T) {
    v.clear();
    v.resize(len, value);
}

fn find(parent: &mut [u32], mut n: u32) -> u32 {
    while parent[n as usize] != n {
        let up = parent[parent[n as usize] as usize];
        parent[n as usize] = up;
        n = up;
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(pairs: &[Pair], result: &[(u32, u32)]) -> f32 {
        result
            .iter()
            .map(|&(r, c)| {
                pairs
                    .iter()
                    .filter(|p| (p.row, p.col) == (r, c))
                    .map(|p| p.score)
                    .fold(f32::NEG_INFINITY, f32::max)
            })
            .sum()
    }

    fn best(pairs: &[Pair], row: u32, rows: u32, used: u32) -> f32 {
        if row == rows {
            return 0.0;
        }
        let mut top = best(pairs, row + 1, rows, used);
        for p in pairs
            .iter()
            .filter(|p| p.row == row && used >> p.col & 1 == 0)
        {
            top = top.max(p.score + best(pairs, row + 1, rows, used | 1 << p.col));
        }
        top
    }

    proptest! {
        #[test]
        fn pairing_has_the_largest_possible_sum(scores in prop::collection::vec(prop::option::weighted(0.4, 0.01f32..1.0), 36)) {
            let pairs: Vec<Pair> = scores.iter().enumerate()
                .filter_map(|(i, s)| s.map(|score| Pair { row: i as u32 / 6, col: i as u32 % 6, score }))
                .collect();
            let mut a = Assignment::default();
            a.solve(6, 6, &pairs);
            let mut seen = a.result.clone();
            seen.sort_unstable();
            seen.dedup_by_key(|p| p.0);
            prop_assert_eq!(seen.len(), a.result.len());
            seen.sort_unstable_by_key(|p| p.1);
            seen.dedup_by_key(|p| p.1);
            prop_assert_eq!(seen.len(), a.result.len());
            prop_assert!((sum(&pairs, &a.result) - best(&pairs, 0, 6, 0)).abs() < 1e-3);
        }
    }

    #[test]
    fn a_crowd_that_all_overlaps_is_paired_without_cubic_cost() {
        let n = 400u32;
        let pairs: Vec<Pair> = (0..n * n)
            .map(|i| Pair {
                row: i / n,
                col: i % n,
                score: if i / n == i % n { 0.9 } else { 0.5 },
            })
            .collect();
        let mut a = Assignment::default();
        a.solve(n as usize, n as usize, &pairs);
        assert_eq!(a.result.len(), n as usize);
        assert!(a.result.iter().all(|(r, c)| r == c));
    }
}
