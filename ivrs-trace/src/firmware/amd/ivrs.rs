//! Parser of an ACPI IVRS table: header, IVHD blocks, IVMD blocks, and whatever else is in it.
//!
//! It walks the table as the kernel does (drivers/iommu/amd/init.c, 6.1 to 7.3): blocks start at
//! offset 48 and each says in two bytes how far the next one is. It does not interpret the device
//! entries of an IVHD (see [`device_entry`](crate::firmware::amd::device_entry)) and does not say what the kernel
//! makes of an entry (see [`kernel_view`](crate::firmware::amd::kernel)).

use super::device_entry::{self, Entry, RawEntries};
use crate::{
    firmware::acpi::{
        self, ACPI_HEADER, BlockHeader, Header, OtherBlock, TableError, Truncation, Whole,
        array_at, u8_at, u16_at, u32_at, u64_at,
    },
    pci::{Devid, Segment},
};

/// The table's signature.
pub const SIGNATURE: [u8; 4] = *b"IVRS";
/// Offset of the first block: ACPI header (36), `IVinfo` (4), reserved (8).
pub const HEADER_LENGTH: usize = 48;
/// Bytes of an IVMD block, and what the kernel reads of one whatever its length field says.
pub const IVMD_LENGTH: usize = 32;

/// The `IVinfo` field at offset 36.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IvInfo(pub u32);

impl IvInfo {
    /// The bit that [`IvInfo::dma_remap`] tells.
    pub const DMA_REMAP: u32 = 0x2;

    /// Bit 0, `EFRSup`: the IOMMUs' extended feature registers are reported.
    #[must_use]
    pub fn efr_sup(self) -> bool {
        self.0 & 1 != 0
    }

    /// Bit 1: the firmware used the IOMMU to protect against DMA before boot.
    #[must_use]
    pub fn dma_remap(self) -> bool {
        self.0 & Self::DMA_REMAP != 0
    }

    /// Bits 5 to 7, `GVASize`: width of guest virtual addresses as the specification encodes it; 2
    /// stands for 48 bits.
    #[must_use]
    pub fn gva_size(self) -> u8 {
        self.field(5, 0x07)
    }

    /// Bits 8 to 14, `PASize`: width of physical addresses in bits.
    #[must_use]
    pub fn pa_size(self) -> u8 {
        self.field(8, 0x7f)
    }

    /// Bits 15 to 21, `VASize`: width of virtual addresses in bits.
    #[must_use]
    pub fn va_size(self) -> u8 {
        self.field(15, 0x7f)
    }

    /// Bit 22, `HtAtsResv`: the range that `HyperTransport` keeps for ATS responses is reserved.
    #[must_use]
    pub fn ht_ats_resv(self) -> bool {
        self.0 & 1 << 22 != 0
    }

    /// The bits that the specification (48882) gives no meaning: 2 to 4 and 23 to 31.
    #[must_use]
    pub fn reserved(self) -> u32 {
        self.0 & 0xff80_001c
    }

    fn field(self, shift: u32, mask: u8) -> u8 {
        let [low, ..] = (self.0 >> shift).to_le_bytes();
        low & mask
    }
}

/// Type of an IVHD block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IvhdKind {
    /// 0x10: 24 bytes before its device entries.
    Type10,
    /// 0x11: 40 bytes before its device entries, the feature registers among them.
    Type11,
    /// 0x40: like 0x11, and its device entries may name ACPI devices.
    Type40,
}

impl IvhdKind {
    /// The kind of a type byte.
    #[must_use]
    pub fn from_code(code: impl Into<u16>) -> Option<Self> {
        match code.into() {
            0x10 => Some(Self::Type10),
            0x11 => Some(Self::Type11),
            0x40 => Some(Self::Type40),
            _ => None,
        }
    }

    /// The type byte.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Type10 => 0x10,
            Self::Type11 => 0x11,
            Self::Type40 => 0x40,
        }
    }

    /// Bytes before the first device entry (`get_ivhd_header_size` in the kernel).
    #[must_use]
    pub fn header_length(self) -> usize {
        match self {
            Self::Type10 => 24,
            Self::Type11 | Self::Type40 => 40,
        }
    }
}

