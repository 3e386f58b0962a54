//! The JSON document of `decode`. Numbers of firmware and memory are hex strings, bytes are hex
//! digits with blanks between.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    codes::Severity,
    escape::printable_bytes,
    firmware::{
        Finding, Ivhd, Ivmd, Ivrs, KernelView, UnityEntry,
        acpi::OtherBlock,
        amd::{
            device_entry::{Content, Devices, Entry, Settings, SpecialKind, Uid},
            ivrs::IvmdFlags,
            kernel::Prot,
        },
        findings,
    },
    pci::{Devid, Segment},
    report::hex_bytes,
};

/// What `decode --json` prints: an IVRS table, and what Linux makes of it.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Decode {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/decode/1")))]
    pub schema: &'static str,
    /// The table's header.
    pub table: Table,
    /// What the kernel makes of the table as a whole.
    pub kernel: KernelDocument,
    /// The IVHD blocks in table order.
    pub ivhd: Vec<IvhdDocument>,
    /// The IVMD blocks in table order.
    pub ivmd: Vec<IvmdDocument>,
    /// The other blocks in table order.
    pub unknown: Vec<UnknownDocument>,
    /// What is worth telling.
    pub findings: Vec<FindingDocument>,
}

/// The table's header.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Table {
    /// `IVRS`.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "IVRS")))]
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
    /// The `IVinfo` field.
    pub ivinfo: IvInfoDocument,
}

/// The `IVinfo` field.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IvInfoDocument {
    /// All of it.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub raw: String,
    /// Bit 0: extended feature registers are reported.
    pub efr_sup: bool,
    /// Bit 1: pre-boot DMA protection.
    pub dma_remap: bool,
    /// Bits 5 to 7, encoded: 2 stands for 48 bits.
    pub gva_size: u8,
    /// Bits 8 to 14: width of physical addresses in bits.
    pub pa_size: u8,
    /// Bits 15 to 21: width of virtual addresses in bits.
    pub va_size: u8,
    /// Bit 22: the `HyperTransport` range for ATS responses is reserved.
    pub ht_ats_resv: bool,
    /// The bits without a meaning.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub reserved: String,
}

/// What the kernel makes of the table as a whole.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelDocument {
    /// Whether it gets a working IOMMU from the table, as far as the table decides that.
    pub initialises: bool,
    /// The IVHD type that it uses.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub ivhd_type: Option<String>,
    /// Highest devid of each segment that it has an IOMMU for.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<Segment, Devid>"))]
    pub last_bdf: BTreeMap<String, Devid>,
    /// Why it gets no IOMMU.
    pub fatal: Vec<String>,
    /// Where it reads on behind the table's end.
    pub reads_beyond: Option<String>,
}

/// An IVHD block.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IvhdDocument {
    /// Type byte.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub kind: String,
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Length in bytes.
    pub length: u16,
    /// Flags byte.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub flags: String,
    /// Names of the flags.
    pub flag_names: Vec<&'static str>,
    /// Devid of the IOMMU itself.
    pub devid: Devid,
    /// PCI segment.
    pub segment: Segment,
    /// Address of the IOMMU's registers.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub mmio: String,
    /// Offset of its capability in configuration space.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub cap_offset: String,
    /// MSI number and unit id.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub info: String,
    /// Feature reporting (0x10) or attributes.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub feature_info: String,
    /// Extended feature register; not in type 0x10.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub efr: Option<String>,
    /// Second extended feature register; not in type 0x10.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub efr2: Option<String>,
    /// Whether the kernel uses the block.
    pub used: bool,
    /// The device entries.
    pub entries: Vec<EntryDocument>,
}

