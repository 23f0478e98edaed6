//! Puts parts of a picture into a model's input.

use std::ops::Range;

use crate::regions::Placement;

use super::kernels::{Conversion, Kernels, Row, SLACK};
use super::taps::{self, Grain, Taps};
use super::{ChannelOrder, ChromaSite, Layout, Picture, PixelFormat, TensorMut, TensorSpec};

/// Picture pixels per input pixel, across and down.
fn step(placement: &Placement) -> (f64, f64) {
    let side = |from: i32, to: i32| f64::from(to) - f64::from(from);
    let Placement { source, dest } = placement;
    (
        side(source.x1, source.x2) / side(dest.x1, dest.x2).max(1.0),
        side(source.y1, source.y2) / side(dest.y1, dest.y2).max(1.0),
    )
}

/// The outputs of one axis that show picture: outputs `from..to`, the first of them at `start`, then every `step`.
struct Span {
    from: usize,
    to: usize,
    start: f64,
    step: f64,
}

impl Span {
    /// `source..source + step * n` of a line of `length` samples, at `dest..` of `limit` outputs.
    fn new(source: i32, step: f64, dest: (i32, i32), length: usize, limit: usize) -> Self {
        let position =
            |output: i32| f64::from(source) + (f64::from(output) - f64::from(dest.0) + 0.5) * step;
        let (mut from, mut to) = (dest.0.max(0), dest.1.min(limit as i32));
        // An output shows picture if its middle does.
        while from < to && position(from) < 0.0 {
            from += 1;
        }
        while from < to && position(to - 1) >= length as f64 {
            to -= 1;
        }
        Self {
            from: from.max(0) as usize,
            to: to.max(from).max(0) as usize,
            start: position(from) - 0.5,
            step,
        }
    }

    fn len(&self) -> usize {
        self.to - self.from
    }
}

/// Where a tensor's memory shows picture since it was last filled, so that padding that is there is not written once more.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    areas: Vec<Area>,
    /// Otherwise, as in the beginning, there may be anything.
    known: bool,
}

/// Outputs down and across.
type Area = (Range<usize>, Range<usize>);

/// Makes tensors from pictures. Keeps its working rows, so that a steady stream allocates nothing.
#[derive(Debug)]
pub struct Cropper {
    kernels: Kernels,
    luma_taps: Taps,
    chroma_taps: Taps,
    luma: Vec<i16>,
    chroma: Vec<i16>,
    packed: Vec<i16>,
    values: [Vec<f32>; 3],
    /// For memory of which nothing is known.
    shown: Shown,
}

impl Default for Cropper {
    fn default() -> Self {
        Self {
            kernels: Kernels::detect(),
            luma_taps: Taps::new(Grain::Samples),
            chroma_taps: Taps::new(Grain::Pairs),
            luma: Vec::new(),
            chroma: Vec::new(),
            packed: Vec::new(),
            values: Default::default(),
            shown: Shown::default(),
        }
    }
}

impl Cropper {
    /// Fills one image of a model's input: every placement in turn, and padding wherever none shows picture.
    ///
    /// # Panics
    ///
    /// Where `out` is not as long as `spec` says.
    pub fn fill(
        &mut self,
        picture: &Picture,
        placements: &[Placement],
        spec: &TensorSpec,
        out: TensorMut,
    ) {
        let mut shown = std::mem::take(&mut self.shown);
        shown.known = false;
        self.refill(picture, placements, spec, out, &mut shown);
        self.shown = shown;
    }

    /// The same in memory that was filled before, for the same `spec`.
    ///
    /// # Panics
    ///
    /// Where `out` is not as long as `spec` says.
    pub fn refill(
        &mut self,
        picture: &Picture,
        placements: &[Placement],
        spec: &TensorSpec,
        mut out: TensorMut,
        shown: &mut Shown,
    ) {
        assert_eq!(out.len(), spec.len(), "memory for one image of {spec:?}");
        if !std::mem::replace(&mut shown.known, true) {
            shown.areas.clear();
            shown.areas.push((0..spec.height, 0..spec.width));
        }
        pad(picture, placements, spec, &shown.areas, &mut out);
        shown.areas.clear();
        let spans = placements.iter().filter_map(|p| spans(picture, p, spec));
        let areas = spans.map(|(across, down)| (down.from..down.to, across.from..across.to));
        shown.areas.extend(areas);
        for placement in placements {
            self.place(picture, placement, spec, &mut out);
        }
    }

