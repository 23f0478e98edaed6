//! The memory of a writer: rings and control pages, made, sealed and named.

use crate::error::CreateError;
use crate::layout::{CONTROL_BYTES, Control, Geometry, MAGIC, OPEN, PROTOCOL};
use crate::shm::{Map, Segment, WriteMap};
use crate::sizing::Readings;
use crate::sync::Ordering;
use crate::writer::WriterConfig;
use rustix::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a ring's memory lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backing {
    /// An unnamed, sealed memfd: not limited by /dev/shm's size, and safe from readers. The choice for everybody who
    /// does not need the other.
    #[default]
    Memfd,
    /// A named segment in /dev/shm. It cannot be sealed, so processes of the same user are trusted not to change it.
    DevShm,
}

/// One ring of a writer's life: of fixed size, with its own memory.
pub(crate) struct Generation {
    pub(crate) map: Arc<WriteMap>,
    /// What readers get: for a memfd the descriptor itself (sealed against writing), for a named segment a read-only one.
    pub(crate) fd: OwnedFd,
    pub(crate) number: u64,
    pub(crate) base: u64,
    pub(crate) name: Option<PathBuf>,
}

impl Drop for Generation {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = std::fs::remove_file(name);
        }
    }
}

/// A control page as the writer sees it.
pub(crate) struct ControlPage(Map);

impl std::ops::Deref for ControlPage {
    type Target = Control;
    fn deref(&self) -> &Control {
        self.0.control()
    }
}

/// Makes a control page for one reader: the descriptor to send and the writer's own map of it.
pub(crate) fn control_page() -> std::io::Result<(OwnedFd, ControlPage)> {
    let segment = Segment::memfd("shmring-control", CONTROL_BYTES as u64)?;
    segment.seal(false)?;
    let page = ControlPage(Map::new(&segment.fd, CONTROL_BYTES, true)?);
    page.magic.store(MAGIC, Ordering::Relaxed);
    page.protocol.store(PROTOCOL, Ordering::Relaxed);
    Ok((segment.fd, page))
}

impl ControlPage {
    /// Notes what its reader may hold and where it begins, before it is sent.
    pub(crate) fn entitle(&self, granted: u32, cursor: u64) {
        self.granted.store(granted, Ordering::Relaxed);
        self.cursor.store(cursor, Ordering::Relaxed);
    }
}

/// Names of a socket path's segments begin with this; one writer has the path, so all of them are its to remove.
fn segment_prefix(socket_path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::absolute(socket_path).unwrap_or_else(|_| socket_path.to_path_buf());
    // FNV-1a: short, and the same in every version.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in path.as_os_str().as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    }
    let user = rustix::process::geteuid().as_raw();
    format!("shmring-{user}-{hash:016x}-")
}

/// Removes what a killed writer of this path left in /dev/shm.
pub(crate) fn remove_leftovers(socket_path: &Path) {
    let prefix = segment_prefix(socket_path);
    let Ok(files) = std::fs::read_dir("/dev/shm") else {
        return;
    };
    for file in files.flatten() {
        if file.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_file(file.path());
        }
    }
}

/// Reserves, maps and seals the memory of a ring.
pub(crate) fn new_generation(
    config: &WriterConfig,
    geometry: Geometry,
    instance: u64,
    number: u64,
) -> Result<Generation, CreateError> {
    let needed = geometry.total_bytes();
    let free = Readings::of_system().free_bytes(config.backing);
    let memory = |source: std::io::Error| CreateError::Memory {
        needed,
        slots: geometry.slots(),
        place: match config.backing {
            Backing::Memfd => "memory",
            Backing::DevShm => "/dev/shm",
        },
        free,
        source,
    };
    // The kernel would not refuse it but end a process, and not always this one. Less has to stay free than where budgets
    // are handed out: what was granted is not refused for what has changed since.
    if needed > free - free / 20 {
        return Err(memory(std::io::Error::new(
            std::io::ErrorKind::OutOfMemory,
            "a twentieth of it has to stay free",
        )));
    }
    let (segment, name) = match config.backing {
        Backing::Memfd => (Segment::memfd("shmring", needed), None),
        Backing::DevShm => {
            let name = format!("/dev/shm/{}{number}", segment_prefix(&config.socket_path));
            (
                Segment::named(&name, 0o600 | config.socket_mode & 0o044, needed),
                Some(PathBuf::from(name)),
            )
        }
    };
    let system = |what| {
        move |error: rustix::io::Errno| CreateError::System {
            what,
            source: error.into(),
        }
    };
    let segment = segment.map_err(|error| memory(error.into()))?;
    let map = WriteMap::new(&segment.fd, geometry).map_err(memory)?;
    let fd = match &name {
        None => {
            segment.seal(true).map_err(system("seal the ring"))?;
            segment.fd
        }
        Some(name) => {
            if let Some(group) = config.socket_group {
                let group = rustix::fs::Gid::from_raw(group);
                rustix::fs::chown(name, None, Some(group))
                    .map_err(system("set the group of the segment"))?;
            }
            rustix::fs::open(
                name,
                rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            )
            .map_err(system("open the segment for reading"))?
        }
    };
    let head = map.head();
    head.magic.store(MAGIC, Ordering::Relaxed);
    head.protocol.store(PROTOCOL, Ordering::Relaxed);
    head.slots.store(geometry.slots(), Ordering::Relaxed);
    head.slot_bytes
        .store(geometry.slot_bytes(), Ordering::Relaxed);
    head.instance.store(instance, Ordering::Relaxed);
    head.generation.store(number, Ordering::Relaxed);
    head.state.store(OPEN, Ordering::Relaxed);
    Ok(Generation {
        map: Arc::new(map),
        fd,
        number,
        base: 0,
        name,
    })
}
