//! Unix SEQPACKET sockets: binding without racing another writer, and passing descriptors.

use crate::error::CreateError;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The end of the name under which a socket is made before it is moved into place.
const FRESH: &str = ".new";
/// Longest path of a ring's socket, in bytes: an address has 108 with its final zero, and the socket is made under a
/// longer name first.
pub const MAX_SOCKET_PATH: usize = 108 - 1 - FRESH.len();

/// A listening socket at a path, removed when dropped if it is still the one at that path.
pub(crate) struct Listener {
    pub(crate) fd: OwnedFd,
    path: PathBuf,
    identity: (u64, u64),
}

fn new_socket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )
}

/// Connects, or says why not. `AGAIN` means the writer's queue of connections is full for the moment.
pub(crate) fn connect(path: &Path) -> rustix::io::Result<OwnedFd> {
    let address = SocketAddrUnix::new(path)?;
    let socket = new_socket()?;
    rustix::net::connect(&socket, &address)?;
    Ok(socket)
}

impl Listener {
    /// Listens at `path` with this mode and group. A socket left there by a writer that is gone is replaced; one that
    /// somebody listens on is not.
    pub(crate) fn bind(path: &Path, mode: u32, group: Option<u32>) -> Result<Self, CreateError> {
        let failed = |what| {
            move |source: Errno| CreateError::Socket {
                what,
                path: path.to_path_buf(),
                source: source.into(),
            }
        };
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Two writers that start at once must not both find a stale socket and one remove the other's new one: what
        // follows happens under a lock on the directory, which leaves no file behind.
        let lock = rustix::fs::open(
            directory,
            rustix::fs::OFlags::RDONLY
                | rustix::fs::OFlags::DIRECTORY
                | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(failed("open the directory of"))?;
        lock_directory(lock.as_fd()).map_err(failed("lock the directory of"))?;

        match rustix::fs::lstat(path) {
            Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("look at")(error)),
            Ok(stat) if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_socket() => {
                return Err(CreateError::NotASocket(path.to_path_buf()));
            }
            Ok(_) => match connect(path) {
                Err(Errno::CONNREFUSED | Errno::NOENT) => {}
                // Connected, or its queue is full: somebody is there. A socket of another type, too.
                _ => return Err(CreateError::InUse(path.to_path_buf())),
            },
        }
        // Made under another name and moved into place when it listens with the right mode: nobody ever sees a socket
        // that is not ready or that is open to too many.
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(FRESH);
        let fresh = PathBuf::from(fresh);
        let _ = rustix::fs::unlink(&fresh);
        let address = SocketAddrUnix::new(&fresh)
            .map_err(failed("bind (a socket path has at most 103 bytes)"))?;
        const { assert!(MAX_SOCKET_PATH == 103, "as the message says") };
        let fd = new_socket().map_err(failed("make"))?;
        rustix::net::bind(&fd, &address).map_err(failed("bind"))?;
        let place = || -> Result<(u64, u64), (&'static str, Errno)> {
            let mode = rustix::fs::Mode::from_raw_mode(mode);
            rustix::fs::chmod(&fresh, mode).map_err(|error| ("set the mode of", error))?;
            if let Some(group) = group {
                let group = rustix::fs::Gid::from_raw(group);
                rustix::fs::chown(&fresh, None, Some(group))
                    .map_err(|error| ("set the group of", error))?;
            }
            rustix::net::listen(&fd, 128).map_err(|error| ("listen on", error))?;
            let stat = rustix::fs::lstat(&fresh).map_err(|error| ("look at", error))?;
            rustix::fs::rename(&fresh, path).map_err(|error| ("move into place", error))?;
            Ok((stat.st_dev, stat.st_ino))
        };
        let identity = place().map_err(|(what, error)| {
            let _ = rustix::fs::unlink(&fresh);
            failed(what)(error)
        })?;
        Ok(Self {
            fd,
            path: path.to_path_buf(),
            identity,
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Ok(stat) = rustix::fs::lstat(&self.path)
            && (stat.st_dev, stat.st_ino) == self.identity
        {
            let _ = rustix::fs::unlink(&self.path);
        }
    }
}

/// A lock held by a stopped process must not hang this one for good.
fn lock_directory(directory: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match rustix::fs::flock(
            directory,
            rustix::fs::FlockOperation::NonBlockingLockExclusive,
        ) {
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            // A file system without locks: two writers at one moment are then the user's business.
            Err(Errno::NOSYS | Errno::OPNOTSUPP) => return Ok(()),
            other => return other,
        }
    }
}

/// Sends one message with descriptors, without waiting.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).map(drop)
}

/// Receives one message with up to two descriptors, without waiting. Length 0 means that the other side is gone.
///
/// Descriptors that this process has no room for are left out by the kernel, which is told as `MFILE`.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if fds.len() < 2 && got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MFILE);
    }
    Ok((got.bytes, fds))
}

/// Whether the other side has closed.
pub(crate) fn is_hung_up(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::RDHUP)];
    matches!(
        rustix::event::poll(&mut fds, Some(&Timespec::default())),
        Ok(1..)
    ) && fds[0]
        .revents()
        .intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR)
}

/// Waits until one of the descriptors is readable or closed, or the limit passes.
pub(crate) fn wait_readable(fds: &[BorrowedFd<'_>], limit: Duration) {
    let mut fds: Vec<_> = fds
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    let limit = Timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    let _ = rustix::event::poll(&mut fds, Some(&limit));
}

/// The group of this name in /etc/group.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    if let Ok(id) = name.parse() {
        return Ok(Some(id));
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    Ok(groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    }))
}
