//! `watchpost check FILE`: what is wrong with a configuration, before it is run.

use anyhow::Result;
use std::path::PathBuf;
use std::process::ExitCode;
use watchpost::config::yaml::Step;
use watchpost::config::{self, Loaded};
use watchpost::run_dir;
use watchpost_pipelines::CameraConfig;
use watchpost_pipelines::capture::{check_decoder, check_source};

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
    match gst::init() {
        Ok(()) => {
            for (path, message) in of_this_machine(&loaded) {
                eprintln!("{}", loaded.problem_at(&args.file, &path, message));
                good = false;
            }
        }
        Err(error) => {
            eprintln!("GStreamer does not start: {error}");
            good = false;
        }
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
    if let Some(problem) = config::http_problem(&loaded.config.http) {
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

/// What cameras need that this machine does not have. No camera is opened.
fn of_this_machine(loaded: &Loaded) -> Vec<(Vec<Step>, String)> {
    let mut found = Vec::new();
    for (name, camera) in &loaded.config.cameras {
        let key = |key: &str| Step::Key(key.to_owned());
        let of_camera = |rest: Vec<Step>| [vec![key("cameras"), key(name)], rest].concat();
        let CameraConfig {
            source, sources, ..
        } = camera;
        let one = source.iter().map(|source| (vec![key("source")], source));
        let several = sources.iter().enumerate().map(|(index, entry)| {
            let path = vec![key("sources"), Step::Index(index)];
            (path, &entry.source)
        });
        for (mut path, source) in one.chain(several) {
            if let Err(fault) = check_source(source) {
                path.push(key(source.kind()));
                found.push((of_camera(path), fault.reason));
            }
        }
        if let Err(fault) = check_decoder(camera.decoder) {
            found.push((of_camera(vec![key("decoder")]), fault.reason));
        }
    }
    found
}
