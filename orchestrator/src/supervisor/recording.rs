//! Decides from the bus's events what each camera's recorder writes, and passes its reports to the index.

use std::collections::{BTreeMap, BTreeSet};

use detection::TrackChange;
use watchpost_api::Event;
use watchpost_pipelines::camera::RecordConfig;
use watchpost_pipelines::record::{Order, RecordEvent, Wanted};
use watchpost_recorder::policy::{Activity, Capture, Config, Input, Policy};
use watchpost_recorder::review::{Change, Config as ReviewRules, Object, Review};
use watchpost_recorder::{Kind, Time};

use super::Supervisor;
use crate::bus::{Bus, Received, Subscription};
use crate::clock::now;
use crate::protocol::{CaptureCommand, line};
use crate::recordings::{Recordings, Rules, path_of};

/// Recording of all cameras.
pub(super) struct Recording {
    recordings: Recordings,
    events: Subscription,
    cameras: BTreeMap<String, Recorded>,
}

/// One camera.
struct Recorded {
    config: RecordConfig,
    policy: Policy,
    review: Review,
    motion: bool,
    active: BTreeSet<i64>,
    /// The worker and the order that it has.
    sent: Option<(u64, Order)>,
}

impl Recording {
    pub fn new(recordings: Recordings, bus: &Bus) -> Self {
        Self {
            recordings,
            events: bus.subscribe("recording"),
            cameras: BTreeMap::new(),
        }
    }

    fn take_events(&mut self, now: Time) {
        while let Some(received) = self.events.try_next() {
            let Received::Event(published) = received else {
                continue;
            };
            match &published.event {
                Event::Motion(motion) => {
                    if let Some(camera) = self.cameras.get_mut(&motion.camera) {
                        camera.motion(motion.active, milliseconds(motion.time));
                    }
                }
                Event::Track(track) => {
                    if let Some(camera) = self.cameras.get_mut(&track.camera) {
                        let ended = track.change == TrackChange::Ended;
                        let active =
                            !ended && !track.stationary && track.change != TrackChange::Lost;
                        let id = track.event.id;
                        if active {
                            camera.active.insert(id);
                        } else {
                            camera.active.remove(&id);
                        }
                        let changes = if ended {
                            camera
                                .review
                                .gone(id, milliseconds(track.event.last_time), now)
                        } else {
                            let object = Object {
                                event: id,
                                label: track.label.clone(),
                                zones: track.zones.clone(),
                                active,
                                first_seen: milliseconds(track.event.start_time),
                            };
                            camera.review.update(object, now)
                        };
                        camera.reviewed(&track.camera, changes, &self.recordings);
                    }
                }
                _ => {}
            }
        }
    }
}

impl Recorded {
    fn new(name: &str, config: &RecordConfig, now: Time) -> Self {
        Self {
            config: config.clone(),
            policy: Policy::new(policy_of(config), now),
            review: Review::new(name, ReviewRules::default()),
            motion: false,
            active: BTreeSet::new(),
            sent: None,
        }
    }

    fn motion(&mut self, active: bool, time: Time) {
        self.motion = active;
        let activity = Activity::Motion;
        self.policy.input(match active {
            true => Input::Active {
                activity,
                kind: Kind::Motion,
                start: time,
                pre: None,
            },
            false => Input::Ended {
                activity,
                end: time,
            },
        });
    }

    fn reviewed(&mut self, name: &str, changes: Vec<Change>, recordings: &Recordings) {
        for change in changes {
            let (Change::New(item)
            | Change::Update { after: item, .. }
            | Change::End { after: item, .. }) = change;
            let activity = Activity::Item(item.id.clone());
            self.policy.input(match item.end {
                None => Input::Active {
                    activity,
                    kind: item.severity.kind(),
                    start: item.start,
                    pre: None,
                },
                Some(end) => Input::Ended { activity, end },
            });
            if self.config.enabled {
                recordings.item(name, &item);
            }
        }
    }

