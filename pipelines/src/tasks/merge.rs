//! `merge(uses) -> one camera configuration, or what conflicts`: which tasks run side by side on one camera, and why not.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::camera::{ControlValue, FRAME_DURATION, Profile, Profiles, Size, Stream, Transform};

/// A use of the camera: one of the four profiles, or detection, which reads a stream of them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// The live picture.
    Live,
    /// Photos, and the jpg of a series.
    Photo,
    /// Raw photos, and the raw part of a series.
    RawPhoto,
    /// Recordings.
    Video,
    /// Object detection; it scales for itself, so it asks for a stream and for nothing else.
    Detect,
}

impl Use {
    /// All uses, in the order in which they are merged and named.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::Photo,
        Self::RawPhoto,
        Self::Video,
        Self::Detect,
    ];

    /// The word in configuration and API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Photo => "photo",
            Self::RawPhoto => "raw_photo",
            Self::Video => "video",
            Self::Detect => "detect",
        }
    }
}

impl Use {
    /// How this use wants the camera. Detection reads the live profile's stream as that profile has it, or another stream as
    /// whoever uses it has it.
    pub fn profile(self, profiles: &Profiles, detect_stream: Option<Stream>) -> Profile {
        match self {
            Self::Live => profiles.live.clone(),
            Self::Photo => profiles.photo.clone(),
            Self::RawPhoto => profiles.raw_photo.clone(),
            Self::Video => profiles.video.clone(),
            Self::Detect => match detect_stream {
                Some(stream) if stream != profiles.live.stream => Profile::on(stream),
                _ => profiles.live.clone(),
            },
        }
    }
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a stream of the merged configuration looks like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MergedStream {
    /// Its size; none: the camera's own choice.
    pub size: Option<Size>,
    /// Its format; none: the camera's own choice.
    pub format: Option<String>,
}

/// One configuration of the camera that serves all uses it was merged from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Merged {
    /// The streams that are needed.
    pub streams: BTreeMap<Stream, MergedStream>,
    /// Mirroring.
    pub transform: Transform,
    /// Colour space.
    pub colour_space: Option<String>,
    /// Frames in flight: the largest that was asked for.
    pub buffer_count: Option<u32>,
    /// Whether a frame that nobody waits for is kept.
    pub queue: Option<bool>,
    /// Number of the sensor mode.
    pub sensor_mode: Option<u32>,
    /// Controls: the union.
    pub controls: BTreeMap<String, ControlValue>,
}

/// One reason why two uses cannot run side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// The key inside the profile, such as `size` or `controls.ExposureTime`.
    pub key: String,
    /// The use that was there first, and its value.
    pub first: (Use, String),
    /// The use that does not go with it, and its value.
    pub second: (Use, String),
}

impl Conflict {
    /// All of them in one line.
    pub fn list(conflicts: &[Self]) -> String {
        let reasons: Vec<_> = conflicts.iter().map(Self::to_string).collect();
        reasons.join("; ")
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = (&self.first, &self.second);
        write!(
            f,
            "{}: {} wants {}, {} wants {}",
            self.key, first.0, first.1, second.0, second.1
        )
    }
}

/// Merges uses into one configuration. The order of `uses` only decides who is named first in a conflict. All conflicts
/// are named, not only the first; on any of them nothing is merged, so that no value of a use that did not fit is left
/// behind (raspiCamSrv raises `buffer_count` and overwrites `queue` even then).
pub fn merge(
    profiles: &Profiles,
    detect_stream: Option<Stream>,
    uses: &[Use],
) -> Result<Merged, Vec<Conflict>> {
    let mut merging = Merging::default();
    for &one in uses {
        merging.add(one, &one.profile(profiles, detect_stream));
    }
    merging.finish()
}

/// A value and the use that set it.
type Set<T> = Option<(Use, T)>;

#[derive(Default)]
struct Merging {
    streams: BTreeMap<Stream, (Use, Set<Size>, Set<String>)>,
    hflip: Set<bool>,
    vflip: Set<bool>,
    colour_space: Set<String>,
    buffer_count: Option<u32>,
    queue: Set<bool>,
    sensor_mode: Set<u32>,
    controls: BTreeMap<String, (Use, ControlValue)>,
    frame_duration: Set<[i64; 2]>,
    conflicts: Vec<Conflict>,
}

