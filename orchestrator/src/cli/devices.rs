//! `watchpost devices`: cameras of this machine, as the configuration names them.

use anyhow::{Context, Result};
use gst::prelude::*;
use std::process::ExitCode;

/// Prints each V4L2 and libcamera camera with the line that goes into the configuration.
pub fn run() -> Result<ExitCode> {
    gst::init().context("GStreamer")?;
    let monitor = gst::DeviceMonitor::new();
    monitor.add_filter(Some("Video/Source"), None);
    monitor.start().context("GStreamer's device monitor")?;
    let mut found = 0;
    for device in monitor.devices() {
        let properties = device.properties();
        let text = |name: &str| properties.as_ref().and_then(|p| p.get::<String>(name).ok());
        let element = device.create_element(None).ok();
        let factory = element
            .as_ref()
            .and_then(|e| e.factory())
            .map(|f| f.name().to_string());
        let source = match factory.as_deref() {
            Some("v4l2src") => text("device.path")
                .or_else(|| element.and_then(|e| e.property("device")))
                .map(|path| format!("source: {{v4l2: {path}}}")),
            Some("libcamerasrc") => element
                .and_then(|e| e.property::<Option<String>>("camera-name"))
                .map(|name| format!("source: {{libcamera: {:?}}}", name)),
            _ => None,
        };
        if let Some(source) = source {
            println!("{}\n    {source}", device.display_name());
            found += 1;
        }
    }
    monitor.stop();
    if found == 0 {
        println!(
            "no cameras found (V4L2 needs GStreamer's video4linux2 plugin and the right to open /dev/video*, libcamera its GStreamer plugin)"
        );
    }
    Ok(ExitCode::SUCCESS)
}
