//! What is worth telling about a table, from the table alone.
//!
//! Whether a device exists, which memory is reserved and what the running kernel did needs a host
//! and is not judged here.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::{
    device_entry::{Content, Entry, SpecialKind},
    ivrs::{Ivhd, IvhdKind, Ivmd, IvmdKind, Ivrs},
    kernel::{Fatal, KernelView, UnityEntry, is_effective},
};
use crate::{
    codes::Code,
    firmware::{
        Fact, Finding, TableName,
        acpi::Truncation,
        finding::{AT_MOST, Found},
    },
    fmt::{count, sentence},
    pci::{Bdf, Devid, Segment},
};

/// How many pairs of IVMD blocks are compared. Real tables have five blocks at most.
const PAIRS: usize = 1 << 20;
const PAGE: u64 = 4096;

/// The findings of `table`, in the order of what they are about: the table, its blocks, its IVMD
/// blocks.
#[must_use]
pub fn of_table(table: &Ivrs, view: &KernelView) -> Vec<Finding> {
    let mut found = Found::of(TableName::Ivrs);
    let mut acpi = AcpiEntries::new();
    let mut io_apics = Vec::new();
    header(&mut found, table);
    fatal(&mut found, view);
    blocks(&mut found, table);
    for ivhd in &table.ivhd {
        let entries = ivhd.entries(table);
        device_entries(&mut found, ivhd, &entries);
        if Some(ivhd.kind.code()) != view.target_ivhd_type {
            continue;
        }
        io_apics.extend(entries.iter().filter_map(|entry| io_apic(ivhd, entry)));
        for entry in entries.into_iter().filter(|_| ivhd.kind == IvhdKind::Type40) {
            if let Content::Acpi(device) = &entry.content {
                acpi.entry((ivhd.segment, device.devid)).or_default().push(entry);
            }
        }
    }
    if view.fatal.is_empty() {
        remapping(&mut found, &io_apics);
    }
    protection(&mut found, table);
    for ivmd in &table.ivmd {
        ivmd_flags(&mut found, ivmd, view);
        ivmd_memory(&mut found, ivmd, view);
        ivmd_devices(&mut found, ivmd, view, &acpi);
    }
    pairs(&mut found, table, view);
    found.finish()
}

fn of_ivmd(
    found: &mut Found,
    code: Code,
    ivmd: &Ivmd,
    field: RangeInclusive<usize>,
    message: String,
) {
    let (start, end) = (*field.start(), *field.end());
    if let Some(finding) = found.add(code, ivmd.offset, message) {
        finding.ivmd = Some(ivmd.index);
        let at = ivmd.offset.saturating_add(start);
        let bytes = ivmd.bytes.get(start..=end).unwrap_or_default();
        finding.evidence.push(Fact::Bytes { offset: at, bytes: bytes.to_vec(), more: false });
    }
}

fn of_device_entry(entry: &Entry) -> Fact {
    Fact::Bytes { offset: entry.offset, bytes: entry.bytes.clone(), more: false }
}

/// The entries of IVHD blocks in use that name ACPI devices.
type AcpiEntries = BTreeMap<(Segment, Devid), Vec<Entry>>;

/// An IO-APIC that an IVHD in use names.
struct IoApic {
    id: u8,
    place: Bdf,
    entry: Entry,
}

fn io_apic(ivhd: &Ivhd, entry: &Entry) -> Option<IoApic> {
    match entry.content {
        Content::Special { handle, devid, kind: SpecialKind::IoApic, .. } => {
            let place = Bdf::new(ivhd.segment, devid);
            Some(IoApic { id: handle, place, entry: entry.clone() })
        }
        _ => None,
    }
}

