//! What `decode` says of a DMAR table: its IOMMUs, the memory that it reserves for devices, and the
//! places of the rest. Which functions of a host a device scope leads to is not known from a table.

use super::{
    amd_json::{FindingDocument, HeaderDocument},
    amd_text::{BLOCK, Detail, FIELD, SUMMARY, count, findings_row, list, place, quoted},
    page::Page,
};
use crate::{
    firmware::{
        Dmar, Drhd, Rmrr,
        acpi::OtherBlock,
        findings::{self, sentence},
        intel::dmar::{Scope, structure_name},
    },
    hex::{Hex, HexBytes},
    object::object,
    pci::Segment,
    report::{Style, hex_bytes, size},
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
            findings::of_dmar(table).into_iter().map(FindingDocument::of).collect(),
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
    let found = findings::of_dmar(table);
    let mut page = Page::new(style);
    let memory = match table.rmrr.len() {
        0 => "no RMRR: nothing is to be mapped 1:1".to_owned(),
        number => count(number, "RMRR"),
    };
    page.text(0, &format!("DMAR table with {} and {memory}.", count(table.drhd.len(), "IOMMU")));
    if let Some(fatal) = table.fatal() {
        page.text(2, &sentence(&fatal.to_string()));
    }
    if !table.rmrr.is_empty() {
        page.text(
            2,
            "The devices that an RMRR names are refused to VFIO, all below a bridge that it names \
             among them, but for USB controllers and display devices. Which functions of a host \
             those are, `ivrs-trace check` says.",
        );
    }
    page.blank();
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
    row(
        "Flags",
        &format!(
            "{:#04x}: interrupt remapping {}, DMA protection {}; addresses of {} bits",
            table.flags,
            if table.flags & 1 != 0 { "yes" } else { "no" },
            if table.flags & 4 != 0 { "asked for" } else { "not asked for" },
            u16::from(table.width) + 1
        ),
    );
    findings_row(&mut page, &found);
    let mut iommus = table.drhd.iter().peekable();
    let mut memory = table.rmrr.iter().peekable();
    let mut others = table.others.iter().peekable();
    for structure in &table.structures {
        page.blank();
        if let Some(drhd) = iommus.next_if(|one| one.offset == structure.offset) {
            drhd_text(&mut page, drhd, detail);
        } else if let Some(rmrr) = memory.next_if(|one| one.offset == structure.offset) {
            rmrr_text(&mut page, rmrr);
        } else if let Some(other) = others.next_if(|one| one.offset == structure.offset) {
            other_text(&mut page, other, detail);
        } else {
            let title = format!(
                "Structure of type {} and length {}, which cannot be read whole",
                structure.kind, structure.length
            );
            page.labelled(0, &place(structure.offset), BLOCK, &title);
        }
    }
    list(&mut page, &found);
    page.finish()
}

fn drhd_text(page: &mut Page, drhd: &Drhd, detail: Detail) {
    let title = format!("DRHD, {} bytes: IOMMU, registers at {:#x}", drhd.length, drhd.address);
    let title = page.style().bold(&title);
    page.labelled(0, &place(drhd.offset), BLOCK, &title);
    let whom = if drhd.include_all() { "every other device" } else { "the devices named here" };
    page.text(BLOCK, &format!("flags {:#04x}: {whom} of segment {}", drhd.flags, drhd.segment));
    if detail == Detail::All {
        scopes_text(page, &drhd.scopes);
    } else if !drhd.scopes.is_empty() {
        let scopes = count(drhd.scopes.len(), "device scope");
        page.text(BLOCK, &format!("{scopes}, which --all shows"));
    }
}

fn rmrr_text(page: &mut Page, rmrr: &Rmrr) {
    let title = format!("rmrr:{}, RMRR, {} bytes", rmrr.index, rmrr.length);
    let title = page.style().bold(&title);
    page.labelled(0, &place(rmrr.offset), BLOCK, &title);
    let memory = memory_text(rmrr);
    page.labelled(BLOCK, "memory", FIELD, &memory);
    page.labelled(BLOCK, "segment", FIELD, &rmrr.segment.to_string());
    scopes_text(page, &rmrr.scopes);
    for (number, line) in rmrr.bytes.chunks(16).enumerate() {
        let label = if number == 0 { "bytes" } else { "" };
        page.labelled(BLOCK, label, FIELD, &hex_bytes(line));
    }
}

/// The memory of an RMRR, with its size if it has one.
pub(in crate::report) fn memory_text(rmrr: &Rmrr) -> String {
    let (base, limit) = (rmrr.base, rmrr.limit);
    if limit < base {
        return format!("{base:#x} to {limit:#x}, which is below its start");
    }
    format!("{base:#x} to {limit:#x} ({})", size(rmrr.memory_length()))
}

fn scopes_text(page: &mut Page, scopes: &[Scope]) {
    for (number, scope) in scopes.iter().enumerate() {
        let label = if number == 0 { "devices" } else { "" };
        page.labelled(BLOCK, label, FIELD, &format!("{scope} (offset {:#x})", scope.offset));
    }
}

fn other_text(page: &mut Page, other: &OtherBlock, detail: Detail) {
    let name = match structure_name(other.kind) {
        Some(name) => format!("{name} (type {})", other.kind),
        None => format!("Structure of unknown type {}", other.kind),
    };
    page.labelled(0, &place(other.offset), BLOCK, &format!("{name}, {} bytes", other.length));
    if detail == Detail::All {
        for (number, line) in other.bytes.chunks(16).enumerate() {
            let label = if number == 0 { "bytes" } else { "" };
            page.labelled(BLOCK, label, FIELD, &hex_bytes(line));
        }
    }
}
