//! Builds IVRS tables, right ones and wrong ones on purpose, for tests and for the VM lab.
//!
//! Lengths and checksum are computed unless told otherwise. It never touches a machine's own
//! tables: it only makes bytes.

use std::str::FromStr;

use thiserror::Error;

use super::{
    device_entry::{DeviceEntry, UidTooLong},
    ivrs::{
        HEADER_LENGTH, IVMD_LENGTH, IvInfo, IvhdKind, Ivmd, IvmdFlags, IvmdKind, Ivrs, SIGNATURE,
    },
};
use crate::pci::{Devid, Segment};

/// Why a table cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// A block would be longer than its 16-bit length field can say.
    #[error("block {block} would have {length} bytes, but a block has at most 65535")]
    BlockTooLong {
        /// Its number in the order it was added, from 0.
        block: usize,
        /// The length it would have.
        length: usize,
    },
    /// The table would be longer than its 32-bit length field can say.
    #[error("the table would have {length} bytes, but a table has at most 4294967295")]
    TableTooLong {
        /// The length it would have.
        length: usize,
    },
    /// A device entry cannot be encoded.
    #[error("block {block}: {source}")]
    Entry {
        /// The block's number in the order it was added, from 0.
        block: usize,
        /// What is wrong with the entry.
        source: UidTooLong,
    },
}

/// An IVHD block to be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IvhdSpec {
    /// Its type.
    pub kind: IvhdKind,
    /// Its flags byte.
    pub flags: u8,
    /// The devid of the IOMMU itself.
    pub devid: Devid,
    /// Offset of the IOMMU's capability in its PCI configuration space.
    pub cap_offset: u16,
    /// Physical address of the IOMMU's registers.
    pub mmio: u64,
    /// PCI segment.
    pub segment: Segment,
    /// MSI number and unit id.
    pub info: u16,
    /// Feature reporting (type 0x10) or attributes (0x11, 0x40).
    pub feature_info: u32,
    /// Extended feature register; left out for type 0x10.
    pub efr: u64,
    /// Second extended feature register; left out for type 0x10.
    pub efr2: u64,
    /// The device entries.
    pub entries: Vec<DeviceEntry>,
}

/// An IOMMU at 00:00.2 that serves nothing: a starting point for `..IvhdSpec::default()`.
impl Default for IvhdSpec {
    fn default() -> Self {
        Self {
            kind: IvhdKind::Type10,
            flags: 0,
            devid: Devid(0x0002),
            cap_offset: 0x40,
            mmio: 0xfeb8_0000,
            segment: Segment(0),
            info: 0,
            feature_info: 0,
            efr: 0,
            efr2: 0,
            entries: Vec::new(),
        }
    }
}

impl IvhdSpec {
    fn encode(&self) -> Result<Vec<u8>, UidTooLong> {
        let mut out = vec![self.kind.code(), self.flags, 0, 0];
        out.extend(self.devid.0.to_le_bytes());
        out.extend(self.cap_offset.to_le_bytes());
        out.extend(self.mmio.to_le_bytes());
        out.extend(self.segment.0.to_le_bytes());
        out.extend(self.info.to_le_bytes());
        out.extend(self.feature_info.to_le_bytes());
        if self.kind != IvhdKind::Type10 {
            out.extend(self.efr.to_le_bytes());
            out.extend(self.efr2.to_le_bytes());
        }
        for entry in &self.entries {
            entry.encode(&mut out)?;
        }
        Ok(out)
    }
}

/// An IVMD block to be built.
///
/// As text: `type=0x22,flags=0x07,devid=0x0000,aux=0x0fff,start=0x7ffe0000,length=0x20000`, keys in
/// any order, numbers in hex with `0x` or decimal. `segment` may be left out if it is 0, `aux` if the
/// type is not 0x22, `devid` if it is 0x20.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IvmdSpec {
    /// Its type.
    pub kind: IvmdKind,
    /// Its flags.
    pub flags: IvmdFlags,
    /// The device (0x21) or the first device (0x22).
    pub devid: Devid,
    /// The last device, inclusive (0x22).
    pub aux: u16,
    /// PCI segment.
    pub segment: Segment,
    /// First byte of the memory range.
    pub start: u64,
    /// Length of the memory range in bytes.
    pub length: u64,
}

impl IvmdSpec {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(IVMD_LENGTH);
        out.extend([self.kind.code(), self.flags.0, 0, 0]);
        out.extend(self.devid.0.to_le_bytes());
        out.extend(self.aux.to_le_bytes());
        out.extend(self.segment.0.to_le_bytes());
        out.extend([0; 6]);
        out.extend(self.start.to_le_bytes());
        out.extend(self.length.to_le_bytes());
        out
    }
}

impl From<&Ivmd> for IvmdSpec {
    fn from(ivmd: &Ivmd) -> Self {
        let Ivmd { kind, flags, devid, aux, segment, start, length, .. } = *ivmd;
        Self { kind, flags, devid, aux, segment, start, length }
    }
}