/// What keeps Linux from remapping interrupts (`check_ioapic_information` and `get_ioapic_devid`,
/// drivers/iommu/amd).
fn remapping(found: &mut Found, io_apics: &[IoApic]) {
    let southbridge = |one: &IoApic| one.place == Bdf::new(Segment(0), Devid(0x00a0));
    if !io_apics.iter().any(southbridge) {
        let message = "No IO-APIC is named at 00:14.0, where the southbridge's is: Linux does not \
                       remap interrupts, and VFIO attaches no device (EPERM)."
            .to_owned();
        let start = crate::firmware::amd::ivrs::HEADER_LENGTH;
        if let Some(finding) = found.add(Code::IvhdNoSouthbridge, start, message) {
            let told = io_apics.iter().take(AT_MOST).map(|one| of_device_entry(&one.entry));
            finding.evidence.extend(told);
        }
    }
    let mut first: BTreeMap<u8, &IoApic> = BTreeMap::new();
    for one in io_apics {
        let before = *first.entry(one.id).or_insert(one);
        if before.place == one.place {
            continue;
        }
        let message = format!(
            "IO-APIC {} is named at {} and at {}; Linux takes the first, and finds no IO-APIC at \
             the second.",
            one.id, before.place, one.place
        );
        if let Some(finding) = found.add(Code::IvhdIoApicTwice, one.entry.offset, message) {
            finding.evidence.push(of_device_entry(&before.entry));
            finding.evidence.push(of_device_entry(&one.entry));
        }
    }
}

fn header(found: &mut Found, table: &Ivrs) {
    let (header, bytes) = (&table.header, table.bytes());
    let effect = ", so the kernel does not initialise the AMD IOMMU";
    found.checksum(Code::IvrsChecksum, header, bytes, effect);
    if let Some(finding) = found.trailing(Code::IvrsTrailing, header, bytes, table.trailing) {
        let value = u64::from(header.length);
        finding.evidence.push(Fact::Field { offset: 4, name: "length", value });
    }
}

fn fatal(found: &mut Found, view: &KernelView) {
    for reason in &view.fatal {
        let (code, offset) = match *reason {
            // Told from the header and from the walk, with what is read there.
            Fatal::BadChecksum | Fatal::ZeroLengthBlock { .. } => continue,
            Fatal::ZeroLengthEntry { offset, .. } => (Code::IvhdEntryLoop, offset),
            Fatal::NoIvhd => (Code::IvrsNoIvhd, crate::firmware::amd::ivrs::HEADER_LENGTH),
            Fatal::UnsupportedIvhdType { .. } => {
                (Code::IvrsIvhdType, crate::firmware::amd::ivrs::HEADER_LENGTH)
            }
            Fatal::NoDevices { offset } => (Code::IvhdNoDevices, offset),
        };
        found.add(code, offset, sentence(&reason.to_string()));
    }
}

fn blocks(found: &mut Found, table: &Ivrs) {
    let known: BTreeMap<_, _> =
        table.ivmd.iter().rev().map(|ivmd| (ivmd.bytes.get(1..), ivmd.index)).collect();
    for block in &table.unknown {
        let mut message =
            format!("Linux does not know block type {:#04x} and steps over the block", block.kind);
        let copy = known.get(&block.bytes.get(1..));
        message.push_str(&copy.map_or_else(
            || ".".to_owned(),
            |index| format!("; except for its type it is a copy of ivmd:{index}."),
        ));
        if let Some(finding) = found.add(Code::IvrsBlockUnknown, block.offset, message) {
            let start = block.bytes.get(..32).unwrap_or(&block.bytes);
            let (offset, more) = (block.offset, block.bytes.len() > 32);
            finding.evidence.push(Fact::Bytes { offset, bytes: start.to_vec(), more });
        }
    }
    if let Some(truncation) = table.truncation {
        let (code, tail) = match truncation {
            Truncation::ZeroLength { .. } => {
                (Code::IvrsBlockZero, "; Linux would loop on it for ever")
            }
            _ => (Code::IvrsBlockEnd, "; Linux does not check and reads on behind the table"),
        };
        let message = sentence(&format!("{truncation}{tail}"));
        let offset = truncation.offset();
        if let Some(finding) = found.add(code, offset, message) {
            let rest = table.bytes().get(offset..).unwrap_or_default();
            let bytes = rest.get(..4).unwrap_or(rest).to_vec();
            finding.evidence.push(Fact::Bytes { offset, bytes, more: false });
        }
    }
}

