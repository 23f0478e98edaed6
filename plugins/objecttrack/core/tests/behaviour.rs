//! What a user of a surveillance camera expects of identities.

use detection::{BBox, Detection, TrackChange, TrackState};
use objecttrack_core::appearance::Luma;
use objecttrack_core::{Evidence, LookedAt, Params, Tracked, Tracker};

const FPS: f64 = 5.0;

/// Repeatable noise, about -1..1.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 40) as f32 / (1u64 << 24) as f32) * 2.0 - 1.0
    }

    fn chance(&mut self, share: f32) -> bool {
        (self.next() + 1.0) / 2.0 < share
    }

    /// A detector's box: 2% of its size off.
    fn boxed(&mut self, x: f32, y: f32, w: f32, h: f32) -> Detection {
        let (dx, dy) = (self.next() * 0.02 * w, self.next() * 0.02 * h);
        let (sw, sh) = (1.0 + self.next() * 0.02, 1.0 + self.next() * 0.02);
        Detection {
            bbox: BBox::from_xywh(x + dx, y + dy, w * sw, h * sh),
            label: 0,
            score: 0.85,
        }
    }
}

fn near(tracks: &[Tracked], x: f32, y: f32) -> Option<u32> {
    tracks
        .iter()
        .filter(|t| t.shown)
        .map(|t| (t.track.id, t.track.bbox.centre()))
        .map(|(id, (cx, cy))| (id, (cx - x).hypot(cy - y)))
        .filter(|(_, d)| *d < 40.0)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(id, _)| id)
}

#[test]
fn parked_car_keeps_one_id_for_an_hour() {
    let mut noise = Noise(1);
    let mut tracker = Tracker::new(Params::default());
    let mut changes = Vec::new();
    let mut shown = 0;
    let frames = (3600.0 * FPS) as u32;
    let mut looks = 0;
    let mut look_now = true;
    for f in 0..frames {
        let time = f64::from(f) / FPS;
        // Looked at for 20 s, then every 10 s; after a miss at every frame, as the tracker asks.
        let look = f < 100 || f % 50 == 0 || look_now;
        let everything = [BBox::from_xywh(0.0, 0.0, 1280.0, 720.0)];
        let mut seen = Vec::new();
        if look {
            looks += 1;
            if !noise.chance(0.05) {
                seen.push(noise.boxed(500.0, 300.0, 220.0, 100.0));
            }
        }
        let regions = if look { &everything[..] } else { &[] };
        let tracks = tracker.step(time, &seen, LookedAt::Regions(regions));
        shown += usize::from(near(tracks, 610.0, 350.0) == Some(1));
        look_now = f >= 100 && look && seen.is_empty();
        changes.extend(tracker.changes().iter().map(|c| (c.kind, c.track.track.id)));
    }
    assert!(looks < 700, "{looks} looks: it was never left alone");
    assert_eq!(tracker.next_id(), 2, "a second id was given");
    assert!(
        shown as f32 > 0.98 * frames as f32,
        "shown in {shown} of {frames} frames"
    );
    assert!(
        !changes
            .iter()
            .any(|c| c.0 == TrackChange::Ended || c.0 == TrackChange::Moving)
    );
    assert_eq!(
        changes
            .iter()
            .filter(|c| c.0 == TrackChange::Stationary)
            .count(),
        1
    );
}

#[test]
fn two_people_crossing_keep_their_ids() {
    for seed in 0..20 {
        let mut noise = Noise(seed);
        let mut tracker = Tracker::new(Params::default());
        let (mut first, mut last) = ((None, None), (None, None));
        for f in 0..60 {
            let step = f as f32 * 18.0;
            let (a, b) = (100.0 + step, 1160.0 - step);
            let mut seen = vec![noise.boxed(a, 300.0, 80.0, 200.0)];
            // The farther one is hidden while the nearer one covers it.
            if (a - b).abs() > 55.0 {
                seen.push(noise.boxed(b, 270.0, 74.0, 185.0));
            }
            let tracks = tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
            let now = (near(tracks, a + 40.0, 400.0), near(tracks, b + 37.0, 362.0));
            if f == 10 {
                first = now;
            }
            last = now;
        }
        assert!(first.0.is_some() && first.1.is_some());
        assert_eq!(first, last, "seed {seed}");
    }
}

