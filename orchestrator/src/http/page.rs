//! The web page: its files are part of the program. They hold no data, so they are served without credentials.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;
use flate2::Compression;
use flate2::write::GzEncoder;
use include_dir::{Dir, include_dir};

static FILES: Dir = include_dir!("$CARGO_MANIFEST_DIR/web");

/// No inline code, nothing from elsewhere. Pictures and streams come from this server or from memory.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      media-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors 'none'";

struct Asset {
    content: &'static [u8],
    compressed: Vec<u8>,
    media_type: &'static str,
    etag: String,
}

static ASSETS: LazyLock<BTreeMap<String, Asset>> = LazyLock::new(|| {
    let mut assets = BTreeMap::new();
    collect(&FILES, &mut assets);
    assets
});

fn collect(folder: &'static Dir, assets: &mut BTreeMap<String, Asset>) {
    for file in folder.files() {
        let path = file.path().to_string_lossy();
        let Some(media_type) = media_type(&path) else {
            continue;
        };
        let content = file.contents();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let compressed = encoder.write_all(content).and_then(|()| encoder.finish());
        let asset = Asset {
            content,
            compressed: compressed.expect("writing into memory does not fail"),
            media_type,
            etag: format!("\"{:08x}-{:x}\"", crc32fast::hash(content), content.len()),
        };
        assets.insert(path.into_owned(), asset);
    }
    folder.dirs().for_each(|folder| collect(folder, assets));
}

/// Media type by extension; files of other kinds are not part of the page.
fn media_type(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "webmanifest" => "application/manifest+json",
        _ => return None,
    })
}

/// Answers requests for the page's files; passes all others on.
pub(super) async fn serve(request: Request, next: Next) -> Response<Body> {
    let path = request.uri().path().trim_start_matches('/');
    let path = if path.is_empty() { "index.html" } else { path };
    match ASSETS.get(path) {
        Some(asset) if *request.method() == Method::GET || *request.method() == Method::HEAD => {
            answer(asset, request.headers())
        }
        _ => next.run(request).await,
    }
}

fn answer(asset: &'static Asset, asked: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(CONTENT_TYPE, fixed(asset.media_type));
    headers.insert(CONTENT_SECURITY_POLICY, fixed(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(REFERRER_POLICY, fixed("same-origin"));
    // The browser keeps the files and asks each time whether they changed.
    headers.insert(CACHE_CONTROL, fixed("no-cache"));
    headers.insert(VARY, fixed("accept-encoding"));
    let etag = HeaderValue::from_str(&asset.etag).expect("hexadecimal digits");
    headers.insert(ETAG, etag);

    if contains(asked, &IF_NONE_MATCH, &asset.etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if contains(asked, &ACCEPT_ENCODING, "gzip") {
        headers.insert(CONTENT_ENCODING, fixed("gzip"));
        *response.body_mut() = Body::from(&asset.compressed[..]);
    } else {
        *response.body_mut() = Body::from(asset.content);
    }
    response
}

/// True where a comma-separated header names a value.
fn contains(headers: &HeaderMap, name: &axum::http::HeaderName, value: &str) -> bool {
    let lines = headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok());
    lines
        .flat_map(|line| line.split(','))
        .map(|item| item.split(';').next().unwrap_or_default().trim())
        .any(|item| item == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_of_the_page_is_part_of_it() {
        let mut broken = Vec::new();
        for (path, asset) in ASSETS
            .iter()
            .filter(|(path, _)| path.ends_with(".js") || path.ends_with(".html"))
        {
            let text = str::from_utf8(asset.content).unwrap();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let quoted = text.split('"').filter(|part| {
                let relative = part.starts_with("./") || part.starts_with("../");
                (relative && part.ends_with(".js"))
                    || (path == "index.html" && media_type(part).is_some())
            });
            for reference in quoted {
                let mut parts: Vec<&str> =
                    folder.split('/').filter(|part| !part.is_empty()).collect();
                for part in reference.split('/') {
                    match part {
                        "." => {}
                        ".." => drop(parts.pop()),
                        part => parts.push(part),
                    }
                }
                if !ASSETS.contains_key(&parts.join("/")) {
                    broken.push(format!("{path}: {reference}"));
                }
            }
        }
        assert_eq!(broken, [""; 0]);
    }

    #[test]
    fn the_page_is_small_and_has_no_inline_code() {
        let compressed: usize = ASSETS.values().map(|asset| asset.compressed.len()).sum();
        assert!(compressed <= 200_000, "{compressed} bytes compressed");
        let page = str::from_utf8(ASSETS["index.html"].content).unwrap();
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("onclick"));
        assert!(page.matches("<script").count() == 1 && page.contains("src=\"js/main.js\""));
    }

    #[test]
    fn a_known_version_is_not_sent_again() {
        let asset = &ASSETS["index.html"];
        let mut headers = HeaderMap::new();
        headers.insert(IF_NONE_MATCH, HeaderValue::from_str(&asset.etag).unwrap());
        assert_eq!(answer(asset, &headers).status(), StatusCode::NOT_MODIFIED);
        headers.clear();
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0.8"));
        let response = answer(asset, &headers);
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
    }
}
