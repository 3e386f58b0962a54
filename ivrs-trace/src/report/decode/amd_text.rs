//! The text of `decode` and `explain`: a summary, the blocks in table order, the findings.

use std::collections::{BTreeMap, BTreeSet};

use super::page::Page;
use crate::{
    codes::{Code, Severity},
    escape::printable_bytes,
    firmware::{
        Finding, Ivhd, Ivmd, Ivrs, KernelView, UnityEntry,
        acpi::{BlockHeader, OtherBlock},
        amd::{
            device_entry::{Content, Devices, Entry, Settings, SpecialKind, Uid},
            ivrs::{IvmdFlags, IvmdKind},
            kernel::Prot,
        },
        findings,
    },
    pci::{Bdf, Devid, Segment},
    report::{Style, hex_bytes, size},
};

/// Where the text beside an offset begins.
pub(super) const BLOCK: usize = 7;
/// Where the text beside a name in a block begins.
pub(super) const FIELD: usize = 16;
/// Where the text beside a name in the summary begins.
pub(super) const SUMMARY: usize = 11;

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
    let found = findings::of_table(table, view);
    let mut page = Page::new(style);
    write_summary(&mut page, table, view);
    findings_row(&mut page, &found);
    for header in &table.blocks {
        page.blank();
        write_block(&mut page, header, table, view, detail);
    }
    list(&mut page, &found);
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
    // All are in table order.
    let iommu = table.ivhd.binary_search_by_key(&header.offset, |block| block.offset);
    let memory = table.ivmd.binary_search_by_key(&header.offset, |block| block.offset);
    let unknown = table.unknown.binary_search_by_key(&header.offset, |block| block.offset);
    if let Some(block) = iommu.ok().and_then(|at| table.ivhd.get(at)) {
        ivhd(page, block, table, view, detail);
    } else if let Some(block) = memory.ok().and_then(|at| table.ivmd.get(at)) {
        ivmd(page, block, view);
    } else if let Some(block) = unknown.ok().and_then(|at| table.unknown.get(at)) {
        of_unknown(page, block);
    } else {
        cut(page, header);
    }
}

fn write_summary(page: &mut Page, table: &Ivrs, view: &KernelView) {
    let used = table.ivhd.iter().filter(|ivhd| view.uses(ivhd)).count();
    let units: BTreeSet<_> = table.ivhd.iter().map(|ivhd| (ivhd.segment, ivhd.devid)).collect();
    let iommus = if view.initialises() { used } else { units.len() };
    let blocks = match table.ivmd.len() {
        0 => "no IVMD block: nothing is to be mapped 1:1".to_owned(),
        number => {
            let heeded = if view.initialises() { view.entries.len() } else { 0 };
            let of_them = match (number, heeded) {
                (_, 0) => "not heeded by the kernel".to_owned(),
                (1, _) => "heeded by the kernel".to_owned(),
                _ if number == heeded => "all heeded by the kernel".to_owned(),
                _ => format!("{heeded} of them heeded by the kernel"),
            };
            format!("{}, {of_them}", count(number, "IVMD block"))
        }
    };
    page.text(0, &format!("IVRS table with {} and {blocks}.", count(iommus, "IOMMU")));
    for reason in &view.fatal {
        page.text(2, &findings::sentence(&reason.to_string()));
    }
    if let Some(truncation) = view.reads_beyond {
        page.text(
            2,
            &format!(
                "Not certain to its end: {truncation}. The kernel reads on behind the table, into \
                 bytes that are not known here."
            ),
        );
    }
    page.blank();
    coverage(page, view);
    let header = &table.header;
    let mut row = |name, text: &str| page.labelled(0, name, SUMMARY, text);
    row(
        "Table",
        &format!(
            "{} bytes, revision {}, checksum {:#04x} ({})",
            header.length,
            header.revision,
            header.checksum,
            if header.checksum_ok { "right" } else { "wrong" }
        ),
    );
    row(
        "OEM",
        &format!(
            "{}, table {}, revision {:#x}; made by {} {:#x}",
            quoted(&header.oem_id),
            quoted(&header.oem_table_id),
            header.oem_revision,
            quoted(&header.creator_id),
            header.creator_revision
        ),
    );
    row("IVinfo", &ivinfo(table));
    row("IVHD", &types(table, view));
}

