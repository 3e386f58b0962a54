//! What is said of an entry of firmware that asks for reserved memory, of any vendor's table: each
//! fact in one place, for every text.

use std::collections::BTreeSet;

use super::{
    Document,
    document::{count, list},
    size,
};
use crate::{
    escape::printable,
    firmware::{
        EntryId, Place, Rmrr,
        amd::{
            ivrs::{Ivmd, IvmdFlags, IvmdKind},
            kernel::UnityEntry,
        },
    },
    model::{Cause, Coverage, Gap, Model, Owner, OwnerKind},
    pci::Bdf,
};

/// What a letter adds to the rows of an entry.
pub(super) trait Letter {
    /// What a range of memory is on the host.
    fn memory(&self, start: u64, end: u64) -> Option<String>;
    /// The text without names of the host.
    fn redacted(&self, text: &str) -> String;
}

/// Addresses of devices that are told one by one.
const ADDRESSES: usize = 24;
/// Owners that are told.
const OWNERS: usize = 6;

/// A cause of a verdict: the entry, its bytes, what the kernel made of it, whom it covers. `device` is
/// the one that it holds.
#[must_use]
pub fn cause(model: &Model, cause: &Cause, device: Option<Bdf>) -> Document {
    let mut document = Document::default();
    cause_block(&mut document, model, cause, device);
    document
}

pub(super) fn cause_block(
    document: &mut Document,
    model: &Model,
    cause: &Cause,
    device: Option<Bdf>,
) {
    let entry = cause.entry.and_then(|id| model.firmware_entry(id));
    let Some(entry) = entry else {
        let range = range_text(cause.start, cause.end);
        document.headed(2, "Cause:", format!("direct region {range}"));
        for fact in &cause.evidence {
            document.fact(4, fact.to_string());
        }
        return;
    };
    let Place { table, offset } = entry.place;
    document.headed(2, "Cause:", format!("{} of the {table}, at offset {offset:#x}", entry.id));
    rows(document, model, entry.id, (device, cause.scope.as_deref()), None);
}

/// An entry field by field, for a device that it holds by that scope if one is meant. A letter says
/// besides what memory it is and names the devices.
pub(super) fn rows(
    document: &mut Document,
    model: &Model,
    id: EntryId,
    (device, scope): (Option<Bdf>, Option<&str>),
    letter: Option<&dyn Letter>,
) {
    if let Some(block) = id.ivmd().and_then(|index| model.ivmd(index)) {
        ivmd_rows(document, model, block, device, letter);
    } else if let Some(rmrr) = id.rmrr().and_then(|index| model.rmrr(index)) {
        rmrr_rows(document, model, rmrr, device.and_then(|bdf| Some((bdf, scope?))), letter);
    }
}

fn ivmd_rows(
    document: &mut Document,
    model: &Model,
    block: &Ivmd,
    device: Option<Bdf>,
    letter: Option<&dyn Letter>,
) {
    let entry = model.entry(block.index);
    document.row("type", kind_text(block, entry));
    document.row("flags", flags_text(block.flags));
    document.row("memory", memory_text(block));
    document.bytes(&block.bytes);
    let Some(entry) = entry else {
        document.row("kernel", "ignored by Linux: neither Unity nor ExclusionRange is set");
        return;
    };
    let mut kernel = kernel_text(block, entry);
    if letter.is_some() && block.flags.exclusion() {
        kernel.push_str("; Linux maps exclusion ranges instead of excluding them");
    }
    document.row("kernel", kernel);
    if let Some(case) = letter {
        document.row("unity map", unity_text(model, entry));
        document
            .row("memory is", case.memory(entry.start, entry.end_inclusive()).unwrap_or_default());
    }
    let Some(coverage) = model.coverage(block.index) else { return };
    let covers = coverage_text(&coverage, device);
    let named =
        letter.map_or_else(String::new, |_| named(&coverage.devices, coverage.gap.as_ref()));
    document.row("covers", format!("{covers}{named}"));
    let owner = owner_text(block, &coverage, &model.owners(block.index));
    document.row("owner", letter.map_or_else(|| owner.clone(), |case| case.redacted(&owner)));
}

