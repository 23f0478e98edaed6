//! Frames of a sensor's own values: which formats there are, and the values out of them.

/// Colour of the four values of a 2x2 square, row by row: 0 red, 1 green, 2 blue, as DNG counts them.
pub(crate) type Pattern = [u8; 4];

/// How values lie in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    /// One byte each.
    Byte,
    /// Two bytes each, the value in the low bits.
    LittleEndian,
    BigEndian,
    /// Four values of 10 bits in 5 bytes: the upper 8 bits of each, then what is left over.
    Csi10,
    /// Two values of 12 bits in 3 bytes.
    Csi12,
    /// Four values of 14 bits in 7 bytes.
    Csi14,
}

/// A format of a sensor's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bayer {
    pub pattern: Pattern,
    pub bits: u32,
    packing: Packing,
}

impl Bayer {
    /// Reads a format's name: GStreamer's (`rggb`, `rggb10le`, `rggb12be`) or libcamera's (`SRGGB10`, `SRGGB10_CSI2P`).
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name
            .strip_prefix('s')
            .filter(|rest| rest.len() > 4)
            .unwrap_or(&name);
        let pattern = match name.get(..4)? {
            "rggb" => [0, 1, 1, 2],
            "grbg" => [1, 0, 2, 1],
            "gbrg" => [1, 2, 0, 1],
            "bggr" => [2, 1, 1, 0],
            _ => return None,
        };
        let rest = &name[4..];
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (bits, packing) = rest.split_at(digits);
        let bits = if bits.is_empty() {
            8
        } else {
            bits.parse().ok()?
        };
        let packing = match (bits, packing) {
            (8, "") => Packing::Byte,
            (10 | 12 | 14 | 16, "" | "le") => Packing::LittleEndian,
            (10 | 12 | 14 | 16, "be") => Packing::BigEndian,
            (10, "p" | "_csi2p") => Packing::Csi10,
            (12, "p" | "_csi2p") => Packing::Csi12,
            (14, "p" | "_csi2p") => Packing::Csi14,
            _ => return None,
        };
        Some(Self {
            pattern,
            bits,
            packing,
        })
    }

    /// Bytes of a row without padding.
    pub fn row_bytes(&self, width: usize) -> usize {
        match self.packing {
            Packing::Byte => width,
            Packing::LittleEndian | Packing::BigEndian => width * 2,
            Packing::Csi10 => width.div_ceil(4) * 5,
            Packing::Csi12 => width.div_ceil(2) * 3,
            Packing::Csi14 => width.div_ceil(4) * 7,
        }
    }

    /// The values of a row that is at least [`Self::row_bytes`] long.
    pub fn unpack(&self, row: &[u8], values: &mut [u16]) {
        match self.packing {
            Packing::Byte => {
                for (value, byte) in values.iter_mut().zip(row) {
                    *value = u16::from(*byte);
                }
            }
            Packing::LittleEndian => {
                for (value, bytes) in values.iter_mut().zip(row.as_chunks::<2>().0) {
                    *value = u16::from_le_bytes(*bytes);
                }
            }
            Packing::BigEndian => {
                for (value, bytes) in values.iter_mut().zip(row.as_chunks::<2>().0) {
                    *value = u16::from_be_bytes(*bytes);
                }
            }
            Packing::Csi10 => {
                for (four, bytes) in values.chunks_mut(4).zip(row.as_chunks::<5>().0) {
                    for (i, value) in four.iter_mut().enumerate() {
                        let low = (bytes[4] >> (2 * i)) & 3;
                        *value = (u16::from(bytes[i]) << 2) | u16::from(low);
                    }
                }
            }
            Packing::Csi12 => {
                for (two, bytes) in values.chunks_mut(2).zip(row.as_chunks::<3>().0) {
                    for (i, value) in two.iter_mut().enumerate() {
                        let low = (bytes[2] >> (4 * i)) & 15;
                        *value = (u16::from(bytes[i]) << 4) | u16::from(low);
                    }
                }
            }
            Packing::Csi14 => {
                for (four, bytes) in values.chunks_mut(4).zip(row.as_chunks::<7>().0) {
                    let low = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], 0]);
                    for (i, value) in four.iter_mut().enumerate() {
                        let low = (low >> (6 * i)) & 63;
                        *value = (u16::from(bytes[i]) << 6) | low as u16;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formats_are_known_by_gstreamers_and_libcameras_names() {
        for (name, pattern, bits, row) in [
            ("rggb", [0, 1, 1, 2], 8, 4),
            ("bggr10le", [2, 1, 1, 0], 10, 8),
            ("grbg16be", [1, 0, 2, 1], 16, 8),
            ("SGBRG12", [1, 2, 0, 1], 12, 8),
            ("SRGGB10_CSI2P", [0, 1, 1, 2], 10, 5),
            ("SBGGR12_CSI2P", [2, 1, 1, 0], 12, 6),
            ("bggr14p", [2, 1, 1, 0], 14, 7),
        ] {
            let format = Bayer::parse(name).unwrap();
            assert_eq!(
                (format.pattern, format.bits, format.row_bytes(4)),
                (pattern, bits, row),
                "{name}"
            );
        }
        for name in ["rgb", "rggb11", "rggb8p", "BGGR_PISP_COMP1", "", "s", "é"] {
            assert_eq!(Bayer::parse(name), None, "{name}");
        }
    }

    /// Packs values as the sensor interface does, by bits from the front.
    fn pack(name: &str, bits: u32, values: &[u16]) -> Vec<u8> {
        let mut row = Vec::new();
        match name {
            "le" => values.iter().for_each(|v| row.extend(v.to_le_bytes())),
            "be" => values.iter().for_each(|v| row.extend(v.to_be_bytes())),
            "" => row.extend(values.iter().map(|v| *v as u8)),
            _ => {
                let low = bits - 8;
                let group = if bits == 12 { 2 } else { 4 };
                for group in values.chunks(group) {
                    row.extend(group.iter().map(|v| (v >> low) as u8));
                    let rest = group.iter().enumerate().fold(0u32, |rest, (i, v)| {
                        rest | (u32::from(*v) & ((1 << low) - 1)) << (i as u32 * low)
                    });
                    let bytes = (group.len() as u32 * low).div_ceil(8) as usize;
                    row.extend(&rest.to_le_bytes()[..bytes]);
                }
            }
        }
        row
    }

    proptest! {
        #[test]
        fn every_value_comes_out_as_it_went_in(seed in proptest::collection::vec(any::<u16>(), 16)) {
            for (packing, bits) in [("", 8), ("le", 10), ("be", 12), ("le", 14), ("be", 16), ("p", 10), ("p", 12), ("p", 14)] {
                let suffix = if bits == 8 { String::new() } else { format!("{bits}{packing}") };
                let format = Bayer::parse(&format!("rggb{suffix}")).unwrap();
                let values: Vec<u16> = seed.iter().map(|v| (u32::from(*v) & ((1 << bits) - 1)) as u16).collect();
                let row = pack(packing, bits, &values);
                prop_assert_eq!(row.len(), format.row_bytes(values.len()));
                let mut out = vec![0; values.len()];
                format.unpack(&row, &mut out);
                prop_assert_eq!(out, values, "{}", suffix);
            }
        }
    }
}
