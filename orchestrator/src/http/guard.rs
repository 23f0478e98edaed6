//! What a request must be before anything looks at it: meant for us, and not made by somebody else's web page.

use super::error::ApiError;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::net::{IpAddr, SocketAddr};

/// Refuses foreign hosts and origins, and changes that a plain web form could have sent.
pub async fn check(
    State(listen): State<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    examine(
        listen.ip(),
        request.method(),
        request.uri().authority().map(|a| a.as_str()),
        request.headers(),
    )?;
    Ok(next.run(request).await)
}

fn examine(
    listen: IpAddr,
    method: &Method,
    authority: Option<&str>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    let host = text(HOST)
        .or(authority)
        .ok_or(ApiError::Host("(none)".into()))?;
    let name = host_name(host).ok_or_else(|| ApiError::Host(host.to_owned()))?;
    // A page of a foreign name that resolves to this machine (DNS rebinding) still says its own name here. Off loopback
    // names are the administrator's business, and nothing is answered without credentials.
    if listen.is_loopback() && !is_loopback_name(&name) {
        return Err(ApiError::Host(host.to_owned()));
    }
    if let Some(origin) = text(ORIGIN) {
        let same = origin
            .split_once("://")
            .is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
        if !same {
            return Err(ApiError::Origin(origin.to_owned()));
        }
    }
    let needs_json = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    let is_json = text(CONTENT_TYPE).is_some_and(|t| {
        let kind = t.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    // A form of a foreign page can send other types without asking first.
    if needs_json && !is_json {
        return Err(ApiError::NotJson);
    }
    Ok(())
}

/// The host of `host:port`, without the brackets of IPv6.
fn host_name(host: &str) -> Option<String> {
    let uri: axum::http::uri::Authority = host.parse().ok()?;
    let name = uri.host();
    let name = name
        .strip_prefix('[')
        .and_then(|n| n.strip_suffix(']'))
        .unwrap_or(name);
    (!name.is_empty()).then(|| name.to_ascii_lowercase())
}

fn is_loopback_name(name: &str) -> bool {
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(listen: &str, method: Method, headers: &[(&str, &str)]) -> Result<(), String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            map.insert(name, value.parse().unwrap());
        }
        examine(listen.parse().unwrap(), &method, None, &map).map_err(|e| e.to_string())
    }

    #[test]
    fn on_loopback_only_loopback_names_are_answered() {
        for host in [
            "localhost:8480",
            "127.0.0.1",
            "[::1]:8480",
            "127.1.2.3:1",
            "LOCALHOST",
        ] {
            ask("127.0.0.1", Method::GET, &[("host", host)]).unwrap();
        }
        for host in [
            "evil.example:8480",
            "192.168.1.5",
            "localhost.evil.example",
            "",
            "a b",
        ] {
            ask("127.0.0.1", Method::GET, &[("host", host)]).unwrap_err();
        }
        ask("127.0.0.1", Method::GET, &[]).unwrap_err();
        ask("0.0.0.0", Method::GET, &[("host", "nvr.example:8480")]).unwrap();
    }

    #[test]
    fn foreign_pages_are_refused() {
        let host = ("host", "localhost:8480");
        ask(
            "127.0.0.1",
            Method::GET,
            &[host, ("origin", "http://localhost:8480")],
        )
        .unwrap();
        for origin in ["http://evil.example", "http://localhost:3000", "null"] {
            ask("127.0.0.1", Method::GET, &[host, ("origin", origin)]).unwrap_err();
        }
    }

    #[test]
    fn changes_are_json() {
        let host = ("host", "localhost");
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            let ask = |headers: &[_]| ask("127.0.0.1", method.clone(), headers);
            ask(&[host]).unwrap_err();
            ask(&[host, ("content-type", "text/plain")]).unwrap_err();
            ask(&[host, ("content-type", "application/json; charset=utf-8")]).unwrap();
        }
        ask("127.0.0.1", Method::DELETE, &[host]).unwrap();
    }
}
