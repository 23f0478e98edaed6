//! What a mistyped name may have been meant to be.

/// The known name most like a mistyped one, if it is like it at all.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let simple = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let wanted = simple(name);
    known
        .iter()
        .map(|known| (distance(&wanted, &simple(known)), *known))
        .filter(|(distance, known)| *distance <= 1 + known.len().min(name.len()) / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// How many letters must be added, taken away, changed, or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_keys_find_their_neighbour() {
        let known = [
            "width",
            "height",
            "fps",
            "min_initialized",
            "stationary",
            "rtsp",
        ];
        for (typed, meant) in [
            ("widht", Some("width")),
            ("Width", Some("width")),
            ("fsp", Some("fps")),
            ("min-initialised", Some("min_initialized")),
            ("stationery", Some("stationary")),
            ("rstp", Some("rtsp")),
            ("http", None),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, &known), meant, "{typed}");
        }
    }
}
