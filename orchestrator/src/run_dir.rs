//! The folder of the cameras' sockets: chosen, made private, held by one `watchpost` at a time, cleaned of what a crashed one
//! left.

use crate::live::encoded::StreamName;
use crate::lock;
use anyhow::{Context, Result, bail, ensure};
use rustix::fs::FlockOperation;
use shmring_core::MAX_SOCKET_PATH;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The name of each camera's socket, in a folder of the camera's name.
const SOCKET: &str = "detect.sock";
/// The socket of its live pictures beside it, as long as somebody looks.
pub const LIVE_SOCKET: &str = "live.sock";
const LOCK: &str = "watchpost.lock";

/// Where the sockets go: what is configured, else `$RUNTIME_DIRECTORY`, else `$XDG_RUNTIME_DIR/watchpost`, else a private
/// folder in `/tmp`.
pub fn choose(configured: Option<&Path>) -> PathBuf {
    choose_from(configured, |name| std::env::var_os(name).map(PathBuf::from))
}

fn choose_from(configured: Option<&Path>, env: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(path) = configured {
        return path.to_owned();
    }
    let set = |name| env(name).filter(|p| !p.as_os_str().is_empty());
    if let Some(path) = set("RUNTIME_DIRECTORY") {
        // systemd separates several with colons; the first is ours.
        let text = path.to_string_lossy();
        return PathBuf::from(text.split(':').next().unwrap_or(&text).to_owned());
    }
    if let Some(path) = set("XDG_RUNTIME_DIR") {
        return path.join("watchpost");
    }
    let user = rustix::process::getuid().as_raw();
    PathBuf::from(format!("/tmp/watchpost-{user}"))
}

/// The socket of a camera.
pub fn socket(run_dir: &Path, camera: &str) -> PathBuf {
    run_dir.join(camera).join(SOCKET)
}

/// The socket of a camera's live pictures.
pub fn live_socket(run_dir: &Path, camera: &str) -> PathBuf {
    run_dir.join(camera).join(LIVE_SOCKET)
}

/// The socket of a camera's encoded stream.
pub(crate) fn encoded_socket(run_dir: &Path, camera: &str, stream: StreamName) -> PathBuf {
    run_dir.join(camera).join(encoded_socket_name(stream))
}

/// File name of the socket of an encoded stream.
pub(crate) fn encoded_socket_name(stream: StreamName) -> &'static str {
    match stream {
        StreamName::Main => "main.sock",
        StreamName::Sub => "sub.sock",
        StreamName::Live => "live-encoded.sock",
    }
}

/// Why a camera's socket cannot be where it would have to be.
pub fn socket_problem(run_dir: &Path, camera: &str) -> Option<String> {
    let path = socket(run_dir, camera);
    let length = path.as_os_str().len();
    (length > MAX_SOCKET_PATH).then(|| {
        format!(
            "the socket's path {} has {length} bytes, a ring's socket can have {MAX_SOCKET_PATH}; choose a shorter run_dir or camera name",
            path.display()
        )
    })
}

/// The folder, held for as long as this lives.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    lock: File,
    /// Whether the folder was made here, and so goes again.
    created: bool,
}

