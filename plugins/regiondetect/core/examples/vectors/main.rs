//! Runs vectors in the format of Frigate's numbers: `vectors FILE`. Prints each mismatch and each case that differs on
//! purpose, and as its last line `N passed, M failed, D different on purpose, U unknown`; fails when M is not 0.

mod cases;
mod frames;

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: vectors FILE");
        return ExitCode::from(2);
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("cannot read {path}: {error}");
            return ExitCode::from(2);
        }
    };
    match cases::run(&text) {
        Ok(report) => {
            for line in &report.lines {
                println!("{line}");
            }
            println!("{}", report.summary());
            ExitCode::from(u8::from(report.failed > 0))
        }
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::from(2)
        }
    }
}