/// An IVHD block: one IOMMU and the devices behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ivhd {
    /// Where the block starts, in bytes from the table's start.
    pub offset: usize,
    /// Its type.
    pub kind: IvhdKind,
    /// Its flags byte.
    pub flags: u8,
    /// Its length field in bytes.
    pub length: u16,
    /// The devid of the IOMMU itself.
    pub devid: Devid,
    /// Offset of the IOMMU's capability in its PCI configuration space.
    pub cap_offset: u16,
    /// Physical address of the IOMMU's registers.
    pub mmio: u64,
    /// PCI segment of the IOMMU and of its devices.
    pub segment: Segment,
    /// MSI number and unit id.
    pub info: u16,
    /// Feature reporting (type 0x10) or attributes (0x11, 0x40).
    pub feature_info: u32,
    /// Extended feature register; `None` for type 0x10.
    pub efr: Option<u64>,
    /// Second extended feature register; `None` for type 0x10.
    pub efr2: Option<u64>,
    /// The block's bytes, as many as lie within the table.
    pub bytes: Vec<u8>,
}

impl Ivhd {
    /// The device entries, raw and as the kernel walks them. `table` is what this block came from:
    /// an entry may reach beyond its block.
    #[must_use]
    pub fn raw_entries<'a>(&self, table: &'a Ivrs) -> RawEntries<'a> {
        RawEntries::new(
            table.bytes(),
            self.offset.saturating_add(self.kind.header_length()),
            self.offset.saturating_add(usize::from(self.length)),
        )
    }

    /// The names of the flags that are set, the lowest bit first. Bits 6 and 7 have a meaning in type
    /// 0x10 only; the other types say the same in the extended feature register.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> {
        const NAMES: [&str; 8] =
            ["HtTunEn", "PassPW", "ResPassPW", "Isoc", "IotlbSup", "Coherent", "PreFSup", "PPRSup"];
        let known = if self.kind == IvhdKind::Type10 { 8 } else { 6 };
        let flags = self.flags;
        NAMES
            .into_iter()
            .enumerate()
            .take(known)
            .filter(move |(bit, _)| flags >> bit & 1 != 0)
            .map(|(_, name)| name)
    }

    /// The device entries, decoded. `table` is what this block came from.
    #[must_use]
    pub fn entries(&self, table: &Ivrs) -> Vec<Entry> {
        device_entry::decode(self.raw_entries(table))
    }
}

/// Type of an IVMD block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IvmdKind {
    /// 0x20: every device of the segment.
    All,
    /// 0x21: one device.
    Device,
    /// 0x22: a range of devices.
    Range,
}

impl IvmdKind {
    /// The kind of a type byte.
    #[must_use]
    pub fn from_code(code: impl Into<u16>) -> Option<Self> {
        match code.into() {
            0x20 => Some(Self::All),
            0x21 => Some(Self::Device),
            0x22 => Some(Self::Range),
            _ => None,
        }
    }

    /// The type byte.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::All => 0x20,
            Self::Device => 0x21,
            Self::Range => 0x22,
        }
    }
}

/// The flags byte of an IVMD block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IvmdFlags(pub u8);

impl IvmdFlags {
    /// Bit 0: the range must be mapped one to one.
    #[must_use]
    pub fn unity(self) -> bool {
        self.0 & 0x01 != 0
    }

    /// Bit 1 (IR): the devices may read the range.
    #[must_use]
    pub fn read(self) -> bool {
        self.0 & 0x02 != 0
    }

    /// Bit 2 (IW): the devices may write the range.
    #[must_use]
    pub fn write(self) -> bool {
        self.0 & 0x04 != 0
    }

    /// Bit 3: the range is to be excluded from translation. Linux maps it one to one instead.
    #[must_use]
    pub fn exclusion(self) -> bool {
        self.0 & 0x08 != 0
    }
}

/// An IVMD block: memory that the firmware reserves for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ivmd {
    /// Its number among the table's IVMD blocks, from 0, whether Linux heeds it or not.
    pub index: usize,
    /// Where the block starts, in bytes from the table's start.
    pub offset: usize,
    /// Its type.
    pub kind: IvmdKind,
    /// Its flags.
    pub flags: IvmdFlags,
    /// Its length field in bytes, normally 32. The fields are read in full whatever it says.
    pub block_length: u16,
    /// The device (0x21) or the first device (0x22).
    pub devid: Devid,
    /// The last device, inclusive (0x22).
    pub aux: u16,
    /// PCI segment, bytes 8 and 9; tools after the older specification call them reserved.
    pub segment: Segment,
    /// First byte of the memory range, as written.
    pub start: u64,
    /// Length of the memory range in bytes, as written.
    pub length: u64,
    /// The 32 bytes that the fields were read from.
    pub bytes: [u8; IVMD_LENGTH],
}

