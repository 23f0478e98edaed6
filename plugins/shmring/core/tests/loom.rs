//! Model checking: every interleaving (up to a bound on preemptions) and every value a weakly ordered machine may read,
//! of the producer and consumer that run in production, on memory whose racing accesses loom reports.
//!
//! `RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom cargo test -p shmring-core --test loom --release`
#![cfg(loom)]

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use shmring_core::protocol::{
    CLOSED, Call, Consumer, Control, HEADER_WORDS, HeapRing, Kind, LeaseTable, Link, Poll,
    Producer, RawHeader, StreamSeen,
};
use shmring_core::{Policy, Purpose};

const SLOTS: usize = 3;
const NEVER: u64 = 0;

/// Explores with this many preemptions per execution: 2 finds all known kinds of such errors, 3 is for certainty.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

fn stamp(value: u64) -> RawHeader {
    [value; HEADER_WORDS]
}

type Links = Vec<Link<Arc<Control>>>;

fn link(granted: u32, history: u32) -> (Links, Arc<Control>) {
    let control = Arc::new(Control::new());
    let link = Link {
        control: control.clone(),
        granted,
        history,
    };
    (vec![link], control)
}

/// Acquires, writes, publishes and lets go, as the writer does for every frame.
fn write(ring: &HeapRing, producer: &mut Producer, links: &Links) -> u64 {
    let slot = producer
        .acquire(ring.view(), links, Purpose::Copy)
        .expect("two slots are always the writer's");
    ring.view().fill(slot, stamp(NEVER)); // as upstream writes in place, before publishing
    let number = producer.next_number();
    let seq = producer.publish(ring.view(), links, slot, stamp(number), 0);
    producer.release(slot);
    seq
}

#[test]
fn a_frame_in_a_readers_hands_is_whole_and_never_changes() {
    for policy in [Policy::Newest, Policy::EveryFrame { max_lag: 8 }] {
        explore(2, move || {
            let ring = Arc::new(HeapRing::new(SLOTS));
            let (links, control) = link(1, 0);
            let mut producer = Producer::new(SLOTS, 0, 0, 0);
            write(&ring, &mut producer, &links);
            let reader = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let leases = LeaseTable::new(1);
                    let mut consumer = Consumer::unconnected(policy);
                    let mut last = 0;
                    for _ in 0..2 {
                        match consumer.poll(ring.view(), &control, &leases) {
                            Poll::Frame {
                                lease,
                                slot,
                                seq,
                                header,
                            } => {
                                assert_eq!(header, stamp(seq), "torn");
                                assert!(seq > last, "went back");
                                last = seq;
                                thread::yield_now(); // the writer goes on meanwhile
                                assert_eq!(ring.view().look(slot), stamp(seq), "changed in hand");
                                leases.release(&control, lease);
                            }
                            Poll::Empty => {}
                            other => panic!("{other:?}"),
                        }
                    }
                })
            };
            for _ in 0..3 {
                write(&ring, &mut producer, &links);
            }
            reader.join().unwrap();
        });
    }
}

