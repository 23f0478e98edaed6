//! Memory for rings: handed out here alone, before a worker starts, because a reservation above a cgroup's limit is answered by
//! the OOM killer and not by an error.

use detection::FrameSize;
use shmring_core::Backing;
use shmring_core::sizing::{
    Depth, FrigateShm, Readings, Refusal, Request, frigate_shm_frame_count, share,
};
use watchpost_pipelines::CameraConfig;

/// Slots the analysis worker may hold of each ring.
const ANALYSIS_GRANT: u32 = 4;
/// Frame size assumed for a camera whose own is not known yet.
const ASSUMED_SIZE: FrameSize = FrameSize::new(1920, 1080);
/// Frigate's default for the frames it keeps at most.
const FRIGATE_MAX_FRAMES: i64 = 50;

/// What all rings together may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    total: u64,
}

impl Budget {
    /// A quarter of what is available now.
    pub fn of_system() -> Self {
        Self {
            total: Readings::of_system().default_budget(Backing::Memfd),
        }
    }

    /// So many bytes.
    #[cfg(test)]
    pub fn of(total: u64) -> Self {
        Self { total }
    }

    /// What is left of it, and of the system, when this much is handed out already.
    pub fn left(&self, handed_out: u64) -> u64 {
        let usable = Readings::of_system().usable_bytes(Backing::Memfd);
        self.total.saturating_sub(handed_out).min(usable)
    }
}

/// Bytes of a camera's frame. `known` are those of a slot where it has streamed before, or tried to.
pub fn frame_bytes(config: &CameraConfig, known: Option<u64>) -> u64 {
    let size = config.detect_size().unwrap_or(ASSUMED_SIZE);
    known.unwrap_or(u64::from(size.width) * u64::from(size.height) * 3 / 2)
}

/// What a camera asks for; `known` as above.
pub fn request(config: &CameraConfig, known: Option<u64>) -> Request {
    let mut request = Request::new(frame_bytes(config, known), ANALYSIS_GRANT);
    if let Some(slots) = config.slots {
        request.slots = slots.max(request.least);
    }
    request
}

/// Shares what is left between cameras that start together.
pub fn grant(requests: &[Request], left: u64) -> Vec<Result<Depth, Refusal>> {
    share(requests, left)
}

/// What Frigate would say about these cameras on this machine.
pub fn frigate<'a>(cameras: impl Iterator<Item = &'a CameraConfig>) -> FrigateShm {
    let sizes: Vec<(u32, u32)> = cameras
        .map(|c| c.detect_size().unwrap_or(ASSUMED_SIZE))
        .map(|size| (size.width, size.height))
        .collect();
    let total = Readings::of_system().shm_total.unwrap_or(0) as f64 / f64::from(1 << 20);
    frigate_shm_frame_count(total, &sizes, FRIGATE_MAX_FRAMES, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(width: u32, height: u32, slots: Option<u32>) -> CameraConfig {
        let mut config = CameraConfig {
            slots,
            ..CameraConfig::default()
        };
        config.detect.width = Some(width);
        config.detect.height = Some(height);
        config
    }

    #[test]
    fn every_camera_gets_sixteen_slots_where_there_is_room() {
        let requests = [
            request(&camera(640, 360, None), None),
            request(&camera(1280, 720, Some(30)), None),
        ];
        let depths = grant(&requests, 1 << 30);
        let slots: Vec<u32> = depths.iter().map(|d| d.as_ref().unwrap().slots).collect();
        assert_eq!(slots, [16, 30]);
    }

    #[test]
    fn a_camera_that_does_not_fit_is_refused_alone_with_the_numbers() {
        let requests = [
            request(&camera(640, 360, None), None),
            request(&camera(3840, 2160, None), None),
        ];
        let depths = grant(&requests, 16 << 20);
        assert_eq!(depths[0].as_ref().unwrap().slots, 16);
        let refusal = depths[1].as_ref().unwrap_err().to_string();
        assert!(refusal.contains("bytes are free"), "{refusal}");
    }

    #[test]
    fn a_camera_that_streamed_before_asks_for_what_it_needed() {
        let config = CameraConfig::default();
        assert_eq!(request(&config, None).slot_bytes, 1920 * 1080 * 3 / 2);
        assert_eq!(request(&config, Some(1000)).slot_bytes, 1000);
    }
}
