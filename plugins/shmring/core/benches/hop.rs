//! What the protocol itself costs per frame, pixels untouched: acquire and publish on the writer's side, wait, lease and
//! give back on the reader's.
//!
//! `cargo bench -p shmring-core --bench hop`

use criterion::{Criterion, criterion_group, criterion_main};
use shmring_core::{
    Event, FrameHeader, Policy, Purpose, Reader, ReaderOptions, Writer, WriterConfig,
};
use std::time::{Duration, Instant};

const FRAME: usize = 1920 * 1080 * 3 / 2;

fn writer(directory: &tempfile::TempDir) -> Writer {
    Writer::create(WriterConfig::new(
        directory.path().join("ring"),
        FRAME as u64,
    ))
    .expect("writer")
}

fn publish(writer: &Writer) {
    let slot = writer.acquire(Purpose::Pool).expect("slot");
    let header = FrameHeader {
        pts: Some(1),
        ..FrameHeader::default()
    };
    writer
        .publish(slot.id(), 0..FRAME, &header, b"a few bytes of metadata")
        .expect("published");
}

fn connect(writer: &Writer) -> Reader {
    let options = ReaderOptions {
        leases: 3,
        policy: Policy::EveryFrame { max_lag: 8 },
        ..Default::default()
    };
    Reader::connect(writer.socket_path(), options).expect("reader")
}

fn hop(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().expect("directory");
    criterion.bench_function("writer alone", |bencher| {
        let writer = writer(&directory);
        bencher.iter(|| publish(&writer));
    });
    criterion.bench_function("writer, 4 readers that do not read", |bencher| {
        let writer = writer(&directory);
        let _readers: Vec<_> = (0..4).map(|_| connect(&writer)).collect();
        bencher.iter(|| publish(&writer));
    });
    criterion.bench_function("both sides, reader awake", |bencher| {
        let writer = writer(&directory);
        let mut reader = connect(&writer);
        bencher.iter(|| {
            publish(&writer);
            assert!(matches!(reader.next(None), Ok(Event::Frame(_))));
        });
    });
    // Two rings and two threads that wake each other: a round is two hops, each with a sleep and a wake-up.
    criterion.bench_function("hop to a sleeping reader and back", |bencher| {
        let there = writer(&directory);
        let back_directory = tempfile::tempdir().expect("directory");
        let back = writer(&back_directory);
        let mut reader = connect(&there);
        let mut answers = connect(&back);
        let echo = std::thread::spawn(move || {
            while let Ok(Event::Frame(_)) = reader.next(None) {
                publish(&back);
            }
        });
        bencher.iter_custom(|rounds| {
            let start = Instant::now();
            for _ in 0..rounds {
                publish(&there);
                assert!(matches!(answers.next(None), Ok(Event::Frame(_))));
            }
            start.elapsed()
        });
        drop(there);
        echo.join().expect("echo");
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500)).without_plots();
    targets = hop
}
criterion_main!(benches);