/// How many findings there are.
pub(super) fn findings_row(page: &mut Page, found: &[Finding]) {
    let number = |severity| found.iter().filter(|one| one.severity == severity).count();
    let text = if found.is_empty() {
        "none".to_owned()
    } else {
        format!(
            "{}, {}, {}; they are at the end",
            count(number(Severity::Error), "error"),
            count(number(Severity::Warning), "warning"),
            count(number(Severity::Note), "note")
        )
    };
    page.labelled(0, "Findings", SUMMARY, &text);
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
        page.labelled(0, label, SUMMARY, &text);
        label = "";
    }
    if ranges.is_empty() {
        return;
    }
    page.labelled(
        0,
        "",
        SUMMARY,
        "Whatever device is there, Linux 6.6 and later will not hand it to VFIO.",
    );
    for entry in view.entries.iter().filter(reach).filter(|entry| entry.fails_iommu()).take(8) {
        let text = format!(
            "ivmd:{} allows no access: where a device matches it, the kernel gives up the IOMMU.",
            entry.ivmd_index
        );
        page.labelled(0, "", SUMMARY, &text);
    }
    page.blank();
}

fn ivinfo(table: &Ivrs) -> String {
    let ivinfo = table.ivinfo;
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
    let mut ignored: BTreeMap<u8, usize> = BTreeMap::new();
    for ivhd in table.ivhd.iter().filter(|ivhd| ivhd.kind.code() != target) {
        *ignored.entry(ivhd.kind.code()).or_default() += 1;
    }
    let mut text = format!("the kernel goes by the blocks of type {target:#04x}");
    if !ignored.is_empty() {
        let kinds: Vec<String> = ignored.keys().map(|kind| format!("{kind:#04x}")).collect();
        text.push_str(
            &format_args!(" and ignores those of type {}", kinds.join(" and ")).to_string(),
        );
    }
    text
}

