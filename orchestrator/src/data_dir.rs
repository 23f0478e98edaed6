//! Where what outlives a run is kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The folder: what the configuration names, else `$STATE_DIRECTORY` (systemd sets it), else
/// `$XDG_DATA_HOME/watchpost`, else `~/.local/share/watchpost`, else `./watchpost-data` for a user without a home.
pub fn choose(configured: Option<&Path>) -> PathBuf {
    choose_from(configured, |name| {
        std::env::var_os(name).filter(|value| !value.is_empty())
    })
}

fn choose_from(configured: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    if let Some(path) = configured {
        return path.to_owned();
    }
    if let Some(folders) = variable("STATE_DIRECTORY") {
        // systemd lists several with colons; the first one is ours.
        let first = folders
            .to_string_lossy()
            .split(':')
            .next()
            .unwrap_or_default()
            .to_owned();
        return PathBuf::from(first);
    }
    if let Some(home) = variable("XDG_DATA_HOME") {
        return Path::new(&home).join("watchpost");
    }
    match variable("HOME") {
        Some(home) => Path::new(&home).join(".local/share/watchpost"),
        None => PathBuf::from("watchpost-data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_comes_first_then_systemd_then_the_user() {
        let of = |configured: Option<&str>, set: &[(&str, &str)]| {
            let variable = |name: &str| {
                set.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, value)| value.into())
            };
            choose_from(configured.map(Path::new), variable)
                .display()
                .to_string()
        };
        let all = [
            ("STATE_DIRECTORY", "/var/lib/watchpost:/x"),
            ("XDG_DATA_HOME", "/d"),
            ("HOME", "/h"),
        ];
        assert_eq!(of(Some("/c"), &all), "/c");
        assert_eq!(of(None, &all), "/var/lib/watchpost");
        assert_eq!(of(None, &all[1..]), "/d/watchpost");
        assert_eq!(of(None, &all[2..]), "/h/.local/share/watchpost");
        assert_eq!(of(None, &[]), "watchpost-data");
    }
}