#[test]
fn a_person_behind_a_pillar_for_two_seconds_comes_back_as_the_same() {
    let mut noise = Noise(3);
    let mut tracker = Tracker::new(Params::default());
    let mut ids = Vec::new();
    for f in 0..50 {
        let x = 100.0 + f as f32 * 20.0;
        let hidden = (20..30).contains(&f);
        let seen: Vec<_> = (!hidden)
            .then(|| noise.boxed(x, 300.0, 80.0, 200.0))
            .into_iter()
            .collect();
        let tracks = tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
        if !hidden && f > 1 {
            ids.push(near(tracks, x + 40.0, 400.0));
        }
        if (23..30).contains(&f) {
            assert!(
                tracks
                    .iter()
                    .all(|t| !t.shown && t.evidence == Evidence::Coasting),
                "a guess was shown as an object"
            );
        }
    }
    assert!(ids.iter().all(|id| *id == Some(1)), "{ids:?}");
}

#[test]
fn a_car_leaving_and_another_parking_at_the_same_place_are_two() {
    let mut noise = Noise(4);
    let mut tracker = Tracker::new(Params::default());
    let mut at_place = Vec::new();
    for f in 0..400 {
        let t = f as f32 / FPS as f32;
        let mut seen = Vec::new();
        // The first stands until 20 s, pulls out to the right and is gone at 26 s.
        let gone = (t - 20.0).max(0.0);
        let x1 = 500.0 + 35.0 * gone * gone;
        if x1 < 1300.0 {
            seen.push(noise.boxed(x1, 300.0, 220.0, 100.0));
        }
        // The second comes from the left at 30 s and stops at the same place.
        if t > 30.0 {
            seen.push(noise.boxed(
                (-200.0 + 140.0 * (t - 30.0)).min(502.0),
                301.0,
                215.0,
                104.0,
            ));
        }
        let tracks = tracker.step(f64::from(t), &seen, LookedAt::Everything);
        if f == 95 || f == 399 {
            at_place.push(near(tracks, 610.0, 350.0));
        }
    }
    assert_eq!(at_place, [Some(1), Some(2)]);
    assert_eq!(tracker.next_id(), 3);
}

#[test]
fn a_passer_by_does_not_drag_a_parked_car_away() {
    let mut noise = Noise(5);
    let mut tracker = Tracker::new(Params::default());
    for f in 0..160 {
        let t = f as f32 / FPS as f32;
        let mut seen = Vec::new();
        let passer = 2000.0 - 90.0 * t;
        let covers = (passer - 500.0).abs() < 150.0;
        if !covers {
            seen.push(noise.boxed(500.0, 300.0, 220.0, 100.0));
        }
        if passer < 1300.0 {
            seen.push(noise.boxed(passer, 320.0, 230.0, 110.0));
        }
        let tracks = tracker.step(f64::from(t), &seen, LookedAt::Everything);
        if f > 12 {
            let parked = tracks
                .iter()
                .find(|t| t.track.id == 1)
                .expect("the parked car lost its id");
            assert!(
                (parked.track.bbox.centre().0 - 610.0).abs() < 15.0,
                "dragged to {:?} in frame {f}",
                parked.track.bbox
            );
        }
    }
}

#[test]
fn a_parked_car_that_drives_off_keeps_its_id() {
    let mut noise = Noise(6);
    let mut tracker = Tracker::new(Params::default());
    let mut kinds = Vec::new();
    for f in 0..140 {
        let t = f as f32 / FPS as f32;
        let gone = (t - 20.0).max(0.0);
        let x = 200.0 + 30.0 * gone * gone;
        let tracks = tracker.step(
            f64::from(t),
            &[noise.boxed(x, 300.0, 220.0, 100.0)],
            LookedAt::Everything,
        );
        if f > 1 {
            assert_eq!(near(tracks, x + 110.0, 350.0), Some(1), "frame {f}");
        }
        kinds.extend(
            tracker
                .changes()
                .iter()
                .map(|c| c.kind)
                .filter(|k| *k != TrackChange::Updated),
        );
    }
    assert_eq!(
        kinds,
        [
            TrackChange::Started,
            TrackChange::Stationary,
            TrackChange::Moving
        ]
    );
}

