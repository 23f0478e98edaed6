//! Between GStreamer's frames and the core's pictures.

use gst_video::prelude::*;
use gst_video::{
    VideoChromaSite, VideoColorMatrix, VideoColorRange, VideoFormat, VideoFrameRef, VideoInfo,
};
use regiondetect_core::tensor::{
    ChromaSite, Colour, Matrix, Picture, PictureError, PixelFormat, Plane, Range,
};

/// Formats the element takes, those that cost least first.
pub(super) const FORMATS: [VideoFormat; 13] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yv12,
    VideoFormat::Nv21,
    VideoFormat::Yuy2,
    VideoFormat::Uyvy,
    VideoFormat::Gray8,
    VideoFormat::Rgb,
    VideoFormat::Bgr,
    VideoFormat::Rgbx,
    VideoFormat::Bgrx,
    VideoFormat::Rgba,
    VideoFormat::Bgra,
];

/// The frame as the core sees it. An error is a buffer that is smaller than its caps say.
pub(super) fn picture<'a>(
    frame: &'a VideoFrameRef<&'a gst::BufferRef>,
) -> Result<Picture<'a>, PictureError> {
    let info = frame.info();
    let format = pixel_format(info.format());
    let mut planes = [Plane::default(); 3];
    let count = format.planes();
    for (index, plane) in planes.iter_mut().enumerate().take(count) {
        // YV12 is I420 with its chroma planes the other way round.
        let from = match (info.format(), index) {
            (VideoFormat::Yv12, 1) => 2,
            (VideoFormat::Yv12, 2) => 1,
            _ => index,
        };
        *plane = Plane {
            data: frame.plane_data(from as u32).unwrap_or(&[]),
            stride: usize::try_from(frame.plane_stride()[from]).unwrap_or(0),
        };
    }
    Picture::new(
        format,
        frame.width() as usize,
        frame.height() as usize,
        &planes[..count],
        colour(info),
        site(info),
    )
}

fn pixel_format(format: VideoFormat) -> PixelFormat {
    match format {
        VideoFormat::I420 | VideoFormat::Yv12 => PixelFormat::I420,
        VideoFormat::Nv12 => PixelFormat::Nv12,
        VideoFormat::Nv21 => PixelFormat::Nv21,
        VideoFormat::Yuy2 => PixelFormat::Yuy2,
        VideoFormat::Uyvy => PixelFormat::Uyvy,
        VideoFormat::Gray8 => PixelFormat::Gray8,
        VideoFormat::Rgb => PixelFormat::Rgb,
        VideoFormat::Bgr => PixelFormat::Bgr,
        VideoFormat::Rgbx | VideoFormat::Rgba => PixelFormat::Rgbx,
        VideoFormat::Bgrx | VideoFormat::Bgra => PixelFormat::Bgrx,
        other => unreachable!("the pad template has no {other:?}"),
    }
}

/// From the caps; where they are silent, GStreamer has filled in BT.601 up to standard definition and BT.709 above.
fn colour(info: &VideoInfo) -> Colour {
    let colorimetry = info.colorimetry();
    Colour {
        matrix: match colorimetry.matrix() {
            VideoColorMatrix::Bt709 => Matrix::Bt709,
            _ => Matrix::Bt601,
        },
        range: match colorimetry.range() {
            VideoColorRange::Range0_255 => Range::Full,
            _ => Range::Limited,
        },
    }
}

fn site(info: &VideoInfo) -> ChromaSite {
    if info.chroma_site().contains(VideoChromaSite::H_COSITED) {
        ChromaSite::Left
    } else {
        ChromaSite::Centre
    }
}