/// `held` is a device and the scope by which it is held.
fn rmrr_rows(
    document: &mut Document,
    model: &Model,
    rmrr: &Rmrr,
    held: Option<(Bdf, &str)>,
    letter: Option<&dyn Letter>,
) {
    document.row("memory", rmrr_memory_text(rmrr));
    document.bytes(&rmrr.bytes);
    if let Some((device, scope)) = held {
        let (through, _) = model.rmrrs_of(device);
        let found = through.iter().find(|found| found.rmrr.index == rmrr.index);
        let by = match found.and_then(|found| found.through) {
            Some(bridge) => format!("the bridge {bridge}, which the device is below"),
            None => "the device itself".to_owned(),
        };
        document.row("scope", format!("{scope}: {by}"));
    } else {
        document.row("scopes", scopes_text(rmrr));
    }
    let range = range_text(rmrr.base, rmrr.limit);
    document.row("kernel", format!("a read/write direct map of {range}"));
    if let Some(case) = letter {
        document.row("segment", rmrr.segment.to_string());
        document.row("memory is", case.memory(rmrr.base, rmrr.limit).unwrap_or_default());
    }
    let Some(coverage) = model.rmrr_coverage(rmrr.index) else { return };
    let device = held.map(|(device, _)| device);
    let reach = (coverage.of_devices, coverage.groups.len());
    let covers = reach_text(&coverage.devices, reach, device, ("Intel", coverage.gap.as_ref()));
    let named =
        letter.map_or_else(String::new, |_| named(&coverage.devices, coverage.gap.as_ref()));
    document.row("covers", format!("{covers}{named}"));
    if !coverage.relaxable.is_empty() {
        let whom = addresses(&coverage.relaxable);
        document.row("relaxed", format!("{whom} (USB or display: not refused for it)"));
    }
}

