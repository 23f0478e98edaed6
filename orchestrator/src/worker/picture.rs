//! Whether a picture changes: cameras hang with the last frame repeated for ever, and everything else looks healthy.

use std::time::{Duration, Instant};

/// Bytes looked at in each frame.
const SAMPLES: usize = 2048;

/// Follows a stream of pictures. Real sensors have noise, and every key frame shows it.
#[derive(Debug)]
pub struct Freeze {
    /// The same picture for this long is a frozen one.
    limit: Duration,
    last: Option<(u64, Instant)>,
    newest: Option<Instant>,
}

impl Freeze {
    /// None seen yet.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            last: None,
            newest: None,
        }
    }

    /// The next picture.
    pub fn look(&mut self, pixels: &[u8], now: Instant) {
        let print = fingerprint(pixels);
        self.newest = Some(now);
        if self.last.is_none_or(|(last, _)| last != print) {
            self.last = Some((print, now));
        }
    }

    /// How long the picture has been the same, once that is too long.
    pub fn frozen_for(&self) -> Option<Duration> {
        let (_, since) = self.last?;
        let time = self.newest?.duration_since(since);
        (time >= self.limit).then_some(time)
    }
}

/// FNV-1a over bytes spread evenly, at an odd distance so that they fall into different columns.
fn fingerprint(pixels: &[u8]) -> u64 {
    let step = (pixels.len() / SAMPLES) | 1;
    pixels
        .iter()
        .step_by(step)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_picture_that_stays_the_same_is_frozen() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut pixels = vec![7u8; 640 * 360];
        let mut freeze = Freeze::new(Duration::from_secs(60));
        for second in 0..=59 {
            freeze.look(&pixels, at(second));
        }
        assert_eq!(freeze.frozen_for(), None);
        freeze.look(&pixels, at(60));
        assert_eq!(freeze.frozen_for(), Some(Duration::from_secs(60)));
        // Noise in the picture, and it lives again.
        pixels.iter_mut().step_by(97).for_each(|p| *p += 1);
        freeze.look(&pixels, at(61));
        assert_eq!(freeze.frozen_for(), None);
    }

    #[test]
    fn a_stream_without_frames_is_stalled_and_not_frozen() {
        let mut freeze = Freeze::new(Duration::from_secs(60));
        freeze.look(&[1, 2, 3], Instant::now());
        assert_eq!(freeze.frozen_for(), None);
    }
}
