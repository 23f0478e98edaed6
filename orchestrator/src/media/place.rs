//! The folder of media, and files in it by name: every step of the way is opened without following links, so that no name
//! and no link leads out.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat};

use crate::config::name_problem;

/// Folder of small JPEGs inside a camera's folder: the one hidden folder whose files are handed out.
const THUMBNAILS: &str = ".thumbnails";
/// A camera's thumbnails lie deepest: `.thumbnails/DAY/NAME`.
const DEEPEST: usize = 3;

/// `data_dir/media`. It may be a link itself: where media are is the administrator's choice.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
}

impl Place {
    /// A folder that need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a file of a camera's folder for reading.
    pub fn open(&self, folder: &str, name: &str) -> io::Result<File> {
        let (within, file) = self.way(folder, name)?;
        // Not blocking: a pipe somebody put there must not hold a request up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&within, file, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no file"));
        }
        Ok(file)
    }

    /// Removes a file; one that is not there is removed.
    pub fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        let removed = self
            .way(folder, name)
            .and_then(|(within, file)| Ok(unlinkat(&within, file, AtFlags::empty())?));
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    /// Removes the folder a file was in, if nothing else is there.
    pub fn remove_empty_folder_of(&self, folder: &str, name: &str) {
        let Some((day, _)) = name.rsplit_once('/') else {
            return;
        };
        if let Ok((within, day)) = self.way(folder, day) {
            let _ = unlinkat(&within, day, AtFlags::REMOVEDIR);
        }
    }

    /// Bytes of a file.
    pub fn size(&self, folder: &str, name: &str) -> io::Result<u64> {
        Ok(self.open(folder, name)?.metadata()?.len())
    }

    /// Bytes that are free on its disk.
    pub fn free(&self) -> Option<u64> {
        let existing = self.root.ancestors().find(|path| path.exists())?;
        let disk = rustix::fs::statvfs(existing).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Opens the folder a file is in, step by step, and answers with the rest of its name.
    fn way<'a>(&self, folder: &str, name: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "is no name of a media file");
        if name_problem(folder).is_some() {
            return Err(wrong());
        }
        let steps: Vec<&str> = name.split('/').collect();
        let (file, days) = steps.split_last().ok_or_else(wrong)?;
        let hidden_days = days
            .iter()
            .any(|day| day.starts_with('.') && *day != THUMBNAILS);
        let bad_step = steps.iter().any(|s| s.is_empty() || s.contains('\0'));
        if steps.len() > DEEPEST || hidden_days || bad_step || file.starts_with('.') {
            return Err(wrong());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut within = openat(CWD, &self.root, flags, Mode::empty())?;
        for step in std::iter::once(&folder).chain(days) {
            within = openat(&within, *step, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok((within, file))
    }
}

/// Names in a folder, with whether each is a folder itself; links are neither.
pub fn entries(folder: &Path) -> impl Iterator<Item = (OsString, bool)> + use<> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let kind = entry.file_type().ok()?;
        (kind.is_dir() || kind.is_file()).then(|| (entry.file_name(), kind.is_dir()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::symlink;

    #[test]
    fn nothing_outside_the_folder_is_opened_or_removed() {
        let data = tempfile::tempdir().unwrap();
        let secret = data.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        let media = data.path().join("media");
        let day = media.join("front/2026-01-01");
        std::fs::create_dir_all(&day).unwrap();
        std::fs::write(day.join("a.jpg"), "picture").unwrap();
        std::fs::write(day.join(".b.jpg.part"), "half").unwrap();
        symlink(&secret, day.join("link.jpg")).unwrap();
        symlink(data.path(), media.join("front/out")).unwrap();
        symlink(data.path(), media.join("away")).unwrap();
        std::fs::create_dir(day.join("folder.jpg")).unwrap();
        rustix::fs::mknodat(
            CWD,
            day.join("pipe.jpg"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let place = Place::new(media);
        let mut text = String::new();
        let mut file = place.open("front", "2026-01-01/a.jpg").unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "picture");
        for (folder, name) in [
            ("front", "2026-01-01/link.jpg"),
            ("front", "2026-01-01/../../../secret"),
            ("front", "../../secret"),
            ("front", "out/secret"),
            ("front", "/etc/hostname"),
            ("front", "2026-01-01//a.jpg"),
            ("front", "2026-01-01/.b.jpg.part"),
            ("front", "2026-01-01/folder.jpg"),
            ("front", "2026-01-01/pipe.jpg"),
            ("front", "2026-01-01"),
            ("front", ""),
            ("front", "."),
            ("front", "a\0b"),
            ("away", "secret"),
            ("..", "secret"),
            ("", "secret"),
            (".", "secret"),
            ("front/2026-01-01", "a.jpg"),
        ] {
            assert!(place.open(folder, name).is_err(), "{folder} {name}");
            let _ = place.remove(folder, name);
        }
        assert!(secret.exists(), "removing does not lead out either");
        assert!(day.join(".b.jpg.part").exists());
        assert!(day.join("a.jpg").exists());
        place.remove("front", "2026-01-01/a.jpg").unwrap();
        place.remove("front", "2026-01-01/a.jpg").unwrap();
        assert!(!day.join("a.jpg").exists());
    }
}
