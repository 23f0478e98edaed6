//! What is behind an error of `libcamerasrc`: its own words rarely say what to do.

use gst::prelude::*;

use crate::fault::FaultKind;

/// Parts of messages in lower case, what follows from them, and what to do. The first that fits counts.
const CAUSES: [(&[&str], FaultKind, &str); 8] = [
    (
        &[
            "already in use",
            "in use by another process",
            "resource busy",
        ],
        FaultKind::Source,
        "another program has the camera open; stop it (rpicam-*, libcamera-*, motion, another watchpost)",
    ),
    (
        &["frontend has timed out", "dequeue timer"],
        FaultKind::Source,
        "the sensor sends nothing; check the cable and its connectors, and for exposures of a second or more raise \
         camera_timeout_value_ms in libcamera's rpi_apps.yaml",
    ),
    (
        &[
            "could not find a camera named",
            "could not find any supported camera",
        ],
        FaultKind::Source,
        "the camera is not connected, or this user may not open it; `watchpost devices` lists what is there",
    ),
    (
        &[
            "failed to allocate memory",
            "failed to allocate request",
            "cannot allocate memory",
            "allocator_new() failed",
        ],
        FaultKind::Source,
        "no memory for the camera's buffers; use smaller sizes, leave out the raw stream, or give the kernel more CMA \
         memory (dtoverlay=vc4-kms-v3d,cma-512 in config.txt)",
    ),
    (
        &[
            "no such device",
            "no such file or directory",
            "disconnected",
        ],
        FaultKind::Source,
        "the camera was unplugged or its driver has failed",
    ),
    (
        &["not-negotiated", "failed to generate camera configuration"],
        FaultKind::Permanent,
        "the camera cannot give these formats and sizes at once; use other sizes or formats, or fewer streams",
    ),
    (
        &["failed to configure camera", "failed to start the camera"],
        FaultKind::Source,
        "libcamera could not set the camera up; its log (LIBCAMERA_LOG_LEVELS=*:DEBUG) says why",
    ),
    (
        &["streaming stopped", "internal data stream error"],
        FaultKind::Source,
        "the camera stopped giving frames",
    ),
];

/// What follows from an error of `libcamerasrc`, and what to do, by the text of message and debug information.
pub fn cause(text: &str) -> Option<(FaultKind, &'static str)> {
    let text = text.to_lowercase();
    CAUSES
        .iter()
        .find(|(parts, ..)| parts.iter().any(|part| text.contains(part)))
        .map(|(_, kind, advice)| (*kind, *advice))
}

/// As [`cause`], for a message of a bus; none where it is not `libcamerasrc` that sent it.
pub fn cause_of(error: &gst::message::Error) -> Option<(FaultKind, &'static str)> {
    let element = error.src()?.downcast_ref::<gst::Element>()?;
    if element.factory()?.name() != "libcamerasrc" {
        return None;
    }
    let debug = error.debug().unwrap_or_default();
    cause(&format!("{} {debug}", error.error().message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_become_causes() {
        for (text, kind, said) in [
            (
                "Camera '/base/soc/imx708@1a' is already in use. libcamera::Camera::acquire() failed",
                FaultKind::Source,
                "another program",
            ),
            (
                "Failed to configure camera: Device or resource busy",
                FaultKind::Source,
                "another program",
            ),
            (
                "ERROR RPI pipeline_base.cpp:1346 Camera frontend has timed out!",
                FaultKind::Source,
                "the cable",
            ),
            ("Failed to allocate memory", FaultKind::Source, "CMA"),
            (
                "Internal data stream error. streaming stopped, reason not-negotiated (-4)",
                FaultKind::Permanent,
                "at once",
            ),
            (
                "Internal data stream error. streaming stopped, reason error (-5)",
                FaultKind::Source,
                "stopped giving frames",
            ),
            (
                "Could not find a camera named 'x'.",
                FaultKind::Source,
                "watchpost devices",
            ),
        ] {
            let (found, advice) = cause(text).unwrap();
            assert_eq!(found, kind, "{text}");
            assert!(advice.contains(said), "{text}: {advice}");
        }
        assert_eq!(cause("Everything is fine"), None);
    }
}
