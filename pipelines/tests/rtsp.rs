//! Streams of RTSP cameras with the habits of real ones.

mod task_camera;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use gst::prelude::*;
use task_camera::{Camera, Log, decode, folder, wait_until};
use testkit::rtsp;
use watchpost_pipelines::camera::{CameraConfig, RtspSource, Source};
use watchpost_pipelines::capture::{self, CaptureEvent};
use watchpost_pipelines::encode::{EncodedStream, EncoderSetup, Start};
use watchpost_pipelines::tasks::task::VideoParameters;
use watchpost_pipelines::tasks::{VideoSetup, VideoTask};

fn source(url: String, latency: u32) -> Source {
    Source::Rtsp(RtspSource {
        latency,
        ..RtspSource::from(url)
    })
}

/// Records three seconds of a camera that sends what this encoder makes, and returns the times of the pictures.
fn recorded(encoder: &str) -> Vec<f64> {
    let launch = format!(
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! \
         {encoder} name=pay0 pt=96 )"
    );
    let server = rtsp::Camera::builder().stream("/main", &launch).start();
    // Less than how far pictures are reordered.
    let camera = Camera::connect(source(server.url("/main"), 20));
    let root = tempfile::tempdir().unwrap();
    let log = Log::new();
    let taps = camera.taps();
    let stream = EncodedStream::start(&taps, &EncoderSetup::default(), &log.events()).unwrap();
    let setup = VideoSetup {
        folder: folder(root.path()),
        fragment: Duration::from_millis(500),
        start: Start::Next,
        description: serde_json::Value::Null,
    };
    let lasting = VideoParameters {
        duration: Some(3.0),
        ..VideoParameters::default()
    };
    let _task = VideoTask::start(stream.clone(), setup, &lasting, log.events()).unwrap();
    let file = log.file();
    log.ended();
    let repairs = stream.status().repairs;
    assert_eq!(repairs.total(), 0, "{repairs:?}");
    decode(&folder(root.path()).path().join(&file.name)).times
}

fn are_in_order(times: &[f64]) {
    assert!(times.len() > 40, "{times:?}");
    for pair in times.windows(2) {
        let step = pair[1] - pair[0];
        assert!((0.030..0.050).contains(&step), "{step} s in {times:?}");
    }
}

#[test]
fn h264_with_b_frames_is_recorded_in_order_whatever_the_jitter_allowance() {
    are_in_order(&recorded(
        "x264enc speed-preset=ultrafast bframes=3 b-adapt=false key-int-max=25 ! \
         video/x-h264,profile=main ! rtph264pay",
    ));
}

#[test]
fn h265_with_b_frames_is_recorded_in_order_whatever_the_jitter_allowance() {
    gst::init().unwrap();
    if gst::ElementFactory::find("x265enc").is_none() {
        println!("skipped: x265enc is not installed, so there is no camera that sends H.265");
        return;
    }
    are_in_order(&recorded(
        "x265enc speed-preset=ultrafast key-int-max=25 option-string=\"bframes=3:b-adapt=0\" ! rtph265pay",
    ));
}

/// A camera that announces H.265 and sends packets of H.264.
fn announce_h265_and_send_h264(stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut stream = stream;
    loop {
        let request = match lines.next() {
            Some(line) => line?,
            None => return Ok(()),
        };
        let mut sequence = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some(number) = line.strip_prefix("CSeq: ") {
                sequence = number.to_owned();
            }
        }
        let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
                   a=rtpmap:96 H265/90000\r\na=control:track\r\n";
        let method = request.split(' ').next().unwrap_or_default();
        let (headers, body) = match method {
            "DESCRIBE" => ("Content-Type: application/sdp\r\n", sdp),
            "SETUP" => (
                "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n",
                "",
            ),
            "OPTIONS" => (
                "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n",
                "",
            ),
            _ => ("Session: 1\r\n", ""),
        };
        let length = body.len();
        write!(
            stream,
            "RTSP/1.0 200 OK\r\nCSeq: {sequence}\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        )?;
        if method == "PLAY" {
            break;
        }
    }
    // Parameter sets, fragments of a key frame, and pictures between.
    let kinds: [[u8; 2]; 5] = [
        [0x67, 0x64],
        [0x68, 0xee],
        [0x7c, 0x85],
        [0x7c, 0x05],
        [0x41, 0x9a],
    ];
    for number in 0u16.. {
        let kind = kinds[usize::from(number) % kinds.len()];
        let mut packet = vec![b'$', 0, 0, 72, 0x80, 96];
        packet.extend(number.to_be_bytes());
        packet.extend((u32::from(number) * 900).to_be_bytes());
        packet.extend([0, 0, 0, 7]);
        packet.extend(kind);
        packet.resize(4 + 72, 0x55);
        stream.write_all(&packet)?;
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[test]
fn another_codec_than_the_announced_one_is_the_reason() {
    gst::init().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Ends with the client's connection.
            std::thread::spawn(move || announce_h265_and_send_h264(stream));
        }
    });
    let url = format!("rtsp://127.0.0.1:{port}/main");
    let config = CameraConfig::from_source(source(url, 200));
    let primary = config.primary_source().unwrap();
    let setup = capture::Setup::standing(&config, None);
    let capture = capture::build_from(primary, &setup, &config, &[], None).unwrap();
    capture.start().unwrap();
    let bus = capture.pipeline().bus().unwrap();
    let mut reason = None;
    wait_until("the reason", || {
        let fault =
            std::iter::from_fn(|| bus.pop()).find_map(|message| match capture.handle(&message) {
                Some(CaptureEvent::Failed(fault)) => Some(fault),
                _ => None,
            });
        reason = fault.map(|fault| fault.reason);
        reason.is_some()
    });
    let reason = reason.unwrap();
    assert!(
        reason.contains("announces H.265 (SDP) but sends H.264"),
        "{reason}"
    );
}
