//! What a change over HTTP may not bring: everything that reads files of this machine.

use super::Refusal;
use crate::config::Config;
use std::path::Path;
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::camera::Source;

/// Refuses local sources and files that were not there before, and the permission to bring them.
pub fn refuse_local(old: &Config, new: &Config) -> Result<(), Refusal> {
    if new.http.allow_local_sources {
        return Err(Refusal::Permission);
    }
    for (name, camera) in &new.cameras {
        let before: Vec<&Source> = old.cameras.get(name).map(sources).unwrap_or_default();
        for source in sources(camera) {
            if reads_files(source) && !before.contains(&source) {
                return Err(Refusal::Local(name.clone(), source.kind()));
            }
        }
    }
    for (key, path) in new.mqtt.files() {
        if !old.mqtt.files().any(|(_, known)| known == path) {
            return Err(Refusal::LocalFile(key));
        }
    }
    let labels = |config: &Config| config.model.as_ref().and_then(|model| model.labels.clone());
    match labels(new) {
        Some(path) if labels(old).as_ref() != Some(&path) && !is_beside_model(old, &path) => {
            Err(Refusal::LocalFile("model.labels"))
        }
        _ => Ok(()),
    }
}

/// Refuses every change of hooks: they run programs and send data elsewhere.
pub fn refuse_hooks(old: &Config, new: &Config) -> Result<(), Refusal> {
    if new.hooks == old.hooks {
        Ok(())
    } else {
        Err(Refusal::Hooks)
    }
}

/// Devices are in /dev; any other path could be a file whose content shows in an error.
fn reads_files(source: &Source) -> bool {
    match source {
        Source::File(_) | Source::Launch(_) => true,
        Source::V4l2(v4l2) => {
            !v4l2.device.starts_with("/dev")
                || v4l2
                    .device
                    .components()
                    .any(|part| part.as_os_str() == "..")
        }
        _ => false,
    }
}

/// Labels are lines that are logged and shown: they may be of the folder in which the model or its labels are already.
fn is_beside_model(old: &Config, path: &Path) -> bool {
    let folder = |path: &Path| path.canonicalize().ok()?.parent().map(Path::to_owned);
    let Some(model) = &old.model else {
        return false;
    };
    let wanted = folder(path);
    wanted.is_some()
        && [Some(&model.path), model.labels.as_ref()]
            .into_iter()
            .flatten()
            .any(|known| folder(known) == wanted)
}

fn sources(camera: &CameraConfig) -> Vec<&Source> {
    let entries = camera.sources.iter().map(|entry| &entry.source);
    camera.source.iter().chain(entries).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn with(list: &[(&str, CameraConfig)]) -> Config {
        let cameras = list.iter().map(|(n, c)| ((*n).to_owned(), c.clone()));
        Config {
            cameras: cameras.collect(),
            ..Config::default()
        }
    }

    #[test]
    fn local_sources_from_outside_are_refused_and_old_ones_may_stay() {
        let launch = CameraConfig::from_source(Source::Launch("videotestsrc".into()));
        let old = with(&[("a", launch.clone())]);
        refuse_local(&old, &old).unwrap();
        let moved = with(&[("b", launch)]);
        let refusal = refuse_local(&old, &moved).unwrap_err().to_string();
        assert!(refusal.contains("camera b: launch sources"), "{refusal}");
        let rtsp = CameraConfig::from_source(Source::Rtsp("rtsp://h/1".to_owned().into()));
        refuse_local(&old, &with(&[("a", rtsp)])).unwrap();
    }

    #[test]
    fn only_devices_are_opened_as_cameras() {
        for (device, allowed) in [
            ("/dev/video0", true),
            ("/dev/v4l/by-id/usb-1", true),
            ("/etc/passwd", false),
            ("/dev/../etc/passwd", false),
        ] {
            let camera: CameraConfig =
                serde_json::from_value(json!({"source": {"v4l2": device}})).unwrap();
            let new = with(&[("a", camera)]);
            assert_eq!(
                refuse_local(&Config::default(), &new).is_ok(),
                allowed,
                "{device}"
            );
            refuse_local(&new, &new).unwrap();
        }
    }

    #[test]
    fn labels_are_files_beside_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["m.onnx", "other.txt"] {
            std::fs::write(path(name), "x").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", path("link.txt")).unwrap();
        let config = |labels: Option<&Path>| Config {
            model: Some(
                serde_json::from_value(json!({"path": path("m.onnx"), "labels": labels})).unwrap(),
            ),
            ..Config::default()
        };
        let old = config(None);
        for (labels, allowed) in [
            (path("other.txt").as_path(), true),
            (Path::new("/etc/passwd"), false),
            (path("link.txt").as_path(), false),
        ] {
            let new = config(Some(labels));
            assert_eq!(refuse_local(&old, &new).is_ok(), allowed, "{labels:?}");
            refuse_local(&new, &new).unwrap();
        }
    }
}