/// A parsed IVRS table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ivrs {
    /// The ACPI header.
    pub header: Header,
    /// The `IVinfo` field.
    pub ivinfo: IvInfo,
    /// Every block in table order, those of unknown type and those of wrong length too.
    pub blocks: Vec<BlockHeader>,
    /// The IVHD blocks in table order.
    pub ivhd: Vec<Ivhd>,
    /// The IVMD blocks in table order.
    pub ivmd: Vec<Ivmd>,
    /// The other blocks in table order.
    pub unknown: Vec<OtherBlock>,
    /// Where and why the walk over the blocks stopped early.
    pub truncation: Option<Truncation>,
    /// Bytes that followed the table in what was given (a page-sized dump, for example).
    pub trailing: usize,
    bytes: Vec<u8>,
}

impl Ivrs {
    /// Parses the table at the start of `data`.
    ///
    /// A bad checksum is a fact in the result. A block that cannot be right ends the walk: what
    /// precedes it is returned, with [`truncation`](Self::truncation) set.
    ///
    /// # Errors
    /// Where `data` is not an IVRS table or holds only a part of one.
    pub fn parse(data: &[u8]) -> Result<Self, TableError> {
        let Whole { header, bytes, trailing } = acpi::whole(data, SIGNATURE, HEADER_LENGTH)?;
        let mut ivrs = Self {
            header,
            ivinfo: IvInfo(u32_at(bytes, ACPI_HEADER).unwrap_or_default()),
            blocks: Vec::new(),
            ivhd: Vec::new(),
            ivmd: Vec::new(),
            unknown: Vec::new(),
            truncation: None,
            trailing,
            bytes: bytes.to_vec(),
        };
        ivrs.truncation = ivrs.walk(bytes).err();
        Ok(ivrs)
    }

    /// The table's bytes, as many as its header says.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn walk(&mut self, table: &[u8]) -> Result<(), Truncation> {
        let place = |rest: &[u8]| Some((u16::from(u8_at(rest, 0)?), u16_at(rest, 2)?));
        for block in acpi::blocks(table, HEADER_LENGTH, place) {
            let block = block?;
            let BlockHeader { offset, kind, length } = block.header;
            self.blocks.push(block.header);
            if length == 0 {
                return Err(Truncation::ZeroLength { offset, kind });
            }
            if let Some(ivhd) = IvhdKind::from_code(kind) {
                let read = read_ivhd(ivhd, offset, block.rest, block.bytes);
                self.ivhd.push(read.ok_or_else(|| block.fields_beyond(ivhd.header_length()))?);
            } else if let Some(ivmd) = IvmdKind::from_code(kind) {
                let read = read_ivmd(ivmd, self.ivmd.len(), offset, block.rest);
                self.ivmd.push(read.ok_or_else(|| block.fields_beyond(IVMD_LENGTH))?);
            } else {
                self.unknown.push(block.other());
            }
            if let Some(beyond) = block.beyond_end() {
                return Err(beyond);
            }
        }
        Ok(())
    }
}

/// `rest` runs to the table's end: the fixed fields count even where the block says it is shorter.
fn read_ivhd(kind: IvhdKind, offset: usize, rest: &[u8], bytes: &[u8]) -> Option<Ivhd> {
    let (efr, efr2) = match kind {
        IvhdKind::Type10 => (None, None),
        IvhdKind::Type11 | IvhdKind::Type40 => (Some(u64_at(rest, 24)?), Some(u64_at(rest, 32)?)),
    };
    Some(Ivhd {
        offset,
        kind,
        flags: u8_at(rest, 1)?,
        length: u16_at(rest, 2)?,
        devid: Devid(u16_at(rest, 4)?),
        cap_offset: u16_at(rest, 6)?,
        mmio: u64_at(rest, 8)?,
        segment: Segment(u16_at(rest, 16)?),
        info: u16_at(rest, 18)?,
        feature_info: u32_at(rest, 20)?,
        efr,
        efr2,
        bytes: bytes.to_vec(),
    })
}

/// `rest` runs to the table's end: the fixed fields count even where the block says it is shorter.
fn read_ivmd(kind: IvmdKind, index: usize, offset: usize, rest: &[u8]) -> Option<Ivmd> {
    let bytes: [u8; IVMD_LENGTH] = array_at(rest, 0)?;
    Some(Ivmd {
        index,
        offset,
        kind,
        flags: IvmdFlags(u8_at(&bytes, 1)?),
        block_length: u16_at(&bytes, 2)?,
        devid: Devid(u16_at(&bytes, 4)?),
        aux: u16_at(&bytes, 6)?,
        segment: Segment(u16_at(&bytes, 8)?),
        start: u64_at(&bytes, 16)?,
        length: u64_at(&bytes, 24)?,
        bytes,
    })
}
