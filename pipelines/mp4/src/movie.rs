//! The tracks of a file or stream: initialisation segment and MIME type.

use mp4_atom::{
    Atom, Audio, Av01, Av1c, Avc1, Codec, Dinf, Dops, Dref, DrefEntry, Encode, FixedPoint, FourCC,
    Ftyp, Hdlr, Hvc1, Mdhd, Mdia, Minf, Moov, Mp4a, Mvex, Mvhd, Opus, Smhd, Stbl, Stco, Stsd, Tkhd,
    Trak, Trex, Url, Visual, Vmhd, esds,
};

use crate::{
    AUDIO_TRACK, AvcParameterSets, Error, HevcParameterSets, Result, VIDEO_TIMESCALE, VIDEO_TRACK,
};

/// Sample rate of every Opus track: Opus timestamps count at 48 kHz whatever the input had.
const OPUS_RATE: u32 = 48_000;

/// The video codec of a track with the configuration that a decoder needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VideoCodec {
    /// H.264; samples are length-prefixed.
    H264(AvcParameterSets),
    /// H.265; samples are length-prefixed.
    H265(HevcParameterSets),
    /// AV1, with the content of its `av1C` box (GStreamer's `codec_data`).
    Av1(Vec<u8>),
}

/// The video track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoTrack {
    /// Codec and configuration.
    pub codec: VideoCodec,
    /// Width of the picture in pixels.
    pub width: u16,
    /// Height of the picture in pixels.
    pub height: u16,
}

/// The audio track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioTrack {
    /// AAC without ADTS headers.
    Aac {
        /// AudioSpecificConfig (GStreamer's `codec_data`).
        config: Vec<u8>,
        /// Samples per second; also the track's timescale.
        rate: u32,
        /// Channels.
        channels: u16,
    },
    /// Opus in mono or stereo.
    Opus {
        /// 1 or 2.
        channels: u8,
        /// Samples at 48 kHz that a decoder discards at the start.
        pre_skip: u16,
    },
}

impl AudioTrack {
    /// Ticks per second of the track.
    pub fn timescale(&self) -> u32 {
        match self {
            Self::Aac { rate, .. } => *rate,
            Self::Opus { .. } => OPUS_RATE,
        }
    }

    fn codec_string(&self) -> Result<String> {
        match self {
            Self::Aac { config, .. } => {
                let first = *config
                    .first()
                    .ok_or(Error::Audio("AAC without AudioSpecificConfig"))?;
                Ok(format!("mp4a.40.{}", first >> 3))
            }
            Self::Opus { .. } => Ok("opus".into()),
        }
    }

    fn sample_entry(&self) -> Result<Codec> {
        let audio = |channels, rate: u32| Audio {
            data_reference_index: 1,
            channel_count: channels,
            sample_size: 16,
            // The field has 16 bits before the point; a higher rate is told by the codec's own configuration.
            sample_rate: FixedPoint::new(u16::try_from(rate).unwrap_or(0), 0),
        };
        match self {
            Self::Aac {
                config,
                rate,
                channels,
            } => {
                if config.len() < 2 {
                    return Err(Error::Audio("AAC without AudioSpecificConfig"));
                }
                let dec_config = esds::DecoderConfig {
                    object_type_indication: 0x40,
                    stream_type: 5,
                    dec_specific: Some(esds::DecoderSpecific {
                        raw: config.clone(),
                        ..Default::default()
                    }),
                    ..Default::default()
                };
                let es_desc = esds::EsDescriptor {
                    es_id: 1,
                    dec_config,
                    ..Default::default()
                };
                Ok(Codec::from(Mp4a {
                    audio: audio(*channels, *rate),
                    esds: esds::Esds { es_desc },
                    btrt: None,
                    taic: None,
                }))
            }
            Self::Opus {
                channels: channels @ 1..=2,
                pre_skip,
            } => Ok(Codec::from(Opus {
                audio: audio(u16::from(*channels), OPUS_RATE),
                dops: Dops {
                    output_channel_count: *channels,
                    pre_skip: *pre_skip,
                    input_sample_rate: OPUS_RATE,
                    output_gain: 0,
                    channel_mapping: None,
                },
                btrt: None,
            })),
            Self::Opus { .. } => Err(Error::Audio("Opus with other than 1 or 2 channels")),
        }
    }
}

impl VideoTrack {
    fn codec_string(&self) -> Result<String> {
        match &self.codec {
            VideoCodec::H264(sets) => sets.codec_string(),
            VideoCodec::H265(sets) => sets.codec_string(),
            VideoCodec::Av1(config) => {
                let record = av1_record(config)?;
                let tier = if record.seq_tier_0 { 'H' } else { 'M' };
                let depth = match (record.high_bitdepth, record.twelve_bit) {
                    (true, true) => 12,
                    (true, false) => 10,
                    (false, _) => 8,
                };
                let (profile, level) = (record.seq_profile, record.seq_level_idx_0);
                Ok(format!("av01.{profile}.{level:02}{tier}.{depth:02}"))
            }
        }
    }

