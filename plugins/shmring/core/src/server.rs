//! The writer's handshake thread: lets readers in, and notices when they are gone. Frames never wait for it.

use crate::generation::control_page;
use crate::layout::MAX_READERS;
use crate::producer::Link;
use crate::socket::{self, Listener};
use crate::wire::{self, Hello, WireError};
use crate::writer::{Core, Peer};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use zerocopy::IntoBytes;

/// Connections that have not said what they want, at most; the oldest goes when one more comes.
const MAX_PENDING: usize = 64;
/// Monitors of one ring, at most.
const MAX_MONITORS: usize = 16;
/// Time to say what one wants.
const HANDSHAKE: Duration = Duration::from_secs(2);

/// The running thread.
pub(crate) struct Server {
    stop: Arc<OwnedFd>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Ends the thread and removes the socket.
    pub(crate) fn stop(&mut self) {
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Decides about the connections of a ring. Called by the server's thread only.
pub(crate) trait Service: Send + Sync + 'static {
    /// Answers the first message of a connection. Whether it stays.
    fn greet(&self, id: u64, socket: &Arc<OwnedFd>, hello: &[u8]) -> bool;
    /// A connection that stays has something to receive, or has closed. Whether it stays.
    fn receive(&self, _id: u64, _socket: &OwnedFd) -> bool {
        false
    }
    /// A connection that stayed is gone.
    fn disconnect(&self, id: u64);
    /// So many connections ended without a greeting.
    fn misbehaved(&self, count: u64);
}

pub(crate) fn start<S: Service>(listener: Listener, service: Arc<S>) -> io::Result<Server> {
    let stop = Arc::new(rustix::event::eventfd(
        0,
        rustix::event::EventfdFlags::CLOEXEC,
    )?);
    let mut work = Work {
        listener,
        service,
        stop: stop.clone(),
        pending: Vec::new(),
        connected: Vec::new(),
        next_id: 1,
        accept_paused: None,
    };
    let thread = std::thread::Builder::new()
        .name("shmring".into())
        .spawn(move || work.run())?;
    Ok(Server {
        stop,
        thread: Some(thread),
    })
}

struct Work<S> {
    listener: Listener,
    service: Arc<S>,
    stop: Arc<OwnedFd>,
    pending: Vec<(OwnedFd, Instant)>,
    connected: Vec<(u64, Arc<OwnedFd>)>,
    next_id: u64,
    /// Set while the process is out of descriptors: a listener that stays readable must not spin.
    accept_paused: Option<Instant>,
}

impl<S: Service> Work<S> {
    fn run(&mut self) {
        loop {
            let (stop, accept, greeted, spoke) = self.wait();
            if stop {
                return;
            }
            // Those that are gone first, so that their leases and places are free for those that come.
            for id in spoke {
                let socket = self.connected.iter().find(|(other, _)| *other == id);
                if socket.is_some_and(|(_, socket)| !self.service.receive(id, socket)) {
                    self.connected.retain(|(other, _)| *other != id);
                    self.service.disconnect(id);
                }
            }
            for index in greeted.into_iter().rev() {
                let (socket, _) = self.pending.remove(index);
                self.greet(socket);
            }
            let now = Instant::now();
            let before = self.pending.len();
            self.pending.retain(|(_, deadline)| now < *deadline);
            let ended = before - self.pending.len();
            if ended > 0 {
                self.service.misbehaved(ended as u64);
            }
            if accept {
                self.accept();
            }
        }
    }

    /// Waits for something to do: to stop, to accept, pending connections (by index) that spoke, connected ones (by
    /// id) that closed or said what they should not.
    fn wait(&mut self) -> (bool, bool, Vec<usize>, Vec<u64>) {
        let now = Instant::now();
        if self.accept_paused.is_some_and(|until| until <= now) {
            self.accept_paused = None;
        }
        let until = self
            .pending
            .iter()
            .map(|(_, deadline)| *deadline)
            .chain(self.accept_paused)
            .min();
        let limit = until.map(|until| {
            let limit = until.saturating_duration_since(now) + Duration::from_millis(1);
            Timespec {
                tv_sec: limit.as_secs() as i64,
                tv_nsec: limit.subsec_nanos().into(),
            }
        });
        let accept_events = match self.accept_paused {
            None => PollFlags::IN,
            Some(_) => PollFlags::empty(),
        };
        let mut fds = vec![
            PollFd::new(&*self.stop, PollFlags::IN),
            PollFd::new(&self.listener.fd, accept_events),
        ];
        fds.extend(
            self.pending
                .iter()
                .map(|(socket, _)| PollFd::new(socket, PollFlags::IN)),
        );
        fds.extend(
            self.connected
                .iter()
                .map(|(_, socket)| PollFd::new(&**socket, PollFlags::IN)),
        );
        if rustix::event::poll(&mut fds, limit.as_ref()).is_err() {
            return (false, false, Vec::new(), Vec::new()); // interrupted
        }
        let hit = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let (pending, connected) = fds[2..].split_at(self.pending.len());
        let greeted = (0..pending.len()).filter(|at| hit(&pending[*at])).collect();
        let spoke = self
            .connected
            .iter()
            .zip(connected)
            .filter(|(_, fd)| hit(fd))
            .map(|((id, _), _)| *id)
            .collect();
        (hit(&fds[0]), hit(&fds[1]), greeted, spoke)
    }

