//! Sign-in: from the header of a request to the identity that sends it, at a cost that attackers cannot raise.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tokio::sync::watch;

use super::access::{Hasher, Identity, Proof, Rejected, Throttle, same};
use crate::config::{HttpConfig, Role};

/// The answer to a wrong token comes this late at most, once an address has used up its free failures.
const LATEST: Duration = Duration::from_secs(2);
/// Bytes of a user's name that are kept for the log.
const LOGGED_NAME: usize = 64;

/// Credentials as configured. With none of them everything may be done, which is why none is enough on loopback only.
pub struct Auth {
    tokens: Vec<Credential>,
    users: BTreeMap<String, Credential>,
    /// Verified passwords, as keyed hashes, since argon2 is slow on purpose and a page makes many requests.
    known: Mutex<BTreeMap<String, u64>>,
    key: RandomState,
}

struct Credential {
    /// A token, or the hash of a password.
    secret: Arc<str>,
    identity: Identity,
}

/// The part of signing in that goes on when the configuration changes.
#[derive(Default)]
pub struct SignIns {
    throttle: Mutex<Throttle>,
    hasher: Hasher,
    failed: AtomicU64,
}

/// What comes of a request's credentials.
pub enum SignIn {
    Known(Identity),
    /// The same, by a password that was not known before: a sign-in.
    New(Identity),
    /// There are none.
    Missing,
    Wrong(Failure),
    /// Nothing was verified: the address has to wait.
    TooSoon(Duration),
}

/// A failed sign-in.
pub struct Failure {
    /// The user's name as it was given, or `(token)`.
    pub name: String,
    /// Failures that are to be written down with this one counted; without it, they are counted for the next.
    pub noted: Option<u64>,
}

impl SignIns {
    /// Failed sign-ins since the start.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, address: IpAddr) -> Option<Duration> {
        self.throttle().wait(address, Instant::now())
    }

    fn fail(&self, address: IpAddr, name: &str) -> SignIn {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let noted = self.throttle().failed(address, Instant::now());
        let name: String = name.chars().take(LOGGED_NAME).collect();
        SignIn::Wrong(Failure { name, noted })
    }
}

impl Auth {
    /// What the configuration says.
    pub fn new(config: &HttpConfig) -> Self {
        let cameras = |cameras: &Option<_>| cameras.clone().map(Arc::new);
        let tokens = config.tokens.iter().zip(1..).map(|(token, number)| {
            let secret: Arc<str> = token.token.as_str().into();
            let name = token.name.clone();
            Credential {
                identity: Identity {
                    name: name.unwrap_or_else(|| format!("token {number}")).into(),
                    role: token.role,
                    cameras: cameras(&token.cameras),
                    scope: token.scope,
                    proof: Proof::Token(secret.clone()),
                },
                secret,
            }
        });
        let users = config.users.iter().map(|(name, user)| {
            let secret: Arc<str> = user.password.as_str().into();
            let credential = Credential {
                identity: Identity {
                    name: name.as_str().into(),
                    role: user.role,
                    cameras: cameras(&user.cameras),
                    scope: None,
                    proof: Proof::Password(secret.clone()),
                },
                secret,
            };
            (name.clone(), credential)
        });
        Self {
            tokens: tokens.collect(),
            users: users.collect(),
            known: Mutex::default(),
            key: RandomState::new(),
        }
    }

    /// The hash of a user's password.
    pub(super) fn password_hash(&self, user: &str) -> Option<&str> {
        self.users.get(user).map(|user| &*user.secret)
    }

    /// The identity of a user.
    pub(super) fn user(&self, name: &str) -> Option<Identity> {
        self.users.get(name).map(|user| user.identity.clone())
    }

    fn is_open(&self) -> bool {
        self.tokens.is_empty() && self.users.is_empty()
    }

    /// Whether an identity would still be found by the credentials it came from.
    fn holds(&self, identity: &Identity) -> bool {
        match &identity.proof {
            Proof::Open => self.is_open(),
            Proof::Token(_) => self.tokens.iter().any(|t| t.identity == *identity),
            Proof::Password(_) => {
                let user = self.users.get(&*identity.name);
                user.is_some_and(|user| user.identity == *identity)
            }
        }
    }