impl RunDir {
    /// Makes the folder if need be, takes it, and removes what a crashed run left in it.
    pub fn take(path: &Path) -> Result<Self> {
        let created = create_private(path)?;
        let path =
            std::fs::canonicalize(path).with_context(|| format!("run_dir {}", path.display()))?;
        let lock =
            lock::take(&path.join(LOCK)).with_context(|| format!("run_dir {}", path.display()))?;
        let dir = Self {
            path,
            lock,
            created,
        };
        dir.clean();
        Ok(dir)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket of a camera, its folder made.
    pub fn prepare(&self, camera: &str) -> Result<PathBuf> {
        if let Some(problem) = socket_problem(&self.path, camera) {
            bail!(problem);
        }
        let socket = socket(&self.path, camera);
        let folder = self.path.join(camera);
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(socket)
    }

    /// Removes a camera's socket and folder.
    pub fn remove(&self, camera: &str) {
        remove_camera(&self.path.join(camera));
    }

    /// Removes what belongs to no running camera: at start nothing does.
    fn clean(&self) {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                remove_camera(&entry.path());
            }
        }
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        self.clean();
        let _ = std::fs::remove_file(self.path.join(LOCK));
        let _ = rustix::fs::flock(&self.lock, FlockOperation::Unlock);
        if self.created {
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Only what we made is removed; a folder with anything else in it stays.
fn remove_camera(folder: &Path) {
    for socket in [SOCKET, LIVE_SOCKET] {
        let _ = std::fs::remove_file(folder.join(socket));
    }
    let _ = std::fs::remove_dir(folder);
}

/// A folder nobody else can read or write, made if it is not there.
/// Answers whether it was made.
fn create_private(path: &Path) -> Result<bool> {
    if let Some(parent) = path.parent()
        && !parent.exists()
    {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("run_dir: cannot make {}", parent.display()))?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => {
            return Err(error).with_context(|| format!("run_dir: cannot make {}", path.display()));
        }
    }
    let meta =
        std::fs::symlink_metadata(path).with_context(|| format!("run_dir {}", path.display()))?;
    // In /tmp anybody could have put a link or a folder of their own there.
    let in_shared_place = path.starts_with("/tmp");
    ensure!(
        meta.is_dir() || (!in_shared_place && path.is_dir()),
        "run_dir {} is not a folder",
        path.display()
    );
    ensure!(
        !in_shared_place || meta.uid() == rustix::process::getuid().as_raw(),
        "run_dir {} belongs to another user; set run_dir",
        path.display()
    );
    ensure!(
        meta.permissions().mode() & 0o022 == 0,
        "run_dir {} can be written by others; take a private folder (chmod 700)",
        path.display()
    );
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_chosen_in_the_documented_order() {
        let env = |set: &'static [(&str, &str)]| {
            move |name: &str| {
                set.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| PathBuf::from(v))
            }
        };
        let both: &[_] = &[
            ("RUNTIME_DIRECTORY", "/run/w:/run/x"),
            ("XDG_RUNTIME_DIR", "/run/user/1"),
        ];
        assert_eq!(
            choose_from(Some(Path::new("/a")), env(both)),
            Path::new("/a")
        );
        assert_eq!(choose_from(None, env(both)), Path::new("/run/w"));
        assert_eq!(
            choose_from(None, env(&both[1..])),
            Path::new("/run/user/1/watchpost")
        );
        assert!(choose_from(None, env(&[])).starts_with("/tmp"));
    }

    #[test]
    fn a_path_too_long_for_a_socket_is_named() {
        let long = PathBuf::from(format!("/{}", "x".repeat(90)));
        let problem = socket_problem(&long, "front-door").unwrap();
        assert!(problem.contains("114 bytes"), "{problem}");
        assert_eq!(socket_problem(Path::new("/run/watchpost"), "front"), None);
    }

    #[test]
    fn one_watchpost_at_a_time_and_leftovers_are_removed() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("run");
        std::fs::create_dir_all(path.join("old")).unwrap();
        std::fs::write(path.join("old/detect.sock"), "").unwrap();
        std::fs::create_dir_all(path.join("foreign")).unwrap();
        std::fs::write(path.join("foreign/data"), "").unwrap();
        let dir = RunDir::take(&path).unwrap();
        assert!(!path.join("old").exists());
        assert!(path.join("foreign/data").exists());
        let error = format!("{:#}", RunDir::take(&path).unwrap_err());
        assert!(
            error.contains(&format!("pid {}", std::process::id())),
            "{error}"
        );
        std::fs::write(dir.prepare("front").unwrap(), "").unwrap();
        drop(dir);
        assert!(!path.join("front").exists());
        RunDir::take(&path).unwrap();
    }
}
