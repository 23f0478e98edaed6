//! Tells a text that stands in the file from one that is still being written.

use std::time::Duration;
use tokio::time::Instant;

/// The text that was read last, and since when it is the same.
#[derive(Debug, Default)]
pub struct Debounce(Option<(String, Instant)>);

impl Debounce {
    /// When this text, just read, will have stood in the file for so long; none where it has.
    pub fn wait(&mut self, text: &str, long: Duration, now: Instant) -> Option<Instant> {
        let since = match &self.0 {
            Some((known, since)) if known == text => *since,
            _ => {
                self.0 = Some((text.to_owned(), now));
                now
            }
        };
        Some(since + long).filter(|then| *then > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_counts_when_it_has_been_the_same_for_long_enough() {
        let (start, long) = (Instant::now(), Duration::from_secs(1));
        let at = |ms| start + Duration::from_millis(ms);
        let mut debounce = Debounce::default();
        assert_eq!(debounce.wait("half", long, at(0)), Some(at(1000)));
        assert_eq!(debounce.wait("half", long, at(900)), Some(at(1000)));
        // More of it came.
        assert_eq!(
            debounce.wait("half and half", long, at(950)),
            Some(at(1950))
        );
        assert_eq!(debounce.wait("half and half", long, at(1950)), None);
        // Back, and looked at for the first time again.
        assert_eq!(debounce.wait("half", long, at(2000)), Some(at(3000)));
    }
}
