//! Checks of the section `http` that its types cannot make.

use argon2::password_hash::PasswordHash;
use argon2::{Algorithm, Params};

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
        let error = hash_problem(&user.password)?;
        Some(format!(
            "http.users.{name}.password {error}; `watchpost hash-password` makes a good one"
        ))
    })
}

/// A password is verified with at most this much memory, in KiB, and work, in KiB times passes: about ten times what
/// `watchpost hash-password` asks for.
const MAX_HASH_MEMORY: u32 = 256 << 10;
const MAX_HASH_WORK: u64 = 512 << 10;
/// Lanes of memory of one verification.
const MAX_HASH_LANES: u32 = 16;

/// Why a password's hash cannot be used.
fn hash_problem(text: &str) -> Option<String> {
    let hash = match PasswordHash::new(text) {
        Ok(hash) => hash,
        Err(error) => return Some(format!("is no argon2 hash ({error})")),
    };
    if let Err(error) = Algorithm::try_from(hash.algorithm) {
        return Some(format!("is no argon2 hash ({error})"));
    }
    let params = match Params::try_from(&hash) {
        Ok(params) => params,
        Err(error) => return Some(format!("is no argon2 hash ({error})")),
    };
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MAX_HASH_MEMORY || work > MAX_HASH_WORK || params.p_cost() > MAX_HASH_LANES
    {
        return Some(format!(
            "is a hash that costs too much (m={}, t={}, p={}): at most m={MAX_HASH_MEMORY}, m times t {MAX_HASH_WORK} \
             and p={MAX_HASH_LANES}",
            params.m_cost(),
            params.t_cost(),
            params.p_cost()
        ));
    }
    if hash.hash.is_none() || hash.salt.is_none() {
        return Some("is an argon2 hash without its salt or its value".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::file::{Role, TokenConfig};
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
            name: None,
            role: Role::Admin,
            cameras: None,
            scope: None,
        });
        assert_eq!(http_problem(&open), None);
        open.tokens[0].token = " ".into();
        let problem = http_problem(&open).unwrap();
        assert!(
            problem.contains("http.tokens[0].token is empty"),
            "{problem}"
        );
    }

    #[test]
    fn hashes_cost_what_a_sign_in_may_cost() {
        let of = |params: &str| {
            hash_problem(&format!(
                "$argon2id$v=19${params}$c29tZXNhbHQ$RdescudvJCsgt3ub+b/1lA"
            ))
        };
        assert_eq!(of("m=19456,t=2,p=1"), None);
        assert_eq!(of("m=65536,t=3,p=4"), None);
        for params in ["m=3000000,t=1,p=1", "m=65536,t=100,p=1", "m=19456,t=2,p=64"] {
            let problem = of(params).unwrap();
            assert!(problem.contains("costs too much"), "{params}: {problem}");
        }
        for text in [
            "secret",
            "$pbkdf2-sha256$i=1000$c29tZXNhbHQ$RdescudvJCsgt3ub+b/1lA",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
        ] {
            assert!(hash_problem(text).is_some(), "{text}");
        }
    }
}
