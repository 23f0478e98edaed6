//! What the cameras see: a shaded wall with a white square in its upper left corner, and a bright bar that walks past.
//! So a picture is recognised as moving, and as turned or mirrored.

/// Draws the frames of one stream.
pub struct Picture {
    still: Vec<u8>,
    /// Bytes of a row.
    stride: usize,
    width: usize,
    height: usize,
    /// Bytes of a pixel of the first plane.
    pixel: usize,
    /// The bright bar's pixel.
    bright: Vec<u8>,
    /// Motion JPEG: its frames, one after the other.
    jpeg: Vec<Vec<u8>>,
}

/// Frames of Motion JPEG before they come again.
const JPEG_FRAMES: u64 = 16;

/// Byte of the bar and the square.
const BRIGHT: u8 = 0xeb;

impl Picture {
    /// For these caps, as `libcamerasrc` has agreed on them.
    pub fn new(caps: &gst::CapsRef) -> Option<Self> {
        let structure = caps.structure(0)?;
        if structure.name() == "image/jpeg" {
            return Self::jpeg(structure);
        }
        let picture = if structure.name() == "video/x-bayer" {
            let format: String = structure.get("format").ok()?;
            let width = usize::try_from(structure.get::<i32>("width").ok()?).ok()?;
            let height = usize::try_from(structure.get::<i32>("height").ok()?).ok()?;
            Self::raw(&format, width, height)
        } else {
            let info = gst_video::VideoInfo::from_caps(caps).ok()?;
            Self::processed(&info)
        };
        Some(picture.with_square())
    }

    fn processed(info: &gst_video::VideoInfo) -> Self {
        // Grey where there is colour.
        let mut still = vec![0x80; info.size()];
        let stride = info.stride()[0] as usize;
        let rows = info.comp_height(0) as usize;
        for (y, row) in still.chunks_mut(stride).take(rows).enumerate() {
            for (x, byte) in row.iter_mut().enumerate() {
                *byte = 0x20 + ((x / 8 + y / 4) & 0x7f) as u8;
            }
        }
        let pixel = info.format_info().pixel_stride()[0] as usize;
        Self {
            still,
            stride,
            width: info.width() as usize,
            height: rows,
            pixel,
            bright: vec![BRIGHT; pixel],
            jpeg: Vec::new(),
        }
    }

    fn jpeg(structure: &gst::StructureRef) -> Option<Self> {
        let side = |name| u32::try_from(structure.get::<i32>(name).ok()?).ok();
        let format = gst_video::VideoFormat::I420;
        let info = gst_video::VideoInfo::builder(format, side("width")?, side("height")?)
            .build()
            .ok()?;
        let mut picture = Self::processed(&info).with_square();
        let caps = info.to_caps().ok()?;
        let jpeg = gst::Caps::builder("image/jpeg").build();
        let mut frames = Vec::new();
        for n in 0..JPEG_FRAMES {
            let mut frame = vec![0; picture.still.len()];
            picture.draw(n * 8, &mut frame);
            let buffer = gst::Buffer::from_slice(frame);
            let sample = gst::Sample::builder().buffer(&buffer).caps(&caps).build();
            let wait = gst::ClockTime::from_seconds(10);
            let encoded = gst_video::convert_sample(&sample, &jpeg, Some(wait)).ok()?;
            let bytes = encoded.buffer()?.map_readable().ok()?.to_vec();
            frames.push(bytes);
        }
        picture.jpeg = frames;
        Some(picture)
    }

    fn raw(format: &str, width: usize, height: usize) -> Self {
        let bits: u32 = format
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap_or(8);
        let pixel = if bits > 8 { 2 } else { 1 };
        // As GStreamer lays bayer out.
        let stride = (width * pixel).next_multiple_of(4);
        let full = (1u32 << bits) - 1;
        let bytes = |value: u32| value.to_le_bytes()[..pixel].to_vec();
        let mut still = vec![0; stride * height];
        for (y, row) in still.chunks_mut(stride).enumerate() {
            for (x, cell) in row[..width * pixel].chunks_mut(pixel).enumerate() {
                let value = full / 8 + ((x + y) as u32) % (full / 2);
                cell.copy_from_slice(&bytes(value));
            }
        }
        Self {
            still,
            stride,
            width,
            height,
            pixel,
            bright: bytes(full),
            jpeg: Vec::new(),
        }
    }

    fn with_square(mut self) -> Self {
        let (width, height) = (self.width / 8, self.height / 8);
        let mut still = std::mem::take(&mut self.still);
        self.fill(&mut still, 0..width, 0..height);
        self.still = still;
        self
    }

    fn fill(
        &self,
        bytes: &mut [u8],
        columns: std::ops::Range<usize>,
        rows: std::ops::Range<usize>,
    ) {
        for y in rows {
            let start = y * self.stride;
            let row =
                &mut bytes[start + columns.start * self.pixel..start + columns.end * self.pixel];
            for pixel in row.chunks_exact_mut(self.pixel) {
                pixel.copy_from_slice(&self.bright);
            }
        }
    }

    /// Bytes of a frame.
    pub fn size(&self) -> usize {
        self.jpeg
            .iter()
            .map(Vec::len)
            .max()
            .unwrap_or(self.still.len())
    }

    /// Draws frame number `n`, and answers with its bytes.
    pub fn draw(&self, n: u64, frame: &mut [u8]) -> usize {
        if !self.jpeg.is_empty() {
            let bytes = &self.jpeg[(n % JPEG_FRAMES) as usize];
            frame[..bytes.len()].copy_from_slice(bytes);
            return bytes.len();
        }
        frame[..self.still.len()].copy_from_slice(&self.still);
        let bar = (self.width / 16).max(1);
        let steps = (self.width - bar) as u64;
        let left = (n * (self.width as u64 / 48).max(1) % steps.max(1)) as usize;
        // Away from the corners, which stay what they are.
        let rows = self.height / 2..self.height * 3 / 4;
        self.fill(frame, left..left + bar, rows);
        self.still.len()
    }
}
