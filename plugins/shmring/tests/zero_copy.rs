//! The memory that an element before the sink writes to is the memory that an element behind the source reads.

mod support;

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use support::*;

/// Device, inode and offset in the file of what is mapped at an address: the same for two maps of one piece of memory.
fn identity(address: usize) -> (String, u64, u64) {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    for line in maps.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (from, to) = fields[0].split_once('-').expect("a range");
        let hex = |s| u64::from_str_radix(s, 16).expect("hexadecimal");
        let (from, to) = (hex(from), hex(to));
        if (from..to).contains(&(address as u64)) {
            let inode = fields[4].parse().expect("a number");
            return (
                fields[3].to_owned(),
                inode,
                hex(fields[2]) + address as u64 - from,
            );
        }
    }
    panic!("nothing is mapped at {address:#x}");
}

/// Offset of the buffer, where its memory is, whether it is read-only.
type Places = Arc<Mutex<Vec<(u64, (String, u64, u64), bool)>>>;

fn note_places(pad: &gst::Pad) -> Places {
    let places = Arc::new(Mutex::new(Vec::new()));
    let to = places.clone();
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
        let buffer = info.buffer().unwrap();
        let map = buffer.map_readable().unwrap();
        let read_only = buffer
            .peek_memory(0)
            .flags()
            .contains(gst::MemoryFlags::READONLY);
        to.lock()
            .unwrap()
            .push((buffer.offset(), identity(map.as_ptr() as usize), read_only));
        gst::PadProbeReturn::Ok
    });
    places
}

#[test]
fn what_videoscale_writes_is_what_the_reader_reads() {
    let place = Place::new();
    let path = place.socket();
    // Nothing is kept for a reader of the newest frame: slots in use do not depend on how busy the machine is.
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src socket-path={} policy=newest ! fakesink name=out sync=false enable-last-sample=false",
        path.display()
    ));
    let read = note_places(&reader.by_name("out").static_pad("sink").unwrap());
    let writer = Pipeline::new(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=50/1 ! videoscale name=scale \
         ! video/x-raw,width=160,height=120 ! shmringsink name=ring socket-path={}",
        path.display()
    ));
    let written = note_places(&writer.by_name("scale").static_pad("src").unwrap());
    writer.0.set_state(gst::State::Playing).unwrap();
    wait_until("frames arrive", || read.lock().unwrap().len() > 30);
    let stats = writer.stats("ring");
    drop(writer);
    let (written, read) = (written.lock().unwrap(), read.lock().unwrap());
    let mut places = std::collections::HashSet::new();
    for (offset, place, read_only) in read.iter() {
        let (_, origin, _) = written
            .iter()
            .find(|(o, ..)| o == offset)
            .expect("it was written before it was read");
        assert_eq!(place, origin, "frame {offset}");
        assert_ne!(place.1, 0, "anonymous memory cannot be shared");
        assert!(read_only);
        places.insert(place.2);
    }
    assert_eq!(count(&stats, "copied"), 0, "{stats}");
    assert!(count(&stats, "in-place") > 30, "{stats}");
    assert_eq!(count(&reader.stats("src"), "copies"), 0);
    // The most recently freed slot is the next one: a reader for which none is kept needs few of the 16.
    assert!(places.len() <= 6, "{} slots in use", places.len());
}

#[test]
fn a_frame_that_somebody_upstream_keeps_is_copied_once() {
    let place = Place::new();
    let path = place.socket();
    let writer = Pipeline::new(&format!(
        "videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=160,height=120 ! tee name=t \
         t. ! queue ! fakesink  t. ! queue ! shmringsink name=ring socket-path={}",
        path.display()
    ));
    writer.0.set_state(gst::State::Playing).unwrap();
    writer.wait_for(&[gst::MessageType::Eos]);
    let stats = writer.stats("ring");
    assert_eq!(
        (count(&stats, "frames"), count(&stats, "copied")),
        (20, 20),
        "{stats}"
    );
}

#[test]
fn a_kept_sub_buffer_of_a_slot_cannot_be_written_to_behind_the_readers_back() {
    let place = Place::new();
    let path = place.socket();
    let writer = Pipeline::new(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=160,height=120,framerate=50/1 ! identity name=keep \
         ! shmringsink name=ring socket-path={}",
        path.display()
    ));
    // Keeps the memory of each buffer beyond the push, as elements do that repeat frames.
    let kept = Arc::new(Mutex::new(Vec::new()));
    let to = kept.clone();
    writer.by_name("keep").static_pad("src").unwrap().add_probe(
        gst::PadProbeType::BUFFER,
        move |_, info| {
            let buffer = info.buffer().unwrap();
            to.lock().unwrap().push(
                buffer
                    .copy_region(gst::BufferCopyFlags::MEMORY, ..)
                    .unwrap(),
            );
            gst::PadProbeReturn::Ok
        },
    );
    writer.0.set_state(gst::State::Playing).unwrap();
    wait_until("frames are published", || {
        count(&writer.stats("ring"), "frames") > 5
    });
    let stats = writer.stats("ring");
    assert_eq!(count(&stats, "in-place"), 0, "{stats}");
}

