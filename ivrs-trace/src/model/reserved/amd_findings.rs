//! What the IVRS says of a host beside the verdicts.

use std::collections::BTreeMap;

use super::{
    amd::of_block,
    memory::{AT_MOST, NOT_COMPARED, at_most, compared, not_reserved},
};
use crate::{
    codes::{Code, Severity},
    escape::printable,
    firmware::{
        Finding, Ivmd, UnityEntry,
        amd::{findings, ivrs::IvmdKind, kernel::is_effective},
    },
    model::{
        bounds,
        known::{Known, Service},
        table::Table,
    },
    pci::{Devid, Segment},
};

/// What there is to say of the table as a whole.
pub(super) fn of_table(model: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut push = |code, message| findings.push(Finding::new(code, message));
    let amd = model.host().has_unit("ivhd");
    let not_known = model.groups().next().is_some() && model.maker() == Service::NotKnown;
    match model.table() {
        Table::Absent if amd => push(
            Code::IvrsAbsent,
            "there is no /sys/firmware/acpi/tables/IVRS: the verdicts have direct regions, but not \
             the firmware entries behind them"
                .to_owned(),
        ),
        Table::Unreadable(why) if amd || not_known => push(
            Code::IvrsUnreadable,
            format!(
                "{}, so no verdict names the firmware entry behind a direct region; {}",
                printable(why),
                how_to_read(model, "reading the IVRS table takes root or CAP_DAC_READ_SEARCH")
            ),
        ),
        Table::Malformed(error) => push(
            Code::IvrsMalformed,
            format!("/sys/firmware/acpi/tables/IVRS cannot be decoded: {error}"),
        ),
        Table::Read(read) => {
            // Only where the kernel gave the IOMMU up is this the likely reason.
            for fatal in read.1.fatal.iter().filter(|_| !amd) {
                push(Code::IvrsRefused, format!("the IVRS table: {fatal}"));
            }
            for entry in read.1.entries.iter().filter(|entry| !amd && entry.fails_iommu()) {
                push(
                    Code::IvmdWithoutAccess,
                    format!(
                        "IVMD {} of the IVRS asks for a unity map without read and write: \
                         Linux cannot make one, and gives up the whole IOMMU",
                        entry.ivmd_index
                    ),
                );
            }
        }
        Table::Absent | Table::Unreadable(_) => {}
    }
    findings
}

/// How to get a table that was not read, for which it takes what is said.
pub(super) fn how_to_read(model: &Known, takes: &str) -> String {
    if model.host().copied {
        "copy it as root (docs/copy-a-host.md)".to_owned()
    } else {
        format!("{takes}, so try with sudo")
    }
}

/// What there is to say of its entries on this host.
pub(super) fn of_entries(model: &Known) -> Vec<Finding> {
    let Table::Read(read) = model.table() else { return Vec::new() };
    let (ivrs, view) = (&read.0, &read.1);
    let amd = model.host().has_unit("ivhd");
    let mut findings: Vec<Finding> = findings::of_table(ivrs, view)
        .into_iter()
        .filter(|finding| {
            // The likely reason for the entries, and what may remove them: no other note says so
            // much to the owner of a host.
            finding.severity > Severity::Note || finding.code == Code::IvrsDmaProtection
        })
        // With its reach on this host it is told below.
        .filter(|finding| finding.code != Code::IvmdWide)
        // What costs the IOMMU is told of a host that has none.
        .filter(|finding| amd || finding.severity != Severity::Error)
        .collect();
    if !amd || !view.initialises() {
        return findings;
    }
    findings.extend(at_most(wide(model)));
    let absent = effective(model).filter_map(|(block, entry)| absent(model, block, entry));
    findings.extend(at_most(absent));
    findings.extend(memory(model));
    findings
}

fn effective(model: &Known) -> impl Iterator<Item = (&Ivmd, &UnityEntry)> {
    let blocks = model.table().ivrs().into_iter().flat_map(|ivrs| &ivrs.ivmd);
    blocks
        .filter(|block| is_effective(block))
        .filter_map(|block| Some((block, model.entry(block.index)?)))
}

/// A finding that rests on these blocks, with its place where there is one only.
fn of_blocks(code: Code, message: String, blocks: &[&Ivmd]) -> Finding {
    let place = match blocks {
        [block] => Some(block.place()),
        _ => None,
    };
    let evidence = blocks.iter().take(AT_MOST).map(|block| of_block(block)).collect();
    Finding { place, evidence, ..Finding::new(code, message) }
}

