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
}

/// Byte of the bar and the square.
const BRIGHT: u8 = 0xeb;

impl Picture {
    /// For these caps, as `libcamerasrc` has agreed on them.
    pub fn new(caps: &gst::CapsRef) -> Option<Self> {
        let structure = caps.structure(0)?;
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
        }
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
        self.still.len()
    }

    /// Draws frame number `n`.
    pub fn draw(&self, n: u64, frame: &mut [u8]) {
        frame[..self.still.len()].copy_from_slice(&self.still);
        let bar = (self.width / 16).max(1);
        let steps = (self.width - bar) as u64;
        let left = (n * (self.width as u64 / 48).max(1) % steps.max(1)) as usize;
        // Away from the corners, which stay what they are.
        let rows = self.height / 2..self.height * 3 / 4;
        self.fill(frame, left..left + bar, rows);
    }
}
