//! RTSP cameras whose habits `rtspsrc` does not cope with by itself; `docs/design/rtsp.md` lists them.

mod task_camera;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gst::prelude::*;
use task_camera::{Camera, wait_until};
use testkit::odd_camera::{Builder, OddCamera};
use testkit::{find, rtsp};
use watchpost_pipelines::camera::{CameraConfig, RtspSource, RtspTransport, Source};
use watchpost_pipelines::capture::{self, Capture, CaptureEvent};
use watchpost_pipelines::fault::{Fault, FaultKind};

const PICTURES: &str = "videotestsrc is-live=true pattern=ball ! \
    video/x-raw,format=I420,width=320,height=240,framerate=25/1";
const H264: &str =
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n";
/// Pictures of a group.
const GROUP: u32 = 15;

fn h264() -> Builder {
    let packets = format!(
        "{PICTURES} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={GROUP} ! \
         rtph264pay pt=96 config-interval=-1 seqnum-offset=0 timestamp-offset=0"
    );
    OddCamera::builder(&packets, H264)
}

/// A running capture without a ring.
fn start(source: RtspSource) -> Capture {
    gst::init().unwrap();
    let camera = CameraConfig::from_source(Source::Rtsp(source));
    let source = camera.primary_source().unwrap();
    let setup = capture::Setup::standing(&camera, None);
    let capture = capture::build_from(source, &setup, &camera, &[], None).unwrap();
    capture.start().unwrap();
    capture
}

fn next_fault(capture: &Capture) -> Option<Fault> {
    let bus = capture.pipeline().bus().unwrap();
    std::iter::from_fn(|| bus.pop()).find_map(|message| match capture.handle(&message) {
        Some(CaptureEvent::Failed(fault)) => Some(fault),
        _ => None,
    })
}

fn fault(source: RtspSource) -> Fault {
    let capture = start(source);
    find("a fault", || next_fault(&capture))
}

/// Counts the pictures that reach a tap.
fn pictures(camera: &Camera) -> impl Fn() -> u32 {
    let count = Arc::new(AtomicU32::new(0));
    let counted = count.clone();
    let sink = camera.pipeline().by_name("pictures").expect("its tap");
    // The tap itself drops what no task takes.
    let pad = sink
        .static_pad("sink")
        .and_then(|pad| pad.peer())
        .expect("it is linked");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    move || count.load(Ordering::Relaxed)
}

fn goes_on(camera: &OddCamera, transport: RtspTransport, so_many: u32) {
    let source = RtspSource {
        transport,
        ..RtspSource::from(camera.url(""))
    };
    let camera = Camera::connect(Source::Rtsp(source));
    let pictures = pictures(&camera);
    wait_until("pictures of several groups", || {
        let trouble = camera.trouble();
        assert!(
            !matches!(trouble, Some(CaptureEvent::Failed(_))),
            "{trouble:?}"
        );
        pictures() > so_many
    });
}

/// The group of pictures a packet belongs to, by its timestamp.
fn group(packet: &[u8]) -> u32 {
    let timestamp = u32::from_be_bytes(packet[4..8].try_into().unwrap());
    (timestamp + 1800) / (3600 * GROUP)
}

#[test]
fn payload_types_that_rfc_3551_fixes_need_no_rtpmap() {
    let packets = format!("{PICTURES} ! jpegenc ! rtpjpegpay pt=26");
    let camera = OddCamera::builder(&packets, "m=video 0 RTP/AVP 26\r\n").start();
    goes_on(&camera, RtspTransport::Auto, 10);
}

#[test]
fn a_transport_stream_in_rtp_is_taken_apart() {
    let packets = format!(
        "{PICTURES} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={GROUP} ! h264parse config-interval=-1 ! \
         mpegtsmux alignment=7 ! rtpmp2tpay pt=33"
    );
    let camera = OddCamera::builder(&packets, "m=video 0 RTP/AVP 33\r\n").start();
    goes_on(&camera, RtspTransport::Auto, 10);
}

