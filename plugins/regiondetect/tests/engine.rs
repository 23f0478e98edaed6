//! The engine shared by cameras, used directly.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use gstregiondetect::engine::{Engine, EngineOptions, Provider, RunError};
use regiondetect_core::tensor::{Shown, TensorMut};
use support::onnx::{Dim, Tiny, yolox};

const TIMEOUT: Duration = Duration::from_secs(60);

struct Model {
    options: EngineOptions,
    _directory: tempfile::TempDir,
}

fn model(tiny: &Tiny) -> Model {
    let directory = tempfile::tempdir().unwrap();
    Model {
        options: EngineOptions {
            model: tiny.write(directory.path(), "model.onnx"),
            onnxruntime: None,
            model_type: vec![],
            side: None,
            provider: Provider::Cpu,
            sessions: 1,
            threads: 1,
        },
        _directory: directory,
    }
}

#[test]
fn a_model_that_is_no_file_is_refused_at_once() {
    let model = model(&yolox(Dim::Is(1)));
    let directory = model.options.model.parent().unwrap();
    let pipe = directory.join("pipe.onnx");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    // In a thread: opening a pipe would wait for ever.
    for path in [directory.to_owned(), pipe] {
        let mut options = model.options.clone();
        options.model = path.clone();
        let (told, telling) = std::sync::mpsc::channel();
        std::thread::spawn(move || told.send(Engine::open(&options).map(|_| ())));
        let error = telling.recv_timeout(TIMEOUT).unwrap().unwrap_err();
        let expected = format!("model file {}: it is no file", path.display());
        assert_eq!(error.to_string(), expected);
    }
}

/// A model that takes some milliseconds.
fn slow() -> Tiny {
    let mut tiny = yolox(Dim::Is(1));
    tiny.work = 1500;
    tiny
}

#[test]
fn one_engine_serves_all_that_name_the_same_model_however_they_write_its_path() {
    let model = model(&yolox(Dim::Is(1)));
    let first = Engine::open(&model.options).unwrap();
    let mut other = model.options.clone();
    let file = other.model.file_name().unwrap().to_owned();
    let directory = other.model.parent().unwrap().to_owned();
    other.model = directory
        .join("..")
        .join(directory.file_name().unwrap())
        .join(file);
    let second = Engine::open(&other).unwrap();
    assert!(Arc::ptr_eq(&first, &second));

    other.threads = 2;
    let third = Engine::open(&other).unwrap();
    assert!(
        !Arc::ptr_eq(&first, &third),
        "other options, another engine"
    );

    let weak = Arc::downgrade(&first);
    drop((first, second));
    assert!(weak.upgrade().is_none(), "nobody holds it any more");
    assert_eq!(Engine::open(&model.options).unwrap().stats().inferences, 0);
}

#[test]
fn a_crowded_camera_does_not_starve_a_quiet_one() {
    let model = model(&slow());
    let engine = Engine::open(&model.options).unwrap();
    let stop = AtomicBool::new(false);
    const CROWD: usize = 12;
    let mut waits = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = engine.client(TIMEOUT);
            while !stop.load(Ordering::Relaxed) {
                client.run(CROWD, 0.4, |_, _, _| (), |_, _| ()).unwrap();
            }
        });
        let mut client = engine.client(TIMEOUT);
        for _ in 0..30 {
            // How many inputs of the crowd are run before it is this one's turn.
            let before = engine.stats().inferences;
            let fill = |_: usize, _: TensorMut<'_>, _: &mut Shown| {
                waits.push(engine.stats().inferences - before);
            };
            client.run(1, 0.4, fill, |_, _| ()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    // The median, since a busy machine may wake this thread late. Behind whole frames it would be about twelve.
    waits.sort_unstable();
    assert!(waits[waits.len() / 2] <= 4, "{waits:?}");
}

#[test]
fn every_input_gets_its_own_answer_in_its_order() {
    let model = model(&yolox(Dim::Is(1)));
    let engine = Engine::open(&model.options).unwrap();
    let mut client = engine.client(TIMEOUT);
    let mut order = Vec::new();
    let filled = AtomicUsize::new(0);
    let fill = |index: usize, _: TensorMut<'_>, _: &mut Shown| {
        assert_eq!(filled.fetch_add(1, Ordering::Relaxed), index);
    };
    client
        .run(9, 0.4, fill, |index, found| {
            assert_eq!(found.len(), 1);
            order.push(index);
        })
        .unwrap();
    assert_eq!(order, (0..9).collect::<Vec<_>>());
    client
        .run(0, 0.4, |_, _, _| (), |_, _| panic!("nothing was asked"))
        .unwrap();
}

#[test]
fn who_gives_up_leaves_nothing_behind() {
    let model = model(&slow());
    let engine = Engine::open(&model.options).unwrap();
    let mut hasty = engine.client(Duration::from_micros(1));
    for _ in 0..20 {
        let result = hasty.run(5, 0.4, |_, _, _| (), |_, _| panic!("too late"));
        assert!(matches!(result, Err(RunError::Timeout(_))));
    }
    // All inputs are free again: a patient client gets its turn at once, and only its own results.
    let mut patient = engine.client(TIMEOUT);
    let begin = Instant::now();
    let mut answers = 0;
    patient
        .run(3, 0.4, |_, _, _| (), |_, found| answers += found.len())
        .unwrap();
    assert_eq!(answers, 3);
    assert!(begin.elapsed() < TIMEOUT);
}

#[test]
fn sessions_are_made_when_work_waits() {
    let mut model = model(&slow());
    model.options.sessions = 3;
    let engine = Engine::open(&model.options).unwrap();
    let mut client = engine.client(TIMEOUT);
    client.run(1, 0.4, |_, _, _| (), |_, _| ()).unwrap();
    assert_eq!(engine.stats().sessions, 1, "nothing has waited");
    let deadline = Instant::now() + TIMEOUT;
    while engine.stats().sessions < 3 {
        assert!(Instant::now() < deadline, "{:?}", engine.stats());
        client.run(8, 0.4, |_, _, _| (), |_, _| ()).unwrap();
    }
}
