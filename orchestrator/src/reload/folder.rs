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
    /// Watches the folder this file is in; where it is a link, that of the file itself too.
    pub fn of_file(file: &Path) -> Self {
        let mut folders = vec![folder_of(file)];
        folders.extend(
            std::fs::canonicalize(file)
                .ok()
                .map(|file| folder_of(&file)),
        );
        let events = watch(&folders)
            .inspect_err(|error| {
                tracing::warn!("{} cannot be watched: {error}", folders[0].display());
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

fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// One and the same folder named twice is watched once.
fn watch(folders: &[PathBuf]) -> std::io::Result<Receiver> {
    let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
    let flags = WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::ATTRIB;
    for folder in folders {
        inotify::add_watch(&events, folder, flags)?;
    }
    // Read like a pipe: the descriptor becomes readable, and bytes come.
    Receiver::from_owned_fd_unchecked(events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn the_file_behind_a_link_is_watched_too() {
        let (links, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (link, file) = (links.path().join("w.yaml"), files.path().join("w.yaml"));
        std::fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let mut watch = FolderWatch::of_file(&link);
        for changed in [&file, &links.path().join("other")] {
            std::fs::write(changed, "new").unwrap();
            timeout(Duration::from_secs(20), watch.changed())
                .await
                .expect("it is told");
        }
    }
}