#[test]
fn the_stream_goes_on_when_each_group_has_its_own_synchronisation_source() {
    for transport in [RtspTransport::Tcp, RtspTransport::Udp] {
        let camera = h264()
            .mangle(|_, packet| {
                let source = 0x1000 + group(packet);
                packet[8..12].copy_from_slice(&source.to_be_bytes());
            })
            .start();
        goes_on(&camera, transport, 5 * GROUP);
    }
}

#[test]
fn the_stream_goes_on_when_the_source_behind_the_camera_starts_anew() {
    let camera = h264()
        .mangle(|_, packet| {
            if group(packet) >= 2 {
                let sequence = u16::from_be_bytes([packet[2], packet[3]]).wrapping_add(30_000);
                packet[2..4].copy_from_slice(&sequence.to_be_bytes());
                let time = u32::from_be_bytes(packet[4..8].try_into().unwrap());
                packet[4..8].copy_from_slice(&time.wrapping_add(3_000_000_000).to_be_bytes());
                packet[8..12].copy_from_slice(&[7, 7, 7, 7]);
            }
        })
        .start();
    goes_on(&camera, RtspTransport::Tcp, 5 * GROUP);
}

#[test]
fn a_wrong_password_is_tried_once() {
    for challenge in [
        "Digest realm=\"camera\", nonce=\"0123456789abcdef\"",
        "Basic realm=\"camera\"",
    ] {
        let camera = h264().refuse(challenge).start();
        let fault = fault(RtspSource::from(camera.url("admin:wrong@")));
        assert_eq!(fault.kind, FaultKind::Auth, "{fault}");
        let requests = camera.requests();
        let tried = requests
            .iter()
            .filter(|request| request.headers.contains_key("authorization"));
        assert_eq!(tried.count(), 1, "{requests:#?}");
    }
}

#[test]
fn a_camera_that_offers_only_udp_is_taken_by_udp() {
    let camera = h264().transports(false, true).start();
    goes_on(&camera, RtspTransport::Auto, GROUP);
    let refused = fault(RtspSource {
        transport: RtspTransport::Tcp,
        ..RtspSource::from(camera.url(""))
    });
    assert!(refused.reason.contains("transport"), "{refused}");
}

#[test]
fn a_session_over_tcp_is_kept_alive() {
    let camera = h264().idle_timeout(Duration::from_secs(10)).start();
    let watched = Camera::connect(Source::Rtsp(RtspSource::from(camera.url(""))));
    wait_until("two keep-alive requests", || {
        let trouble = watched.trouble();
        assert!(
            !matches!(trouble, Some(CaptureEvent::Failed(_))),
            "{trouble:?}"
        );
        camera.count("GET_PARAMETER") >= 2
    });
    assert_eq!(camera.count("PLAY"), 1);
}

/// A certificate of the camera's own and its SHA-256 fingerprint.
fn certificate(folder: &std::path::Path) -> (String, String) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=camera -keyout key.pem -out \
         certificate.pem",
    );
    let shown = openssl("x509 -in certificate.pem -noout -fingerprint -sha256");
    let fingerprint = shown.trim().split('=').nth(1).unwrap().to_owned();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    (read("certificate.pem") + &read("key.pem"), fingerprint)
}

#[test]
fn a_camera_with_a_certificate_of_its_own_is_trusted_by_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, fingerprint) = certificate(folder.path());
    let line = format!(
        "( {PICTURES} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! rtph264pay name=pay0 pt=96 )"
    );
    let server = rtsp::Camera::builder()
        .stream("/main", &line)
        .certificate(&pem)
        .start();
    let source = |tls_fingerprint: Option<&str>| RtspSource {
        tls_fingerprint: tls_fingerprint.map(str::to_owned),
        ..RtspSource::from(server.url("/main"))
    };
    let digits = fingerprint.replace(':', "").to_lowercase();
    for wrong in [None, Some("ab".repeat(32))] {
        let fault = fault(source(wrong.as_deref()));
        assert!(fault.reason.contains(&digits), "{fault}");
        assert!(fault.reason.contains("tls_fingerprint"), "{fault}");
    }
    for right in [fingerprint.as_str(), "any"] {
        Camera::connect(Source::Rtsp(source(Some(right))));
    }
}