/// A device entry. A member that its type does not have is left out.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EntryDocument {
    /// Type byte; of the start for a range.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub kind: String,
    /// What it is: `padding`, `all`, `select`, `range`, `alias`, `alias_range`, `ext_select`,
    /// `ext_range`, `ioapic`, `hpet`, `special`, `acpi`, `start_without_end`, `end_without_start`,
    /// `reserved`, `cut`, `no_length`.
    #[cfg_attr(
        feature = "schema",
        schemars(extend("enum" = [
            "padding", "all", "select", "range", "alias", "alias_range", "ext_select", "ext_range",
            "ioapic", "hpet", "special", "acpi", "start_without_end", "end_without_start",
            "reserved", "cut", "no_length",
        ]))
    )]
    pub name: &'static str,
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Its bytes; of the start for a range.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::HexBytes"))]
    pub bytes: String,
    /// First device, or the device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Devid>,
    /// Last device, inclusive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Devid>,
    /// The devid that requests carry instead of the device's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Devid>,
    /// The data byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<SettingsDocument>,
    /// The extended settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub extended: Option<String>,
    /// Whether they forbid address translation services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ats_disabled: Option<bool>,
    /// APIC id or HPET number.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub handle: Option<String>,
    /// ACPI hardware id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hid: Option<String>,
    /// ACPI compatible id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// ACPI unique id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<UidDocument>,
    /// Where the end of a range is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub end_offset: Option<String>,
    /// The bytes of the end of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::HexBytes>"))]
    pub end_bytes: Option<String>,
}

/// The data byte of a device entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SettingsDocument {
    /// All of it.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub raw: String,
    /// Names of the bits that are set.
    pub names: Vec<&'static str>,
    /// The `SysMgt` field.
    pub sys_mgt: u8,
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
        #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
        value: String,
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

/// An IVMD block.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct IvmdDocument {
    /// Its number among the IVMD blocks, from 0.
    pub index: usize,
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Type byte.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub kind: String,
    /// Its flags.
    pub flags: FlagsDocument,
    /// PCI segment.
    pub segment: Segment,
    /// First device; 0 for type 0x20.
    pub devid_start: Devid,
    /// Last device, inclusive; the first again for type 0x21, the last of the segment for 0x20.
    pub devid_end: Devid,
    /// First byte of memory as written.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub start: String,
    /// Length of memory in bytes as written.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub length: String,
    /// Its 32 bytes.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::HexBytes"))]
    pub bytes: String,
    /// Whether the kernel makes a region of it. None of a table that it gives up on.
    pub effective: bool,
    /// The region, where it is effective.
    pub kernel: Option<RegionDocument>,
}

/// The flags of an IVMD block.
#[expect(clippy::struct_excessive_bools, reason = "a bit each, by the names that others build on")]
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FlagsDocument {
    /// All of them.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub raw: String,
    /// Bit 0.
    pub unity: bool,
    /// Bit 1.
    pub read: bool,
    /// Bit 2.
    pub write: bool,
    /// Bit 3.
    pub exclusion: bool,
}

/// The region that the kernel makes of an IVMD block.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RegionDocument {
    /// First byte.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub start: String,
    /// Last byte; one below `start` where the region has no length.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub end: String,
    /// Access: `rw`, `r`, `w` or empty.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["rw", "r", "w", ""])))]
    pub prot: &'static str,
    /// Type of the reserved region: always `direct`.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(extend("const" = "direct")))]
    pub kind: &'static str,
    /// First device.
    pub devid_start: Devid,
    /// Last device, inclusive. Below the first it matches none.
    pub devid_end: Devid,
    /// Its place on the kernel's list of the segment.
    pub ordinal: usize,
}

/// A block of another type.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UnknownDocument {
    /// Where it starts.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub offset: String,
    /// Type byte.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Hex"))]
    pub kind: String,
    /// Length in bytes.
    pub length: u16,
    /// Its bytes, as many as the table has.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::HexBytes"))]
    pub bytes: String,
}

/// Something worth telling.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FindingDocument {
    /// A name that stays; `ivrs-trace explain` knows it.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// Where in the table it is.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub offset: Option<String>,
    /// Index of the IVMD block that it is about.
    pub ivmd: Option<usize>,
    /// What it rests on.
    pub evidence: Vec<String>,
}