#[test]
fn a_parked_car_not_detected_for_half_a_minute_is_found_again_at_its_place() {
    let mut noise = Noise(7);
    let mut tracker = Tracker::new(Params::default());
    for f in 0..600 {
        let t = f as f32 / FPS as f32;
        let dusk = (60.0..90.0).contains(&t);
        let seen: Vec<_> = (!dusk)
            .then(|| noise.boxed(500.0, 300.0, 220.0, 100.0))
            .into_iter()
            .collect();
        let tracks = tracker.step(f64::from(t), &seen, LookedAt::Everything);
        if dusk && t > 61.0 {
            assert_eq!(tracks[0].track.state, TrackState::Lost);
            assert!(!tracks[0].shown);
        }
    }
    assert_eq!(tracker.next_id(), 2);
}

#[test]
fn a_dropped_second_of_video_changes_no_id() {
    let mut noise = Noise(8);
    let mut tracker = Tracker::new(Params::default());
    for f in (0..40).filter(|f| !(20..25).contains(f)) {
        let x = 100.0 + f as f32 * 20.0;
        let seen = [
            noise.boxed(x, 300.0, 80.0, 200.0),
            noise.boxed(900.0 - x / 2.0, 100.0, 60.0, 150.0),
        ];
        tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
    }
    assert_eq!(tracker.next_id(), 3);
    assert_eq!(tracker.tracks().len(), 2);
}

#[test]
fn a_clock_jump_in_either_direction_changes_no_id() {
    for jump in [-3600.0, -0.5, 86_400.0] {
        let mut noise = Noise(9);
        let mut tracker = Tracker::new(Params::default());
        for f in 0..60 {
            let x = 100.0 + f as f32 * 12.0;
            let time = 5000.0 + f64::from(f) / FPS + if f >= 30 { jump } else { 0.0 };
            let seen = [
                noise.boxed(x, 300.0, 80.0, 200.0),
                noise.boxed(900.0, 500.0, 220.0, 100.0),
            ];
            tracker.step(time, &seen, LookedAt::Everything);
        }
        assert_eq!(tracker.next_id(), 3, "jump of {jump} s");
        assert_eq!(tracker.tracks().len(), 2);
    }
}

#[test]
fn a_thousand_objects_keep_their_ids() {
    let mut noise = Noise(10);
    let mut tracker = Tracker::new(Params::default());
    for f in 0..50 {
        let seen: Vec<_> = (0..1000)
            .map(|i| {
                let (col, row) = ((i % 40) as f32, (i / 40) as f32);
                let speed = if i % 2 == 0 { 6.0 } else { -6.0 };
                noise.boxed(col * 200.0 + speed * f as f32, row * 200.0, 60.0, 120.0)
            })
            .collect();
        tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
    }
    assert_eq!(tracker.next_id(), 1001);
    assert_eq!(tracker.tracks().iter().filter(|t| t.shown).count(), 1000);
}

#[test]
fn nothing_is_left_of_objects_that_ended() {
    let mut noise = Noise(11);
    let mut tracker = Tracker::new(Params::default());
    let (mut started, mut ended) = (0, 0);
    for f in 0..1500 {
        let t = f as f32 / FPS as f32;
        let seen: Vec<_> = (0..3)
            .filter(|_| f < 1400)
            .map(|lane| (lane, (t * 200.0 + lane as f32 * 400.0) % 1600.0 - 200.0))
            .map(|(lane, x)| noise.boxed(x, 100.0 + 200.0 * lane as f32, 80.0, 150.0))
            .collect();
        tracker.step(f64::from(t), &seen, LookedAt::Everything);
        started += tracker
            .changes()
            .iter()
            .filter(|c| c.kind == TrackChange::Started)
            .count();
        ended += tracker
            .changes()
            .iter()
            .filter(|c| c.kind == TrackChange::Ended)
            .count();
    }
    assert!(started > 50, "{started} objects");
    assert_eq!(started, ended);
    assert_eq!(tracker.object_count(), 0);
}

