//! `watchpost import-frigate config.yml`: a Frigate configuration as one of ours.

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use watchpost::config;

/// Arguments of `import-frigate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Frigate's configuration file.
    file: PathBuf,
}

/// Prints our configuration, and on standard error what was left out and why.
pub fn run(args: &Args) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.file)
        .with_context(|| format!("{} cannot be read", args.file.display()))?;
    let imported = config::import_frigate(&args.file, &text)?;
    print!("{}", imported.yaml);
    for left_out in imported.ignored.iter() {
        eprintln!("{left_out}");
    }
    Ok(ExitCode::SUCCESS)
}
