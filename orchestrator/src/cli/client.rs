//! Asks a running `watchpost` over HTTP: one request, one answer, no library.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;

/// The body of `GET path`.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Result<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, limit).with_context(|| {
        format!("no watchpost answers at {address} (is it running? see --listen)")
    })?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let authorization = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    write!(
        stream,
        "GET {path} HTTP/1.0\r\nHost: {address}\r\n{authorization}Accept: application/json\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address} does not speak HTTP"))?;
    let code = head.split_whitespace().nth(1).unwrap_or_default();
    if code != "200" {
        bail!("{address}{path} answered {code}: {}", body.trim());
    }
    Ok(body.to_owned())
}
