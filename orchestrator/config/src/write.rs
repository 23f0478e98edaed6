//! The file replaced so that at any moment it is whole: the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a file cannot be replaced. The change has to be refused before anything of it is applied.
#[derive(Debug, thiserror::Error)]
#[error("{path} cannot be written: {error}")]
pub struct WriteError {
    /// The file.
    pub path: String,
    /// What the system says.
    pub error: io::Error,
}

/// How a file was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// By a new file that took its place.
    Replaced,
    /// In place, because the file itself is a mount point; what it was before is in this copy.
    InPlace(PathBuf),
}

/// Writes a text where a file stands (a link is followed).
pub fn replace(path: &Path, text: &str) -> Result<Written, WriteError> {
    let failed = |error| WriteError {
        path: path.display().to_string(),
        error,
    };
    let target = fs::canonicalize(path).map_err(failed)?;
    match by_rename(&target, text) {
        // EBUSY: a mount point cannot be renamed over. EXDEV: the folder lies on another file system than the file.
        Err(error)
            if matches!(
                error
                    .raw_os_error()
                    .map(rustix::io::Errno::from_raw_os_error),
                Some(rustix::io::Errno::BUSY | rustix::io::Errno::XDEV)
            ) =>
        {
            in_place(&target, text)
                .map(Written::InPlace)
                .map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(()) => Ok(Written::Replaced),
    }
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    target.with_file_name(name)
}

fn by_rename(target: &Path, text: &str) -> io::Result<()> {
    let was = fs::metadata(target)?;
    // A file made read-only is not to be written, although its folder would allow it.
    OpenOptions::new().write(true).open(target)?;
    let new = beside(target, &format!(".new-{}", std::process::id()));
    let written = write_new(&new, text, &was).and_then(|()| fs::rename(&new, target));
    if written.is_err() {
        let _ = fs::remove_file(&new);
        return written;
    }
    let folder = target.parent().unwrap_or(Path::new("/"));
    File::open(folder)?.sync_all()
}

fn write_new(new: &Path, text: &str, was: &fs::Metadata) -> io::Result<()> {
    // The file may hold passwords: nobody else may read it while it is made.
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(new)?;
    file.write_all(text.as_bytes())?;
    // Without the right to give files away the new one belongs to us, as one written by an editor would.
    let _ = std::os::unix::fs::fchown(&file, Some(was.uid()), Some(was.gid()));
    file.set_permissions(fs::Permissions::from_mode(was.mode() & 0o7777))?;
    file.sync_all()
}

fn in_place(target: &Path, text: &str) -> io::Result<PathBuf> {
    let copy = beside(target, ".before");
    fs::copy(target, &copy)?;
    File::open(&copy)?.sync_all()?;
    let mut file = OpenOptions::new().write(true).truncate(true).open(target)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_keeps_its_rights_and_links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let link = folder.path().join("link.yaml");
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a.yaml", &link).unwrap();
        assert_eq!(replace(&link, "new").unwrap(), Written::Replaced);
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left behind"
        );
    }

    #[test]
    fn a_file_that_cannot_be_replaced_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let missing = replace(&folder.path().join("none.yaml"), "x").unwrap_err();
        assert!(
            missing.to_string().contains("none.yaml cannot be written"),
            "{missing}"
        );
        let is_folder = replace(folder.path(), "x").unwrap_err();
        assert!(
            is_folder.to_string().contains("cannot be written"),
            "{is_folder}"
        );
    }

    #[test]
    fn writing_in_place_leaves_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        fs::write(&file, "old and longer").unwrap();
        let copy = in_place(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::read_to_string(copy).unwrap(), "old and longer");
    }
}
