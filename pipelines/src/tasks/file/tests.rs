use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::tasks::task::Task;

fn name(millis: u64, series: Option<(&str, u64)>) -> MediaName {
    MediaName {
        time: UNIX_EPOCH + Duration::from_millis(millis),
        task: if series.is_some() {
            Task::Series
        } else {
            Task::Photo
        },
        series: series.map(|(name, number)| (name.to_owned(), number)),
        extension: "jpg".into(),
    }
}

fn write(folder: &MediaFolder, name: &MediaName) -> Finished {
    let part = folder.create(name).unwrap();
    part.write_all(b"12345").unwrap();
    part.finish().unwrap()
}

#[test]
fn names_tell_time_task_and_number() {
    let root = tempfile::tempdir().unwrap();
    let folder = MediaFolder::new(root.path(), "front");
    let file = write(
        &folder,
        &name(951_782_400_000 + 51_263_007, Some(("gar-den", 12))),
    );
    assert_eq!(
        file.name,
        "2000-02-29/14-14-23.007-series-gar-den-000012.jpg"
    );
    assert_eq!(file.bytes, 5);
    assert!(folder.path().join(&file.name).is_file());
}

#[test]
fn no_file_is_ever_written_over() {
    let root = tempfile::tempdir().unwrap();
    let folder = MediaFolder::new(root.path(), "front");
    let name = name(0, None);
    // Two at work at once, and one that is there already.
    let (one, two) = (folder.create(&name).unwrap(), folder.create(&name).unwrap());
    let names = [
        two.finish().unwrap(),
        one.finish().unwrap(),
        write(&folder, &name),
    ];
    assert_eq!(
        names.map(|file| file.name),
        [
            "1970-01-01/00-00-00.000-photo~2.jpg",
            "1970-01-01/00-00-00.000-photo.jpg",
            "1970-01-01/00-00-00.000-photo~3.jpg",
        ]
    );
}

#[test]
fn what_is_not_finished_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let folder = MediaFolder::new(root.path(), "front");
    let part = folder.create(&name(0, None)).unwrap();
    let path = part.path().to_owned();
    assert!(path.is_file());
    drop(part);
    assert!(!path.exists());
}

#[test]
fn leftovers_are_removed_and_files_at_work_are_not() {
    let root = tempfile::tempdir().unwrap();
    let folder = MediaFolder::new(root.path(), "front");
    let at_work = folder.create(&name(0, None)).unwrap();
    let kept = write(&folder, &name(1, None));
    let day = folder.path().join("1970-01-01");
    for leftover in [
        ".00-00-01.000-photo.jpg.part",
        ".00-00-02.000-video.mp4.part",
    ] {
        std::fs::write(day.join(leftover), b"half").unwrap();
    }
    std::fs::write(day.join("notes.txt"), b"mine").unwrap();
    assert_eq!(folder.adopt(), (vec![], vec![]));
    let mut names: Vec<_> = std::fs::read_dir(&day)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            ".00-00-00.000-photo.jpg.part",
            "00-00-00.001-photo.jpg",
            "notes.txt"
        ]
    );
    assert_eq!(kept.name, "1970-01-01/00-00-00.001-photo.jpg");
    assert!(at_work.finish().is_ok());
}

#[test]
fn errors_say_what_to_do() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("media"), b"a file").unwrap();
    let error = MediaFolder::new(root.path(), "front")
        .create(&name(0, None))
        .unwrap_err();
    assert!(error.to_string().contains("media/front"), "{error}");
    for (kind, said) in [
        (io::ErrorKind::StorageFull, "make room"),
        (io::ErrorKind::PermissionDenied, "right to write"),
        (io::ErrorKind::ReadOnlyFilesystem, "read-only"),
    ] {
        let error = FileError::new("write", Path::new("/x/y"), kind.into());
        let text = error.to_string();
        assert!(
            text.starts_with("cannot write /x/y: ") && text.contains(said),
            "{text}"
        );
    }
}

#[test]
fn other_users_do_not_see_pictures() {
    use std::os::unix::fs::PermissionsExt;
    let root = tempfile::tempdir().unwrap();
    let media = root.path().join("media");
    let folder = MediaFolder::new(root.path(), "front");
    write(&folder, &name(0, None));
    let mut open = vec![media];
    let mut files = 0;
    while let Some(path) = open.pop() {
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            assert_eq!(mode, 0o700, "{}", path.display());
            open.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            files += 1;
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    assert!(files > 0);
}
