//! The elements a camera's pictures come out of, one function per kind of source.

use std::path::Path;

use gst::prelude::*;

use super::rtsp::{self, Refused};
use super::setup::Setup;
use crate::camera::{
    CameraConfig, FileSource, LibcameraSource, RtspTransport, Source, TestSource, V4l2Source,
};
use crate::fault::Fault;
use crate::libcamera::{self, Built};
use crate::tasks::{Size, Stream};

/// Who sees to it that frames come at their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// The source: a camera has its own, and a file may be wanted as fast as it can be read.
    Source,
    /// A `clocksync` behind the decoder.
    Ours,
    /// Such a one where the source turns out not to be live: it would take a whole processor, and its times would run
    /// ahead of the clock.
    OursUnlessLive,
}

/// What a source is built of.
pub(crate) struct SourceElements {
    /// Elements to add to the pipeline.
    pub elements: Vec<gst::Element>,
    /// Which of them to link, once they are in it.
    pub links: Vec<(gst::Element, gst::Element)>,
    /// Those of a libcamera camera, which link themselves.
    pub libcamera: Option<Built>,
    /// The one whose source pads (there now, or later) carry the stream that detection looks at.
    pub output: gst::Element,
    /// Which of the camera's streams that is.
    pub stream: Stream,
    /// Further streams of the same camera, raw pictures or the sensor's values, and the element each comes out of.
    pub others: Vec<(Stream, gst::Element)>,
    /// How the camera is configured, for the record.
    pub description: serde_json::Value,
    /// What was asked of the camera and does not reach it, for people.
    pub not_applied: Vec<String>,
    /// Whether frames must wait for their time, since the source itself does not.
    pub pace: Pace,
    /// Start again at the end.
    pub repeat: bool,
    /// The certificate that an RTSP source did not trust.
    pub refused_certificate: Refused,
    /// How an RTSP source is to transport its packets; none for other sources.
    pub transport: Option<RtspTransport>,
}

impl SourceElements {
    fn single(element: gst::Element) -> Self {
        Self {
            output: element.clone(),
            elements: vec![element],
            links: Vec::new(),
            libcamera: None,
            not_applied: Vec::new(),
            stream: Stream::Main,
            others: Vec::new(),
            description: serde_json::Value::Null,
            pace: Pace::Source,
            repeat: false,
            refused_certificate: Refused::default(),
            transport: None,
        }
    }
}

pub(crate) fn build(
    source: &Source,
    setup: &Setup,
    camera: &CameraConfig,
) -> Result<SourceElements, Fault> {
    let built = match source {
        Source::Rtsp(source) => {
            let refused = Refused::default();
            rtsp::build(source, &refused).map(|element| SourceElements {
                refused_certificate: refused,
                transport: Some(source.transport),
                ..SourceElements::single(element)
            })
        }
        Source::File(source) => file(source),
        Source::V4l2(source) => v4l2(source, setup.main_size()),
        Source::Libcamera(source) => libcamera(source, setup, camera),
        Source::Test(source) => test(source).map(SourceElements::single),
        Source::Launch(line) => launch(line).map(|bin| SourceElements {
            pace: Pace::OursUnlessLive,
            ..SourceElements::single(bin)
        }),
    }?;
    Ok(SourceElements {
        description: setup.description(source),
        ..built
    })
}

/// What is wrong with a source on this machine and can be seen without opening it: an element that is not installed, a launch
/// line that is none.
pub fn check_source(source: &Source) -> Result<(), Fault> {
    match source {
        Source::Rtsp(source) => {
            rtsp::check(source)?;
            make("rtspsrc", "gstreamer1.0-plugins-good").map(drop)
        }
        Source::File(_) => make("parsebin", "gstreamer1.0-plugins-base").map(drop),
        Source::V4l2(_) => make("v4l2src", "gstreamer1.0-plugins-good").map(drop),
        Source::Libcamera(_) => Ok(libcamera::Abilities::find().map(drop)?),
        Source::Test(_) => Ok(()),
        Source::Launch(line) => launch(line).map(drop),
    }
}

pub(super) fn make(factory: &str, package: &str) -> Result<gst::Element, Fault> {
    gst::ElementFactory::make(factory).build().map_err(|_| {
        Fault::permanent(format!(
            "GStreamer element {factory} is missing; install the plugin that has it (Debian: {package})"
        ))
    })
}

fn filtered(source: gst::Element, caps: &gst::Caps) -> Result<SourceElements, Fault> {
    let filter = make("capsfilter", "libgstreamer1.0-0")?;
    filter.set_property("caps", caps);
    Ok(SourceElements {
        links: vec![(source.clone(), filter.clone())],
        elements: vec![source, filter.clone()],
        ..SourceElements::single(filter)
    })
}

/// The host of `HOST:PORT/PATH`, and what stands for its port.
pub fn split_port(address: &str) -> (&str, Option<&str>) {
    let authority = address.split(['/', '?']).next().unwrap_or(address);
    // An IPv6 address in brackets has colons of its own.
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after..].rsplit_once(':') {
        Some((rest, port)) => (&authority[..after + rest.len()], Some(port)),
        None => (authority, None),
    }
}

