//! NAL units: H.264 and H.265 access units in byte-stream form (start codes) and in MP4's form (length prefixes).

/// The NAL units of an access unit in byte-stream form (Annex B), without start codes.
pub struct NalUnits<'a> {
    rest: &'a [u8],
}

impl<'a> NalUnits<'a> {
    /// Bytes in front of the first start code are ignored.
    pub fn new(byte_stream: &'a [u8]) -> Self {
        let rest = match start_code(byte_stream) {
            Some((_, end)) => &byte_stream[end..],
            None => &[],
        };
        Self { rest }
    }
}

impl<'a> Iterator for NalUnits<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            if self.rest.is_empty() {
                return None;
            }
            let (nal, rest) = match start_code(self.rest) {
                Some((begin, end)) => (&self.rest[..begin], &self.rest[end..]),
                None => (self.rest, &[][..]),
            };
            self.rest = rest;
            // Trailing zero bytes belong to the byte stream, not to the unit.
            let end = nal
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |at| at + 1);
            if end > 0 {
                return Some(&nal[..end]);
            }
        }
    }
}

/// The NAL units of an access unit in MP4's form: a length of four bytes before each. Ends at a length that exceeds the
/// bytes that are there.
pub fn length_prefixed_units(mut sample: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = sample.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (unit, rest) = rest.split_at_checked(length)?;
        sample = rest;
        Some(unit)
    })
    .filter(|unit| !unit.is_empty())
}

/// Begin and end of the first start code (`00 00 01`).
fn start_code(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at] {
            // Neither this byte nor the two before it can be the third of a start code.
            2.. => at += 3,
            1 if bytes[at - 1] == 0 && bytes[at - 2] == 0 => return Some((at - 2, at + 1)),
            _ => at += 1,
        }
    }
    None
}

/// Appends an access unit in byte-stream form to `out` with a length of four bytes before each unit, as MP4 stores it.
pub fn to_length_prefixed(byte_stream: &[u8], out: &mut Vec<u8>) {
    out.reserve(byte_stream.len() + 16);
    for nal in NalUnits::new(byte_stream) {
        // An access unit is one buffer of at most 4 GiB: GStreamer and the packet ring bound it far below.
        let length = u32::try_from(nal.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(nal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn splits_at_short_and_long_start_codes() {
        let stream = [
            0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 1, 0x65, 0, 0, 3, 1,
        ];
        let units: Vec<_> = NalUnits::new(&stream).collect();
        assert_eq!(units, [&[0x67, 1][..], &[0x68, 2], &[0x65, 0, 0, 3, 1]]);
        let mut out = Vec::new();
        to_length_prefixed(&stream, &mut out);
        assert_eq!(out[..6], [0, 0, 0, 2, 0x67, 1]);
        assert!(length_prefixed_units(&out).eq(units));
        assert_eq!(length_prefixed_units(&[0, 0, 0, 9, 1]).count(), 0);
        assert_eq!(NalUnits::new(&[1, 2, 3]).count(), 0);
    }

    proptest! {
        #[test]
        fn every_unit_survives_the_byte_stream(
            units in proptest::collection::vec(proptest::collection::vec(4u8.., 1..40), 1..8),
            long in any::<bool>(),
        ) {
            let mut stream = Vec::new();
            for unit in &units {
                stream.extend_from_slice(if long { &[0, 0, 0, 1][..] } else { &[0, 0, 1] });
                stream.extend_from_slice(unit);
            }
            let read: Vec<_> = NalUnits::new(&stream).map(<[u8]>::to_vec).collect();
            prop_assert_eq!(read, units);
        }
    }
}