/// For whom the block is likely meant.
pub(super) fn owner_text(block: &Ivmd, coverage: &Coverage, owners: &[Owner]) -> String {
    if let [Owner { kind: OwnerKind::Pci, .. }] = owners {
        return "likely the device itself, the only one that the entry is for".to_owned();
    }
    if owners.is_empty() {
        let one = block.kind == IvmdKind::Device;
        let range = if one { "at that address" } else { "in that range" };
        return format!("unknown; the table names no ACPI device {range}");
    }
    let name = |owner: &Owner| {
        let at = owner.bdf.devid;
        let here =
            owner.device.as_ref().map_or_else(String::new, |device| format!(" (here {device})"));
        format!("{} at {at}{here}", owner.name)
    };
    let names: Vec<String> = owners.iter().take(OWNERS).map(name).collect();
    let more = match owners.len().saturating_sub(OWNERS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    // Almost every table names IO-APIC and timer, which need no memory of their own.
    let meant = match (owners.iter().any(|owner| owner.kind == OwnerKind::Acpi), owners.len()) {
        (true, 1) => "likely",
        (true, _) => "likely one of",
        (false, 1) => "perhaps",
        (false, _) => "perhaps one of",
    };
    let is_owner = |bdf: &Bdf| owners.iter().any(|owner| owner.bdf == *bdf);
    let rest = match coverage.devices.iter().filter(|bdf| !is_owner(bdf)).count() {
        0 => String::new(),
        1 => "; the other device is probably covered by accident".to_owned(),
        many => format!("; the other {many} devices are probably covered by accident"),
    };
    let them = if owners.len() == 1 { "it" } else { "them" };
    format!("{meant} {}{more}, as the table names {them} there{rest}", names.join(", "))
}

/// A direct region, its end inclusive.
pub(super) fn range_text(start: u64, end: u64) -> String {
    if end == start.wrapping_sub(1) {
        return format!("{start:#x}, no length");
    }
    format!("{start:#x} to {end:#x}")
}

fn kind_text(block: &Ivmd, entry: Option<&UnityEntry>) -> String {
    let segment = block.segment;
    let Some(entry) = entry else {
        let (code, devid, aux) = (block.kind.code(), block.devid.0, block.aux);
        return format!("{code:#04x}, devid {devid:#06x}, aux {aux:#06x}, segment {segment}");
    };
    let (first, last) = (entry.devid_start, entry.devid_end);
    let range = format!("{first} to {last} (devid {:#06x}-{:#06x})", first.0, last.0);
    match block.kind {
        IvmdKind::All => format!("0x20, all devices: {range}, segment {segment}"),
        IvmdKind::Range => format!("0x22, a range of devices: {range}, segment {segment}"),
        IvmdKind::Device => {
            let (devid, raw) = (block.devid, block.devid.0);
            format!("0x21, one device: {devid} (devid {raw:#06x}), segment {segment}")
        }
    }
}

fn flags_text(flags: IvmdFlags) -> String {
    let names: Vec<&str> = [
        (flags.unity(), "unity map"),
        (flags.read(), "read"),
        (flags.write(), "write"),
        (flags.exclusion(), "exclusion range"),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect();
    let rest = flags.0 & 0xf0;
    let rest = if rest == 0 { String::new() } else { format!(", reserved bits {rest:#04x}") };
    format!("{:#04x} ({}){rest}", flags.0, names.join(", "))
}

fn memory_text(block: &Ivmd) -> String {
    if block.length == 0 {
        return format!("{:#x}, no length", block.start);
    }
    let end = block.start.wrapping_add(block.length).wrapping_sub(1);
    format!("{:#x} to {end:#x} ({})", block.start, size(block.length))
}

/// The memory of an RMRR, with its size if it has one.
pub(super) fn rmrr_memory_text(rmrr: &Rmrr) -> String {
    let (base, limit) = (rmrr.base, rmrr.limit);
    if limit < base {
        return format!("{base:#x} to {limit:#x}, which is below its start");
    }
    format!("{base:#x} to {limit:#x} ({})", size(rmrr.memory_length()))
}

/// The device scopes of an RMRR.
pub(super) fn scopes_text(rmrr: &Rmrr) -> String {
    let scopes: Vec<String> = rmrr.scopes.iter().map(ToString::to_string).collect();
    if scopes.is_empty() { "nobody".to_owned() } else { scopes.join(", ") }
}

/// What the kernel made of a block (`init_unity_map_range`, drivers/iommu/amd/init.c).
fn kernel_text(block: &Ivmd, entry: &UnityEntry) -> String {
    let access = match (entry.prot.read(), entry.prot.write()) {
        (true, true) => "read/write",
        (true, false) => "read-only",
        (false, true) => "write-only",
        (false, false) => "no-access",
    };
    let (start, end) = (entry.start, entry.end_inclusive());
    let mut text = format!("a {access} direct map of {start:#x} to {end:#x}");
    if entry.length() == 0 {
        text =
            format!("a {access} direct map at {start:#x} of no length, which blocks all the same");
    }
    if entry.start != block.start || entry.length() != block.length {
        text.push_str("; addresses are rounded up to whole pages");
    }
    text
}

/// Which entry of the kernel's own unity map it is, and whether the kernel was seen to have the same.
fn unity_text(model: &Model, entry: &UnityEntry) -> String {
    let name = format!("entry {} of segment {}", entry.ordinal, entry.segment);
    let Some(map) = model.unity_map(entry.segment) else { return name };
    let same = map.entries.get(entry.ordinal).is_some_and(|row| {
        row.devid_start == entry.devid_start
            && row.devid_end == entry.devid_end
            && row.start == entry.start
            && row.end == entry.end_exclusive
    });
    let word = if same { "has the same" } else { "DIFFERS there" };
    format!("{name}; the kernel's own {word} (event {})", map.event)
}

fn coverage_text(coverage: &Coverage, device: Option<Bdf>) -> String {
    let reach = (coverage.of_devices, coverage.groups.len());
    reach_text(&coverage.devices, reach, device, ("AMD", coverage.gap.as_ref()))
}

/// Why it is not known which functions an entry covers.
pub(super) fn gap_text(gap: &Gap) -> String {
    printable(&match gap {
        Gap::Functions(why) => format!("the PCI functions of this host are not all known ({why})"),
        Gap::Service(bdf) => format!("nothing that was read shows whose IOMMU serves {bdf}"),
        Gap::Way(bdf) => {
            format!("the class of {bdf}, or a bridge above it, was not read")
        }
    })
}

/// How many devices, of how many, in how many groups an entry covers.
fn reach_text(
    devices: &[Bdf],
    (all, groups): (usize, usize),
    device: Option<Bdf>,
    (vendor, gap): (&str, Option<&Gap>),
) -> String {
    if let Some(gap) = gap.filter(|_| devices.is_empty()) {
        return format!("not known: {}", gap_text(gap));
    }
    let subject = match device.filter(|bdf| devices.contains(bdf)) {
        Some(bdf) if devices.len() == 1 => format!("{bdf} alone"),
        Some(bdf) => format!("{bdf} and {} more", devices.len() - 1),
        None => devices.len().to_string(),
    };
    if let Some(gap) = gap {
        return format!("{subject}, and perhaps others: {}", gap_text(gap));
    }
    let (all, groups) = (count(all, "device"), count(groups, "group"));
    format!("{subject} of the {all} behind this host's {vendor} IOMMU, in {groups}")
}

/// The addresses behind the count of them.
fn named(devices: &[Bdf], gap: Option<&Gap>) -> String {
    match gap {
        Some(_) if devices.is_empty() => String::new(),
        _ => format!(": {}", addresses(devices)),
    }
}

/// Addresses of devices, and how many more there are.
pub(super) fn addresses(devices: &[Bdf]) -> String {
    let told: Vec<String> = devices.iter().take(ADDRESSES).map(ToString::to_string).collect();
    match devices.len().saturating_sub(ADDRESSES) {
        _ if told.is_empty() => "none".to_owned(),
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}

/// What the entries are called that these causes are, and their numbers; none where no table has
/// them.
pub(super) fn numbers<'a>(
    causes: impl IntoIterator<Item = &'a Cause>,
) -> Option<(EntryId, Vec<String>)> {
    let entries: BTreeSet<EntryId> = causes.into_iter().filter_map(|cause| cause.entry).collect();
    let first = *entries.first()?;
    let alike = entries.iter().filter(|id| id.table() == first.table());
    Some((first, alike.map(|id| id.index().to_string()).collect()))
}

/// The same in words, like `IVMD 0, 1 and 2 of the IVRS`.
pub(super) fn entries(causes: &[Cause]) -> Option<String> {
    let (first, numbers) = numbers(causes)?;
    Some(format!("{} {} of the {}", first.noun(), list(&numbers), first.table()))
}
