//! `GstAnalyticsRelationMeta` (GStreamer 1.24 and later): objects, tracks and classes, and how they are related.

use gst_analytics::*;

use super::WireError;
use super::bytes::{Get, Put};

/// More entries than this in one frame are refused: relations are counted in pairs.
const MAX_ENTRIES: usize = 4096;
const NO_ENTRY: u32 = u32::MAX;

mod tag {
    pub const OBJECT: u8 = 1;
    pub const TRACKING: u8 = 2;
    pub const CLASSES: u8 = 3;
}

/// Writes entries and relations. Entries of kinds this library does not know stay behind; then the ids of those after them
/// change, and the answer is `Some(Some(new id by old id))`.
pub(super) fn encode(
    out: &mut Put,
    meta: &gst::MetaRef<AnalyticsRelationMeta>,
    dropped: &mut u32,
) -> Option<Option<Vec<u32>>> {
    if meta.len() > MAX_ENTRIES {
        return None;
    }
    let mut new_ids = Vec::with_capacity(meta.len());
    let count_at = out.0.len();
    out.u32(0);
    let mut n = 0;
    for entry in meta.iter::<AnalyticsAnyMtd>() {
        new_ids.resize(entry.id() as usize, NO_ENTRY);
        let start = out.0.len();
        if put_entry(out, &entry).is_some() {
            new_ids.push(n);
            n += 1;
        } else {
            out.0.truncate(start);
            new_ids.push(NO_ENTRY);
            *dropped += 1;
        }
    }
    out.0[count_at..count_at + 4].copy_from_slice(&n.to_le_bytes());
    for (first, new_first) in new_ids.iter().enumerate().filter(|(_, n)| **n != NO_ENTRY) {
        for (second, new_second) in new_ids.iter().enumerate().filter(|(_, n)| **n != NO_ENTRY) {
            let relation = meta.relation(first as u32, second as u32);
            if first != second && !relation.is_empty() {
                [*new_first, *new_second, relation.bits()]
                    .into_iter()
                    .for_each(|v| out.u32(v));
            }
        }
    }
    let moved = new_ids
        .iter()
        .enumerate()
        .any(|(old, new)| old as u32 != *new);
    Some(moved.then_some(new_ids))
}

fn put_entry(out: &mut Put, entry: &AnalyticsMtdRef<AnalyticsAnyMtd>) -> Option<()> {
    if let Some(od) = entry.downcast_ref::<AnalyticsODMtd>() {
        let at = od.location().ok()?;
        out.u8(tag::OBJECT);
        out.str(od.obj_type().map_or("", |q| q.as_str()))?;
        [at.x, at.y, at.w, at.h]
            .into_iter()
            .for_each(|v| out.i32(v));
        out.f32(at.loc_conf_lvl);
    } else if let Some(t) = entry.downcast_ref::<AnalyticsTrackingMtd>() {
        let (id, first_seen, last_seen, lost) = t.info();
        out.u8(tag::TRACKING);
        [id, first_seen.nseconds(), last_seen.nseconds()]
            .into_iter()
            .for_each(|v| out.u64(v));
        out.u8(lost.into());
    } else if let Some(c) = entry.downcast_ref::<AnalyticsClassificationMtd>() {
        out.u8(tag::CLASSES);
        out.u16(u16::try_from(c.len()).ok()?);
        for i in 0..c.len() {
            out.str(c.quark(i).as_str())?;
            out.f32(c.level(i));
        }
    } else {
        return None;
    }
    Some(())
}

/// Adds what [`encode`] wrote.
pub(super) fn apply(from: &mut Get, buffer: &mut gst::BufferRef) -> Result<(), WireError> {
    let n = from.u32()? as usize;
    if n > MAX_ENTRIES || n > from.0.len() {
        return Err(WireError::Value);
    }
    AnalyticsRelationMeta::add(buffer);
    for _ in 0..n {
        add_entry(from, buffer)?;
    }
    let mut meta = buffer
        .meta_mut::<AnalyticsRelationMeta>()
        .ok_or(WireError::Value)?;
    while !from.is_empty() {
        let (first, second, relation) = (from.u32()?, from.u32()?, from.u32()?);
        if first as usize >= n || second as usize >= n {
            return Err(WireError::Value);
        }
        let relation = RelTypes::from_bits_truncate(relation);
        meta.set_relation(relation, first, second)
            .map_err(|_| WireError::Value)?;
    }
    Ok(())
}

fn add_entry(from: &mut Get, buffer: &mut gst::BufferRef) -> Result<(), WireError> {
    let refused = |_| WireError::Value;
    let mut meta = buffer
        .meta_mut::<AnalyticsRelationMeta>()
        .ok_or(WireError::Value)?;
    match from.u8()? {
        tag::OBJECT => {
            let label = from.name()?;
            let (x, y, w, h) = (from.i32()?, from.i32()?, from.i32()?, from.i32()?);
            meta.add_od_mtd(glib::Quark::from_str(label), x, y, w, h, from.f32()?)
                .map_err(refused)?;
        }
        tag::TRACKING => {
            let id = from.u64()?;
            let time = |t| gst::ClockTime::try_from(t).map_err(|_| WireError::Value);
            let (first_seen, last_seen) = (time(from.u64()?)?, time(from.u64()?)?);
            let lost = from.u8()? != 0;
            let at = meta.add_tracking_mtd(id, first_seen).map_err(refused)?.id();
            let mut tracking = meta
                .mtd_mut::<AnalyticsTrackingMtd>(at)
                .ok_or(WireError::Value)?;
            tracking.update_last_seen(last_seen).map_err(refused)?;
            if lost {
                tracking.set_lost().map_err(refused)?;
            }
        }
        tag::CLASSES => {
            let n = usize::from(from.u16()?);
            let mut labels = Vec::with_capacity(n.min(from.0.len()));
            let mut levels = Vec::with_capacity(n.min(from.0.len()));
            for _ in 0..n {
                labels.push(glib::Quark::from_str(from.name()?));
                levels.push(from.f32()?);
            }
            meta.add_cls_mtd(&levels, &labels).map_err(refused)?;
        }
        _ => return Err(WireError::Value),
    }
    Ok(())
}
