//! The kernel's own unity map held against the table, entry by entry.
//!
//! The kernel keeps what it made of the IVMD blocks of a segment in a list, which does not change
//! after boot (drivers/iommu/amd/init.c). Where that list is not what its rules make of the table
//! that was read, one of the two is not what it seems: the table in use was another one, or the
//! kernel is patched. Both sides are shown, and none is preferred here.

use super::amd;
use crate::{
    codes::Code,
    firmware::{Fact, Finding, Ivmd, KernelView, UnityEntry},
    model::{
        known::Known,
        unity_map::{UnityMap, UnityRow},
    },
    pci::Segment,
};

/// Where the kernel's unity maps and the table differ.
pub(crate) fn findings(model: &Known) -> Vec<Finding> {
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
    model: &Known,
    view: &KernelView,
    segment: Segment,
    map: &UnityMap,
) {
    let table: Vec<&UnityEntry> =
        view.entries.iter().filter(|entry| entry.segment == segment).collect();
    let event = map.event;
    let last = view.last_bdf.get(&segment).copied().unwrap_or_default();
    if last != map.last_devid {
        let message = format!(
            "segment {segment} ends at {} in the kernel and at {last} by the IVRS table: entries \
             for all devices cover others than the table says",
            map.last_devid
        );
        let evidence = vec![Fact::UnityLast { event, segment, last: map.last_devid }];
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
            Some((ordinal, row)) => Fact::Unity { event, segment, ordinal, row: row.fact() },
            None => Fact::UnityCount { event, segment, count: map.entries.len() },
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
    table: Option<&'a UnityEntry>,
}

/// The entries that differ. Both lists keep their order, so what is passed over on the way to the
/// next equal pair belongs together.
fn aligned<'a>(kernel: &'a [UnityRow], table: &[&'a UnityEntry]) -> Vec<Pair<'a>> {
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
fn next_equal(kernel: &[UnityRow], table: &[&UnityEntry]) -> Option<(usize, usize)> {
    let table: Vec<UnityRow> = table.iter().map(|entry| UnityRow::of_table(entry)).collect();
    let pairs = kernel
        .iter()
        .enumerate()
        .filter_map(|(at, row)| Some((at, table.iter().position(|other| other == row)?)));
    pairs.min_by_key(|(at, other)| at + other)
}
