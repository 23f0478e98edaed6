//! A folder held by one `watchpost` at a time: a locked file in it with the holder's process id. The lock ends with the process,
//! however that ends.

use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

/// Why a folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// Somebody has it.
    #[error(
        "another watchpost (pid {0}) uses it; stop it, or give this one its own run_dir and data_dir"
    )]
    By(String),
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Takes the folder this file is in, or is to be in, for as long as the answer lives.
pub fn take(file: &Path) -> Result<File, NotTaken> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock =
        rustix::fs::open(file, flags, Mode::from_raw_mode(0o600)).map_err(io::Error::from)?;
    let mut lock = File::from(lock);
    // A file system that knows no locks is no reason to do nothing.
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
        == Err(rustix::io::Errno::WOULDBLOCK)
    {
        let mut pid = String::new();
        let _ = lock.read_to_string(&mut pid);
        return Err(NotTaken::By(pid.trim().to_owned()));
    }
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}
