//! `GstStructure` as bytes: numbers bit by bit, arrays and structures nested. Nothing goes through GStreamer's text form, which is
//! slow and rounds doubles.

use gst::prelude::*;

use super::WireError;
use super::bytes::{Get, Put};

/// Deeper nesting than this is refused on both sides.
const MAX_DEPTH: u32 = 8;

mod tag {
    pub const BOOL: u8 = 1;
    pub const INT: u8 = 2;
    pub const UINT: u8 = 3;
    pub const INT64: u8 = 4;
    pub const UINT64: u8 = 5;
    pub const FLOAT: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const STRING: u8 = 8;
    pub const NO_STRING: u8 = 9;
    pub const FRACTION: u8 = 10;
    pub const ARRAY: u8 = 11;
    pub const LIST: u8 = 12;
    pub const STRUCTURE: u8 = 13;
    pub const VARIANT: u8 = 14;
}

/// Appends a structure; fields of types that cannot leave the process (pointers, objects) are left out and counted in `dropped`.
pub(super) fn put_structure(out: &mut Put, s: &gst::StructureRef, dropped: &mut u32) -> Option<()> {
    structure(out, s, MAX_DEPTH, dropped)
}

fn structure(out: &mut Put, s: &gst::StructureRef, depth: u32, dropped: &mut u32) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    out.str(s.name())?;
    let count_at = out.0.len();
    out.u16(0);
    let mut n = 0u16;
    for (name, v) in s.iter() {
        let start = out.0.len();
        let fits = n < u16::MAX && out.str(name.as_str()).is_some();
        if fits && value(out, v, depth, dropped).is_some() {
            n += 1;
        } else {
            out.0.truncate(start);
            *dropped += 1;
        }
    }
    out.0[count_at..count_at + 2].copy_from_slice(&n.to_le_bytes());
    Some(())
}

fn value(out: &mut Put, v: &glib::Value, depth: u32, dropped: &mut u32) -> Option<()> {
    use glib::Type;
    let t = v.type_();
    // The order is that of frequency in detections.
    if t == Type::F64 {
        out.u8(tag::DOUBLE);
        out.f64(v.get().ok()?);
    } else if t == Type::I32 {
        out.u8(tag::INT);
        out.i32(v.get().ok()?);
    } else if t == gst::Array::static_type() {
        items(
            out,
            tag::ARRAY,
            v.get::<gst::ArrayRef>().ok()?.as_slice(),
            depth,
            dropped,
        )?;
    } else if t == Type::STRING {
        match v.get::<Option<&str>>().ok()? {
            Some(s) => {
                out.u8(tag::STRING);
                out.blob(s.as_bytes())?;
            }
            None => out.u8(tag::NO_STRING),
        }
    } else if t == Type::BOOL {
        out.u8(tag::BOOL);
        out.u8(v.get::<bool>().ok()?.into());
    } else if t == Type::U32 {
        out.u8(tag::UINT);
        out.u32(v.get().ok()?);
    } else if t == Type::I64 {
        out.u8(tag::INT64);
        out.i64(v.get().ok()?);
    } else if t == Type::U64 {
        out.u8(tag::UINT64);
        out.u64(v.get().ok()?);
    } else if t == Type::F32 {
        out.u8(tag::FLOAT);
        out.f32(v.get().ok()?);
    } else if t == gst::Fraction::static_type() {
        let f = v.get::<gst::Fraction>().ok()?;
        out.u8(tag::FRACTION);
        out.i32(f.numer());
        out.i32(f.denom());
    } else if t == gst::List::static_type() {
        items(
            out,
            tag::LIST,
            v.get::<gst::ListRef>().ok()?.as_slice(),
            depth,
            dropped,
        )?;
    } else if t == gst::Structure::static_type() {
        out.u8(tag::STRUCTURE);
        structure(
            out,
            v.get::<Option<&gst::StructureRef>>().ok()??,
            depth,
            dropped,
        )?;
    } else if t == Type::VARIANT {
        let variant = v.get::<Option<glib::Variant>>().ok()??;
        out.u8(tag::VARIANT);
        out.str(variant.type_().as_str())?;
        out.blob(variant.data())?;
    } else {
        return None;
    }
    Some(())
}

