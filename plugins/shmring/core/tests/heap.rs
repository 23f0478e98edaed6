//! The protocol on ordinary memory with real threads, small enough for Miri and ThreadSanitizer:
//! `cargo +nightly miri test -p shmring-core --test heap`
#![cfg(not(loom))]

use shmring_core::protocol::{
    CLOSED, Call, Consumer, Control, HEADER_WORDS, HeapRing, Kind, LeaseTable, Link, Poll,
    Producer, StreamSeen,
};
use shmring_core::{Policy, Purpose};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const FRAMES: u64 = if cfg!(miri) { 40 } else { 20_000 };

/// Looks at every word it holds once more before it lets go.
fn read(ring: &HeapRing, control: &Control, policy: Policy, seen: &AtomicBool) -> u64 {
    let leases = LeaseTable::new(2);
    let mut consumer = Consumer::unconnected(policy);
    let mut held = None;
    let (mut got, mut last) = (0, 0);
    loop {
        match consumer.poll(ring.view(), control, &leases) {
            Poll::Frame {
                lease,
                slot,
                seq,
                header,
            } => {
                assert_eq!(header, [header[0]; HEADER_WORDS], "torn");
                assert!(seq > last);
                last = seq;
                got += 1;
                seen.store(true, Ordering::Relaxed);
                if let Some((lease, slot, header)) = held.replace((lease, slot, header)) {
                    assert_eq!(ring.view().look(slot), header, "changed in hand");
                    leases.release(control, lease);
                }
            }
            Poll::Gap { pts, duration } => assert_eq!(pts, duration),
            Poll::Closed => break,
            Poll::Empty => {
                let limit = std::time::Duration::from_millis(100);
                consumer.wait(
                    ring.view(),
                    control,
                    StreamSeen::Known,
                    Call::Event,
                    || false,
                    Some(limit),
                );
            }
            other => panic!("{other:?}"),
        }
        let version = got % 3 + 1;
        if let Some(bytes) = ring.view().get_stream(version) {
            assert_eq!(bytes, [version as u8; 20]);
        }
    }
    if let Some((lease, slot, header)) = held {
        assert_eq!(ring.view().look(slot), header, "changed in hand");
        leases.release(control, lease);
    }
    got
}

#[test]
fn frames_are_whole_and_keep_while_they_are_held() {
    let ring = Arc::new(HeapRing::new(6));
    let policies = [Policy::Newest, Policy::EveryFrame { max_lag: 4 }];
    let controls = policies.map(|_| Arc::new(Control::new()));
    let links: Vec<_> = controls
        .iter()
        .map(|control| Link {
            control: control.clone(),
            granted: 2,
            history: 1,
        })
        .collect();
    let seen = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers: Vec<_> = policies
            .into_iter()
            .zip(&controls)
            .map(|(policy, control)| {
                let (ring, seen) = (&ring, &seen);
                scope.spawn(move || read(ring, control, policy, seen))
            })
            .collect();
        let mut producer = Producer::new(6, 0, 0, 0);
        for number in 1.. {
            if number > FRAMES && seen.load(Ordering::Relaxed) {
                break;
            }
            if number % 7 == 0 {
                let version = number / 7 % 3 + 1;
                ring.view().put_stream(version, &[version as u8; 20]);
                let times = (Some(number), Some(number));
                producer.publish_event(ring.view(), &links, Kind::Gap, times);
            }
            let slot = producer
                .acquire(ring.view(), &links, Purpose::Copy)
                .expect("two slots are always the writer's");
            ring.view().fill(slot, [u64::MAX; HEADER_WORDS]);
            producer.publish(ring.view(), &links, slot, [number; HEADER_WORDS], 0);
            producer.release(slot);
        }
        ring.view().end(CLOSED);
        producer.wake(&links);
        for reader in readers {
            assert!(reader.join().expect("reader") > 0);
        }
    });
}
