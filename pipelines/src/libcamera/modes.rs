//! Sensor modes of well-known camera modules: `libcamerasrc` takes a mode by size and depth, configuration by number,
//! and the element cannot be asked.

use crate::tasks::Size;

/// One way to read a sensor out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mode {
    pub size: Size,
    pub bits: u32,
}

const fn mode(width: u32, height: u32, bits: u32) -> Mode {
    Mode {
        size: Size { width, height },
        bits,
    }
}

/// The modes in the order in which `rpicam-hello --list-cameras` lists those of ten or more bits.
const MODES: [(&str, &[Mode]); 6] = [
    (
        "imx219",
        &[
            mode(640, 480, 10),
            mode(1640, 1232, 10),
            mode(1920, 1080, 10),
            mode(3280, 2464, 10),
        ],
    ),
    ("imx296", &[mode(1456, 1088, 10)]),
    (
        "imx477",
        &[
            mode(1332, 990, 10),
            mode(2028, 1080, 12),
            mode(2028, 1520, 12),
            mode(4056, 3040, 12),
        ],
    ),
    ("imx500", &[mode(2028, 1520, 10), mode(4056, 3040, 10)]),
    (
        "imx708",
        &[
            mode(1536, 864, 10),
            mode(2304, 1296, 10),
            mode(4608, 2592, 10),
        ],
    ),
    (
        "ov5647",
        &[
            mode(640, 480, 10),
            mode(1296, 972, 10),
            mode(1920, 1080, 10),
            mode(2592, 1944, 10),
        ],
    ),
];

/// Modes of a sensor, by its model (`imx708`, also `imx708_wide`).
pub(super) fn modes(model: &str) -> Option<&'static [Mode]> {
    let sensor = model.split('_').next().unwrap_or(model);
    MODES
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(sensor))
        .map(|(_, modes)| *modes)
}
