//! The tokens of `POST /api/login`: JSON web tokens, signed with HMAC-SHA256, as clients decode them.

use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// Seconds a token is good for. A client logs in again after that, and not before.
const LIFE: f64 = 86_400.0;
const FILE: &str = "frigate-login.key";
const KEY: usize = 32;
/// `{"alg":"HS256","typ":"JWT"}`; no other is accepted.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

/// Signs and verifies tokens.
#[derive(Debug)]
pub(crate) struct Signer {
    /// Without it nothing is signed and every token is refused.
    secret: Option<[u8; KEY]>,
}

/// The user of a token, and what proves that the user is still the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct User<'a> {
    pub(crate) name: &'a str,
    /// The hash of the password: with another password the token ends.
    pub(crate) proof: &'a str,
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: String,
    exp: u64,
    iat: u64,
}

impl Signer {
    /// With the key that is kept in `folder`: clients keep their tokens over a restart of ours, and would not log in again
    /// where they are refused. Where it cannot be kept, an error says why, and the key is good until the end.
    pub(crate) fn new(folder: Option<&Path>) -> (Self, Option<std::io::Error>) {
        let mut fresh = [0; KEY];
        if SystemRandom::new().fill(&mut fresh).is_err() {
            let error = std::io::Error::other("the system has no random numbers");
            return (Self { secret: None }, Some(error));
        }
        let (secret, error) = match folder.map(|folder| keep(&folder.join(FILE), &fresh)) {
            Some(Ok(kept)) => (kept, None),
            Some(Err(error)) => (fresh, Some(error)),
            None => (fresh, None),
        };
        (
            Self {
                secret: Some(secret),
            },
            error,
        )
    }

    /// A token for a user, from `now` on.
    pub(crate) fn sign(&self, user: User, role: &str, now: f64) -> Option<String> {
        let claims = Claims {
            sub: user.name.to_owned(),
            role: role.to_owned(),
            exp: (now + LIFE) as u64,
            iat: now as u64,
        };
        let claims = serde_json::to_vec(&claims).unwrap_or_default();
        let text = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = hmac::sign(&self.key(user.proof)?, text.as_bytes());
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The user of a token that is good now. `proof` knows the users there are.
    pub(crate) fn verify<'a>(
        &self,
        token: &str,
        now: f64,
        proof: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<String> {
        let (text, signature) = token.rsplit_once('.')?;
        let claims = text.strip_prefix(HEADER)?.strip_prefix('.')?;
        let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let key = self.key(proof(&claims.sub)?)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        hmac::verify(&key, text.as_bytes(), &signature).ok()?;
        (now < claims.exp as f64).then_some(claims.sub)
    }

    fn key(&self, proof: &str) -> Option<hmac::Key> {
        let of_secret = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_ref()?);
        let of_user = hmac::sign(&of_secret, proof.as_bytes());
        Some(hmac::Key::new(hmac::HMAC_SHA256, of_user.as_ref()))
    }
}

/// The key of a file, which becomes this one where there is none.
fn keep(path: &Path, fresh: &[u8; KEY]) -> std::io::Result<[u8; KEY]> {
    match std::fs::read(path) {
        Ok(known) => match known.try_into() {
            Ok(known) => return Ok(known),
            // Half of it was written when the power went.
            Err(_) => std::fs::remove_file(path)?,
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(fresh)?;
    file.sync_all()?;
    Ok(*fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: User = User {
        name: "anna",
        proof: "hash",
    };

    fn proof(name: &str) -> Option<&'static str> {
        (name == "anna").then_some("hash")
    }

    #[test]
    fn a_token_is_good_for_its_user_and_time() {
        let (signer, error) = Signer::new(None);
        assert!(error.is_none());
        let token = signer.sign(ANNA, "admin", 1000.0).unwrap();
        assert_eq!(
            signer.verify(&token, 1001.0, proof).as_deref(),
            Some("anna")
        );
        assert_eq!(
            signer.verify(&token, 1000.0 + LIFE, proof),
            None,
            "too late"
        );
        assert_eq!(signer.verify(&token, 1001.0, |_| None), None, "no user");
        let other = |_: &str| Some("other");
        assert_eq!(signer.verify(&token, 1001.0, other), None, "other password");
        assert_eq!(Signer::new(None).0.verify(&token, 1001.0, proof), None);
    }

    #[test]
    fn a_changed_token_is_refused() {
        let (signer, _) = Signer::new(None);
        let token = signer.sign(ANNA, "viewer", 1000.0).unwrap();
        for index in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            // Another digit of base64; the last one has unused bits, so a far one.
            changed[index] = if changed[index] == b'Q' { b'h' } else { b'Q' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(signer.verify(&changed, 1001.0, proof), None, "{index}");
        }
        let claims = token.split('.').nth(1).unwrap();
        let none = URL_SAFE_NO_PAD.encode(b"{\"alg\":\"none\"}");
        assert_eq!(
            signer.verify(&format!("{none}.{claims}."), 1001.0, proof),
            None
        );
    }

    #[test]
    fn the_claims_are_what_clients_decode() {
        let (signer, _) = Signer::new(None);
        let token = signer.sign(ANNA, "admin", 1000.7).unwrap();
        let part = |index| {
            URL_SAFE_NO_PAD
                .decode(token.split('.').nth(index).unwrap())
                .unwrap()
        };
        let header: serde_json::Value = serde_json::from_slice(&part(0)).unwrap();
        assert_eq!(header, serde_json::json!({"alg": "HS256", "typ": "JWT"}));
        let claims: serde_json::Value = serde_json::from_slice(&part(1)).unwrap();
        let expected =
            serde_json::json!({"sub": "anna", "role": "admin", "exp": 87400, "iat": 1000});
        assert_eq!(claims, expected);
    }

    #[test]
    fn the_key_is_kept_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let token = Signer::new(Some(folder.path()))
            .0
            .sign(ANNA, "admin", 1000.0)
            .unwrap();
        let file = folder.path().join(FILE);
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let again = || Signer::new(Some(folder.path())).0;
        assert!(again().verify(&token, 1001.0, proof).is_some());
        std::fs::write(&file, b"half").unwrap();
        assert!(again().verify(&token, 1001.0, proof).is_none());
        let (_, error) = Signer::new(Some(&folder.path().join("none")));
        assert!(error.is_some());
    }
}
