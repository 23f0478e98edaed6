//! The elements as people use them: from the command line and from Python, found through GST_PLUGIN_PATH.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A plugin as a shared library. Cargo builds it with the workspace's tests, in their directory or the one above.
fn library(name: &str) -> Option<PathBuf> {
    let exe = std::env::current_exe().expect("a test has an executable");
    let deps = exe.parent().expect("in a directory");
    let file = format!("lib{name}.so");
    [
        deps.join(&file),
        deps.parent().expect("in target").join(&file),
    ]
    .into_iter()
    .filter(|path| path.exists())
    .max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok())
}

fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared")
        .join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {} is not there", file.display());
    None
}

/// A command that finds exactly our plugins, beside the system's.
struct Place(tempfile::TempDir);

impl Place {
    fn new(plugins: &[&str]) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("plugins")).unwrap();
        for name in plugins {
            let Some(library) = library(name) else {
                panic!("lib{name}.so has not been built with the tests");
            };
            let link = place.path().join("plugins").join(format!("lib{name}.so"));
            std::os::unix::fs::symlink(library, link).unwrap();
        }
        Some(Self(place))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("GST_PLUGIN_PATH", self.0.path().join("plugins"))
            .env("GST_REGISTRY", self.0.path().join("registry.bin"));
        command
    }
}

fn printed(output: Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    text
}

#[test]
fn the_command_line_from_file_to_tracks_works() {
    let (Some(model), Some(clip)) = (
        shared("models/yolox_nano.onnx"),
        shared("media/one-by-one-person-detection.mp4"),
    ) else {
        return;
    };
    let Some(place) = Place::new(&["gstregiondetect", "gstobjecttrack"]) else {
        return;
    };
    let line = format!(
        "filesrc location={} ! decodebin ! videorate drop-only=true ! video/x-raw,framerate=5/1 ! identity eos-after=250 ! videoconvert \
         ! motiondetect ! regiondetect model={} ! objecttrack ! fakesink sync=false",
        clip.display(),
        model.display()
    );
    let output = place
        .command("gst-launch-1.0")
        .arg("-m")
        .args(line.split_whitespace())
        .output()
        .unwrap();
    let text = printed(output);
    assert!(text.contains("watchpost-motion"), "motion is announced");
    let started = text
        .lines()
        .filter(|line| line.contains("watchpost-track") && line.contains("started"))
        .filter(|line| line.contains("person"))
        .count();
    // Two walk through in these 50 s.
    assert!(started >= 2, "{started} people were tracked");
}

#[test]
fn the_python_example_reads_detections_and_ids() {
    let (Some(model), Some(clip)) = (
        shared("models/yolox_nano.onnx"),
        shared("media/one-by-one-person-detection.mp4"),
    ) else {
        return;
    };
    // The system's Python: the bindings are a system package.
    let bindings =
        "import gi; gi.require_version('GstVideo', '1.0'); gi.require_version('GstApp', '1.0')";
    let has_bindings = Command::new("/usr/bin/python3")
        .args(["-c", bindings])
        .output();
    if !has_bindings.is_ok_and(|o| o.status.success()) {
        println!("skipped: /usr/bin/python3 has no python3-gi with gir1.2-gst-plugins-base-1.0");
        return;
    }
    let Some(place) = Place::new(&["gstregiondetect", "gstobjecttrack"]) else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/python/detections.py");
    let output = place
        .command("/usr/bin/python3")
        .arg(script)
        .args([&clip, &model])
        .arg("120")
        .output()
        .unwrap();
    let text = printed(output);
    assert!(text.contains("120 frames"), "{text}");
    let people: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" s person 0."))
        .collect();
    assert!(people.len() > 20, "{text}");
    let known = people
        .iter()
        .filter(|line| line.contains(" object "))
        .count();
    assert!(
        known * 2 > people.len(),
        "{known} of {} have an id: {text}",
        people.len()
    );
}

#[test]
fn every_property_says_what_it_is_for() {
    let Some(place) = Place::new(&["gstregiondetect"]) else {
        return;
    };
    let text = printed(
        place
            .command("gst-inspect-1.0")
            .arg("regiondetect")
            .output()
            .unwrap(),
    );
    let page = include_str!("../../../docs/elements/regiondetect.md");
    let properties = text
        .split_once("Element Properties:")
        .expect("it has some")
        .1;
    for property in properties.lines().filter_map(|line| {
        let (name, blurb) = line.strip_prefix("  ")?.split_once(": ")?;
        let name = name.trim();
        let plain = !name.is_empty() && !blurb.is_empty() && !name.contains(' ');
        (plain && name.starts_with(|c: char| c.is_ascii_lowercase())).then_some(name)
    }) {
        if ["name", "parent", "qos", "flags"].contains(&property) {
            continue;
        }
        assert!(
            page.contains(&format!("`{property}`")),
            "docs/elements/regiondetect.md lacks {property}"
        );
    }
    for word in [
        "export-region-grid",
        "import-region-grid",
        "reset-region-grid",
        "MIT/X11",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}