fn ivhd(page: &mut Page, block: &Ivhd, table: &Ivrs, view: &KernelView, detail: Detail) {
    let chosen = view.target_ivhd_type == Some(block.kind.code());
    let title = format!(
        "IVHD {:#04x}{}, {} bytes: IOMMU {}, registers at {:#x}",
        block.kind.code(),
        if chosen { "" } else { " (ignored)" },
        block.length,
        device(block.segment, block.devid),
        block.mmio,
    );
    let title = if chosen { page.style().bold(&title) } else { title };
    page.labelled(0, &place(block.offset), BLOCK, &title);
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
    page.text(BLOCK, &format!("flags {}", parts.join(", ")));
    let entries = block.entries(table);
    if detail == Detail::Blocks || detail == Detail::Used && !chosen {
        let number = entries.iter().filter(|entry| entry.content != Content::Padding).count();
        let entries = if number == 1 {
            "1 device entry".to_owned()
        } else {
            format!("{number} device entries")
        };
        let hint = if detail == Detail::Used { ", which --all shows" } else { "" };
        page.text(BLOCK, &format!("{entries}{hint}"));
        return;
    }
    let mut rest = entries.as_slice();
    while let Some(first) = rest.first() {
        // Filler is told once, however much there is of it.
        let padding = rest.iter().take_while(|entry| entry.content == Content::Padding).count();
        let label = |name: &str| format!("{} {name}", place(first.offset));
        if padding > 0 {
            let bytes: usize = rest.iter().take(padding).map(|entry| entry.bytes.len()).sum();
            page.labelled(BLOCK, &label("padding"), ENTRY, &format!("{bytes} bytes"));
        } else {
            let (name, text) = entry(first, block.segment);
            page.labelled(BLOCK, &label(name), ENTRY, &text);
            if detail == Detail::All {
                page.text(ENTRY, &hex_bytes(&first.bytes));
                if let Content::Range { end, .. } = &first.content {
                    let text = format!("{}, end at {}", hex_bytes(&end.bytes), place(end.offset));
                    page.text(ENTRY, &text);
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
            let mut text = format!("{} at {}", of.hid, at(of.devid));
            if !of.cid.is_empty() {
                text.push_str(", compatible with ");
                text.push_str(&of.cid);
            }
            match &of.uid {
                Uid::None => {}
                Uid::Integer { value, length } => {
                    text.push_str(&format_args!(", UID {value} ({length} bytes)").to_string());
                }
                Uid::Text(uid) => text.push_str(&format_args!(", UID \"{uid}\"").to_string()),
                Uid::Unknown { format } => {
                    text.push_str(&format_args!(", UID of format {format:#04x}").to_string());
                }
            }
            ("acpi", with_settings(text, of.settings))
        }
        Content::Reserved => ("unknown", hex_bytes(&entry.bytes)),
        Content::Cut => ("cut", format!("{}, where the table ends", hex_bytes(&entry.bytes))),
        Content::NoLength => {
            ("endless", format!("{}, which the kernel never gets past", hex_bytes(&entry.bytes)))
        }
    }
}

fn of_devices(of: &Devices, segment: Segment) -> String {
    let mut text = devices(segment, of.first, of.last);
    if let Some(source) = of.source {
        text.push_str(", seen as ");
        text.push_str(&device(segment, source));
    }
    if of.ats_disabled() {
        text.push_str(", ATS off");
    } else if let Some(extended) = of.extended {
        text.push_str(&format_args!(", extended {extended:#x}").to_string());
    }
    with_settings(text, of.settings)
}

fn with_settings(mut text: String, settings: Settings) -> String {
    let mut names: Vec<String> = settings.names().map(str::to_owned).collect();
    if settings.sys_mgt() != 0 {
        names.push(format!("SysMgt={}", settings.sys_mgt()));
    }
    if !names.is_empty() {
        text.push_str(&format_args!(" [{}]", names.join(" ")).to_string());
    }
    text
}

fn ivmd(page: &mut Page, block: &Ivmd, view: &KernelView) {
    let kind = match block.kind {
        IvmdKind::All => "all devices",
        IvmdKind::Device => "one device",
        IvmdKind::Range => "a range of devices",
    };
    let title = format!(
        "IVMD {:#04x} = ivmd:{}, {kind}, flags {}",
        block.kind.code(),
        block.index,
        named_flags(block.flags)
    );
    page.labelled(0, &place(block.offset), BLOCK, &page.style().bold(&title));
    let mut row = |name, text: &str| page.labelled(BLOCK, name, FIELD, text);
    let (first, last) = view.devids_of(block);
    row("devices", &devices(block.segment, first, last));
    row(
        "memory",
        &format!("{:#x}, length {:#x} ({})", block.start, block.length, size(block.length)),
    );
    row("kernel", &region(block, view));
    for line in block.bytes.chunks(16).enumerate() {
        row(if line.0 == 0 { "bytes" } else { "" }, &hex_bytes(line.1));
    }
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
    let Some(entry) = view.entry_of(block.index) else {
        return "ignored, for it asks for neither a unity map nor an exclusion".to_owned();
    };
    if !view.initialises() {
        return "nothing, for it gets no IOMMU from this table".to_owned();
    }
    let access = access(entry.prot);
    if entry.length() == 0 {
        return format!(
            "direct region at {:#x} of no length, {access}; it blocks like any other",
            entry.start
        );
    }
    format!(
        "direct region {:#x} to {:#x} ({}), {access}",
        entry.start,
        entry.end_inclusive(),
        size(entry.length())
    )
}

pub(super) fn access(prot: Prot) -> &'static str {
    match (prot.read(), prot.write()) {
        (true, true) => "read and write",
        (true, false) => "read only",
        (false, true) => "write only",
        (false, false) => "no access",
    }
}

fn of_unknown(page: &mut Page, block: &OtherBlock) {
    let title = format!(
        "Block of unknown type {:#04x}, {} bytes - the kernel steps over it",
        block.kind, block.length
    );
    page.labelled(0, &place(block.offset), BLOCK, &page.style().bold(&title));
    for (number, line) in block.bytes.chunks(16).enumerate() {
        let label = if number == 0 { "bytes" } else { "" };
        page.labelled(BLOCK, label, FIELD, &hex_bytes(line));
    }
}

fn cut(page: &mut Page, header: &BlockHeader) {
    let title = format!(
        "Block of type {:#04x} and length {}, which cannot be read whole",
        header.kind, header.length
    );
    page.labelled(0, &place(header.offset), BLOCK, &title);
}

pub(super) fn list(page: &mut Page, found: &[Finding]) {
    if found.is_empty() {
        return;
    }
    // By weight; then in the order in which the codes are listed.
    let codes: BTreeSet<_> =
        found.iter().map(|one| (std::cmp::Reverse(one.severity), one.code)).collect();
    page.blank();
    let title = page.style().bold("Findings");
    page.text(0, &title);
    for (_, code) in codes {
        page.blank();
        page.text(2, &finding_title(code, page.style()));
        let mut rest: Vec<&Finding> = found.iter().filter(|one| one.code == code).collect();
        while let Some(first) = rest.first().copied() {
            let (same, others): (Vec<&Finding>, _) =
                rest.into_iter().partition(|one| predicate(one) == predicate(first));
            let label = first.place.map_or_else(String::new, |at| place(at.offset));
            page.labelled(4, &label, 4 + BLOCK, &message(first, &same));
            rest = others;
        }
    }
    page.blank();
    page.text(
        0,
        "`ivrs-trace explain CODE` says at length what a finding means and what to do about it.",
    );
}

/// The message without the IVMD block that it starts with.
fn predicate(finding: &Finding) -> Option<&str> {
    finding.message.strip_prefix(&format!("ivmd:{}", finding.ivmd?))
}

/// One sentence for the findings of `same`, which say the same of different IVMD blocks.
fn message(first: &Finding, same: &[&Finding]) -> String {
    match predicate(first) {
        Some(predicate) if same.len() > 1 => {
            let names: Vec<String> =
                same.iter().filter_map(|one| one.ivmd).map(|ivmd| format!("ivmd:{ivmd}")).collect();
            format!("Each of {}{predicate}", names.join(", "))
        }
        _ => first.message.clone(),
    }
}

/// The long text of a code.
#[must_use]
pub fn explanation(code: Code, style: Style) -> String {
    let known = code.explanation();
    let mut page = Page::new(style);
    page.text(0, &finding_title(code, style));
    let sections: [(_, Vec<String>); 2] =
        [("What it means", known.meaning().collect()), ("What to do", known.advice().collect())];
    for (title, paragraphs) in sections {
        page.blank();
        page.text(0, &style.bold(title));
        for (number, paragraph) in paragraphs.iter().enumerate() {
            if number > 0 {
                page.blank();
            }
            page.text(2, paragraph);
        }
    }
    for (number, one) in known.switches().enumerate() {
        if number == 0 {
            page.blank();
            let title = "Settings that users reported to help (no promise for another board)";
            page.text(0, &style.bold(title));
        }
        page.text(2, one.board);
        page.labelled(4, "setting", 12, one.setting);
        page.labelled(4, "source", 12, one.source);
    }
    page.finish()
}

/// Every code with its title, a line each.
#[must_use]
pub fn codes(style: Style) -> String {
    let mut page = Page::new(style);
    let width = Code::ALL.iter().map(|code| code.as_str().len()).max().unwrap_or_default();
    for code in Code::ALL {
        let known = code.explanation();
        let label = format!("{code:<width$}  {:<7}", known.severity.as_str());
        page.labelled(0, &label, width + 11, known.title);
    }
    page.finish()
}

/// Code, title and severity.
fn finding_title(code: Code, style: Style) -> String {
    let known = code.explanation();
    let severity = style.weigh(known.severity, known.severity.as_str());
    format!("{}: {} ({severity})", style.bold(code.as_str()), known.title)
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
fn device(segment: Segment, devid: Devid) -> String {
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

pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

pub(super) fn place(offset: usize) -> String {
    format!("{offset:#05x}")
}

pub(super) fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", printable_bytes(bytes).trim_end_matches(' '))
}