fn device_entries(found: &mut Found, ivhd: &Ivhd, entries: &[Entry]) {
    for entry in entries {
        let (code, message) = match &entry.content {
            Content::StartWithoutEnd(devices) => (
                Code::IvhdRange,
                format!(
                    "The range that starts at {} has no end, so Linux hands none of it to the \
                     IOMMU.",
                    devices.first
                ),
            ),
            Content::EndWithoutStart { last } => (
                Code::IvhdRange,
                format!(
                    "The range that ends at {last} has no start; Linux takes the last start before \
                     it in the block, or 00:00.0."
                ),
            ),
            Content::Range { devices, .. } if devices.first > devices.last => (
                Code::IvhdRange,
                format!(
                    "The range from {} to {} is reversed and names no device.",
                    devices.first, devices.last
                ),
            ),
            Content::Reserved => (
                Code::IvhdEntryUnknown,
                format!(
                    "Linux does not know device entry type {:#04x} and steps over the entry.",
                    entry.kind
                ),
            ),
            Content::Cut => (
                Code::IvhdEntryCut,
                format!("The table ends inside the device entry of type {:#04x}.", entry.kind),
            ),
            Content::Acpi(device) if ivhd.kind != IvhdKind::Type40 => (
                Code::IvhdAcpiBlock,
                format!(
                    "Linux ignores the ACPI device {} in a block of type {:#04x}: only type 0x40 \
                     may name one.",
                    device.hid,
                    ivhd.kind.code()
                ),
            ),
            _ => continue,
        };
        if let Some(finding) = found.add(code, entry.offset, message) {
            finding.evidence.push(of_device_entry(entry));
        }
    }
}

fn protection(found: &mut Found, table: &Ivrs) {
    let excluded: Vec<usize> = table
        .ivmd
        .iter()
        .filter(|ivmd| ivmd.flags.exclusion())
        .map(|ivmd| ivmd.index)
        .take(AT_MOST)
        .collect();
    if !table.ivinfo.dma_remap() || excluded.is_empty() {
        return;
    }
    let message = "IVinfo bit 1 is set beside exclusion ranges; this matches pre-boot DMA \
                   protection being on, and on some boards a BIOS setting for it removed the \
                   entries."
        .to_owned();
    if let Some(finding) = found.add(Code::IvrsDmaProtection, 36, message) {
        finding.evidence.push(Fact::DmaRemap { ivinfo: table.ivinfo.0 });
        finding.evidence.push(Fact::ExclusionRanges(excluded));
    }
}

