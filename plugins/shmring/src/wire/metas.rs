//! The metas of a buffer as records, and back.

use std::ops::ControlFlow;

use gst::meta::{CustomMeta, ParentBufferMeta, ReferenceTimestampMeta};
use gst_video::{
    VideoAlignment, VideoCropMeta, VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta,
    VideoRegionOfInterestMeta,
};

use super::bytes::{Get, Put};
use super::{WireError, names, value};
use crate::raw;

mod tag {
    pub const VIDEO: u16 = 1;
    pub const ROI: u16 = 2;
    pub const REFERENCE_TIMESTAMP: u16 = 3;
    pub const CUSTOM: u16 = 4;
    pub const CROP: u16 = 5;
    #[cfg(feature = "v1_24")]
    pub const ANALYTICS: u16 = 6;
}

/// Larger pictures do not exist in GStreamer's caps.
const MAX_SIDE: u32 = 32767;

/// Writes a record for each meta. True when the video meta says exactly what `info` says and has no record.
pub(super) fn encode(
    out: &mut Put,
    buffer: &gst::BufferRef,
    info: Option<&VideoInfo>,
    dropped: &mut u32,
) -> bool {
    let mut default_video_meta = false;
    #[cfg(feature = "v1_24")]
    let new_ids = {
        let mut new_ids = None;
        if let Some(meta) = buffer.meta::<gst_analytics::AnalyticsRelationMeta>() {
            let wrote = out.record(tag::ANALYTICS, |out| {
                new_ids = super::analytics::encode(out, &meta, dropped)?;
                Some(())
            });
            *dropped += u32::from(!wrote);
        }
        new_ids
    };
    buffer.foreach_meta(|meta| {
        let wrote = if let Some(m) = meta.downcast_ref::<VideoMeta>() {
            if info.is_some_and(|info| says_the_same(m, info)) {
                default_video_meta = true;
                true
            } else {
                out.record(tag::VIDEO, |out| video(out, m))
            }
        } else if let Some(m) = meta.downcast_ref::<VideoRegionOfInterestMeta>() {
            #[allow(unused_mut)]
            let mut id = m.id();
            #[cfg(feature = "v1_24")]
            if let Some(new) = new_ids
                .as_ref()
                .and_then(|ids: &Vec<u32>| ids.get(id as usize))
            {
                id = *new as i32;
            }
            out.record(tag::ROI, |out| roi(out, m, id, dropped))
        } else if let Some(m) = meta.downcast_ref::<ReferenceTimestampMeta>() {
            out.record(tag::REFERENCE_TIMESTAMP, |out| reference_timestamp(out, m))
        } else if let Some(m) = meta.downcast_ref::<VideoCropMeta>() {
            out.record(tag::CROP, |out| {
                let (x, y, w, h) = m.rect();
                [x, y, w, h].into_iter().for_each(|v| out.u32(v));
                Some(())
            })
        } else if let Some(m) = meta.try_as_custom_meta() {
            out.record(tag::CUSTOM, |out| {
                value::put_structure(out, m.structure(), dropped)
            })
        } else {
            is_handled_elsewhere(&meta)
        };
        *dropped += u32::from(!wrote);
        ControlFlow::Continue(())
    });
    default_video_meta
}

/// The parent's life is not the reader's concern; analytics are written before the loop.
fn is_handled_elsewhere(meta: &gst::MetaRef<gst::Meta>) -> bool {
    #[cfg(feature = "v1_24")]
    if meta
        .downcast_ref::<gst_analytics::AnalyticsRelationMeta>()
        .is_some()
    {
        return true;
    }
    meta.downcast_ref::<ParentBufferMeta>().is_some()
}

fn says_the_same(m: &VideoMeta, info: &VideoInfo) -> bool {
    m.format() == info.format()
        && m.width() == info.width()
        && m.height() == info.height()
        && m.id() == 0
        && m.video_frame_flags().is_empty()
        && m.stride() == info.stride()
        && m.offset() == info.offset()
        && m.alignment() == VideoAlignment::default()
}

fn video(out: &mut Put, m: &VideoMeta) -> Option<()> {
    out.str(m.format().to_str().as_str())?;
    out.u32(m.video_frame_flags().bits());
    out.i32(m.id());
    out.u32(m.width());
    out.u32(m.height());
    let alignment = m.alignment();
    let edges = [
        alignment.padding_top(),
        alignment.padding_bottom(),
        alignment.padding_left(),
        alignment.padding_right(),
    ];
    edges
        .iter()
        .chain(alignment.stride_align())
        .for_each(|v| out.u32(*v));
    out.u8(m.n_planes() as u8);
    for (offset, stride) in m.offset().iter().zip(m.stride()) {
        out.u64(*offset as u64);
        out.i32(*stride);
    }
    Some(())
}

