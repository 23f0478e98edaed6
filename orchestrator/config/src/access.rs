//! Checks of the section `http` that its types cannot make.

use argon2::password_hash::PasswordHash;

use super::file::HttpConfig;

/// Why HTTP must not be served as configured.
pub fn http_problem(config: &HttpConfig) -> Option<String> {
    let open = config.tokens.is_empty() && config.users.is_empty();
    if open && !config.listen.ip().is_loopback() {
        return Some(format!(
            "http.listen {} can be reached from other machines: it needs http.tokens or http.users, or listen on \
             127.0.0.1",
            config.listen
        ));
    }
    // An empty variable or file, most likely.
    if let Some(index) = config.tokens.iter().position(|t| t.token.trim().is_empty()) {
        return Some(format!(
            "http.tokens[{index}].token is empty; give it a value that cannot be guessed"
        ));
    }
    config.users.iter().find_map(|(name, user)| {
        let error = PasswordHash::new(&user.password).err()?;
        Some(format!(
            "http.users.{name}.password is no argon2 hash ({error}); `watchpost hash-password` makes one"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::super::file::{Access, TokenConfig};
    use super::*;

    fn config(listen: &str) -> HttpConfig {
        HttpConfig {
            listen: listen.parse().unwrap(),
            ..HttpConfig::default()
        }
    }

    #[test]
    fn off_loopback_credentials_are_needed() {
        assert_eq!(http_problem(&config("127.0.0.1:1")), None);
        assert_eq!(http_problem(&config("[::1]:1")), None);
        let problem = http_problem(&config("0.0.0.0:8480")).unwrap();
        assert!(problem.contains("http.tokens"), "{problem}");
        let mut open = config("0.0.0.0:8480");
        open.tokens.push(TokenConfig {
            token: "t".into(),
            role: Access::Admin,
        });
        assert_eq!(http_problem(&open), None);
        open.tokens[0].token = " ".into();
        let problem = http_problem(&open).unwrap();
        assert!(
            problem.contains("http.tokens[0].token is empty"),
            "{problem}"
        );
    }
}
