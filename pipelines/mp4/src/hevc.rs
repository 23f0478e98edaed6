//! H.265: parameter sets of a stream, its `hvcC` box and its codec string.

use std::fmt::Write;

use mp4_atom::{HvcCArray, Hvcc};

use crate::bits::{Bits, rbsp};
use crate::{Error, NalUnits, Result};

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
/// Most sets of one kind that are kept; H.265 allows 16 VPS, 16 SPS and 64 PPS.
const LIMIT: usize = 64;

/// The parameter sets that an H.265 stream has sent so far, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HevcParameterSets {
    vps: Vec<Vec<u8>>,
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

/// The fields of a sequence parameter set that `hvcC` repeats.
struct Profile {
    sub_layers: u8,
    nested: bool,
    /// 12 bytes: profile space, tier, profile, compatibility flags, constraint flags, level.
    general: [u8; 12],
    chroma_format: u8,
    luma_depth: u8,
    chroma_depth: u8,
}

impl HevcParameterSets {
    /// Takes the parameter sets out of an access unit in byte-stream form. Returns true where one was new.
    pub fn observe(&mut self, byte_stream: &[u8]) -> bool {
        self.observe_units(NalUnits::new(byte_stream))
    }

    /// Takes the parameter sets out of the NAL units of an access unit. Returns true where one was new.
    pub fn observe_units<'a>(&mut self, units: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut new = false;
        for nal in units {
            let sets = match nal[0] >> 1 & 0x3f {
                VPS => &mut self.vps,
                SPS => &mut self.sps,
                PPS => &mut self.pps,
                _ => continue,
            };
            if sets.len() < LIMIT && !sets.iter().any(|set| set == nal) {
                sets.push(nal.to_vec());
                new = true;
            }
        }
        new
    }

    /// True once a decoder could start.
    pub fn is_complete(&self) -> bool {
        !self.vps.is_empty() && !self.sps.is_empty() && !self.pps.is_empty()
    }

    fn profile(&self) -> Result<Profile> {
        for (sets, missing) in [
            (&self.vps, "video parameter set"),
            (&self.sps, "sequence parameter set"),
            (&self.pps, "picture parameter set"),
        ] {
            if sets.is_empty() {
                let codec = "H.265";
                return Err(Error::MissingParameterSet { codec, missing });
            }
        }
        let sps = &self.sps[0];
        parse_sps(sps).ok_or(Error::ParameterSet {
            codec: "H.265",
            what: "sequence parameter set is cut off or invalid",
            bytes: sps.len(),
        })
    }

    pub(crate) fn record(&self) -> Result<Hvcc> {
        let profile = self.profile()?;
        let general = &profile.general;
        let mut record = Hvcc::new();
        record.general_profile_space = general[0] >> 6;
        record.general_tier_flag = general[0] >> 5 & 1 != 0;
        record.general_profile_idc = general[0] & 0x1f;
        record.general_profile_compatibility_flags = array(general, 1);
        record.general_constraint_indicator_flags = array(general, 5);
        record.general_level_idc = general[11];
        record.chroma_format_idc = profile.chroma_format;
        record.bit_depth_luma_minus8 = profile.luma_depth;
        record.bit_depth_chroma_minus8 = profile.chroma_depth;
        record.num_temporal_layers = profile.sub_layers;
        record.temporal_id_nested = profile.nested;
        record.length_size_minus_one = 3;
        record.arrays = [(VPS, &self.vps), (SPS, &self.sps), (PPS, &self.pps)]
            .map(|(nal_unit_type, sets)| HvcCArray {
                // Further sets may follow in the samples only where the array is not complete.
                completeness: true,
                nal_unit_type,
                nalus: sets.clone(),
            })
            .into();
        Ok(record)
    }

    /// Codec string of ISO/IEC 14496-15 annex E, for example `hvc1.1.6.L93.B0`.
    pub(crate) fn codec_string(&self) -> Result<String> {
        let general = self.profile()?.general;
        let space = ["", "A", "B", "C"][usize::from(general[0] >> 6)];
        let compatibility = u32::from_be_bytes(array(&general, 1)).reverse_bits();
        let tier = if general[0] >> 5 & 1 == 0 { 'L' } else { 'H' };
        let mut text = format!(
            "hvc1.{space}{}.{compatibility:X}.{tier}{}",
            general[0] & 0x1f,
            general[11]
        );
        let constraints = &general[5..11];
        let used = constraints.iter().rposition(|byte| *byte != 0);
        for byte in &constraints[..used.map_or(0, |at| at + 1)] {
            let _ = write!(text, ".{byte:X}");
        }
        Ok(text)
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}

