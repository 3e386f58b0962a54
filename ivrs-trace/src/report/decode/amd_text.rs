//! The text of `decode` and `explain`: a summary, the blocks in table order, the findings.

use std::collections::{BTreeMap, BTreeSet};

use super::layout::{
    BLOCK, block_at, bold_title, bytes, count, field, findings, findings_row, header, labelled,
    paragraph, place, summary_row, title,
};
use crate::{
    firmware::{
        Ivhd, Ivmd, Ivrs, KernelView, UnityEntry,
        acpi::BlockHeader,
        amd::{
            device_entry::{Content, Devices, Entry, Settings, SpecialKind, Uid},
            findings as find,
            ivrs::{IvInfo, IvmdFlags, IvmdKind},
            kernel::Prot,
        },
    },
    fmt::sentence,
    pci::{Bdf, Devid, Segment},
    report::{
        hex_bytes,
        page::{Page, Style},
        size,
    },
};

/// How much is shown of the device entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// None, only how many there are.
    Blocks,
    /// Those of the IVHD blocks that the kernel uses.
    Used,
    /// Those of all IVHD blocks, with their bytes.
    All,
}

/// The text of a table.
#[must_use]
pub fn text(table: &Ivrs, view: &KernelView, detail: Detail, style: Style) -> String {
    let found = find::of_table(table, view);
    let mut page = Page::new(style);
    write_summary(&mut page, table, view);
    findings_row(&mut page, &found);
    for header in &table.blocks {
        page.blank();
        write_block(&mut page, header, table, view, detail);
    }
    findings(&mut page, &found);
    page.finish()
}

/// What there is to say of a table as a whole.
#[must_use]
pub fn summary(table: &Ivrs, view: &KernelView, style: Style) -> String {
    let mut page = Page::new(style);
    write_summary(&mut page, table, view);
    page.finish()
}

/// The text of one block of a table.
#[must_use]
pub fn block(
    header: &BlockHeader,
    table: &Ivrs,
    view: &KernelView,
    detail: Detail,
    style: Style,
) -> String {
    let mut page = Page::new(style);
    write_block(&mut page, header, table, view, detail);
    page.finish()
}

fn write_block(
    page: &mut Page,
    header: &BlockHeader,
    table: &Ivrs,
    view: &KernelView,
    detail: Detail,
) {
    let at = header.offset;
    if let Some(block) = block_at(&table.ivhd, at, |one| one.offset) {
        ivhd(page, block, table, view, detail);
    } else if let Some(block) = block_at(&table.ivmd, at, |one| one.offset) {
        ivmd(page, block, view);
    } else if let Some(block) = block_at(&table.unknown, at, |one| one.offset) {
        let text = format!(
            "Block of unknown type {:#04x}, {} bytes - ignored by Linux",
            block.kind, block.length
        );
        bold_title(page, at, &text);
        bytes(page, &block.bytes);
    } else {
        let (kind, length) = (header.kind, header.length);
        let text =
            format!("Block of type {kind:#04x} and length {length}, which cannot be read whole");
        title(page, at, &text);
    }
}

fn write_summary(page: &mut Page, table: &Ivrs, view: &KernelView) {
    let used = table.ivhd.iter().filter(|ivhd| view.uses(ivhd)).count();
    let units: BTreeSet<_> = table.ivhd.iter().map(|ivhd| (ivhd.segment, ivhd.devid)).collect();
    let iommus = if view.initialises() { used } else { units.len() };
    let blocks = match table.ivmd.len() {
        0 => "no IVMD block: it asks for no 1:1 map".to_owned(),
        number => {
            let used = if view.initialises() { view.entries.len() } else { 0 };
            let of_them = match (number, used) {
                (_, 0) => "ignored by Linux".to_owned(),
                (1, _) => "used by Linux".to_owned(),
                _ if number == used => "all used by Linux".to_owned(),
                _ => format!("{used} of them used by Linux"),
            };
            format!("{}, {of_them}", count(number, "IVMD block"))
        }
    };
    paragraph(page, 0, &format!("IVRS table with {} and {blocks}.", count(iommus, "IOMMU")));
    for reason in &view.fatal {
        paragraph(page, 2, &sentence(&reason.to_string()));
    }
    if let Some(truncation) = view.reads_beyond {
        paragraph(
            page,
            2,
            &format!(
                "Not certain to its end: {truncation}. The kernel reads on behind the table, into \
                 bytes that are not known here."
            ),
        );
    }
    page.blank();
    coverage(page, view);
    header(page, &table.header);
    summary_row(page, "IVinfo", &ivinfo(table.ivinfo));
    summary_row(page, "IVHD", &types(table, view));
}

