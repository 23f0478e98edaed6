//! `watchpost hash-password`: from a password on standard input to what `http.users.NAME.password` wants.

use anyhow::{Context, Result, anyhow, ensure};
use argon2::password_hash::SaltString;
use argon2::{Argon2, PasswordHasher};
use std::io::IsTerminal;
use std::process::ExitCode;

/// Prints the hash.
pub fn run() -> Result<ExitCode> {
    if std::io::stdin().is_terminal() {
        eprintln!("password (it is shown while you type):");
    }
    let mut password = String::new();
    std::io::stdin()
        .read_line(&mut password)
        .context("standard input")?;
    let password = password.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "no password on standard input");
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    let salt = SaltString::encode_b64(&random).map_err(|error| anyhow!("salt: {error}"))?;
    let hash = Argon2::default()
        .hash_password(password.as_bytes(), &salt)
        .map_err(|error| anyhow!("hash: {error}"))?;
    println!("{hash}");
    Ok(ExitCode::SUCCESS)
}