fn items(
    out: &mut Put,
    tag: u8,
    values: &[glib::SendValue],
    depth: u32,
    dropped: &mut u32,
) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    out.u8(tag);
    out.u32(u32::try_from(values.len()).ok()?);
    for v in values {
        value(out, v, depth, dropped)?; // leaving out one item would move the others
    }
    Some(())
}

/// Reads what [`put_structure`] wrote.
pub(super) fn get_structure(from: &mut Get) -> Result<gst::Structure, WireError> {
    read_structure(from, MAX_DEPTH)
}

/// GStreamer's own rule for the names of structures.
pub(super) fn is_structure_name(name: &str) -> bool {
    let mut chars = name.bytes();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || b"/-_.:+".contains(&c))
}

fn read_structure(from: &mut Get, depth: u32) -> Result<gst::Structure, WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError::Depth)?;
    let name = from.name()?;
    if !is_structure_name(name) {
        return Err(WireError::Text);
    }
    let mut s = gst::Structure::new_empty(name);
    for _ in 0..from.u16()? {
        let field = from.name()?;
        if field.is_empty() {
            return Err(WireError::Text);
        }
        s.set_value(field, read_value(from, depth)?);
    }
    Ok(s)
}

fn read_value(from: &mut Get, depth: u32) -> Result<glib::SendValue, WireError> {
    Ok(match from.u8()? {
        tag::DOUBLE => from.f64()?.to_send_value(),
        tag::INT => from.i32()?.to_send_value(),
        tag::ARRAY => gst::Array::from_values(read_items(from, depth)?).to_send_value(),
        tag::STRING => {
            let s = std::str::from_utf8(from.blob()?).map_err(|_| WireError::Text)?;
            if s.contains('\0') {
                return Err(WireError::Text);
            }
            s.to_send_value()
        }
        tag::NO_STRING => None::<String>.to_send_value(),
        tag::BOOL => (from.u8()? != 0).to_send_value(),
        tag::UINT => from.u32()?.to_send_value(),
        tag::INT64 => from.i64()?.to_send_value(),
        tag::UINT64 => from.u64()?.to_send_value(),
        tag::FLOAT => from.f32()?.to_send_value(),
        tag::FRACTION => {
            let (n, d) = (from.i32()?, from.i32()?);
            if d == 0 || n == i32::MIN || d == i32::MIN {
                return Err(WireError::Value);
            }
            gst::Fraction::new(n, d).to_send_value()
        }
        tag::LIST => gst::List::from_values(read_items(from, depth)?).to_send_value(),
        tag::STRUCTURE => read_structure(from, depth)?.to_send_value(),
        tag::VARIANT => {
            let ty = from.str()?;
            let data = from.blob()?;
            let ty = glib::VariantTy::new(ty).map_err(|_| WireError::Value)?;
            if !ty.is_definite() {
                return Err(WireError::Value);
            }
            // Not trusted: GVariant checks such data itself and reads what is malformed as default values.
            glib::Variant::from_data_with_type(Vec::from(data), ty).to_send_value()
        }
        _ => return Err(WireError::Value),
    })
}

fn read_items(from: &mut Get, depth: u32) -> Result<Vec<glib::SendValue>, WireError> {
    let depth = depth.checked_sub(1).ok_or(WireError::Depth)?;
    let n = from.u32()? as usize;
    // Each item takes at least one byte, so a length that cannot be true costs nothing.
    if n > from.0.len() {
        return Err(WireError::Truncated);
    }
    let items: Vec<_> = (0..n)
        .map(|_| read_value(from, depth))
        .collect::<Result<_, _>>()?;
    // GStreamer makes no array of two kinds of values, and complains loudly where it is asked to.
    let kind = items.first().and_then(kind_of);
    let differs = |item| kind_of(item).is_some_and(|other| Some(other) != kind);
    if kind.is_some() && items.iter().any(differs) {
        return Err(WireError::Value);
    }
    Ok(items)
}

/// The type of a value, of arrays and lists that of what is in them; none where nothing is.
fn kind_of(value: &glib::SendValue) -> Option<glib::Type> {
    if let Ok(items) = value.get::<gst::ArrayRef>() {
        return items.as_slice().first().and_then(kind_of);
    }
    if let Ok(items) = value.get::<gst::ListRef>() {
        return items.as_slice().first().and_then(kind_of);
    }
    Some(value.type_())
}
