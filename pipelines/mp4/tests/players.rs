//! Files and streams of this crate in independent players: ffmpeg decodes them without a warning.
//!
//! GStreamer's tools make the encoded input; ffmpeg comes with `make setup`.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use watchpost_mp4::{
    AUDIO_TRACK, AudioTrack, AvcParameterSets, HevcParameterSets, Movie, Piece, Progressive,
    ProgressivePart, ReadAt, Run, Sample, Summary, VIDEO_TIMESCALE, VIDEO_TRACK, VideoCodec,
    VideoTrack, fragment, scan, to_length_prefixed,
};

const FRAMES: usize = 50;
const RATE: u32 = 25;

/// One access unit: decode time, presentation time (both in ticks), key flag, data.
struct Unit {
    composition_offset: i32,
    key: bool,
    data: Vec<u8>,
}

fn run(program: &str, arguments: &[&str]) -> std::process::Output {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("{program} does not start ({error}); `make setup` installs it")
        });
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Encodes the test picture; each access unit is one buffer in byte-stream form.
fn encode(folder: &Path, encoder: &str, parser: &str, caps: &str) -> Vec<Vec<u8>> {
    let launch = format!(
        "videotestsrc num-buffers={FRAMES} ! video/x-raw,format=I420,width=320,height=240,framerate={RATE}/1 ! {encoder} \
         ! {parser} config-interval=-1 ! {caps},stream-format=byte-stream,alignment=au ! multifilesink location={}/%05d",
        folder.display()
    );
    let arguments: Vec<_> = ["-q"]
        .into_iter()
        .chain(launch.split_whitespace())
        .collect();
    run("gst-launch-1.0", &arguments);
    let unit = |index| std::fs::read(folder.join(format!("{index:05}"))).unwrap();
    (0..FRAMES).map(unit).collect()
}

fn is_key(h265: bool, unit: &[u8]) -> bool {
    watchpost_mp4::NalUnits::new(unit).any(|nal| match h265 {
        false => nal[0] & 0x1f == 5,
        true => (16..=21).contains(&(nal[0] >> 1 & 0x3f)),
    })
}

fn units(h265: bool, encoded: &[Vec<u8>]) -> Vec<Unit> {
    let convert = |unit: &Vec<u8>| {
        let mut data = Vec::new();
        to_length_prefixed(unit, &mut data);
        Unit {
            composition_offset: 0,
            key: is_key(h265, unit),
            data,
        }
    };
    encoded.iter().map(convert).collect()
}

fn movie(codec: VideoCodec, audio: Option<AudioTrack>) -> Movie {
    Movie {
        video: VideoTrack {
            codec,
            width: 320,
            height: 240,
        },
        audio,
    }
}

/// Writes a file with one fragment per group of pictures.
fn write(movie: &Movie, units: &[Unit]) -> Vec<u8> {
    let mut file = movie.initialisation().unwrap();
    let mut decode_time = 0;
    let mut sequence = 0;
    let mut rest = units;
    while !rest.is_empty() {
        let next_key = rest[1..]
            .iter()
            .position(|unit| unit.key)
            .map_or(rest.len(), |at| at + 1);
        let (gop, after) = rest.split_at(next_key);
        let samples: Vec<_> = gop
            .iter()
            .map(|unit| Sample {
                size: u32::try_from(unit.data.len()).unwrap(),
                duration: VIDEO_TIMESCALE / RATE,
                composition_offset: unit.composition_offset,
                key: unit.key,
            })
            .collect();
        let data: Vec<_> = gop.iter().map(|unit| &unit.data[..]).collect();
        sequence += 1;
        let run = Run {
            track: VIDEO_TRACK,
            decode_time,
            samples: &samples,
        };
        file.extend(fragment(sequence, &[run], &data).unwrap());
        decode_time += samples
            .iter()
            .map(|sample| u64::from(sample.duration))
            .sum::<u64>();
        rest = after;
    }
    file
}

/// Frames that ffmpeg decodes; fails on any warning.
fn decoded_frames(file: &Path) -> usize {
    let path = file.to_str().unwrap();
    let output = run("ffmpeg", &["-v", "warning", "-i", path, "-f", "null", "-"]);
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(warnings.is_empty(), "ffmpeg warns: {warnings}");
    let arguments = [
        "-v",
        "error",
        "-select_streams",
        "v",
        "-count_frames",
        "-show_entries",
        "stream=nb_read_frames",
    ];
    let output = run(
        "ffprobe",
        &[&arguments[..], &["-of", "csv=p=0", path]].concat(),
    );
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap()
}

fn read_all(progressive: &Progressive, range: std::ops::Range<u64>, files: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in progressive.pieces(range) {
        match piece {
            Piece::Header(range) => out.extend_from_slice(&progressive.header()[range]),
            Piece::File { file, bytes } => {
                let mut part = vec![0; usize::try_from(bytes.end - bytes.start).unwrap()];
                files[file].read_exact_at(&mut part, bytes.start).unwrap();
                out.extend(part);
            }
        }
    }
    out
}

