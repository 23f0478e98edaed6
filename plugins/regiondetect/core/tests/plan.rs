//! What every plan promises, and what it does with the scenes it was made for.

use detection::{BBox, Detection, FrameSize};
use proptest::prelude::*;
use regiondetect_core::grid::RegionGrid;
use regiondetect_core::regions::{
    Look, Placement, Plan, PlanSettings, Planner, Reason, WatchedTrack,
};

const FRAME: FrameSize = FrameSize::new(1280, 720);
const SECOND: u64 = 1_000_000_000;
const FRAME_TIME: u64 = SECOND / 5;

fn settings() -> PlanSettings {
    PlanSettings::new(FRAME, 416)
}

/// A planner whose start-up scan is over, with the time of its next frame.
fn settled(settings: PlanSettings) -> (Planner, u64) {
    let mut planner = Planner::new(settings);
    let mut grid = RegionGrid::new();
    for i in 0..100 {
        planner.plan(&still(i * FRAME_TIME), &grid);
        planner.report(&[], &mut grid);
    }
    assert!(planner.last().inputs().is_empty(), "start-up ends");
    (planner, 100 * FRAME_TIME)
}

fn still<'a>(time: u64) -> Look<'a> {
    Look {
        time,
        motion: Some(&[]),
        calibrating: false,
        tracks: Some(&[]),
    }
}

fn track(id: i32, x: f32, y: f32, w: f32, h: f32) -> WatchedTrack {
    WatchedTrack {
        id,
        bbox: BBox::from_xywh(x, y, w, h),
        stationary: false,
    }
}

fn check(plan: &Plan, settings: &PlanSettings) {
    let (width, height) = settings.frame.sides();
    let mut counted = 0;
    for input in plan.inputs() {
        let placements = plan.placements(input);
        assert!(!placements.is_empty());
        counted += placements.len();
        for (i, p) in placements.iter().enumerate() {
            let (s, d) = (p.source, p.dest);
            assert_eq!(s.width(), s.height(), "sources are square");
            assert_eq!(d.width(), d.height(), "destinations are square");
            assert!(s.width() > 0 && d.width() > 0);
            assert!(s.x1 >= 0 && s.y1 >= 0 && s.x1 < width && s.y1 < height);
            assert!(
                s.x2 <= width || s.x1 == 0,
                "beyond the right edge only when larger: {s:?}"
            );
            assert!(
                s.y2 <= height || s.y1 == 0,
                "beyond the lower edge only when larger: {s:?}"
            );
            assert!(d.x1 >= 0 && d.y1 >= 0 && d.x2 <= settings.input && d.y2 <= settings.input);
            for other in &placements[..i] {
                let overlap = d.to_bbox().intersection(&other.dest.to_bbox());
                assert!(overlap.is_none_or(|o| o.area() == 0.0), "places overlap");
            }
        }
    }
    assert_eq!(counted, plan.all_placements().len());
    assert!(plan.inputs().len() <= settings.max_inputs);
}

fn shown_or_deferred(plan: &Plan, b: &BBox) -> bool {
    plan.holds(b) || plan.deferred().iter().any(|d| d.bbox.contains(b))
}