/// The devices that have regions, each range once.
fn coverage(page: &mut Page, view: &KernelView) {
    if !view.initialises() || view.entries.is_empty() {
        return;
    }
    let mut ranges: BTreeMap<_, (Vec<String>, u64)> = BTreeMap::new();
    // Without an IOMMU there is nothing to be blocked.
    let reach = |entry: &&UnityEntry| {
        let last = view.last_bdf.get(&entry.segment);
        entry.devid_start <= entry.devid_end && last.is_some_and(|last| entry.devid_start <= *last)
    };
    for entry in view.entries.iter().filter(reach) {
        let key = (entry.segment, entry.devid_start, entry.devid_end);
        let (names, bytes) = ranges.entry(key).or_default();
        names.push(format!("ivmd:{}", entry.ivmd_index));
        *bytes = bytes.saturating_add(entry.length());
    }
    let mut label = "Blocked";
    for ((segment, first, last), (names, bytes)) in &ranges {
        let text = format!(
            "{}: {}, {} ({})",
            devices(*segment, *first, *last),
            count(names.len(), "region"),
            size(*bytes),
            names.join(", ")
        );
        summary_row(page, label, &text);
        label = "";
    }
    if ranges.is_empty() {
        return;
    }
    summary_row(page, "", "Linux 6.6 and later refuses any device there to VFIO.");
    for entry in view.entries.iter().filter(reach).filter(|entry| entry.fails_iommu()).take(8) {
        let text = format!(
            "ivmd:{} allows no access: where a device matches it, the kernel gives up the IOMMU.",
            entry.ivmd_index
        );
        summary_row(page, "", &text);
    }
    page.blank();
}

fn ivinfo(ivinfo: IvInfo) -> String {
    let guest = match ivinfo.gva_size() {
        0 => String::new(),
        2 => ", 48 guest virtual".to_owned(),
        other => format!(", guest virtual of encoding {other}"),
    };
    let mut parts = vec![
        format!(
            "pre-boot DMA protection {} (bit 1)",
            if ivinfo.dma_remap() { "set" } else { "not set" }
        ),
        format!("address bits {} physical, {} virtual{guest}", ivinfo.pa_size(), ivinfo.va_size()),
    ];
    parts.push(
        if ivinfo.efr_sup() { "feature registers reported" } else { "no feature registers" }
            .to_owned(),
    );
    if ivinfo.ht_ats_resv() {
        parts.push("HyperTransport ATS range reserved".to_owned());
    }
    if ivinfo.reserved() != 0 {
        parts.push(format!("bits without a meaning {:#x}", ivinfo.reserved()));
    }
    format!("{:#010x}: {}", ivinfo.0, parts.join("; "))
}

fn types(table: &Ivrs, view: &KernelView) -> String {
    let Some(target) = view.target_ivhd_type.filter(|_| !table.ivhd.is_empty()) else {
        return "no block".to_owned();
    };
    let kinds = table.ivhd.iter().map(|ivhd| ivhd.kind.code());
    let ignored: BTreeSet<u8> = kinds.filter(|kind| *kind != target).collect();
    if ignored.is_empty() {
        return format!("Linux uses the blocks of type {target:#04x}");
    }
    let ignored: Vec<String> = ignored.iter().map(|kind| format!("{kind:#04x}")).collect();
    let ignored = ignored.join(" and ");
    format!("Linux uses the blocks of type {target:#04x} and ignores those of type {ignored}")
}

