//! Verifies passwords one at a time, in one buffer, and one of each address, so that neither memory nor the wait of others
//! grows with the number of attempts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use argon2::password_hash::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Attempts of one address that may wait: a page asks for several things at once.
const WAITING: usize = 16;
/// A larger buffer is given back after use; `watchpost hash-password` makes hashes that take 19 MiB.
const KEPT_BLOCKS: usize = 32 << 10;

/// There are too many attempts of this address already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rejected;

/// The one that verifies.
#[derive(Default)]
pub(crate) struct Hasher {
    memory: Arc<AsyncMutex<Vec<Block>>>,
    queues: Mutex<HashMap<IpAddr, Queue>>,
}

#[derive(Default)]
struct Queue {
    length: usize,
    next: Arc<AsyncMutex<()>>,
}

/// A place in the queue of an address, and then its turn. Others of the same address wait until it is dropped.
pub(crate) struct Queued<'a> {
    hasher: &'a Hasher,
    address: IpAddr,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Hasher {
    /// Waits until all earlier attempts of this address are done.
    pub(crate) async fn queue(&self, address: IpAddr) -> Result<Queued<'_>, Rejected> {
        let next = {
            let mut queues = self.queues();
            let queue = queues.entry(address).or_default();
            if queue.length >= WAITING {
                return Err(Rejected);
            }
            queue.length += 1;
            queue.next.clone()
        };
        // Made before the wait: a client that hangs up meanwhile leaves the queue.
        let mut queued = Queued {
            hasher: self,
            address,
            _turn: None,
        };
        queued._turn = Some(next.lock_owned().await);
        Ok(queued)
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<IpAddr, Queue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queued<'_> {
    /// Whether a password is the one of this hash.
    pub(crate) async fn verify(&self, hash: Arc<str>, password: String) -> bool {
        let mut memory = self.hasher.memory.clone().lock_owned().await;
        let verified =
            tokio::task::spawn_blocking(move || verify(&hash, password.as_bytes(), &mut memory));
        verified.await.ok().flatten().unwrap_or(false)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let mut queues = self.hasher.queues();
        if let Some(queue) = queues.get_mut(&self.address) {
            queue.length -= 1;
            if queue.length == 0 {
                queues.remove(&self.address);
            }
        }
    }
}

fn verify(hash: &str, password: &[u8], memory: &mut Vec<Block>) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let (expected, salt) = (hash.hash?, hash.salt?);
    let params = Params::try_from(&hash).ok()?;
    let version = hash.version.map(Version::try_from).transpose().ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm).ok()?;
    let blocks = params.block_count();
    if memory.len() < blocks {
        memory.resize(blocks, Block::default());
    }
    let mut salt_bytes = [0; 64];
    let salt = salt.decode_b64(&mut salt_bytes).ok()?;
    let mut found = vec![0; expected.len()];
    let done = Argon2::new(algorithm, version.unwrap_or_default(), params)
        .hash_password_into_with_memory(password, salt, &mut found, &mut memory[..blocks]);
    if memory.len() > KEPT_BLOCKS {
        *memory = Vec::new();
    }
    done.ok()?;
    Some(same(&found, expected.as_bytes()))
}

/// Equal, in a time that depends on the lengths only.
pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |d, (a, b)| d | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordHasher;
    use argon2::password_hash::Salt;
    use std::time::Duration;
    use tokio::time::timeout;

    fn hash(password: &str) -> Arc<str> {
        let params = Params::new(64, 1, 1, None).unwrap();
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.as_bytes(), Salt::from_b64("c29tZXNhbHQ").unwrap())
            .unwrap()
            .to_string()
            .into()
    }

    #[tokio::test]
    async fn one_buffer_serves_all_attempts() {
        let hasher = Hasher::default();
        let queued = hasher.queue([10, 0, 0, 1].into()).await.unwrap();
        assert!(queued.verify(hash("right"), "right".into()).await);
        let first = hasher.memory.lock().await.as_ptr();
        for _ in 0..20 {
            assert!(!queued.verify(hash("right"), "wrong".into()).await);
        }
        assert_eq!(hasher.memory.lock().await.as_ptr(), first);
        assert!(!queued.verify("no hash".into(), "x".into()).await);
    }

    #[tokio::test]
    async fn the_queue_of_an_address_is_bounded_and_does_not_hold_up_others() {
        let hasher = Arc::new(Hasher::default());
        let (attacker, user): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let first = hasher.queue(attacker).await.unwrap();
        let others: Vec<_> = (1..WAITING)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.queue(attacker).await.map(drop) })
            })
            .collect();
        while hasher.queues()[&attacker].length < WAITING {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.queue(attacker).await.err(), Some(Rejected));
        let user = timeout(Duration::from_secs(30), hasher.queue(user));
        let user = user.await.expect("it does not wait").unwrap();
        assert!(user.verify(hash("right"), "right".into()).await);
        drop((first, user));
        for other in others {
            other.await.unwrap().unwrap();
        }
        assert!(hasher.queues().is_empty());
    }
}
