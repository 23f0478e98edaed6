//! `watchpost schema`: what editors check and complete a configuration by.

use anyhow::Result;
use std::process::ExitCode;

/// Prints it.
pub fn run() -> Result<ExitCode> {
    println!(
        "{}",
        serde_json::to_string_pretty(watchpost::config::schema())?
    );
    Ok(ExitCode::SUCCESS)
}
