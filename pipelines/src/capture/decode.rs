//! From whatever a source sends to raw pictures: depayloader, parser and decoder by the stream's caps.

use gst::prelude::*;

use crate::camera::Decoder;
use crate::fault::Fault;

/// A video codec and what handles it.
struct Codec {
    /// For people.
    name: &'static str,
    /// Caps of the elementary stream.
    caps: &'static str,
    /// `encoding-name` in RTP caps, and its depayloader.
    rtp: Option<(&'static str, &'static str)>,
    parser: Option<&'static str>,
    vaapi: &'static [&'static str],
    v4l2: &'static [&'static str],
    software: &'static [&'static str],
}

const CODECS: [Codec; 7] = [
    Codec {
        name: "H.264",
        caps: "video/x-h264",
        rtp: Some(("H264", "rtph264depay")),
        parser: Some("h264parse"),
        vaapi: &["vah264dec", "vaapih264dec"],
        v4l2: &["v4l2slh264dec", "v4l2h264dec"],
        software: &["avdec_h264", "openh264dec"],
    },
    Codec {
        name: "H.265",
        caps: "video/x-h265",
        rtp: Some(("H265", "rtph265depay")),
        parser: Some("h265parse"),
        vaapi: &["vah265dec", "vaapih265dec"],
        v4l2: &["v4l2slh265dec", "v4l2h265dec"],
        software: &["avdec_h265", "libde265dec"],
    },
    Codec {
        name: "JPEG",
        caps: "image/jpeg",
        rtp: Some(("JPEG", "rtpjpegdepay")),
        parser: None,
        vaapi: &["vajpegdec", "vaapijpegdec"],
        v4l2: &["v4l2jpegdec"],
        software: &["jpegdec", "avdec_mjpeg"],
    },
    Codec {
        name: "MPEG-4",
        caps: "video/mpeg",
        rtp: Some(("MP4V-ES", "rtpmp4vdepay")),
        parser: Some("mpeg4videoparse"),
        vaapi: &[],
        v4l2: &["v4l2mpeg4dec"],
        software: &["avdec_mpeg4"],
    },
    Codec {
        name: "VP8",
        caps: "video/x-vp8",
        rtp: Some(("VP8", "rtpvp8depay")),
        parser: None,
        vaapi: &["vavp8dec"],
        v4l2: &["v4l2slvp8dec", "v4l2vp8dec"],
        software: &["vp8dec", "avdec_vp8"],
    },
    Codec {
        name: "VP9",
        caps: "video/x-vp9",
        rtp: Some(("VP9", "rtpvp9depay")),
        parser: Some("vp9parse"),
        vaapi: &["vavp9dec", "vaapivp9dec"],
        v4l2: &["v4l2slvp9dec", "v4l2vp9dec"],
        software: &["vp9dec", "avdec_vp9"],
    },
    Codec {
        name: "AV1",
        caps: "video/x-av1",
        rtp: Some(("AV1", "rtpav1depay")),
        parser: Some("av1parse"),
        vaapi: &["vaav1dec"],
        v4l2: &["v4l2slav1dec"],
        software: &["dav1ddec", "av1dec", "avdec_av1"],
    },
];

/// What turns a stream into raw pictures.
pub(crate) struct DecodeChain {
    /// Elements to link one after the other; none for a stream that is raw already.
    pub elements: Vec<gst::Element>,
    /// The last of them, where it is a decoder.
    pub decoder: Option<gst::Element>,
}

