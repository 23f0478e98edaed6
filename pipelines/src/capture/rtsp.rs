//! An RTSP camera as one `rtspsrc`, set up for how cameras behave; `docs/design/rtsp.md` has each decision with its reason.
//!
//! * One stream, the first video stream of the session description, is set up.
//! * A request is sent at most twice: without and with credentials. `rtspsrc` alone tries a wrong password eight times,
//!   and cameras lock the account after five.
//! * Over TCP a keep-alive request goes out every [`KEEP_ALIVE`]; `rtspsrc` sends none while packets arrive.
//! * The certificate of an `rtsps` camera is trusted by its fingerprint where the system does not trust it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;

use super::decode::encoding_of;
use super::source::{make, split_credentials};
use crate::camera::{RtspSource, RtspTransport};
use crate::fault::Fault;
use crate::rtsp_request::{Method, method};

/// Shorter than any session time-out seen; ten seconds is the shortest that cameras announce.
const KEEP_ALIVE: Duration = Duration::from_secs(8);

/// SHA-256 of a certificate that was refused, for the reason shown to the user.
pub(crate) type Refused = Arc<Mutex<Option<String>>>;

/// An `rtspsrc` for this camera.
pub(crate) fn build(source: &RtspSource, refused: &Refused) -> Result<gst::Element, Fault> {
    let element = make("rtspsrc", "gstreamer1.0-plugins-good")?;
    // Credentials go in as properties of their own, never in the location: that one appears in GStreamer's log.
    let (location, in_url) = split_credentials(&source.url);
    element.set_property("location", location);
    let user = source
        .user
        .clone()
        .or_else(|| in_url.as_ref().map(|c| c.0.clone()));
    let password = source.password.clone().or(in_url.map(|c| c.1));
    if let Some(user) = user {
        element.set_property("user-id", &user);
        one_attempt(&element, user);
    }
    if let Some(password) = password {
        element.set_property("user-pw", password);
    }
    set_transport(&element, source.transport);
    element.set_property("latency", source.latency);
    let timeout = (source.timeout * 1e6) as u64;
    element.set_property("timeout", timeout);
    element.set_property("tcp-timeout", timeout);
    first_video_only(&element);
    trust(&element, Trust::parse(source)?, refused);
    Ok(element)
}

/// Checks what can be checked without connecting.
pub(crate) fn check(source: &RtspSource) -> Result<(), Fault> {
    Trust::parse(source).map(drop)
}

/// Sets the transport of the next connection; `auto` begins with TCP.
pub(crate) fn set_transport(element: &gst::Element, transport: RtspTransport) {
    let protocols = match transport {
        RtspTransport::Auto | RtspTransport::Tcp => "tcp",
        RtspTransport::Udp => "udp",
    };
    element.set_property_from_str("protocols", protocols);
}

/// Sets up the first video stream and no other.
fn first_video_only(element: &gst::Element) {
    let first = Mutex::new(None);
    element.connect("select-stream", false, move |values| {
        let index = values.get(1).and_then(|value| value.get::<u32>().ok());
        let caps = values
            .get(2)
            .and_then(|value| value.get::<gst::Caps>().ok());
        let is_video = caps.is_some_and(|caps| is_rtp_video(&caps));
        let mut first = first.lock().expect("no panic while held");
        let selected = is_video && *first.get_or_insert(index) == index;
        Some(selected.to_value())
    });
}

fn is_rtp_video(caps: &gst::CapsRef) -> bool {
    caps.structure(0)
        .and_then(|s| s.get::<&str>("media").ok())
        .is_some_and(|media| media == "video")
}

/// Takes the user away from `rtspsrc` while a request is repeated with credentials, so that it gives up when these are
/// refused. A request that follows a successful one may authenticate anew (a nonce expires).
fn one_attempt(element: &gst::Element, user: String) {
    let last: Mutex<Option<Method>> = Mutex::new(None);
    element.connect("before-send", false, move |values| {
        let element = values.first().and_then(|v| v.get::<gst::Element>().ok());
        let this = values.get(1).and_then(method);
        let mut last = last.lock().expect("no panic while held");
        let is_repeated = this.is_some() && *last == this;
        *last = this;
        if let Some(element) = element {
            let user = (!is_repeated).then_some(user.as_str());
            element.set_property("user-id", user);
        }
        Some(true.to_value())
    });
}

/// Which certificates are trusted besides those that the system trusts.
#[derive(Debug, PartialEq, Eq)]
enum Trust {
    System,
    Fingerprint(String),
    Any,
}

