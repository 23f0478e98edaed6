//! The cameras: what there is, who has one, what was asked of it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::script::{FaultKind, Script};

/// A camera of the script.
#[derive(Debug, Clone)]
pub struct Camera {
    /// As libcamera names it on a Raspberry Pi.
    pub id: String,
    /// Place in the script.
    number: usize,
    /// Largest picture.
    pub sensor: (u32, u32),
}

/// The cameras that are plugged in.
pub fn cameras() -> Vec<Camera> {
    let script = Script::get();
    script
        .cameras
        .iter()
        .enumerate()
        .map(|(number, (model, width, height))| Camera {
            id: format!("/base/soc/i2c0mux/i2c@{number}/{model}@1a"),
            number,
            sensor: (*width, *height),
        })
        .filter(|camera| {
            !camera.file("unplugged").exists()
                && script.fault(FaultKind::Unplug, 0) != Some(std::time::Duration::ZERO)
        })
        .collect()
}

/// Adds a line to the log.
pub fn log(line: &str) {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(Script::get().dir.join("log"));
    // One write, so that lines of several processes do not mix.
    if let Ok(mut file) = file {
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
}

/// A camera that this element has for itself.
#[derive(Debug)]
pub struct Opened {
    pub camera: Camera,
    /// Which opening of this camera it is, from 1 on. One in which the camera is only asked what it offers does not count.
    pub opening: u64,
    counted: AtomicBool,
    _lock: File,
}

impl Opened {
    /// Whether its streams were agreed on.
    pub fn counts(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
    }

    /// Its streams are agreed on, so the opening counts.
    pub fn count(&self) {
        if !self.counted.swap(true, Ordering::Relaxed) {
            let counter = self.camera.file("openings");
            let _ = std::fs::write(counter, self.opening.to_string());
            log(&format!("open {} {}", self.opening, self.camera.id));
        }
    }
}

impl Camera {
    fn file(&self, kind: &str) -> PathBuf {
        Script::get().dir.join(format!("{}.{kind}", self.number))
    }

    /// Opens it; none while somebody else has it.
    pub fn open(self) -> Option<Opened> {
        let counter = self.file("openings");
        let before: u64 = std::fs::read_to_string(&counter)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0);
        let opening = before + 1;
        let lock = File::create(self.file("lock")).ok()?;
        let fault = Script::get().fault(FaultKind::Busy, opening).is_some();
        if fault || lock.try_lock().is_err() {
            let _ = std::fs::write(&counter, opening.to_string());
            log(&format!("busy {opening} {}", self.id));
            return None;
        }
        Some(Opened {
            camera: self,
            opening,
            counted: AtomicBool::new(false),
            _lock: lock,
        })
    }

    /// Pulls the cable, for all processes.
    pub fn unplug(&self) {
        let _ = File::create(self.file("unplugged"));
    }

    /// Sizes the sensor can be read out in.
    pub fn modes(&self) -> [(u32, u32); 2] {
        let (width, height) = self.sensor;
        [((width * 2 / 3) & !1, (height * 2 / 3) & !1), self.sensor]
    }
}
