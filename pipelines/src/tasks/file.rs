//! A camera's folder of media: names, files that appear only when they are complete, and what a killed run left behind.
//!
//! A file is written under a hidden temporary name (`.NAME.part`) in the folder it belongs to, synced, and renamed, never
//! over another one. While it is written its descriptor holds a lock (`flock`), which ends with the process however it
//! ends: so a later run can tell what is left over from what is at work.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};
use watchpost_mp4::scan;

pub use super::name::{MediaName, media_type};
use super::name::{numbered, since_epoch};
use super::still;
use super::task::MediaFile;

/// Folder of small JPEGs inside a camera's folder.
const THUMBNAILS: &str = ".thumbnails";
/// Files of one millisecond, task and number that get a name.
const SAME_NAMES: u32 = 1000;

/// A file or folder that could not be worked on: which, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {cause}{}", hint(cause))]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    #[source]
    cause: io::Error,
}

impl FileError {
    pub(crate) fn new(action: &'static str, path: &Path, cause: io::Error) -> Self {
        Self {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// Whether the disk, or the share of it that may be used, is full.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self.cause.kind(), StorageFull | QuotaExceeded)
    }
}

/// What to do about it.
fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; make room on this disk, or keep media for a shorter time"
        }
        io::ErrorKind::PermissionDenied => {
            "; give the user Watchpost runs as the right to write there"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the disk is mounted read-only: mount it for writing, or set another data_dir"
        }
        _ => "",
    }
}

/// A camera's folder of media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFolder {
    root: Arc<Path>,
}

impl MediaFolder {
    /// `data_dir/media/CAMERA`; folders are made when the first file is.
    pub fn new(data_dir: &Path, camera: &str) -> Self {
        Self {
            root: data_dir.join("media").join(camera).into(),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Begins a file.
    pub fn create(&self, name: &MediaName) -> Result<PartFile, FileError> {
        let (folder, stem) = name.parts();
        self.create_in(&folder, &stem, &name.extension)
    }

    /// Begins the file that belongs to a finished one: its thumbnail, or its description.
    fn beside(&self, folder: &str, of: &str, extension: &str) -> Result<PartFile, FileError> {
        let (day, file) = of.rsplit_once('/').unwrap_or(("", of));
        let folder = Path::new(folder).join(day);
        self.create_in(&folder.to_string_lossy(), file, extension)
    }

    /// Writes the thumbnail of the file with this name; returns the thumbnail's.
    pub fn thumbnail(&self, of: &str, jpeg: &[u8]) -> Result<String, FileError> {
        let part = self.beside(THUMBNAILS, of, "jpg")?;
        part.write_all(jpeg)?;
        part.finish().map(|finished| finished.name)
    }

    /// Writes the description of the file with this name beside it, as `NAME.json`.
    pub fn description(&self, of: &str, text: &[u8]) -> Result<(), FileError> {
        let part = self.beside("", of, "json")?;
        part.write_all(text)?;
        part.finish().map(|_| ())
    }

    fn create_in(&self, folder: &str, stem: &str, extension: &str) -> Result<PartFile, FileError> {
        let folder_path = self.root.join(folder);
        // Other users of the machine do not see pictures.
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder_path)
            .map_err(|cause| FileError::new("make folder", &folder_path, cause))?;
        for number in 0..SAME_NAMES {
            let name = numbered(stem, number, extension);
            let part = folder_path.join(format!(".{name}.part"));
            if folder_path.join(&name).exists() {
                continue;
            }
            match OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&part)
            {
                Ok(file) => {
                    // Somebody who tidies up may have been faster than the lock; then the name is free again.
                    let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
                    if locked && part.exists() {
                        return Ok(PartFile {
                            file,
                            folder: folder.to_owned(),
                            folder_path,
                            stem: stem.to_owned(),
                            extension: extension.to_owned(),
                            number,
                            part,
                            finished: false,
                        });
                    }
                }
                Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(FileError::new("make", &part, cause)),
            }
        }
        let path = folder_path.join(numbered(stem, 0, extension));
        Err(FileError::new(
            "make",
            &path,
            io::ErrorKind::AlreadyExists.into(),
        ))
    }

    /// What a run that was killed left in the folder: recordings that play up to the kill get their name and are
    /// returned, everything else that is unfinished is removed. Files that are being written stay as they are. What
    /// could not be done is in the second list.
    pub fn adopt(&self) -> (Vec<MediaFile>, Vec<String>) {
        let mut adopted = Vec::new();
        let mut problems = Vec::new();
        for folder in folders(&self.root)
            .into_iter()
            .chain(folders(&self.root.join(THUMBNAILS)))
        {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let file_name = entry.file_name();
                let Some(name) = file_name
                    .to_str()
                    .and_then(|name| name.strip_prefix('.')?.strip_suffix(".part"))
                else {
                    continue;
                };
                match adopt_file(&self.root, &folder, &entry.path(), name) {
                    Ok(file) => adopted.extend(file),
                    Err(error) => problems.push(error.to_string()),
                }
            }
        }
        adopted.sort_by(|a, b| a.time.total_cmp(&b.time));
        (adopted, problems)
    }

    /// As [`Self::adopt`], with thumbnails. GStreamer must be initialised.
    pub fn adopt_with_thumbnails(&self) -> (Vec<MediaFile>, Vec<String>) {
        let (mut adopted, mut problems) = self.adopt();
        for file in &mut adopted {
            let path = self.root.join(&file.name);
            let made = still::thumbnail_of_film(&path, file.width, file.height);
            let written = made.and_then(|jpeg| {
                let written = self.thumbnail(&file.name, &jpeg.bytes);
                written.map_err(|error| error.to_string())
            });
            match written {
                Ok(name) => file.thumbnail = Some(name),
                Err(reason) => problems.push(format!("thumbnail of {}: {reason}", file.name)),
            }
        }
        (adopted, problems)
    }
}

