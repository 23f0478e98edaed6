//! The libcamera cameras of this machine, and which of them is meant.

use gst::prelude::*;

use super::Refusal;
use crate::fault::FaultKind;

/// A camera libcamera found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Camera {
    /// Place in libcamera's list. May change when cameras are added.
    pub index: usize,
    /// Model of the sensor, the last part of the id.
    pub model: String,
    /// libcamera's id: where the camera is connected.
    pub id: String,
}

impl Camera {
    fn new(index: usize, id: String) -> Self {
        let last = id.rsplit('/').next().unwrap_or(&id);
        let model = last.split('@').next().unwrap_or(last).to_owned();
        Self { index, model, id }
    }
}

/// Lists the cameras, in libcamera's order; none where libcamera's GStreamer plugin is missing.
pub fn cameras() -> Vec<Camera> {
    let devices = gst::DeviceProviderFactory::by_name("libcameraprovider")
        .map(|provider| provider.devices())
        .unwrap_or_default();
    devices
        .iter()
        .filter_map(|device| {
            // The id is in the element a device makes; what else a device tells differs between versions.
            let element = device.create_element(None).ok()?;
            element.find_property("camera-name")?;
            element.property::<Option<String>>("camera-name")
        })
        .enumerate()
        .map(|(index, id)| Camera::new(index, id))
        .collect()
}

/// The camera that `choice` means: an id, an index, or a model that only one camera has; empty for the first one.
pub fn resolve<'a>(choice: &str, cameras: &'a [Camera]) -> Result<&'a Camera, Refusal> {
    let key = "source.libcamera.camera";
    // A camera that is missing may come back.
    let absent = |reason: String| Refusal {
        kind: FaultKind::Source,
        ..Refusal::new(key, reason)
    };
    let Some(first) = cameras.first() else {
        return Err(absent(
            "libcamera finds no camera; check the cable, and `dtoverlay` or `camera_auto_detect` in config.txt".into(),
        ));
    };
    if choice.is_empty() {
        return Ok(first);
    }
    if let Some(camera) = cameras.iter().find(|camera| camera.id == choice) {
        return Ok(camera);
    }
    let list = |of: &mut dyn Iterator<Item = &Camera>| {
        of.map(|camera| format!("{} {} ({})", camera.index, camera.model, camera.id))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let by_index = choice
        .parse()
        .ok()
        .and_then(|index: usize| cameras.get(index));
    if let Some(camera) = by_index {
        return Ok(camera);
    }
    let mut named = cameras
        .iter()
        .filter(|camera| camera.model.eq_ignore_ascii_case(choice));
    match (named.next(), named.next()) {
        (Some(camera), None) => Ok(camera),
        (Some(first), Some(second)) => {
            let all = list(&mut [first, second].into_iter().chain(named));
            Err(Refusal::new(
                key,
                format!("camera {choice} may be several: {all}; name it by its id"),
            ))
        }
        (None, _) => {
            let all = list(&mut cameras.iter());
            Err(absent(format!(
                "camera {choice} is not there; there is {all}"
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<Camera> {
        [
            "/base/soc/i2c0mux/i2c@1/imx708@1a",
            "/base/soc/i2c0mux/i2c@0/imx219@10",
            "/base/axi/pcie@120000/rp1/i2c@80000/imx219@10",
        ]
        .into_iter()
        .enumerate()
        .map(|(index, id)| Camera::new(index, id.to_owned()))
        .collect()
    }

    #[test]
    fn a_camera_is_meant_by_index_model_or_id() {
        let cameras = three();
        for (choice, index) in [
            ("", 0),
            ("0", 0),
            ("2", 2),
            ("imx708", 0),
            ("IMX708", 0),
            ("/base/soc/i2c0mux/i2c@0/imx219@10", 1),
        ] {
            assert_eq!(resolve(choice, &cameras).unwrap().index, index, "{choice}");
        }
    }

    #[test]
    fn what_is_not_clear_lists_what_there_is() {
        let cameras = three();
        let refusal = resolve("imx219", &cameras).unwrap_err();
        assert_eq!(refusal.kind, FaultKind::Permanent);
        assert_eq!(
            refusal.reason,
            "camera imx219 may be several: 1 imx219 (/base/soc/i2c0mux/i2c@0/imx219@10), \
             2 imx219 (/base/axi/pcie@120000/rp1/i2c@80000/imx219@10); name it by its id"
        );
        for choice in ["3", "imx477", "-1", "/base/soc"] {
            let refusal = resolve(choice, &cameras).unwrap_err();
            assert_eq!(refusal.kind, FaultKind::Source, "{choice}");
            assert!(refusal.reason.contains("there is 0 imx708 ("), "{refusal}");
        }
        let refusal = resolve("", &[]).unwrap_err();
        assert!(refusal.reason.contains("finds no camera"), "{refusal}");
    }

    #[test]
    fn usb_cameras_have_their_ids_last_part_as_model() {
        let camera = Camera::new(0, r"\_SB_.PCI0.XHC_.RHUB.HS03-3:1.0-046d:0825".into());
        assert_eq!(camera.model, camera.id);
    }
}
