//! Packets of one camera stream into an initialisation segment and fragments of one frame each.
//!
//! Pure: it knows no sockets and no clock. Everything it reads comes from another process and is checked.

use axum::body::Bytes;
use serde::{Deserialize, Serialize};
use watchpost_mp4::{
    AvcParameterSets, HevcParameterSets, Movie, Run, Sample, VIDEO_TIMESCALE, VIDEO_TRACK,
    VideoCodec, VideoTrack, fragment, length_prefixed_units,
};

/// Description of a stream as the capture worker writes it into the packet ring (JSON).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamInformation {
    /// Rises with each change of codec or size; differs between runs of the capture worker.
    pub(crate) version: u64,
    /// Media type, such as `video/x-h264`.
    pub(crate) media_type: String,
    /// Width of the picture in pixels.
    pub(crate) width: u16,
    /// Height of the picture in pixels.
    pub(crate) height: u16,
}

/// Times and flags of one packet, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PacketTimes {
    pub(crate) pts: u64,
    pub(crate) dts: u64,
    /// Unix time of capture.
    pub(crate) unix_time: u64,
    pub(crate) key: bool,
}

/// The start of a stream version.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Initialisation {
    /// MIME type with codec strings.
    pub(crate) mime: String,
    pub(crate) version: u64,
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Unix time of media time 0, seconds.
    pub(crate) epoch: f64,
    /// `ftyp` and `moov`.
    pub(crate) segment: Bytes,
}

/// One frame.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fragment {
    pub(crate) key: bool,
    pub(crate) bytes: Bytes,
}

/// Output for one packet.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Muxed {
    /// A new version begins before the fragment.
    pub(crate) initialisation: Option<Initialisation>,
    pub(crate) fragment: Option<Fragment>,
}

enum ParameterSets {
    Avc(AvcParameterSets),
    Hevc(HevcParameterSets),
}

/// Duration of the first frame, before the next one tells it: a guess that media players correct.
const FIRST_DURATION: u64 = 40_000_000;
/// Longest duration of a frame; a stream that stands still does not stretch it further.
const LONGEST: u64 = 10_000_000_000;

/// The state of one stream.
pub(crate) struct Muxer {
    information: Option<StreamInformation>,
    sets: Option<ParameterSets>,
    started: Option<Started>,
    sequence: u32,
}

struct Started {
    /// Decode time that becomes media time 0.
    origin: u64,
    last_dts: u64,
    duration: u64,
}

impl Muxer {
    pub(crate) fn new() -> Self {
        Self {
            information: None,
            sets: None,
            started: None,
            sequence: 0,
        }
    }

    /// A new stream version. Fails where the codec cannot be carried.
    pub(crate) fn stream(&mut self, information: &[u8]) -> Result<(), String> {
        let information: StreamInformation = serde_json::from_slice(information)
            .map_err(|error| format!("the stream's description cannot be read: {error}"))?;
        self.sets = Some(match information.media_type.as_str() {
            "video/x-h264" => ParameterSets::Avc(AvcParameterSets::default()),
            "video/x-h265" => ParameterSets::Hevc(HevcParameterSets::default()),
            other => {
                return Err(format!(
                    "{other} cannot be played live; expected H.264 or H.265"
                ));
            }
        });
        self.information = Some(information);
        self.started = None;
        Ok(())
    }

    /// Takes a packet. Nothing comes out before the first key frame with its parameter sets.
    pub(crate) fn packet(
        &mut self,
        times: PacketTimes,
        data: &[u8],
    ) -> Result<Muxed, watchpost_mp4::Error> {
        let mut muxed = Muxed::default();
        let (Some(information), Some(sets)) = (&self.information, &mut self.sets) else {
            return Ok(muxed);
        };
        let complete = if times.key {
            let units = length_prefixed_units(data);
            match sets {
                ParameterSets::Avc(sets) => {
                    sets.observe_units(units);
                    sets.is_complete()
                }
                ParameterSets::Hevc(sets) => {
                    sets.observe_units(units);
                    sets.is_complete()
                }
            }
        } else {
            true
        };
        if self.started.is_none() {
            if !times.key || !complete {
                return Ok(muxed);
            }
            let codec = match sets {
                ParameterSets::Avc(sets) => VideoCodec::H264(sets.clone()),
                ParameterSets::Hevc(sets) => VideoCodec::H265(sets.clone()),
            };
            let (width, height) = (information.width, information.height);
            let movie = Movie {
                video: VideoTrack {
                    codec,
                    width,
                    height,
                },
                audio: None,
            };
            let to_capture = times.pts.saturating_sub(times.dts);
            muxed.initialisation = Some(Initialisation {
                mime: movie.mime()?,
                version: information.version,
                width,
                height,
                epoch: (times.unix_time as f64 - to_capture as f64) / 1e9,
                segment: movie.initialisation()?.into(),
            });
            self.started = Some(Started {
                origin: times.dts,
                last_dts: times.dts,
                duration: FIRST_DURATION,
            });
        }
        let Some(started) = &mut self.started else {
            return Ok(muxed);
        };
        let step = times.dts.saturating_sub(started.last_dts);
        if step > 0 {
            started.duration = step.min(LONGEST);
        }
        started.last_dts = times.dts.max(started.last_dts);
        let decode_time = ticks(times.dts.saturating_sub(started.origin));
        let presented = ticks(times.pts.saturating_sub(started.origin));
        let offset = i64::try_from(presented).unwrap_or(i64::MAX)
            - i64::try_from(decode_time).unwrap_or(i64::MAX);
        let sample = Sample {
            size: u32::try_from(data.len())
                .map_err(|_| watchpost_mp4::Error::TooLarge("size of a frame"))?,
            duration: u32::try_from(ticks(started.duration)).unwrap_or(u32::MAX),
            composition_offset: i32::try_from(offset.max(0)).unwrap_or(0),
            key: times.key,
        };
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let run = Run {
            track: VIDEO_TRACK,
            decode_time,
            samples: &[sample],
        };
        let bytes = fragment(self.sequence, &[run], &[data])?;
        muxed.fragment = Some(Fragment {
            key: times.key,
            bytes: bytes.into(),
        });
        Ok(muxed)
    }
}

