//! What `decode` says of a DMAR table: its IOMMUs, the memory that it reserves for devices, and the
//! places of the rest. Which functions of a host a device scope leads to is not known from a table.

use super::{
    amd_json::{FindingDocument, HeaderDocument},
    amd_text::Detail,
    layout::{
        BLOCK, block_at, bold_title, bytes, count, field, findings, findings_row, header,
        paragraph, summary_row, title,
    },
};
use crate::{
    firmware::{
        Dmar, Drhd, Rmrr,
        acpi::{BlockHeader, OtherBlock},
        intel::{
            dmar::{Scope, structure_name},
            findings as find,
        },
    },
    fmt::sentence,
    hex::{Hex, HexBytes},
    object::object,
    pci::Segment,
    report::{
        cause::rmrr_memory_text,
        page::{Page, Style},
    },
};

/// The document of a DMAR.
#[must_use]
pub fn decode_dmar(table: &Dmar) -> DecodeDmar {
    DecodeDmar::of(table)
}

object! {
    /// What `decode --json` prints of a DMAR table.
    DecodeDmar schema "ivrs-trace/decode-dmar/1" of (table: &Dmar) {
        /// The table's header.
        table: DmarTable = DmarTable::of(table),
        /// Why the kernel gets no IOMMU from the table; null if it does, as far as the table decides
        /// it.
        fatal: Option<String> = table.fatal().map(|fatal| fatal.to_string()),
        /// The DRHD structures in table order.
        drhd: Vec<DrhdDocument> = table.drhd.iter().map(DrhdDocument::of).collect(),
        /// The RMRR structures in table order.
        rmrr: Vec<RmrrDocument> = table.rmrr.iter().map(RmrrDocument::of).collect(),
        /// The other structures in table order.
        others: Vec<StructureDocument> = table.others.iter().map(StructureDocument::of).collect(),
        /// Findings.
        findings: Vec<FindingDocument> =
            find::of_table(table).into_iter().map(FindingDocument::of).collect(),
    }

    /// The header of a DMAR.
    DmarTable of (table: &Dmar) {
        /// `DMAR`.
        #[cfg_attr(feature = "schema", schemars(extend("const" = "DMAR")))]
        signature: &'static str = "DMAR",
        #[serde(flatten)]
        header: HeaderDocument = HeaderDocument::of(&table.header, table.trailing),
        /// Width of the host's addresses in bits.
        address_bits: u16 = u16::from(table.width) + 1,
        /// Its flags: bit 0 interrupt remapping, bit 1 no x2APIC, bit 2 DMA protection.
        flags: Hex<u8, 2> = Hex(table.flags),
    }

    /// A DRHD structure.
    DrhdDocument of (drhd: &Drhd) {
        /// Where it starts.
        offset: Hex<usize> = Hex(drhd.offset),
        /// Length in bytes.
        length: u16 = drhd.length,
        /// Flags byte.
        flags: Hex<u8, 2> = Hex(drhd.flags),
        /// Whether it serves all devices of the segment that no other DRHD names.
        include_all: bool = drhd.include_all(),
        /// PCI segment.
        segment: Segment = drhd.segment,
        /// Address of the IOMMU's registers.
        mmio: Hex<u64> = Hex(drhd.address),
        /// The devices behind it.
        scopes: Vec<ScopeDocument> = drhd.scopes.iter().map(ScopeDocument::of).collect(),
    }

    /// An RMRR structure.
    RmrrDocument of (rmrr: &Rmrr) {
        /// Its number among the RMRR structures, from 0.
        index: usize = rmrr.index,
        /// Where it starts.
        offset: Hex<usize> = Hex(rmrr.offset),
        /// Length in bytes.
        length: u16 = rmrr.length,
        /// PCI segment.
        segment: Segment = rmrr.segment,
        /// First byte of memory.
        start: Hex<u64> = Hex(rmrr.base),
        /// Last byte of memory.
        end: Hex<u64> = Hex(rmrr.limit),
        /// The devices that it is for.
        scopes: Vec<ScopeDocument> = rmrr.scopes.iter().map(ScopeDocument::of).collect(),
        /// Its bytes.
        bytes: HexBytes = HexBytes(rmrr.bytes.clone()),
    }

    /// A device scope.
    ScopeDocument of (scope: &Scope) {
        /// Where it starts.
        offset: Hex<usize> = Hex(scope.offset),
        /// Type byte: 1 a PCI function, 2 a PCI bridge and all below it, 3 an I/O APIC, 4 a timer, 5
        /// an ACPI device.
        #[serde(rename = "type")]
        kind: Hex<u8, 2> = Hex(scope.kind.code()),
        /// Length in bytes.
        length: u8 = scope.length,
        /// Id of an I/O APIC, a timer or an ACPI device.
        enumeration_id: Hex<u8, 2> = Hex(scope.enumeration_id),
        /// The bus on which the path begins.
        bus: Hex<u8, 2> = Hex(scope.bus),
        /// Device and function a step, in hex, such as `1c.4`; all steps but the last are bridges.
        path: Vec<String> = scope
            .path
            .iter()
            .map(|step| format!("{:02x}.{:x}", step.device, step.function))
            .collect(),
    }

