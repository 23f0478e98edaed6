//! What a request must be before anything looks at it: meant for this server, and not made by the web page of another site.

use super::error::ApiError;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::net::{IpAddr, SocketAddr};

/// Refuses foreign hosts and origins.
pub async fn check(
    State(listen): State<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    examine(
        listen.ip(),
        request.uri().authority().map(|a| a.as_str()),
        request.headers(),
    )?;
    let mut response = next.run(request).await;
    // Pages of others may not show what is answered here, as a picture or otherwise.
    let policy = HeaderName::from_static("cross-origin-resource-policy");
    let same_origin = HeaderValue::from_static("same-origin");
    response.headers_mut().insert(policy, same_origin);
    Ok(response)
}

fn examine(listen: IpAddr, authority: Option<&str>, headers: &HeaderMap) -> Result<(), ApiError> {
    // Of two, another program on the way may believe the other one.
    let one = |name| {
        let mut values = headers.get_all(&name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value
                .to_str()
                .map(Some)
                .map_err(|_| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            (Some(_), Some(_)) => Err(format!("several {name} headers")),
        }
    };
    let host = one(HOST)
        .map_err(ApiError::Host)?
        .or(authority)
        .ok_or(ApiError::Host("(none)".into()))?;
    let name = host_name(host).ok_or_else(|| ApiError::Host(host.to_owned()))?;
    // A page of a foreign name that resolves to this machine (DNS rebinding) still says its own name here. Off loopback
    // names are the administrator's business, and nothing is answered without credentials.
    if listen.is_loopback() && !is_loopback_name(&name) {
        return Err(ApiError::Host(host.to_owned()));
    }
    if let Some(origin) = one(ORIGIN).map_err(ApiError::Origin)? {
        let same = origin.split_once("://").is_some_and(|(scheme, origin)| {
            matches!(scheme, "http" | "https") && origin.eq_ignore_ascii_case(host)
        });
        if !same {
            return Err(ApiError::Origin(origin.to_owned()));
        }
    }
    Ok(())
}

/// Refuses changes that a form of another site's page could have sent, for which a browser does not ask first. Routes that do not
/// exist are refused as such.
pub fn check_type(method: &Method, headers: &HeaderMap) -> Result<(), ApiError> {
    let needs_json = matches!(*method, Method::POST | Method::PUT | Method::PATCH);
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let is_json = match (
        kinds.next().and_then(|kind| kind.to_str().ok()),
        kinds.next(),
    ) {
        (Some(kind), None) => {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind.eq_ignore_ascii_case("application/json")
        }
        _ => false,
    };
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

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: axum::http::HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    fn ask(listen: &str, headers: &[(&str, &str)]) -> Result<(), String> {
        examine(listen.parse().unwrap(), None, &map(headers)).map_err(|e| e.to_string())
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
            ask("127.0.0.1", &[("host", host)]).unwrap();
        }
        for host in [
            "evil.example:8480",
            "192.168.1.5",
            "localhost.evil.example",
            "",
            "a b",
        ] {
            ask("127.0.0.1", &[("host", host)]).unwrap_err();
        }
        ask("127.0.0.1", &[]).unwrap_err();
        ask("0.0.0.0", &[("host", "nvr.example:8480")]).unwrap();
    }

    #[test]
    fn foreign_pages_are_refused() {
        let host = ("host", "localhost:8480");
        ask("127.0.0.1", &[host, ("origin", "http://localhost:8480")]).unwrap();
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "null",
            "://localhost:8480",
            "http://localhost:8480\u{e4}",
        ] {
            ask("127.0.0.1", &[host, ("origin", origin)]).unwrap_err();
        }
    }

    #[test]
    fn several_hosts_or_origins_are_refused() {
        let host = ("host", "localhost:8480");
        let origin = ("origin", "http://localhost:8480");
        ask("127.0.0.1", &[host, host]).unwrap_err();
        ask("127.0.0.1", &[host, origin, origin]).unwrap_err();
        let evil = ("origin", "http://evil.example");
        let said = ask("127.0.0.1", &[host, origin, evil]).unwrap_err();
        assert!(said.contains("several origin headers"), "{said}");
    }

    #[test]
    fn changes_are_json() {
        for method in [Method::POST, Method::PUT, Method::PATCH] {
            let ask = |headers: &[_]| check_type(&method, &map(headers));
            ask(&[]).unwrap_err();
            ask(&[("content-type", "text/plain")]).unwrap_err();
            let json = ("content-type", "application/json; charset=utf-8");
            ask(&[json]).unwrap();
            ask(&[json, ("content-type", "text/plain")]).unwrap_err();
        }
        check_type(&Method::DELETE, &HeaderMap::new()).unwrap();
    }
}
