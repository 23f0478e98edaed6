//! Keeps passwords out of logs, answers and messages.
//!
//! Texts come from many places, so secrets are recognised by what stands around them. A password that this cannot
//! recognise, since it holds blanks or quotes, is remembered when its address is read, and hidden literally.

use std::collections::BTreeSet;
use std::sync::RwLock;

use crate::capture::split_credentials;

/// What stands where a secret was.
pub const HIDDEN: &str = "***";

/// Keys whose value is a secret wherever they stand: in a query, a launch line, or a configuration.
const SECRET_KEYS: [&str; 9] = [
    "password",
    "passwd",
    "passphrase",
    "pass",
    "pwd",
    "user-pw",
    "token",
    "secret",
    "apikey",
];

/// Whether a configuration key holds a secret.
pub fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    SECRET_KEYS.contains(&key.as_str())
}

/// Whether the name of a parameter in a query or launch line says that its value is a secret: `pwd`, `loginpas`,
/// `access_token`, `admin_password`, `authbasic`.
fn is_secret_parameter(name: &str) -> bool {
    const INSIDE: [&str; 7] = [
        "pass",
        "pwd",
        "psw",
        "token",
        "secret",
        "credential",
        "apikey",
    ];
    let name = name.to_ascii_lowercase();
    let words = || name.split(['-', '_']);
    is_secret_key(&name)
        || INSIDE.iter().any(|part| name.contains(part))
        || words().any(|word| word.starts_with("auth") || matches!(word, "loginpas" | "pas" | "pw"))
        || words().next_back() == Some("key")
}

/// Passwords that [`hide`] would not recognise by what stands around them.
static REMEMBERED: RwLock<BTreeSet<String>> = RwLock::new(BTreeSet::new());
/// More than any configuration has; the set never shrinks, since old messages are shown for long.
const MOST_REMEMBERED: usize = 4096;

/// Notes the password of an address where its looks would not give it away.
pub(crate) fn remember(url: &str) {
    let Some((_, password)) = split_credentials(url).1 else {
        return;
    };
    if password.is_empty() || !hide_by_looks(url).contains(&password) {
        return;
    }
    let mut remembered = REMEMBERED.write().unwrap_or_else(|e| e.into_inner());
    if remembered.len() < MOST_REMEMBERED {
        remembered.insert(password);
    }
}

/// The text with the passwords of URLs (`rtsp://user:password@host`), of `password=...` (queries, launch lines) and of
/// `Authorization` headers replaced by `***`. References (`${NAME}`) stay as they are.
pub fn hide(text: &str) -> String {
    let remembered = REMEMBERED.read().unwrap_or_else(|e| e.into_inner());
    let mut known = remembered
        .iter()
        .filter(|password| text.contains(password.as_str()))
        .peekable();
    if known.peek().is_none() {
        return hide_by_looks(text);
    }
    let text = known.fold(text.to_owned(), |text, password| {
        text.replace(password.as_str(), HIDDEN)
    });
    hide_by_looks(&text)
}

fn hide_by_looks(text: &str) -> String {
    hide_assignments(&hide_headers(&hide_user_info(text)))
}

/// Hides what follows the scheme of an `Authorization` header.
fn hide_headers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let starts = |text: &str| {
        ["Bearer ", "Basic "]
            .into_iter()
            .filter_map(|scheme| {
                let at = text.find(scheme)?;
                Some(at + scheme.len())
            })
            .min()
    };
    while let Some(start) = starts(rest) {
        let (head, tail) = rest.split_at(start);
        out.push_str(head);
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        let end = tail.find(|c| !is_part(c)).unwrap_or(tail.len());
        // Shorter words are prose: "Basic authentication" has a longer one, and nothing is lost by hiding it.
        out.push_str(if end >= 6 { HIDDEN } else { &tail[..end] });
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}

fn is_reference(value: &str) -> bool {
    value.starts_with("${") && value.ends_with('}')
}

/// Ends of a word in a URL or launch line.
fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>')
}

fn hide_user_info(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (head, tail) = rest.split_at(start + 3);
        out.push_str(head);
        // A password may hold `/`, `?` and `@` unescaped in real life: everything up to the last `@` counts, rather hiding
        // too much than too little.
        let word = tail.split(ends_word).next().unwrap_or(tail);
        let at = word.rfind('@');
        match at.and_then(|at| word[..at].find(':').map(|colon| (colon, at))) {
            Some((colon, at)) => {
                out.push_str(&word[..=colon]);
                let password = &word[colon + 1..at];
                out.push_str(if is_reference(password) {
                    password
                } else {
                    HIDDEN
                });
                rest = &tail[at..];
            }
            None => rest = tail,
        }
    }
    out.push_str(rest);
    out
}