fn roi(
    out: &mut Put,
    m: &gst::MetaRef<VideoRegionOfInterestMeta>,
    id: i32,
    dropped: &mut u32,
) -> Option<()> {
    out.str(raw::roi_label(m)?)?;
    out.i32(id);
    out.i32(m.parent_id());
    let (x, y, w, h) = m.rect();
    [x, y, w, h].into_iter().for_each(|v| out.u32(v));
    for param in m.params() {
        value::put_structure(out, param, dropped)?;
    }
    Some(())
}

fn reference_timestamp(out: &mut Put, m: &ReferenceTimestampMeta) -> Option<()> {
    out.u64(m.timestamp().nseconds());
    out.u64(m.duration().map_or(u64::MAX, |d| d.nseconds()));
    out.blob(m.reference().to_string().as_bytes())
}

/// What the pool of a writer puts on each frame.
pub(super) fn add_default_video_meta(
    buffer: &mut gst::BufferRef,
    info: &VideoInfo,
) -> Result<(), WireError> {
    VideoMeta::add_from_info(buffer, VideoFrameFlags::empty(), info)
        .map(|_| ())
        .map_err(|_| WireError::Plane)
}

/// Adds what the records say to the buffer.
pub(super) fn apply(mut from: Get, buffer: &mut gst::BufferRef) -> Result<(), WireError> {
    while !from.is_empty() {
        let tag = from.u16()?;
        let mut body = Get(from.blob()?);
        match tag {
            tag::VIDEO => add_video(&mut body, buffer)?,
            tag::ROI => add_roi(&mut body, buffer)?,
            tag::REFERENCE_TIMESTAMP => add_reference_timestamp(&mut body, buffer)?,
            tag::CUSTOM => add_custom(&mut body, buffer)?,
            tag::CROP => {
                let rect = (body.u32()?, body.u32()?, body.u32()?, body.u32()?);
                if [rect.0, rect.1, rect.2, rect.3]
                    .iter()
                    .any(|v| *v > MAX_SIDE)
                {
                    return Err(WireError::Value);
                }
                VideoCropMeta::add(buffer, rect);
            }
            #[cfg(feature = "v1_24")]
            tag::ANALYTICS => super::analytics::apply(&mut body, buffer)?,
            _ => {} // of a newer writer
        }
    }
    Ok(())
}

fn add_video(from: &mut Get, buffer: &mut gst::BufferRef) -> Result<(), WireError> {
    let format = from
        .str()?
        .parse::<VideoFormat>()
        .map_err(|_| WireError::Value)?;
    if matches!(format, VideoFormat::Unknown | VideoFormat::Encoded) {
        return Err(WireError::Value);
    }
    let flags = VideoFrameFlags::from_bits_truncate(from.u32()?);
    let id = from.i32()?;
    let (width, height) = (from.u32()?, from.u32()?);
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(WireError::Value);
    }
    let mut alignment = [0; 8];
    for v in &mut alignment {
        *v = from.u32()?;
    }
    let n = usize::from(from.u8()?);
    let usual = VideoInfo::builder(format, width, height)
        .build()
        .map_err(|_| WireError::Value)?;
    if n != usual.n_planes() as usize {
        return Err(WireError::Value);
    }
    let (mut offsets, mut strides) = (
        [0; gst_video::VIDEO_MAX_PLANES],
        [0; gst_video::VIDEO_MAX_PLANES],
    );
    for plane in 0..n {
        offsets[plane] = usize::try_from(from.u64()?).map_err(|_| WireError::Plane)?;
        strides[plane] = from.i32()?;
        check_plane(&usual, plane, offsets[plane], strides[plane], buffer.size())?;
    }
    let mut meta = VideoMeta::add_full(
        buffer,
        flags,
        format,
        width,
        height,
        &offsets[..n],
        &strides[..n],
    )
    .map_err(|_| WireError::Value)?;
    raw::set_video_meta_id(&mut meta, id);
    if alignment != [0; 8] {
        let [top, bottom, left, right, s0, s1, s2, s3] = alignment;
        if [top, bottom, left, right].iter().any(|v| *v > MAX_SIDE)
            || [s0, s1, s2, s3]
                .iter()
                .any(|v| *v > 0xfff || !(v + 1).is_power_of_two())
        {
            return Err(WireError::Value);
        }
        // Only a hint for those who want the padding; GStreamer refuses one that does not fit the strides.
        let _ = meta.set_alignment(&VideoAlignment::new(
            top,
            bottom,
            left,
            right,
            &[s0, s1, s2, s3],
        ));
    }
    Ok(())
}

