//! Numbers, losses, replay and the last state.

use detection::TrackChange;
use watchpost_api::{
    CameraEvent, CameraState, ConfigurationChange, ConfigurationEvent, MotionEvent,
};

pub(crate) use super::objects::tests::person;
use super::*;

fn motion(camera: &str, active: bool) -> Event {
    Event::Motion(MotionEvent {
        camera: camera.into(),
        active,
        time: 1.0,
    })
}

fn camera(name: &str, state: CameraState) -> Event {
    Event::Camera(CameraEvent {
        camera: name.into(),
        state,
        reason: None,
        since: 1.0,
    })
}

#[test]
fn numbers_continue_and_arrive_in_order() {
    let bus = Bus::new(41);
    let mut subscription = bus.subscribe("test");
    assert_eq!(subscription.newest, 41);
    assert_eq!(bus.publish(motion("front", true)), 42);
    assert_eq!(bus.publish(motion("front", false)), 43);
    for number in [42, 43] {
        match subscription.try_next() {
            Some(Received::Event(event)) => assert_eq!(event.number, number),
            other => panic!("{other:?}"),
        }
    }
    assert!(subscription.try_next().is_none());
}

#[test]
fn a_subscriber_that_lags_loses_only_its_own_events_and_they_are_counted() {
    let bus = Bus::new(0);
    let mut slow = bus.subscribe("slow");
    let mut fast = bus.subscribe("fast");
    let mut received = 0;
    for _ in 0..QUEUE + 10 {
        bus.publish(motion("front", true));
        received += usize::from(matches!(fast.try_next(), Some(Received::Event(_))));
    }
    assert_eq!(received, QUEUE + 10);
    assert!(matches!(slow.try_next(), Some(Received::Lost(10))));
    match slow.try_next() {
        Some(Received::Event(event)) => assert_eq!(event.number, 11, "the rest is there"),
        other => panic!("{other:?}"),
    }
    assert_eq!(bus.lost(), BTreeMap::from([("fast", 0), ("slow", 10)]));
}

#[test]
fn a_subscriber_that_lagged_goes_on_after_the_last_state() {
    let bus = Bus::new(0);
    let mut slow = bus.subscribe("slow");
    bus.publish(camera("front", CameraState::Streaming));
    for _ in 0..QUEUE + 9 {
        bus.publish(motion("front", true));
    }
    assert!(matches!(slow.try_next(), Some(Received::Lost(10))));
    assert!(matches!(slow.try_next(), Some(Received::Event(event)) if event.number == 11));
    assert_eq!(slow.skip_to_state(&bus), QUEUE as u64 - 1);
    let newest = QUEUE as i64 + 10;
    let state: Vec<i64> = slow.state.events().iter().map(|e| e.number).collect();
    assert_eq!((slow.newest, state), (newest, vec![1, newest]));
    assert!(slow.try_next().is_none());
    bus.publish(motion("front", false));
    assert!(matches!(slow.try_next(), Some(Received::Event(event)) if event.number == newest + 1));
    // All but the one that it received before.
    assert_eq!(bus.lost()["slow"], newest as u64 - 1);
}

#[test]
fn recent_events_are_replayed_and_a_gap_is_reported() {
    let bus = Bus::new(100);
    assert!(
        bus.recent(100).1,
        "nothing is missing before the first event"
    );
    assert!(!bus.recent(50).1, "older events are not in memory");
    for _ in 0..RECENT + 5 {
        bus.publish(motion("front", true));
    }
    let (events, complete) = bus.recent(105);
    assert_eq!(
        (events.len(), events[0].number, complete),
        (RECENT, 106, true)
    );
    assert!(!bus.recent(104).1);
    assert_eq!(bus.recent(i64::MAX - 1).0.len(), 0);
}

#[test]
fn a_late_subscriber_gets_the_last_state() {
    let bus = Bus::new(0);
    let mut objects = ObjectEvents::new(0);
    bus.publish(camera("front", CameraState::Connecting));
    bus.publish(camera("front", CameraState::Streaming));
    bus.publish(camera("back", CameraState::Streaming));
    bus.publish(motion("front", true));
    for (id, change) in [
        (1, TrackChange::Started),
        (2, TrackChange::Started),
        (1, TrackChange::Updated),
        (2, TrackChange::Ended),
    ] {
        for event in objects.observe("front", person(id, change, 101.0)) {
            bus.publish(event);
        }
    }
    bus.publish(Event::Configuration(ConfigurationEvent {
        change: ConfigurationChange::Removed,
        camera: Some("back".into()),
        from: None,
    }));
    let state = bus.subscribe("late").state;
    let numbers: Vec<i64> = state.events().iter().map(|event| event.number).collect();
    assert_eq!(numbers, [2, 4, 7]);
}
