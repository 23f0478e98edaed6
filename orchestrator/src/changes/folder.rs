//! Tells when something happens in the folder of a file.
//!
//! The folder and not the file: editors and configuration management replace files, and in a mounted volume the file is a link
//! into a folder that is swapped.

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use std::path::{Path, PathBuf};
use tokio::net::unix::pipe::Receiver;

/// The watch of a folder. Where it cannot be had it never tells anything, and the owner has to look by itself.
#[derive(Debug)]
pub struct FolderWatch {
    events: Option<Receiver>,
}

impl FolderWatch {
    /// Watches the folder this file is in.
    pub fn of_file(file: &Path) -> Self {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let events = watch(&folder)
            .inspect_err(|error| {
                tracing::warn!("{} cannot be watched: {error}", folder.display());
            })
            .ok();
        Self { events }
    }

    /// Returns after something happened.
    pub async fn changed(&mut self) {
        let Some(events) = &self.events else {
            return std::future::pending().await;
        };
        if events.readable().await.is_err() {
            return std::future::pending().await;
        }
        // Which file it was does not matter: the content is compared.
        let mut events_read = [0; 4096];
        while events
            .try_read(&mut events_read)
            .is_ok_and(|count| count > 0)
        {}
    }
}

fn watch(folder: &Path) -> std::io::Result<Receiver> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB;
    inotify::add_watch(&events, folder, flags)?;
    // Read like a pipe: the descriptor becomes readable, and bytes come.
    Receiver::from_owned_fd_unchecked(events)
}
