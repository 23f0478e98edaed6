//! The soak: cameras come, change and go for a long time while workers are killed, and nothing grows.
//!
//! Eight cameras from the built-in scenes. One is never touched; the others are removed, added (under the old name or a new
//! one) and changed again and again, over HTTP and in the file, some of it before the last change is done. Meanwhile capture
//! workers of other cameras are killed, and now and then the analysis worker. At the end the supervisor has the descriptors,
//! threads, shared memory, processes and memory it had near the beginning, and a reader of the untouched camera's ring has
//! seen every frame.
//!
//! Without anything set this is a short form for every `make test`. `make soak` (scripts/soak.sh) runs the full one.

#[path = "../e2e/support.rs"]
#[allow(dead_code)] // The end-to-end tests use all of it.
mod support;

mod footprint;
mod house;
mod random;
mod witness;

use footprint::{Footprint, Level};
use house::House;
use random::Random;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use support::{PATIENCE, Watchpost, children, eventually, lives};
use witness::{Analysed, Frames};

/// The cameras; the first one is the one that is never touched.
const CAMERAS: usize = 8;
/// Analysis workers are killed no more often than this: after a stable minute a restart is the first one again, without a wait.
const ANALYSIS_PEACE: Duration = Duration::from_secs(70);
/// Resident memory may grow by this, or by a twentieth, whichever is more.
const MEMORY_KIB: u64 = 4 * 1024;

/// How long, and how.
struct Options {
    cycles: u32,
    /// Stops earlier, after this time.
    limit: Duration,
    seed: u64,
    /// Before a measurement: threads that wait for work end by themselves after ten seconds.
    settle: Duration,
    model: Option<String>,
}

impl Options {
    fn from_environment() -> Self {
        let number = |name: &str| {
            let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
            let number = text.parse::<u64>();
            Some(number.unwrap_or_else(|_| panic!("{name}={text}: expected a whole number")))
        };
        let minutes = number("SOAK_MINUTES");
        let cycles = number("SOAK_CYCLES").unwrap_or(match minutes {
            Some(_) => u64::from(u32::MAX),
            None => 30,
        });
        Self {
            cycles: u32::try_from(cycles).expect("SOAK_CYCLES: too many"),
            limit: Duration::from_secs(60 * minutes.unwrap_or(24 * 60)),
            seed: number("SOAK_SEED").unwrap_or(1),
            settle: Duration::from_secs(if cycles > 100 { 12 } else { 1 }),
            model: std::env::var("SOAK_MODEL").ok().filter(|m| !m.is_empty()),
        }
    }

    /// How much of the run is over, 0 to 1.
    fn progress(&self, cycle: u32, began: Instant) -> f64 {
        let cycles = f64::from(cycle) / f64::from(self.cycles);
        cycles.max(began.elapsed().as_secs_f64() / self.limit.as_secs_f64())
    }

    /// After this many cycles, or at the latest after a third of the run, everything has been used that will be used.
    fn warm(&self) -> u32 {
        (self.cycles / 3).clamp(1, 100)
    }
}

/// Tells threads to end, also when the test fails.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What was done to the house.
#[derive(Default)]
struct Deeds {
    cycles: u32,
    capture_kills: u32,
    analysis_kills: u32,
}

#[test]
fn cameras_come_and_go_and_nothing_grows() {
    let options = Options::from_environment();
    let mut random = Random::new(options.seed);
    let mut house = House::new(CAMERAS, options.model.as_deref());
    let mut watchpost = Watchpost::start(&house.file());
    house.settle(&watchpost);
    let stop = AtomicBool::new(false);
    let mut deeds = Deeds::default();
    let began = Instant::now();
    let (levels, frames, analysed) = std::thread::scope(|scope| {
        let stopping = StopWhenDropped(&stop);
        let reader = Frames::connect(&watchpost.socket(house.still()));
        let reader = scope.spawn(|| reader.read(&stop));
        let looker = scope.spawn(|| Analysed::watch(&watchpost, house::STILL, &stop));
        let levels = run(
            &options,
            &mut random,
            &mut house,
            &watchpost,
            &mut deeds,
            began,
        );
        drop(stopping);
        (
            levels,
            reader.join().expect("reader"),
            looker.join().expect("looker"),
        )
    });
    let seconds = began.elapsed().as_secs_f64();

    let mut report = format!(
        "\nsoak: {} cycles in {seconds:.0} s (seed {}): {}; killed: {} capture, {} analysis workers\n",
        deeds.cycles,
        options.seed,
        house.counts(),
        deeds.capture_kills,
        deeds.analysis_kills,
    );
    let mut wrong = table(&mut report, &levels);
    wrong.extend(frames.judge(&mut report));
    wrong.extend(analysed.judge(&mut report, deeds.analysis_kills));
    wrong.extend(ending(&mut watchpost, &mut report));
    println!("{report}");
    if !wrong.is_empty() {
        let log = watchpost.log();
        let tail: Vec<&str> = log.lines().rev().take(60).collect();
        for line in tail.iter().rev() {
            println!("{line}");
        }
        panic!("{}\n{report}", wrong.join("\n"));
    }
}

/// Everything is measured three times: warm, after the last kill of an analysis worker (its memory begins anew with each), and
/// at the end.
struct Levels {
    warm: (u32, Footprint),
    middle: (u32, Footprint),
    end: (u32, Footprint),
}

