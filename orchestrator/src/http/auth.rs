//! Who may do what: tokens, users with passwords, two roles.

use super::error::ApiError;
use super::frigate;
use crate::config::{Access, HttpConfig};
use crate::frigate::Signer;
use argon2::password_hash::PasswordHash;
use argon2::{Argon2, PasswordVerifier};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};

/// Credentials as configured. With none of them everything may be done, which is why none is enough on loopback only.
#[derive(Debug)]
pub struct Auth {
    tokens: Vec<(String, Access)>,
    users: BTreeMap<String, (String, Access)>,
    /// Verified passwords, as keyed hashes, since argon2 is slow on purpose and a page makes many requests.
    known: Mutex<BTreeMap<String, u64>>,
    key: RandomState,
    /// One verification at a time: it takes 19 MiB and tens of milliseconds.
    verifying: Semaphore,
}

impl Auth {
    /// What the configuration says.
    pub fn new(config: &HttpConfig) -> Self {
        let users = config.users.iter();
        Self {
            tokens: config
                .tokens
                .iter()
                .map(|t| (t.token.clone(), t.role))
                .collect(),
            users: users
                .map(|(name, u)| (name.clone(), (u.password.clone(), u.role)))
                .collect(),
            known: Mutex::default(),
            key: RandomState::new(),
            verifying: Semaphore::new(1),
        }
    }

    /// The hash of a user's password.
    pub(super) fn password_hash(&self, user: &str) -> Option<&str> {
        self.users.get(user).map(|(hash, _)| hash.as_str())
    }

    /// What a user may do.
    pub(super) fn user(&self, name: &str) -> Option<Access> {
        self.users.get(name).map(|(_, access)| *access)
    }

    pub(super) async fn access(&self, headers: &HeaderMap) -> Option<Access> {
        if self.tokens.is_empty() && self.users.is_empty() {
            return Some(Access::Admin);
        }
        let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let (scheme, value) = header.split_once(' ')?;
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            // All are compared, so that the time says nothing about which is near.
            return self
                .tokens
                .iter()
                .filter(|(token, _)| same(token.as_bytes(), value.as_bytes()))
                .map(|(_, role)| *role)
                .next_back();
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text = String::from_utf8(base64(value)?).ok()?;
        let (name, password) = text.split_once(':')?;
        let (hash, role) = self.users.get(name)?;
        let print = self.key.hash_one((name, password));
        if self.known().get(name) == Some(&print) {
            return Some(*role);
        }
        let _turn = self.verifying.acquire().await.ok()?;
        let (hash, password) = (hash.clone(), password.to_owned());
        let verified = tokio::task::spawn_blocking(move || {
            let hash = PasswordHash::new(&hash).ok()?;
            Argon2::default()
                .verify_password(password.as_bytes(), &hash)
                .ok()
        })
        .await;
        verified.ok()??;
        self.known().insert(name.to_owned(), print);
        Some(*role)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sender of a request.
#[derive(Debug, Clone)]
pub(super) struct Signed {
    /// The user, where a token of a login names one.
    pub(super) name: Option<String>,
    pub(super) access: Access,
}

/// Lets through who may. Health checks are for everybody: they say nothing about cameras that are well.
pub async fn check(
    State((auth, signer)): State<(watch::Receiver<Arc<Auth>>, Arc<Signer>)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let path = request.uri().path();
    if path != "/healthz" && path != frigate::LOGIN {
        let auth = auth.borrow().clone();
        let logged_in = path
            .strip_prefix(frigate::BASE)
            .filter(|rest| rest.starts_with('/'))
            .and_then(|_| frigate::identify(&auth, &signer, request.headers()));
        let signed = match logged_in {
            Some(signed) => Some(signed),
            None => auth
                .access(request.headers())
                .await
                .map(|access| Signed { name: None, access }),
        };
        let access = signed.as_ref().map(|signed| signed.access);
        let changes = !matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        );
        match access {
            None => return Err(ApiError::WhoAreYou),
            Some(Access::ReadOnly) if changes => return Err(ApiError::ReadOnly),
            Some(_) => {}
        }
        if let Some(signed) = signed {
            request.extensions_mut().insert(signed);
        }
    }
    Ok(next.run(request).await)
}

/// Equal, in a time that depends on the lengths only.
fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

/// Standard base64 with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{TokenConfig, UserConfig};

    fn config(listen: &str) -> HttpConfig {
        HttpConfig {
            listen: listen.parse().unwrap(),
            ..HttpConfig::default()
        }
    }

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn tokens_and_passwords_give_their_role() {
        use argon2::PasswordHasher;
        let hash = Argon2::new(
            argon2::Algorithm::Argon2id,
            argon2::Version::V0x13,
            argon2::Params::new(8, 1, 1, None).unwrap(),
        )
        .hash_password(
            b"geheim",
            argon2::password_hash::Salt::from_b64("c29tZXNhbHQ").unwrap(),
        )
        .unwrap()
        .to_string();
        let mut config = config("0.0.0.0:1");
        config.tokens.push(TokenConfig {
            token: "t0ken".into(),
            role: Access::ReadOnly,
        });
        config.users.insert(
            "anna".into(),
            UserConfig {
                password: hash,
                role: Access::Admin,
            },
        );
        let auth = Auth::new(&config);
        assert_eq!(
            auth.access(&headers("Bearer t0ken")).await,
            Some(Access::ReadOnly)
        );
        // anna:geheim
        for _ in 0..2 {
            assert_eq!(
                auth.access(&headers("Basic YW5uYTpnZWhlaW0=")).await,
                Some(Access::Admin)
            );
        }
        for wrong in [
            "Bearer t0keN",
            "Bearer ",
            "Basic YW5uYTpmYWxzY2g=",
            "Basic YmVydDpnZWhlaW0=",
            "Basic !!!",
            "Digest x",
        ] {
            assert_eq!(auth.access(&headers(wrong)).await, None, "{wrong}");
        }
        assert_eq!(auth.access(&HeaderMap::new()).await, None);
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("YW5uYTpnZWhlaW0=").unwrap(), b"anna:geheim");
        assert_eq!(base64("TWE").unwrap(), b"Ma");
        assert_eq!(base64("T W"), None);
    }
}