    fn accept(&mut self) {
        // Bounded, so that a flood of connections does not keep those that are connected from being noticed.
        for _ in 0..MAX_PENDING {
            let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&self.listener.fd, flags) {
                Ok(socket) => {
                    if self.pending.len() == MAX_PENDING {
                        self.pending.remove(0);
                        self.service.misbehaved(1);
                    }
                    self.pending.push((socket, Instant::now() + HANDSHAKE));
                }
                Err(Errno::AGAIN) => return,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(_) => {
                    self.accept_paused = Some(Instant::now() + Duration::from_millis(200));
                    return;
                }
            }
        }
    }

    fn greet(&mut self, socket: OwnedFd) {
        let mut buffer = [0; 256];
        let (len, _) = match socket::receive(socket.as_fd(), &mut buffer) {
            Ok(got) => got,
            Err(Errno::AGAIN | Errno::INTR) => {
                self.pending.push((socket, Instant::now() + HANDSHAKE));
                return;
            }
            Err(_) => return,
        };
        if len == 0 {
            self.service.misbehaved(1);
            return;
        }
        let socket = Arc::new(socket);
        let id = self.next_id;
        self.next_id += 1;
        if self
            .service
            .greet(id, &socket, &buffer[..len.min(buffer.len())])
        {
            self.connected.push((id, socket));
        }
    }
}

impl Service for Core {
    fn greet(&self, id: u64, socket: &Arc<OwnedFd>, hello: &[u8]) -> bool {
        let status = match wire::parse_hello(hello) {
            Ok(hello) => self.admit(id, socket, &hello),
            Err(WireError::Version { .. }) => Err(wire::REFUSED_VERSION),
            Err(_) => Err(wire::REFUSED_GREETING),
        };
        match status {
            Ok(stays) => stays,
            Err(status) => {
                let mut inner = self.lock();
                inner.stats.refused += 1;
                let welcome = inner.welcome(self.instance, status, 0);
                drop(inner);
                let _ = socket::send(socket.as_fd(), welcome.as_bytes(), &[]);
                false
            }
        }
    }

    fn disconnect(&self, id: u64) {
        let mut inner = self.lock();
        if let Some(index) = inner.peers.iter().position(|peer| peer.id == id) {
            inner.peers.remove(index);
            inner.links.remove(index);
        }
        inner.monitors.retain(|monitor| monitor.id != id);
        inner.note_readers();
    }

    fn misbehaved(&self, count: u64) {
        self.lock().stats.misbehaved += count;
    }
}

impl Core {
    /// Lets a reader or monitor in, or says why not. Whether it could be reached.
    fn admit(&self, id: u64, socket: &Arc<OwnedFd>, hello: &Hello) -> Result<bool, u32> {
        let pid = rustix::net::sockopt::socket_peercred(socket)
            .map_or(0, |peer| peer.pid.as_raw_nonzero().get());
        let peer = Peer {
            id,
            pid,
            copies: hello.flags & wire::TAKES_COPIES != 0,
            socket: socket.clone(),
        };
        // Made before the lock is taken: publishing must not wait for a memfd.
        let page = (hello.role == wire::ROLE_READER).then(control_page);
        let mut guard = self.lock();
        let inner = &mut *guard;
        if hello.role == wire::ROLE_MONITOR {
            if inner.monitors.len() == MAX_MONITORS {
                return Err(wire::REFUSED_READERS);
            }
            let welcome = inner.welcome(self.instance, wire::ACCEPTED, 0);
            let fds = [inner.generation.fd.as_fd()];
            let sent = socket::send(socket.as_fd(), welcome.as_bytes(), &fds).is_ok();
            if sent {
                inner.monitors.push(peer);
                inner.stats.accepted += 1;
            }
            return Ok(sent);
        }
        if inner.links.len() == MAX_READERS {
            return Err(wire::REFUSED_READERS);
        }
        let wanted = match hello.leases {
            0 => self.max_lease,
            leases => leases.min(self.max_lease),
        };
        let granted = inner.producer.grant(&inner.links, wanted);
        let copies = hello.flags & wire::TAKES_COPIES != 0;
        if granted == 0 && !copies {
            return Err(wire::REFUSED_FULL);
        }
        let Some(Ok((fd, control))) = page else {
            return Err(wire::REFUSED_FULL);
        };
        let map = &inner.generation.map;
        let beginning = inner.producer.beginning(map.view(map.geometry()));
        control.entitle(granted, beginning);
        let slots = map.geometry().slots();
        inner.links.push(Link {
            control,
            granted,
            history: hello.history.min(slots - 2),
        });
        inner.peers.push(peer);
        let welcome = inner.welcome(self.instance, wire::ACCEPTED, granted);
        let fds = [inner.generation.fd.as_fd(), fd.as_fd()];
        if socket::send(socket.as_fd(), welcome.as_bytes(), &fds).is_err() {
            inner.links.pop();
            inner.peers.pop();
            return Ok(false);
        }
        inner.stats.accepted += 1;
        inner.note_readers();
        Ok(true)
    }
}