/// A plane's last byte must lie inside the buffer: whoever maps the frame trusts offset and stride. The length of a row
/// follows from the caps' layout, never from the stride, which is what has to be checked.
fn check_plane(
    usual: &VideoInfo,
    plane: usize,
    offset: usize,
    stride: i32,
    size: usize,
) -> Result<(), WireError> {
    let finfo = usual.format_info();
    let component = finfo.plane().iter().position(|p| *p as usize == plane);
    let stated = (usual.offset()[plane], usual.stride()[plane]);
    let tiled = finfo.tile_mode() != gst_video::VideoTileMode::Unknown;
    if finfo.has_palette() && plane == 1 {
        let fits = offset.checked_add(1024).is_some_and(|end| end <= size);
        return if fits { Ok(()) } else { Err(WireError::Plane) };
    }
    let Some(c) = component.filter(|_| !tiled) else {
        // Strides of tiled formats count tiles: only the usual layout is known to fit.
        let fits = (offset, stride) == stated && usual.size() <= size;
        return if fits { Ok(()) } else { Err(WireError::Plane) };
    };
    let stride = u64::try_from(stride).map_err(|_| WireError::Plane)?;
    let scale = |v: u32, sub: u32| u64::from(v.div_ceil(1 << sub));
    let rows = scale(usual.height(), finfo.h_sub()[c]);
    let pixel = finfo.pixel_stride()[c].unsigned_abs();
    // Several pixels share bytes in the complex formats: there a row is as long as in the usual layout.
    let row_bytes = if finfo.is_complex() || pixel == 0 {
        u64::try_from(stated.1).map_err(|_| WireError::Plane)?
    } else {
        scale(usual.width(), finfo.w_sub()[c]) * u64::from(pixel)
    };
    if row_bytes > stride {
        return Err(WireError::Plane);
    }
    let end = stride
        .checked_mul(rows.saturating_sub(1))
        .and_then(|v| v.checked_add(row_bytes))
        .and_then(|v| v.checked_add(offset as u64))
        .ok_or(WireError::Plane)?;
    if end > size as u64 {
        Err(WireError::Plane)
    } else {
        Ok(())
    }
}

fn add_roi(from: &mut Get, buffer: &mut gst::BufferRef) -> Result<(), WireError> {
    let label = from.name()?;
    let (id, parent_id) = (from.i32()?, from.i32()?);
    let rect = (from.u32()?, from.u32()?, from.u32()?, from.u32()?);
    let mut params = Vec::new();
    while !from.is_empty() {
        params.push(value::get_structure(from)?);
    }
    let mut roi = VideoRegionOfInterestMeta::add(buffer, label, rect);
    roi.set_id(id);
    roi.set_parent_id(parent_id);
    for p in params {
        roi.add_param(p);
    }
    Ok(())
}

fn add_reference_timestamp(from: &mut Get, buffer: &mut gst::BufferRef) -> Result<(), WireError> {
    let timestamp = gst::ClockTime::try_from(from.u64()?).map_err(|_| WireError::Value)?;
    let duration = gst::ClockTime::try_from(from.u64()?).ok();
    let caps = std::str::from_utf8(from.blob()?).map_err(|_| WireError::Text)?;
    if caps.contains('\0') {
        return Err(WireError::Text);
    }
    // Their names stay for ever, so the whole text counts as one.
    names::admit(caps, &names::NEW)?;
    let caps = caps.parse::<gst::Caps>().map_err(|_| WireError::Value)?;
    ReferenceTimestampMeta::add(buffer, &caps, timestamp, duration);
    Ok(())
}

/// A custom meta is named as its structure. One that nobody in this process has registered has no reader here either.
fn add_custom(from: &mut Get, buffer: &mut gst::BufferRef) -> Result<(), WireError> {
    let structure = value::get_structure(from)?;
    let name = structure.name();
    if !raw::is_custom_meta(name) {
        return Ok(());
    }
    if let Ok(mut meta) = CustomMeta::add(buffer, name) {
        let to = meta.mut_structure();
        for (field, v) in structure.iter() {
            to.set_value(field.as_str(), v.clone());
        }
    }
    Ok(())
}