/// The document of a table.
#[must_use]
pub fn decode(table: &Ivrs, view: &KernelView) -> Decode {
    Decode {
        schema: "ivrs-trace/decode/1",
        table: header(table),
        kernel: KernelDocument {
            initialises: view.initialises(),
            ivhd_type: view.target_ivhd_type.map(number),
            last_bdf: view
                .last_bdf
                .iter()
                .map(|(segment, last)| (String::from(*segment), *last))
                .collect(),
            fatal: view.fatal.iter().map(ToString::to_string).collect(),
            reads_beyond: view.reads_beyond.map(|truncation| truncation.to_string()),
        },
        ivhd: table.ivhd.iter().map(|block| ivhd(block, table, view)).collect(),
        ivmd: table.ivmd.iter().map(|block| ivmd(block, view)).collect(),
        unknown: table.unknown.iter().map(unknown).collect(),
        findings: findings::of_table(table, view).into_iter().map(finding).collect(),
    }
}

fn header(table: &Ivrs) -> Table {
    let (header, ivinfo) = (&table.header, table.ivinfo);
    Table {
        signature: "IVRS",
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
        ivinfo: IvInfoDocument {
            raw: format!("{:#010x}", ivinfo.0),
            efr_sup: ivinfo.efr_sup(),
            dma_remap: ivinfo.dma_remap(),
            gva_size: ivinfo.gva_size(),
            pa_size: ivinfo.pa_size(),
            va_size: ivinfo.va_size(),
            ht_ats_resv: ivinfo.ht_ats_resv(),
            reserved: format!("{:#x}", ivinfo.reserved()),
        },
    }
}

fn ivhd(block: &Ivhd, table: &Ivrs, view: &KernelView) -> IvhdDocument {
    IvhdDocument {
        kind: number(block.kind.code()),
        offset: place(block.offset),
        length: block.length,
        flags: number(block.flags),
        flag_names: block.flag_names().collect(),
        devid: block.devid,
        segment: block.segment,
        mmio: format!("{:#x}", block.mmio),
        cap_offset: format!("{:#x}", block.cap_offset),
        info: format!("{:#06x}", block.info),
        feature_info: format!("{:#010x}", block.feature_info),
        efr: block.efr.map(|value| format!("{value:#x}")),
        efr2: block.efr2.map(|value| format!("{value:#x}")),
        used: view.uses(block),
        entries: block.entries(table).iter().map(entry).collect(),
    }
}

fn entry(entry: &Entry) -> EntryDocument {
    let mut document = EntryDocument {
        kind: number(entry.kind),
        offset: place(entry.offset),
        bytes: hex_bytes(&entry.bytes),
        ..EntryDocument::default()
    };
    match &entry.content {
        Content::Padding => document.name = "padding",
        Content::All(of) => {
            document.name = "all";
            document.settings = Some(settings(*of));
        }
        Content::Device(of) => {
            document.name = named(of, ["select", "alias", "ext_select"]);
            document.set_devices(of);
        }
        Content::Range { devices: of, end } => {
            document.name = named(of, ["range", "alias_range", "ext_range"]);
            document.set_devices(of);
            document.end_offset = Some(place(end.offset));
            document.end_bytes = Some(hex_bytes(&end.bytes));
        }
        Content::StartWithoutEnd(of) => {
            document.name = "start_without_end";
            document.set_devices(of);
            document.last = None;
        }
        Content::EndWithoutStart { last } => {
            document.name = "end_without_start";
            document.last = Some(*last);
        }
        Content::Special { handle, devid, kind, settings: of } => {
            document.name = match kind {
                SpecialKind::IoApic => "ioapic",
                SpecialKind::Hpet => "hpet",
                SpecialKind::Other(_) => "special",
            };
            document.handle = Some(number(*handle));
            document.first = Some(*devid);
            document.last = Some(*devid);
            document.settings = Some(settings(*of));
        }
        Content::Acpi(device) => {
            document.name = "acpi";
            document.first = Some(device.devid);
            document.last = Some(device.devid);
            document.settings = Some(settings(device.settings));
            document.hid = Some(device.hid.clone());
            document.cid = (!device.cid.is_empty()).then(|| device.cid.clone());
            document.uid = Some(match &device.uid {
                Uid::None => UidDocument::None,
                Uid::Integer { value, length } => {
                    UidDocument::Integer { value: format!("{value:#x}"), length: *length }
                }
                Uid::Text(value) => UidDocument::String { value: value.clone() },
                Uid::Unknown { format } => UidDocument::Unknown { raw: *format },
            });
        }
        Content::Reserved => document.name = "reserved",
        Content::Cut => document.name = "cut",
        Content::NoLength => document.name = "no_length",
    }
    document
}