/// Takes `user:password@` out of a URL: what is left, and user and password.
pub fn split_credentials(url: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return (url.to_owned(), None);
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    // An unescaped `/` in a password: the `@` then comes later.
    let is_host = |at: &usize| {
        let host = &rest.as_bytes()[at + 1..authority_end];
        let fits = |c: &u8| c.is_ascii_alphanumeric() || b".-_:[]%".contains(c);
        !host.is_empty() && host.iter().all(fits)
    };
    let in_authority = rest[..authority_end].rfind('@');
    let at = in_authority
        .filter(is_host)
        .or_else(|| {
            // What follows is no host, so it belongs to a password with an unescaped `@`.
            in_authority.and_then(|_| rest.rfind('@'))
        })
        .or_else(|| {
            rest[..authority_end]
                .split_once(':')
                .filter(|(_, port)| port.parse::<u16>().is_err())
                .and_then(|_| rest.rfind('@'))
        });
    match at {
        None => (url.to_owned(), None),
        Some(at) => {
            let (user, password) = rest[..at].split_once(':').unwrap_or((&rest[..at], ""));
            (
                format!("{scheme}://{}", &rest[at + 1..]),
                Some((percent_decoded(user), percent_decoded(password))),
            )
        }
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let code = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3))
            .flatten()
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

fn file(source: &FileSource) -> Result<SourceElements, Fault> {
    if !Path::new(&source.path).is_file() {
        return Err(Fault::source(format!(
            "file {} does not exist",
            source.path.display()
        )));
    }
    let reader = make("filesrc", "libgstreamer1.0-0")?;
    reader.set_property(
        "location",
        source.path.as_os_str().to_string_lossy().as_ref(),
    );
    let parser = make("parsebin", "gstreamer1.0-plugins-base")?;
    Ok(SourceElements {
        links: vec![(reader.clone(), parser.clone())],
        elements: vec![reader, parser.clone()],
        pace: if source.realtime {
            Pace::Ours
        } else {
            Pace::Source
        },
        repeat: source.repeat,
        ..SourceElements::single(parser)
    })
}

/// `size` is the one the uses agreed on. Without one, and without one of the source, it is the nearest that the device has to
/// 1280x720: what is left open would be settled by whatever takes pictures first.
fn v4l2(source: &V4l2Source, size: Option<Size>) -> Result<SourceElements, Fault> {
    let element = make("v4l2src", "gstreamer1.0-plugins-good")?;
    element.set_property("device", source.device.to_string_lossy().as_ref());
    let is_open = size.is_none() && source.width.is_none() && source.height.is_none();
    let size = size.or_else(|| is_open.then(|| v4l2_size(&element)).flatten());
    let mut caps = gst::Caps::new_empty();
    {
        let caps = caps.get_mut().expect("just made");
        // Raw first: it needs no decoder. Compressed formats where the device has the wanted size only in them.
        for name in ["video/x-raw", "image/jpeg", "video/x-h264"] {
            let mut structure = gst::Structure::builder(name);
            if let Some(width) = size.map(|size| size.width).or(source.width) {
                structure = structure.field("width", width as i32);
            }
            if let Some(height) = size.map(|size| size.height).or(source.height) {
                structure = structure.field("height", height as i32);
            }
            if let Some(fraction) = source.fps.and_then(gst::Fraction::approximate_f64) {
                structure = structure.field("framerate", fraction);
            }
            caps.append_structure(structure.build());
        }
    }
    let elements = filtered(element, &caps)?;
    square_pixels(&elements.output);
    Ok(elements)
}

/// The size that a device has nearest to what is wished for; none where it cannot be asked, which its start explains.
fn v4l2_size(element: &gst::Element) -> Option<Size> {
    let offered = element
        .set_state(gst::State::Ready)
        .ok()
        .and_then(|_| element.static_pad("src"))
        .map(|pad| libcamera::formats_of(&pad.query_caps(None)));
    let _ = element.set_state(gst::State::Null);
    libcamera::choose(&offered?, None, None, libcamera::MAIN_SIZE)
        .ok()
        .map(|(_, size)| size)
}