    /// A structure that is not decoded.
    StructureDocument of (other: &OtherBlock) {
        /// Where it starts.
        offset: Hex<usize> = Hex(other.offset),
        /// Its type.
        #[serde(rename = "type")]
        kind: Hex<u16> = Hex(other.kind),
        /// What such structures are called; null for a type without a meaning.
        name: Option<&'static str> = structure_name(other.kind),
        /// Length in bytes.
        length: u16 = other.length,
        /// Its bytes, as many as the table has.
        bytes: HexBytes = HexBytes(other.bytes.clone()),
    }
}

/// The text of a DMAR. [`Detail::All`] also shows the devices of the IOMMUs and the bytes of what is
/// not decoded.
#[must_use]
pub fn dmar_text(table: &Dmar, detail: Detail, style: Style) -> String {
    let found = find::of_table(table);
    let mut page = Page::new(style);
    write_summary(&mut page, table);
    findings_row(&mut page, &found);
    for structure in &table.structures {
        page.blank();
        write_structure(&mut page, structure, table, detail);
    }
    findings(&mut page, &found);
    page.finish()
}

/// What there is to say of a DMAR as a whole.
#[cfg(feature = "tui")]
pub(crate) fn dmar_summary(table: &Dmar, style: Style) -> String {
    let mut page = Page::new(style);
    write_summary(&mut page, table);
    page.finish()
}

/// The text of one structure of a DMAR.
pub(crate) fn dmar_structure(structure: &BlockHeader, table: &Dmar, style: Style) -> String {
    let mut page = Page::new(style);
    write_structure(&mut page, structure, table, Detail::All);
    page.finish()
}

fn write_summary(page: &mut Page, table: &Dmar) {
    let memory = match table.rmrr.len() {
        0 => "no RMRR: it asks for no 1:1 map".to_owned(),
        number => count(number, "RMRR"),
    };
    paragraph(
        page,
        0,
        &format!("DMAR table with {} and {memory}.", count(table.drhd.len(), "IOMMU")),
    );
    if let Some(fatal) = table.fatal() {
        paragraph(page, 2, &sentence(&fatal.to_string()));
    }
    if !table.rmrr.is_empty() {
        paragraph(
            page,
            2,
            "Linux refuses the devices that an RMRR names to VFIO, and all below a bridge that it \
             names; not USB controllers and display devices. `ivrs-trace check` says which \
             functions of a host those are.",
        );
    }
    page.blank();
    header(page, &table.header);
    let text = format!(
        "{:#04x}: interrupt remapping {},{} DMA protection {}; addresses of {} bits",
        table.flags,
        if table.flags & 1 != 0 { "yes" } else { "no" },
        if table.flags & 2 != 0 { " no x2APIC (X2APIC_OPT_OUT)," } else { "" },
        if table.flags & 4 != 0 { "asked for" } else { "not asked for" },
        u16::from(table.width) + 1
    );
    summary_row(page, "Flags", &text);
}

fn write_structure(page: &mut Page, structure: &BlockHeader, table: &Dmar, detail: Detail) {
    let at = structure.offset;
    if let Some(drhd) = block_at(&table.drhd, at, |one| one.offset) {
        drhd_text(page, drhd, detail);
    } else if let Some(rmrr) = block_at(&table.rmrr, at, |one| one.offset) {
        rmrr_text(page, rmrr);
    } else if let Some(other) = block_at(&table.others, at, |one| one.offset) {
        let kind = other.kind;
        let name = structure_name(kind).map_or_else(
            || format!("Structure of unknown type {kind:#06x}"),
            |name| format!("{name} (type {kind})"),
        );
        title(page, at, &format!("{name}, {} bytes", other.length));
        if detail == Detail::All {
            bytes(page, &other.bytes);
        }
    } else {
        let (kind, length) = (structure.kind, structure.length);
        let text = format!(
            "Structure of type {kind:#06x} and length {length}, which cannot be read whole"
        );
        title(page, at, &text);
    }
}

fn drhd_text(page: &mut Page, drhd: &Drhd, detail: Detail) {
    let text = format!("DRHD, {} bytes: IOMMU, registers at {:#x}", drhd.length, drhd.address);
    bold_title(page, drhd.offset, &text);
    let whom = if drhd.include_all() { "every other device" } else { "the devices named here" };
    paragraph(
        page,
        BLOCK,
        &format!("flags {:#04x}: {whom} of segment {}", drhd.flags, drhd.segment),
    );
    if detail == Detail::All {
        scopes_text(page, &drhd.scopes);
    } else if !drhd.scopes.is_empty() {
        let hint = if detail == Detail::Used { ", which --all shows" } else { "" };
        paragraph(page, BLOCK, &format!("{}{hint}", count(drhd.scopes.len(), "device scope")));
    }
}

fn rmrr_text(page: &mut Page, rmrr: &Rmrr) {
    let text = format!("rmrr:{}, RMRR, {} bytes", rmrr.index, rmrr.length);
    bold_title(page, rmrr.offset, &text);
    field(page, "memory", &rmrr_memory_text(rmrr));
    field(page, "segment", &rmrr.segment.to_string());
    scopes_text(page, &rmrr.scopes);
    bytes(page, &rmrr.bytes);
}

fn scopes_text(page: &mut Page, scopes: &[Scope]) {
    for (number, scope) in scopes.iter().enumerate() {
        let label = if number == 0 { "devices" } else { "" };
        field(page, label, &format!("{scope} (offset {:#x})", scope.offset));
    }
}
