//! The command line: one file per thing the program does.

mod check;
mod client;
mod devices;
mod generate;
mod hash_password;
mod import_frigate;
mod media;
mod plan;
mod recordings;
mod run;
mod schema;
mod status;
mod task;
mod worker;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Turns cameras into tracked objects.
#[derive(Debug, Parser)]
#[command(name = "watchpost", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the cameras of a configuration file.
    Run(run::Args),
    /// Check a configuration file: FILE:LINE:COLUMN: KEY: what is wrong, what is expected.
    Check(check::Args),
    /// Show what a running watchpost does.
    Status(status::Args),
    /// List what cameras' tasks made.
    Media(media::Args),
    /// List a day of a camera's footage: spans with their bytes, gaps with their reasons.
    Recordings(recordings::Args),
    /// Show a camera's tasks, or start, pause, resume or stop one: live, photo, raw_photo, series, video, detect.
    Task(task::Args),
    /// Say what a changed configuration file would do.
    Plan(plan::Args),
    /// List the cameras of this machine.
    Devices,
    /// Convert a Frigate configuration; what is left out is listed on standard error.
    ImportFrigate(import_frigate::Args),
    /// Make a password's hash for http.users; the password is read from standard input.
    HashPassword,
    /// Print the JSON Schema of the configuration file, or of events.
    Schema(schema::Args),
    /// Print the manual page or shell completions; for packages.
    #[command(hide = true)]
    Generate(generate::Args),
    /// One worker process; started by `run`, not by people.
    #[command(hide = true)]
    Worker(worker::Args),
}

impl Cli {
    /// Does what was asked for.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run(args) => run::run(args),
            Command::Check(args) => check::run(&args),
            Command::Status(args) => status::run(&args),
            Command::Media(args) => media::run(&args),
            Command::Recordings(args) => recordings::run(&args),
            Command::Task(args) => task::run(&args),
            Command::Plan(args) => plan::run(&args),
            Command::Devices => devices::run(),
            Command::ImportFrigate(args) => import_frigate::run(&args),
            Command::HashPassword => hash_password::run(),
            Command::Schema(args) => schema::run(&args),
            Command::Generate(args) => generate::run(&args),
            Command::Worker(args) => worker::run(&args),
        }
    }
}