#[test]
fn upstream_that_keeps_every_slot_gets_ordinary_memory_and_nothing_blocks() {
    let place = Place::new();
    let path = place.socket();
    let writer = Pipeline::new(&format!(
        "videotestsrc num-buffers=60 ! video/x-raw,format=GRAY8,width=160,height=120 ! identity name=keep \
         ! shmringsink name=ring slots=8 socket-path={}",
        path.display()
    ));
    let kept = Arc::new(Mutex::new(Vec::new()));
    let to = kept.clone();
    writer
        .by_name("keep")
        .static_pad("sink")
        .unwrap()
        .add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            to.lock().unwrap().push(info.buffer().unwrap().clone());
            gst::PadProbeReturn::Ok
        });
    writer.0.set_state(gst::State::Playing).unwrap();
    writer.wait_for(&[gst::MessageType::Eos]);
    let stats = writer.stats("ring");
    assert_eq!(count(&stats, "frames"), 60, "{stats}");
    assert!(count(&stats, "pool-refused") > 0, "{stats}");
    drop(writer);
    drop(kept); // slots may outlive their ring
}

#[test]
fn a_reader_whose_downstream_keeps_everything_gets_copies() {
    let place = Place::new();
    let path = place.socket();
    let writer = Pipeline::play(&format!(
        "videotestsrc is-live=true ! video/x-raw,format=GRAY8,width=160,height=120,framerate=100/1 ! shmringsink name=ring socket-path={}",
        path.display()
    ));
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src max-lease=3 socket-path={} ! appsink name=out sync=false enable-last-sample=false",
        path.display()
    ));
    let held: Vec<_> = (0..12).map(|_| pull(&reader, "out")).collect();
    let sums: Vec<_> = held.iter().map(|s| checksum(s.buffer().unwrap())).collect();
    let stats = reader.stats("src");
    assert!(count(&stats, "copies") >= 8, "{stats}");
    let frames = count(&writer.stats("ring"), "frames");
    wait_until("the writer goes on", || {
        count(&writer.stats("ring"), "frames") > frames + 40
    });
    let after: Vec<_> = held.iter().map(|s| checksum(s.buffer().unwrap())).collect();
    assert_eq!(sums, after, "a frame in a reader's hands never changes");
}

#[test]
fn an_upstream_pool_that_takes_the_allocator_writes_into_the_ring_too() {
    let place = Place::new();
    let path = place.socket();
    let reader = Pipeline::play(&format!(
        "shmringsrc name=src socket-path={} ! appsink name=out sync=false enable-last-sample=false",
        path.display()
    ));
    let writer = Pipeline::play(&format!(
        "appsrc name=in format=time is-live=true ! shmringsink name=ring socket-path={}",
        path.display()
    ));
    let caps: gst::Caps = "video/x-raw, format=GRAY8, width=64, height=64, framerate=25/1"
        .parse()
        .unwrap();
    let src = appsrc(&writer, "in");
    src.set_caps(Some(&caps));
    // What a source does that does not use the pool offered: a pool of its own with the allocator from the query.
    let mut query = gst::query::Allocation::new(None, true);
    assert!(src.static_pad("src").unwrap().peer_query(&mut query));
    let allocator = query
        .allocation_params()
        .next()
        .and_then(|(a, _)| a)
        .expect("an allocator is offered");
    let pool = gst::BufferPool::new();
    let mut config = pool.config();
    config.set_params(Some(&caps), 4096, 0, 0);
    config.set_allocator(Some(&allocator), None);
    pool.set_config(config).unwrap();
    pool.set_active(true).unwrap();
    for n in 0..20u8 {
        let mut buffer = pool.acquire_buffer(None).unwrap();
        buffer.get_mut().unwrap().map_writable().unwrap().fill(n);
        src.push_buffer(buffer).unwrap();
        let sample = pull(&reader, "out");
        assert!(
            sample
                .buffer()
                .unwrap()
                .map_readable()
                .unwrap()
                .iter()
                .all(|b| *b == n)
        );
    }
    let stats = writer.stats("ring");
    // Before caps arrive there is no ring to take the first slot from.
    assert!(count(&stats, "copied") <= 1, "{stats}");
    assert!(count(&stats, "in-place") >= 19, "{stats}");
    pool.set_active(false).unwrap();
}
