//! Connecting to a ring: the reader's side of the handshake, checks of what came with it, and interrupting all that.

use crate::consumer::LeaseTable;
use crate::error::ConnectError;
use crate::layout::{CONTROL_BYTES, Control, Geometry, LEASES, MAGIC, PROTOCOL, View};
use crate::shm::Map;
use crate::socket;
use crate::sync::{AtomicBool, Ordering};
use crate::wire::{self, Welcome};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::SealFlags;
use rustix::io::Errno;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One ring as a reader sees it. Lives as long as the reader or any frame of it.
pub(crate) struct Attachment {
    pub(crate) map: Map,
    pub(crate) geometry: Geometry,
    control: Map,
    pub(crate) leases: LeaseTable,
    pub(crate) socket: Arc<OwnedFd>,
}

impl Attachment {
    pub(crate) fn view(&self) -> View<'_> {
        self.map.view(&self.geometry)
    }
    pub(crate) fn control(&self) -> &Control {
        self.control.control()
    }
}

/// Interrupts a reader's waiting, from any thread.
#[derive(Clone)]
pub struct Canceller(Arc<Cancel>);

struct Cancel {
    cancelled: AtomicBool,
    /// For waits on sockets.
    event: OwnedFd,
    /// For waits on frames.
    attachment: Mutex<Option<Arc<Attachment>>>,
}

impl Canceller {
    /// Every wait of the reader, present and future, returns [`crate::WaitError::Cancelled`] at once.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        let attachment = self.attachment().clone();
        if let Some(attachment) = attachment {
            attachment.control().cancel_wait();
        }
    }

    /// The reader may wait again.
    pub fn reset(&self) {
        self.0.cancelled.store(false, Ordering::SeqCst);
        let _ = rustix::io::read(&self.0.event, &mut [0; 8]);
    }

    /// Whether [`Canceller::cancel`] was called last.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// The ring a wait may be going on in.
    pub(crate) fn attachment(&self) -> std::sync::MutexGuard<'_, Option<Arc<Attachment>>> {
        self.0
            .attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Readable while cancelled.
    pub(crate) fn event(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }

    pub(crate) fn new() -> Result<Self, ConnectError> {
        let flags = rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK;
        let event = rustix::event::eventfd(0, flags).map_err(system("make an eventfd"))?;
        Ok(Self(Arc::new(Cancel {
            cancelled: AtomicBool::new(false),
            event,
            attachment: Mutex::new(None),
        })))
    }
}

/// An error of the operating system while doing `what`.
pub(crate) fn system(what: &'static str) -> impl Fn(Errno) -> ConnectError {
    move |source| ConnectError::System {
        what,
        source: source.into(),
    }
}

/// Connects to the socket at `path`.
pub(crate) fn call(
    path: &Path,
    canceller: &Canceller,
    deadline: Instant,
) -> Result<OwnedFd, ConnectError> {
    loop {
        if canceller.is_cancelled() {
            return Err(ConnectError::Cancelled);
        }
        match socket::connect(path) {
            Ok(socket) => return Ok(socket),
            // The writer's queue of connections is full for the moment.
            Err(Errno::AGAIN) if Instant::now() < deadline => {
                let fds = [canceller.event()];
                socket::wait_readable(&fds, Duration::from_millis(5));
            }
            Err(Errno::AGAIN) => return Err(ConnectError::NoAnswer(path.to_path_buf())),
            Err(Errno::CONNREFUSED) if is_other_file(path) => {
                return Err(ConnectError::NotASocket(path.to_path_buf()));
            }
            Err(source) => {
                return Err(ConnectError::NoWriter {
                    path: path.to_path_buf(),
                    source: source.into(),
                });
            }
        }
    }
}

fn is_other_file(path: &Path) -> bool {
    rustix::fs::stat(path)
        .is_ok_and(|stat| !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket())
}

/// Waits for the writer's answer to a reader or monitor of slots, and checks it.
pub(crate) fn welcome(
    path: &Path,
    socket: &OwnedFd,
    canceller: Option<&Canceller>,
    deadline: Instant,
) -> Result<(Welcome, Geometry, Vec<OwnedFd>), ConnectError> {
    let (bytes, fds) = answer(path, socket, canceller, deadline)?;
    let (welcome, geometry) = wire::parse_welcome(&bytes)?;
    match (welcome.status, geometry) {
        (_, Some(geometry)) => Ok((welcome, geometry, fds)),
        (wire::REFUSED_FULL, _) => Err(ConnectError::RingFull {
            slots: welcome.slots,
            granted: welcome.granted_all,
            readers: welcome.readers,
        }),
        (wire::REFUSED_READERS, _) => Err(ConnectError::TooManyReaders(welcome.readers)),
        (status, _) => Err(ConnectError::Refused(status)),
    }
}

