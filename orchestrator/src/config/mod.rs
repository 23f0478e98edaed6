//! The configuration file: its types, where in it a mistake stands, and what a change of it means.

mod file;
mod problem;

use std::collections::BTreeMap;
use std::path::Path;

pub use file::{Config, HttpConfig};
pub use problem::{Problem, Problems};

/// A configuration that can be run.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration, references resolved, cameras that are wrong left out.
    pub config: Config,
    /// The cameras that are wrong, and why. `--strict` treats them as fatal.
    pub broken: BTreeMap<String, Problems>,
    /// What is worth saying and stops nothing.
    pub warnings: Problems,
    /// The text this comes from.
    pub text: String,
}

impl Loaded {
    /// Every problem that makes `check` fail.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.broken.values().flat_map(|problems| problems.iter())
    }
}

/// Reads and checks a configuration file. An error is one that leaves nothing to run; what is wrong with a single camera
/// is in [`Loaded::broken`].
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Problems::from(Problem::of_file(path, format!("cannot be read: {error}")))
    })?;
    parse(path, text)
}

/// As [`load`], from a text that stands (or is about to stand) in `path`.
pub fn parse(path: &Path, text: String) -> Result<Loaded, Problems> {
    let value: serde_json::Value = serde_yaml::from_str(&text)
        .map_err(|error| Problems::from(Problem::of_file(path, error.to_string())))?;
    let config: Config = serde_json::from_value(value)
        .map_err(|error| Problems::from(Problem::of_file(path, error.to_string())))?;
    Ok(Loaded {
        config,
        broken: BTreeMap::new(),
        warnings: Problems::default(),
        text,
    })
}