/// A device that does not know the shape of its pixels may get one from `v4l2src` with which scaling overflows. Pixels that are
/// ten times as wide as high, or more, are no camera's.
fn square_pixels(filter: &gst::Element) {
    const ASPECT: &str = "pixel-aspect-ratio";
    let pad = filter.static_pad("sink").expect("filters have a sink pad");
    pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, |_, info| {
        if let Some(gst::PadProbeData::Event(event)) = &mut info.data
            && let gst::EventView::Caps(caps) = event.view()
            && let Some(structure) = caps.caps().structure(0)
            && let Ok(aspect) = structure.get::<gst::Fraction>(ASPECT)
        {
            let (wide, high) = (i64::from(aspect.numer()), i64::from(aspect.denom()));
            if wide <= 0 || high <= 0 || wide >= 10 * high || high >= 10 * wide {
                let mut square = caps.caps_owned();
                square.make_mut().set(ASPECT, gst::Fraction::new(1, 1));
                *event = gst::event::Caps::builder(&square)
                    .seqnum(event.seqnum())
                    .build();
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn libcamera(
    source: &LibcameraSource,
    setup: &Setup,
    camera: &CameraConfig,
) -> Result<SourceElements, Fault> {
    let framerate = source.fps.unwrap_or(30.0);
    let framerate = gst::Fraction::approximate_f64(framerate)
        .ok_or_else(|| Fault::permanent(format!("{framerate} is no frame rate")))?;
    let mut built = libcamera::build(source, &setup.configuration, framerate, setup.is_still())?;
    let stream = setup
        .detect_stream(camera)
        .filter(|stream| built.outputs.contains_key(stream))
        .ok_or_else(|| Fault::permanent("no stream of the camera is used"))?;
    let output = built.outputs[&stream].clone();
    let others = std::mem::take(&mut built.outputs).into_iter();
    Ok(SourceElements {
        stream,
        others: others.filter(|(other, _)| *other != stream).collect(),
        not_applied: std::mem::take(&mut built.not_applied),
        libcamera: Some(built),
        elements: Vec::new(),
        ..SourceElements::single(output)
    })
}

fn test(source: &TestSource) -> Result<gst::Element, Fault> {
    let fps = gst::Fraction::approximate_f64(source.fps)
        .ok_or_else(|| Fault::permanent(format!("{} is no frame rate", source.fps)))?;
    gsttestscene::source::make(&source.scene, source.width, source.height, fps)
        .map(Cast::upcast)
        .map_err(|error| Fault::permanent(error.to_string()))
}

fn launch(line: &str) -> Result<gst::Element, Fault> {
    // With an element behind it a line may end in caps, or in an element whose pads come later. GStreamer would make a pad of
    // the bin of each that is not linked yet, that element's own sink pad too, and it never would be.
    const END: &str = "watchpost-end";
    let whole = format!("{line} ! identity silent=true name={END}");
    let bin = gst::parse::bin_from_description(&whole, false).map_err(|error| {
        Fault::permanent(format!(
            "launch line `{line}`: {}, expected elements with `!` between them that end in video",
            error.message()
        ))
    })?;
    let end = bin.by_name(END).and_then(|end| end.static_pad("src"));
    let pad = end.and_then(|end| gst::GhostPad::with_target(&end).ok());
    match pad.map(|pad| bin.add_pad(&pad)) {
        Some(Ok(())) => Ok(bin.upcast()),
        _ => Err(Fault::permanent(format!(
            "launch line `{line}`: nothing comes out of it, expected video"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::RtspSource;

    #[test]
    fn credentials_are_taken_out_of_the_location() {
        for (url, location, credentials) in [
            ("rtsp://h/1", "rtsp://h/1", None),
            ("rtsp://h:554/a@b", "rtsp://h:554/a@b", None),
            ("rtsp://u:p@h:554/1", "rtsp://h:554/1", Some(("u", "p"))),
            ("rtsp://u:p%40ss@h/1", "rtsp://h/1", Some(("u", "p@ss"))),
            ("rtsp://u:p@ss@h/1", "rtsp://h/1", Some(("u", "p@ss"))),
            ("rtsp://u:p/ss@h/1", "rtsp://h/1", Some(("u", "p/ss"))),
            ("rtsp://u:100%@h/1", "rtsp://h/1", Some(("u", "100%"))),
            ("rtsp://u@h/1", "rtsp://h/1", Some(("u", ""))),
        ] {
            let expected = credentials.map(|(u, p)| (u.to_owned(), p.to_owned()));
            assert_eq!(
                split_credentials(url),
                (location.to_owned(), expected),
                "{url}"
            );
        }
    }

    #[test]
    fn rtsp_location_never_holds_the_password() {
        gst::init().unwrap();
        let element = rtsp::build(
            &RtspSource::from("rtsp://u:geheim@127.0.0.1/1".to_owned()),
            &Refused::default(),
        )
        .unwrap();
        assert_eq!(element.property::<String>("location"), "rtsp://127.0.0.1/1");
        assert_eq!(element.property::<String>("user-pw"), "geheim");
    }

    #[test]
    fn launch_lines_that_cannot_work_say_why() {
        gst::init().unwrap();
        for (line, said) in [
            ("videotestsrc ! fakesink", "could not link fakesink"),
            ("videotestsrc !", "expected elements with `!`"),
            ("nosuchelement", "nosuchelement"),
            ("rtspsrc user-pw=geheim location=", "launch line"),
        ] {
            let fault = launch(line).err();
            if let Some(fault) = fault {
                assert!(fault.reason.contains(said), "{fault} misses {said}");
                assert!(!fault.reason.contains("geheim"), "{fault}");
            } else {
                assert!(line.starts_with("rtspsrc"), "{line} was taken");
            }
        }
    }
}