fn boxes(max: usize) -> impl Strategy<Value = Vec<BBox>> {
    let one = (
        -100f32..1400.0,
        -100f32..800.0,
        0.5f32..900.0,
        0.5f32..700.0,
        1f32..20.0,
    )
        .prop_map(|(x, y, w, h, shrink)| BBox::from_xywh(x, y, w / shrink, h / shrink));
    prop::collection::vec(one, 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_wanted_box_is_shown_or_deferred(
        frames in prop::collection::vec((boxes(45), boxes(30), any::<bool>(), any::<u64>()), 1..6),
        budget in prop::option::of(0.0f32..40.0),
        max_inputs in 1usize..12,
        pack in any::<bool>(),
        track_interval in prop::sample::select(vec![0, SECOND / 8, SECOND]),
        input in prop::sample::select(vec![192, 320, 416, 640]),
        size in prop::sample::select(vec![(1280, 720), (768, 432), (320, 240), (3840, 2160), (720, 1280)]),
    ) {
        let settings = PlanSettings {
            budget,
            max_inputs,
            pack,
            track_interval,
            ..PlanSettings::new(FrameSize::new(size.0, size.1), input)
        };
        let (width, height) = (size.0 as f32, size.1 as f32);
        let mut planner = Planner::new(settings.clone());
        let mut grid = RegionGrid::new();
        let mut time = 0;
        for (tracks, motion, calibrating, seed) in &frames {
            time += FRAME_TIME;
            let tracks: Vec<WatchedTrack> = tracks.iter().enumerate().map(|(i, b)| WatchedTrack {
                id: i as i32, bbox: *b, stationary: (seed >> (i % 64)) & 1 == 1,
            }).collect();
            let look = Look { time, motion: Some(motion), calibrating: *calibrating, tracks: Some(&tracks) };
            let plan = planner.plan(&look, &grid);
            check(plan, &settings);
            // Every track has its turn in every frame, unless the interval is longer.
            let all = track_interval <= FRAME_TIME;
            for track in tracks.iter().filter(|t| all && !t.stationary) {
                let b = track.bbox.clamped(width, height);
                prop_assert!(!b.is_valid() || shown_or_deferred(plan, &b), "track {b:?}");
            }
            if !calibrating {
                for b in motion {
                    let b = b.clamped(width, height);
                    // Large motion may be covered by several squares.
                    let small = b.width().max(b.height()) < input as f32;
                    prop_assert!(!b.is_valid() || !small || shown_or_deferred(plan, &b), "motion {b:?}");
                }
            }
            let found: Vec<Detection> = tracks.iter().step_by(2)
                .map(|t| Detection { bbox: t.bbox, label: 0, score: 0.9 }).collect();
            planner.report(&found, &mut grid);
        }
        prop_assert!(RegionGrid::from_json(&grid.to_json()).is_ok());
    }

    #[test]
    fn plans_of_any_bytes_keep_their_promises(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        regiondetect_core::regions::fuzz(&bytes);
    }

    #[test]
    fn nonsense_does_not_panic(
        values in prop::collection::vec(prop::num::f32::ANY, 40),
        time in any::<u64>(), frame in any::<(u32, u32)>(), input in any::<i32>(), regions in any::<(i32, i32, i32)>(),
    ) {
        let boxes: Vec<BBox> = values.chunks_exact(4).map(|v| BBox::new(v[0], v[1], v[2], v[3])).collect();
        let settings = PlanSettings {
            min_region: regions.0, max_region: regions.1, min_object: regions.2,
            ..PlanSettings::new(FrameSize::new(frame.0, frame.1), input)
        };
        let mut planner = Planner::new(settings);
        let mut grid = RegionGrid::new();
        let tracks: Vec<_> = boxes.iter().map(|b| WatchedTrack { id: 1, bbox: *b, stationary: false }).collect();
        for time in [time, 0, u64::MAX] {
            let look = Look { time, motion: Some(&boxes), calibrating: false, tracks: Some(&tracks) };
            planner.plan(&look, &grid);
            let found: Vec<_> = boxes.iter().map(|b| Detection { bbox: *b, label: 0, score: 1.0 }).collect();
            planner.report(&found, &mut grid);
        }
    }
}

#[test]
fn nothing_is_inferred_where_nothing_moves() {
    let (mut planner, time) = settled(settings());
    let grid = RegionGrid::new();
    for i in 0..50 {
        assert!(
            planner
                .plan(&still(time + i * FRAME_TIME), &grid)
                .inputs()
                .is_empty()
        );
    }
}

#[test]
fn start_up_looks_at_the_whole_frame_and_then_at_every_part_of_it() {
    let mut planner = Planner::new(settings());
    let grid = RegionGrid::new();
    let whole = BBox::new(0.0, 0.0, 1280.0, 720.0);
    let first = planner.plan(&still(0), &grid);
    assert!(first.holds(&whole));
    let sources = |plan: &Plan| -> Vec<BBox> {
        plan.all_placements()
            .iter()
            .map(|p| p.source.to_bbox())
            .collect()
    };
    let mut seen = sources(first);
    for i in 1..10 {
        let plan = planner.plan(&still(i * FRAME_TIME), &grid);
        seen.extend(sources(plan));
    }
    for x in 0..128 {
        for y in 0..72 {
            let spot = BBox::from_xywh(x as f32 * 10.0, y as f32 * 10.0, 10.0, 10.0);
            assert!(
                seen.iter().any(|s| s.width() < 600.0 && s.contains(&spot)),
                "{spot:?}"
            );
        }
    }
}

#[test]
fn a_busy_scene_is_looked_through_while_motion_calibrates() {
    let (mut planner, time) = settled(settings());
    let grid = RegionGrid::new();
    let everything = [BBox::new(0.0, 0.0, 1280.0, 720.0)];
    for i in 0..10 {
        let look = Look {
            motion: Some(&everything),
            calibrating: true,
            ..still(time + i * FRAME_TIME)
        };
        let plan = planner.plan(&look, &grid);
        assert_eq!(plan.inputs().len(), 1, "one tile per frame");
    }
}

#[test]
fn one_walker_costs_one_inference_per_frame() {
    let (mut planner, time) = settled(settings());
    let mut grid = RegionGrid::new();
    for i in 0..20u64 {
        let x = 100.0 + i as f32 * 12.0;
        let tracks = [track(7, x, 300.0, 50.0, 130.0)];
        let motion = [
            BBox::from_xywh(x - 5.0, 290.0, 30.0, 80.0),
            BBox::from_xywh(x + 20.0, 350.0, 40.0, 90.0),
        ];
        let look = Look {
            motion: Some(&motion),
            tracks: Some(&tracks),
            ..still(time + i * FRAME_TIME)
        };
        let plan = planner.plan(&look, &grid);
        assert_eq!(plan.inputs().len(), 1);
        assert_eq!(plan.inputs()[0].reason, Reason::Track);
        assert!(plan.holds(&tracks[0].bbox));
        let found = Detection {
            bbox: tracks[0].bbox,
            label: 0,
            score: 0.8,
        };
        planner.report(&[found], &mut grid);
    }
    assert!(!grid.is_empty(), "walkers teach the grid");
}

/// The inferences that a walker of 60 by 150 pixels costs in 4 s at 30 frames per second; speed in pixels per second.
fn looks_at_a_walker(settings: PlanSettings, speed: f32) -> usize {
    const FAST: u64 = SECOND / 30;
    let (mut planner, time) = settled(settings);
    let mut grid = RegionGrid::new();
    let mut looks = 0;
    for i in 0..120u64 {
        let x = 100.0 + speed * i as f32 / 30.0;
        let tracks = [track(7, x, 300.0, 60.0, 150.0)];
        let look = Look {
            // He, and the shadow that follows him.
            motion: Some(&[tracks[0].bbox, BBox::from_xywh(x - 40.0, 420.0, 50.0, 40.0)]),
            tracks: Some(&tracks),
            ..still(time + i * FAST)
        };
        let plan = planner.plan(&look, &grid);
        check(plan, &self::settings());
        looks += plan.inputs().len();
        let found = Detection {
            bbox: tracks[0].bbox,
            label: 0,
            score: 0.8,
        };
        let seen = plan.holds(&found.bbox);
        planner.report(&[found][..usize::from(seen)], &mut grid);
    }
    looks
}

#[test]
fn a_track_that_goes_on_as_it_did_is_looked_at_some_eight_times_a_second() {
    let looks = looks_at_a_walker(settings(), 60.0);
    assert!((28..=40).contains(&looks), "in 4 s: {looks}");
    let every_frame = PlanSettings {
        track_interval: 0,
        ..settings()
    };
    assert_eq!(looks_at_a_walker(every_frame, 60.0), 120);
}

#[test]
fn a_track_that_is_fast_is_looked_at_before_it_is_somewhere_else() {
    let looks = looks_at_a_walker(settings(), 270.0);
    let slow = looks_at_a_walker(settings(), 60.0);
    assert!(looks > slow, "{looks} looks, {slow} at a slow one");
}

#[test]
fn a_new_track_is_looked_at_in_every_frame() {
    let (mut planner, time) = settled(settings());
    let grid = RegionGrid::new();
    let tracks = [track(7, 300.0, 300.0, 60.0, 150.0)];
    for i in 0..4 {
        let look = Look {
            tracks: Some(&tracks),
            ..still(time + i * SECOND / 30)
        };
        let plan = planner.plan(&look, &grid);
        assert!(plan.holds(&tracks[0].bbox), "frame {i}");
    }
}

#[test]
fn who_appears_beside_a_track_that_waits_is_looked_at_at_once() {
    let (mut planner, time) = settled(settings());
    let grid = RegionGrid::new();
    let tracks = [track(7, 300.0, 300.0, 60.0, 150.0)];
    let at = |i: u64| time + i * SECOND / 30;
    for i in 0..5 {
        let look = Look {
            motion: Some(&[tracks[0].bbox]),
            tracks: Some(&tracks),
            ..still(at(i))
        };
        planner.plan(&look, &grid);
    }
    assert!(planner.last().inputs().is_empty(), "the track waits");
    let newcomer = BBox::from_xywh(800.0, 250.0, 60.0, 160.0);
    let look = Look {
        motion: Some(&[tracks[0].bbox, newcomer]),
        tracks: Some(&tracks),
        ..still(at(5))
    };
    let plan = planner.plan(&look, &grid);
    assert!(plan.holds(&newcomer));
    assert!(!plan.holds(&tracks[0].bbox));
}

#[test]
fn large_motion_around_a_track_is_looked_at_as_often_as_the_track_where_there_is_a_tracker() {
    let tracks = [track(7, 300.0, 300.0, 60.0, 150.0)];
    let found = Detection {
        bbox: tracks[0].bbox,
        label: 0,
        score: 0.8,
    };
    // The light has changed around somebody, for 3 s of a fast camera.
    let light = BBox::from_xywh(0.0, 0.0, 700.0, 700.0);
    let looks = |tracks: Option<&[WatchedTrack]>| {
        let (mut planner, time) = settled(settings());
        let mut grid = RegionGrid::new();
        let mut looks = 0;
        for i in 0..90 {
            let look = Look {
                motion: Some(&[light]),
                tracks,
                ..still(time + i * SECOND / 30)
            };
            let plan = planner.plan(&look, &grid);
            looks += usize::from(!plan.inputs().is_empty());
            let seen = plan.holds(&found.bbox);
            planner.report(&[found][..usize::from(seen)], &mut grid);
        }
        looks
    };
    let tracked = looks(Some(&tracks));
    assert!((20..=60).contains(&tracked), "in 3 s: {tracked}");
    assert_eq!(looks(None), 90, "nobody else shows what was found");
}

#[test]
fn far_apart_walkers_share_one_input() {
    let (mut planner, time) = settled(settings());
    let tracks = [
        track(1, 50.0, 50.0, 30.0, 90.0),
        track(2, 1150.0, 80.0, 30.0, 90.0),
        track(3, 90.0, 560.0, 30.0, 90.0),
        track(4, 1100.0, 600.0, 30.0, 90.0),
    ];
    let look = Look {
        tracks: Some(&tracks),
        ..still(time)
    };
    let plan = planner.plan(&look, &RegionGrid::new());
    assert_eq!(plan.inputs().len(), 1);
    let placements = plan.placements(&plan.inputs()[0]);
    assert_eq!(placements.len(), 4);
    for track in &tracks {
        let shows = |p: &&Placement| p.source.to_bbox().contains(&track.bbox);
        let p = placements.iter().find(shows).unwrap();
        let scale = p.dest.width() as f32 / p.source.width() as f32;
        assert!(90.0 * scale >= 60.0, "stays large enough to see");
        // A box found in the shared input comes back to where it is.
        let there = BBox::new(
            (track.bbox.x1 - p.source.x1 as f32) * scale + p.dest.x1 as f32,
            (track.bbox.y1 - p.source.y1 as f32) * scale + p.dest.y1 as f32,
            (track.bbox.x2 - p.source.x1 as f32) * scale + p.dest.x1 as f32,
            (track.bbox.y2 - p.source.y1 as f32) * scale + p.dest.y1 as f32,
        );
        let owner = plan.placement_of(&plan.inputs()[0], &there).unwrap();
        assert!(owner.to_frame(&there).iou(&track.bbox) > 0.99);
    }
}

#[test]
fn what_the_budget_keeps_back_comes_first_next_time() {
    let budget = PlanSettings {
        max_inputs: 1,
        pack: false,
        min_object: 200,
        ..settings()
    };
    let (mut planner, time) = settled(budget);
    let grid = RegionGrid::new();
    let tracks = [
        track(1, 50.0, 50.0, 100.0, 300.0),
        track(2, 1100.0, 80.0, 100.0, 300.0),
        track(3, 600.0, 380.0, 100.0, 300.0),
    ];
    let mut seen = Vec::new();
    for i in 0..3 {
        let look = Look {
            tracks: Some(&tracks),
            ..still(time + i * FRAME_TIME)
        };
        let plan = planner.plan(&look, &grid);
        assert_eq!((plan.inputs().len(), plan.deferred().len()), (1, 2));
        seen.extend(tracks.iter().filter(|t| plan.holds(&t.bbox)).map(|t| t.id));
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3], "each is looked at once in three frames");
}

