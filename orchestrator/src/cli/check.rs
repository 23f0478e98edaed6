//! `watchpost check FILE`: what is wrong with a configuration, before it is run.

use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use watchpost::{config, run_dir};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    file: PathBuf,
}

/// Exit code 0 when all is well, 1 with one line for each mistake otherwise.
pub fn run(args: &Args) -> Result<ExitCode> {
    let loaded = match config::load(&args.file) {
        Ok(loaded) => loaded,
        Err(problems) => {
            eprintln!("{problems}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut good = true;
    for problem in loaded.problems() {
        eprintln!("{problem}");
        good = false;
    }
    let folder = run_dir::choose(None);
    // One that is configured has been checked with the rest.
    let unchecked = loaded
        .config
        .cameras
        .keys()
        .filter(|_| loaded.config.run_dir.is_none());
    for name in unchecked {
        if let Some(problem) = run_dir::socket_problem(&folder, name) {
            eprintln!("{}: cameras.{name}: {problem}", args.file.display());
            good = false;
        }
    }
    if let Some(problem) = watchpost::http::problem(&loaded.config.http) {
        eprintln!("{}: {problem}", args.file.display());
        good = false;
    }
    for warning in loaded.warnings.iter() {
        eprintln!("{warning} (warning)");
    }
    if good {
        let cameras = match loaded.config.cameras.len() {
            1 => "1 camera".to_owned(),
            count => format!("{count} cameras"),
        };
        println!("{}: {cameras}, no mistakes", args.file.display());
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::FAILURE)
    }
}