    fn place(
        &mut self,
        picture: &Picture,
        placement: &Placement,
        spec: &TensorSpec,
        out: &mut TensorMut,
    ) {
        let Some((across, down)) = spans(picture, placement, spec) else {
            return;
        };
        let count = across.len();
        self.luma_taps
            .set(across.start, across.step, count, picture.width());
        let chroma_start = match picture.site() {
            ChromaSite::Left => across.start / 2.0,
            ChromaSite::Centre => (across.start + 0.5) / 2.0 - 0.5,
        };
        self.chroma_taps.set(
            chroma_start,
            across.step / 2.0,
            count,
            picture.width().div_ceil(2),
        );
        if picture.format() == PixelFormat::Gray8 {
            let neutral = (128 * taps::ROW_UNIT) as i16;
            self.chroma.clear();
            self.chroma
                .resize(2 * self.chroma_taps.samples() + SLACK, neutral);
        }
        let conversion = Conversion::new(
            &picture.colour().coefficients(),
            picture.format() == PixelFormat::Nv21,
            spec.order == ChannelOrder::Bgr,
            spec.scale,
            spec.bias,
        );
        self.values
            .iter_mut()
            .for_each(|row| row.resize(count, 0.0));
        for row in down.from..down.to {
            let position = down.start + (row - down.from) as f64 * down.step;
            let is_rgb = self.sample(picture, position);
            let offset = row * spec.width + across.from;
            if is_rgb {
                self.convert_rgb(picture.format(), spec);
            } else {
                // The two forms that models have most are written in place.
                match (spec.layout, &mut *out) {
                    (Layout::Nchw, TensorMut::F32(data)) => {
                        let plane = spec.width * spec.height;
                        let (first, rest) = data.split_at_mut(plane);
                        let (second, third) = rest.split_at_mut(plane);
                        let rows = [first, second, third].map(|p| &mut p[offset..][..count]);
                        self.kernels.convert(&self.row(), &conversion, rows);
                        continue;
                    }
                    (Layout::Nhwc, TensorMut::U8(data)) => {
                        let pixels = &mut data[3 * offset..][..3 * count];
                        self.kernels.convert_bytes(&self.row(), &conversion, pixels);
                        continue;
                    }
                    _ => {}
                }
                let mut values = std::mem::take(&mut self.values);
                let rows = values.each_mut().map(|row| &mut row[..]);
                self.kernels.convert(&self.row(), &conversion, rows);
                self.values = values;
            }
            store(&self.values, spec, offset, out);
        }
    }

