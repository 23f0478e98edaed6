//! How many slots a camera's ring gets: pure functions of what is free, and a thin reader of the system.
//!
//! The figures matter because a `fallocate` above a cgroup's limit is not refused but answered by the OOM killer.
//! So one process hands out the budget, before anything is allocated.

use crate::generation::Backing;
use crate::layout::{Geometry, GeometryError, MAX_SLOTS, MIN_SLOTS};
use std::fs;
use std::path::{Path, PathBuf};

/// Slots of a ring when nobody asks for another number.
pub const DEFAULT_SLOTS: u32 = 16;
/// Most slots a camera may be configured to have.
pub const CONFIG_CEILING: u32 = 50;
/// Frames below which Frigate warns about its shared memory.
pub const FRIGATE_WARNS_BELOW: i64 = 20;

/// What the system says is free, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readings {
    /// MemAvailable of /proc/meminfo.
    pub mem_available: Option<u64>,
    /// Limit less usage of the tightest cgroup above this process (file cache that can go does not count as used).
    pub cgroup_free: Option<u64>,
    /// Free in /dev/shm.
    pub shm_free: Option<u64>,
    /// Size of /dev/shm.
    pub shm_total: Option<u64>,
}

impl Readings {
    /// Asks the system.
    pub fn of_system() -> Self {
        let shm = rustix::fs::statvfs("/dev/shm").ok();
        Self {
            mem_available: fs::read_to_string("/proc/meminfo")
                .ok()
                .and_then(|text| mem_available(&text)),
            cgroup_free: fs::read_to_string("/proc/self/cgroup")
                .ok()
                .and_then(|text| cgroup_free(&text, Path::new("/sys/fs/cgroup"))),
            shm_free: shm.as_ref().map(|shm| shm.f_bavail * shm.f_frsize),
            shm_total: shm.as_ref().map(|shm| shm.f_blocks * shm.f_frsize),
        }
    }

    /// What is free for a ring of this backing: the least of what applies. Nothing known means no bound.
    pub fn free_bytes(&self, backing: Backing) -> u64 {
        let shm = match backing {
            Backing::Memfd => None,
            Backing::DevShm => self.shm_free,
        };
        [self.mem_available, self.cgroup_free, shm]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(u64::MAX)
    }

    /// What rings may take of it: a tenth stays free.
    pub fn usable_bytes(&self, backing: Backing) -> u64 {
        let free = self.free_bytes(backing);
        free - free / 10
    }

    /// The budget for all rings together when none is configured: a quarter of what is usable.
    pub fn default_budget(&self, backing: Backing) -> u64 {
        self.usable_bytes(backing) / 4
    }
}

/// MemAvailable of a /proc/meminfo text, in bytes.
pub fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Limit less usage of the tightest memory cgroup, from the text of /proc/self/cgroup and the place where cgroups are
/// mounted. Version 2 and 1, with all parents; in a container whose path is not visible inside, the mount's root.
pub fn cgroup_free(self_cgroup: &str, mount: &Path) -> Option<u64> {
    let mut free: Option<u64> = None;
    for line in self_cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) =
            (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let (roots, files) = if controllers.is_empty() {
            (
                vec![mount.to_path_buf(), mount.join("unified")],
                ["memory.max", "memory.current"],
            )
        } else if controllers.split(',').any(|name| name == "memory") {
            (
                vec![mount.join("memory")],
                ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            )
        } else {
            continue;
        };
        for root in roots {
            let relative = path.trim_start_matches('/');
            let mut directory = Some(root.join(relative));
            while let Some(at) = directory {
                if let Some(here) = free_in(&at, files) {
                    free = Some(free.map_or(here, |other| other.min(here)));
                }
                directory = (at != root)
                    .then(|| at.parent().map(PathBuf::from))
                    .flatten();
            }
        }
    }
    free
}

