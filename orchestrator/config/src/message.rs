//! serde's messages in the words of this program, with the nearest known key.

use watchpost_pipelines::nearest::nearest;

/// Sections that only Frigate's configuration has.
const FRIGATES: [&str; 12] = [
    "audio",
    "birdseye",
    "detectors",
    "ffmpeg",
    "go2rtc",
    "live",
    "onvif",
    "record",
    "review",
    "rtmp",
    "snapshots",
    "ui",
];

/// What `http.listen` is.
const ADDRESS: &str = "ADDRESS:PORT, for instance 127.0.0.1:8480";

/// What serde says, in the words of this program.
pub fn in_our_words(message: &str) -> String {
    rewrite(message).0
}

/// Rewrites a message of serde. The second value says whether it is about a key rather than a value.
pub fn rewrite(message: &str) -> (String, bool) {
    let message = message
        .rsplit_once(" at line ")
        .map_or(message, |(message, _)| message);
    if let Some((name, known)) = named(message, "unknown field ") {
        let text = match nearest(name, &known) {
            Some(near) => format!("unknown key, did you mean `{near}`?"),
            None if FRIGATES.contains(&name) => {
                "unknown key; it is one of Frigate's, whose files `watchpost import-frigate FILE` converts".to_owned()
            }
            None => format!("unknown key, expected one of {}", list(&known)),
        };
        return (text, true);
    }
    if let Some((name, known)) = named(message, "unknown variant ") {
        let text = match nearest(name, &known) {
            Some(near) => format!(
                "`{name}` is not known, did you mean `{near}`? Expected one of {}",
                list(&known)
            ),
            None => format!("`{name}` is not known, expected one of {}", list(&known)),
        };
        return (text, false);
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return (format!("key {name} is missing"), false);
    }
    for (prefix, joined) in [
        ("invalid type: ", "is"),
        ("invalid value: ", "has the wrong value"),
    ] {
        if let Some((found, wanted)) = message
            .strip_prefix(prefix)
            .and_then(|rest| rest.split_once(", expected "))
        {
            return (
                format!("{joined} {}, expected {}", kind(found), wish(wanted)),
                false,
            );
        }
    }
    if let Some((count, wanted)) = message
        .strip_prefix("invalid length ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return (
            format!("is a list of {count}, expected {}", wish(wanted)),
            false,
        );
    }
    if message == "invalid socket address syntax" {
        return (format!("is no address, expected {ADDRESS}"), false);
    }
    (message.to_owned(), false)
}

/// Takes apart "unknown field `a`, expected one of `b`, `c`".
fn named<'a>(message: &'a str, prefix: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let rest = message.strip_prefix(prefix)?;
    let (name, rest) = rest.strip_prefix('`')?.split_once('`')?;
    let known = rest.split('`').skip(1).step_by(2).collect();
    Some((name, known))
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        return "none here".to_owned();
    }
    names.join(", ")
}

fn kind(found: &str) -> String {
    match found {
        "map" => "a mapping".to_owned(),
        "sequence" => "a list".to_owned(),
        "null" | "unit value" => "empty".to_owned(),
        _ => found
            .replace("string \"", "text \"")
            .replace("floating point ", "")
            .replace("integer ", ""),
    }
}

fn wish(wanted: &str) -> String {
    match wanted {
        "f64" | "f32" => "a number".to_owned(),
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0 on".to_owned(),
        "i32" | "i64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "text (put it in quotes)".to_owned(),
        "a sequence" => "a list".to_owned(),
        "an array of length 2" => "a list of 2".to_owned(),
        "a map" => "a mapping".to_owned(),
        "socket address" => ADDRESS.to_owned(),
        "string or map" => "text or a mapping".to_owned(),
        "struct SourceKeys" | "struct EntryKeys" => {
            "a mapping with one of rtsp, file, v4l2, libcamera, test, launch".to_owned()
        }
        _ if wanted.starts_with("struct ") => "a mapping".to_owned(),
        _ => wanted.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serdes_words_become_ours() {
        for (serde, ours) in [
            (
                "unknown field `fsp`, expected `fps` or `width`",
                "unknown key, did you mean `fps`?",
            ),
            (
                "unknown field `colour`, expected one of `fps`, `width`",
                "unknown key, expected one of fps, width",
            ),
            (
                "unknown field `ffmpeg`, expected one of `fps`, `width`",
                "unknown key; it is one of Frigate's, whose files `watchpost import-frigate FILE` converts",
            ),
            (
                "invalid type: string \"rtsp://h/1\", expected struct SourceKeys",
                "is text \"rtsp://h/1\", expected a mapping with one of rtsp, file, v4l2, libcamera, test, launch",
            ),
            (
                "invalid type: integer `8480`, expected socket address",
                "is `8480`, expected ADDRESS:PORT, for instance 127.0.0.1:8480",
            ),
            (
                "missing field `coordinates`",
                "key `coordinates` is missing",
            ),
            (
                "invalid type: string \"five\", expected f64",
                "is text \"five\", expected a number",
            ),
            (
                "invalid value: integer `-5`, expected u32",
                "has the wrong value `-5`, expected a whole number from 0 on",
            ),
            (
                "invalid type: sequence, expected struct DetectConfig",
                "is a list, expected a mapping",
            ),
            ("something else", "something else"),
        ] {
            assert_eq!(rewrite(serde).0, ours);
        }
    }
}
