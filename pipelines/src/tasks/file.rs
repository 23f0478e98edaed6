//! A camera's folder of media: names, files that appear only when they are complete, and what a killed run left behind.
//!
//! A file is written under a hidden temporary name (`.NAME.part`) in the folder it belongs to, synced, and renamed, never
//! over another one. While it is written its descriptor holds a lock (`flock`), which ends with the process however it
//! ends: so a later run can tell what is left over from what is at work.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, RenameFlags, flock, renameat_with};

use super::mp4;
use super::still;
use super::task::{MediaFile, Task};

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

/// What a file is called after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaName {
    /// When its (first) picture was taken.
    pub time: SystemTime,
    /// The task that makes it.
    pub task: Task,
    /// Name of the series and number in it.
    pub series: Option<(String, u64)>,
    /// Without the dot.
    pub extension: String,
}

impl MediaName {
    /// `(folder, name without extension)`: `2026-11-21` and `14-23-00.123-series-garden-000042`.
    fn parts(&self) -> (String, String) {
        let since = since_epoch(self.time);
        let (year, month, day) = date_of((since.as_secs() / 86_400) as i64);
        let second = since.as_secs() % 86_400;
        let mut stem = format!(
            "{:02}-{:02}-{:02}.{:03}-{}",
            second / 3600,
            second / 60 % 60,
            second % 60,
            since.subsec_millis(),
            self.task
        );
        if let Some((name, number)) = &self.series {
            stem.push_str(&format!("-{name}-{number:06}"));
        }
        (format!("{year:04}-{month:02}-{day:02}"), stem)
    }

    /// Reads the folder of a day and a name made by this type, whatever number was added to it.
    pub fn parse(folder: &str, name: &str) -> Option<Self> {
        let mut date = folder.splitn(3, '-').map(str::parse::<i64>);
        let mut next = || date.next()?.ok();
        let days = days_of(next()?, next()?, next()?)?;
        let (stem, extension) = name.rsplit_once('.')?;
        let clock = stem.get(..12)?.as_bytes();
        let digits = |range: std::ops::Range<usize>| -> Option<u64> {
            clock.get(range)?.iter().try_fold(0, |value, byte| {
                byte.is_ascii_digit()
                    .then(|| value * 10 + u64::from(byte - b'0'))
            })
        };
        let seconds = digits(0..2)? * 3600 + digits(3..5)? * 60 + digits(6..8)?;
        let millis = digits(9..12)?;
        let rest = stem.get(13..)?;
        let (task, series) = match rest.split_once('-') {
            None => (rest.split_once('~').map_or(rest, |(task, _)| task), None),
            Some((task, series)) => {
                let (name, number) = series.rsplit_once('-')?;
                let number = number.split_once('~').map_or(number, |(n, _)| n);
                (task, Some((name.to_owned(), number.parse().ok()?)))
            }
        };
        Some(Self {
            time: UNIX_EPOCH
                + Duration::from_secs(days * 86_400 + seconds)
                + Duration::from_millis(millis),
            task: task.parse().ok()?,
            series,
            extension: extension.to_owned(),
        })
    }
}

pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
pub(crate) fn date_of(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that the leap day is the last one.
    let from_0000_03 = days + 719_468;
    let era = from_0000_03.div_euclid(146_097);
    let day_of_era = from_0000_03.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = (march_month + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The other way round; none where there is no such day.
fn days_of(year: i64, month: i64, day: i64) -> Option<u64> {
    if !(1970..=9999).contains(&year) {
        return None;
    }
    // The calendar repeats every 400 years, so a guess by the mean length is a few days off at most.
    let guess = (year - 1970) * 365 + (year - 1969) / 4 + (month - 1) * 30 + day - 1;
    (guess - 40..=guess + 40)
        .find(|days| date_of(*days) == (year, month, day))
        .and_then(|days| u64::try_from(days).ok())
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
        fs::create_dir_all(&folder_path)
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

fn numbered(stem: &str, number: u32, extension: &str) -> String {
    match number {
        0 => format!("{stem}.{extension}"),
        number => format!("{stem}~{}.{extension}", number + 1),
    }
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
    let film = mp4::scan(&file).map_err(|cause| FileError::new("read", part, cause))?;
    let (Some(parsed), Some(film)) = (parsed, film) else {
        fs::remove_file(part).map_err(|cause| FileError::new("remove", part, cause))?;
        return Ok(None);
    };
    file.set_len(film.complete)
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
        duration: Some(film.duration.as_secs_f64()),
        bytes: finished.bytes,
        width: film.width,
        height: film.height,
        thumbnail: None,
        series: parsed.series,
        camera_config: serde_json::Value::Null,
    }))
}

/// Media type by the extension.
pub fn media_type(extension: &str) -> &'static str {
    match extension {
        "jpg" => "image/jpeg",
        "dng" => "image/x-adobe-dng",
        "mp4" => "video/mp4",
        "json" => "application/json",
        _ => "application/octet-stream",
    }
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
