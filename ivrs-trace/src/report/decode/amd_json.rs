//! The JSON document of `decode`. Numbers of firmware and memory are hex strings, bytes are hex
//! digits with blanks between.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    codes::Severity,
    escape::printable_bytes,
    firmware::{
        Fact, Finding, Ivhd, Ivmd, Ivrs, KernelView, UnityEntry,
        acpi::{Header, OtherBlock},
        amd::{
            device_entry::{Content, Devices, Entry, Settings, SpecialKind, Uid},
            findings,
            ivrs::{IvInfo, IvmdFlags},
            kernel::Prot,
        },
    },
    hex::{Hex, HexBytes},
    object::object,
    pci::{Devid, Segment},
};

/// The document of a table.
#[must_use]
pub fn decode(table: &Ivrs, view: &KernelView) -> Decode {
    Decode::of(table, view)
}

object! {
    /// What `decode --json` prints: an IVRS table, and what Linux makes of it.
    Decode schema "ivrs-trace/decode/1" of (table: &Ivrs, view: &KernelView) {
        /// The table's header.
        table: Table = Table::of(table),
        /// What the kernel makes of the table as a whole.
        kernel: KernelDocument = KernelDocument::of(view),
        /// The IVHD blocks in table order.
        ivhd: Vec<IvhdDocument> =
            table.ivhd.iter().map(|block| IvhdDocument::of(block, table, view)).collect(),
        /// The IVMD blocks in table order.
        ivmd: Vec<IvmdDocument> =
            table.ivmd.iter().map(|block| IvmdDocument::of(block, view)).collect(),
        /// The other blocks in table order.
        unknown: Vec<UnknownDocument> = table.unknown.iter().map(UnknownDocument::of).collect(),
        /// Findings.
        findings: Vec<FindingDocument> =
            findings::of_table(table, view).into_iter().map(FindingDocument::of).collect(),
    }

    /// The table's header.
    Table of (table: &Ivrs) {
        /// `IVRS`.
        #[cfg_attr(feature = "schema", schemars(extend("const" = "IVRS")))]
        signature: &'static str = "IVRS",
        #[serde(flatten)]
        header: HeaderDocument = HeaderDocument::of(&table.header, table.trailing),
        /// The `IVinfo` field.
        ivinfo: IvInfoDocument = IvInfoDocument::of(table.ivinfo),
    }

    /// What every table's header has behind its signature.
    HeaderDocument of (header: &Header, trailing: usize) {
        /// Revision of the layout.
        revision: u8 = header.revision,
        /// Length in bytes.
        length: u32 = header.length,
        /// The checksum byte.
        checksum: Hex<u8, 2> = Hex(header.checksum),
        /// Whether it is right.
        checksum_ok: bool = header.checksum_ok,
        /// OEM id without padding.
        oem_id: String = unpadded(&header.oem_id),
        /// OEM table id without padding.
        oem_table_id: String = unpadded(&header.oem_table_id),
        /// OEM revision.
        oem_revision: Hex<u32> = Hex(header.oem_revision),
        /// Id of the tool that made the table.
        creator_id: String = unpadded(&header.creator_id),
        /// Revision of that tool.
        creator_revision: Hex<u32> = Hex(header.creator_revision),
        /// Bytes behind the table in what was given.
        trailing: usize = trailing,
    }

    /// The `IVinfo` field.
    IvInfoDocument of (ivinfo: IvInfo) {
        /// All of it.
        raw: Hex<u32, 8> = Hex(ivinfo.0),
        /// Bit 0: extended feature registers are reported.
        efr_sup: bool = ivinfo.efr_sup(),
        /// Bit 1: pre-boot DMA protection.
        dma_remap: bool = ivinfo.dma_remap(),
        /// Bits 5 to 7, encoded: 2 stands for 48 bits.
        gva_size: u8 = ivinfo.gva_size(),
        /// Bits 8 to 14: width of physical addresses in bits.
        pa_size: u8 = ivinfo.pa_size(),
        /// Bits 15 to 21: width of virtual addresses in bits.
        va_size: u8 = ivinfo.va_size(),
        /// Bit 22: the `HyperTransport` range for ATS responses is reserved.
        ht_ats_resv: bool = ivinfo.ht_ats_resv(),
        /// The bits without a meaning.
        reserved: Hex<u32> = Hex(ivinfo.reserved()),
    }

