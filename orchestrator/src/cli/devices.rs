//! `watchpost devices`: cameras of this machine, as the configuration names them.

use anyhow::{Context, Result};
use gst::prelude::*;
use std::fmt::Write;
use std::process::ExitCode;
use watchpost_pipelines::libcamera::{self, Abilities, Camera, Version, list_formats};

/// Prints each V4L2 and libcamera camera with the line that goes into the configuration.
pub fn run() -> Result<ExitCode> {
    gst::init().context("GStreamer")?;
    let abilities = Abilities::find().ok();
    let text = listing(abilities.as_ref(), &libcamera::cameras()) + &v4l2()?;
    if text.is_empty() {
        println!(
            "no cameras found (V4L2 needs GStreamer's video4linux2 plugin and the right to open /dev/video*, libcamera its GStreamer plugin)"
        );
    }
    // USB cameras choose their names.
    print!("{}", crate::table::plain_lines(&text));
    Ok(ExitCode::SUCCESS)
}

/// The cameras of libcamera, and what its element can do with them.
fn listing(abilities: Option<&Abilities>, cameras: &[Camera]) -> String {
    let mut text = String::new();
    let (Some(abilities), false) = (abilities, cameras.is_empty()) else {
        return text;
    };
    let can = |is: bool, what: &str, since: Version| match is {
        true => what.to_owned(),
        false => format!("{what} from {since} on"),
    };
    let _ = writeln!(
        text,
        "libcamera {}: {}, {}, {}",
        abilities.version,
        can(abilities.has_controls(), "controls", Version::CONTROLS),
        can(abilities.has_raw(), "raw stream", Version::RAW),
        can(
            abilities.has_sensor_config(),
            "sensor modes",
            Version::SENSOR_CONFIG
        ),
    );
    for camera in cameras {
        let Camera { index, model, id } = camera;
        let alone = cameras.iter().filter(|other| other.model == *model).count() == 1;
        // The index may become another camera's when one is added or goes.
        let name = if alone { model } else { id };
        let _ = writeln!(
            text,
            "{model} (libcamera, index {index})\n    id: {id}\n    source: {{libcamera: {name:?}}}"
        );
        let _ = writeln!(text, "    {}", offered(camera, abilities));
    }
    text
}

/// What a camera offers, in a line.
fn offered(camera: &Camera, abilities: &Abilities) -> String {
    let offer = match libcamera::ask(camera, abilities) {
        Ok(offer) => offer,
        Err(refusal) => return format!("offers: not known, {refusal}"),
    };
    let mut text = format!("offers: {}", list_formats(&offer.main));
    text.push_str(match offer.lores.is_empty() {
        true => "; one stream at a time, from which lores is scaled",
        false => "; main and lores at once",
    });
    match (offer.raw.is_empty(), offer.raw_beside) {
        (true, _) => text.push_str("; no raw stream, so no raw_photo"),
        (false, true) => text.push_str("; raw beside them"),
        (false, false) => text.push_str("; raw alone"),
    }
    text
}

fn v4l2() -> Result<String> {
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    monitor.start().context("GStreamer's device monitor")?;
    let mut text = String::new();
    for device in monitor.devices() {
        let Ok(element) = device.create_element(None) else {
            continue;
        };
        if element.factory().is_none_or(|f| f.name() != "v4l2src") {
            continue;
        }
        let path = device
            .properties()
            .and_then(|p| p.get::<String>("device.path").ok())
            .or_else(|| element.property("device"));
        if let Some(path) = path {
            let name = device.display_name();
            let _ = writeln!(text, "{name}\n    source: {{v4l2: {path}}}");
        }
    }
    monitor.stop();
    Ok(text)
}
