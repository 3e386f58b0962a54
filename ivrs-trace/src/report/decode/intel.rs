//! What `decode` says of a DMAR table: its IOMMUs, the memory that it reserves for devices, and the
//! places of the rest. Which functions of a host a device scope leads to is not known from a table.

use serde::Serialize;

use super::{
    amd_json::{FindingDocument, finding, name, number, place as hex_place},
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
    pci::Segment,
    report::{Style, cause::rmrr_memory_text, hex_bytes},
};

/// What `decode --json` prints of a DMAR table.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DecodeDmar {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/decode-dmar/1")))]
    pub schema: &'static str,
    /// The table's header.
    pub table: DmarTable,
    /// Why the kernel gets no IOMMU from the table; null if it does, as far as the table decides it.
    pub fatal: Option<String>,
    /// The DRHD structures in table order.
    pub drhd: Vec<DrhdDocument>,
    /// The RMRR structures in table order.
    pub rmrr: Vec<RmrrDocument>,
    /// The other structures in table order.
    pub others: Vec<StructureDocument>,
    /// What is worth telling.
    pub findings: Vec<FindingDocument>,
}

/// The header of a DMAR.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DmarTable {
    /// `DMAR`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "DMAR")))]
    pub signature: &'static str,
    /// Revision of the layout.
    pub revision: u8,
    /// Length in bytes.
    pub length: u32,
    /// The checksum byte.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub checksum: String,
    /// Whether it is right.
    pub checksum_ok: bool,
    /// OEM id without padding.
    pub oem_id: String,
    /// OEM table id without padding.
    pub oem_table_id: String,
    /// OEM revision.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub oem_revision: String,
    /// Id of the tool that made the table.
    pub creator_id: String,
    /// Revision of that tool.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub creator_revision: String,
    /// Bytes behind the table in what was given.
    pub trailing: usize,
    /// Width of the host's addresses in bits.
    pub address_bits: u16,
    /// Its flags: bit 0 interrupt remapping, bit 1 no x2APIC, bit 2 DMA protection.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub flags: String,
}

/// A DRHD structure.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DrhdDocument {
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Length in bytes.
    pub length: u16,
    /// Flags byte.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub flags: String,
    /// Whether it serves all devices of the segment that no other DRHD names.
    pub include_all: bool,
    /// PCI segment.
    pub segment: Segment,
    /// Address of the IOMMU's registers.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub mmio: String,
    /// The devices behind it.
    pub scopes: Vec<ScopeDocument>,
}

/// An RMRR structure.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RmrrDocument {
    /// Its number among the RMRR structures, from 0.
    pub index: usize,
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Length in bytes.
    pub length: u16,
    /// PCI segment.
    pub segment: Segment,
    /// First byte of memory.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub start: String,
    /// Last byte of memory.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub end: String,
    /// The devices that it is for.
    pub scopes: Vec<ScopeDocument>,
    /// Its bytes.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::HexBytes"))]
    pub bytes: String,
}

/// A device scope.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ScopeDocument {
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Type byte: 1 a PCI function, 2 a PCI bridge and all below it, 3 an I/O APIC, 4 a timer, 5 an
    /// ACPI device.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub kind: String,
    /// Length in bytes.
    pub length: u8,
    /// Id of an I/O APIC, a timer or an ACPI device.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub enumeration_id: String,
    /// The bus on which the path begins.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub bus: String,
    /// Device and function a step, in hex, such as `1c.4`; all steps but the last are bridges.
    pub path: Vec<String>,
}

/// A structure that is not decoded.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StructureDocument {
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Its type.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub kind: String,
    /// What such structures are called; null for a type without a meaning.
    pub name: Option<&'static str>,
    /// Length in bytes.
    pub length: u16,
    /// Its bytes, as many as the table has.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::HexBytes"))]
    pub bytes: String,
}

/// The document of a DMAR.
#[must_use]
pub fn decode_dmar(table: &Dmar) -> DecodeDmar {
    let header = &table.header;
    DecodeDmar {
        schema: "ivrs-trace/decode-dmar/1",
        table: DmarTable {
            signature: "DMAR",
            revision: header.revision,
            length: header.length,
            checksum: number(header.checksum),
            checksum_ok: header.checksum_ok,
            oem_id: name(&header.oem_id),
            oem_table_id: name(&header.oem_table_id),
            oem_revision: format!("{:#x}", header.oem_revision),
            creator_id: name(&header.creator_id),
            creator_revision: format!("{:#x}", header.creator_revision),
            trailing: table.trailing,
            address_bits: u16::from(table.width) + 1,
            flags: number(table.flags),
        },
        fatal: table.fatal().map(|fatal| fatal.to_string()),
        drhd: table.drhd.iter().map(of_drhd).collect(),
        rmrr: table.rmrr.iter().map(of_rmrr).collect(),
        others: table.others.iter().map(of_other).collect(),
        findings: findings::of_dmar(table).into_iter().map(finding).collect(),
    }
}

fn of_drhd(drhd: &Drhd) -> DrhdDocument {
    DrhdDocument {
        offset: hex_place(drhd.offset),
        length: drhd.length,
        flags: number(drhd.flags),
        include_all: drhd.include_all(),
        segment: drhd.segment,
        mmio: format!("{:#x}", drhd.address),
        scopes: drhd.scopes.iter().map(of_scope).collect(),
    }
}

fn of_rmrr(rmrr: &Rmrr) -> RmrrDocument {
    RmrrDocument {
        index: rmrr.index,
        offset: hex_place(rmrr.offset),
        length: rmrr.length,
        segment: rmrr.segment,
        start: format!("{:#x}", rmrr.base),
        end: format!("{:#x}", rmrr.limit),
        scopes: rmrr.scopes.iter().map(of_scope).collect(),
        bytes: hex_bytes(&rmrr.bytes),
    }
}

fn of_scope(scope: &Scope) -> ScopeDocument {
    let steps = scope.path.iter();
    ScopeDocument {
        offset: hex_place(scope.offset),
        kind: number(scope.kind.code()),
        length: scope.length,
        enumeration_id: number(scope.enumeration_id),
        bus: number(scope.bus),
        path: steps.map(|step| format!("{:02x}.{:x}", step.device, step.function)).collect(),
    }
}

fn of_other(other: &OtherBlock) -> StructureDocument {
    StructureDocument {
        offset: hex_place(other.offset),
        kind: format!("{:#x}", other.kind),
        name: structure_name(other.kind),
        length: other.length,
        bytes: hex_bytes(&other.bytes),
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
    let memory = rmrr_memory_text(rmrr);
    page.labelled(BLOCK, "memory", FIELD, &memory);
    page.labelled(BLOCK, "segment", FIELD, &rmrr.segment.to_string());
    scopes_text(page, &rmrr.scopes);
    for (number, line) in rmrr.bytes.chunks(16).enumerate() {
        let label = if number == 0 { "bytes" } else { "" };
        page.labelled(BLOCK, label, FIELD, &hex_bytes(line));
    }
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
