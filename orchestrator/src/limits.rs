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

/// What to do about an error that has a limit of the system behind it; to be put after the error's own words.
pub fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let code = anyhow::Chain::new(error)
        .find_map(|error| error.downcast_ref::<io::Error>()?.raw_os_error());
    match code.map(Errno::from_raw_os_error) {
        Some(Errno::MFILE) => {
            "; raise the limit of open files (`ulimit -n`, LimitNOFILE of systemd)"
        }
        Some(Errno::AGAIN) => {
            "; raise the limit of processes and threads (`ulimit -u`, TasksMax of systemd, pids limit of a container)"
        }
        _ => "",
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
        // Also as the cause of another error.
        let error = ConnectError::System {
            what: "make an eventfd",
            source: Errno::MFILE.into(),
        };
        assert!(advice(&error).contains("LimitNOFILE"));
    }
}
