//! A reader of single bits and Exp-Golomb codes from an RBSP (H.264 and H.265 parameter sets).

/// Removes the emulation prevention bytes (`00 00 03`) of a NAL unit's payload.
pub(crate) fn rbsp(nal: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nal.len());
    let mut zeros = 0;
    for &byte in nal {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    out
}

/// Reads bits from the most significant one on; `None` at the end.
pub(crate) struct Bits<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bits<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn bit(&mut self) -> Option<u32> {
        let byte = *self.bytes.get(self.position / 8)?;
        let bit = byte >> (7 - self.position % 8) & 1;
        self.position += 1;
        Some(u32::from(bit))
    }

    /// At most 32 bits.
    pub(crate) fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            value = value << 1 | self.bit()?;
        }
        Some(value)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Option<()> {
        self.position = self.position.checked_add(count)?;
        (self.position <= self.bytes.len() * 8).then_some(())
    }

    /// An unsigned Exp-Golomb code, `ue(v)`.
    pub(crate) fn unsigned(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.take(zeros)?;
        Some((1 << zeros) - 1 + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_exp_golomb_codes() {
        // 1, 010, 011, 00100 = 0, 1, 2, 3
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        let read: Vec<_> = (0..4).map(|_| bits.unsigned().unwrap()).collect();
        assert_eq!(read, [0, 1, 2, 3]);
        assert_eq!(Bits::new(&[0; 8]).unsigned(), None);
    }

    #[test]
    fn removes_emulation_prevention() {
        assert_eq!(
            rbsp(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]),
            [1, 0, 0, 1, 0, 0, 0, 0]
        );
    }
}
