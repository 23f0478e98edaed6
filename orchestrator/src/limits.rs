//! What the system allows a process: open files, and processes with their threads.

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::error::Error;
use std::io;

/// Allows this process and its workers as many open files as the system does. The usual soft limit is a low one for
/// programs that use `select`, which nothing here does; each camera takes five descriptors of the supervisor.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("cannot raise the limit of open files (`ulimit -n`): {error}");
    }
}

const THREADS: &str = "; raise the limit of processes and threads (`ulimit -u`, TasksMax of systemd, pids limit of a container)";

/// What to do about an error that has a limit of the system behind it; to be put after the error's own words.
pub fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let code = anyhow::Chain::new(error)
        .find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error());
    match code.map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            "; raise the limit of open files (`ulimit -n`, LimitNOFILE of systemd)"
        }
        Some(Errno::AGAIN) => THREADS,
        _ => "",
    }
}

/// The same for what a worker or a library says in words: GStreamer, Rust and shmring each have their own.
pub fn advice_on(words: &str) -> &'static str {
    // Only where it is about a thread: sockets and devices that have nothing yet say the same.
    if words.contains("thread") && words.contains("Resource temporarily unavailable") {
        THREADS
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shmring_core::ConnectError;

    #[test]
    fn errors_of_limits_say_which_limit() {
        assert!(advice(&io::Error::from(Errno::AGAIN)).contains("TasksMax"));
        assert_eq!(advice(&io::Error::from(Errno::NOENT)), "");
        for line in [
            "(wp:1): GStreamer-WARNING **: failed to create thread: Error creating thread: Resource temporarily unavailable",
            "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }",
            "cannot start the handshake thread: Resource temporarily unavailable (os error 11)",
        ] {
            assert_eq!(advice_on(line), THREADS);
        }
        assert_eq!(advice_on("recv: Resource temporarily unavailable"), "");
        // Also as the cause of another error.
        let error = ConnectError::System {
            what: "make an eventfd",
            source: Errno::MFILE.into(),
        };
        assert!(advice(&error).contains("LimitNOFILE"));
    }
}