#[test]
fn what_was_not_looked_at_does_not_age() {
    let mut tracker = Tracker::new(Params::default());
    let car = Detection {
        bbox: BBox::from_xywh(500.0, 300.0, 220.0, 100.0),
        label: 0,
        score: 0.9,
    };
    for f in 0..30 {
        tracker.step(f64::from(f) / FPS, &[car], LookedAt::Everything);
    }
    let elsewhere = [BBox::from_xywh(0.0, 0.0, 300.0, 300.0)];
    for f in 30..20_000 {
        let tracks = tracker.step(f64::from(f) / FPS, &[], LookedAt::Regions(&elsewhere));
        assert_eq!(
            (tracks[0].track.id, tracks[0].evidence, tracks[0].shown),
            (1, Evidence::Resting, true)
        );
    }
}

#[test]
fn a_single_false_box_never_becomes_an_object() {
    let mut tracker = Tracker::new(Params::default());
    let walker = |f: i32| Detection {
        bbox: BBox::from_xywh(100.0 + 10.0 * f as f32, 300.0, 80.0, 200.0),
        label: 0,
        score: 0.9,
    };
    for f in 0..40 {
        let mut seen = vec![walker(f)];
        if f % 10 == 5 {
            seen.push(Detection {
                bbox: BBox::from_xywh(40.0 * f as f32, 20.0, 50.0, 50.0),
                label: 0,
                score: 0.9,
            });
        }
        tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
        assert!(tracker.changes().iter().all(|c| c.track.track.id == 1));
    }
    assert_eq!(tracker.next_id(), 2);
}

#[test]
fn a_label_that_wavers_within_its_group_is_one_object_and_two_labels_are_two() {
    let mut params = Params::default();
    for label in [2, 7] {
        let mut p = params.default_label;
        p.group = 1;
        params.labels.push((label, p));
    }
    let mut tracker = Tracker::new(params);
    for f in 0..30 {
        let bbox = BBox::from_xywh(100.0 + 10.0 * f as f32, 300.0, 220.0, 100.0);
        let vehicle = Detection {
            bbox,
            label: if f % 4 == 1 { 7 } else { 2 },
            score: 0.9,
        };
        let driver = Detection {
            bbox,
            label: 0,
            score: 0.9,
        };
        tracker.step(f64::from(f) / FPS, &[vehicle, driver], LookedAt::Everything);
    }
    let mut labels: Vec<_> = tracker.tracks().iter().map(|t| t.track.label).collect();
    labels.sort_unstable();
    assert_eq!(labels, [0, 2]);
    assert_eq!(tracker.next_id(), 3);
}

#[test]
fn stationary_for_longer_than_allowed_ends_only_that_object() {
    let mut params = Params::default();
    params.default_label.max_stationary = Some(20.0);
    let mut tracker = Tracker::new(params);
    let mut ended = Vec::new();
    for f in 0..(32 * 5) {
        let still = Detection {
            bbox: BBox::from_xywh(500.0, 300.0, 220.0, 100.0),
            label: 0,
            score: 0.9,
        };
        let walker = Detection {
            bbox: BBox::from_xywh(8.0 * f as f32, 20.0, 80.0, 160.0),
            label: 0,
            score: 0.9,
        };
        tracker.step(f64::from(f) / FPS, &[still, walker], LookedAt::Everything);
        ended.extend(
            tracker
                .changes()
                .iter()
                .filter(|c| c.kind == TrackChange::Ended)
                .map(|c| c.track.track.id),
        );
    }
    assert_eq!(ended, [1]);
    assert!(tracker.tracks().iter().any(|t| t.track.id == 2));
}

