//! Bounds-checked reading and writing of the wire format: little endian, unaligned, strings with a length before them.

use super::WireError;

/// Appends values to a scratch buffer that is reused from frame to frame.
pub(super) struct Put<'a>(pub &'a mut Vec<u8>);

macro_rules! put {
    ($($name:ident: $t:ty),*) => {$(
        pub fn $name(&mut self, v: $t) {
            self.0.extend_from_slice(&v.to_le_bytes());
        }
    )*};
}

impl Put<'_> {
    put!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64, f32: f32, f64: f64);

    /// A string of at most 65535 bytes; `None` when it is longer.
    pub fn str(&mut self, s: &str) -> Option<()> {
        self.u16(u16::try_from(s.len()).ok()?);
        self.0.extend_from_slice(s.as_bytes());
        Some(())
    }

    /// Bytes with a 32-bit length before them.
    pub fn blob(&mut self, b: &[u8]) -> Option<()> {
        self.u32(u32::try_from(b.len()).ok()?);
        self.0.extend_from_slice(b);
        Some(())
    }

    /// Writes `tag`, a length to be filled in, and what `body` appends; takes everything back if `body` returns `None`.
    pub fn record(&mut self, tag: u16, body: impl FnOnce(&mut Put) -> Option<()>) -> bool {
        let start = self.0.len();
        self.u16(tag);
        self.u32(0);
        let from = self.0.len();
        if body(&mut Put(self.0)).is_none() {
            self.0.truncate(start);
            return false;
        }
        let Ok(len) = u32::try_from(self.0.len() - from) else {
            self.0.truncate(start);
            return false;
        };
        self.0[from - 4..from].copy_from_slice(&len.to_le_bytes());
        true
    }
}

/// Reads values from bytes that nobody vouches for.
#[derive(Clone, Copy)]
pub(super) struct Get<'a>(pub &'a [u8]);

macro_rules! get {
    ($($name:ident: $t:ty),*) => {$(
        pub fn $name(&mut self) -> Result<$t, WireError> {
            let (head, rest) = self.0.split_first_chunk().ok_or(WireError::Truncated)?;
            self.0 = rest;
            Ok(<$t>::from_le_bytes(*head))
        }
    )*};
}

impl<'a> Get<'a> {
    get!(u8: u8, u16: u16, u32: u32, u64: u64, i32: i32, i64: i64, f32: f32, f64: f64);

    pub fn take(&mut self, n: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(WireError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// A string without a NUL in it, since it goes to C.
    pub fn str(&mut self) -> Result<&'a str, WireError> {
        let n = self.u16()?;
        let s = std::str::from_utf8(self.take(n.into())?).map_err(|_| WireError::Text)?;
        if s.contains('\0') {
            Err(WireError::Text)
        } else {
            Ok(s)
        }
    }

    /// A string that GStreamer keeps for the rest of the process's life: a label, the name of a structure or of a field.
    /// Therefore not too long, and not endlessly many new ones.
    pub fn name(&mut self) -> Result<&'a str, WireError> {
        let s = self.str()?;
        super::names::admit(s, &super::names::NEW)?;
        Ok(s)
    }

    pub fn blob(&mut self) -> Result<&'a [u8], WireError> {
        let n = self.u32()?;
        self.take(n as usize)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
