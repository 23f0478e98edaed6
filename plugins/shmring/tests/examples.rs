//! The example readers in other languages work, against a plugin found as users find it: through GST_PLUGIN_PATH.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gst::prelude::*;
use support::*;

/// The plugin as a shared library. Cargo builds it together with the tests, in the directory above theirs or in theirs.
fn plugin_library() -> PathBuf {
    let exe = std::env::current_exe().expect("a test has an executable");
    let deps = exe.parent().expect("in a directory");
    [
        deps.join("libgstshmring.so"),
        deps.parent().expect("in target").join("libgstshmring.so"),
    ]
    .into_iter()
    .filter(|p| p.exists())
    .max_by_key(|p| p.metadata().and_then(|m| m.modified()).ok())
    .expect("cargo has built libgstshmring.so with the tests")
}

/// A directory with nothing but the plugin in it: GStreamer looks into every library it finds.
fn with_plugin<'a>(command: &'a mut Command, place: &Place) -> &'a mut Command {
    let plugins = place.path().join("plugins");
    if !plugins.exists() {
        std::fs::create_dir(&plugins).unwrap();
        std::os::unix::fs::symlink(plugin_library(), plugins.join("libgstshmring.so")).unwrap();
    }
    command
        .env("GST_PLUGIN_PATH", plugins)
        .env("GST_REGISTRY", place.path().join("registry.bin"))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

fn writer(place: &Place) -> Pipeline {
    let p = Pipeline::play(&format!(
        "videotestsrc is-live=true pattern=white ! video/x-raw,format=GRAY8,width=320,height=240,framerate=50/1 ! identity name=mark \
         ! shmringsink name=ring socket-path={}",
        place.socket().display()
    ));
    p.by_name("mark")
        .static_pad("src")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, |_, info| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data {
                let buffer = buffer.make_mut();
                let mut roi =
                    gst_video::VideoRegionOfInterestMeta::add(buffer, "person", (10, 20, 30, 40));
                roi.add_param(
                    gst::Structure::builder("detection")
                        .field("confidence", 0.75f64)
                        .build(),
                );
            }
            gst::PadProbeReturn::Ok
        });
    wait_until("frames are published", || {
        count(&p.stats("ring"), "frames") > 2
    });
    p
}

fn printed(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[test]
fn the_c_example_reads_frames_and_detections() {
    let place = Place::new();
    let _writer = writer(&place);
    let build = Command::new("make")
        .args(["-C", &example("c").display().to_string(), "-f", "Makefile"])
        .arg("-n")
        .output();
    // What the Makefile would run, but with the program outside the source tree.
    let Ok(build) = build else {
        println!("skipped: there is no make on this machine");
        return;
    };
    let line = printed(build);
    let line = line
        .lines()
        .find(|l| l.contains("ring-reader.c"))
        .expect("the compiler's line");
    let program = place.path().join("ring-reader");
    let line = line.replace(
        "-o ring-reader ring-reader.c",
        &format!("-Werror -o {} ring-reader.c", program.display()),
    );
    printed(
        Command::new("sh")
            .args(["-c", &line])
            .current_dir(example("c"))
            .output()
            .unwrap(),
    );
    let text = printed(
        with_plugin(Command::new(&program).arg(place.socket()).arg("5"), &place)
            .output()
            .unwrap(),
    );
    assert_eq!(
        text.lines()
            .filter(|l| l.contains("320x240, mean of the first component 2"))
            .count(),
        5,
        "{text}"
    );
    assert_eq!(
        text.lines()
            .filter(|l| l.contains("person 10,20 30x40 confidence 0.75"))
            .count(),
        5,
        "{text}"
    );
}

#[test]
fn the_python_example_reads_frames() {
    let place = Place::new();
    let _writer = writer(&place);
    // The system's Python: the bindings are a system package.
    let has_bindings = Command::new("/usr/bin/python3")
        .args(["-c", "import gi; gi.require_version('GstApp', '1.0')"])
        .output();
    if !has_bindings.is_ok_and(|o| o.status.success()) {
        println!("skipped: /usr/bin/python3 has no python3-gi with gir1.2-gst-plugins-base-1.0");
        return;
    }
    let script = example("python/ring_reader.py");
    let text = printed(
        with_plugin(
            Command::new("/usr/bin/python3")
                .arg(script)
                .arg(place.socket())
                .arg("5"),
            &place,
        )
        .output()
        .unwrap(),
    );
    assert_eq!(
        text.lines()
            .filter(|l| l.contains("GRAY8 320x240, 76800 bytes, mean of every 97th 2"))
            .count(),
        5,
        "{text}"
    );
}

#[test]
fn the_plugin_is_found_and_described() {
    let place = Place::new();
    for element in ["shmringsink", "shmringsrc"] {
        let text = printed(
            with_plugin(Command::new("gst-inspect-1.0").arg(element), &place)
                .output()
                .unwrap(),
        );
        for word in ["socket-path", "stats", "MIT/X11"] {
            assert!(text.contains(word), "{element}: {word}: {text}");
        }
    }
}
