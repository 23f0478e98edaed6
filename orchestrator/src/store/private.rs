//! Rights: `data_dir` and the database are for their owner only, whatever the umask is and whatever an earlier version left.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes the folder where it is missing, and takes the rights of others away where it is not.
pub fn folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    close(path)
}

/// Makes an empty database file, which SQLite takes, and takes the rights of others away from one that is there.
pub fn files(database: &Path) -> io::Result<()> {
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(database);
    match made {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => close(database)?,
    }
    // SQLite makes these with the rights of the database.
    for suffix in ["-wal", "-shm"] {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        match close(&PathBuf::from(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => result?,
        }
    }
    Ok(())
}

/// Leaves the rights of the owner. Where that is somebody else, as on some network disks, the rights stay as they are.
fn close(path: &Path) -> io::Result<()> {
    let mode = path.metadata()?.permissions().mode();
    if mode & 0o077 == 0 {
        return Ok(());
    }
    match std::fs::set_permissions(path, Permissions::from_mode(mode & 0o700)) {
        Ok(()) => {
            tracing::info!(
                "{}: the rights of other users were taken away",
                path.display()
            );
        }
        Err(error) => tracing::warn!(
            "{} can be read by other users of this machine, and its rights cannot be changed: {error}",
            path.display()
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{FILE_NAME, Store};

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn others_have_no_rights_whatever_was_there() {
        let root = tempfile::tempdir().unwrap();
        let new = root.path().join("new");
        let old = root.path().join("old");
        std::fs::create_dir(&old).unwrap();
        std::fs::set_permissions(&old, Permissions::from_mode(0o755)).unwrap();
        std::fs::write(old.join(FILE_NAME), "").unwrap();
        std::fs::set_permissions(old.join(FILE_NAME), Permissions::from_mode(0o644)).unwrap();
        for folder in [new, old] {
            let store = Store::open(&folder).unwrap();
            store.delete_grid("a").unwrap();
            store.flush().unwrap();
            assert_eq!(mode(&folder), 0o700);
            let mut files = 0;
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                files += 1;
            }
            assert!(files >= 3, "database, log and lock: {files}");
        }
    }
}
