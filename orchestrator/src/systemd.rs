//! What systemd is told: ready, alive, stopping. Nothing where it did not start us.

use crate::supervisor::Handle;
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType};
use std::time::Duration;

/// The way to systemd, from its environment.
#[derive(Debug, Clone)]
pub struct Systemd {
    address: Option<SocketAddrUnix>,
    /// Time within which it wants to hear something.
    watchdog: Option<Duration>,
}

impl Systemd {
    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`.
    pub fn from_env() -> Self {
        Self::from(|name| std::env::var(name).ok(), std::process::id())
    }

    fn from(env: impl Fn(&str) -> Option<String>, pid: u32) -> Self {
        let address = env("NOTIFY_SOCKET").and_then(|path| match path.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()).ok(),
            None => SocketAddrUnix::new(path).ok(),
        });
        let for_us = env("WATCHDOG_PID").is_none_or(|p| p == pid.to_string());
        let watchdog = env("WATCHDOG_USEC")
            .filter(|_| for_us)
            .and_then(|usec| usec.parse().ok())
            .map(Duration::from_micros);
        Self { address, watchdog }
    }

    /// The cameras are being started and HTTP answers.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// Everything is being stopped.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Says that the supervisor lives for as long as it answers. When it hangs, systemd restarts the service.
    pub async fn keep_alive(self, supervisor: Handle) {
        let Some(limit) = self.watchdog.filter(|_| self.address.is_some()) else {
            return;
        };
        let mut tick = tokio::time::interval((limit / 3).max(Duration::from_millis(100)));
        loop {
            tick.tick().await;
            if supervisor.status().await.is_ok() {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, text: &str) {
        let Some(address) = &self.address else { return };
        let sent = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )
        .and_then(|socket| {
            rustix::net::sendto(&socket, text.as_bytes(), SendFlags::NOSIGNAL, address)
        });
        if let Err(error) = sent {
            tracing::debug!("systemd was not told {text}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Command;
    use std::os::unix::net::UnixDatagram;
    use std::time::Instant;
    use watchpost_api::Status;

    #[test]
    fn systemd_hears_what_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let env = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(path.display().to_string()),
            "WATCHDOG_USEC" => Some("3000000".into()),
            "WATCHDOG_PID" => Some("7".into()),
            _ => None,
        };
        let systemd = Systemd::from(env, 7);
        assert_eq!(systemd.watchdog, Some(Duration::from_secs(3)));
        systemd.ready();
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        assert_eq!(&text[..length], b"READY=1");
        // A watchdog that is meant for somebody else.
        assert_eq!(Systemd::from(env, 8).watchdog, None);
    }

    #[tokio::test]
    async fn systemd_hears_nothing_from_a_supervisor_that_hangs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let env = |name: &str| match name {
            "NOTIFY_SOCKET" => Some(path.display().to_string()),
            "WATCHDOG_USEC" => Some("300000".into()),
            _ => None,
        };
        let mut text = [0; 64];
        let mut hears = || socket.recv(&mut text).is_ok();
        let (supervisor, mut questions) = Handle::for_tests();
        let alive = tokio::spawn(Systemd::from(env, 7).keep_alive(supervisor));
        for _ in 0..3 {
            assert!(!hears(), "nobody has answered yet");
            let Some(Command::Status(reply)) = questions.recv().await else {
                panic!("it was not asked how it is");
            };
            let _ = reply.send(Status {
                version: String::new(),
                pid: 7,
                started: 0.0,
                config_error: None,
                cameras: Vec::new(),
                processes: Vec::new(),
            });
            let deadline = Instant::now() + Duration::from_secs(60);
            while !hears() {
                assert!(Instant::now() < deadline, "an answer was not passed on");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        // Asked again, and this time there is no answer.
        let unanswered = questions.recv().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert!(!hears());
        drop(unanswered);
        alive.abort();
    }

    #[test]
    fn without_systemd_nothing_happens() {
        let systemd = Systemd::from(|_| None, 1);
        systemd.ready();
        systemd.stopping();
    }
}
