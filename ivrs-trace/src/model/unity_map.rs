//! The kernel's own unity maps, put together from single events.

use std::collections::BTreeMap;

use ivrs_trace_common::MAX_UNITY;

use crate::{
    event::{Body, Event},
    firmware::{UnityEntry, UnityFact},
    pci::{Bdf, Devid, Segment},
};

/// Segments and lists in the making that are remembered; a host has a few.
const MAX_SEGMENTS: usize = 1024;

/// The kernel's unity map of a segment, as it was walked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnityMap {
    /// The entries in their order.
    pub entries: Vec<UnityRow>,
    /// `last_bdf` of the segment, where an entry for all devices ends.
    pub last_devid: Devid,
    /// Number of the event that closed the list.
    pub event: u64,
}

impl UnityMap {
    /// The position from 0 of an entry that is what the table leads to. Where there are several of
    /// them, that of the one in the same place is preferred.
    #[must_use]
    pub fn place_of(&self, entry: &UnityEntry) -> Option<usize> {
        let sought = UnityRow::of_table(entry);
        let there = self.entries.get(entry.ordinal) == Some(&sought);
        let first = || self.entries.iter().position(|row| *row == sought);
        there.then_some(entry.ordinal).or_else(first)
    }
}

/// An entry of the kernel's unity map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnityRow {
    /// First devid, inclusive.
    pub devid_start: Devid,
    /// Last devid, inclusive.
    pub devid_end: Devid,
    /// First address.
    pub start: u64,
    /// End address, exclusive.
    pub end: u64,
    /// 1 read, 2 write; higher bits mean nothing.
    pub prot: u32,
}

impl UnityRow {
    pub(super) fn of_table(entry: &UnityEntry) -> Self {
        Self {
            devid_start: entry.devid_start,
            devid_end: entry.devid_end,
            start: entry.start,
            end: entry.end_exclusive,
            prot: u32::from(entry.prot.0) & ACCESS,
        }
    }

    /// The entry as evidence.
    pub(super) fn fact(&self) -> UnityFact {
        UnityFact {
            first: self.devid_start,
            last: self.devid_end,
            start: self.start,
            end: self.end.wrapping_sub(1),
            prot: self.prot,
        }
    }

    /// `00:00.0 to 0f:1f.7, 0x1000 to 0x1fff, read and write`, as segment `segment` has it.
    pub(super) fn text(&self, segment: Segment) -> String {
        let first = Bdf::new(segment, self.devid_start);
        let whom = if self.devid_start == self.devid_end {
            first.to_string()
        } else {
            format!("{first} to {}", self.devid_end)
        };
        let memory = if self.start == self.end {
            format!("{:#x}, no length", self.start)
        } else {
            format!("{:#x} to {:#x}", self.start, self.end.wrapping_sub(1))
        };
        let access = match self.prot & ACCESS {
            3 => "read and write",
            2 => "write",
            1 => "read",
            _ => "no access",
        };
        format!("{whom}, {memory}, {access}")
    }
}

/// The bits of `prot` that mean something (`IOMMU_PROT_IR`, `IOMMU_PROT_IW`).
const ACCESS: u32 = 3;

/// The kernel's unity maps, put together from single events.
#[derive(Default)]
pub(crate) struct UnityMaps {
    pub(super) whole: BTreeMap<u16, UnityMap>,
    /// Lists that are not closed, by thread: the next ordinal, and the entries.
    open: BTreeMap<u32, (u16, Vec<UnityRow>)>,
}

impl UnityMaps {
    pub(crate) fn observe(&mut self, number: u64, event: &Event) {
        match &event.body {
            Body::UnityEntry { ordinal, segment, devid_start, devid_end, start, end, prot } => {
                if *ordinal == 0 {
                    self.open.insert(event.tid, (*segment, Vec::new()));
                }
                let Some((of, entries)) = self.open.get_mut(&event.tid) else { return };
                let next = usize::try_from(*ordinal) == Ok(entries.len());
                if of != segment || !next || *ordinal >= MAX_UNITY {
                    // Events were lost: this would be a list that the kernel does not have.
                    self.open.remove(&event.tid);
                    return;
                }
                entries.push(UnityRow {
                    devid_start: Devid(*devid_start),
                    devid_end: Devid(*devid_end),
                    start: *start,
                    end: *end,
                    prot: *prot & ACCESS,
                });
            }
            Body::UnityEnd { segment, last_devid, count, incomplete } => {
                let open = self.open.remove(&event.tid).filter(|(of, _)| of == segment);
                let entries = open.map(|(_, entries)| entries).unwrap_or_default();
                if !incomplete && usize::try_from(*count) == Ok(entries.len()) {
                    let last_devid = Devid(*last_devid);
                    let map = UnityMap { entries, last_devid, event: number };
                    self.whole.insert(*segment, map);
                }
            }
            _ => {}
        }
        while self.open.len() > MAX_SEGMENTS {
            self.open.pop_first();
        }
        while self.whole.len() > MAX_SEGMENTS {
            self.whole.pop_last();
        }
    }

    pub(crate) fn get(&self, segment: Segment) -> Option<&UnityMap> {
        self.whole.get(&segment.0)
    }
}