/// What Linux does for an entry: nothing where it gets no IOMMU from the table.
fn effect(view: &KernelView, words: &'static str) -> &'static str {
    if view.initialises() { words } else { "" }
}

fn ivmd_flags(found: &mut Found, ivmd: &Ivmd, view: &KernelView) {
    let name = name(ivmd);
    let flags = ivmd.flags;
    if !is_effective(ivmd) {
        let message = format!(
            "{name} asks for neither a unity map nor an exclusion (flags {:#04x}), so Linux \
             ignores it.",
            flags.0
        );
        of_ivmd(found, Code::IvmdIgnored, ivmd, 1..=1, message);
    } else if flags.exclusion() && flags.unity() {
        let message = format!(
            "{name} asks for a unity map and an exclusion at once (flags {:#04x}){}.",
            flags.0,
            effect(view, "; Linux makes a map for reading and writing from it")
        );
        of_ivmd(found, Code::IvmdExclUnity, ivmd, 1..=1, message);
    } else if flags.exclusion() {
        let message = format!(
            "{name} asks that the IOMMU leave its memory alone (exclusion){}.",
            effect(
                view,
                "; Linux maps it 1:1 instead, for reading and writing, which is what blocks VFIO"
            )
        );
        of_ivmd(found, Code::IvmdExclusion, ivmd, 1..=1, message);
    } else if view.entry_of(ivmd.index).is_some_and(UnityEntry::fails_iommu) {
        let message = format!(
            "{name} asks for a unity map without read or write (flags {:#04x}); if it matches a \
             device, the map fails and Linux gives up the IOMMU.",
            flags.0
        );
        of_ivmd(found, Code::IvmdNoAccess, ivmd, 1..=1, message);
    }
    if usize::from(ivmd.block_length) != crate::firmware::amd::ivrs::IVMD_LENGTH {
        let message = format!(
            "{name} gives its length as {} bytes instead of 32; Linux reads 32 and steps on by {}.",
            ivmd.block_length, ivmd.block_length
        );
        of_ivmd(found, Code::IvmdBlockLength, ivmd, 2..=3, message);
    }
}

fn ivmd_memory(found: &mut Found, ivmd: &Ivmd, view: &KernelView) {
    if !is_effective(ivmd) {
        return;
    }
    let name = name(ivmd);
    let (start, length) = (ivmd.start, ivmd.length);
    let wraps = start.checked_next_multiple_of(PAGE).is_none()
        || length.checked_next_multiple_of(PAGE).is_none()
        || length > 0 && start.checked_add(length - 1).is_none();
    if wraps {
        let message = format!(
            "{name} asks for {length:#x} bytes from {start:#x}, past the last address; \
             the kernel's sum wraps."
        );
        of_ivmd(found, Code::IvmdWrap, ivmd, 16..=31, message);
        return;
    }
    if start < PAGE {
        let message = format!(
            "{name} starts in page 0 of memory (at {start:#x}); few devices need that page, and \
             the firmware often just never filled the field in."
        );
        of_ivmd(found, Code::IvmdPage0, ivmd, 16..=23, message);
    }
    if !start.is_multiple_of(PAGE) {
        let message = format!(
            "{name} starts at {start:#x}, inside a page; Linux rounds up to {:#x} and does not \
             map the bytes before.",
            start.next_multiple_of(PAGE)
        );
        of_ivmd(found, Code::IvmdUnaligned, ivmd, 16..=23, message);
    }
    if length == 0 {
        let message = format!(
            "{name} asks for no memory at all (length 0){}.",
            effect(view, ", yet Linux makes a region of it that blocks VFIO like any other")
        );
        of_ivmd(found, Code::IvmdEmpty, ivmd, 24..=31, message);
    } else if !length.is_multiple_of(PAGE) {
        let message = format!(
            "{name} asks for {length:#x} bytes, not whole pages; Linux rounds up to {:#x}.",
            length.next_multiple_of(PAGE)
        );
        of_ivmd(found, Code::IvmdSubpage, ivmd, 24..=31, message);
    }
}

fn ivmd_devices(found: &mut Found, ivmd: &Ivmd, view: &KernelView, acpi: &AcpiEntries) {
    if !is_effective(ivmd) {
        return;
    }
    let Some(entry) = view.entry_of(ivmd.index) else { return };
    let name = name(ivmd);
    let (first, last) = (entry.devid_start, entry.devid_end);
    let Some(last_bdf) = view.last_bdf.get(&ivmd.segment) else {
        let message = format!(
            "{name} names PCI segment {}, where no IVHD in use names a device: it covers none.",
            ivmd.segment
        );
        return of_ivmd(found, Code::IvmdSegment, ivmd, 8..=9, message);
    };
    if first > last {
        let message = format!(
            "{name} names the devices from {first} to {last}, a reversed range: it covers none."
        );
        return of_ivmd(found, Code::IvmdOrder, ivmd, 4..=7, message);
    }
    if first > *last_bdf {
        let message = format!(
            "{name} names {}, behind the last device that an IVHD names in that segment \
             ({last_bdf}): it covers none.",
            range(first, last)
        );
        of_ivmd(found, Code::IvmdBeyondLast, ivmd, 4..=7, message);
    } else if last > *last_bdf {
        let message = format!(
            "{name} names {}, but the last device that an IVHD names in that segment is {last_bdf}.",
            range(first, last)
        );
        of_ivmd(found, Code::IvmdBeyondLast, ivmd, 4..=7, message);
    } else if first == last && !view.served.contains(Bdf::new(ivmd.segment, first)) {
        let message = format!("{name} names {first}, which no IVHD in use names: it has no IOMMU.");
        of_ivmd(found, Code::IvmdNoIommu, ivmd, 4..=5, message);
    }
    // Beside whole buses it says nothing that such a device is among all others.
    let whole = first.bus() != last.bus() || (last.0 - first.0) == 0xff;
    if ivmd.kind != IvmdKind::All && !whole {
        owners(found, ivmd, first..=last, acpi);
    }
    if ivmd.kind == IvmdKind::All {
        let message = format!(
            "{name} covers every device of the segment ({}){}.",
            range(first, last),
            effect(view, ", and so blocks all of them")
        );
        of_ivmd(found, Code::IvmdWide, ivmd, 0..=0, message);
    } else if whole {
        let buses = u16::from(last.bus()) - u16::from(first.bus()) + 1;
        let message = format!(
            "{name} covers all of {} ({}), whatever you plug in there.",
            count(buses.into(), "bus", "buses"),
            range(first, last),
        );
        of_ivmd(found, Code::IvmdWide, ivmd, 4..=7, message);
    }
}

/// The ACPI devices that the entry covers and that an IVHD in use names.
fn owners(found: &mut Found, ivmd: &Ivmd, devids: RangeInclusive<Devid>, acpi: &AcpiEntries) {
    let places = (ivmd.segment, *devids.start())..=(ivmd.segment, *devids.end());
    let entries: Vec<&Entry> =
        acpi.range(places).flat_map(|(_, entries)| entries).take(AT_MOST).collect();
    let mut names: Vec<String> = entries
        .iter()
        .filter_map(|entry| match &entry.content {
            Content::Acpi(device) => Some(format!("{} at {}", device.hid, device.devid)),
            _ => None,
        })
        .collect();
    names.dedup();
    let meant = match names.len() {
        0 => return,
        1 if devids.start() == devids.end() => "most likely it is meant for that",
        1 => "it may be meant for that",
        _ => "it may be meant for one of those",
    };
    let message = format!(
        "{} covers what the table names as ACPI {} {}; {meant}.",
        name(ivmd),
        if names.len() == 1 { "device" } else { "devices" },
        names.join(", ")
    );
    if let Some(finding) = found.add(Code::IvmdAcpiOwner, ivmd.offset, message) {
        finding.ivmd = Some(ivmd.index);
        finding.evidence.extend(entries.iter().map(|entry| of_device_entry(entry)));
    }
}

/// What two IVMD blocks have in common.
fn pairs(found: &mut Found, table: &Ivrs, view: &KernelView) {
    let entries = || table.ivmd.iter().filter_map(|ivmd| Some((ivmd, view.entry_of(ivmd.index)?)));
    // A table that needs the limit has lost its meaning long before.
    let mut left = PAIRS;
    let blocks: Vec<_> = entries().take(4096).collect();
    for (number, (ivmd, entry)) in blocks.iter().enumerate() {
        for (earlier, other) in blocks.iter().take(number) {
            let Some(fewer) = left.checked_sub(1) else { return };
            left = fewer;
            let same_devices =
                entry.devid_start <= other.devid_end && other.devid_start <= entry.devid_end;
            if entry.segment != other.segment || !same_devices {
                continue;
            }
            let equal = (entry.devid_start, entry.devid_end, entry.start, entry.end_exclusive)
                == (other.devid_start, other.devid_end, other.start, other.end_exclusive);
            if equal {
                let message = format!(
                    "{} asks for the same memory and the same devices as ivmd:{}.",
                    name(ivmd),
                    earlier.index
                );
                of_ivmd(found, Code::IvmdDuplicate, ivmd, 0..=31, message);
            } else if entry.start < other.end_exclusive && other.start < entry.end_exclusive {
                let message = format!(
                    "{} asks for memory that ivmd:{} asks for as well, from {:#x} to {:#x}, for \
                     devices that both cover.",
                    name(ivmd),
                    earlier.index,
                    entry.start.max(other.start),
                    entry.end_inclusive().min(other.end_inclusive())
                );
                of_ivmd(found, Code::IvmdOverlap, ivmd, 16..=31, message);
            }
        }
    }
}

fn name(ivmd: &Ivmd) -> String {
    format!("ivmd:{}", ivmd.index)
}

fn range(first: Devid, last: Devid) -> String {
    if first == last { first.to_string() } else { format!("{first} to {last}") }
}
