//! What holds for any bytes and any order of events.

use proptest::prelude::*;
use shmring_core::protocol::{
    Consumer, Control, HEADER_WORDS, Header, HeapRing, LeaseTable, Link, Poll, Producer, fuzz,
};
use shmring_core::{FrameHeader, Geometry, Policy, Purpose};
use std::sync::Arc;

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..120), kind in 0..3, at in 0..80_usize) {
        fuzz::handshake(&bytes);
        // And what is nearly a message.
        let mut near = fuzz::example(kind);
        if let Some(byte) = near.get_mut(at) {
            *byte ^= bytes.first().copied().unwrap_or(1);
        }
        fuzz::handshake(&near);
    }

    #[test]
    fn any_words_are_a_header_within_the_slot_or_an_error(words in prop::array::uniform16(prop_oneof![any::<u64>(), 0..5000_u64])) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        fuzz::header(&bytes);
    }

    #[test]
    fn any_memory_is_a_ring_that_is_read_in_bounded_time(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        fuzz::ring(&bytes);
    }

    #[test]
    fn a_header_survives_its_way(
        times in prop::array::uniform6(prop::option::of(0..u64::MAX)),
        (flags, number, published_ns, stream_version) in any::<(u64, u64, u64, u64)>(),
        (start, len, info_len) in (0..500_usize, 0..500_usize, 0..=64_usize),
    ) {
        let header = Header {
            frame: FrameHeader {
                pts: times[0], dts: times[1], duration: times[2], offset: times[3], offset_end: times[4],
                capture_ns: times[5], flags,
            },
            number, published_ns, stream_version, info_len,
            range: start..start + len,
        };
        let geometry = Geometry::new(4, 1000, 64, 0).unwrap();
        prop_assert_eq!(Header::decode(&header.encode(), &geometry), Ok(header));
    }

    #[test]
    fn whatever_readers_do_the_writer_has_a_slot_and_no_leased_one(
        slots in 3..12_usize,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        Play::new(slots).run(&steps)?;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write,
    Connect {
        leases: u32,
        history: u32,
        newest: bool,
    },
    Read(usize),
    Release(usize),
    Leave(usize),
    Lie {
        reader: usize,
        lease: usize,
        value: u32,
        cursor: u64,
    },
    Pool,
    Unpool,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Write),
        1 => (1..6_u32, 0..9_u32, any::<bool>()).prop_map(|(leases, history, newest)| Step::Connect { leases, history, newest }),
        4 => (0..8_usize).prop_map(Step::Read),
        2 => (0..8_usize).prop_map(Step::Release),
        1 => (0..8_usize).prop_map(Step::Leave),
        1 => (0..8_usize, 0..64_usize, 0..70_u32, any::<u64>())
            .prop_map(|(reader, lease, value, cursor)| Step::Lie { reader, lease, value, cursor }),
        1 => Just(Step::Pool),
        1 => Just(Step::Unpool),
    ]
}

struct Peer {
    control: Arc<Control>,
    leases: LeaseTable,
    consumer: Consumer,
    held: Vec<(u32, u32, u64)>,
    lies: bool,
    last: u64,
}

/// The protocol in one thread, with what must be true checked at every step.
struct Play {
    ring: HeapRing,
    slots: usize,
    producer: Producer,
    links: Vec<Link<Arc<Control>>>,
    peers: Vec<Peer>,
    pool: Vec<u32>,
}

impl Play {
    fn new(slots: usize) -> Self {
        Self {
            ring: HeapRing::new(slots),
            slots,
            producer: Producer::new(slots, 0, 0, 1),
            links: Vec::new(),
            peers: Vec::new(),
            pool: Vec::new(),
        }
    }

    fn check_not_held(&self, slot: u32) -> Result<(), TestCaseError> {
        prop_assert!(!self.pool.contains(&slot), "slot {} handed out twice", slot);
        for peer in self.peers.iter().filter(|peer| !peer.lies) {
            prop_assert!(
                peer.held.iter().all(|(_, held, _)| *held != slot),
                "leased slot {} handed out",
                slot
            );
        }
        Ok(())
    }