#[test]
fn a_lease_given_back_by_another_thread_protects_until_then() {
    explore(2, || {
        let ring = Arc::new(HeapRing::new(SLOTS));
        let (links, control) = link(1, 0);
        let mut producer = Producer::new(SLOTS, 0, 0, 0);
        write(&ring, &mut producer, &links);
        let leases = Arc::new(LeaseTable::new(1));
        let mut consumer = Consumer::unconnected(Policy::Newest);
        let first = consumer.poll(ring.view(), &control, &leases);
        let Poll::Frame {
            lease, slot, seq, ..
        } = first
        else {
            panic!("{first:?}")
        };
        write(&ring, &mut producer, &links);
        // The frame is dropped in a thread of its own, while this reader takes the next with the same lease word.
        let downstream = {
            let (ring, control, leases) = (ring.clone(), control.clone(), leases.clone());
            thread::spawn(move || {
                assert_eq!(ring.view().look(slot), stamp(seq));
                leases.release(&control, lease);
            })
        };
        let reader = {
            let ring = ring.clone();
            thread::spawn(move || {
                if let Poll::Frame {
                    lease, slot, seq, ..
                } = consumer.poll(ring.view(), &control, &leases)
                {
                    thread::yield_now();
                    assert_eq!(ring.view().look(slot), stamp(seq));
                    leases.release(&control, lease);
                }
            })
        };
        for _ in 0..3 {
            write(&ring, &mut producer, &links);
        }
        downstream.join().unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn no_wake_up_is_lost() {
    for call in [Call::Event, Call::Notice] {
        explore(3, move || {
            let ring = Arc::new(HeapRing::new(SLOTS));
            let (links, control) = link(1, 0);
            let writer = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let mut producer = Producer::new(SLOTS, 0, 0, 0);
                    producer.notify(&links, 1); // of the frame to come
                    write(&ring, &mut producer, &links);
                    producer.notify(&links, 1); // in vain
                    producer.publish_event(ring.view(), &links, Kind::Eos, (None, None));
                })
            };
            let leases = LeaseTable::new(1);
            let mut consumer = Consumer::unconnected(Policy::EveryFrame { max_lag: 8 });
            let mut frames = 0;
            // A lost wake-up would be a deadlock, which loom reports.
            loop {
                match consumer.poll(ring.view(), &control, &leases) {
                    Poll::Frame { lease, .. } => {
                        frames += 1;
                        leases.release(&control, lease);
                    }
                    Poll::Eos => break,
                    Poll::Empty => {
                        consumer.wait(
                            ring.view(),
                            &control,
                            StreamSeen::Known,
                            call,
                            || false,
                            None,
                        );
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(frames, 1);
            writer.join().unwrap();
        });
    }
}

#[test]
fn a_writer_that_closes_wakes_its_readers() {
    explore(3, || {
        let ring = Arc::new(HeapRing::new(SLOTS));
        let (links, control) = link(1, 0);
        let writer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut producer = Producer::new(SLOTS, 0, 0, 0);
                write(&ring, &mut producer, &links);
                ring.view().end(CLOSED);
                producer.wake(&links);
            })
        };
        let leases = LeaseTable::new(1);
        let mut consumer = Consumer::unconnected(Policy::Newest);
        let mut frames = 0;
        loop {
            match consumer.poll(ring.view(), &control, &leases) {
                Poll::Frame { lease, .. } => {
                    frames += 1;
                    leases.release(&control, lease);
                }
                Poll::Closed => break,
                Poll::Empty => {
                    consumer.wait(
                        ring.view(),
                        &control,
                        StreamSeen::Known,
                        Call::Event,
                        || false,
                        None,
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(frames, 1, "what was published before the end is read");
        writer.join().unwrap();
    });
}

#[test]
fn cancelling_wakes_a_reader_at_any_moment() {
    explore(3, || {
        let ring = Arc::new(HeapRing::new(SLOTS));
        let control = Arc::new(Control::new());
        let cancelled = Arc::new(AtomicBool::new(false));
        let other = {
            let (control, cancelled) = (control.clone(), cancelled.clone());
            thread::spawn(move || {
                cancelled.store(true, Ordering::SeqCst);
                control.cancel_wait();
            })
        };
        let consumer = Consumer::unconnected(Policy::Newest);
        while !cancelled.load(Ordering::SeqCst) {
            let woken = || cancelled.load(Ordering::SeqCst);
            consumer.wait(
                ring.view(),
                &control,
                StreamSeen::Known,
                Call::Event,
                woken,
                None,
            );
        }
        other.join().unwrap();
    });
}

#[test]
fn a_slot_is_handed_out_once() {
    explore(2, || {
        let ring = Arc::new(HeapRing::new(4));
        let (links, control) = link(1, 0);
        let links = Arc::new(links);
        let producer = Arc::new(Mutex::new(Producer::new(4, 0, 0, 1)));
        {
            let mut producer = producer.lock().unwrap();
            write(&ring, &mut producer, &links);
        }
        let reader = {
            let ring = ring.clone();
            thread::spawn(move || {
                let leases = LeaseTable::new(1);
                let mut consumer = Consumer::unconnected(Policy::Newest);
                if let Poll::Frame {
                    lease, slot, seq, ..
                } = consumer.poll(ring.view(), &control, &leases)
                {
                    assert_eq!(ring.view().look(slot), stamp(seq));
                    leases.release(&control, lease);
                }
            })
        };
        // Upstream's pool fills a slot outside the lock while the sink copies into another: `fill` on one slot from
        // both, or on a slot that is leased, is a race that loom reports.
        let upstream = {
            let (ring, links, producer) = (ring.clone(), links.clone(), producer.clone());
            thread::spawn(move || {
                let slot = producer
                    .lock()
                    .unwrap()
                    .acquire(ring.view(), &links, Purpose::Pool);
                if let Some(slot) = slot {
                    ring.view().fill(slot, stamp(NEVER));
                    producer.lock().unwrap().release(slot); // dropped without publishing
                }
            })
        };
        let slot = producer
            .lock()
            .unwrap()
            .acquire(ring.view(), &links, Purpose::Copy)
            .expect("a copy always finds a slot");
        ring.view().fill(slot, stamp(NEVER));
        {
            let mut producer = producer.lock().unwrap();
            let number = producer.next_number();
            producer.publish(ring.view(), &links, slot, stamp(number), 0);
            producer.release(slot);
        }
        upstream.join().unwrap();
        reader.join().unwrap();
    });
}

/// The words a reader has written to its control page when it dies: nothing, a lease not yet checked, a lease checked,
/// the cursor as well, asleep. The writer goes on with all its frames; when the socket closes, the slot is its again.
#[test]
fn a_reader_may_die_at_each_step() {
    for step in 0..5 {
        explore(2, move || {
            let ring = Arc::new(HeapRing::new(SLOTS));
            let (mut links, control) = link(1, 1);
            let mut producer = Producer::new(SLOTS, 0, 0, 0);
            write(&ring, &mut producer, &links);
            let reader = {
                let ring = ring.clone();
                thread::spawn(move || match step {
                    0 => None,
                    1 => {
                        control.scribble(Some((0, 1)), None, None);
                        None
                    }
                    2 | 3 => {
                        let leases = LeaseTable::new(1);
                        let mut consumer = Consumer::unconnected(Policy::Newest);
                        let found = consumer.poll(ring.view(), &control, &leases);
                        if step == 2 {
                            control.scribble(None, Some(0), None); // died before it moved the cursor
                        }
                        match found {
                            Poll::Frame { slot, seq, .. } => Some((slot, seq)),
                            _ => None,
                        }
                    }
                    _ => {
                        control.scribble(None, None, Some(1));
                        None
                    }
                })
            };
            for _ in 0..2 {
                write(&ring, &mut producer, &links);
            }
            let held = reader.join().unwrap();
            for _ in 0..SLOTS {
                write(&ring, &mut producer, &links);
            }
            if let Some((slot, seq)) = held {
                assert_eq!(ring.view().look(slot), stamp(seq), "its lease outlives it");
            }
            links.clear(); // the handshake thread sees the socket close
            let reused = (0..SLOTS)
                .filter_map(|_| {
                    let slot = producer.acquire(ring.view(), &links, Purpose::Copy);
                    slot.inspect(|slot| ring.view().fill(*slot, stamp(NEVER)))
                })
                .count();
            assert_eq!(reused, SLOTS, "every slot is the writer's again");
        });
    }
}

#[test]
fn a_gap_and_a_stream_information_are_never_torn() {
    explore(2, || {
        let ring = Arc::new(HeapRing::new(SLOTS));
        let (links, control) = link(1, 0);
        let writer = {
            let ring = ring.clone();
            thread::spawn(move || {
                let mut producer = Producer::new(SLOTS, 0, 0, 0);
                ring.view().put_stream(1, b"first");
                // As many gaps as there are entries and one more, so that one is overwritten.
                for at in 1..=5 {
                    producer.publish_event(ring.view(), &links, Kind::Gap, (Some(at), Some(at)));
                }
                ring.view().put_stream(2, b"other");
            })
        };
        let leases = LeaseTable::new(1);
        let mut consumer = Consumer::unconnected(Policy::EveryFrame { max_lag: 8 });
        if let Poll::Gap { pts, duration } = consumer.poll(ring.view(), &control, &leases) {
            assert_eq!(pts, duration);
        }
        match ring.view().get_stream(1).as_deref() {
            None | Some(b"first") => {}
            other => panic!("{other:?}"),
        }
        match ring.view().get_stream(2).as_deref() {
            None | Some(b"other") => {}
            other => panic!("{other:?}"),
        }
        writer.join().unwrap();
    });
}

mod packets {
    use super::*;
    use shmring_core::packet::{
        HeapPacketRing, PacketConsumer, PacketMeta, PacketPoll, PacketProducer, Start,
    };

    const ARENA: u64 = 32;
    const ENTRIES: u32 = 4;

    fn meta(number: u64, key: bool) -> PacketMeta {
        PacketMeta {
            pts: Some(number),
            key,
            ..PacketMeta::default()
        }
    }

    /// Two words that only this packet has.
    fn payload(number: u64) -> [u8; 16] {
        let mut payload = [0; 16];
        payload[..8].copy_from_slice(&number.to_ne_bytes());
        payload[8..].copy_from_slice(&(!number).to_ne_bytes());
        payload
    }

    fn write(ring: &HeapPacketRing, producer: &mut PacketProducer, key: bool) {
        let number = producer.newest() + 1;
        producer.write(ring.view(), &meta(number, key), (0, 0), &payload(number));
    }

    /// Polls once; the number of a packet, which must be whole.
    fn read(ring: &HeapPacketRing, consumer: &mut PacketConsumer) -> Option<u64> {
        let mut bytes = Vec::new();
        match consumer.poll(ring.view(), &mut bytes) {
            PacketPoll::Packet { number, meta, .. } => {
                assert_eq!(meta.pts, Some(number), "torn entry");
                assert_eq!(bytes, payload(number), "torn packet");
                Some(number)
            }
            _ => None,
        }
    }

    #[test]
    fn a_packet_that_is_overwritten_while_it_is_copied_is_never_taken_for_whole() {
        explore(2, || {
            let ring = Arc::new(HeapPacketRing::new(ARENA, ENTRIES));
            let mut producer = PacketProducer::new(0);
            write(&ring, &mut producer, true);
            let reader = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let mut consumer = PacketConsumer::new(ring.view(), Start::NewestKey);
                    let mut last = 0;
                    for _ in 0..2 {
                        if let Some(number) = read(&ring, &mut consumer) {
                            assert!(number > last, "went back");
                            last = number;
                        }
                    }
                })
            };
            // The third overwrites the first.
            write(&ring, &mut producer, false);
            write(&ring, &mut producer, true);
            reader.join().unwrap();
        });
    }

    #[test]
    fn a_late_reader_begins_at_a_key_packet() {
        explore(2, || {
            let ring = Arc::new(HeapPacketRing::new(ARENA, ENTRIES));
            let mut producer = PacketProducer::new(0);
            write(&ring, &mut producer, true);
            let reader = {
                let ring = ring.clone();
                thread::spawn(move || {
                    let mut consumer = PacketConsumer::new(ring.view(), Start::NewestKey);
                    // 1 and 3 are the key packets.
                    if let Some(number) = read(&ring, &mut consumer) {
                        assert!(number == 1 || number == 3, "began at {number}");
                    }
                })
            };
            write(&ring, &mut producer, false);
            write(&ring, &mut producer, true);
            reader.join().unwrap();
        });
    }

    /// An eventfd: what is stored before it is written to is seen by who reads it.
    struct Event {
        count: Mutex<u64>,
        ready: loom::sync::Condvar,
    }

    #[test]
    fn a_wake_up_is_never_lost() {
        explore(2, || {
            let ring = Arc::new(HeapPacketRing::new(ARENA, ENTRIES));
            let event = Arc::new(Event {
                count: Mutex::new(0),
                ready: loom::sync::Condvar::new(),
            });
            let reader = {
                let (ring, event) = (ring.clone(), event.clone());
                thread::spawn(move || {
                    let mut consumer = PacketConsumer::new(ring.view(), Start::NewestKey);
                    loop {
                        // As PacketReader::try_next: looks, clears, looks again, waits.
                        if read(&ring, &mut consumer).is_some() {
                            return;
                        }
                        *event.count.lock().unwrap() = 0;
                        if read(&ring, &mut consumer).is_some() {
                            return;
                        }
                        let mut count = event.count.lock().unwrap();
                        while *count == 0 {
                            count = event.ready.wait(count).unwrap(); // for ever: a deadlock
                        }
                    }
                })
            };
            let mut producer = PacketProducer::new(0);
            write(&ring, &mut producer, true);
            *event.count.lock().unwrap() += 1;
            event.ready.notify_all();
            reader.join().unwrap();
        });
    }

    #[test]
    fn a_reader_follows_a_growth_without_missing_a_packet() {
        explore(2, || {
            let old = Arc::new(HeapPacketRing::new(ARENA, ENTRIES));
            let new = Arc::new(HeapPacketRing::new(2 * ARENA, ENTRIES));
            let mut producer = PacketProducer::new(0);
            write(&old, &mut producer, true);
            write(&old, &mut producer, false);
            let reader = {
                let (old, new) = (old.clone(), new.clone());
                thread::spawn(move || {
                    let mut consumer = PacketConsumer::new(old.view(), Start::NewestKey);
                    let (mut ring, mut next) = (&old, 1);
                    for _ in 0..5 {
                        let mut bytes = Vec::new();
                        match consumer.poll(ring.view(), &mut bytes) {
                            PacketPoll::Packet { number, .. } => {
                                assert_eq!(number, next, "missed");
                                assert_eq!(bytes, payload(number), "torn packet");
                                next += 1;
                            }
                            PacketPoll::Moved => ring = &new,
                            _ => thread::yield_now(),
                        }
                    }
                })
            };
            let mut producer = producer.move_to(old.view(), new.view());
            old.view().end(shmring_core::protocol::MOVED);
            write(&new, &mut producer, false);
            reader.join().unwrap();
        });
    }
}