fn hide_assignments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(equals) = rest.find('=') {
        let (head, tail) = rest.split_at(equals + 1);
        out.push_str(head);
        rest = tail;
        let key_start = head[..equals]
            .char_indices()
            .rev()
            .take_while(|(_, c)| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
            .last()
            .map_or(equals, |(i, _)| i);
        if !is_secret_parameter(&head[key_start..equals]) {
            continue;
        }
        let (quote, value) = match tail.chars().next() {
            Some(quote @ ('"' | '\'')) => (Some(quote), &tail[1..]),
            _ => (None, tail),
        };
        let end = match quote {
            Some(quote) => value.find(quote),
            None => value.find(|c: char| ends_word(c) || matches!(c, '&' | '!' | ',' | ';')),
        }
        .unwrap_or(value.len());
        if end == 0 {
            continue;
        }
        if let Some(quote) = quote {
            out.push(quote);
        }
        out.push_str(if is_reference(&value[..end]) {
            &value[..end]
        } else {
            HIDDEN
        });
        rest = &value[end..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_hidden_wherever_they_stand() {
        for (text, hidden) in [
            ("rtsp://10.0.0.2/main", "rtsp://10.0.0.2/main"),
            ("rtsp://u@10.0.0.2:554/a:b", "rtsp://u@10.0.0.2:554/a:b"),
            (
                "rtsp://u:p@10.0.0.2:554/main",
                "rtsp://u:***@10.0.0.2:554/main",
            ),
            ("rtsp://u:p@ss@10.0.0.2/main", "rtsp://u:***@10.0.0.2/main"),
            ("rtsp://u:p/w?@10.0.0.2/main", "rtsp://u:***@10.0.0.2/main"),
            (
                "rtsp://u:${PW}@10.0.0.2/main",
                "rtsp://u:${PW}@10.0.0.2/main",
            ),
            (
                "cannot open rtsp://u:p@h/1 and rtsp://v:q@h/2: no",
                "cannot open rtsp://u:***@h/1 and rtsp://v:***@h/2: no",
            ),
            (
                "rtsp://h/user=admin&password=x1&channel=1",
                "rtsp://h/user=admin&password=***&channel=1",
            ),
            (
                "rtspsrc location=rtsp://u:p@h user-id=u user-pw=\"a b\" ! fakesink",
                "rtspsrc location=rtsp://u:***@h user-id=u user-pw=\"***\" ! fakesink",
            ),
            ("token=", "token="),
            (
                "rtsp://h/user=admin_password=S3CRET_channel=1_stream=0",
                "rtsp://h/user=admin_password=***",
            ),
            (
                "rtsp://h/1?authbasic=YWRtaW46&loginpas=x&access_token=y&key=z&profile=2",
                "rtsp://h/1?authbasic=***&loginpas=***&access_token=***&key=***&profile=2",
            ),
            (
                "souphttpsrc extra-headers=\"headers,Authorization=(string)\\\"Bearer SECRET06\\\"\" ! jpegdec",
                "souphttpsrc extra-headers=\"headers,Authorization=***\"Bearer ***\\\"\" ! jpegdec",
            ),
            (
                "x264enc key-int-max=15 ! rtph264pay config-interval=-1",
                "x264enc key-int-max=15 ! rtph264pay config-interval=-1",
            ),
            ("ä=ö password=ü", "ä=ö password=***"),
        ] {
            assert_eq!(hide(text), hidden);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_password_survives(user in "[a-z]{1,8}", password in "[A-Z0-9!$/?@#]{4,20}", path in "[a-z/]{0,10}") {
            let hidden = hide(&format!("rtsp://{user}:{password}@camera/{path}"));
            proptest::prop_assert!(!hidden.contains(&password), "{}", hidden);
        }

        /// Characters that end a word in a text, too.
        #[test]
        fn no_password_of_a_source_survives(password in "[A-Z0-9!$/?@#'\"<> &=;,]{4,20}", path in "[a-z/]{0,10}") {
            let url = format!("rtsp://u:{password}@camera/{path}");
            // Not each of these is a password: `u:4/` is a host with a port and a path.
            let read = split_credentials(&url).1;
            proptest::prop_assume!(read.is_some_and(|(_, read)| read == password));
            remember(&url);
            let hidden = hide(&format!("cannot open {url}: no"));
            proptest::prop_assert!(!hidden.contains(&password), "{}", hidden);
        }

        #[test]
        fn hiding_twice_changes_nothing(text in ".{0,80}") {
            let once = hide(&text);
            proptest::prop_assert_eq!(hide(&once), once);
        }
    }
}
