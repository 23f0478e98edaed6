//! Cameras of libcamera against the stand-in for its plugin, at several versions; each test in a process of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gst::prelude::*;
use gstlibcameratest::{Environment, within, within_each};
use watchpost_pipelines::camera::LibcameraSource;
use watchpost_pipelines::capture::FaultKind;
use watchpost_pipelines::libcamera::{
    self, Abilities, Built, Plan, Refusal, Version, Wanted, cameras, cause_of, resolve,
};
use watchpost_pipelines::tasks::{
    ControlValue, Merged, MergedStream, Profiles, Size, Stream, Transform, Use, merge,
};

const DEADLINE: Duration = Duration::from_secs(30);

fn source() -> LibcameraSource {
    LibcameraSource::from(String::new())
}

fn merged(uses: &[Use]) -> Merged {
    merge(&Profiles::default(), None, uses).unwrap()
}

fn with_control(name: &str, value: ControlValue) -> Merged {
    let mut merged = merged(&[Use::Video]);
    merged.controls.insert(name.to_owned(), value);
    merged
}

fn planned(merged: &Merged) -> Result<Plan, Refusal> {
    gst::init().unwrap();
    let (source, cameras) = (source(), cameras());
    let wanted = Wanted {
        source: &source,
        merged,
        camera: Some(resolve("", &cameras)?),
        framerate: gst::Fraction::new(30, 1),
        still: false,
    };
    libcamera::plan(&wanted, &Abilities::find()?)
}

fn integers(values: &[i64]) -> ControlValue {
    ControlValue::List(values.iter().copied().map(ControlValue::Integer).collect())
}

/// A camera that runs, and the frames of each of its streams.
struct Running {
    pipeline: gst::Pipeline,
    frames: BTreeMap<Stream, Arc<Mutex<Vec<gst::Sample>>>>,
}

/// Frames kept per stream: fewer than the camera has buffers, or it would stand still.
const KEPT: usize = 3;

impl Running {
    fn start(built: &Built) -> Self {
        let pipeline = gst::Pipeline::new();
        built.add_to(&pipeline).unwrap();
        let mut frames = BTreeMap::new();
        for (stream, output) in &built.outputs {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let kept = seen.clone();
            let sink = gst_app::AppSink::builder()
                .sync(false)
                .max_buffers(1)
                .build();
            sink.set_callbacks(
                gst_app::AppSinkCallbacks::builder()
                    .new_sample(move |sink| {
                        let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                        let copy = sample.buffer().and_then(|buffer| buffer.copy_deep().ok());
                        let mut kept = kept.lock().unwrap();
                        if let Some(buffer) = copy
                            && kept.len() < KEPT
                        {
                            let mut sample = sample;
                            sample.make_mut().set_buffer(Some(&buffer));
                            kept.push(sample);
                        }
                        Ok(gst::FlowSuccess::Ok)
                    })
                    .build(),
            );
            pipeline.add(&sink).unwrap();
            output.link(&sink).unwrap();
            frames.insert(*stream, seen);
        }
        pipeline.set_state(gst::State::Playing).unwrap();
        Self { pipeline, frames }
    }

    fn error(&self, wait: Duration) -> Option<gst::Message> {
        let wait = gst::ClockTime::try_from(wait).unwrap();
        let bus = self.pipeline.bus().unwrap();
        bus.timed_pop_filtered(wait, &[gst::MessageType::Error])
    }