    fn order(&mut self, now: Time, recordings: &Recordings) -> Order {
        let wanted = self.policy.wanted(now);
        Order {
            pre_roll: self.config.pre_roll(),
            wanted: wanted.map(|wanted| {
                let kind = wanted.kinds.most_valuable().unwrap_or(Kind::Continuous);
                let path = path_of(&self.config, kind, recordings.data_dir());
                let reasons: Vec<_> = wanted.kinds.iter().map(Kind::name).collect();
                Wanted {
                    from: wanted.from,
                    reasons: reasons.join(","),
                    known: recordings.is_known(&path),
                    path,
                }
            }),
            motion: self.motion,
            objects: u8::try_from(self.active.len()).unwrap_or(u8::MAX),
        }
    }
}

impl Supervisor {
    /// Records by the cameras' configuration from now on.
    pub fn record(&mut self, recordings: Recordings, bus: &Bus) {
        self.recording = Some(Recording::new(recordings, bus));
    }

    pub(super) fn recorder_report(&self, camera: &str, event: RecordEvent) {
        if let Some(recording) = &self.recording {
            recording.recordings.event(camera, event);
        }
    }

    pub(super) fn recorder_gone(&self, camera: &str) {
        if let Some(recording) = &self.recording {
            recording.recordings.worker_ended(camera);
        }
    }

    /// The configuration may have changed.
    pub(super) fn configure_recording(&mut self) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let now = milliseconds(now());
        let configured = &self.config.cameras;
        recording
            .cameras
            .retain(|name, _| configured.contains_key(name));
        for (name, camera) in configured {
            let known = recording
                .cameras
                .entry(name.clone())
                .or_insert_with(|| Recorded::new(name, &camera.record, now));
            known.policy.configure(policy_of(&camera.record), now);
            known.config.clone_from(&camera.record);
        }
        let rules = configured
            .iter()
            .map(|(name, camera)| (name.clone(), camera.record.clone()));
        recording.recordings.configure(Rules {
            cameras: rules.collect(),
            others: self.config.record.clone(),
            min_free: self.config.media.min_free.0,
        });
    }

    /// Sends each recorder what it has to do where that changed.
    pub(super) fn order_recorders(&mut self) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let time = milliseconds(now());
        recording.take_events(time);
        for (name, recorded) in &mut recording.cameras {
            let worker = self.workers.capture(name);
            let changes = recorded.review.tick(time, worker.is_none());
            recorded.reviewed(name, changes, &recording.recordings);
            let Some(worker) = worker else {
                recorded.sent = None;
                continue;
            };
            let mut order = recorded.order(time, &recording.recordings);
            if let Some((run, sent)) = &recorded.sent
                && *run == worker.run()
            {
                // It was new at the beginning of the span, and is known since its first segment.
                if let (Some(new), Some(old)) = (&mut order.wanted, &sent.wanted)
                    && new.path == old.path
                {
                    new.known = old.known;
                }
                if *sent == order {
                    continue;
                }
            }
            if order.wanted.is_none() {
                recording.recordings.paused(name);
            }
            worker.send(line(&CaptureCommand::Record(order.clone())));
            recorded.sent = Some((worker.run(), order));
        }
    }
}

fn policy_of(config: &RecordConfig) -> Config {
    let capture = |days: f64, pre: f64, post: f64| {
        (days > 0.0).then(|| Capture {
            pre: milliseconds(pre),
            post: milliseconds(post),
        })
    };
    let (motion, alerts, detections) = (&config.motion, &config.alerts, &config.detections);
    Config {
        enabled: config.enabled,
        continuous: config.continuous.days > 0.0,
        motion: capture(motion.days, motion.pre_capture, motion.post_capture),
        detections: capture(
            detections.retain.days,
            detections.pre_capture,
            detections.post_capture,
        ),
        alerts: capture(alerts.retain.days, alerts.pre_capture, alerts.post_capture),
    }
}

fn milliseconds(seconds: f64) -> Time {
    (seconds * 1000.0) as Time
}