/// The folders of days in `root`.
fn folders(root: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(root).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .filter(|path| !path.ends_with(THUMBNAILS))
        .collect()
}

fn adopt_file(
    root: &Path,
    folder: &Path,
    part: &Path,
    name: &str,
) -> Result<Option<MediaFile>, FileError> {
    let open = OpenOptions::new().read(true).write(true).open(part);
    let file = match open {
        Ok(file) => file,
        // It got its name in this moment.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(FileError::new("open", part, cause)),
    };
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() || !part.exists() {
        return Ok(None);
    }
    let day = folder.file_name().unwrap_or_default().to_string_lossy();
    let parsed = MediaName::parse(&day, name).filter(|name| name.extension == "mp4");
    let scan = scan(&file).map_err(|cause| FileError::new("read", part, cause))?;
    let video = scan.and_then(|scan| Some((scan.complete, scan.video()?)));
    let (Some(parsed), Some((complete, video))) = (parsed, video) else {
        fs::remove_file(part).map_err(|cause| FileError::new("remove", part, cause))?;
        return Ok(None);
    };
    file.set_len(complete)
        .map_err(|cause| FileError::new("cut", part, cause))?;
    let relative = folder.strip_prefix(root).unwrap_or(folder);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, "mp4"));
    let finished = PartFile {
        file,
        folder: relative.to_string_lossy().into_owned(),
        folder_path: folder.to_owned(),
        stem: stem.to_owned(),
        extension: extension.to_owned(),
        number: 0,
        part: part.to_owned(),
        finished: false,
    }
    .finish()?;
    Ok(Some(MediaFile {
        task: parsed.task,
        name: finished.name,
        media_type: media_type(&parsed.extension).into(),
        time: since_epoch(parsed.time).as_secs_f64(),
        duration: Some(video.duration.as_secs_f64()),
        bytes: finished.bytes,
        width: video.width,
        height: video.height,
        thumbnail: None,
        series: parsed.series,
        camera_config: serde_json::Value::Null,
    }))
}

/// A file that is being written. Dropped before it is finished, it is removed.
pub struct PartFile {
    file: File,
    folder: String,
    folder_path: PathBuf,
    stem: String,
    extension: String,
    number: u32,
    part: PathBuf,
    finished: bool,
}

/// A file under its final name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Relative to the camera's folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

impl fmt::Debug for PartFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PartFile").field(&self.part).finish()
    }
}

impl PartFile {
    /// The file itself, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where it is as long as it is not finished.
    pub fn path(&self) -> &Path {
        &self.part
    }

    /// Appends.
    pub fn write_all(&self, bytes: &[u8]) -> Result<(), FileError> {
        io::Write::write_all(&mut &self.file, bytes).map_err(|cause| self.error("write", cause))
    }

    pub(crate) fn error(&self, action: &'static str, cause: io::Error) -> FileError {
        FileError::new(action, &self.part, cause)
    }

    /// Syncs it and gives it its name.
    pub fn finish(mut self) -> Result<Finished, FileError> {
        self.file
            .sync_all()
            .map_err(|cause| self.error("sync", cause))?;
        let bytes = self
            .file
            .metadata()
            .map_err(|cause| self.error("read", cause))?
            .len();
        let name = self.rename()?;
        self.finished = true;
        File::open(&self.folder_path)
            .and_then(|folder| folder.sync_all())
            .map_err(|cause| FileError::new("sync", &self.folder_path, cause))?;
        let name = match self.folder.as_str() {
            "" => name,
            folder => format!("{folder}/{name}"),
        };
        Ok(Finished { name, bytes })
    }

    fn rename(&self) -> Result<String, FileError> {
        let mut cause = io::Error::from(io::ErrorKind::AlreadyExists);
        for number in self.number..SAME_NAMES {
            let name = numbered(&self.stem, number, &self.extension);
            match rename_new(&self.part, &self.folder_path.join(&name)) {
                Ok(()) => return Ok(name),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    cause = error;
                    break;
                }
            }
        }
        Err(self.error("rename", cause))
    }
}

/// Renames, but never over another file.
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::CWD;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network file systems cannot do it at once.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
            if to.exists() {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            fs::rename(from, to)
        }
        result => result.map_err(io::Error::from),
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests;
