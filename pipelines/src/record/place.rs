//! Where segments are, and what they are called.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Wanted;
use crate::tasks::{date_of, days_of};

/// Folder of all footage below a path.
pub const FOLDER: &str = "recordings";
/// Marks a path that is in use, so that a disk that is not mounted is told from an empty one.
pub const MARKER: &str = ".watchpost-volume";
/// Segments of one millisecond that get a name.
const SAME_NAMES: u32 = 100;
const DAY: i64 = 86_400_000;

/// Makes the file of a segment that begins at this time. Returns it with its name below the path.
pub(super) fn create(camera: &str, wanted: &Wanted, time: i64) -> Result<(File, String), String> {
    let path = &wanted.path;
    let marker = path.join(MARKER);
    if !marker.exists() {
        if wanted.known {
            return Err(format!(
                "storage-missing: {} is not there; mount its disk, or make this file where the disk was replaced",
                marker.display()
            ));
        }
        std::fs::create_dir_all(path)
            .and_then(|()| std::fs::write(&marker, b""))
            .map_err(|error| failure("mark", &marker, &error))?;
    }
    let (day, millisecond) = (time.div_euclid(DAY), time.rem_euclid(DAY));
    let (year, month, day) = date_of(day);
    let second = millisecond / 1000;
    let folder = format!(
        "{FOLDER}/{camera}/{year:04}-{month:02}-{day:02}/{:02}",
        second / 3600
    );
    let full = path.join(&folder);
    std::fs::create_dir_all(&full).map_err(|error| failure("make folder", &full, &error))?;
    let stem = format!(
        "{:02}-{:02}.{:03}",
        second / 60 % 60,
        second % 60,
        millisecond % 1000
    );
    for number in 0..SAME_NAMES {
        let name = match number {
            0 => format!("{folder}/{stem}.mp4"),
            number => format!("{folder}/{stem}-{number}.mp4"),
        };
        let full = path.join(&name);
        match OpenOptions::new().write(true).create_new(true).open(&full) {
            Ok(file) => return Ok((file, name)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failure("make", &full, &error)),
        }
    }
    Err(format!("{full:?} has {SAME_NAMES} files {stem} already"))
}

/// The time that the name of a segment gives, in milliseconds since 1970.
pub fn segment_start(name: &str) -> Option<i64> {
    let mut parts = name.rsplit('/');
    let (file, hour, date) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |text: &str, digits: usize| -> Option<i64> {
        let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok())?
    };
    let mut date = date.split('-');
    let mut next = |digits| number(date.next()?, digits);
    let days = days_of(next(4)?, next(2)?, next(2)?)?;
    let stem = file.strip_suffix(".mp4")?;
    let clock = stem.get(..9)?;
    let (minute, rest) = clock.split_once('-')?;
    let (second, millisecond) = rest.split_once('.')?;
    let seconds = number(hour, 2)? * 3600 + number(minute, 2)? * 60 + number(second, 2)?;
    let days = i64::try_from(days).ok()?;
    Some(days * DAY + seconds * 1000 + number(millisecond, 3)?)
}

/// What failed, with what to do about it.
pub(super) fn failure(action: &str, path: &Path, error: &std::io::Error) -> String {
    let (state, hint) = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
            "storage-full: ",
            "; make room on this disk, or keep footage for a shorter time",
        ),
        ErrorKind::ReadOnlyFilesystem => (
            "",
            "; the disk is mounted read-only: mount it for writing, or set `record.path`",
        ),
        ErrorKind::PermissionDenied => (
            "",
            "; give the user Watchpost runs as the right to write there",
        ),
        _ => ("", ""),
    };
    format!("{state}cannot {action} {}: {error}{hint}", path.display())
}

/// The full name of a segment.
pub(super) fn full(path: &Path, name: &str) -> PathBuf {
    path.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(path: &Path, known: bool) -> Wanted {
        Wanted {
            from: 0,
            reasons: "continuous".into(),
            path: path.to_owned(),
            known,
        }
    }

    proptest! {
        #[test]
        fn a_name_gives_the_time_it_was_made_of(time in 0..4_000_000_000_000_i64) {
            let folder = tempfile::tempdir().unwrap();
            for again in 0..2 {
                let (_, name) = create("front", &wanted(folder.path(), again > 0), time).unwrap();
                prop_assert_eq!(segment_start(&name), Some(time), "{}", name);
            }
        }

        #[test]
        fn any_name_is_read_without_panic(name in ".{0,60}") {
            let _ = segment_start(&name);
        }
    }

    #[test]
    fn a_path_without_its_marker_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let error = create("front", &wanted(folder.path(), true), 0).unwrap_err();
        assert!(error.starts_with("storage-missing: "), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
