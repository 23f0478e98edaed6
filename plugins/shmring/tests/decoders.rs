//! What decoders write, with their alignment and padding, arrives pixel by pixel.

mod support;

use gst_video::prelude::*;
use support::*;

const FRAMES: usize = 12;

/// The visible pixels of each plane, row by row, whatever the strides.
fn pixels(sample: &gst::Sample) -> (gst::Caps, Vec<u8>) {
    let caps = sample.caps_owned().expect("frames have caps");
    let info = gst_video::VideoInfo::from_caps(&caps).expect("of video");
    let buffer = sample.buffer().expect("a frame");
    let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, &info)
        .expect("the planes lie within the frame");
    let mut out = Vec::new();
    for component in 0..frame.n_components() {
        let plane = frame.format_info().plane()[component as usize];
        let stride = frame.plane_stride()[plane as usize] as usize;
        let rows = frame.comp_height(component) as usize;
        let width = frame.comp_width(component) as usize;
        let data = frame.plane_data(plane).expect("its bytes");
        for row in 0..rows {
            out.extend_from_slice(&data[row * stride..row * stride + width]);
        }
    }
    (caps, out)
}

/// Coded frames and their caps, made once, so that both ways decode the same.
fn coded(encoder: &str, width: i32, height: i32) -> Vec<gst::Sample> {
    let p = Pipeline::play(&format!(
        "videotestsrc pattern=ball num-buffers={FRAMES} ! video/x-raw,format=I420,width={width},height={height},framerate=25/1 \
         ! {encoder} ! appsink name=out sync=false max-buffers=0"
    ));
    (0..FRAMES).map(|_| pull(&p, "out")).collect()
}

fn feed(p: &Pipeline, coded: &[gst::Sample]) {
    let src = appsrc(p, "in");
    for sample in coded {
        src.push_sample(sample).expect("it is taken");
    }
    src.end_of_stream().expect("it is taken");
}

#[test]
fn what_a_decoder_writes_arrives_pixel_by_pixel() {
    init();
    let codecs = [
        ("jpegenc", "jpegdec"),
        ("vp8enc deadline=1", "vp8dec"),
        (
            "x264enc tune=zerolatency speed-preset=ultrafast ! h264parse",
            "avdec_h264 max-threads=1",
        ),
    ];
    let exists = |line: &str| {
        line.split(" ! ").all(|element| {
            let name = element.split(' ').next().unwrap_or_default();
            gst::ElementFactory::find(name).is_some()
        })
    };
    let mut tried = 0;
    for (encoder, decoder) in codecs {
        if !exists(encoder) || !exists(decoder) {
            eprintln!("left out: {encoder} or {decoder} is not installed");
            continue;
        }
        // Neither is a multiple of what decoders like, so there is padding to the right and below.
        let coded = coded(encoder, 322, 246);
        let line = format!("appsrc name=in format=time max-bytes=0 ! {decoder} name=decoder");
        let plain = Pipeline::play(&format!(
            "{line} ! appsink name=out sync=false max-buffers=0"
        ));
        feed(&plain, &coded);
        let place = Place::new();
        let path = place.socket();
        let reader = Pipeline::play(&format!(
            "shmringsrc socket-path={} max-lag=62 ! appsink name=out sync=false max-buffers=0",
            path.display()
        ));
        let writer = Pipeline::play(&format!(
            "{line} ! shmringsink name=ring slots=40 max-lease=30 socket-path={}",
            path.display()
        ));
        // The ring is there with the first frame (a decoder with more threads would wait for more), which stays for who comes late; the rest follows the reader.
        let src = appsrc(&writer, "in");
        src.push_sample(&coded[0]).expect("it is taken");
        wait_for_readers(&writer, 1);
        feed(&writer, &coded[1..]);
        for number in 0..FRAMES {
            let (caps, expected) = pixels(&pull(&plain, "out"));
            let (got_caps, got) = pixels(&pull(&reader, "out"));
            assert_eq!(got_caps, caps, "{decoder}, frame {number}");
            assert!(got == expected, "{decoder}, frame {number} differs");
        }
        let stats = writer.stats("ring");
        eprintln!(
            "{decoder}: {} in place, {} copied",
            count(&stats, "in-place"),
            count(&stats, "copied")
        );
        tried += 1;
    }
    if tried == 0 {
        eprintln!("skipped: no encoder and decoder of one format is installed");
    }
}
