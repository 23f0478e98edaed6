//! Asks a running `watchpost` over HTTP: one request, one answer, no library.

use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;
use watchpost::config;
use watchpost_api::Refused;

use crate::table::{plain, plain_lines};

/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;

/// What may mean something in a query: everything but what never does.
const IN_A_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Where a running watchpost answers, as arguments of a command.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// Address of its HTTP interface; without it the one of the configuration file, else 127.0.0.1:8480.
    #[arg(long)]
    listen: Option<SocketAddr>,
    /// Its configuration file.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Token, where it asks for one.
    #[arg(long, env = "WATCHPOST_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Place {
    /// The address.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(match (self.listen, &self.config) {
            (Some(address), _) => address,
            (None, Some(file)) => config::load(file)?.config.http.listen,
            (None, None) => config::HttpConfig::default().listen,
        })
    }

    /// The token.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

/// Parameters behind the `?` of a path: the fields of a query type of the API that have a value.
pub fn query(query: &impl Serialize) -> Result<String> {
    let fields = serde_json::to_value(query)?;
    let parameters = fields.as_object().into_iter().flatten();
    let parameters: Vec<String> = parameters
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            format!("{name}={}", utf8_percent_encode(&value, IN_A_QUERY))
        })
        .collect();
    Ok(parameters.join("&"))
}

/// The body of `GET path`.
pub fn get(address: SocketAddr, path: &str, token: Option<&str>) -> Result<String> {
    ask(address, "GET", path, None, token)
}

/// The body of the answer to a request, with a body of JSON or without.
pub fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&str>,
    token: Option<&str>,
) -> Result<String> {
    let limit = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, limit).with_context(|| {
        format!("no watchpost answers at {address} (is it running? see --listen)")
    })?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    let authorization = token.map_or(String::new(), |t| format!("Authorization: Bearer {t}\r\n"));
    let content = body.map_or(String::new(), |body| {
        format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        )
    });
    // HTTP/1.0: the answer ends with the connection and comes in one piece.
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{authorization}{content}Accept: application/json\r\n\r\n{}",
        body.unwrap_or_default()
    )?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{address} does not speak HTTP"))?;
    let code = head.split_whitespace().nth(1).unwrap_or_default();
    if code != "200" {
        let said: Option<Refused> = serde_json::from_str(body).ok();
        if let Some(Refused { error }) = said {
            let advice = match code {
                "401" => "; give a token with --token or WATCHPOST_TOKEN",
                _ => "",
            };
            bail!("{}{advice}", plain_lines(&error));
        }
        bail!(
            "{method} {address}{path} answered {}: {}",
            plain(code),
            plain_lines(body.trim())
        );
    }
    Ok(body.to_owned())
}

#[cfg(test)]
mod tests {
    use watchpost_api::MediaQuery;
    use watchpost_pipelines::tasks::Task;

    use super::*;

    #[test]
    fn a_query_has_what_is_given_and_escapes_it() {
        let media = MediaQuery {
            camera: Some("a-1 \u{e4}&b".into()),
            task: Some(Task::RawPhoto),
            limit: Some(7),
            ..MediaQuery::default()
        };
        let mut parameters = query(&media).unwrap();
        parameters.push('&');
        for expected in ["camera=a-1%20%C3%A4%26b&", "task=raw_photo&", "limit=7&"] {
            assert!(parameters.contains(expected), "{parameters}");
        }
        assert_eq!(parameters.matches('=').count(), 3, "{parameters}");
    }
}