#[test]
fn motion_that_had_to_wait_is_looked_at_even_when_it_has_stopped() {
    let budget = PlanSettings {
        max_inputs: 1,
        pack: false,
        ..settings()
    };
    let (mut planner, time) = settled(budget);
    let grid = RegionGrid::new();
    let near = BBox::from_xywh(100.0, 300.0, 60.0, 90.0);
    let far = BBox::from_xywh(1100.0, 300.0, 60.0, 90.0);
    let both = [near, far];
    let look = Look {
        motion: Some(&both),
        ..still(time)
    };
    let first = planner.plan(&look, &grid);
    let (was, waits) = if first.holds(&near) {
        (near, far)
    } else {
        (far, near)
    };
    assert!(first.holds(&was) && !first.holds(&waits));
    assert!(planner.plan(&still(time + FRAME_TIME), &grid).holds(&waits));
    assert!(
        planner
            .plan(&still(time + 2 * FRAME_TIME), &grid)
            .inputs()
            .is_empty()
    );
}

#[test]
fn a_budget_per_second_is_kept() {
    let budget = PlanSettings {
        budget: Some(3.0),
        ..settings()
    };
    let (mut planner, time) = settled(budget);
    let grid = RegionGrid::new();
    let tracks = [
        track(1, 50.0, 50.0, 100.0, 300.0),
        track(2, 1100.0, 80.0, 100.0, 300.0),
    ];
    let mut inputs = 0;
    for i in 0..100 {
        let look = Look {
            tracks: Some(&tracks),
            ..still(time + i * FRAME_TIME)
        };
        inputs += planner.plan(&look, &grid).inputs().len();
    }
    assert!(
        (57..=63).contains(&inputs),
        "20 s at 3 per second, and what was saved up: {inputs}"
    );
}