    /// What the kernel makes of the table as a whole.
    KernelDocument of (view: &KernelView) {
        /// Whether it gets a working IOMMU from the table, as far as the table decides that.
        initialises: bool = view.initialises(),
        /// The IVHD type that it uses.
        ivhd_type: Option<Hex<u8, 2>> = view.target_ivhd_type.map(Hex),
        /// Highest devid of each segment that it has an IOMMU for.
        last_bdf: BTreeMap<Segment, Devid> = view.last_bdf.clone(),
        /// Why it gets no IOMMU.
        fatal: Vec<String> = view.fatal.iter().map(ToString::to_string).collect(),
        /// Where it reads on behind the table's end.
        reads_beyond: Option<String> = view.reads_beyond.map(|truncation| truncation.to_string()),
    }

    /// An IVHD block.
    IvhdDocument of (block: &Ivhd, table: &Ivrs, view: &KernelView) {
        /// Type byte.
        #[serde(rename = "type")]
        kind: Hex<u8, 2> = Hex(block.kind.code()),
        /// Where it starts.
        offset: Hex<usize> = Hex(block.offset),
        /// Length in bytes.
        length: u16 = block.length,
        /// Flags byte.
        flags: Hex<u8, 2> = Hex(block.flags),
        /// Names of the flags.
        flag_names: Vec<&'static str> = block.flag_names().collect(),
        /// Devid of the IOMMU itself.
        devid: Devid = block.devid,
        /// PCI segment.
        segment: Segment = block.segment,
        /// Address of the IOMMU's registers.
        mmio: Hex<u64> = Hex(block.mmio),
        /// Offset of its capability in configuration space.
        cap_offset: Hex<u16> = Hex(block.cap_offset),
        /// MSI number and unit id.
        info: Hex<u16, 4> = Hex(block.info),
        /// Feature reporting (0x10) or attributes.
        feature_info: Hex<u32, 8> = Hex(block.feature_info),
        /// Extended feature register; not in type 0x10.
        efr: Option<Hex<u64>> = block.efr.map(Hex),
        /// Second extended feature register; not in type 0x10.
        efr2: Option<Hex<u64>> = block.efr2.map(Hex),
        /// Whether the kernel uses the block.
        used: bool = view.uses(block),
        /// The device entries.
        entries: Vec<EntryDocument> = block.entries(table).iter().map(EntryDocument::of).collect(),
    }

