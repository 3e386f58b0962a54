//! What there is to tell of a host, and of its table on this host, beside the verdicts.
//!
//! Findings that the table alone gives rise to come from [`findings::of_table`]; here those are
//! added that need the host: which devices exist, what the memory is, what the kernel was told.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    DmarTable, Finding, Model, RequireDirect, Severity, Table, options,
    reserved::{amd, intel},
};
use crate::{
    codes::Code,
    escape::printable,
    firmware::{
        Rmrr,
        amd::{
            ivrs::{Ivmd, IvmdKind},
            kernel::{UnityEntry, is_effective},
        },
        findings,
    },
    host::{MapSource, Reading, RegionKind},
    pci::{Devid, Segment},
};

/// How many blocks, and how many lines of a memory map, are told one by one in a finding's evidence.
const AT_MOST: usize = 32;

/// What there is to say of the host as a whole.
pub(super) fn of_host(model: &Model) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut push = |code, message| findings.push(Finding::new(code, message));
    let host = model.host();
    let units: BTreeSet<&str> =
        host.iommus.value().into_iter().flatten().map(String::as_str).collect();
    let no_groups = model.groups().next().is_none();
    if let Reading::Unreadable(why) = &host.groups {
        push(Code::GroupsUnreadable, format!("IOMMU groups: {}", printable(why)));
    } else if no_groups {
        push(
            Code::NoIommuGroups,
            "this host has no IOMMU groups: its IOMMU is absent or switched off (firmware set-up, \
             or the kernel command line), so VFIO can claim no device and there is nothing to judge"
                .to_owned(),
        );
    } else if units.is_empty() {
        push(
            Code::NoIommuShown,
            "/sys/class/iommu shows no IOMMU, though there are groups: nothing shows which devices \
             an AMD IOMMU serves, so no verdict names an entry of the IVRS"
                .to_owned(),
        );
    } else if host.has_unit("smmu") {
        push(Code::ArmRegions, arm(model));
    } else if !host.has_unit("ivhd") && !host.has_unit("dmar") {
        let names: Vec<String> = units.iter().map(|name| printable(name)).collect();
        push(
            Code::NotAmd,
            format!(
                "the IOMMU of this host is neither AMD's nor Intel's ({}): direct regions come from \
                 another table than IVRS and DMAR, so no verdict names an entry",
                names.join(", ")
            ),
        );
    }
    findings.extend(dmar(model));
    let mut push = |code, message| findings.push(Finding::new(code, message));
    let amd = units.iter().any(|unit| unit.starts_with("ivhd"));
    match model.table() {
        Table::Absent if amd => push(
            Code::IvrsAbsent,
            "there is no /sys/firmware/acpi/tables/IVRS: the verdicts have direct regions, but not \
             the firmware entries behind them"
                .to_owned(),
        ),
        Table::Unreadable(why) => push(
            Code::IvrsUnreadable,
            format!(
                "{}, so no verdict names the firmware entry behind a direct region; reading the IVRS \
                 table takes root or CAP_DAC_READ_SEARCH, so try with sudo",
                printable(why)
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
        Table::Absent => {}
    }
    findings.extend(of_kernel(model, no_groups));
    findings
}

/// What there is to say of the kernel.
fn of_kernel(model: &Model, no_groups: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut push = |code, message| findings.push(Finding::new(code, message));
    if model.refuses() == RequireDirect::Unknown && !no_groups {
        push(
            Code::NoBtf,
            format!(
                "whether this kernel refuses devices with direct regions is not known: {}",
                model.refuses_by().join("; ")
            ),
        );
    }
    if let Some(option) = options::relax_unity(model.host()) {
        push(
            Code::RelaxUnity,
            format!(
                "the kernel command line has {}, which no released kernel knows: one patched for \
                 it gives devices away although firmware may still use their memory, any other \
                 ignores it; the verdicts follow the types of the regions that the kernel shows",
                printable(option)
            ),
        );
    }
    findings
}

/// What there is to say of an ARM host, whose tables are not read: the regions, and where they come
/// from.
fn arm(model: &Model) -> String {
    let mut ranges: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for group in model.groups() {
        for region in group.regions.value().into_iter().flatten() {
            if region.kind == RegionKind::Direct {
                let groups = ranges.entry((region.start, region.end_inclusive)).or_default();
                groups.push(group.id.to_string());
            }
        }
    }
    let told: Vec<String> = ranges
        .iter()
        .take(AT_MOST)
        .map(|((start, end), groups)| {
            format!("{start:#x} to {end:#x} (group {})", groups.join(", "))
        })
        .collect();
    let what = if told.is_empty() {
        "the IOMMU of this host is ARM's, and no group has a direct region; one".to_owned()
    } else {
        format!("the IOMMU of this host is ARM's, with direct regions {}; each", told.join(", "))
    };
    format!(
        "{what} would come from an RMR node of the ACPI table IORT, or from a reserved-memory node \
         with iommu-addresses in the device tree; these are not read here"
    )
}

/// What there is to say of the DMAR as a whole.
fn dmar(model: &Model) -> Option<Finding> {
    let intel = model.is_intel_host();
    let (code, message) = match model.dmar() {
        DmarTable::Absent if intel => (
            Code::DmarAbsent,
            "there is no /sys/firmware/acpi/tables/DMAR: the verdicts have direct regions, but not \
             the RMRRs behind them"
                .to_owned(),
        ),
        DmarTable::Unreadable(why) if intel => (
            Code::DmarUnreadable,
            format!(
                "{}, so no verdict names the RMRR behind a direct region; only root may read the \
                 DMAR table, so try with sudo",
                printable(why)
            ),
        ),
        DmarTable::Malformed(error) => (
            Code::DmarMalformed,
            format!("/sys/firmware/acpi/tables/DMAR cannot be decoded: {error}"),
        ),
        // Only where the kernel gave the IOMMU up is this the likely reason.
        DmarTable::Read(dmar) if !intel => {
            (Code::DmarRefused, format!("the DMAR table: {}", dmar.fatal()?))
        }
        DmarTable::Read(_) | DmarTable::Absent | DmarTable::Unreadable(_) => return None,
    };
    Some(Finding::new(code, message))
}

/// What there is to say of the DMAR's entries on this host.
fn of_rmrrs(model: &Model) -> Vec<Finding> {
    let Some(dmar) = model.dmar().dmar() else { return Vec::new() };
    let intel = model.is_intel_host();
    let mut findings: Vec<Finding> = findings::of_dmar(dmar)
        .into_iter()
        .filter(|finding| finding.severity > Severity::Note)
        .collect();
    for (rmrr, scope, bdf) in intel::mismatches(model).into_iter().take(AT_MOST) {
        let message = format!(
            "RMRR {} names {bdf} as another kind of device than it is ({scope}): Linux gives the \
             IOMMU up for that at boot",
            rmrr.index
        );
        findings.push(of_structure(Code::RmrrScopeMismatch, message, rmrr));
    }
    if !intel {
        return findings;
    }
    let mut relaxable = Vec::new();
    // Where the bridges above a function are not known, it may be the one that is meant.
    let known = model.functions().all(|function| !intel::of_function(model, function.bdf).1);
    for one in intel::coverage(model) {
        let Some(rmrr) = dmar.rmrr.get(one.rmrr) else { continue };
        relaxable.extend(one.relaxable.iter().map(|bdf| (rmrr, *bdf)));
        let named = rmrr.scopes.iter().any(|scope| scope.kind.names_a_function());
        if known && named && one.devices.is_empty() && one.relaxable.is_empty() {
            let scopes: Vec<String> =
                rmrr.scopes.iter().take(AT_MOST).map(ToString::to_string).collect();
            let message = format!(
                "RMRR {} names {}, where this host has no PCI function: it blocks nothing now",
                rmrr.index,
                scopes.join(", ")
            );
            findings.push(of_structure(Code::RmrrAbsentDevice, message, rmrr));
        }
        findings.extend(rmrr_memory(model, rmrr));
    }
    if !relaxable.is_empty() {
        let mut names: Vec<String> = relaxable
            .iter()
            .take(AT_MOST)
            .map(|(rmrr, bdf)| format!("{bdf} (RMRR {})", rmrr.index))
            .collect();
        if let Some(more) = relaxable.len().checked_sub(AT_MOST).filter(|more| *more > 0) {
            names.push(format!("and {more} more"));
        }
        let message = format!(
            "RMRRs of USB controllers and display devices do not block VFIO: {}",
            names.join(", ")
        );
        findings.push(Finding::new(Code::RmrrRelaxable, message));
    }
    findings
}

fn of_structure(code: Code, message: String, rmrr: &Rmrr) -> Finding {
    let evidence = vec![intel::of_structure(rmrr)];
    Finding { place: Some(rmrr.place()), evidence, ..Finding::new(code, message) }
}

/// An RMRR for memory that is not kept from the operating system.
fn rmrr_memory(model: &Model, rmrr: &Rmrr) -> Option<Finding> {
    if rmrr.limit < rmrr.base {
        return None;
    }
    let (told, lines) = not_reserved(model, rmrr.base, rmrr.limit)?;
    let message = format!(
        "RMRR {} asks for {:#x} to {:#x}, which {told}: Linux may use unreserved memory for \
         something else",
        rmrr.index, rmrr.base, rmrr.limit
    );
    let mut finding = of_structure(Code::RmrrNotReserved, message, rmrr);
    finding.evidence.extend(lines);
    Some(finding)
}

/// How a memory map lists memory that is not reserved, and its lines; `None` where it is, or where
/// that cannot be told.
fn not_reserved(model: &Model, start: u64, end: u64) -> Option<(String, Vec<String>)> {
    let Reading::Read(class) = model.host().region_class(start, end) else { return None };
    let (name, map) = match class.source {
        MapSource::Iomem => ("/proc/iomem", &model.host().iomem),
        MapSource::Firmware => ("/sys/firmware/memmap", &model.host().firmware_memory),
    };
    // Where lines of the map are lost, what is not listed may have been.
    let whole = map.value().is_some_and(|map| map.bad == 0);
    let found = if class.reserved {
        return None;
    } else if class.touches_ram() {
        let names: Vec<String> = class.names().into_iter().map(printable).collect();
        format!("lists as {}", names.join(" and "))
    } else if class.gap && whole {
        if class.ranges.is_empty() { "does not list" } else { "lists only in part" }.to_owned()
    } else {
        return None;
    };
    let lines = class.ranges.iter().take(AT_MOST).map(|range| {
        let (start, end) = (range.start, range.end_inclusive);
        format!("{name}: {start:#x} to {end:#x}, {}", printable(&range.name))
    });
    Some((format!("{name} {found}"), lines.collect()))
}

/// What there is to say of the tables' entries on this host.
pub(super) fn of_entries(model: &Model) -> Vec<Finding> {
    let mut findings = of_rmrrs(model);
    findings.extend(of_ivmds(model));
    findings
}

fn of_ivmds(model: &Model) -> Vec<Finding> {
    let Table::Read(read) = model.table() else { return Vec::new() };
    let (ivrs, view) = (&read.0, &read.1);
    let amd =
        model.host().iommus.value().into_iter().flatten().any(|unit| unit.starts_with("ivhd"));
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
    findings.extend(wide(model));
    for (block, entry) in effective(model) {
        findings.extend(absent(model, block, entry));
    }
    findings.extend(memory(model));
    findings
}

fn effective(model: &Model) -> impl Iterator<Item = (&Ivmd, &UnityEntry)> {
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
    let evidence = blocks.iter().take(AT_MOST).map(|block| amd::of_block(block)).collect();
    Finding { place, evidence, ..Finding::new(code, message) }
}

/// Entries for whole buses, those for the same devices in one.
fn wide(model: &Model) -> Vec<Finding> {
    let mut ranges: BTreeMap<(Segment, Devid, Devid), Vec<&Ivmd>> = BTreeMap::new();
    for (block, entry) in effective(model) {
        let (first, last) = (entry.devid_start, entry.devid_end);
        let whole = block.kind == IvmdKind::All
            || first <= last && (first.bus() != last.bus() || last.0 - first.0 == 0xff);
        if whole {
            ranges.entry((entry.segment, first, last)).or_default().push(block);
        }
    }
    let told = |((segment, first, last), blocks): (_, Vec<&Ivmd>)| {
        let coverage = model.coverage(blocks.first()?.index)?;
        let count = coverage.devices.len();
        if count == 0 {
            return None;
        }
        let message = format!(
            "{} every device from {} to {last}, whatever it is: {count} of the {} behind this \
             host's AMD IOMMU, in {} group{}",
            subject(&blocks, "covers", "each cover"),
            crate::pci::Bdf::new(segment, first),
            coverage.of_devices,
            coverage.groups.len(),
            if coverage.groups.len() == 1 { "" } else { "s" },
        );
        Some(of_blocks(Code::IvmdWide, message, &blocks))
    };
    ranges.into_iter().filter_map(told).collect()
}

/// `IVMD 0 covers`, `IVMD 0, 1 and 2 each cover`
fn subject(blocks: &[&Ivmd], one: &str, many: &str) -> String {
    let numbers: Vec<String> = blocks.iter().map(|block| block.index.to_string()).collect();
    match numbers.split_last() {
        Some((last, before)) if !before.is_empty() => {
            format!("IVMD {} and {last} {many}", before.join(", "))
        }
        _ => format!("IVMD {} {one}", numbers.join("")),
    }
}

/// An entry for which there is nobody.
fn absent(model: &Model, block: &Ivmd, entry: &UnityEntry) -> Option<Finding> {
    let functions = model.host().functions.value()?;
    let (first, last) = (entry.devid_start, entry.devid_end);
    // What lies behind the last device, or between two ends in the wrong order, is told already.
    let in_reach =
        model.table().view()?.last_bdf.get(&entry.segment).is_some_and(|end| first <= *end);
    let met = functions.iter().any(|function| entry.matches(function.bdf));
    if met || !in_reach || first > last || !model.owners(block.index).is_empty() {
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
fn memory(model: &Model) -> Vec<Finding> {
    let mut regions: BTreeMap<(u64, u64), Vec<&Ivmd>> = BTreeMap::new();
    for (block, entry) in effective(model) {
        if entry.length() > 0 && entry.end_inclusive() >= entry.start {
            regions.entry((entry.start, entry.end_inclusive())).or_default().push(block);
        }
    }
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
    regions.into_iter().filter_map(told).collect()
}