    fn run(mut self, steps: &[Step]) -> Result<(), TestCaseError> {
        for step in steps {
            let view = self.ring.view();
            let which = |index: usize, all: &[Peer]| (!all.is_empty()).then(|| index % all.len());
            match *step {
                Step::Write => {
                    let slot = self.producer.acquire(view, &self.links, Purpose::Copy);
                    // A pool filled while few leases were granted is the one thing that may leave nothing.
                    let granted: usize = self.links.iter().map(|link| link.granted as usize).sum();
                    if self.pool.len() + granted < self.slots {
                        prop_assert!(slot.is_some());
                    }
                    let Some(slot) = slot else { continue };
                    self.check_not_held(slot)?;
                    let number = self.producer.next_number();
                    self.producer
                        .publish(view, &self.links, slot, [number; HEADER_WORDS], 0);
                    self.producer.release(slot);
                }
                Step::Connect {
                    leases,
                    history,
                    newest,
                } => {
                    let granted = self.producer.grant(&self.links, leases);
                    let all: u32 = self.links.iter().map(|link| link.granted).sum();
                    prop_assert!(granted + all <= self.slots as u32 - 2);
                    if granted == 0 || self.peers.len() == 32 {
                        continue;
                    }
                    let control = Arc::new(Control::new());
                    control.scribble(None, Some(self.producer.beginning(view)), None);
                    let policy = if newest {
                        Policy::Newest
                    } else {
                        Policy::EveryFrame { max_lag: 8 }
                    };
                    self.links.push(Link {
                        control: control.clone(),
                        granted,
                        history,
                    });
                    self.peers.push(Peer {
                        consumer: Consumer::new(view, &control, policy),
                        control,
                        leases: LeaseTable::new(granted),
                        held: Vec::new(),
                        lies: false,
                        last: 0,
                    });
                }
                Step::Read(index) => {
                    let Some(index) = which(index, &self.peers) else {
                        continue;
                    };
                    let peer = &mut self.peers[index];
                    let found = peer.consumer.poll(view, &peer.control, &peer.leases);
                    if let Poll::Frame {
                        lease,
                        slot,
                        seq,
                        header,
                    } = found
                    {
                        prop_assert_eq!(header, [seq; HEADER_WORDS]);
                        prop_assert!(seq > peer.last);
                        peer.last = seq;
                        peer.held.push((lease, slot, seq));
                    }
                }
                Step::Release(index) => {
                    let Some(index) = which(index, &self.peers) else {
                        continue;
                    };
                    let peer = &mut self.peers[index];
                    if let Some((lease, _, _)) = peer.held.pop() {
                        peer.leases.release(&peer.control, lease);
                    }
                }
                Step::Leave(index) => {
                    let Some(index) = which(index, &self.peers) else {
                        continue;
                    };
                    self.peers.remove(index);
                    self.links.remove(index);
                }
                Step::Lie {
                    reader,
                    lease,
                    value,
                    cursor,
                } => {
                    let Some(index) = which(reader, &self.peers) else {
                        continue;
                    };
                    let peer = &mut self.peers[index];
                    peer.lies = true; // nothing is promised to it any more
                    peer.control
                        .scribble(Some((lease as u32, value)), Some(cursor), Some(value));
                }
                Step::Pool => {
                    if let Some(slot) = self.producer.acquire(view, &self.links, Purpose::Pool) {
                        self.check_not_held(slot)?;
                        self.pool.push(slot);
                    }
                }
                Step::Unpool => {
                    if let Some(slot) = self.pool.pop() {
                        self.producer.release(slot);
                    }
                }
            }
            for peer in self.peers.iter().filter(|peer| !peer.lies) {
                for (_, slot, seq) in &peer.held {
                    prop_assert_eq!(
                        self.ring.view().look(*slot),
                        [*seq; HEADER_WORDS],
                        "changed in hand"
                    );
                }
            }
        }
        Ok(())
    }
}