fn check(h265: bool, encoded: &[Vec<u8>], codec: VideoCodec) {
    let folder = TempDir::new().unwrap();
    let movie = movie(codec, None);
    let file = write(&movie, &units(h265, encoded));
    let path = folder.path().join("fragmented.mp4");
    std::fs::write(&path, &file).unwrap();
    assert_eq!(decoded_frames(&path), FRAMES);

    // Cut off anywhere in its last fragment it is complete up to the fragment before.
    let whole = scan(&file[..]).unwrap().unwrap();
    assert_eq!(whole.complete, file.len() as u64);
    assert_eq!(whole.tables[0].samples.len(), FRAMES);
    let cut = scan(&file[..file.len() - 1]).unwrap().unwrap();
    let keys = |tables: &[watchpost_mp4::SampleTable]| {
        tables[0].samples.iter().filter(|sample| sample.key).count()
    };
    assert_eq!(keys(&cut.tables), keys(&whole.tables) - 1);

    // The summary box is ignored by players and read back by the scanner.
    let summary = Summary {
        stream_version: 3,
        first_frame: 1,
        tables: whole.tables.clone(),
        ..Summary::default()
    };
    let mut closed = file.clone();
    closed.extend(summary.encode().unwrap());
    std::fs::write(&path, &closed).unwrap();
    assert_eq!(decoded_frames(&path), FRAMES);
    assert_eq!(scan(&closed[..]).unwrap().unwrap().summary, Some(summary));

    // As an ordinary file, twice in a row, read in two pieces at an arbitrary border.
    let part = |file| ProgressivePart {
        file,
        tracks: vec![(&whole.tables[0], 0..FRAMES)],
    };
    let progressive = Progressive::new(&movie, &[part(0), part(1)]).unwrap();
    let files = [&file[..], &closed[..]];
    let length = progressive.len();
    let mut bytes = read_all(&progressive, 0..length / 3, &files);
    bytes.extend(read_all(&progressive, length / 3..length + 7, &files));
    assert_eq!(bytes.len() as u64, length);
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(decoded_frames(&path), 2 * FRAMES);
}

#[test]
fn ffmpeg_decodes_h264() {
    let folder = TempDir::new().unwrap();
    let encoder = "x264enc tune=zerolatency key-int-max=10 speed-preset=ultrafast";
    let encoded = encode(folder.path(), encoder, "h264parse", "video/x-h264");
    let mut sets = AvcParameterSets::default();
    for unit in &encoded {
        sets.observe(unit);
    }
    check(false, &encoded, VideoCodec::H264(sets));
}

#[test]
fn ffmpeg_decodes_h265() {
    let folder = TempDir::new().unwrap();
    let encoder = "x265enc tune=zerolatency key-int-max=10 speed-preset=ultrafast log-level=none";
    let encoded = encode(folder.path(), encoder, "h265parse", "video/x-h265");
    let mut sets = HevcParameterSets::default();
    for unit in &encoded {
        sets.observe(unit);
    }
    let mime = movie(VideoCodec::H265(sets.clone()), None).mime().unwrap();
    assert!(mime.starts_with("video/mp4; codecs=\"hvc1.1.6.L"), "{mime}");
    check(true, &encoded, VideoCodec::H265(sets));
}

/// A file with anything in it is read without a panic, and no sample lies outside its complete part.
#[test]
fn scanner_survives_damage() {
    let folder = TempDir::new().unwrap();
    let encoder = "x264enc tune=zerolatency key-int-max=10 speed-preset=ultrafast";
    let encoded = encode(folder.path(), encoder, "h264parse", "video/x-h264");
    let mut sets = AvcParameterSets::default();
    for unit in &encoded {
        sets.observe(unit);
    }
    let good = write(
        &movie(VideoCodec::H264(sets), None),
        &units(false, &encoded),
    );
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut bad = good.clone();
        let at = usize::try_from(random % bad.len() as u64).unwrap();
        // Most damage goes to the headers of the first fragment, where it matters.
        let at = if random & 1 == 0 { at % 1500 } else { at };
        bad[at] ^= (random >> 32) as u8 | 1;
        if let Some(found) = scan(&bad[..]).unwrap() {
            let samples = found.tables.iter().flat_map(|table| &table.samples);
            for sample in samples {
                assert!(
                    sample.offset + u64::from(sample.size) <= found.complete,
                    "byte {at}"
                );
            }
        }
    }
}

#[test]
fn ffmpeg_reads_the_audio_track() {
    let folder = TempDir::new().unwrap();
    let encoder = "x264enc tune=zerolatency key-int-max=10 speed-preset=ultrafast";
    let encoded = encode(folder.path(), encoder, "h264parse", "video/x-h264");
    let mut sets = AvcParameterSets::default();
    for unit in &encoded {
        sets.observe(unit);
    }
    for (audio, name) in [
        (
            AudioTrack::Aac {
                config: vec![0x11, 0x90],
                rate: 48_000,
                channels: 2,
            },
            "aac",
        ),
        (
            AudioTrack::Opus {
                channels: 2,
                pre_skip: 312,
            },
            "opus",
        ),
    ] {
        let movie = movie(VideoCodec::H264(sets.clone()), Some(audio));
        let path = folder.path().join("audio.mp4");
        let mut file = write(&movie, &units(false, &encoded));
        let samples = [Sample {
            size: 4,
            duration: 1024,
            composition_offset: 0,
            key: true,
        }];
        let run = Run {
            track: AUDIO_TRACK,
            decode_time: 0,
            samples: &samples,
        };
        file.extend(fragment(99, &[run], &[&[0x21, 0x10, 4, 0x60]]).unwrap());
        std::fs::write(&path, file).unwrap();
        let arguments = [
            "-v",
            "error",
            "-select_streams",
            "a",
            "-show_entries",
            "stream=codec_name,channels",
        ];
        let output = ffprobe(&arguments, &path);
        assert_eq!(output.trim(), format!("{name},2"));
    }
}

fn ffprobe(arguments: &[&str], path: &Path) -> String {
    let output = run(
        "ffprobe",
        &[arguments, &["-of", "csv=p=0", path.to_str().unwrap()]].concat(),
    );
    String::from_utf8(output.stdout).unwrap()
}