#[test]
fn boxes_go_with_a_picture_that_changes_size() {
    let mut noise = Noise(12);
    let mut tracker = Tracker::new(Params::default());
    for f in 0..40 {
        let k = if f < 20 { 1.0 } else { 0.5 };
        if f == 20 {
            tracker.rescale(0.5, 0.5);
        }
        let x = 100.0 + f as f32 * 15.0;
        let seen = [
            noise.boxed(x * k, 300.0 * k, 80.0 * k, 200.0 * k),
            noise.boxed(900.0 * k, 500.0 * k, 220.0 * k, 100.0 * k),
        ];
        tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
    }
    assert_eq!(tracker.next_id(), 3);
}

#[test]
fn ids_continue_from_the_given_number_and_are_never_reused() {
    let mut tracker = Tracker::new(Params {
        first_id: 5000,
        ..Params::default()
    });
    let d = Detection {
        bbox: BBox::from_xywh(10.0, 10.0, 50.0, 90.0),
        label: 0,
        score: 0.9,
    };
    let id = tracker.step(0.0, &[d], LookedAt::Everything)[0].track.id;
    assert_eq!(id, 5000);
    assert_eq!(tracker.end_all().len(), 1);
    let id = tracker.step(0.0, &[d], LookedAt::Everything)[0].track.id;
    assert_eq!(id, 5001);
}

/// A picture of 640x360 with something at the parked car's place: a pattern that `kind` decides.
fn picture(kind: u32) -> Vec<u8> {
    (0..640u32 * 360)
        .map(|i| {
            let (x, y) = (i % 640 / 12, i / 640 / 9);
            let v = x.wrapping_mul(2_654_435_761)
                ^ y.wrapping_mul(40_503)
                ^ kind.wrapping_mul(0x9E37_79B9);
            (v.wrapping_mul(2_246_822_519) >> 24) as u8
        })
        .collect()
}

/// Parks a car, then lets the detector miss it for a minute with `later` at its place; says whether it kept its identity.
fn survives_a_minute_of_misses(appearance: bool, later: u32) -> bool {
    let params = Params {
        appearance,
        ..Params::default()
    };
    let mut tracker = Tracker::new(params);
    let car = Detection {
        bbox: BBox::from_xywh(200.0, 120.0, 180.0, 90.0),
        label: 0,
        score: 0.9,
    };
    let (before, after) = (picture(1), picture(later));
    for f in 0..(15 * 5 + 62 * 5) {
        let parked = f < 15 * 5;
        let data = if parked { &before } else { &after };
        let luma = Luma {
            data,
            stride: 640,
            width: 640,
            height: 360,
        };
        let seen: &[Detection] = if parked { &[car] } else { &[] };
        tracker.step_with_picture(f64::from(f) / FPS, seen, LookedAt::Everything, Some(&luma));
    }
    tracker.object_count() == 1
}

#[test]
fn somebody_who_stood_and_walks_off_at_once_is_the_same_and_the_next_one_there_is_not() {
    let mut noise = Noise(11);
    let mut tracker = Tracker::new(Params::default());
    let (mut stood, mut walked, mut next) = (None, None, None);
    for f in 0..160u32 {
        let mut seen = Vec::new();
        if f < 100 {
            seen.push(noise.boxed(300.0, 100.0, 60.0, 200.0));
        } else if f < 106 {
            // 0.8 of its width from one look to the next: it never overlaps its place by 0.4 again.
            seen.push(noise.boxed(300.0 + 48.0 * (f - 99) as f32, 100.0, 60.0, 200.0));
        } else if f > 120 {
            seen.push(noise.boxed(300.0, 100.0, 60.0, 200.0));
        }
        let tracks = tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
        let id = tracks
            .iter()
            .find(|t| t.evidence == Evidence::Observed)
            .map(|t| t.track.id);
        match f {
            99 => stood = id,
            105 => walked = id,
            159 => next = id,
            _ => {}
        }
    }
    assert!(stood.is_some());
    assert_eq!(walked, stood, "who walks off got a new id");
    assert!(
        next.is_some() && next != stood,
        "the next one took the id of the first"
    );
}

