//! A DNG: the sensor's values with what a raw developer needs to know about them.
//!
//! What is known of the sensor by its name is used. For all others, and for colours in general, the values are generic
//! and say so: the colour matrix takes the sensor's primaries for those of sRGB, and the white balance is the grey world's
//! (the mean of each colour). Every developer lets the user change both.

use std::borrow::Cow;
use std::io::{BufWriter, Seek, Write};
use std::time::SystemTime;

use tiff::encoder::{DirectoryEncoder, Rational, SRational, TiffEncoder, TiffKind, TiffValue};
use tiff::tags::{Tag, Type};
use tiff::{TiffError, TiffResult};

use super::bayer::Bayer;
use super::name::{date_of, since_epoch};
use crate::camera::Transform;

/// Sensors and their value for black, of 16 bits.
const BLACK: [(&str, u16); 11] = [
    ("imx219", 4096),
    ("imx290", 3840),
    ("imx296", 3840),
    ("imx327", 3840),
    ("imx378", 4096),
    ("imx462", 3840),
    ("imx477", 4096),
    ("imx519", 4096),
    ("imx708", 4096),
    ("ov5647", 1024),
    ("ov9281", 4096),
];

/// From CIE XYZ (D65) to linear sRGB, in ten-thousandths.
const XYZ_TO_SRGB: [i32; 9] = [
    32_405, -15_371, -4985, -9693, 18_760, 416, 556, -2040, 10_572,
];
/// Code of daylight (D65).
const D65: u16 = 21;

/// What a DNG says besides its values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Description<'a> {
    pub make: &'a str,
    /// Model of the sensor or camera; may be a path or id that contains it.
    pub model: &'a str,
    pub time: SystemTime,
    /// Mirroring that the values do not have yet.
    pub transform: Transform,
}

/// The values and their shape.
pub(crate) struct Values<'a> {
    pub format: Bayer,
    pub width: u32,
    pub height: u32,
    pub values: &'a [u16],
}

/// The sensor that a model or id names.
fn sensor(model: &str) -> Option<(&'static str, u16)> {
    let model = model.to_ascii_lowercase();
    BLACK.into_iter().find(|(name, _)| model.contains(name))
}

/// Black of a sensor for values of so many bits; 0 where the sensor is not known.
fn black_level(model: &str, bits: u32) -> u16 {
    sensor(model).map_or(0, |(_, black)| black >> (16 - bits.min(16)))
}

/// Red and blue as shares of green in a grey world, in thousandths: what neutral grey looks like to the sensor.
fn neutral(image: &Values<'_>, black: u16) -> [u32; 3] {
    let mut sums = [(0u64, 0u64); 3];
    let width = image.width as usize;
    for (y, row) in image.values.chunks(width).enumerate() {
        for (x, value) in row.iter().enumerate() {
            let colour = image.format.pattern[(y % 2) * 2 + x % 2] as usize;
            sums[colour].0 += u64::from(value.saturating_sub(black));
            sums[colour].1 += 1;
        }
    }
    let means = sums.map(|(sum, count)| sum as f64 / count.max(1) as f64);
    let share = |mean: f64| {
        let share = if means[1] > 0.0 { mean / means[1] } else { 1.0 };
        (share.clamp(0.1, 10.0) * 1000.0).round() as u32
    };
    [share(means[0]), 1000, share(means[2])]
}

/// Writes a DNG.
pub(crate) fn write<W: Write + Seek>(
    out: W,
    image: &Values<'_>,
    about: &Description<'_>,
) -> std::io::Result<()> {
    let mut out = BufWriter::new(out);
    encode(&mut out, image, about).map_err(|error| match error {
        TiffError::IoError(cause) => cause,
        other => std::io::Error::other(other),
    })?;
    out.flush()
}

