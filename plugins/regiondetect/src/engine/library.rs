//! Finds and loads ONNX Runtime, once per process.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;

use super::{EngineError, lock, shown};

/// The loaded library.
#[derive(Clone)]
pub(super) struct Runtime {
    pub environment: Environment,
    pub path: PathBuf,
    pub version: String,
}

static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);

/// Where `make setup` puts the library, from the workspace's root.
const INSTALLED: &str = ".deps/onnxruntime/libonnxruntime.so";

/// The library, loaded by whoever comes first. A library named later and differently is not loaded: there can be only
/// one in a process.
pub(super) fn runtime(named: Option<&Path>) -> Result<Runtime, EngineError> {
    let mut loaded = lock(&RUNTIME);
    if let Some(runtime) = &*loaded {
        return Ok(runtime.clone());
    }
    let mut tried = Vec::new();
    for (place, path) in candidates(named) {
        match load(&path) {
            Ok(runtime) => return Ok(loaded.insert(runtime).clone()),
            Err(message) => tried.push(format!("{place}: {message}")),
        }
    }
    if tried.is_empty() {
        tried.push(String::from(
            "no file libonnxruntime.so* in the system's library directories",
        ));
    }
    Err(EngineError::Library { tried })
}

fn load(path: &Path) -> Result<Runtime, String> {
    if !path.exists() {
        return Err(format!("{} does not exist", shown(path)));
    }
    let builder = ort::init_from(path).map_err(|error| error.to_string())?;
    let environment = builder
        .with_name("watchpost")
        .with_telemetry(false)
        .build()
        .map_err(|error| error.to_string())?;
    // Sessions report what matters as errors; the library's own warnings are about its optimiser.
    environment.set_log_level(ort::logging::LogLevel::Error);
    Ok(Runtime {
        environment,
        path: path.to_owned(),
        version: version(ort::info(), path),
    })
}

/// The version out of `ORT Build Info: git-branch=rel-1.21.0, ...`; where it is not in there, the file tells more than the rest.
fn version(info: &str, path: &Path) -> String {
    let branch = info.split_once("rel-").map(|(_, rest)| rest);
    let version = branch.and_then(|rest| rest.split([',', ' ']).next());
    version.map_or_else(|| shown(path), str::to_owned)
}

/// What to try, with what to call it. A library that was named is the only one: falling back would hide the mistake.
fn candidates(named: Option<&Path>) -> Vec<(String, PathBuf)> {
    if let Some(path) = named {
        return vec![(String::from("property onnxruntime"), absolute(path))];
    }
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        return vec![(String::from("ORT_DYLIB_PATH"), absolute(Path::new(&path)))];
    }
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for directory in system_directories() {
        for file in libraries_in(&directory) {
            found.push((String::from("system"), file));
        }
    }
    let workspace = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join(INSTALLED);
    found.push((String::from("installed by make"), workspace));
    if let Ok(executable) = std::env::current_exe() {
        // target/release/watchpost, target/debug/deps/test: the workspace is a few directories up.
        for directory in executable.ancestors().skip(1).take(4) {
            let path = directory.join(INSTALLED);
            if path.exists() {
                found.push((String::from("installed beside the program"), path));
            }
        }
    }
    found
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn system_directories() -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = std::env::var_os("LD_LIBRARY_PATH")
        .map(|list| {
            std::env::split_paths(&list)
                .filter(|d| d.is_absolute())
                .collect()
        })
        .unwrap_or_default();
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    for base in ["/usr/local/lib", "/usr/lib", "/lib"] {
        directories.push(Path::new(base).join(&triplet));
        directories.push(PathBuf::from(base));
    }
    directories.push(PathBuf::from("/usr/lib64"));
    directories
}

/// `libonnxruntime.so`, `libonnxruntime.so.1.21` and the like, the plain name first, then the newest.
fn libraries_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix("libonnxruntime.so")?;
            let numbers = version.split('.').filter(|part| !part.is_empty());
            let numbers = numbers
                .map(|part| part.parse().ok())
                .collect::<Option<_>>()?;
            Some((numbers, entry.path()))
        })
        .collect();
    names.sort_by(|(a, _), (b, _)| b.is_empty().cmp(&a.is_empty()).then(b.cmp(a)));
    names.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_name_comes_before_the_newest_version() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "libonnxruntime.so.1.9",
            "libonnxruntime.so.1.21",
            "libonnxruntime.so",
            "libonnxruntime.so.debug",
            "libonnxruntime_providers_cuda.so",
        ] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let names: Vec<_> = libraries_in(directory.path())
            .iter()
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            names,
            [
                "libonnxruntime.so",
                "libonnxruntime.so.1.21",
                "libonnxruntime.so.1.9"
            ]
        );
    }

    #[test]
    fn a_library_that_was_named_is_the_only_candidate() {
        let list = candidates(Some(Path::new("/nowhere/libonnxruntime.so")));
        assert_eq!(list.len(), 1);
        assert!(load(&list[0].1).err().unwrap().contains("does not exist"));
    }

    #[test]
    fn a_file_that_is_no_library_says_so() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(load(file.path()).err().unwrap().contains("failed to load"));
    }

    #[test]
    fn version_is_read_from_the_build_info() {
        let path = Path::new("/usr/lib/libonnxruntime.so");
        for (info, expected) in [
            (
                "ORT Build Info: git-branch=rel-1.21.0, git-commit-id=x",
                "1.21.0",
            ),
            (
                "ORT Build Info: git-branch=HEAD, git-commit-id=x",
                "/usr/lib/libonnxruntime.so",
            ),
        ] {
            assert_eq!(version(info, path), expected, "{info}");
        }
    }
}