fn run(
    options: &Options,
    random: &mut Random,
    house: &mut House,
    watchpost: &Watchpost,
    deeds: &mut Deeds,
    began: Instant,
) -> Levels {
    let (mut warm, mut middle) = (None, None);
    let measure = |house: &House| {
        house.settle(watchpost);
        std::thread::sleep(options.settle);
        Footprint::of(watchpost, house::STILL)
    };
    // One early, so that no run is without.
    let first_analysis_kill = options.warm() / 2;
    let mut killed: Option<Instant> = None;
    loop {
        let progress = options.progress(deeds.cycles, began);
        if progress >= 1.0 {
            break;
        }
        cycle(random, house, watchpost, deeds);
        let peace = killed.is_some_and(|at| at.elapsed() >= ANALYSIS_PEACE);
        let again = peace && progress < 0.5 && random.one_in(10);
        if (deeds.cycles == first_analysis_kill || again) && house.kill_analysis(watchpost) {
            deeds.analysis_kills += 1;
            killed = Some(Instant::now());
        }
        deeds.cycles += 1;
        if warm.is_none() && (deeds.cycles >= options.warm() || progress >= 0.34) {
            warm = Some((deeds.cycles, measure(house)));
        }
        if progress >= 0.6 && middle.is_none() && warm.is_some() {
            middle = Some((deeds.cycles, measure(house)));
        }
        if deeds.cycles.is_multiple_of(50) {
            let footprint = Footprint::of(watchpost, house::STILL);
            println!(
                "{:>6.0} s {:>5} cycles: {footprint}",
                began.elapsed().as_secs_f64(),
                deeds.cycles
            );
        }
    }
    let warm = warm.expect("a run is longer than its first third");
    let middle = middle.expect("a run is longer than its first half");
    // What is on its way out is given time; what leaks does not go by waiting.
    let deadline = Instant::now() + PATIENCE;
    let mut end = measure(house);
    while !grown(&warm.1, &middle.1, &end).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(1));
        end = Footprint::of(watchpost, house::STILL);
    }
    Levels {
        warm,
        middle,
        end: (deeds.cycles, end),
    }
}

/// One camera goes and another comes in its place, is changed, and somewhere in between another one's worker is killed.
fn cycle(random: &mut Random, house: &mut House, watchpost: &Watchpost, deeds: &mut Deeds) {
    let place = 1 + random.below(CAMERAS - 1);
    let victim = 1 + random.below(CAMERAS - 1);
    let kill_at = random.below(6);
    for step in 0..3 {
        match step {
            0 => house.remove(watchpost, random, place),
            1 => house.add(watchpost, random, place),
            _ => house.change(watchpost, random, place),
        }
        if kill_at == step && victim != place {
            deeds.capture_kills += u32::from(house.kill_capture(watchpost, victim));
        }
    }
}

fn grown(warm: &Footprint, middle: &Footprint, end: &Footprint) -> Vec<String> {
    let mut wrong = Vec::new();
    for (what, before, after) in end.compared(warm, middle) {
        if after.0 > before.0 + what.allowed(before.0) {
            wrong.push(format!(
                "{} grew from {} to {}",
                what.name, before.0, after.0
            ));
        }
    }
    wrong.extend(end.wrong.iter().cloned());
    wrong
}

fn table(report: &mut String, levels: &Levels) -> Vec<String> {
    let Levels { warm, middle, end } = levels;
    let _ = writeln!(
        report,
        "{:<38} {:>12} {:>12} {:>12} {:>9}",
        "",
        format!("after {}", warm.0),
        format!("after {}", middle.0),
        format!("after {}", end.0),
        "allowed",
    );
    let first = warm.1.compared(&warm.1, &warm.1);
    let second = middle.1.compared(&middle.1, &middle.1);
    let last = end.1.compared(&warm.1, &middle.1);
    for ((what, before, after), (one, two)) in last.iter().zip(first.iter().zip(&second)) {
        // Before its last kill it was another process.
        let one = if what.since_middle { Level(0) } else { one.2 };
        let shown = |level: Level| {
            if level.0 == 0 && what.since_middle {
                "-".into()
            } else {
                level.0.to_string()
            }
        };
        let _ = writeln!(
            report,
            "{:<38} {:>12} {:>12} {:>12} {:>9}",
            what.name,
            shown(one),
            two.2.0,
            after.0,
            before.0 + what.allowed(before.0),
        );
    }
    grown(&warm.1, &middle.1, &end.1)
}

/// Stops it and looks at what is left.
fn ending(watchpost: &mut Watchpost, report: &mut String) -> Vec<String> {
    let workers = children(watchpost.pid());
    let asked = Instant::now();
    watchpost.signal(rustix::process::Signal::TERM);
    let status = watchpost.wait();
    let _ = writeln!(report, "stopped in {:.2} s", asked.elapsed().as_secs_f64());
    let mut wrong = Vec::new();
    if status.code() != Some(0) {
        wrong.push(format!("it ended with {status}"));
    }
    eventually("all workers are gone", || {
        !workers.iter().any(|pid| lives(*pid))
    });
    if watchpost.run_dir().exists() {
        wrong.push("the run_dir is still there".into());
    }
    wrong
}