fn encode<W: Write + Seek>(out: W, image: &Values<'_>, about: &Description<'_>) -> TiffResult<()> {
    let black = black_level(about.model, image.format.bits);
    let model = sensor(about.model).map_or(about.model, |(name, _)| name);
    let time = timestamp(about.time);
    let mut tiff = TiffEncoder::new(out)?;
    let exif = {
        let mut exif = tiff.extra_directory()?;
        exif.write_tag(Tag::ExifVersion, Undefined(b"0230"))?;
        put(&mut exif, 0x9003, time.as_str())?; // DateTimeOriginal
        put(&mut exif, 0x9011, "+00:00")?; // OffsetTimeOriginal
        let millis = format!("{:03}", since_epoch(about.time).subsec_millis());
        put(&mut exif, 0x9291, millis.as_str())?; // SubSecTimeOriginal
        align(&mut exif)?;
        exif.finish_with_offsets()?
    };
    let mut ifd = tiff.image_directory()?;
    let strip = ifd.write_data(image.values)?;
    let bytes = u32::try_from(image.values.len() * 2)?;
    put(&mut ifd, 254, 0u32)?; // NewSubfileType: the picture itself
    put(&mut ifd, 256, image.width)?;
    put(&mut ifd, 257, image.height)?;
    put(&mut ifd, 258, 16u16)?; // BitsPerSample
    put(&mut ifd, 259, 1u16)?; // Compression: none
    put(&mut ifd, 262, 32_803u16)?; // PhotometricInterpretation: colour filter array
    put(&mut ifd, 271, about.make)?;
    put(&mut ifd, 272, model)?;
    put(&mut ifd, 273, u32::try_from(strip)?)?; // StripOffsets
    put(&mut ifd, 274, orientation(about.transform))?;
    put(&mut ifd, 277, 1u16)?; // SamplesPerPixel
    put(&mut ifd, 278, image.height)?; // RowsPerStrip
    put(&mut ifd, 279, bytes)?; // StripByteCounts
    put(&mut ifd, 284, 1u16)?; // PlanarConfiguration
    put(
        &mut ifd,
        305,
        concat!("Watchpost ", env!("CARGO_PKG_VERSION")),
    )?;
    put(&mut ifd, 306, time.as_str())?; // DateTime
    put(&mut ifd, 33_421, &[2u16, 2][..])?; // CFARepeatPatternDim
    put(&mut ifd, 33_422, &image.format.pattern[..])?; // CFAPattern
    ifd.write_tag(Tag::ExifDirectory, exif.offset)?;
    put(&mut ifd, 50_706, &[1u8, 4, 0, 0][..])?; // DNGVersion
    put(&mut ifd, 50_707, &[1u8, 1, 0, 0][..])?; // DNGBackwardVersion
    put(&mut ifd, 50_708, format!("{} {model}", about.make).trim())?; // UniqueCameraModel
    put(&mut ifd, 50_711, 1u16)?; // CFALayout: square
    put(&mut ifd, 50_714, black)?;
    put(&mut ifd, 50_717, (1u32 << image.format.bits) - 1)?; // WhiteLevel
    let matrix = XYZ_TO_SRGB.map(|n| SRational { n, d: 10_000 });
    put(&mut ifd, 50_721, &matrix[..])?; // ColorMatrix1
    let neutral = neutral(image, black).map(|n| Rational { n, d: 1000 });
    put(&mut ifd, 50_728, &neutral[..])?; // AsShotNeutral
    put(&mut ifd, 50_778, D65)?; // CalibrationIlluminant1
    align(&mut ifd)?;
    ifd.finish()
}

/// Bytes whose type is "undefined", which is what EXIF wants for its version.
struct Undefined(&'static [u8]);

impl TiffValue for Undefined {
    const BYTE_LEN: u8 = 1;
    const FIELD_TYPE: Type = Type::UNDEFINED;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.0)
    }
}

/// A directory begins at an even place; its values may end at an odd one.
fn align<W: Write + Seek, K: TiffKind>(ifd: &mut DirectoryEncoder<'_, W, K>) -> TiffResult<()> {
    let nothing: [u8; 0] = [];
    if ifd.write_data(nothing)? % 2 == 1 {
        ifd.write_data([0u8])?;
    }
    Ok(())
}

fn put<W: Write + Seek, K: TiffKind, T: TiffValue>(
    ifd: &mut DirectoryEncoder<'_, W, K>,
    tag: u16,
    value: T,
) -> TiffResult<()> {
    ifd.write_tag(Tag::from_u16_exhaustive(tag), value)
}

/// EXIF's number for mirrored pictures.
fn orientation(transform: Transform) -> u16 {
    match (
        transform.hflip.unwrap_or_default(),
        transform.vflip.unwrap_or_default(),
    ) {
        (false, false) => 1,
        (true, false) => 2,
        (true, true) => 3,
        (false, true) => 4,
    }
}

/// EXIF's way to write a time.
fn timestamp(time: SystemTime) -> String {
    let seconds = since_epoch(time).as_secs();
    let (year, month, day) = date_of((seconds / 86_400) as i64);
    let second = seconds % 86_400;
    format!(
        "{year:04}:{month:02}:{day:02} {:02}:{:02}:{:02}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}
