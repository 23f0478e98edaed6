//! How deep rings get, from figures given and from Frigate's vectors.

use proptest::prelude::*;
use shmring_core::Backing;
use shmring_core::sizing::{
    Readings, Refusal, Request, cgroup_free, fit, frigate_shm_frame_count, mem_available, share,
};

const MIB: u64 = 1 << 20;
const FULL_HD: u64 = 1920 * 1080 * 3 / 2;

#[test]
fn frigates_formula_gives_frigates_numbers() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../../shared/vectors/frigate-vectors.json"
    );
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: no {path}");
        return;
    };
    let all: serde_json::Value = serde_json::from_str(&text).expect("vectors");
    let mut checked = 0;
    for vector in all["vectors"].as_array().expect("vectors") {
        if vector["fn"] != "shm_frame_count" {
            continue;
        }
        let (input, output) = (&vector["in"], &vector["out"]);
        let size = |pair: &serde_json::Value| {
            let of = |at: usize| pair[at].as_u64().expect("size") as u32;
            (of(0), of(1))
        };
        let cameras: Vec<_> = input["cameras_wh"]
            .as_array()
            .expect("cameras")
            .iter()
            .map(size)
            .collect();
        let answer = frigate_shm_frame_count(
            input["shm_total_mb"].as_f64().expect("size"),
            &cameras,
            input["SHM_MAX_FRAMES"].as_i64().expect("frames"),
            input["birdseye_restream"].as_bool().expect("birdseye"),
        );
        assert_eq!(Some(answer.frames), output["shm_frame_count"].as_i64());
        assert_eq!(Some(answer.min_shm_mb), output["min_shm_mb"].as_i64());
        checked += 1;
    }
    assert!(checked >= 3, "{checked} vectors");
}

#[test]
fn a_ring_that_fits_has_its_full_depth_and_no_warning() {
    let request = Request::new(FULL_HD, 4);
    let depth = fit(&request, 64 * MIB).expect("fits");
    assert_eq!((depth.slots, depth.wanted_slots), (16, 16));
    assert_eq!(
        depth.bytes,
        request.geometry(16).expect("geometry").total_bytes()
    );
    assert_eq!(depth.warning("front", None), None);
}

#[test]
fn a_short_budget_gives_fewer_slots_and_says_what_was_needed() {
    let depth = fit(&Request::new(FULL_HD, 4), 20 * MIB).expect("fits");
    assert_eq!(depth.slots, 6);
    let frigate = frigate_shm_frame_count(64.0, &[(1280, 720)], 50, false);
    let text = depth.warning("front", Some(&frigate)).expect("warning");
    assert!(
        text.contains("front") && text.contains("6 slots instead of 16"),
        "{text}"
    );
    assert!(
        text.contains("47.8 MiB") && text.contains("20.0 MiB"),
        "{text}"
    );
    assert!(
        text.contains("2 frames") && text.contains("146 MB"),
        "{text}"
    );
}

#[test]
fn a_ring_without_room_for_its_readers_is_refused_with_the_numbers() {
    let request = Request::new(FULL_HD, 4);
    let refusal = fit(&request, 10 * MIB).expect_err("too little");
    let needed = request.geometry(6).expect("geometry").total_bytes();
    assert_eq!(
        refusal,
        Refusal::NoMemory {
            least: 6,
            needed,
            available: 10 * MIB
        }
    );
    let text = refusal.to_string();
    assert!(
        text.contains(&needed.to_string()) && text.contains(&(10 * MIB).to_string()),
        "{text}"
    );
}

#[test]
fn one_camera_too_large_is_refused_alone() {
    let small = Request::new(640 * 360 * 3 / 2, 4);
    let huge = Request::new(1 << 30, 4);
    let answers = share(&[small, huge, small], 64 * MIB);
    let slots: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().ok().map(|depth| depth.slots))
        .collect();
    assert_eq!(slots, [Some(16), None, Some(16)]);
}