/// Makes the elements for a stream with these caps. Decoders named in `failed` are passed over; one that cannot be
/// opened is too.
pub(crate) fn chain(
    caps: &gst::Caps,
    wanted: Decoder,
    failed: &[String],
) -> Result<DecodeChain, Fault> {
    let structure = caps
        .structure(0)
        .ok_or_else(|| Fault::permanent("the source offers no format"))?;
    // The sensor's own values go to tasks as they are.
    if matches!(structure.name().as_str(), "video/x-raw" | "video/x-bayer") {
        return Ok(DecodeChain {
            elements: Vec::new(),
            decoder: None,
        });
    }
    let is_rtp = structure.name() == "application/x-rtp";
    let encoding = encoding_of(structure).unwrap_or_default();
    let codec = CODECS
        .iter()
        .find(|codec| {
            if is_rtp {
                codec.rtp.is_some_and(|(name, _)| name == encoding)
            } else {
                codec.caps == structure.name()
            }
        })
        .ok_or_else(|| {
            let reason = format!(
                "the source sends {}, expected one of {}",
                if is_rtp { encoding } else { structure.name() },
                CODECS.map(|codec| codec.name).join(", ")
            );
            // What a camera sends is set there, and may be set right.
            if is_rtp {
                Fault::source(reason)
            } else {
                Fault::permanent(reason)
            }
        })?;

    let mut elements = Vec::new();
    if is_rtp {
        let (_, depayloader) = codec.rtp.expect("found by its RTP name");
        elements.push(make(depayloader, codec.name)?);
    }
    if let Some(parser) = codec.parser {
        elements.push(make(parser, codec.name)?);
    }
    let decoder = open_decoder(codec, wanted, failed)?;
    elements.push(decoder.clone());
    Ok(DecodeChain {
        elements,
        decoder: Some(decoder),
    })
}

/// Encoding of an RTP stream. Cameras may leave out `a=rtpmap` for payload types whose meaning RFC 3551 fixes.
pub(super) fn encoding_of(caps: &gst::StructureRef) -> Option<&str> {
    let by_name = caps.get::<&str>("encoding-name").ok();
    by_name.or_else(|| match caps.get::<i32>("payload").ok()? {
        26 => Some("JPEG"),
        31 => Some("H261"),
        32 => Some("MPV"),
        33 => Some(MPEG_TS),
        34 => Some("H263"),
        _ => None,
    })
}

/// Encoding name of a transport stream in RTP.
pub(super) const MPEG_TS: &str = "MP2T";

/// Depayloader and demuxer of a transport stream in RTP; the streams come out of the second.
pub(super) fn mpeg_ts() -> Result<[gst::Element; 2], Fault> {
    Ok([
        make("rtpmp2tdepay", "MPEG-TS")?,
        make("tsdemux", "MPEG-TS")?,
    ])
}

fn make(factory: &str, codec: &str) -> Result<gst::Element, Fault> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        Fault::permanent(format!(
            "GStreamer element {factory} for {codec} is missing; install the GStreamer plugin that has it \
             (Debian: gstreamer1.0-plugins-good or gstreamer1.0-plugins-bad)"
        ))
    })
}

/// The factories to try, in order.
fn candidates(codec: &Codec, wanted: Decoder) -> Vec<&'static str> {
    match wanted {
        Decoder::Auto => [codec.vaapi, codec.v4l2, codec.software].concat(),
        Decoder::Vaapi => codec.vaapi.to_vec(),
        Decoder::V4l2 => codec.v4l2.to_vec(),
        Decoder::Software => codec.software.to_vec(),
    }
}

/// Whether this machine has any decoder of the wanted kind.
pub fn check_decoder(wanted: Decoder) -> Result<(), Fault> {
    let all: Vec<_> = CODECS
        .iter()
        .flat_map(|codec| candidates(codec, wanted))
        .collect();
    if all
        .iter()
        .any(|name| gst::ElementFactory::find(name).is_some())
    {
        return Ok(());
    }
    Err(Fault::permanent(format!(
        "no decoder of this kind is installed, or none for this hardware; expected one of {}",
        all.join(", ")
    )))
}