/// Why text is not an [`IvmdSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParseIvmdSpecError {
    /// A part without `=`.
    #[error("{part:?} is not KEY=NUMBER")]
    NotAPair {
        /// The part between two commas.
        part: String,
    },
    /// A key that there is not.
    #[error("unknown key {key:?}: the keys are type, flags, devid, aux, start, length, segment")]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key given twice.
    #[error("{key} is given twice")]
    Duplicate {
        /// The key.
        key: &'static str,
    },
    /// A key not given.
    #[error("{key} is missing")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value that is no number, or too large for its field.
    #[error("{key}={value:?} is not a number of at most {bits} bits (hex with 0x, or decimal)")]
    BadNumber {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// The size of the field.
        bits: u32,
    },
    /// A type that is not an IVMD's.
    #[error(
        "type={code:#04x} is not an IVMD type: they are 0x20 (all), 0x21 (one device), 0x22 (range)"
    )]
    NotAnIvmd {
        /// The type.
        code: u8,
    },
}

impl FromStr for IvmdSpec {
    type Err = ParseIvmdSpecError;

    fn from_str(text: &str) -> Result<Self, ParseIvmdSpecError> {
        use ParseIvmdSpecError as Error;

        let mut fields = [
            Field { key: "type", bits: 8, value: None },
            Field { key: "flags", bits: 8, value: None },
            Field { key: "devid", bits: 16, value: None },
            Field { key: "aux", bits: 16, value: None },
            Field { key: "start", bits: 64, value: None },
            Field { key: "length", bits: 64, value: None },
            Field { key: "segment", bits: 16, value: None },
        ];
        for part in text.split(',') {
            let (key, value) =
                part.split_once('=').ok_or_else(|| Error::NotAPair { part: part.to_owned() })?;
            let field = fields
                .iter_mut()
                .find(|field| field.key == key)
                .ok_or_else(|| Error::UnknownKey { key: key.to_owned() })?;
            if field.value.replace(value).is_some() {
                return Err(Error::Duplicate { key: field.key });
            }
        }
        let [kind, flags, mut devid, mut aux, start, length, mut segment] = fields;
        segment.value.get_or_insert("0");
        let code = kind.number()?;
        let kind = IvmdKind::from_code(code).ok_or(Error::NotAnIvmd { code })?;
        // The kernel reads these fields for some types only.
        if kind != IvmdKind::Range {
            aux.value.get_or_insert("0");
        }
        if kind == IvmdKind::All {
            devid.value.get_or_insert("0");
        }
        Ok(Self {
            kind,
            flags: IvmdFlags(flags.number()?),
            devid: Devid(devid.number()?),
            aux: aux.number()?,
            segment: Segment(segment.number()?),
            start: start.number()?,
            length: length.number()?,
        })
    }
}

/// One key of the text form of an [`IvmdSpec`].
struct Field<'a> {
    key: &'static str,
    bits: u32,
    value: Option<&'a str>,
}

impl Field<'_> {
    fn number<T: TryFrom<u64>>(&self) -> Result<T, ParseIvmdSpecError> {
        let key = self.key;
        let value = self.value.ok_or(ParseIvmdSpecError::Missing { key })?;
        let (digits, radix) = value.strip_prefix("0x").map_or((value, 10), |hex| (hex, 16));
        // `from_str_radix` takes a sign, a table field has none.
        Some(digits)
            .filter(|digits| !digits.starts_with(['+', '-']))
            .and_then(|digits| u64::from_str_radix(digits, radix).ok())
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| ParseIvmdSpecError::BadNumber {
                key,
                value: value.to_owned(),
                bits: self.bits,
            })
    }
}