#[test]
fn a_new_car_beside_a_parked_one_that_is_missed_once_does_not_take_its_id() {
    let mut noise = Noise(12);
    let mut tracker = Tracker::new(Params::default());
    let parked = (200.0, 300.0, 200.0, 90.0);
    for f in 0..150u32 {
        let mut seen = Vec::new();
        if f != 100 {
            seen.push(noise.boxed(parked.0, parked.1, parked.2, parked.3));
        }
        if f >= 100 {
            seen.push(noise.boxed(350.0 + 30.0 * (f - 100) as f32, 310.0, 200.0, 90.0));
        }
        tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
    }
    assert_eq!(near(tracker.tracks(), 300.0, 345.0), Some(1));
    assert!(tracker.tracks().iter().any(|t| t.track.id == 2));
}

#[test]
fn a_car_told_of_twice_is_one_car() {
    let mut noise = Noise(13);
    let mut tracker = Tracker::new(Params::default());
    let regions = [
        BBox::new(0.0, 0.0, 320.0, 320.0),
        BBox::new(220.0, 0.0, 640.0, 320.0),
    ];
    for f in 0..60u32 {
        let car = noise.boxed(180.0, 100.0, 160.0, 80.0);
        let mut again = car;
        again.bbox = BBox::new(
            car.bbox.x1 + 4.0,
            car.bbox.y1,
            car.bbox.x2 + 3.0,
            car.bbox.y2,
        );
        again.score = 0.8;
        // What the second region saw of it, up to its edge.
        let mut piece = car;
        piece.bbox.x1 = 220.0;
        piece.score = 0.9;
        let seen = if f % 3 == 0 {
            vec![again, car, piece]
        } else {
            vec![piece, car]
        };
        tracker.step(f64::from(f) / FPS, &seen, LookedAt::Regions(&regions));
    }
    assert_eq!(tracker.object_count(), 1);
    assert_eq!(tracker.next_id(), 2);
}

#[test]
fn a_fast_car_at_two_frames_per_second_gets_one_id() {
    let mut noise = Noise(14);
    let mut tracker = Tracker::new(Params::default());
    let mut ids = Vec::new();
    for f in 0..16u32 {
        // Empty at first: the camera's rate is known.
        let seen = if f < 8 {
            vec![]
        } else {
            vec![noise.boxed(340.0 * (f - 8) as f32, 300.0, 240.0, 110.0)]
        };
        let tracks = tracker.step(f64::from(f) * 0.5, &seen, LookedAt::Everything);
        ids.extend(tracks.iter().filter(|t| t.shown).map(|t| t.track.id));
    }
    assert!(ids.len() >= 6 && ids.iter().all(|i| *i == 1), "{ids:?}");
}

#[test]
fn a_parked_car_behind_a_van_lives_twice_as_long() {
    let car = |noise: &mut Noise| noise.boxed(200.0, 300.0, 200.0, 90.0);
    let van = |noise: &mut Noise| noise.boxed(180.0, 220.0, 260.0, 240.0);
    let ended_after = |hidden: bool| {
        let mut noise = Noise(15);
        let mut tracker = Tracker::new(Params::default());
        for f in 0..2000u32 {
            let mut seen = Vec::new();
            if f < 100 {
                seen.push(car(&mut noise));
            } else if hidden {
                seen.push(van(&mut noise));
            }
            tracker.step(f64::from(f) / FPS, &seen, LookedAt::Everything);
            if tracker
                .changes()
                .iter()
                .any(|c| c.kind == TrackChange::Ended)
            {
                return f64::from(f - 100) / FPS;
            }
        }
        panic!("it never ended");
    };
    let (gone, behind) = (ended_after(false), ended_after(true));
    assert!(
        (1.8..2.1).contains(&(behind / gone)),
        "{gone} s, behind a van {behind} s"
    );
}

#[test]
fn a_resting_object_that_still_looks_the_same_is_still_there() {
    assert!(survives_a_minute_of_misses(true, 1));
    assert!(
        !survives_a_minute_of_misses(true, 7),
        "another picture kept it"
    );
    assert!(
        !survives_a_minute_of_misses(false, 1),
        "looked at although the check is off"
    );
}