fn ivhd(page: &mut Page, block: &Ivhd, table: &Ivrs, view: &KernelView, detail: Detail) {
    let chosen = view.target_ivhd_type == Some(block.kind.code());
    let text = format!(
        "IVHD {:#04x}{}, {} bytes: IOMMU {}, registers at {:#x}",
        block.kind.code(),
        if chosen { "" } else { " (ignored)" },
        block.length,
        device(block.segment, block.devid),
        block.mmio,
    );
    let text = if chosen { page.style().bold(&text) } else { text };
    title(page, block.offset, &text);
    let mut parts = vec![named(block.flags, block.flag_names())];
    parts.push(format!("capability at {:#x}", block.cap_offset));
    parts.push(format!("info {:#06x}", block.info));
    parts.push(format!("features {:#010x}", block.feature_info));
    if let (Some(efr), Some(efr2)) = (block.efr, block.efr2) {
        parts.push(format!("EFR {efr:#x}"));
        if efr2 != 0 {
            parts.push(format!("EFR2 {efr2:#x}"));
        }
    }
    paragraph(page, BLOCK, &format!("flags {}", parts.join(", ")));
    let entries = block.entries(table);
    if detail == Detail::Blocks || detail == Detail::Used && !chosen {
        let number = entries.iter().filter(|entry| entry.content != Content::Padding).count();
        let entries = count(number, "device entry");
        let hint = if detail == Detail::Used { ", which --all shows" } else { "" };
        paragraph(page, BLOCK, &format!("{entries}{hint}"));
        return;
    }
    let mut rest = entries.as_slice();
    while let Some(first) = rest.first() {
        // Filler is told once, however much there is of it.
        let padding = rest.iter().take_while(|entry| entry.content == Content::Padding).count();
        let label = |name: &str| format!("{} {name}", place(first.offset));
        if padding > 0 {
            let bytes: usize = rest.iter().take(padding).map(|entry| entry.bytes.len()).sum();
            labelled(page, BLOCK, &label("padding"), ENTRY, &format!("{bytes} bytes"));
        } else {
            let (name, text) = entry(first, block.segment);
            labelled(page, BLOCK, &label(name), ENTRY, &text);
            if detail == Detail::All {
                paragraph(page, ENTRY, &hex_bytes(&first.bytes));
                if let Content::Range { end, .. } = &first.content {
                    let text = format!("{}, end at {}", hex_bytes(&end.bytes), place(end.offset));
                    paragraph(page, ENTRY, &text);
                }
            }
        }
        rest = rest.get(padding.max(1)..).unwrap_or_default();
    }
}

/// Where the text of a device entry begins.
const ENTRY: usize = 23;

/// Name and text of a device entry.
#[must_use]
pub fn entry(entry: &Entry, segment: Segment) -> (&'static str, String) {
    let at = |devid| device(segment, devid);
    match &entry.content {
        Content::Padding => ("padding", String::new()),
        Content::All(settings) => {
            ("all", with_settings("every device of the segment".to_owned(), *settings))
        }
        Content::Device(of) => {
            (if of.source.is_some() { "alias" } else { "select" }, of_devices(of, segment))
        }
        Content::Range { devices: of, .. } => {
            (if of.source.is_some() { "alias" } else { "range" }, of_devices(of, segment))
        }
        Content::StartWithoutEnd(of) => ("range", format!("from {}, without an end", at(of.first))),
        Content::EndWithoutStart { last } => {
            ("range", format!("to {}, without a start", at(*last)))
        }
        Content::Special { handle, devid, kind, settings } => {
            let (name, text) = match kind {
                SpecialKind::IoApic => ("ioapic", format!("id {handle:#04x}")),
                SpecialKind::Hpet => ("hpet", format!("number {handle}")),
                SpecialKind::Other(other) => {
                    ("special", format!("handle {handle:#04x} of variety {other:#04x}"))
                }
            };
            (name, with_settings(format!("{text} at {}", at(*devid)), *settings))
        }
        Content::Acpi(of) => {
            let cid = match of.cid.as_str() {
                "" => String::new(),
                cid => format!(", compatible with {cid}"),
            };
            let uid = match &of.uid {
                Uid::None => String::new(),
                Uid::Integer { value, length } => format!(", UID {value} ({length} bytes)"),
                Uid::Text(uid) => format!(", UID \"{uid}\""),
                Uid::Unknown { format } => format!(", UID of format {format:#04x}"),
            };
            let text = format!("{} at {}{cid}{uid}", of.hid, at(of.devid));
            ("acpi", with_settings(text, of.settings))
        }
        Content::Reserved => ("unknown", hex_bytes(&entry.bytes)),
        Content::Cut => ("cut", format!("{}, where the table ends", hex_bytes(&entry.bytes))),
        Content::NoLength => {
            ("endless", format!("{}, which the kernel never gets past", hex_bytes(&entry.bytes)))
        }
    }
}

