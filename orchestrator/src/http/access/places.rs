//! Connections: so many at a time, few of one address without credentials, and some kept for requests with credentials.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Kept for requests with credentials that are no streams.
const KEPT: usize = 64;
/// Connections of one address without credentials.
const UNSIGNED: usize = 64;
/// Connections of one address with credentials.
const SIGNED: usize = 256;

/// Why a request on a connection is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The address has too many connections.
    Address,
    /// There are too many streams.
    Streams,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// No request with credentials has come.
    Unsigned,
    Signed,
    Stream,
}

#[derive(Debug)]
struct Entry {
    from: IpAddr,
    used: Use,
    /// A request is being served.
    busy: bool,
    end: CancellationToken,
}

/// The connections there are, by age.
#[derive(Debug)]
struct Ledger {
    max: usize,
    next: u64,
    open: BTreeMap<u64, Entry>,
}

impl Ledger {
    /// A connection more, if there is room. Where there is none, the oldest one without credentials gives way: it had the time
    /// to show some.
    fn admit(&mut self, from: IpAddr) -> Option<(u64, CancellationToken)> {
        if self.count(|e| e.from == from && e.used == Use::Unsigned) >= UNSIGNED {
            self.end_oldest(from);
        }
        if self.open.len() >= self.max.saturating_sub(KEPT) {
            let mut unsigned: HashMap<IpAddr, usize> = HashMap::new();
            for entry in self.open.values().filter(|e| e.used == Use::Unsigned) {
                *unsigned.entry(entry.from).or_default() += 1;
            }
            if let Some((most, _)) = unsigned.into_iter().max_by_key(|(_, count)| *count) {
                self.end_oldest(most);
            }
        }
        if self.open.len() >= self.max {
            return None;
        }
        let (id, end) = (self.next, CancellationToken::new());
        self.next += 1;
        let entry = Entry {
            from,
            used: Use::Unsigned,
            busy: false,
            end: end.clone(),
        };
        self.open.insert(id, entry);
        Some((id, end))
    }

    /// Ends the oldest connection without credentials of an address; one that is being served only if all are.
    fn end_oldest(&mut self, from: IpAddr) {
        let unsigned = |e: &&Entry| e.from == from && e.used == Use::Unsigned;
        let of_address = self.open.iter().filter(|(_, e)| unsigned(e));
        let oldest = of_address.min_by_key(|(id, e)| (e.busy, **id));
        if let Some(id) = oldest.map(|(id, _)| *id)
            && let Some(entry) = self.open.remove(&id)
        {
            entry.end.cancel();
        }
    }

    /// A request with good credentials.
    fn sign(&mut self, id: u64, stream: bool) -> Result<(), NoPlace> {
        let Some(entry) = self.open.get(&id) else {
            return Ok(()); // it is ending
        };
        let (from, before) = (entry.from, entry.used);
        let of_address = self.count(|e| e.from == from && e.used != Use::Unsigned);
        if before == Use::Unsigned && of_address >= SIGNED {
            return Err(NoPlace::Address);
        }
        let streams = self.count(|e| e.used == Use::Stream);
        if stream && before != Use::Stream && streams >= self.max.saturating_sub(KEPT) {
            return Err(NoPlace::Streams);
        }
        let used = if stream { Use::Stream } else { Use::Signed };
        self.change(id, |entry| entry.used = used);
        Ok(())
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.open.get_mut(&id) {
            change(entry);
        }
    }

    fn count(&self, which: impl Fn(&Entry) -> bool) -> usize {
        self.open.values().filter(|entry| which(entry)).count()
    }
}

/// All connections of the interface, whichever listener they came by.
#[derive(Debug, Clone)]
pub(crate) struct Places(Arc<Mutex<Ledger>>);