impl EntryDocument {
    fn set_devices(&mut self, of: &Devices) {
        self.first = Some(of.first);
        self.last = Some(of.last);
        self.source = of.source;
        self.settings = Some(settings(of.settings));
        self.extended = of.extended.map(|value| format!("{value:#010x}"));
        self.ats_disabled = of.extended.map(|_| of.ats_disabled());
    }
}

/// The plain name, that of an alias, or that of extended settings.
fn named(of: &Devices, [plain, alias, extended]: [&'static str; 3]) -> &'static str {
    match (of.source, of.extended) {
        (Some(_), _) => alias,
        (_, Some(_)) => extended,
        _ => plain,
    }
}

fn settings(of: Settings) -> SettingsDocument {
    SettingsDocument { raw: number(of.0), names: of.names().collect(), sys_mgt: of.sys_mgt() }
}

fn ivmd(block: &Ivmd, view: &KernelView) -> IvmdDocument {
    let region = view.entry_of(block.index).filter(|_| view.initialises());
    let (devid_start, devid_end) = view.devids_of(block);
    IvmdDocument {
        index: block.index,
        offset: place(block.offset),
        kind: number(block.kind.code()),
        flags: FlagsDocument::of(block.flags),
        segment: block.segment,
        devid_start,
        devid_end,
        start: format!("{:#x}", block.start),
        length: format!("{:#x}", block.length),
        bytes: hex_bytes(&block.bytes),
        effective: region.is_some(),
        kernel: region.map(of_region),
    }
}

fn of_region(entry: &UnityEntry) -> RegionDocument {
    RegionDocument {
        start: format!("{:#x}", entry.start),
        end: format!("{:#x}", entry.end_inclusive()),
        prot: access_letters(entry.prot),
        kind: "direct",
        devid_start: entry.devid_start,
        devid_end: entry.devid_end,
        ordinal: entry.ordinal,
    }
}

impl FlagsDocument {
    pub(super) fn of(flags: IvmdFlags) -> Self {
        Self {
            raw: number(flags.0),
            unity: flags.unity(),
            read: flags.read(),
            write: flags.write(),
            exclusion: flags.exclusion(),
        }
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

fn unknown(block: &OtherBlock) -> UnknownDocument {
    UnknownDocument {
        offset: place(block.offset),
        kind: number(block.kind),
        length: block.length,
        bytes: hex_bytes(&block.bytes),
    }
}

pub(super) fn finding(finding: Finding) -> FindingDocument {
    let Finding { code, severity, place, ivmd, evidence, message } = finding;
    FindingDocument {
        code: code.as_str(),
        severity,
        message,
        offset: place.map(|place| self::place(place.offset)),
        ivmd,
        evidence: evidence.iter().map(ToString::to_string).collect(),
    }
}

pub(super) fn number(byte: impl std::fmt::LowerHex) -> String {
    format!("{byte:#04x}")
}

pub(super) fn place(offset: usize) -> String {
    format!("{offset:#x}")
}

pub(super) fn name(bytes: &[u8]) -> String {
    printable_bytes(bytes).trim_end_matches(' ').to_owned()
}