pub(super) fn of_devices(of: &Devices, segment: Segment) -> String {
    let of_source = |source| format!(", seen as {}", device(segment, source));
    let source = of.source.map_or_else(String::new, of_source);
    let extended = match of.extended {
        Some(_) if of.ats_disabled() => ", ATS off".to_owned(),
        Some(extended) => format!(", extended {extended:#x}"),
        None => String::new(),
    };
    let text = format!("{}{source}{extended}", devices(segment, of.first, of.last));
    with_settings(text, of.settings)
}

pub(super) fn with_settings(text: String, settings: Settings) -> String {
    let mut names: Vec<String> = settings.names().map(str::to_owned).collect();
    if settings.sys_mgt() != 0 {
        names.push(format!("SysMgt={}", settings.sys_mgt()));
    }
    if names.is_empty() { text } else { format!("{text} [{}]", names.join(" ")) }
}

fn ivmd(page: &mut Page, block: &Ivmd, view: &KernelView) {
    let kind = match block.kind {
        IvmdKind::All => "all devices",
        IvmdKind::Device => "one device",
        IvmdKind::Range => "a range of devices",
    };
    let text = format!(
        "IVMD {:#04x} = ivmd:{}, {kind}, flags {}",
        block.kind.code(),
        block.index,
        named_flags(block.flags)
    );
    bold_title(page, block.offset, &text);
    let (first, last) = view.devids_of(block);
    field(page, "devices", &devices(block.segment, first, last));
    let (start, length) = (block.start, block.length);
    field(page, "memory", &format!("{start:#x}, length {length:#x} ({})", size(length)));
    field(page, "kernel", &region(block, view));
    bytes(page, &block.bytes);
}

/// The flags of an IVMD block: the byte, and the names of those that are set.
#[must_use]
pub fn named_flags(flags: IvmdFlags) -> String {
    let names = [
        (flags.unity(), "unity map"),
        (flags.read(), "read"),
        (flags.write(), "write"),
        (flags.exclusion(), "exclusion"),
    ];
    named(flags.0, names.into_iter().filter(|(set, _)| *set).map(|(_, name)| name))
}

/// What the kernel makes of an IVMD block.
fn region(block: &Ivmd, view: &KernelView) -> String {
    match view.entry_of(block.index) {
        None => "ignored: it asks for neither a unity map nor an exclusion range".to_owned(),
        Some(_) if !view.initialises() => "nothing: it gets no IOMMU from this table".to_owned(),
        Some(entry) if entry.length() == 0 => {
            format!("{}; it blocks like any other", direct_region(entry.start, 0, entry.prot))
        }
        Some(entry) => direct_region(entry.start, entry.length(), entry.prot),
    }
}

/// A direct region of the kernel's.
pub(super) fn direct_region(start: u64, length: u64, prot: Prot) -> String {
    let access = access(prot);
    if length == 0 {
        return format!("direct region at {start:#x} of no length, {access}");
    }
    let last = start.wrapping_add(length).wrapping_sub(1);
    format!("direct region {start:#x} to {last:#x} ({}), {access}", size(length))
}

fn access(prot: Prot) -> &'static str {
    match (prot.read(), prot.write()) {
        (true, true) => "read and write",
        (true, false) => "read only",
        (false, true) => "write only",
        (false, false) => "no access",
    }
}

fn named(flags: u8, names: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        format!("{flags:#04x}")
    } else {
        format!("{flags:#04x} ({})", names.join(", "))
    }
}

/// An address without the segment where that is 0.
pub(super) fn device(segment: Segment, devid: Devid) -> String {
    if segment == Segment(0) { devid.to_string() } else { Bdf::new(segment, devid).to_string() }
}

/// Devices by their addresses, without the segment where that is 0.
#[must_use]
pub fn devices(segment: Segment, first: Devid, last: Devid) -> String {
    if first == last {
        device(segment, first)
    } else {
        format!("{} to {last}", device(segment, first))
    }
}