impl Places {
    /// At most `max` connections at a time.
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Ledger {
            max,
            next: 0,
            open: BTreeMap::new(),
        })))
    }

    /// Another limit from now on; connections that are open go on.
    pub(crate) fn set_max(&self, max: usize) {
        self.ledger().max = max;
    }

    /// A place for a connection from there, if there is one.
    pub(crate) fn admit(&self, address: IpAddr) -> Option<Place> {
        let address = of_one_client(address);
        let (id, end) = self.ledger().admit(address)?;
        Some(Place {
            places: self.clone(),
            id,
            address,
            end,
        })
    }

    #[cfg(test)]
    pub(crate) fn open(&self) -> usize {
        self.ledger().open.len()
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection; dropping it makes room.
#[derive(Debug)]
pub(crate) struct Place {
    places: Places,
    id: u64,
    address: IpAddr,
    end: CancellationToken,
}

impl Place {
    /// The client's address; of IPv6 the network that one client has.
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Cancelled when the connection has to give way.
    pub(crate) fn end(&self) -> CancellationToken {
        self.end.clone()
    }

    /// A request came with good credentials.
    pub(crate) fn sign(&self, stream: bool) -> Result<(), NoPlace> {
        self.places.ledger().sign(self.id, stream)
    }

    /// A request is being served, or is no more.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.places
            .ledger()
            .change(self.id, |entry| entry.busy = busy);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.ledger().open.remove(&self.id);
    }
}

/// The part of an address that one client cannot choose: of IPv6 its network of 64 bits.
fn of_one_client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u8) -> IpAddr {
        [10, 0, 0, number].into()
    }

    #[test]
    fn one_address_without_credentials_gives_way_to_itself() {
        let places = Places::new(1024);
        let other = places.admit(address(2)).unwrap();
        let mut idle: Vec<_> = (0..140)
            .map(|_| places.admit(address(1)).unwrap())
            .collect();
        assert_eq!(places.open(), UNSIGNED + 1);
        assert!(!other.end.is_cancelled());
        let ended = idle.iter().filter(|place| place.end.is_cancelled());
        assert_eq!(ended.count(), 140 - UNSIGNED);
        assert!(idle[0].end.is_cancelled() && !idle[139].end.is_cancelled());
        // One with credentials stays, whatever comes.
        idle[139].sign(false).unwrap();
        let more: Vec<_> = (0..140).filter_map(|_| places.admit(address(1))).collect();
        assert_eq!(more.len(), 140);
        assert!(!idle.pop().unwrap().end.is_cancelled());
    }

    #[test]
    fn many_addresses_leave_room_for_credentials() {
        let places = Places::new(1024);
        let mut open = Vec::new();
        for number in 0..40 {
            open.extend((0..60).filter_map(|_| places.admit(address(number))));
        }
        assert!(places.open() <= 1024 - KEPT, "{}", places.open());
        let admin = places.admit(address(200)).expect("a place");
        admin.sign(false).unwrap();
    }

    #[test]
    fn streams_leave_room_for_other_requests() {
        let places = Places::new(256);
        let mut open = Vec::new();
        let mut refused = 0;
        for number in 0..4 {
            for _ in 0..64 {
                let place = places.admit(address(number)).unwrap();
                match place.sign(true) {
                    Ok(()) => open.push(place),
                    Err(why) => {
                        assert_eq!(why, NoPlace::Streams);
                        refused += 1;
                    }
                }
            }
        }
        assert_eq!((open.len(), refused), (256 - KEPT, KEPT));
        places.admit(address(9)).unwrap().sign(false).unwrap();
    }

    #[test]
    fn one_address_with_credentials_does_not_take_all() {
        let places = Places::new(1024);
        let open: Vec<_> = (0..SIGNED)
            .map(|_| {
                let place = places.admit(address(1)).unwrap();
                place.sign(false).unwrap();
                place
            })
            .collect();
        let more = places.admit(address(1)).unwrap();
        assert_eq!(more.sign(false), Err(NoPlace::Address));
        drop(open);
        more.sign(false).unwrap();
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let of = |text: &str| of_one_client(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:10.0.0.1"), address(1));
        assert_eq!(of("::1").to_string(), "::1");
    }
}