    fn sample_entry(&self) -> Result<Codec> {
        let visual = Visual {
            data_reference_index: 1,
            width: self.width,
            height: self.height,
            ..Default::default()
        };
        Ok(match &self.codec {
            VideoCodec::H264(sets) => Codec::from(Avc1 {
                visual,
                avcc: sets.record()?,
                ..Default::default()
            }),
            VideoCodec::H265(sets) => Codec::from(Hvc1 {
                visual,
                hvcc: sets.record()?,
                ..Default::default()
            }),
            VideoCodec::Av1(config) => Codec::from(Av01 {
                visual,
                av1c: av1_record(config)?,
                ..Default::default()
            }),
        })
    }
}

fn av1_record(config: &[u8]) -> Result<Av1c> {
    Ok(Av1c::decode_body(&mut &config[..])?)
}

/// All tracks of a file or stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// The video track.
    pub video: VideoTrack,
    /// The audio track, if there is one.
    pub audio: Option<AudioTrack>,
}

impl Movie {
    /// MIME type with codec strings, as `MediaSource.isTypeSupported` takes it.
    pub fn mime(&self) -> Result<String> {
        let mut codecs = self.video.codec_string()?;
        if let Some(audio) = &self.audio {
            codecs = format!("{codecs},{}", audio.codec_string()?);
        }
        Ok(format!("video/mp4; codecs=\"{codecs}\""))
    }

    /// Ticks per second of a track.
    pub fn timescale(&self, track: u32) -> u32 {
        match &self.audio {
            Some(audio) if track == AUDIO_TRACK => audio.timescale(),
            _ => VIDEO_TIMESCALE,
        }
    }

    /// The initialisation segment: `ftyp` and a `moov` without samples.
    pub fn initialisation(&self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(1024);
        ftyp(b"iso6", &[b"iso6", b"isom", b"mp42", b"dash"]).encode(&mut out)?;
        let moov = self.moov(
            |_| {
                (
                    Stbl {
                        stco: Some(Stco::default()),
                        ..Default::default()
                    },
                    0,
                )
            },
            true,
        )?;
        moov.encode(&mut out)?;
        Ok(out)
    }

    /// A `moov` whose sample tables come from `tables` (without `stsd`), with the duration of each track in its ticks.
    pub(crate) fn moov(
        &self,
        tables: impl Fn(u32) -> (Stbl, u64),
        fragmented: bool,
    ) -> Result<Moov> {
        let mut tracks = vec![(VIDEO_TRACK, self.video.sample_entry()?)];
        if let Some(audio) = &self.audio {
            tracks.push((AUDIO_TRACK, audio.sample_entry()?));
        }
        let mut moov = Moov {
            mvhd: Mvhd {
                timescale: 1000,
                rate: FixedPoint::new(1, 0),
                volume: FixedPoint::new(1, 0),
                next_track_id: AUDIO_TRACK + 1,
                ..Default::default()
            },
            ..Default::default()
        };
        for (track_id, entry) in tracks {
            let (mut stbl, duration) = tables(track_id);
            stbl.stsd = Stsd {
                codecs: vec![entry],
            };
            let timescale = self.timescale(track_id);
            let milliseconds = duration * 1000 / u64::from(timescale.max(1));
            moov.mvhd.duration = moov.mvhd.duration.max(milliseconds);
            moov.trak
                .push(self.trak(track_id, stbl, duration, milliseconds));
        }
        if fragmented {
            let trex = moov.trak.iter().map(|trak| Trex {
                track_id: trak.tkhd.track_id,
                default_sample_description_index: 1,
                ..Default::default()
            });
            moov.mvex = Some(Mvex {
                mehd: None,
                trex: trex.collect(),
            });
        }
        Ok(moov)
    }

    fn trak(&self, track_id: u32, stbl: Stbl, duration: u64, milliseconds: u64) -> Trak {
        let video = track_id == VIDEO_TRACK;
        let mut tkhd = Tkhd {
            track_id,
            duration: milliseconds,
            enabled: true,
            in_movie: true,
            ..Default::default()
        };
        if video {
            tkhd.width = FixedPoint::new(self.video.width, 0);
            tkhd.height = FixedPoint::new(self.video.height, 0);
        } else {
            tkhd.volume = FixedPoint::new(1, 0);
        }
        let minf = Minf {
            vmhd: video.then(Vmhd::default),
            smhd: (!video).then(Smhd::default),
            dinf: Dinf {
                dref: Dref {
                    entries: vec![DrefEntry::Url(Url::default())],
                },
            },
            stbl,
            ..Default::default()
        };
        let mdia = Mdia {
            mdhd: Mdhd {
                timescale: self.timescale(track_id),
                duration,
                language: "und".into(),
                ..Default::default()
            },
            hdlr: Hdlr {
                handler: FourCC::new(if video { b"vide" } else { b"soun" }),
                name: if video {
                    "Video".into()
                } else {
                    "Audio".into()
                },
            },
            minf,
        };
        Trak {
            tkhd,
            mdia,
            ..Default::default()
        }
    }
}

pub(crate) fn ftyp(major: &[u8; 4], compatible: &[&[u8; 4]]) -> Ftyp {
    Ftyp {
        major_brand: FourCC::new(major),
        minor_version: 0,
        compatible_brands: compatible.iter().map(|brand| FourCC::new(brand)).collect(),
    }
}