#[derive(Clone, Debug)]
enum Content {
    Ivhd(IvhdSpec),
    Ivmd(IvmdSpec),
    Raw(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Block {
    content: Content,
    length: Option<u16>,
}

/// Builds an IVRS table. Blocks come in the order in which they are added.
#[derive(Clone, Debug)]
pub struct IvrsBuilder {
    revision: u8,
    oem_id: [u8; 6],
    oem_table_id: [u8; 8],
    oem_revision: u32,
    creator_id: [u8; 4],
    creator_revision: u32,
    ivinfo: IvInfo,
    blocks: Vec<Block>,
    table_length: Option<u32>,
    checksum: Option<u8>,
}

impl Default for IvrsBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl IvrsBuilder {
    /// A table of revision 2 without blocks.
    #[must_use]
    pub fn new() -> Self {
        Self {
            revision: 2,
            oem_id: *b"IVRSTR",
            oem_table_id: *b"BUILDER ",
            oem_revision: 1,
            creator_id: *b"IVRT",
            creator_revision: 1,
            ivinfo: IvInfo(0x0020_3041),
            blocks: Vec::new(),
            table_length: None,
            checksum: None,
        }
    }

    /// A table without blocks whose header fields are those of `table`.
    ///
    /// For an override through an initrd the OEM revision must then be raised: the kernel takes
    /// only a higher one.
    #[must_use]
    pub fn like(table: &Ivrs) -> Self {
        Self {
            revision: table.header.revision,
            oem_id: table.header.oem_id,
            oem_table_id: table.header.oem_table_id,
            oem_revision: table.header.oem_revision,
            creator_id: table.header.creator_id,
            creator_revision: table.header.creator_revision,
            ivinfo: table.ivinfo,
            ..Self::new()
        }
    }

    /// Sets the table revision.
    #[must_use]
    pub fn revision(mut self, revision: u8) -> Self {
        self.revision = revision;
        self
    }

    /// Sets the OEM id.
    #[must_use]
    pub fn oem_id(mut self, oem_id: [u8; 6]) -> Self {
        self.oem_id = oem_id;
        self
    }

    /// Sets the OEM table id.
    #[must_use]
    pub fn oem_table_id(mut self, oem_table_id: [u8; 8]) -> Self {
        self.oem_table_id = oem_table_id;
        self
    }

    /// Sets the OEM revision.
    #[must_use]
    pub fn oem_revision(mut self, oem_revision: u32) -> Self {
        self.oem_revision = oem_revision;
        self
    }

    /// Sets the `IVinfo` field.
    #[must_use]
    pub fn ivinfo(mut self, ivinfo: u32) -> Self {
        self.ivinfo = IvInfo(ivinfo);
        self
    }

    /// Adds an IVHD block.
    #[must_use]
    pub fn ivhd(self, spec: IvhdSpec) -> Self {
        self.block(Content::Ivhd(spec), None)
    }

    /// Adds an IVMD block.
    #[must_use]
    pub fn ivmd(self, spec: IvmdSpec) -> Self {
        self.block(Content::Ivmd(spec), None)
    }

    /// Adds bytes as they are, their own type and length included.
    #[must_use]
    pub fn raw(self, bytes: Vec<u8>) -> Self {
        self.block(Content::Raw(bytes), None)
    }

    /// Adds the IVHD blocks of `table` as they are, in their order.
    #[must_use]
    pub fn ivhd_blocks_of(self, table: &Ivrs) -> Self {
        table.ivhd.iter().fold(self, |builder, ivhd| builder.raw(ivhd.bytes.clone()))
    }

    /// Makes the block added last claim `length` bytes, whatever it has. Without a block, or for
    /// raw bytes shorter than four, it changes nothing.
    #[must_use]
    pub fn last_block_length(mut self, length: u16) -> Self {
        if let Some(block) = self.blocks.last_mut() {
            block.length = Some(length);
        }
        self
    }

    /// Makes the header claim `length` bytes, whatever the table has.
    #[must_use]
    pub fn table_length(mut self, length: u32) -> Self {
        self.table_length = Some(length);
        self
    }

    /// Sets the checksum byte, right or wrong.
    #[must_use]
    pub fn checksum(mut self, checksum: u8) -> Self {
        self.checksum = Some(checksum);
        self
    }

    fn block(mut self, content: Content, length: Option<u16>) -> Self {
        self.blocks.push(Block { content, length });
        self
    }

    /// The table's bytes.
    ///
    /// # Errors
    /// Where a block, a device entry or the table is longer than its length field can say.
    pub fn build(&self) -> Result<Vec<u8>, BuildError> {
        let mut blocks = Vec::new();
        for (number, block) in self.blocks.iter().enumerate() {
            blocks.extend(block.encode(number)?);
        }
        let length = HEADER_LENGTH + blocks.len();
        let length = match self.table_length {
            Some(length) => length,
            None => u32::try_from(length).map_err(|_| BuildError::TableTooLong { length })?,
        };
        // Everything but the checksum, in two parts around it.
        let mut head = Vec::with_capacity(HEADER_LENGTH + blocks.len());
        head.extend(SIGNATURE);
        head.extend(length.to_le_bytes());
        head.push(self.revision);
        let mut tail = Vec::with_capacity(HEADER_LENGTH + blocks.len());
        tail.extend(self.oem_id);
        tail.extend(self.oem_table_id);
        tail.extend(self.oem_revision.to_le_bytes());
        tail.extend(self.creator_id);
        tail.extend(self.creator_revision.to_le_bytes());
        tail.extend(self.ivinfo.0.to_le_bytes());
        tail.extend([0; 8]);
        tail.extend(blocks);
        let sum = head.iter().chain(&tail).fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        head.push(self.checksum.unwrap_or(sum.wrapping_neg()));
        head.extend(tail);
        Ok(head)
    }
}

impl Block {
    /// `number` is for the error only.
    fn encode(&self, number: usize) -> Result<Vec<u8>, BuildError> {
        let (mut bytes, fill_length) = match &self.content {
            Content::Ivhd(spec) => {
                (spec.encode().map_err(|source| BuildError::Entry { block: number, source })?, true)
            }
            Content::Ivmd(spec) => (spec.encode(), true),
            Content::Raw(bytes) => (bytes.clone(), false),
        };
        let length = match self.length {
            Some(length) => Some(length),
            None if fill_length => {
                let length = bytes.len();
                let too_long = |_| BuildError::BlockTooLong { block: number, length };
                Some(u16::try_from(length).map_err(too_long)?)
            }
            None => None,
        };
        if let (Some(length), Some(field)) = (length, bytes.get_mut(2..4)) {
            field.copy_from_slice(&length.to_le_bytes());
        }
        Ok(bytes)
    }
}
