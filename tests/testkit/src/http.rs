//! A small HTTP/1.0 client that shows every byte of an answer, and streams that do not end.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;

/// The whole answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, as they were sent.
    pub head: String,
    /// What follows the headers.
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, whose name is compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            head: head.to_owned(),
            body: bytes[end + 4..].to_vec(),
        })
    }
}

/// Sends a request and returns the connection, from which the caller reads the answer. `headers` are whole lines, each with
/// its `\r\n`.
#[track_caller]
pub fn send(at: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(at).expect("connect");
    stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: {at}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    // A server refuses a body that is too long before all of it was sent; the answer can be read all the same.
    let _ = stream.write_all(request.as_bytes());
    stream
}

/// Sends a request and reads the whole answer.
#[track_caller]
pub fn request(at: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let mut answer = Vec::new();
    let _ = send(at, method, path, headers, body).read_to_end(&mut answer);
    Answer::parse(&answer).unwrap_or_else(|| {
        let text = String::from_utf8_lossy(&answer);
        panic!("{method} {path}: not an HTTP answer: {text:?}")
    })
}

/// Sends a request and reads the status line and the headers only: for an answer without an end.
#[track_caller]
pub fn head_of(at: SocketAddr, method: &str, path: &str, headers: &str) -> Answer {
    let (mut stream, mut answer) = (send(at, method, path, headers, ""), Vec::new());
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read > 0) {
        answer.extend(byte);
    }
    Answer::parse(&answer).unwrap_or_else(|| panic!("{method} {path}: no headers: {answer:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_status_headers_and_the_exact_body() {
        let answer =
            Answer::parse(b"HTTP/1.0 206 Partial\r\nContent-Type: a/b\r\n\r\n\xff\r\n\r\n");
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, &*answer.body), (206, &b"\xff\r\n\r\n"[..]));
        assert_eq!(answer.header("content-type"), Some("a/b"));
        assert_eq!(answer.header("content"), None);
        assert_eq!(Answer::parse(b"HTTP/1.0 200 OK\r\n"), None);
    }
}