    /// A device entry. A member that its type does not have is left out.
    EntryDocument of (entry: &Entry) using {
        let devices = devices_of(&entry.content);
        let (mut first, mut last) = (devices.map(|of| of.first), devices.map(|of| of.last));
        let mut settings = devices.map(|of| of.settings);
        let (mut handle, mut acpi, mut end) = (None, None, None);
        match &entry.content {
            Content::All(of) => settings = Some(*of),
            Content::Range { end: of, .. } => end = Some(of),
            Content::StartWithoutEnd(_) => last = None,
            Content::EndWithoutStart { last: of } => last = Some(*of),
            Content::Special { handle: id, devid, settings: of, .. } => {
                (handle, settings) = (Some(*id), Some(*of));
                (first, last) = (Some(*devid), Some(*devid));
            }
            Content::Acpi(of) => {
                (acpi, settings) = (Some(of), Some(of.settings));
                (first, last) = (Some(of.devid), Some(of.devid));
            }
            _ => {}
        }
    } {
        /// Type byte; of the start for a range.
        #[serde(rename = "type")]
        kind: Hex<u8, 2> = Hex(entry.kind),
        /// What it is: `padding`, `all`, `select`, `range`, `alias`, `alias_range`, `ext_select`,
        /// `ext_range`, `ioapic`, `hpet`, `special`, `acpi`, `start_without_end`,
        /// `end_without_start`, `reserved`, `cut`, `no_length`.
        #[cfg_attr(
            feature = "schema",
            schemars(extend("enum" = [
                "padding", "all", "select", "range", "alias", "alias_range", "ext_select",
                "ext_range", "ioapic", "hpet", "special", "acpi", "start_without_end",
                "end_without_start", "reserved", "cut", "no_length",
            ]))
        )]
        name: &'static str = name_of(&entry.content),
        /// Where it starts.
        offset: Hex<usize> = Hex(entry.offset),
        /// Its bytes; of the start for a range.
        bytes: HexBytes = HexBytes(entry.bytes.clone()),
        /// First device, or the device.
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<Devid> = first,
        /// Last device, inclusive.
        #[serde(skip_serializing_if = "Option::is_none")]
        last: Option<Devid> = last,
        /// The devid that requests carry instead of the device's own.
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<Devid> = devices.and_then(|of| of.source),
        /// The data byte.
        #[serde(skip_serializing_if = "Option::is_none")]
        settings: Option<SettingsDocument> = settings.map(SettingsDocument::of),
        /// The extended settings.
        #[serde(skip_serializing_if = "Option::is_none")]
        extended: Option<Hex<u32, 8>> = devices.and_then(|of| of.extended).map(Hex),
        /// Whether they forbid address translation services.
        #[serde(skip_serializing_if = "Option::is_none")]
        ats_disabled: Option<bool> =
            devices.filter(|of| of.extended.is_some()).map(Devices::ats_disabled),
        /// APIC id or HPET number.
        #[serde(skip_serializing_if = "Option::is_none")]
        handle: Option<Hex<u8, 2>> = handle.map(Hex),
        /// ACPI hardware id.
        #[serde(skip_serializing_if = "Option::is_none")]
        hid: Option<String> = acpi.map(|of| of.hid.clone()),
        /// ACPI compatible id.
        #[serde(skip_serializing_if = "Option::is_none")]
        cid: Option<String> = acpi.map(|of| of.cid.clone()).filter(|cid| !cid.is_empty()),
        /// ACPI unique id.
        #[serde(skip_serializing_if = "Option::is_none")]
        uid: Option<UidDocument> = acpi.map(|of| UidDocument::from(&of.uid)),
        /// Where the end of a range is.
        #[serde(skip_serializing_if = "Option::is_none")]
        end_offset: Option<Hex<usize>> = end.map(|end| Hex(end.offset)),
        /// The bytes of the end of a range.
        #[serde(skip_serializing_if = "Option::is_none")]
        end_bytes: Option<HexBytes> = end.map(|end| HexBytes(end.bytes.clone())),
    }

    /// The data byte of a device entry.
    SettingsDocument of (settings: Settings) {
        /// All of it.
        raw: Hex<u8, 2> = Hex(settings.0),
        /// Names of the bits that are set.
        names: Vec<&'static str> = settings.names().collect(),
        /// The `SysMgt` field.
        sys_mgt: u8 = settings.sys_mgt(),
    }

    /// An IVMD block.
    IvmdDocument of (block: &Ivmd, view: &KernelView) using {
        let region = view.entry_of(block.index).filter(|_| view.initialises());
        let (devid_start, devid_end) = view.devids_of(block);
    } {
        /// Its number among the IVMD blocks, from 0.
        index: usize = block.index,
        /// Where it starts.
        offset: Hex<usize> = Hex(block.offset),
        /// Type byte.
        #[serde(rename = "type")]
        kind: Hex<u8, 2> = Hex(block.kind.code()),
        /// Its flags.
        flags: FlagsDocument = FlagsDocument::of(block.flags),
        /// PCI segment.
        segment: Segment = block.segment,
        /// First device; 0 for type 0x20.
        devid_start: Devid = devid_start,
        /// Last device, inclusive; the first again for type 0x21, the last of the segment for 0x20.
        devid_end: Devid = devid_end,
        /// First byte of memory as written.
        start: Hex<u64> = Hex(block.start),
        /// Length of memory in bytes as written.
        length: Hex<u64> = Hex(block.length),
        /// Its 32 bytes.
        bytes: HexBytes = HexBytes(block.bytes.to_vec()),
        /// Whether the kernel makes a region of it. None of a table that it gives up on.
        effective: bool = region.is_some(),
        /// The region, where it is effective.
        kernel: Option<RegionDocument> = region.map(RegionDocument::of),
    }

    /// The flags of an IVMD block.
    FlagsDocument of (flags: IvmdFlags) {
        /// All of them.
        raw: Hex<u8, 2> = Hex(flags.0),
        /// Bit 0.
        unity: bool = flags.unity(),
        /// Bit 1.
        read: bool = flags.read(),
        /// Bit 2.
        write: bool = flags.write(),
        /// Bit 3.
        exclusion: bool = flags.exclusion(),
    }

    /// The region that the kernel makes of an IVMD block.
    RegionDocument of (entry: &UnityEntry) {
        /// First byte.
        start: Hex<u64> = Hex(entry.start),
        /// Last byte; one below `start` where the region has no length.
        end: Hex<u64> = Hex(entry.end_inclusive()),
        /// Access: `rw`, `r`, `w` or empty.
        #[cfg_attr(feature = "schema", schemars(extend("enum" = ["rw", "r", "w", ""])))]
        prot: &'static str = access_letters(entry.prot),
        /// Type of the reserved region: always `direct`.
        #[serde(rename = "type")]
        #[cfg_attr(feature = "schema", schemars(extend("const" = "direct")))]
        kind: &'static str = "direct",
        /// First device.
        devid_start: Devid = entry.devid_start,
        /// Last device, inclusive. Below the first it matches none.
        devid_end: Devid = entry.devid_end,
        /// Its place on the kernel's list of the segment.
        ordinal: usize = entry.ordinal,
    }

    /// A block of another type.
    UnknownDocument of (block: &OtherBlock) {
        /// Where it starts.
        offset: Hex<usize> = Hex(block.offset),
        /// Type byte.
        #[serde(rename = "type")]
        kind: Hex<u16, 2> = Hex(block.kind),
        /// Length in bytes.
        length: u16 = block.length,
        /// Its bytes, as many as the table has.
        bytes: HexBytes = HexBytes(block.bytes.clone()),
    }

    /// Something worth telling.
    FindingDocument of (finding: Finding) {
        /// A name that stays; `ivrs-trace explain` knows it.
        code: &'static str = finding.code.as_str(),
        /// How much it matters.
        severity: Severity = finding.severity,
        /// One sentence.
        message: String = finding.message,
        /// Where in the table it is.
        offset: Option<Hex<usize>> = finding.place.map(|place| Hex(place.offset)),
        /// Index of the IVMD block that it is about.
        ivmd: Option<usize> = finding.ivmd,
        /// What it rests on.
        evidence: Vec<Fact> = finding.evidence,
    }
}