#[test]
fn resting_tracks_are_looked_at_once_per_interval() {
    let (mut planner, time) = settled(settings());
    let grid = RegionGrid::new();
    let parked = [WatchedTrack {
        stationary: true,
        ..track(9, 400.0, 400.0, 200.0, 120.0)
    }];
    let mut looks = 0;
    for i in 0..(5 * 60) {
        let look = Look {
            tracks: Some(&parked),
            ..still(time + i * FRAME_TIME)
        };
        looks += planner.plan(&look, &grid).inputs().len();
    }
    assert_eq!(looks, 6, "a minute at one look every 10 s");
}

#[test]
fn a_tree_in_the_wind_is_looked_at_less_and_less_and_a_visitor_still_within_a_second() {
    let (mut planner, time) = settled(settings());
    let mut grid = RegionGrid::new();
    let tree = [BBox::from_xywh(600.0, 100.0, 80.0, 80.0)];
    let mut looks = Vec::new();
    for i in 0..100 {
        let look = Look {
            motion: Some(&tree),
            ..still(time + i * FRAME_TIME)
        };
        looks.push(planner.plan(&look, &grid).inputs().len());
        planner.report(&[], &mut grid);
    }
    let late: usize = looks[50..].iter().sum();
    assert!(
        (8..=12).contains(&late),
        "about one per second in the last ten: {late}"
    );
}