/// Waits for one message of the writer.
pub(crate) fn answer(
    path: &Path,
    socket: &OwnedFd,
    canceller: Option<&Canceller>,
    deadline: Instant,
) -> Result<(Vec<u8>, Vec<OwnedFd>), ConnectError> {
    let mut buffer = [0; 256];
    loop {
        if canceller.is_some_and(Canceller::is_cancelled) {
            return Err(ConnectError::Cancelled);
        }
        match socket::receive(socket.as_fd(), &mut buffer) {
            Ok((0, _)) | Err(Errno::CONNRESET) => {
                return Err(ConnectError::NoWriter {
                    path: path.to_path_buf(),
                    source: std::io::ErrorKind::ConnectionReset.into(),
                });
            }
            Ok((len, fds)) => return Ok((buffer[..len.min(buffer.len())].to_vec(), fds)),
            Err(Errno::AGAIN | Errno::INTR) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ConnectError::NoAnswer(path.to_path_buf()));
                }
                match canceller {
                    Some(canceller) => {
                        let fds = [socket.as_fd(), canceller.event()];
                        socket::wait_readable(&fds, left);
                    }
                    None => socket::wait_readable(&[socket.as_fd()], left),
                }
            }
            Err(error) => return Err(system("receive the writer's answer")(error)),
        }
    }
}

/// Checks that a segment is as long as it must be, that its memory is there already, and that it cannot be cut under our
/// hands. Memory that is not there would be reserved by the reader's map: at a hostile writer's word as much as the
/// machine has.
pub(crate) fn check_segment(
    fd: &OwnedFd,
    len: u64,
    named: bool,
    socket: &OwnedFd,
) -> Result<(), ConnectError> {
    let stat = rustix::fs::fstat(fd).map_err(system("look at the ring's memory"))?;
    if (stat.st_size as u64) < len {
        return Err(ConnectError::Unsafe(
            "its memory is shorter than its sizes say",
        ));
    }
    // In units of 512 bytes, whatever the page size.
    if (stat.st_blocks as u64).saturating_mul(512) < len {
        return Err(ConnectError::Unsafe(
            "its memory has not been reserved by the writer",
        ));
    }
    if named {
        let peer = rustix::net::sockopt::socket_peercred(socket)
            .map_err(system("ask who the writer is"))?;
        if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
            return Err(ConnectError::Unsafe(
                "a named segment of another user cannot be trusted to keep its size",
            ));
        }
        return Ok(());
    }
    let seals = rustix::fs::fcntl_get_seals(fd).unwrap_or(SealFlags::empty());
    if !seals.contains(SealFlags::SHRINK) {
        return Err(ConnectError::Unsafe(
            "its memory is not sealed against shrinking",
        ));
    }
    Ok(())
}

/// Maps a ring and its control page, after checking both.
pub(crate) fn attach(
    welcome: &Welcome,
    geometry: Geometry,
    fds: Vec<OwnedFd>,
    socket: Arc<OwnedFd>,
) -> Result<Attachment, ConnectError> {
    let Ok([ring, control]) = <[OwnedFd; 2]>::try_from(fds) else {
        return Err(ConnectError::Unsafe("a descriptor is missing"));
    };
    if welcome.granted > LEASES as u32 {
        return Err(ConnectError::Unsafe("the number of leases is impossible"));
    }
    check_segment(&ring, geometry.total_bytes(), welcome.named != 0, &socket)?;
    check_segment(&control, CONTROL_BYTES as u64, false, &socket)?;
    let mapped = |source| ConnectError::System {
        what: "map the ring",
        source,
    };
    let map = Map::new(&ring, geometry.total_bytes() as usize, false).map_err(mapped)?;
    let control = Map::new(&control, CONTROL_BYTES, true).map_err(mapped)?;
    let head = map.head();
    if head.magic.load(Ordering::Relaxed) != MAGIC
        || head.protocol.load(Ordering::Relaxed) != PROTOCOL
        || head.slots.load(Ordering::Relaxed) != geometry.slots()
        || head.slot_bytes.load(Ordering::Relaxed) != geometry.slot_bytes()
        || head.generation.load(Ordering::Relaxed) != welcome.generation
    {
        return Err(ConnectError::Unsafe("its head contradicts the handshake"));
    }
    Ok(Attachment {
        map,
        geometry,
        control,
        leases: LeaseTable::new(welcome.granted),
        socket,
    })
}