fn free_in(directory: &Path, [limit, usage]: [&str; 2]) -> Option<u64> {
    let number = |name: &str| {
        let text = fs::read_to_string(directory.join(name)).ok()?;
        text.trim().parse::<u64>().ok() // "max" is no limit
    };
    let limit = number(limit)?;
    // Version 1 says "no limit" as a number near 2^63.
    if limit >= 1 << 62 {
        return None;
    }
    let cache = fs::read_to_string(directory.join("memory.stat"))
        .ok()
        .and_then(|stat| {
            let of = |name: &str| {
                stat.lines()
                    .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
            };
            of("total_inactive_file").or_else(|| of("inactive_file"))
        })
        .unwrap_or(0);
    Some(limit.saturating_sub(number(usage)?.saturating_sub(cache)))
}

/// What one camera wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Payload bytes per slot.
    pub slot_bytes: u64,
    /// Metadata bytes per slot.
    pub info_bytes: u32,
    /// Bytes of stream information.
    pub stream_bytes: u32,
    /// Slots at full depth.
    pub slots: u32,
    /// Slots below which the ring is of no use: its readers' grants together, plus 2.
    pub least: u32,
}

impl Request {
    /// A ring of the default depth for readers that together hold `grants` slots.
    pub fn new(slot_bytes: u64, grants: u32) -> Self {
        let config = crate::WriterConfig::new("", slot_bytes);
        let least = grants.saturating_add(2).clamp(MIN_SLOTS, MAX_SLOTS);
        Self {
            slot_bytes,
            info_bytes: config.info_bytes,
            stream_bytes: config.stream_bytes,
            slots: DEFAULT_SLOTS.max(least),
            least,
        }
    }

    /// The ring's sizes at this depth.
    pub fn geometry(&self, slots: u32) -> Result<Geometry, GeometryError> {
        Geometry::new(slots, self.slot_bytes, self.info_bytes, self.stream_bytes)
    }

    fn bytes(&self, slots: u32) -> Result<u64, GeometryError> {
        Ok(self.geometry(slots)?.total_bytes())
    }
}

/// What one camera gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Slots.
    pub slots: u32,
    /// Bytes they take.
    pub bytes: u64,
    /// Slots at full depth.
    pub wanted_slots: u32,
    /// Bytes for the full depth.
    pub wanted_bytes: u64,
    /// Bytes that were there to be taken.
    pub available: u64,
}

impl Depth {
    /// What to tell the user when the ring is shallower than it should be. `frigate` is what Frigate's formula says.
    pub fn warning(&self, camera: &str, frigate: Option<&FrigateShm>) -> Option<String> {
        if self.slots >= self.wanted_slots {
            return None;
        }
        let mut text = format!(
            "camera {camera}: ring of {} slots instead of {}: full depth needs {:.1} MiB, {:.1} MiB are left of the budget",
            self.slots,
            self.wanted_slots,
            mib(self.wanted_bytes),
            mib(self.available),
        );
        if let Some(frigate) = frigate.filter(|frigate| frigate.warns()) {
            text += &format!(
                " (Frigate would warn as well: {} frames fit into /dev/shm, it wants {} and at least {} MB)",
                frigate.frames, FRIGATE_WARNS_BELOW, frigate.min_shm_mb
            );
        }
        Some(text)
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1 << 20) as f64
}

/// Why a camera gets no ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not even the least depth fits.
    #[error(
        "no memory for a ring: {least} slots (what its readers hold, and 2) need {needed} bytes, {available} bytes are free for it"
    )]
    NoMemory {
        /// Slots below which the ring is of no use.
        least: u32,
        /// Bytes for them.
        needed: u64,
        /// Bytes there are.
        available: u64,
    },
    /// Impossible sizes.
    #[error(transparent)]
    Geometry(#[from] GeometryError),
}