fn parse_sps(nal: &[u8]) -> Option<Profile> {
    let payload = rbsp(nal.get(2..)?);
    let mut bits = Bits::new(&payload);
    bits.take(4)?; // sps_video_parameter_set_id
    let sub_layers_minus_1 = bits.take(3)?;
    let nested = bits.bit()? == 1;
    let mut general = [0; 12];
    for byte in &mut general {
        *byte = u8::try_from(bits.take(8)?).ok()?;
    }
    if sub_layers_minus_1 > 0 {
        let mut present = Vec::new();
        for _ in 0..sub_layers_minus_1 {
            present.push((bits.bit()?, bits.bit()?));
        }
        bits.skip(2 * (8 - sub_layers_minus_1 as usize))?;
        for (profile, level) in present {
            bits.skip(88 * profile as usize + 8 * level as usize)?;
        }
    }
    bits.unsigned()?; // sps_seq_parameter_set_id
    let chroma_format = bits.unsigned().filter(|format| *format <= 3)?;
    if chroma_format == 3 {
        bits.bit()?; // separate_colour_plane_flag
    }
    bits.unsigned()?; // pic_width_in_luma_samples
    bits.unsigned()?; // pic_height_in_luma_samples
    if bits.bit()? == 1 {
        for _ in 0..4 {
            bits.unsigned()?; // conformance window
        }
    }
    let depth = |value: u32| u8::try_from(value).ok().filter(|depth| *depth <= 8);
    Some(Profile {
        sub_layers: u8::try_from(sub_layers_minus_1 + 1).ok()?,
        nested,
        general,
        chroma_format: u8::try_from(chroma_format).ok()?,
        luma_depth: depth(bits.unsigned()?)?,
        chroma_depth: depth(bits.unsigned()?)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sequence parameter set as x265 writes it for 320x240, Main profile, level 2.1.
    const X265_SPS: [u8; 49] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x03, 0x00, 0x3f, 0xa0, 0x0a, 0x08, 0x0f, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xff, 0xc0,
        0x00, 0x40, 0x00, 0x5a, 0x83, 0x03, 0x03, 0x02, 0x00, 0x00, 0x03, 0x00, 0x02, 0x00, 0x00,
        0x03, 0x00, 0x32, 0x10,
    ];

    #[test]
    fn derives_codec_string_from_the_sequence_parameter_set() {
        let mut sets = HevcParameterSets::default();
        let mut stream = vec![0, 0, 0, 1, VPS << 1, 1, 5, 0, 0, 0, 1];
        stream.extend_from_slice(&X265_SPS);
        stream.extend_from_slice(&[0, 0, 1, PPS << 1, 1, 9]);
        assert!(sets.observe(&stream));
        assert!(sets.is_complete());
        assert_eq!(sets.codec_string().unwrap(), "hvc1.1.6.L63.90");
    }

    #[test]
    fn refuses_a_cut_sequence_parameter_set() {
        for length in 2..12 {
            let mut sets = HevcParameterSets::default();
            let mut stream = vec![0, 0, 0, 1, VPS << 1, 1, 5, 0, 0, 0, 1];
            stream.extend_from_slice(&X265_SPS[..length]);
            stream.extend_from_slice(&[0, 0, 1, PPS << 1, 1, 9]);
            sets.observe(&stream);
            assert!(sets.record().is_err(), "{length} bytes");
        }
    }
}