    fn row(&self) -> Row<'_> {
        Row {
            luma: &self.luma,
            luma_taps: &self.luma_taps,
            chroma: &self.chroma,
            chroma_taps: &self.chroma_taps,
        }
    }

    /// Blends the two rows around `position` into the working rows. Says whether they are RGB (then in `packed`).
    fn sample(&mut self, picture: &Picture, position: f64) -> bool {
        let kernels = self.kernels;
        let (width, height) = (picture.width(), picture.height());
        let (upper, lower, weight) = taps::rows(position, height);
        let (first, samples) = (self.luma_taps.first(), self.luma_taps.samples());
        let end = (first + samples).min(width);
        let half_width = width.div_ceil(2);
        let (chroma_first, chroma_samples) = (self.chroma_taps.first(), self.chroma_taps.samples());
        let chroma_end = (chroma_first + chroma_samples).min(half_width);
        let half = taps::rows((position + 0.5) / 2.0 - 0.5, height.div_ceil(2));

        match picture.format() {
            PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Nv21 | PixelFormat::Gray8 => {
                self.luma.resize(samples + SLACK, 0);
                let rows = (picture.row(0, upper), picture.row(0, lower));
                let (a, b) = (&rows.0[first..end], &rows.1[first..end]);
                kernels.blend(a, b, weight, &mut self.luma[..end - first]);
                repeat_last(&mut self.luma, end - first, 1);
            }
            PixelFormat::Yuy2 | PixelFormat::Uyvy => {
                let luma_at = usize::from(picture.format() == PixelFormat::Uyvy);
                self.packed.resize(4 * half_width, 0);
                let rows = (picture.row(0, upper), picture.row(0, lower));
                kernels.blend(rows.0, rows.1, weight, &mut self.packed);
                self.luma.clear();
                let luma = self.packed.iter().skip(luma_at).step_by(2).copied();
                self.luma.extend(luma.skip(first).take(end - first));
                self.luma.resize(samples + SLACK, 0);
                repeat_last(&mut self.luma, end - first, 1);
                self.chroma.clear();
                let chroma = self.packed.iter().skip(1 - luma_at).step_by(2).copied();
                let count = 2 * (chroma_end - chroma_first);
                self.chroma
                    .extend(chroma.skip(2 * chroma_first).take(count));
                self.chroma.resize(2 * chroma_samples + SLACK, 0);
                repeat_last(&mut self.chroma, count, 2);
            }
            PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Rgbx | PixelFormat::Bgrx => {
                let bytes = bytes_per_pixel(picture.format());
                self.packed.resize(bytes * samples, 0);
                let rows = (picture.row(0, upper), picture.row(0, lower));
                let range = bytes * first..bytes * end;
                let count = range.len();
                let (a, b) = (&rows.0[range.clone()], &rows.1[range]);
                kernels.blend(a, b, weight, &mut self.packed[..count]);
                repeat_last(&mut self.packed, count, bytes);
                return true;
            }
        }
        let (upper, lower, weight) = half;
        let count = 2 * (chroma_end - chroma_first);
        match picture.format() {
            PixelFormat::I420 => {
                self.chroma.resize(2 * chroma_samples + SLACK, 0);
                let range = chroma_first..chroma_end;
                let row = |plane, row| &picture.row(plane, row)[range.clone()];
                let (above, below) = (
                    [row(1, upper), row(2, upper)],
                    [row(1, lower), row(2, lower)],
                );
                kernels.blend_pairs(above, below, weight, &mut self.chroma[..count]);
                repeat_last(&mut self.chroma, count, 2);
            }
            PixelFormat::Nv12 | PixelFormat::Nv21 => {
                self.chroma.resize(2 * chroma_samples + SLACK, 0);
                let range = 2 * chroma_first..2 * chroma_end;
                let rows = (picture.row(1, upper), picture.row(1, lower));
                let (a, b) = (&rows.0[range.clone()], &rows.1[range]);
                kernels.blend(a, b, weight, &mut self.chroma[..count]);
                repeat_last(&mut self.chroma, count, 2);
            }
            _ => {}
        }
        false
    }

    /// The packed RGB row, resampled across and put in the tensor's order.
    fn convert_rgb(&mut self, format: PixelFormat, spec: &TensorSpec) {
        let bytes = bytes_per_pixel(format);
        let blue_first = matches!(format, PixelFormat::Bgr | PixelFormat::Bgrx);
        let swap = blue_first != (spec.order == ChannelOrder::Bgr);
        let unit = 1.0 / (taps::ROW_UNIT * taps::UNIT) as f32;
        for (channel, values) in self.values.iter_mut().enumerate() {
            let from = if swap { 2 - channel } else { channel };
            let (scale, bias) = (spec.scale[channel] * unit, spec.bias[channel]);
            for (i, value) in values.iter_mut().enumerate() {
                let (left, a, b) = self.luma_taps.tap(i);
                let at = bytes * left + from;
                let sum = i32::from(self.packed[at]) * a + i32::from(self.packed[at + bytes]) * b;
                *value = sum as f32 * scale + bias;
            }
        }
    }
}

/// The outputs across and down that show picture, if any do.
fn spans(picture: &Picture, placement: &Placement, spec: &TensorSpec) -> Option<(Span, Span)> {
    let (step_x, step_y) = step(placement);
    let Placement { source, dest } = placement;
    let (across, down) = ((dest.x1, dest.x2), (dest.y1, dest.y2));
    let across = Span::new(source.x1, step_x, across, picture.width(), spec.width);
    let down = Span::new(source.y1, step_y, down, picture.height(), spec.height);
    let shows = step_x > 0.0 && step_y > 0.0 && across.len() > 0 && down.len() > 0;
    shows.then_some((across, down))
}

fn bytes_per_pixel(format: PixelFormat) -> usize {
    match format {
        PixelFormat::Rgbx | PixelFormat::Bgrx => 4,
        _ => 3,
    }
}

/// Where the line ends, the neighbour to the right of the last sample is the last sample itself.
fn repeat_last(row: &mut [i16], filled: usize, group: usize) {
    for i in filled..row.len().min(filled + group) {
        row[i] = row[i - group];
    }
}

