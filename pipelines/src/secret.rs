//! Keeps passwords out of logs, answers and messages.

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

/// The text with the passwords of URLs (`rtsp://user:password@host`) and of `password=...` (queries, launch lines)
/// replaced by `***`. References (`${NAME}`) stay as they are.
pub fn hide(text: &str) -> String {
    hide_assignments(&hide_user_info(text))
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
        if !is_secret_key(&head[key_start..equals]) {
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

        #[test]
        fn hiding_twice_changes_nothing(text in ".{0,80}") {
            let once = hide(&text);
            proptest::prop_assert_eq!(hide(&once), once);
        }
    }
}
