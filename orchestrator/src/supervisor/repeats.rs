//! A fault that repeats is logged once, then counted and told once a minute.

use std::time::{Duration, Instant};

const PERIOD: Duration = Duration::from_secs(60);
/// Different texts remembered; a camera has few kinds of trouble at a time.
const REMEMBERED: usize = 8;

/// What was logged lately.
#[derive(Debug, Default)]
pub struct Repeats {
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    text: String,
    logged: Instant,
    count: u32,
}

impl Repeats {
    /// Whether this text is to be logged now; otherwise it is counted.
    pub fn is_new(&mut self, text: &str, now: Instant) -> bool {
        if let Some(seen) = self.seen.iter_mut().find(|s| s.text == text) {
            seen.count += 1;
            return false;
        }
        if self.seen.len() == REMEMBERED {
            self.seen.remove(0);
        }
        self.seen.push(Seen {
            text: text.to_owned(),
            logged: now,
            count: 0,
        });
        true
    }

    /// What repeated during the last minute, with how often. What did not is forgotten.
    pub fn due(&mut self, now: Instant) -> Vec<(String, u32)> {
        let mut due = Vec::new();
        self.seen.retain_mut(|seen| {
            if now.duration_since(seen.logged) < PERIOD {
                return true;
            }
            if seen.count == 0 {
                return false;
            }
            due.push((seen.text.clone(), seen.count));
            seen.logged = now;
            seen.count = 0;
            true
        });
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_and_told_once_a_minute() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut repeats = Repeats::default();
        assert!(repeats.is_new("refused", at(0)));
        for s in 1..30 {
            assert!(!repeats.is_new("refused", at(s)));
        }
        assert!(repeats.is_new("timeout", at(30)));
        assert!(repeats.due(at(59)).is_empty());
        assert_eq!(repeats.due(at(60)), vec![("refused".to_owned(), 29)]);
        assert!(repeats.due(at(100)).is_empty());
        // A minute of silence, and it is news again.
        assert!(repeats.due(at(120)).is_empty());
        assert!(repeats.is_new("refused", at(121)));
    }

    #[test]
    fn a_thousand_different_texts_take_no_memory() {
        let mut repeats = Repeats::default();
        for i in 0..1000 {
            repeats.is_new(&i.to_string(), Instant::now());
        }
        assert_eq!(repeats.seen.len(), REMEMBERED);
    }
}