/// The unique id of an ACPI device.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum UidDocument {
    /// None.
    None,
    /// A number.
    Integer {
        /// The number.
        value: Hex<u64>,
        /// Its length in bytes.
        length: u8,
    },
    /// Text.
    String {
        /// The text.
        value: String,
    },
    /// Something else.
    Unknown {
        /// The format byte.
        raw: u8,
    },
}

impl From<&Uid> for UidDocument {
    fn from(uid: &Uid) -> Self {
        match uid {
            Uid::None => Self::None,
            Uid::Integer { value, length } => Self::Integer { value: Hex(*value), length: *length },
            Uid::Text(value) => Self::String { value: value.clone() },
            Uid::Unknown { format } => Self::Unknown { raw: *format },
        }
    }
}

fn devices_of(content: &Content) -> Option<&Devices> {
    match content {
        Content::Device(of) | Content::Range { devices: of, .. } | Content::StartWithoutEnd(of) => {
            Some(of)
        }
        _ => None,
    }
}

fn name_of(content: &Content) -> &'static str {
    match content {
        Content::Padding => "padding",
        Content::All(_) => "all",
        Content::Device(of) => of_kind(of, ["select", "alias", "ext_select"]),
        Content::Range { devices: of, .. } => of_kind(of, ["range", "alias_range", "ext_range"]),
        Content::StartWithoutEnd(_) => "start_without_end",
        Content::EndWithoutStart { .. } => "end_without_start",
        Content::Special { kind: SpecialKind::IoApic, .. } => "ioapic",
        Content::Special { kind: SpecialKind::Hpet, .. } => "hpet",
        Content::Special { .. } => "special",
        Content::Acpi(_) => "acpi",
        Content::Reserved => "reserved",
        Content::Cut => "cut",
        Content::NoLength => "no_length",
    }
}

/// The plain name, that of an alias, or that of extended settings.
fn of_kind(of: &Devices, [plain, alias, extended]: [&'static str; 3]) -> &'static str {
    match (of.source, of.extended) {
        (Some(_), _) => alias,
        (_, Some(_)) => extended,
        _ => plain,
    }
}

/// Access as the documents have it.
pub(super) fn access_letters(prot: Prot) -> &'static str {
    match (prot.read(), prot.write()) {
        (true, true) => "rw",
        (true, false) => "r",
        (false, true) => "w",
        (false, false) => "",
    }
}

pub(super) fn unpadded(bytes: &[u8]) -> String {
    printable_bytes(bytes).trim_end_matches(' ').to_owned()
}