/// A row of values, planes of floats, into memory of the tensor's type and layout.
fn store(values: &[Vec<f32>; 3], spec: &TensorSpec, offset: usize, out: &mut TensorMut) {
    fn write<T>(
        values: &[Vec<f32>; 3],
        spec: &TensorSpec,
        offset: usize,
        out: &mut [T],
        cast: impl Fn(f32) -> T,
    ) {
        let [first, second, third] = values;
        match spec.layout {
            Layout::Nchw => {
                for (channel, values) in values.iter().enumerate() {
                    let at = channel * spec.width * spec.height + offset;
                    for (out, value) in out[at..][..values.len()].iter_mut().zip(values) {
                        *out = cast(*value);
                    }
                }
            }
            Layout::Nhwc => {
                let pixels = out[3 * offset..][..3 * first.len()].chunks_exact_mut(3);
                for (((out, a), b), c) in pixels.zip(first).zip(second).zip(third) {
                    out[0] = cast(*a);
                    out[1] = cast(*b);
                    out[2] = cast(*c);
                }
            }
        }
    }
    match out {
        TensorMut::F32(out) => write(values, spec, offset, out, |v| v),
        TensorMut::F16(out) => write(values, spec, offset, out, half::f16::from_f32),
        // `as` cuts to 0..=255.
        TensorMut::U8(out) => write(values, spec, offset, out, |v| (v + 0.5) as u8),
    }
}

/// Padding wherever no placement shows picture and memory has shown some.
fn pad(
    picture: &Picture,
    placements: &[Placement],
    spec: &TensorSpec,
    before: &[Area],
    out: &mut TensorMut,
) {
    let Some(rows) = spec.len().checked_div(3 * spec.width) else {
        return;
    };
    // A placement's outputs in this row, if it has any.
    let shown = |placement: &Placement, row: usize| {
        let (across, down) = spans(picture, placement, spec)?;
        (down.from..down.to)
            .contains(&row)
            .then_some(across.from..across.to)
    };
    let mut row = 0;
    while row < rows {
        // The rows from here on that show the same placements.
        let mut end = rows;
        for placement in placements {
            if let Some((_, down)) = spans(picture, placement, spec) {
                let edges = [down.from, down.to].into_iter().filter(|edge| *edge > row);
                end = edges.fold(end, usize::min);
            }
        }
        let mut from = 0;
        while from < spec.width {
            let across = || placements.iter().filter_map(|p| shown(p, row));
            if let Some(over) = across().find(|columns| columns.contains(&from)) {
                from = over.end;
                continue;
            }
            let starts = across().map(|columns| columns.start);
            let next = starts.filter(|start| *start > from).min();
            let to = next.unwrap_or(spec.width);
            for (rows, columns) in before {
                let rows = rows.start.max(row)..rows.end.min(end);
                let columns = columns.start.max(from)..columns.end.min(to);
                if !columns.is_empty() {
                    pad_rows(spec, rows, columns, out);
                }
            }
            from = to;
        }
        row = end;
    }
}

fn pad_rows(spec: &TensorSpec, rows: Range<usize>, columns: Range<usize>, out: &mut TensorMut) {
    fn fill<T: Copy>(
        spec: &TensorSpec,
        rows: Range<usize>,
        columns: Range<usize>,
        out: &mut [T],
        cast: impl Fn(f32) -> T,
    ) {
        let grey = f32::from(spec.padding);
        let values = [0, 1, 2].map(|c| cast(grey * spec.scale[c] + spec.bias[c]));
        for row in rows {
            let pixels = row * spec.width + columns.start..row * spec.width + columns.end;
            match spec.layout {
                Layout::Nchw => {
                    let planes = out.chunks_exact_mut(spec.width * spec.height);
                    for (plane, value) in planes.zip(values) {
                        plane[pixels.clone()].fill(value);
                    }
                }
                Layout::Nhwc => {
                    for pixel in out[3 * pixels.start..3 * pixels.end].chunks_exact_mut(3) {
                        pixel.copy_from_slice(&values);
                    }
                }
            }
        }
    }
    match out {
        TensorMut::F32(out) => fill(spec, rows, columns, out, |v| v),
        TensorMut::F16(out) => fill(spec, rows, columns, out, half::f16::from_f32),
        TensorMut::U8(out) => fill(spec, rows, columns, out, |v| (v + 0.5) as u8),
    }
}