fn open_decoder(codec: &Codec, wanted: Decoder, failed: &[String]) -> Result<gst::Element, Fault> {
    let mut tried = Vec::new();
    for name in candidates(codec, wanted) {
        if failed.iter().any(|failed| failed == name) {
            tried.push(format!("{name} (failed before)"));
            continue;
        }
        let Ok(decoder) = gst::ElementFactory::make(name).build() else {
            tried.push(format!("{name} (not installed)"));
            continue;
        };
        // READY opens the device: a decoder without its hardware is found out here.
        let opens = decoder.set_state(gst::State::Ready).is_ok();
        let _ = decoder.set_state(gst::State::Null);
        if !opens {
            tried.push(format!("{name} (does not open)"));
            continue;
        }
        prepare(&decoder);
        return Ok(decoder);
    }
    Err(Fault::permanent(format!(
        "no decoder for {} with `decoder: {}`; tried {} (Debian: gstreamer1.0-libav has software decoders)",
        codec.name,
        wanted.as_str(),
        tried.join(", ")
    )))
}

/// Pixels of a picture beyond which one core may be too slow to decode it.
const LARGE_PICTURE: i64 = 1920 * 1200;

/// libav's decoders start a thread per core, each with frames of its own, and delay the picture by as many frames. With
/// many cameras one thread each does the same work with a fraction of the memory; only large pictures get more.
fn prepare(decoder: &gst::Element) {
    if decoder.find_property("max-threads").is_none() {
        return;
    }
    decoder.set_property_from_str("max-threads", "1");
    let Some(sink) = decoder.static_pad("sink") else {
        return;
    };
    let weak = decoder.downgrade();
    sink.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        if let (Some(decoder), Some(gst::EventView::Caps(event))) =
            (weak.upgrade(), info.event().map(|event| event.view()))
        {
            let pixels = event.caps().structure(0).map_or(0, |s| {
                i64::from(s.get::<i32>("width").unwrap_or(0))
                    * i64::from(s.get::<i32>("height").unwrap_or(0))
            });
            let threads = if pixels > LARGE_PICTURE { "4" } else { "1" };
            decoder.set_property_from_str("max-threads", threads);
        }
        gst::PadProbeReturn::Ok
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h264() -> gst::Caps {
        gst::init().unwrap();
        "video/x-h264,stream-format=byte-stream".parse().unwrap()
    }

    fn names(chain: &DecodeChain) -> Vec<String> {
        chain
            .elements
            .iter()
            .map(super::super::fault::factory_name)
            .collect()
    }

    #[test]
    fn rtp_gets_a_depayloader_and_raw_video_nothing() {
        gst::init().unwrap();
        let rtp: gst::Caps = "application/x-rtp,media=video,encoding-name=H264"
            .parse()
            .unwrap();
        let software = chain(&rtp, Decoder::Software, &[]).unwrap();
        assert_eq!(
            names(&software),
            ["rtph264depay", "h264parse", "avdec_h264"]
        );
        let raw: gst::Caps = "video/x-raw,format=NV12".parse().unwrap();
        assert!(chain(&raw, Decoder::Auto, &[]).unwrap().elements.is_empty());
    }

    #[test]
    fn a_decoder_that_failed_for_this_camera_is_passed_over() {
        let first = chain(&h264(), Decoder::Software, &[]).unwrap();
        let failed = names(&first).pop().unwrap();
        let second = chain(&h264(), Decoder::Software, std::slice::from_ref(&failed)).unwrap();
        assert_ne!(names(&second).pop().unwrap(), failed);
    }

    #[test]
    fn no_decoder_left_says_what_was_tried() {
        let all = ["avdec_h264".to_owned(), "openh264dec".to_owned()];
        let fault = chain(&h264(), Decoder::Software, &all).err().unwrap();
        assert!(fault.reason.contains("no decoder for H.264"), "{fault}");
        assert!(
            fault.reason.contains("avdec_h264 (failed before)"),
            "{fault}"
        );
    }

    #[test]
    fn an_unknown_codec_is_named() {
        gst::init().unwrap();
        let caps: gst::Caps = "application/x-rtp,media=video,encoding-name=RAW"
            .parse()
            .unwrap();
        let fault = chain(&caps, Decoder::Auto, &[]).err().unwrap();
        assert!(
            fault
                .reason
                .starts_with("the source sends RAW, expected one of H.264"),
            "{fault}"
        );
    }
}