/// Entries for whole buses, those for the same devices in one.
fn wide(model: &Known) -> impl Iterator<Item = Finding> {
    let mut ranges: BTreeMap<(Segment, Devid, Devid), Vec<&Ivmd>> = BTreeMap::new();
    for (block, entry) in effective(model) {
        let (first, last) = (entry.devid_start, entry.devid_end);
        let whole = block.kind == IvmdKind::All
            || first <= last && (first.bus() != last.bus() || last.0 - first.0 == 0xff);
        if whole {
            ranges.entry((entry.segment, first, last)).or_default().push(block);
        }
    }
    let told = move |((segment, first, last), blocks): (_, Vec<&Ivmd>)| {
        let coverage = model.coverage(blocks.first()?.index)?;
        let count = coverage.devices.len();
        if count == 0 {
            return None;
        }
        let reach = match coverage.gap {
            Some(_) => format!("at least {count} devices of this host"),
            None => format!(
                "{count} of the {} behind this host's AMD IOMMU, in {} group{}",
                coverage.of_devices,
                coverage.groups.len(),
                if coverage.groups.len() == 1 { "" } else { "s" },
            ),
        };
        let message = format!(
            "{} every device from {} to {last}, whatever it is: {reach}",
            subject(&blocks, "covers", "each cover"),
            crate::pci::Bdf::new(segment, first),
        );
        Some(of_blocks(Code::IvmdWide, message, &blocks))
    };
    ranges.into_iter().filter_map(told)
}

/// `IVMD 0 covers`, `IVMD 0, 1 and 2 each cover`
fn subject(blocks: &[&Ivmd], one: &str, many: &str) -> String {
    let mut numbers: Vec<String> =
        blocks.iter().take(AT_MOST).map(|block| block.index.to_string()).collect();
    if let Some(more) = blocks.len().checked_sub(AT_MOST).filter(|more| *more > 0) {
        numbers.push(format!("{more} more"));
    }
    match numbers.split_last() {
        Some((last, before)) if !before.is_empty() => {
            format!("IVMD {} and {last} {many}", before.join(", "))
        }
        _ => format!("IVMD {} {one}", numbers.join("")),
    }
}

/// An entry for which there is nobody.
fn absent(model: &Known, block: &Ivmd, entry: &UnityEntry) -> Option<Finding> {
    let (first, last) = (entry.devid_start, entry.devid_end);
    // What lies behind the last device, or between two ends in the wrong order, is told already.
    let in_reach =
        model.table().view()?.last_bdf.get(&entry.segment).is_some_and(|end| first <= *end);
    let met = !model.functions_from(entry.segment, first, last).is_empty();
    if model.gap().is_some()
        || met
        || !in_reach
        || first > last
        || !model.owners(block.index).is_empty()
    {
        return None;
    }
    let whom = if first == last { format!("{first}") } else { format!("{first} to {last}") };
    let message = format!(
        "IVMD {} names {whom} of segment {}, where this host has no PCI function and the table \
         names no ACPI device: it blocks nothing now",
        block.index, entry.segment
    );
    Some(of_blocks(Code::IvmdAbsentDevice, message, &[block]))
}

/// Entries for memory that is not kept from the operating system. Of a map that cannot be read, and
/// of memory with a purpose of its own (registers of devices), nothing is said.
fn memory(model: &Known) -> Vec<Finding> {
    let mut regions: BTreeMap<(u64, u64), Vec<&Ivmd>> = BTreeMap::new();
    for (block, entry) in effective(model) {
        if entry.length() > 0 && entry.end_inclusive() >= entry.start {
            regions.entry((entry.start, entry.end_inclusive())).or_default().push(block);
        }
    }
    let compared = compared(model, regions.len());
    let left_out = bounds::untold(regions.len() - compared, NOT_COMPARED);
    let told = |((start, end), blocks): (_, Vec<&Ivmd>)| {
        let (told, lines) = not_reserved(model, start, end)?;
        let message = format!(
            "{} for {start:#x} to {end:#x}, which {told}: Linux may use unreserved memory for \
             something else",
            subject(&blocks, "asks", "ask")
        );
        let mut finding = of_blocks(Code::IvmdNotReserved, message, &blocks);
        finding.evidence.extend(lines);
        Some(finding)
    };
    at_most(regions.into_iter().take(compared).filter_map(told))
        .into_iter()
        .chain(left_out)
        .collect()
}