/// Nanoseconds in ticks of the video track.
fn ticks(nanoseconds: u64) -> u64 {
    let ticks = u128::from(nanoseconds) * u128::from(VIDEO_TIMESCALE) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    /// A key frame with parameter sets, as the capture worker writes it.
    fn key_frame() -> Vec<u8> {
        let mut data = Vec::new();
        let units: [&[u8]; 3] = [
            &[0x67, 0x64, 0, 0x1f, 0xac],
            &[0x68, 0xeb, 0xe3],
            &[0x65, 0x88, 0x84],
        ];
        for unit in units {
            data.extend_from_slice(&u32::try_from(unit.len()).unwrap().to_be_bytes());
            data.extend_from_slice(unit);
        }
        data
    }

    fn times(milliseconds: u64, key: bool) -> PacketTimes {
        let time = milliseconds * MILLISECOND;
        let unix_time = 1_000_000_000 * MILLISECOND + time;
        PacketTimes {
            pts: time,
            dts: time,
            unix_time,
            key,
        }
    }

    fn h264() -> Muxer {
        let mut muxer = Muxer::new();
        let information = StreamInformation {
            version: 4,
            media_type: "video/x-h264".into(),
            width: 640,
            height: 360,
        };
        muxer
            .stream(&serde_json::to_vec(&information).unwrap())
            .unwrap();
        muxer
    }

    #[test]
    fn starts_at_a_key_frame() {
        let mut muxer = h264();
        assert_eq!(
            muxer.packet(times(0, false), &[0, 0, 0, 1, 0x41]).unwrap(),
            Muxed::default()
        );
        let first = muxer.packet(times(5000, true), &key_frame()).unwrap();
        let initialisation = first.initialisation.unwrap();
        assert_eq!(initialisation.mime, "video/mp4; codecs=\"avc1.64001f\"");
        assert_eq!((initialisation.version, initialisation.width), (4, 640));
        assert!(
            (initialisation.epoch - 1_000_005.0).abs() < 1e-6,
            "{}",
            initialisation.epoch
        );
        assert!(first.fragment.unwrap().key);
        let next = muxer
            .packet(times(5100, false), &[0, 0, 0, 1, 0x41])
            .unwrap();
        assert!(next.initialisation.is_none() && !next.fragment.unwrap().key);
    }

    #[test]
    fn a_new_version_starts_again() {
        let mut muxer = h264();
        muxer.packet(times(0, true), &key_frame()).unwrap();
        let information = StreamInformation {
            version: 5,
            media_type: "video/x-h264".into(),
            width: 320,
            height: 180,
        };
        muxer
            .stream(&serde_json::to_vec(&information).unwrap())
            .unwrap();
        let first = muxer.packet(times(900, true), &key_frame()).unwrap();
        assert_eq!(first.initialisation.unwrap().width, 320);
    }

    #[test]
    fn names_what_it_cannot_carry() {
        let mut muxer = Muxer::new();
        let error = muxer
            .stream(br#"{"version":1,"media_type":"image/jpeg","width":1,"height":1}"#)
            .unwrap_err();
        assert!(error.contains("image/jpeg"), "{error}");
        assert!(muxer.stream(b"nonsense").is_err());
        assert_eq!(
            muxer.packet(times(0, true), &key_frame()).unwrap(),
            Muxed::default()
        );
    }

    #[test]
    fn hostile_times_and_data_do_not_panic() {
        let mut muxer = h264();
        muxer.packet(times(7, true), &key_frame()).unwrap();
        for (pts, dts) in [(0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX), (3, 3)] {
            let times = PacketTimes {
                pts,
                dts,
                unix_time: u64::MIN,
                key: true,
            };
            let _ = muxer.packet(times, &[0xff; 9]);
        }
    }
}
