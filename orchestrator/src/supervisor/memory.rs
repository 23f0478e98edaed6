//! The owner of the rings' memory: what each camera was granted, and what the next one may have.

use super::budget::{self, Budget};
use shmring_core::sizing::Depth;
use std::collections::BTreeMap;
use watchpost_pipelines::CameraConfig;

/// Memory of all rings.
#[derive(Debug)]
pub struct Memory {
    budget: Budget,
    /// Slots of cameras that are about to start together.
    shares: BTreeMap<String, u32>,
    /// Bytes of each ring that exists or is about to.
    granted: BTreeMap<String, u64>,
}

impl Memory {
    /// As much as the system has for rings; nothing is granted.
    pub fn of_system() -> Self {
        Self {
            budget: Budget::of_system(),
            shares: BTreeMap::new(),
            granted: BTreeMap::new(),
        }
    }

    /// Cameras that start together share what there is, so that the last one is not the one without.
    pub fn share(&mut self, starting: &[(&String, &CameraConfig)]) {
        let requests: Vec<_> = starting
            .iter()
            .map(|(_, config)| budget::request(config, None))
            .collect();
        let depths = budget::grant(&requests, self.left(None));
        self.shares = starting
            .iter()
            .zip(depths)
            .filter_map(|((name, _), depth)| Some(((*name).clone(), depth.ok()?.slots)))
            .collect();
    }

    /// How many slots a camera may have now, beside how many it wants; an error names the bytes needed and free.
    /// `frame_bytes` are those of its frames, where they are known.
    pub fn grant(
        &mut self,
        name: &str,
        config: &CameraConfig,
        frame_bytes: Option<u64>,
    ) -> Result<Depth, String> {
        let left = self.left(Some(name));
        let wanted = budget::request(config, frame_bytes);
        let mut request = wanted;
        if let Some(slots) = self.shares.remove(name) {
            request.slots = slots;
        }
        let depth = budget::grant(&[request], left)
            .pop()
            .expect("one answer for one request")
            .map_err(|refusal| refusal.to_string())?;
        self.granted.insert(name.to_owned(), depth.bytes);
        Ok(Depth {
            wanted_slots: wanted.slots,
            wanted_bytes: depth.bytes / u64::from(depth.slots.max(1)) * u64::from(wanted.slots),
            ..depth
        })
    }

    /// What a ring was taken to need is corrected by what it has.
    pub fn measured(&mut self, name: &str, bytes: u64) {
        if let Some(granted) = self.granted.get_mut(name) {
            *granted = bytes;
        }
    }

    /// A ring does not exist any more.
    pub fn release(&mut self, name: &str) {
        self.granted.remove(name);
    }

    /// Bytes that a ring may have; that of `except` does not count.
    fn left(&self, except: Option<&str>) -> u64 {
        let others = self
            .granted
            .iter()
            .filter(|(name, _)| Some(name.as_str()) != except);
        self.budget.left(others.map(|(_, bytes)| bytes).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(total: u64) -> Memory {
        Memory {
            budget: Budget::of(total),
            ..Memory::of_system()
        }
    }

    fn camera() -> CameraConfig {
        let mut config = CameraConfig::default();
        config.detect.width = Some(640);
        config.detect.height = Some(360);
        config
    }

    #[test]
    fn what_a_ring_has_is_missing_for_the_next_until_it_is_released() {
        let frame = 640 * 360 * 3 / 2;
        let mut memory = memory(20 * frame);
        let first = memory.grant("a", &camera(), None).unwrap();
        assert_eq!(first.slots, 16);
        let second = memory.grant("b", &camera(), None);
        assert!(second.is_err_and(|text| text.contains("bytes are free")));
        // A camera that asks again does not compete with itself.
        assert_eq!(memory.grant("a", &camera(), None).unwrap().slots, 16);
        memory.measured("a", 8 * frame);
        assert!(memory.grant("b", &camera(), None).is_ok());
        memory.release("a");
        assert_eq!(memory.grant("b", &camera(), None).unwrap().slots, 16);
        // Nobody has anything of it: late figures of a ring that is gone are not counted.
        memory.measured("a", 1 << 40);
        assert_eq!(memory.grant("b", &camera(), None).unwrap().slots, 16);
    }

    #[test]
    fn cameras_that_start_together_share() {
        let frame = 640 * 360 * 3 / 2;
        let mut memory = memory(26 * frame);
        let (a, b, config) = ("a".to_owned(), "b".to_owned(), camera());
        memory.share(&[(&a, &config), (&b, &config)]);
        let slots = memory.grant("a", &config, None).unwrap().slots;
        assert!((8..16).contains(&slots), "{slots}");
        assert!(memory.grant("b", &config, None).is_ok());
    }
}