    /// The frames of each stream, once all have enough of them.
    fn frames(&self) -> BTreeMap<Stream, Vec<gst::Sample>> {
        let end = Instant::now() + DEADLINE;
        loop {
            let seen: BTreeMap<_, _> = self
                .frames
                .iter()
                .map(|(stream, seen)| (*stream, seen.lock().unwrap().clone()))
                .collect();
            if seen.values().all(|seen| seen.len() == KEPT) {
                return seen;
            }
            let counts: Vec<_> = seen.iter().map(|(s, seen)| (s, seen.len())).collect();
            assert!(Instant::now() < end, "only {counts:?}");
            if let Some(message) = self.error(Duration::from_millis(20)) {
                panic!("{message:?}");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn caps_of(sample: &gst::Sample) -> String {
    sample.caps().unwrap().to_string()
}

fn plane(sample: &gst::Sample) -> (gst_video::VideoInfo, Vec<u8>) {
    let info = gst_video::VideoInfo::from_caps(sample.caps().unwrap()).unwrap();
    let bytes = sample.buffer().unwrap().map_readable().unwrap().to_vec();
    (info, bytes)
}

/// Brightness in the middle of an eighth of the picture's corners: left above, right above, left below, right below.
fn corners(sample: &gst::Sample) -> [u8; 4] {
    let (info, bytes) = plane(sample);
    let (w, h, stride) = (
        info.width() as usize,
        info.height() as usize,
        info.stride()[0] as usize,
    );
    let at = |x: usize, y: usize| bytes[y * stride + x];
    [
        at(w / 16, h / 16),
        at(w - w / 16, h / 16),
        at(w / 16, h - h / 16),
        at(w - w / 16, h - h / 16),
    ]
}

#[test]
fn debian_12_gives_main_and_lores_at_once() {
    within(
        "version=0.0.3",
        "debian_12_gives_main_and_lores_at_once",
        || {
            let merged = merged(&[Use::Live, Use::Photo, Use::Video, Use::Detect]);
            let plan = planned(&merged).unwrap();
            let running = Running::start(&plan.build().unwrap());
            let frames = running.frames();
            assert_eq!(
                frames.keys().copied().collect::<Vec<_>>(),
                [Stream::Main, Stream::Lores]
            );
            for (stream, size) in [(Stream::Main, (1280, 720)), (Stream::Lores, (640, 360))] {
                let caps = caps_of(&frames[&stream][0]);
                let (width, height) = size;
                for part in [
                    "format=(string)I420".to_owned(),
                    format!("width=(int){width}, height=(int){height}"),
                    "framerate=(fraction)30/1".to_owned(),
                    "colorimetry=(string)1:4:7:1".to_owned(),
                    "interlace-mode=(string)progressive".to_owned(),
                ] {
                    assert!(caps.contains(&part), "{caps} misses {part}");
                }
            }
            drop(running);
            let log = Environment::current().log();
            assert!(log.contains("| src video-recording video/x-raw"), "{log}");
            assert!(log.contains("| src_0 view-finder video/x-raw"), "{log}");
            assert!(
                log.contains("stop 1 /base/soc/i2c0mux/i2c@0/imx708@1a"),
                "{log}"
            );
        },
    );
}

#[test]
fn main_lores_and_raw_flow_at_once_with_their_content() {
    within(
        "version=0.7.1",
        "main_lores_and_raw_flow_at_once_with_their_content",
        || {
            let merged = merged(&Use::ALL);
            let plan = planned(&merged).unwrap();
            let running = Running::start(&plan.build().unwrap());
            let frames = running.frames();
            let raw = &frames[&Stream::Raw][0];
            let caps = caps_of(raw);
            for part in [
                "video/x-bayer",
                "rggb10le",
                "width=(int)2304, height=(int)1296",
            ] {
                assert!(caps.contains(part), "{caps} misses {part}");
            }
            let bytes = raw.buffer().unwrap().map_readable().unwrap().to_vec();
            assert_eq!(bytes.len(), 2304 * 2 * 1296);
            let corner = u16::from_le_bytes([bytes[0], bytes[1]]);
            assert_eq!(corner, 1023, "the white square, in ten bits");
            assert!(
                bytes
                    .chunks(2)
                    .all(|pair| u16::from_le_bytes([pair[0], pair[1]]) < 1024)
            );

            // The same moment on every stream, and time goes on.
            let times = |stream| -> Vec<_> {
                frames[&stream]
                    .iter()
                    .map(|sample| sample.buffer().unwrap().pts().unwrap())
                    .collect()
            };
            let main = times(Stream::Main);
            assert_eq!(main, times(Stream::Lores));
            assert_eq!(main, times(Stream::Raw));
            assert!(main.windows(2).all(|pair| pair[0] < pair[1]), "{main:?}");
            // Something moves.
            let (_, first) = plane(&frames[&Stream::Lores][0]);
            let (_, last) = plane(&frames[&Stream::Lores][KEPT - 1]);
            assert_ne!(first, last);
        },
    );
}

#[test]
fn pictures_are_flipped_behind_the_camera() {
    within(
        "version=0.0.3",
        "pictures_are_flipped_behind_the_camera",
        || {
            for (hflip, vflip, white) in [
                (false, false, 0),
                (true, false, 1),
                (false, true, 2),
                (true, true, 3),
            ] {
                let mut merged = merged(&[Use::Live]);
                merged.transform = Transform {
                    hflip: Some(hflip),
                    vflip: Some(vflip),
                };
                let running = Running::start(&planned(&merged).unwrap().build().unwrap());
                let corners = corners(&running.frames()[&Stream::Lores][0]);
                let brightest = (0..4).max_by_key(|&i| corners[i]);
                assert_eq!(brightest, Some(white), "{hflip} {vflip}: {corners:?}");
            }
        },
    );
}

#[test]
fn every_colour_space_and_format_is_agreed_on() {
    // The versions answer differently: see format.rs.
    within_each(
        &["version=0.0.3", "version=0.4.0"],
        "every_colour_space_and_format_is_agreed_on",
        || {
            for colour_space in ["sYCC", "Smpte170m", "Rec709", "Rec2020"] {
                for format in ["YUV420", "NV12", "RGB888", "XRGB8888", "YUYV"] {
                    let mut merged = merged(&[Use::Live]);
                    merged.colour_space = Some(colour_space.into());
                    let stream = MergedStream {
                        size: Some(Size {
                            width: 64,
                            height: 48,
                        }),
                        format: Some(format.into()),
                    };
                    merged.streams.insert(Stream::Lores, stream);
                    let running = Running::start(&planned(&merged).unwrap().build().unwrap());
                    running.frames();
                }
            }
        },
    );
}

#[test]
fn controls_reach_the_camera() {
    within("version=0.7.1", "controls_reach_the_camera", || {
        let mut merged = merged(&[Use::Video]);
        merged.sensor_mode = Some(1);
        for (name, value) in [
            ("ExposureTime", ControlValue::Integer(10_000)),
            ("AnalogueGain", ControlValue::Number(2.5)),
            ("Brightness", ControlValue::Integer(-1)),
            ("AeEnable", ControlValue::Bool(true)),
            ("AfMode", ControlValue::Word("Continuous".into())),
            ("AwbMode", ControlValue::Integer(5)),
            (
                "AeMeteringMode",
                ControlValue::Word("centre-weighted".into()),
            ),
            (
                "NoiseReductionMode",
                ControlValue::Word("NoiseReductionModeHighQuality".into()),
            ),
            (
                "ColourGains",
                ControlValue::List(vec![ControlValue::Number(1.5), ControlValue::Integer(2)]),
            ),
            ("ScalerCrop", integers(&[0, 0, 1152, 648])),
            (
                "AfWindows",
                ControlValue::List(vec![integers(&[0, 0, 10, 10]), integers(&[5, 5, 10, 10])]),
            ),
        ] {
            merged.controls.insert(name.into(), value);
        }
        let plan = planned(&merged).unwrap();
        let built = plan.build().unwrap();
        let running = Running::start(&built);
        running.frames();
        let source = &built.source;
        assert_eq!(source.property::<i32>("exposure-time"), 10_000);
        assert_eq!(source.property::<f32>("analogue-gain"), 2.5);
        assert_eq!(source.property::<f32>("brightness"), -1.0);
        assert!(source.property::<bool>("ae-enable"));
        let word = |name: &str| {
            let value = source.property_value(name);
            let (_, value) = gst::glib::EnumValue::from_value(&value).unwrap();
            value.nick().to_owned()
        };
        assert_eq!(word("af-mode"), "continuous");
        assert_eq!(word("awb-mode"), "daylight");
        assert_eq!(word("ae-metering-mode"), "centre-weighted");
        assert_eq!(word("noise-reduction-mode"), "high-quality");
        let gains = source.property::<gst::Array>("colour-gains");
        let gains: Vec<f32> = gains.iter().map(|gain| gain.get().unwrap()).collect();
        assert_eq!(gains, [1.5, 2.0]);
        let numbers = |array: gst::Array| -> Vec<i32> {
            array.iter().map(|side| side.get().unwrap()).collect()
        };
        assert_eq!(
            numbers(source.property::<gst::Array>("scaler-crop")),
            [0, 0, 1152, 648]
        );
        let windows = source.property::<gst::Array>("af-windows");
        let windows: Vec<_> = windows
            .iter()
            .map(|window| numbers(window.get().unwrap()))
            .collect();
        assert_eq!(windows, [[0, 0, 10, 10], [5, 5, 10, 10]]);
        let limits = source.property::<gst::Array>("frame-duration-limits");
        let limits: Vec<i64> = limits.iter().map(|limit| limit.get().unwrap()).collect();
        assert_eq!(limits, [33_333, 33_333]);
        let mode = source.property::<gst::Structure>("sensor-config");
        assert_eq!(
            (mode.get("width"), mode.get("height"), mode.get("depth")),
            (Ok(2304), Ok(1296), Ok(10))
        );
    });
}

#[test]
fn wrong_controls_are_refused_by_name_value_and_range() {
    within(
        "version=0.7.1",
        "wrong_controls_are_refused_by_name_value_and_range",
        || {
            for (name, value, said) in [
                (
                    "Brightness",
                    ControlValue::Integer(2),
                    "control Brightness: is 2, expected -1 to 1",
                ),
                (
                    "ExposureTime",
                    ControlValue::Integer(1 << 40),
                    "is 1099511627776, expected 0 to 2147483647",
                ),
                (
                    "ExposureTime",
                    ControlValue::Number(0.5),
                    "is 0.5, expected a whole number",
                ),
                (
                    "ExposureTime",
                    ControlValue::Integer(40_000),
                    "40000 us do not fit into a frame of at most 33333 us",
                ),
                (
                    "AnalogueGain",
                    ControlValue::Number(f64::NAN),
                    "expected a number",
                ),
                (
                    "AeEnable",
                    ControlValue::Word("maybe".into()),
                    "is maybe, expected true or false",
                ),
                (
                    "AfMode",
                    ControlValue::Word("always".into()),
                    "expected one of manual (0), auto (1), continuous (2)",
                ),
                ("ColourGains", integers(&[1]), "is [1], expected 2 numbers"),
                (
                    "ScalerCrop",
                    ControlValue::Bool(true),
                    "is true, expected a list",
                ),
                (
                    "AfWindows",
                    ControlValue::List(vec![integers(&[1, 2, 3])]),
                    "expected 4 numbers",
                ),
                (
                    "Exposure",
                    ControlValue::Integer(1),
                    "control Exposure is not known",
                ),
                (
                    "exposure-time",
                    ControlValue::Integer(1),
                    "did you mean ExposureTime?",
                ),
                (
                    "LensPositon",
                    ControlValue::Integer(1),
                    "did you mean LensPosition?",
                ),
                (
                    "camera-name",
                    ControlValue::Word("x".into()),
                    "control camera-name is not known",
                ),
            ] {
                let refusal = planned(&with_control(name, value)).unwrap_err();
                assert_eq!(refusal.key, format!("controls.{name}"));
                assert!(refusal.reason.contains(said), "{refusal} misses {said}");
            }
            let mut mode = merged(&[Use::Video]);
            mode.sensor_mode = Some(9);
            let refusal = planned(&mode).unwrap_err();
            assert_eq!(
                refusal.reason,
                "sensor_mode 9: imx708 has 0 (1536x864, 10 bits), 1 (2304x1296, 10 bits), 2 (4608x2592, 10 bits)"
            );
        },
    );
}

#[test]
fn each_version_can_what_it_can() {
    let scripts = [
        "version=0.0.3",
        "version=0.2.0",
        "version=0.4.0",
        "version=0.7.0",
        "version=0.7.1",
    ];
    within_each(&scripts, "each_version_can_what_it_can", || {
        gst::init().unwrap();
        let abilities = Abilities::find().unwrap();
        let version = abilities.version;
        let script = std::env::var(gstlibcameratest::script::VARIABLE).unwrap();
        assert!(
            script.contains(&format!("version={version} ")),
            "{version} in {script}"
        );
        assert_eq!(abilities.has_controls(), version >= Version::CONTROLS);
        assert_eq!(abilities.has_raw(), version >= Version::RAW);
        assert_eq!(
            abilities.has_sensor_config(),
            version >= Version::SENSOR_CONFIG
        );

        let focus = planned(&with_control("AfMode", ControlValue::Word("auto".into())));
        let raw_photo = planned(&merged(&[Use::Live, Use::RawPhoto]));
        let mut mode = merged(&[Use::Video]);
        mode.sensor_mode = Some(0);
        // Focus had a property of its own before the other controls came.
        for (planned, since) in [
            (focus, Version(0, 1, 0)),
            (raw_photo, Version::RAW),
            (planned(&mode), Version::SENSOR_CONFIG),
        ] {
            match planned {
                Ok(plan) => assert!(version >= since, "{version}: {plan:?}"),
                Err(refusal) => {
                    assert!(version < since, "{version}: {refusal}");
                    let installed = format!("({version} is installed)");
                    assert!(refusal.reason.contains(&installed), "{refusal}");
                }
            }
        }
    });
}

#[test]
fn cameras_are_listed_and_chosen() {
    within(
        "version=0.0.3 cameras=imx708,imx219,imx219",
        "cameras_are_listed_and_chosen",
        || {
            gst::init().unwrap();
            let cameras = cameras();
            let list: Vec<_> = cameras
                .iter()
                .map(|camera| (camera.index, camera.model.as_str(), camera.id.as_str()))
                .collect();
            assert_eq!(
                list,
                [
                    (0, "imx708", "/base/soc/i2c0mux/i2c@0/imx708@1a"),
                    (1, "imx219", "/base/soc/i2c0mux/i2c@1/imx219@1a"),
                    (2, "imx219", "/base/soc/i2c0mux/i2c@2/imx219@1a"),
                ]
            );
            let ambiguous = resolve("imx219", &cameras).unwrap_err();
            assert!(ambiguous.reason.contains("may be several"), "{ambiguous}");

            // Two at once, each its own camera.
            let mut running = Vec::new();
            for choice in ["imx708", "2"] {
                let source = LibcameraSource::from(choice.to_owned());
                let merged = merged(&[Use::Live]);
                let rate = gst::Fraction::new(30, 1);
                let built = libcamera::build(&source, &merged, rate, false).unwrap();
                running.push(Running::start(&built));
            }
            for running in &running {
                running.frames();
            }
            let log = Environment::current().log();
            assert!(
                log.contains("start 1 /base/soc/i2c0mux/i2c@0/imx708@1a"),
                "{log}"
            );
            assert!(
                log.contains("start 1 /base/soc/i2c0mux/i2c@2/imx219@1a"),
                "{log}"
            );
        },
    );
}

/// The error a camera comes to an end with.
fn error_of(running: &Running) -> (Option<(FaultKind, &'static str)>, String) {
    let message = running.error(DEADLINE).expect("an error");
    let gst::MessageView::Error(error) = message.view() else {
        unreachable!()
    };
    (cause_of(error), error.error().to_string())
}

fn started(merged: &Merged) -> (gst::Pipeline, Built) {
    let built = planned(merged).unwrap().build().unwrap();
    let pipeline = gst::Pipeline::new();
    built.add_to(&pipeline).unwrap();
    for output in built.outputs.values() {
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        pipeline.add(&sink).unwrap();
        output.link(&sink).unwrap();
    }
    (pipeline, built)
}

#[test]
fn errors_of_the_camera_say_what_to_do() {
    within(
        "version=0.0.3",
        "errors_of_the_camera_say_what_to_do",
        || {
            gst::init().unwrap();
            let environment = Environment::current();
            let live = merged(&[Use::Live]);
            for (fault, kind, said) in [
                ("no-memory", FaultKind::Source, "CMA"),
                (
                    "configure",
                    FaultKind::Source,
                    "could not set the camera up",
                ),
                ("start", FaultKind::Source, "could not set the camera up"),
                ("error@0.1", FaultKind::Source, "stopped giving frames"),
            ] {
                environment.set_faults(fault);
                let running = Running::start(&planned(&live).unwrap().build().unwrap());
                let (cause, text) = error_of(&running);
                let (found, advice) = cause.unwrap_or_else(|| panic!("{fault}: {text}"));
                assert_eq!(found, kind, "{fault}");
                assert!(advice.contains(said), "{fault}: {advice}");
            }
            environment.clear_faults();

            // Two that nobody can have at once.
            let (first, _built) = started(&live);
            first.set_state(gst::State::Playing).unwrap();
            let (second, _built) = started(&live);
            assert!(second.set_state(gst::State::Playing).is_err());
            let bus = second.bus().unwrap();
            let message = bus
                .pop_filtered(&[gst::MessageType::Error])
                .expect("an error");
            let gst::MessageView::Error(error) = message.view() else {
                unreachable!()
            };
            let (kind, advice) = cause_of(error).expect("a cause");
            assert_eq!(kind, FaultKind::Source);
            assert!(advice.contains("another program"), "{advice}");
            second.set_state(gst::State::Null).unwrap();
            first.set_state(gst::State::Null).unwrap();

            // Larger than the sensor: nothing in common.
            let mut large = merged(&[Use::Video]);
            let size = Size {
                width: 8000,
                height: 6000,
            };
            large.streams.get_mut(&Stream::Main).unwrap().size = Some(size);
            let running = Running::start(&planned(&large).unwrap().build().unwrap());
            let (cause, text) = error_of(&running);
            let (kind, advice) = cause.unwrap_or_else(|| panic!("{text}"));
            assert_eq!(kind, FaultKind::Permanent);
            assert!(advice.contains("formats and sizes"), "{advice}");
        },
    );
}

#[test]
fn an_unplugged_camera_is_missed_by_name_and_comes_back() {
    within(
        "version=0.0.3 cameras=imx708",
        "an_unplugged_camera_is_missed_by_name_and_comes_back",
        || {
            gst::init().unwrap();
            let environment = Environment::current();
            let live = merged(&[Use::Live]);
            let built = planned(&live).unwrap().build().unwrap();
            let running = Running::start(&built);
            running.frames();
            environment.set_faults("unplug");
            let end = Instant::now() + DEADLINE;
            while !cameras().is_empty() {
                assert!(Instant::now() < end, "the camera is still listed");
                std::thread::sleep(Duration::from_millis(20));
            }
            let refusal = planned(&live).unwrap_err();
            assert_eq!(refusal.kind, FaultKind::Source, "{refusal}");
            drop(running);
            environment.clear_faults();
            environment.plug_in(0);
            Running::start(&planned(&live).unwrap().build().unwrap()).frames();
        },
    );
}

#[test]
fn generated_launch_lines_run() {
    within("version=0.7.1", "generated_launch_lines_run", || {
        let mut merged = merged(&Use::ALL);
        merged.transform.hflip = Some(true);
        merged
            .controls
            .insert("AnalogueGain".into(), ControlValue::Integer(2));
        let line = planned(&merged).unwrap().launch_line("fakesink");
        let pipeline = gst::parse::launch(&line).unwrap_or_else(|e| panic!("{e}\nin: {line}"));
        pipeline.set_state(gst::State::Playing).unwrap();
        let environment = Environment::current();
        let end = Instant::now() + DEADLINE;
        while !environment.log().contains("start 1") {
            assert!(Instant::now() < end, "{line}\n{}", environment.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        pipeline.set_state(gst::State::Null).unwrap();
        let log = environment.log();
        for part in [
            "src video-recording",
            "src_0 view-finder",
            "src_1 raw",
            "analogue-gain=2",
        ] {
            assert!(log.contains(part), "{log} misses {part}");
        }
    });
}

#[test]
fn generated_launch_lines_parse_with_the_real_plugin() {
    gst::init().unwrap();
    let real = gst::ElementFactory::find("libcamerasrc")
        .and_then(|factory| factory.plugin())
        .is_some_and(|plugin| plugin.plugin_name() == "libcamera");
    if !real {
        eprintln!(
            "SKIPPED: libcamera's own plugin is not installed (Debian: gstreamer1.0-libcamera)"
        );
        return;
    }
    let abilities = Abilities::find().unwrap();
    let mut uses = vec![vec![Use::Live], vec![Use::Live, Use::Photo, Use::Video]];
    if abilities.has_raw() {
        uses.push(Use::ALL.to_vec());
    }
    for uses in uses {
        for hflip in [false, true] {
            let mut merged = merged(&uses);
            merged.transform.hflip = Some(hflip);
            let mut source = source();
            source.camera = "/base/soc/i2c0mux/i2c@1/imx708@1a".into();
            let wanted = Wanted {
                source: &source,
                merged: &merged,
                camera: None,
                framerate: gst::Fraction::new(30, 1),
                still: false,
            };
            let plan = libcamera::plan(&wanted, &abilities).unwrap();
            let line = plan.launch_line("fakesink");
            gst::parse::launch(&line).unwrap_or_else(|e| panic!("{e}\nin: {line}"));
            // And what is built of it links, pad for pad.
            plan.build().unwrap().add_to(&gst::Pipeline::new()).unwrap();
        }
    }
}
