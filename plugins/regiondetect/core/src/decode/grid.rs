//! The cells of a feature pyramid, as YOLO-like heads number them.

/// Strides of the usual three levels.
pub(super) const STRIDES_3: &[usize] = &[8, 16, 32];
/// Strides of the usual four levels.
pub(super) const STRIDES_4: &[usize] = &[8, 16, 32, 64];

/// Cells of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    pub stride: usize,
    pub across: usize,
    pub down: usize,
}

impl Level {
    pub fn cells(&self) -> usize {
        self.across * self.down
    }
}

/// The levels of a `width` x `height` input; sides that are no multiple of a stride are rounded up.
pub(super) fn levels(width: usize, height: usize, strides: &[usize]) -> Vec<Level> {
    let level = |&stride: &usize| Level {
        stride,
        across: width.div_ceil(stride),
        down: height.div_ceil(stride),
    };
    strides.iter().map(level).collect()
}

/// Cells of all levels.
pub(super) fn cells(levels: &[Level]) -> usize {
    levels.iter().map(Level::cells).sum()
}
