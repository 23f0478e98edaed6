//! H.264: parameter sets of a stream, its `avcC` box and its codec string.

use mp4_atom::Avcc;

use crate::{Error, NalUnits, Result};

/// Most sets that `avcC` counts: 31 sequence and 255 picture parameter sets.
const MAX_SPS: usize = 31;
const MAX_PPS: usize = 255;

/// The parameter sets that an H.264 stream has sent so far, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AvcParameterSets {
    sps: Vec<Vec<u8>>,
    pps: Vec<Vec<u8>>,
}

impl AvcParameterSets {
    /// Takes the parameter sets out of an access unit in byte-stream form. Returns true where one was new.
    pub fn observe(&mut self, byte_stream: &[u8]) -> bool {
        self.observe_units(NalUnits::new(byte_stream))
    }

    /// Takes the parameter sets out of the NAL units of an access unit. Returns true where one was new.
    pub fn observe_units<'a>(&mut self, units: impl Iterator<Item = &'a [u8]>) -> bool {
        let mut new = false;
        for nal in units {
            let (sets, limit) = match nal[0] & 0x1f {
                7 => (&mut self.sps, MAX_SPS),
                8 => (&mut self.pps, MAX_PPS),
                _ => continue,
            };
            if sets.len() < limit && !sets.iter().any(|set| set == nal) {
                sets.push(nal.to_vec());
                new = true;
            }
        }
        new
    }

    /// True once a decoder could start.
    pub fn is_complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    fn first_sps(&self) -> Result<&[u8]> {
        let sps = self.sps.first().ok_or(Error::MissingParameterSet {
            codec: "H.264",
            missing: "sequence parameter set",
        })?;
        if sps.len() < 4 {
            return Err(Error::ParameterSet {
                codec: "H.264",
                what: "sequence parameter set is cut off",
                bytes: sps.len(),
            });
        }
        Ok(sps)
    }

    pub(crate) fn record(&self) -> Result<Avcc> {
        let sps = self.first_sps()?;
        let pps = self.pps.first().ok_or(Error::MissingParameterSet {
            codec: "H.264",
            missing: "picture parameter set",
        })?;
        let mut record = Avcc::new(sps, pps)?;
        record.sequence_parameter_sets.clone_from(&self.sps);
        record.picture_parameter_sets.clone_from(&self.pps);
        Ok(record)
    }

    /// Codec string of RFC 6381, for example `avc1.64001f`.
    pub(crate) fn codec_string(&self) -> Result<String> {
        let sps = self.first_sps()?;
        Ok(format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collects_each_set_once() {
        let stream = [
            0, 0, 0, 1, 0x67, 0x64, 0, 0x1f, 9, 0, 0, 0, 1, 0x68, 1, 0, 0, 1, 0x65, 7,
        ];
        let mut sets = AvcParameterSets::default();
        assert!(!sets.is_complete());
        assert!(sets.observe(&stream));
        assert!(!sets.observe(&stream));
        assert!(sets.observe(&[0, 0, 1, 0x68, 2]));
        assert!(sets.is_complete());
        assert_eq!(sets.codec_string().unwrap(), "avc1.64001f");
        assert_eq!(sets.record().unwrap().picture_parameter_sets.len(), 2);
    }

    #[test]
    fn names_what_is_missing() {
        let mut sets = AvcParameterSets::default();
        let error = sets.record().unwrap_err().to_string();
        assert_eq!(error, "H.264 stream without sequence parameter set");
        sets.observe(&[0, 0, 1, 0x67, 1]);
        let error = sets.codec_string().unwrap_err().to_string();
        assert!(error.contains("cut off"), "{error}");
    }
}
