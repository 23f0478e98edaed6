//! Memory that goes round: a camera fills it, a session runs it.

use std::ops::{Deref, DerefMut};

use half::f16;
use regiondetect_core::decode::{ElementType, InputSpec};
use regiondetect_core::tensor::{Shown, TensorMut};

/// Memory for images of a model's input.
#[derive(Debug)]
pub(super) struct Input {
    pub data: Data,
    shown: Shown,
}

/// Values of the model's type.
#[derive(Debug)]
pub(super) enum Data {
    F32(Lines<f32>),
    F16(Lines<f16>),
    U8(Lines<u8>),
}

impl Input {
    /// Room for `images` images.
    pub fn new(spec: &InputSpec, images: usize) -> Self {
        let length = spec.tensor.len() * images;
        let data = match spec.element {
            ElementType::F16 => Data::F16(Lines::new(length)),
            ElementType::U8 => Data::U8(Lines::new(length)),
            _ => Data::F32(Lines::new(length)),
        };
        Self {
            data,
            shown: Shown::default(),
        }
    }

    pub fn len(&self) -> usize {
        match &self.data {
            Data::F32(data) => data.len(),
            Data::F16(data) => data.len(),
            Data::U8(data) => data.len(),
        }
    }

    /// One image's memory, and what it shows by now.
    pub fn as_mut(&mut self) -> (TensorMut<'_>, &mut Shown) {
        let tensor = match &mut self.data {
            Data::F32(data) => TensorMut::F32(data),
            Data::F16(data) => TensorMut::F16(data),
            Data::U8(data) => TensorMut::U8(data),
        };
        (tensor, &mut self.shown)
    }

    /// Copies one image to place `image` of this batch.
    pub fn copy_image(&mut self, image: usize, from: &Self) {
        fn copy<T: Copy>(to: &mut [T], image: usize, from: &[T]) {
            to[image * from.len()..][..from.len()].copy_from_slice(from);
        }
        match (&mut self.data, &from.data) {
            (Data::F32(to), Data::F32(from)) => copy(to, image, from),
            (Data::F16(to), Data::F16(from)) => copy(to, image, from),
            (Data::U8(to), Data::U8(from)) => copy(to, image, from),
            _ => unreachable!("all inputs of an engine are made by Input::new for one model"),
        }
    }
}

/// Memory that begins with a cache line: writing vectors across lines costs a tenth more.
#[derive(Debug)]
pub(super) struct Lines<T> {
    data: Vec<T>,
    start: usize,
    length: usize,
}

impl<T: Copy + Default> Lines<T> {
    fn new(length: usize) -> Self {
        const LINE: usize = 64;
        let spare = LINE / size_of::<T>();
        let data = vec![T::default(); length + spare];
        // A vector that does not grow stays where it is.
        let start = data.as_ptr().align_offset(LINE).min(spare);
        Self {
            data,
            start,
            length,
        }
    }
}

impl<T> Deref for Lines<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data[self.start..][..self.length]
    }
}

impl<T> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..][..self.length]
    }
}