#[test]
fn cameras_that_start_together_give_way_alike() {
    let request = Request::new(FULL_HD, 4);
    let answers = share(&[request; 4], 100 * MIB);
    let slots: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().expect("fits").slots)
        .collect();
    assert_eq!(slots, [8; 4]);
    assert!(
        answers
            .iter()
            .all(|answer| answer.expect("fits").warning("x", None).is_some())
    );
}

#[test]
fn the_tightest_bound_counts_and_a_tenth_stays_free() {
    let readings = Readings {
        mem_available: Some(8000 * MIB),
        cgroup_free: Some(1000 * MIB),
        shm_free: Some(64 * MIB),
        shm_total: Some(64 * MIB),
    };
    assert_eq!(readings.usable_bytes(Backing::Memfd), 900 * MIB);
    assert_eq!(readings.default_budget(Backing::Memfd), 225 * MIB);
    assert_eq!(readings.free_bytes(Backing::DevShm), 64 * MIB);
    // A memfd ring works in a container with a /dev/shm of 64 MiB, at full depth.
    let depth = fit(
        &Request::new(FULL_HD, 4),
        readings.default_budget(Backing::Memfd),
    );
    assert_eq!(depth.expect("fits").slots, 16);
    let depth = fit(
        &Request::new(2 * FULL_HD, 4),
        readings.usable_bytes(Backing::DevShm),
    );
    assert_eq!(depth.expect("fits").slots, 9);
}

#[test]
fn the_system_answers() {
    let readings = Readings::of_system();
    assert!(readings.mem_available.is_some_and(|bytes| bytes > MIB));
    assert!(readings.usable_bytes(Backing::Memfd) > MIB);
}

#[test]
fn meminfo_is_read_as_kibibytes() {
    let text = "MemTotal:       100 kB\nMemAvailable:    2048 kB\nBuffers: 1 kB\n";
    assert_eq!(mem_available(text), Some(2 * MIB));
    assert_eq!(mem_available("MemTotal: 1 kB"), None);
    assert_eq!(mem_available("MemAvailable: lots kB"), None);
}

#[test]
fn the_tightest_cgroup_of_either_version_counts() {
    let mount = tempfile::tempdir().expect("directory");
    let put = |path: &str, text: &str| {
        let path = mount.path().join(path);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        std::fs::write(path, text).expect("file");
    };
    // Version 2: the inner group has no limit, the outer one has 100 MiB and uses 60, of which 20 can go.
    put("a/b/memory.max", "max\n");
    put("a/b/memory.current", "5\n");
    put("a/memory.max", &format!("{}\n", 100 * MIB));
    put("a/memory.current", &format!("{}\n", 60 * MIB));
    put(
        "a/memory.stat",
        &format!("anon 1\ninactive_file {}\nfile 2\n", 20 * MIB),
    );
    assert_eq!(cgroup_free("0::/a/b\n", mount.path()), Some(60 * MIB));
    // Version 1, in a container that does not see its own path.
    put("memory/memory.limit_in_bytes", &format!("{}\n", 50 * MIB));
    put("memory/memory.usage_in_bytes", &format!("{}\n", 10 * MIB));
    let text = "5:cpu,cpuacct:/x\n4:memory:/docker/123\n0::/a/b\n";
    assert_eq!(cgroup_free(text, mount.path()), Some(40 * MIB));
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_eq!(cgroup_free(text, mount.path()), Some(60 * MIB));
    assert_eq!(cgroup_free("nonsense\n", mount.path()), None);
}

proptest! {
    #[test]
    fn no_more_than_the_budget_is_ever_handed_out(
        sizes in prop::collection::vec((1_u64..8 << 20, 1_u32..20), 0..12),
        budget in 0_u64..400 << 20,
    ) {
        let requests: Vec<_> = sizes.iter().map(|(bytes, grants)| Request::new(*bytes, *grants)).collect();
        let answers = share(&requests, budget);
        let total: u64 = answers.iter().flatten().map(|depth| depth.bytes).sum();
        prop_assert!(total <= budget);
        for (request, answer) in requests.iter().zip(&answers) {
            if let Ok(depth) = answer {
                prop_assert!((request.least..=request.slots).contains(&depth.slots));
            }
        }
    }
}