impl Trust {
    fn parse(source: &RtspSource) -> Result<Self, Fault> {
        let Some(text) = &source.tls_fingerprint else {
            return Ok(Self::System);
        };
        if text == "any" {
            return Ok(Self::Any);
        }
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Fault::permanent(format!(
                "tls_fingerprint {text:?} is not a SHA-256 fingerprint; expected 64 hexadecimal digits (colons between \
                 them are allowed), or `any`"
            )));
        }
        Ok(Self::Fingerprint(digits.to_ascii_lowercase()))
    }
}

/// Decides about a certificate that the system does not trust.
fn trust(element: &gst::Element, trust: Trust, refused: &Refused) {
    let refused = refused.clone();
    element.connect("accept-certificate", false, move |values| {
        let certificate = values.get(2).and_then(|v| v.get::<glib::Object>().ok());
        let der = certificate
            .filter(|certificate| certificate.find_property("certificate").is_some())
            .and_then(|certificate| certificate.property::<Option<glib::ByteArray>>("certificate"));
        let shown = der.and_then(|der| {
            let sum = glib::compute_checksum_for_data(glib::ChecksumType::Sha256, &der)?;
            Some(sum.to_string())
        });
        let is_accepted = match &trust {
            Trust::System => false,
            Trust::Any => true,
            Trust::Fingerprint(wanted) => shown.as_ref() == Some(wanted),
        };
        if !is_accepted {
            *refused.lock().expect("no panic while held") = shown;
        }
        Some(is_accepted.to_value())
    });
}

/// The reason shown where a certificate was refused.
pub(crate) fn refused_certificate(refused: &Refused) -> Option<String> {
    let fingerprint = refused.lock().expect("no panic while held").take()?;
    Some(format!(
        "the camera's TLS certificate is not trusted (SHA-256 fingerprint {fingerprint}); if it is the camera's own, set \
         `tls_fingerprint` of this source to it"
    ))
}

/// Sends keep-alive requests over a TCP session as long as packets come out of this pad. `GET_PARAMETER` is the request
/// that RTSP clients use for this; any answer, an error included, keeps the session.
pub(crate) fn keep_alive(source: &gst::Element, pad: &gst::Pad) {
    let protocols = source.property_value("protocols");
    let class = glib::FlagsClass::with_type(protocols.type_());
    if !class.is_some_and(|class| class.is_set_by_nick(&protocols, "tcp")) {
        return;
    }
    let weak = source.downgrade();
    let sent = Mutex::new(Instant::now());
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        let mut sent = sent.lock().expect("no panic while held");
        if sent.elapsed() < KEEP_ALIVE {
            return gst::PadProbeReturn::Ok;
        }
        *sent = Instant::now();
        drop(sent);
        if let Some(source) = weak.upgrade() {
            let promise = gst::Promise::new();
            source.emit_by_name::<bool>(
                "get-parameter",
                &[&"position", &"text/parameters", &promise],
            );
        }
        gst::PadProbeReturn::Ok
    });
}

/// The RTP session a pad of `rtspsrc` belongs to, and what it carries: a pad with the same ones continues the stream of
/// another synchronisation source.
pub(crate) fn stream_of(pad: &gst::Pad, caps: &gst::Caps) -> Option<(u32, String)> {
    // recv_rtp_src_SESSION_SSRC_PAYLOADTYPE
    let name = pad.name();
    let session = name.strip_prefix("recv_rtp_src_")?.split('_').next()?;
    let encoding = encoding_of(caps.structure(0)?)?;
    Some((session.parse().ok()?, encoding.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(text: &str) -> Result<Trust, Fault> {
        Trust::parse(&RtspSource {
            tls_fingerprint: Some(text.to_owned()),
            ..RtspSource::from("rtsps://camera/".to_owned())
        })
    }

    #[test]
    fn fingerprints_are_read_with_and_without_colons_and_refused_by_name() {
        let digits = "AB".repeat(32);
        let pairs = vec!["ab"; 32].join(":");
        assert_eq!(trusted(&digits), trusted(&pairs));
        assert_eq!(trusted("any"), Ok(Trust::Any));
        for wrong in ["", "abcd", "any ", &"zz".repeat(32)] {
            let fault = trusted(wrong).unwrap_err();
            assert!(fault.reason.contains(&format!("{wrong:?}")), "{fault}");
        }
    }
}