/// The deepest ring that fits into `available` bytes.
pub fn fit(request: &Request, available: u64) -> Result<Depth, Refusal> {
    let least = request.least.clamp(MIN_SLOTS, MAX_SLOTS);
    let wanted = request.slots.clamp(least, MAX_SLOTS);
    let wanted_bytes = request.bytes(wanted)?;
    let mut slots = wanted;
    let mut bytes = wanted_bytes;
    while bytes > available {
        if slots == least {
            return Err(Refusal::NoMemory {
                least,
                needed: bytes,
                available,
            });
        }
        slots -= 1;
        bytes = request.bytes(slots)?;
    }
    Ok(Depth {
        slots,
        bytes,
        wanted_slots: wanted,
        wanted_bytes,
        available,
    })
}

/// Shares a budget between cameras that start together: all keep their full depth, or all give way to the same depth
/// (none below its least). Who does not get its least is refused alone, later ones first.
pub fn share(requests: &[Request], budget: u64) -> Vec<Result<Depth, Refusal>> {
    // First the least for each, in order.
    let mut left = budget;
    let mut answers: Vec<Result<Depth, Refusal>> = requests
        .iter()
        .map(|request| {
            let only_least = Request {
                slots: request.least,
                ..*request
            };
            let depth = fit(&only_least, left)?;
            left -= depth.bytes;
            Ok(depth)
        })
        .collect();
    // Then the same ceiling for all, as high as the budget allows.
    let total = |ceiling: u32| -> u64 {
        requests
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok())
            .map(|(request, _)| {
                let slots = request.slots.min(ceiling).max(request.least);
                request
                    .bytes(slots.clamp(MIN_SLOTS, MAX_SLOTS))
                    .unwrap_or(0)
            })
            .sum()
    };
    let ceiling = (MIN_SLOTS..=MAX_SLOTS)
        .rev()
        .find(|ceiling| total(*ceiling) <= budget)
        .unwrap_or(MIN_SLOTS);
    for (request, answer) in requests.iter().zip(&mut answers) {
        if answer.is_err() {
            continue;
        }
        let slots = request.slots.min(ceiling).max(request.least);
        let capped = Request { slots, ..*request };
        *answer = fit(&capped, u64::MAX).and_then(|depth| {
            Ok(Depth {
                wanted_slots: request.slots.max(depth.slots),
                wanted_bytes: request.bytes(request.slots.clamp(depth.slots, MAX_SLOTS))?,
                available: budget,
                ..depth
            })
        });
    }
    answers
}

/// What Frigate makes of a /dev/shm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrigateShm {
    /// Frames per camera; may be negative, as there.
    pub frames: i64,
    /// What it recommends as size, in MB.
    pub min_shm_mb: i64,
}

impl FrigateShm {
    /// Whether Frigate warns.
    pub fn warns(&self) -> bool {
        self.frames < FRIGATE_WARNS_BELOW
    }
}

/// Frigate's formula for the frames it keeps per camera (`calculate_shm_requirements`), for comparison only.
/// `cameras` are detect width and height; `shm_total_mb` in units of 2^20 bytes; 0 where there is no /dev/shm.
pub fn frigate_shm_frame_count(
    shm_total_mb: f64,
    cameras: &[(u32, u32)],
    max_frames: i64,
    birdseye_restream: bool,
) -> FrigateShm {
    // Two cameras of 720p are counted for what may be added at run time.
    let spare = [(1280, 720); 2];
    let per_frame: f64 = cameras
        .iter()
        .chain(&spare)
        .map(|(width, height)| {
            let bytes = f64::from(*width) * f64::from(*height) * 1.5 + 270_480.0;
            (bytes / f64::from(1 << 20) * 10.0).round_ties_even() / 10.0
        })
        .sum();
    let overhead = if birdseye_restream { 58.0 } else { 50.0 };
    let frames = if shm_total_mb == 0.0 {
        0
    } else {
        max_frames.min(((shm_total_mb - overhead) / per_frame) as i64)
    };
    FrigateShm {
        frames,
        min_shm_mb: (overhead + per_frame * 20.0).round_ties_even() as i64,
    }
}