#[test]
fn an_object_cut_by_its_region_is_looked_at_again_as_a_whole() {
    let (mut planner, time) = settled(settings());
    let mut grid = RegionGrid::new();
    let legs = [BBox::from_xywh(600.0, 400.0, 60.0, 60.0)];
    let look = Look {
        motion: Some(&legs),
        tracks: None,
        ..still(time)
    };
    let region = planner.plan(&look, &grid).all_placements()[0].source;
    let cut = BBox::new(600.0, region.y1 as f32, 660.0, 460.0);
    planner.report(
        &[Detection {
            bbox: cut,
            label: 0,
            score: 0.7,
        }],
        &mut grid,
    );
    assert!(grid.is_empty(), "half an object teaches nothing");
    let next = Look {
        tracks: None,
        ..still(time + FRAME_TIME)
    };
    let plan = planner.plan(&next, &grid);
    assert!(plan.holds(&cut) && plan.all_placements()[0].source.y1 < region.y1);
}

#[test]
fn someone_who_stands_and_stirs_is_looked_at_twice_a_second_and_who_walks_by_at_once() {
    let (mut planner, time) = settled(settings());
    let grid = RegionGrid::new();
    let standing = [WatchedTrack {
        stationary: true,
        ..track(9, 400.0, 200.0, 120.0, 300.0)
    }];
    let hand = BBox::from_xywh(500.0, 300.0, 30.0, 30.0);
    let mut looks = 0;
    for i in 0..50 {
        let look = Look {
            motion: Some(&[hand]),
            tracks: Some(&standing),
            ..still(time + i * FRAME_TIME)
        };
        looks += planner.plan(&look, &grid).inputs().len();
    }
    assert!((15..=25).contains(&looks), "in 10 s: {looks}");
    let passer = BBox::from_xywh(480.0, 220.0, 150.0, 280.0);
    let look = Look {
        motion: Some(&[hand, passer]),
        tracks: Some(&standing),
        ..still(time + 50 * FRAME_TIME)
    };
    assert!(planner.plan(&look, &grid).holds(&passer));
}