impl Merging {
    fn add(&mut self, one: Use, profile: &Profile) {
        // raw is the sensor's own values: no picture for anybody else, and the only thing raw_photo can be taken from.
        if (one == Use::RawPhoto) != (profile.stream == Stream::Raw) {
            let rule = if one == Use::RawPhoto {
                (one, "raw only")
            } else {
                (Use::RawPhoto, "raw for itself")
            };
            self.conflict(
                "stream",
                (rule.0, rule.1.into()),
                (one, profile.stream.to_string()),
            );
        }
        let (_, mut size, mut format) = self
            .streams
            .remove(&profile.stream)
            .unwrap_or((one, None, None));
        self.same("size", &mut size, one, profile.size);
        self.same("format", &mut format, one, profile.format.clone());
        self.streams.insert(profile.stream, (one, size, format));

        let mut hflip = self.hflip.take();
        self.same("transform.hflip", &mut hflip, one, profile.transform.hflip);
        self.hflip = hflip;
        let mut vflip = self.vflip.take();
        self.same("transform.vflip", &mut vflip, one, profile.transform.vflip);
        self.vflip = vflip;
        let mut colour_space = self.colour_space.take();
        self.same(
            "colour_space",
            &mut colour_space,
            one,
            profile.colour_space.clone(),
        );
        self.colour_space = colour_space;
        let mut queue = self.queue.take();
        self.same("queue", &mut queue, one, profile.queue);
        self.queue = queue;
        let mut sensor_mode = self.sensor_mode.take();
        self.same("sensor_mode", &mut sensor_mode, one, profile.sensor_mode);
        self.sensor_mode = sensor_mode;
        self.buffer_count = self.buffer_count.max(profile.buffer_count);
        for (name, value) in &profile.controls {
            self.control(one, name, value);
        }
    }

    /// Keeps the value that is set; two different ones conflict.
    fn same<T: PartialEq + fmt::Display>(
        &mut self,
        key: &str,
        set: &mut Set<T>,
        one: Use,
        value: Option<T>,
    ) {
        let Some(value) = value else { return };
        match set {
            None => *set = Some((one, value)),
            Some((_, known)) if *known == value => {}
            Some((first, known)) => {
                let first = (*first, known.to_string());
                self.conflict(key, first, (one, value.to_string()));
            }
        }
    }

    fn control(&mut self, one: Use, name: &str, value: &ControlValue) {
        if name == FRAME_DURATION
            && let Some(limits) = frame_duration(value)
        {
            return self.frame_duration(one, limits);
        }
        match self.controls.get(name) {
            None => {
                self.controls.insert(name.to_owned(), (one, value.clone()));
            }
            Some((_, known)) if known == value => {}
            Some((first, known)) => {
                let first = (*first, known.to_string());
                self.conflict(&format!("controls.{name}"), first, (one, value.to_string()));
            }
        }
    }

    /// What both allow. A photo that may take from 0.1 ms to 1000 s so leaves the live picture its 30 frames a second.
    fn frame_duration(&mut self, one: Use, [shortest, longest]: [i64; 2]) {
        let Some((first, known)) = self.frame_duration else {
            self.frame_duration = Some((one, [shortest, longest]));
            return;
        };
        let both = [known[0].max(shortest), known[1].min(longest)];
        if both[0] <= both[1] {
            // Named in a later conflict is who narrowed it last.
            let narrower = if both == known { first } else { one };
            self.frame_duration = Some((narrower, both));
        } else {
            let text = |limits: [i64; 2]| format!("[{}, {}]", limits[0], limits[1]);
            let key = format!("controls.{FRAME_DURATION}");
            self.conflict(&key, (first, text(known)), (one, text([shortest, longest])));
        }
    }

    fn conflict(&mut self, key: &str, first: (Use, String), second: (Use, String)) {
        self.conflicts.push(Conflict {
            key: key.to_owned(),
            first,
            second,
        });
    }

    fn finish(mut self) -> Result<Merged, Vec<Conflict>> {
        let size_of = |stream| self.streams.get(&stream).and_then(|(_, size, _)| *size);
        if let (Some((main_use, main)), Some((lores_use, lores))) =
            (size_of(Stream::Main), size_of(Stream::Lores))
            && (lores.width > main.width || lores.height > main.height)
        {
            let limit = format!("main at {main}, which lores may not exceed");
            self.conflict(
                "size",
                (main_use, limit),
                (lores_use, format!("lores at {lores}")),
            );
        }
        if !self.conflicts.is_empty() {
            return Err(self.conflicts);
        }
        let mut controls: BTreeMap<_, _> = self
            .controls
            .into_iter()
            .map(|(name, (_, value))| (name, value))
            .collect();
        if let Some((_, limits)) = self.frame_duration {
            let limits = limits.map(ControlValue::Integer).to_vec();
            controls.insert(FRAME_DURATION.into(), ControlValue::List(limits));
        }
        let value = |set: Set<bool>| set.map(|(_, value)| value);
        Ok(Merged {
            streams: self
                .streams
                .into_iter()
                .map(|(stream, (_, size, format))| {
                    (
                        stream,
                        MergedStream {
                            size: size.map(|(_, s)| s),
                            format: format.map(|(_, f)| f),
                        },
                    )
                })
                .collect(),
            transform: Transform {
                hflip: value(self.hflip),
                vflip: value(self.vflip),
            },
            colour_space: self.colour_space.map(|(_, value)| value),
            buffer_count: self.buffer_count,
            queue: value(self.queue),
            sensor_mode: self.sensor_mode.map(|(_, value)| value),
            controls,
        })
    }
}

/// Two whole numbers of microseconds, the second not smaller; anything else is compared like every other control.
fn frame_duration(value: &ControlValue) -> Option<[i64; 2]> {
    match value {
        ControlValue::List(limits) => match limits[..] {
            [
                ControlValue::Integer(shortest),
                ControlValue::Integer(longest),
            ] if shortest <= longest => Some([shortest, longest]),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests;
