//! The kernel's own unity map held against the table, entry by entry.
//!
//! The kernel keeps what it made of the IVMD blocks of a segment in a list, which does not change
//! after boot (drivers/iommu/amd/init.c). Where that list is not what its rules make of the table
//! that was read, one of the two is not what it seems: the table in use was another one, or the
//! kernel is patched. Both sides are shown, and none is preferred here.

use std::collections::BTreeMap;

use ivrs_trace_common::MAX_UNITY;

use super::amd;
use crate::{
    codes::Code,
    event::{Body, Event},
    firmware::{
        Ivmd,
        amd::kernel::{self, KernelView},
    },
    model::{Finding, Model},
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
    pub fn place_of(&self, entry: &kernel::UnityEntry) -> Option<usize> {
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
    fn of_table(entry: &kernel::UnityEntry) -> Self {
        Self {
            devid_start: entry.devid_start,
            devid_end: entry.devid_end,
            start: entry.start,
            end: entry.end_exclusive,
            prot: u32::from(entry.prot.0) & ACCESS,
        }
    }

    /// `00:00.0 to 0f:1f.7, 0x1000 to 0x1fff, read and write`, as segment `segment` has it.
    fn text(&self, segment: Segment) -> String {
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
    whole: BTreeMap<u16, UnityMap>,
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

/// Where the kernel's unity maps and the table differ.
pub(crate) fn findings(model: &Model) -> Vec<Finding> {
    let Some(view) = model.table.view().filter(|view| view.initialises()) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for (segment, map) in &model.unity.whole {
        segment_findings(&mut findings, model, view, Segment(*segment), map);
    }
    findings
}

fn segment_findings(
    findings: &mut Vec<Finding>,
    model: &Model,
    view: &KernelView,
    segment: Segment,
    map: &UnityMap,
) {
    let table: Vec<&kernel::UnityEntry> =
        view.entries.iter().filter(|entry| entry.segment == segment).collect();
    let walked = format!("event {}: the kernel's unity map of segment {segment}", map.event);
    let last = view.last_bdf.get(&segment).copied().unwrap_or_default();
    if last != map.last_devid {
        let message = format!(
            "segment {segment} ends at {} in the kernel and at {last} by the IVRS table: entries \
             for all devices cover others than the table says",
            map.last_devid
        );
        let evidence = vec![format!("{walked} ends at {}", map.last_devid)];
        let finding = Finding::new(Code::UnityLastDevid, message);
        findings.push(Finding { evidence, ..finding });
    }
    for Pair { kernel, table } in aligned(&map.entries, &table) {
        let of_kernel = kernel.map(|(_, row)| row.text(segment));
        let of_table = table.map(|entry| {
            format!("IVMD {}: {}", entry.ivmd_index, UnityRow::of_table(entry).text(segment))
        });
        let (code, message) = match (of_kernel, of_table) {
            (Some(kernel), Some(table)) => (
                Code::UnityDiffers,
                format!(
                    "the kernel's unity map differs from what the IVRS table leads to: it has \
                     {kernel}, instead of {table}"
                ),
            ),
            (Some(kernel), None) => (
                Code::UnityOnlyInKernel,
                format!(
                    "the kernel's unity map has an entry that the IVRS table does not lead to: \
                     {kernel}"
                ),
            ),
            (None, Some(table)) => (
                Code::UnityOnlyInTable,
                format!("the kernel's unity map lacks an entry of the IVRS table, {table}"),
            ),
            (None, None) => continue,
        };
        let block = table.and_then(|entry| model.ivmd(entry.ivmd_index));
        let mut evidence = vec![match kernel {
            Some((ordinal, row)) => format!(
                "{walked}, entry {ordinal}: devid {:#06x} to {:#06x}, {:#x} to {:#x}, prot {:#x}",
                row.devid_start.0,
                row.devid_end.0,
                row.start,
                row.end.wrapping_sub(1),
                row.prot,
            ),
            None => format!("{walked} has {} entries", map.entries.len()),
        }];
        evidence.extend(block.map(amd::of_block));
        let place = block.map(Ivmd::place);
        findings.push(Finding { place, evidence, ..Finding::new(code, message) });
    }
}

/// Two entries that stand at the same place and differ, or one that has no other.
struct Pair<'a> {
    /// The entry of the kernel, and its position in the segment's list.
    kernel: Option<(usize, &'a UnityRow)>,
    table: Option<&'a kernel::UnityEntry>,
}

/// The entries that differ. Both lists keep their order, so what is passed over on the way to the
/// next equal pair belongs together.
fn aligned<'a>(kernel: &'a [UnityRow], table: &[&'a kernel::UnityEntry]) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    let (mut kernel, mut table, mut first) = (kernel, table, 0);
    while !kernel.is_empty() || !table.is_empty() {
        let (passed, others) = next_equal(kernel, table).unwrap_or((kernel.len(), table.len()));
        for at in 0..passed.max(others) {
            pairs.push(Pair {
                kernel: kernel.get(at).filter(|_| at < passed).map(|row| (first + at, row)),
                table: table.get(at).filter(|_| at < others).copied(),
            });
        }
        first += passed + 1;
        kernel = kernel.get(passed + 1..).unwrap_or_default();
        table = table.get(others + 1..).unwrap_or_default();
    }
    pairs
}

/// The first equal pair: how many entries are passed over on both sides, the fewest in all.
fn next_equal(kernel: &[UnityRow], table: &[&kernel::UnityEntry]) -> Option<(usize, usize)> {
    let table: Vec<UnityRow> = table.iter().map(|entry| UnityRow::of_table(entry)).collect();
    let pairs = kernel
        .iter()
        .enumerate()
        .filter_map(|(at, row)| Some((at, table.iter().position(|other| other == row)?)));
    pairs.min_by_key(|(at, other)| at + other)
}