    /// The identity that a request's headers prove. A password of this address is verified by `sign_ins`, in turn.
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        address: IpAddr,
        sign_ins: &SignIns,
    ) -> SignIn {
        if self.is_open() {
            return SignIn::Known(Identity {
                name: "(no credentials)".into(),
                role: Role::Admin,
                cameras: None,
                scope: None,
                proof: Proof::Open,
            });
        }
        let mut given = headers.get_all(AUTHORIZATION).iter();
        let (Some(header), None) = (given.next(), given.next()) else {
            return SignIn::Missing;
        };
        let parts = header.to_str().ok().and_then(|text| text.split_once(' '));
        match parts {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.token(token.trim(), address, sign_ins).await
            }
            Some((scheme, value)) if scheme.eq_ignore_ascii_case("basic") => {
                let text = base64(value.trim()).and_then(|bytes| String::from_utf8(bytes).ok());
                match text.as_deref().and_then(|text| text.split_once(':')) {
                    Some((name, password)) => {
                        self.password(name, password, address, sign_ins).await
                    }
                    None => sign_ins.fail(address, "(unreadable)"),
                }
            }
            _ => SignIn::Missing,
        }
    }

    async fn token(&self, value: &str, address: IpAddr, sign_ins: &SignIns) -> SignIn {
        // All are compared, so that the time does not depend on the one that is near.
        let known = self.tokens.iter().fold(None, |known, token| {
            let same = same(token.secret.as_bytes(), value.as_bytes());
            if same { Some(token) } else { known }
        });
        if let Some(token) = known {
            return SignIn::Known(token.identity.clone());
        }
        let wait = sign_ins.wait(address).unwrap_or_default();
        let failed = sign_ins.fail(address, "(token)");
        tokio::time::sleep(wait.min(LATEST)).await;
        failed
    }

    async fn password(
        &self,
        name: &str,
        password: &str,
        address: IpAddr,
        sign_ins: &SignIns,
    ) -> SignIn {
        let user = self.users.get(name);
        let print = self.key.hash_one((name, password));
        let verified = || {
            let user = user.filter(|_| self.known().get(name) == Some(&print))?;
            Some(SignIn::Known(user.identity.clone()))
        };
        if let Some(known) = verified() {
            return known;
        }
        if let Some(wait) = sign_ins.wait(address) {
            return SignIn::TooSoon(wait);
        }
        let turn = match sign_ins.hasher.queue(address).await {
            Ok(turn) => turn,
            Err(Rejected) => return SignIn::TooSoon(Duration::from_secs(1)),
        };
        // Earlier attempts of this address may have failed, or proved this very password.
        if let Some(known) = verified() {
            return known;
        }
        if let Some(wait) = sign_ins.wait(address) {
            return SignIn::TooSoon(wait);
        }
        // An unknown name takes as long as a known one: some user's hash is computed, always the same for one name.
        let Some(hash) = user.or_else(|| self.stand_in(name)) else {
            return sign_ins.fail(address, name);
        };
        let right = turn.verify(hash.secret.clone(), password.to_owned()).await;
        match user {
            Some(user) if right => {
                self.known().insert(name.to_owned(), print);
                SignIn::New(user.identity.clone())
            }
            _ => sign_ins.fail(address, name),
        }
    }

    fn stand_in(&self, name: &str) -> Option<&Credential> {
        let count = self.users.len() as u64;
        let index = self.key.hash_one(name).checked_rem(count)?;
        self.users.values().nth(index as usize)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns when the credentials of an identity have changed or are gone.
pub async fn ended(mut auth: watch::Receiver<Arc<Auth>>, identity: Identity) {
    // An error says that the interface is ending, which ends everything else too.
    let _ = auth.wait_for(|auth| !auth.holds(&identity)).await;
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
    use argon2::PasswordHasher;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));
    // anna:geheim, anna:falsch, bert:geheim
    const RIGHT: &str = "Basic YW5uYTpnZWhlaW0=";
    const WRONG: &str = "Basic YW5uYTpmYWxzY2g=";
    const STRANGER: &str = "Basic YmVydDpnZWhlaW0=";

    fn headers(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        headers
    }

    fn configured() -> HttpConfig {
        let hash = argon2::Argon2::new(
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
        let mut config = HttpConfig::default();
        config.tokens.push(TokenConfig {
            token: "t0ken".into(),
            name: None,
            role: Role::Viewer,
            cameras: None,
            scope: None,
        });
        let anna = UserConfig {
            password: hash,
            role: Role::Admin,
            cameras: None,
        };
        config.users.insert("anna".into(), anna);
        config
    }

    async fn ask(auth: &Auth, sign_ins: &SignIns, address: IpAddr, value: &str) -> String {
        match auth.identify(&headers(value), address, sign_ins).await {
            SignIn::Known(identity) | SignIn::New(identity) => {
                format!("{} {:?}", identity.name, identity.role)
            }
            SignIn::Missing => "missing".into(),
            SignIn::Wrong(failure) => format!("wrong {}", failure.name),
            SignIn::TooSoon(_) => "too soon".into(),
        }
    }

    #[tokio::test]
    async fn tokens_and_passwords_give_their_role() {
        let auth = Auth::new(&configured());
        let sign_ins = SignIns::default();
        for (value, answer) in [
            ("Bearer t0ken", "token 1 Viewer"),
            (RIGHT, "anna Admin"),
            (RIGHT, "anna Admin"),
            ("Bearer t0keN", "wrong (token)"),
            ("Bearer ", "wrong (token)"),
            (WRONG, "wrong anna"),
            (STRANGER, "wrong bert"),
            ("Basic !!!", "wrong (unreadable)"),
            ("Digest x", "missing"),
        ] {
            assert_eq!(ask(&auth, &sign_ins, HERE, value).await, answer, "{value}");
        }
        assert_eq!(sign_ins.failed(), 5);
        let none = auth.identify(&HeaderMap::new(), HERE, &sign_ins).await;
        assert!(matches!(none, SignIn::Missing));
        let mut two = headers("Bearer t0ken");
        two.append(AUTHORIZATION, "Bearer t0ken".parse().unwrap());
        let two = auth.identify(&two, HERE, &sign_ins).await;
        assert!(matches!(two, SignIn::Missing));
    }

    #[tokio::test]
    async fn an_address_that_guesses_is_slowed_down_and_others_are_not() {
        let auth = Auth::new(&configured());
        let sign_ins = SignIns::default();
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(ask(&auth, &sign_ins, HERE, WRONG).await);
        }
        assert_eq!(answers[5], "wrong anna");
        assert_eq!(answers[19], "too soon");
        // Known and unknown names are treated alike, and so is the right password.
        for value in [STRANGER, RIGHT] {
            assert_eq!(ask(&auth, &sign_ins, HERE, value).await, "too soon");
        }
        assert_eq!(
            ask(&auth, &sign_ins, HERE, "Bearer t0ken").await,
            "token 1 Viewer"
        );
        assert_eq!(ask(&auth, &sign_ins, THERE, RIGHT).await, "anna Admin");
        // Once proved, the password is not verified again.
        assert_eq!(ask(&auth, &sign_ins, HERE, RIGHT).await, "anna Admin");
    }

    #[tokio::test]
    async fn an_identity_ends_with_its_credentials() {
        let config = configured();
        let auth = Auth::new(&config);
        let sign_ins = SignIns::default();
        let known = |answer| match answer {
            SignIn::Known(identity) | SignIn::New(identity) => identity,
            _ => panic!("not known"),
        };
        let token = known(
            auth.identify(&headers("Bearer t0ken"), HERE, &sign_ins)
                .await,
        );
        let anna = known(auth.identify(&headers(RIGHT), HERE, &sign_ins).await);
        let auth = watch::Sender::new(Arc::new(auth));
        let mut token_ended = Box::pin(ended(auth.subscribe(), token));
        fn is_pending(future: &mut std::pin::Pin<Box<impl Future<Output = ()>>>) -> bool {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            future.as_mut().poll(&mut context).is_pending()
        }
        assert!(is_pending(&mut token_ended));
        let mut changed = config.clone();
        changed.allow_local_sources = true;
        auth.send_replace(Arc::new(Auth::new(&changed)));
        assert!(is_pending(&mut token_ended));
        changed.tokens[0].role = Role::Operator;
        auth.send_replace(Arc::new(Auth::new(&changed)));
        assert!(!is_pending(&mut token_ended));
        assert!(auth.borrow().holds(&anna));
        changed.users.clear();
        auth.send_replace(Arc::new(Auth::new(&changed)));
        assert!(!auth.borrow().holds(&anna));
    }

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("YW5uYTpnZWhlaW0=").unwrap(), b"anna:geheim");
        assert_eq!(base64("TWE").unwrap(), b"Ma");
        assert_eq!(base64("T W"), None);
    }
}
