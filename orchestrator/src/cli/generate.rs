//! `watchpost generate`: the manual page and shell completions, for packages.

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;

use super::Cli;

/// Arguments of `watchpost generate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to print.
    what: What,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// The manual page, for man.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

/// Prints it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let mut command = Cli::command();
    let shell = match args.what {
        What::Man => {
            clap_mangen::Man::new(command).render(&mut io::stdout())?;
            return Ok(ExitCode::SUCCESS);
        }
        What::Bash => Shell::Bash,
        What::Zsh => Shell::Zsh,
        What::Fish => Shell::Fish,
    };
    clap_complete::generate(shell, &mut command, "watchpost", &mut io::stdout());
    Ok(ExitCode::SUCCESS)
}
