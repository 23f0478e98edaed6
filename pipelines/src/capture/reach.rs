//! Why an RTSP camera cannot be connected to. `rtspsrc` says no more than "Failed to connect", so it is tried once more by hand.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use gst::prelude::*;

use super::fault::rtspsrc;
use super::source::split_port;

/// Time for the connection. Longer was tried before.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is behind an error of `rtspsrc` that says it could not connect; none where it is another message, or where a connection
/// is made now. It takes some seconds, and longer where nobody answers who knows names.
pub fn why_not_connected(message: &gst::Message) -> Option<String> {
    let gst::MessageView::Error(error) = message.view() else {
        return None;
    };
    let source = rtspsrc(error)?;
    if !error.debug()?.contains("Failed to connect") {
        return None;
    }
    let location: String = source.property("location");
    let (host, port) = address(&location)?;
    let found = match (host, port).to_socket_addrs() {
        Ok(found) => found,
        Err(error) => {
            return Some(format!(
                "Failed to connect: the name {host} leads to no address ({error})"
            ));
        }
    };
    let mut last = None;
    for address in found {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(_) => return None,
            Err(error) => last = Some(format!("Failed to connect to {address}: {error}")),
        }
    }
    last
}

/// Host and port of an address without credentials.
fn address(location: &str) -> Option<(&str, u16)> {
    let (scheme, rest) = location.split_once("://")?;
    let usual = match scheme {
        "rtsps" => 322,
        "rtsph" => 80,
        _ => 554,
    };
    let (host, port) = split_port(rest);
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None => Some(host).filter(|host| !host.contains(':'))?,
    };
    Some((host, port.map_or(Ok(usual), str::parse).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_host_and_port() {
        for (location, expected) in [
            ("rtsp://cam/main", Some(("cam", 554))),
            ("rtsp://cam:8554/main:1", Some(("cam", 8554))),
            ("rtsps://cam", Some(("cam", 322))),
            ("rtsp://[fe80::1]:8554/main", Some(("fe80::1", 8554))),
            ("rtsp://[fe80::1]/main", Some(("fe80::1", 554))),
            ("rtsp://cam:x/main", None),
            ("cam", None),
        ] {
            assert_eq!(address(location), expected, "{location}");
        }
    }
}
