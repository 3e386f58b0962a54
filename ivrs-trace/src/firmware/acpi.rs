//! What all ACPI tables share: the header, the checksum, a row of blocks that each say how long they
//! are, and how a table can be cut.
//!
//! The header is `struct acpi_table_header` (include/acpi/actbl.h):
//! <https://github.com/torvalds/linux/blob/v6.12/include/acpi/actbl.h#L70>

use thiserror::Error;

/// Bytes of the header that every table begins with.
pub const ACPI_HEADER: usize = 36;

/// Why bytes are not the table that was looked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TableError {
    /// Fewer bytes than the fixed part of the table.
    #[error("{length} bytes are too few for {} table: its header alone has {needed}", article(*.signature))]
    TooShort {
        /// Of the table that was looked for.
        signature: [u8; 4],
        /// Bytes given.
        length: usize,
        /// Bytes of the table's fixed part.
        needed: usize,
    },
    /// The first four bytes are not the signature.
    #[error(
        "not {} table: it starts with \"{}\", not with \"{}\"",
        article(*.signature), .found.escape_ascii(), .signature.escape_ascii()
    )]
    BadSignature {
        /// Of the table that was looked for.
        signature: [u8; 4],
        /// The four bytes found.
        found: [u8; 4],
    },
    /// The header's length is smaller than the fixed part of the table.
    #[error("the header says the table has {length} bytes, but its header alone has {needed}")]
    LengthTooSmall {
        /// The header's length field.
        length: u32,
        /// Bytes of the table's fixed part.
        needed: usize,
    },
    /// The header's length is larger than the data.
    #[error(
        "the header says the table has {length} bytes, but there are only {available}: it is cut"
    )]
    LengthBeyondData {
        /// The header's length field.
        length: u32,
        /// Bytes given.
        available: usize,
    },
}

fn article(signature: [u8; 4]) -> String {
    let article = if signature.starts_with(b"I") { "an" } else { "a" };
    format!("{article} {}", signature.escape_ascii())
}

/// Why the walk over a table's blocks stopped before the end of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Truncation {
    /// The block says that it has no bytes.
    #[error("the block of type {kind:#04x} at offset {offset:#x} has length 0")]
    ZeroLength {
        /// Of the block, from the table's start.
        offset: usize,
        /// Its type.
        kind: u16,
    },
    /// The block reaches past the end of the table.
    #[error(
        "the block of type {kind:#04x} at offset {offset:#x} has length {length}, but the table \
         ends after {available} bytes of it"
    )]
    BeyondEnd {
        /// Of the block, from the table's start.
        offset: usize,
        /// Its type.
        kind: u16,
        /// Its length field.
        length: u16,
        /// Bytes from the block's start to the table's end.
        available: usize,
    },
    /// What is fixed in a block of this type does not fit into the rest of the table.
    #[error(
        "the block of type {kind:#04x} at offset {offset:#x} needs {needed} bytes, but the table \
         ends after {available}"
    )]
    FieldsBeyondEnd {
        /// Of the block, from the table's start.
        offset: usize,
        /// Its type.
        kind: u16,
        /// Bytes that its fixed fields take.
        needed: usize,
        /// Bytes from the block's start to the table's end.
        available: usize,
    },
    /// Too few bytes are left for a type and a length.
    #[error(
        "the {available} bytes from offset {offset:#x} to the table's end are too few for a block"
    )]
    HeaderCut {
        /// Where the block would start.
        offset: usize,
        /// Bytes left.
        available: usize,
    },
}

impl Truncation {
    /// Where the block starts at which the walk stopped, in bytes from the table's start.
    #[must_use]
    pub fn offset(&self) -> usize {
        match *self {
            Self::ZeroLength { offset, .. }
            | Self::BeyondEnd { offset, .. }
            | Self::FieldsBeyondEnd { offset, .. }
            | Self::HeaderCut { offset, .. } => offset,
        }
    }
}

/// The header of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the whole table in bytes.
    pub length: u32,
    /// Revision of the table's layout.
    pub revision: u8,
    /// The checksum byte.
    pub checksum: u8,
    /// Whether all bytes add up to 0. What the kernel does where they do not differs by table.
    pub checksum_ok: bool,
    /// OEM id, space- or zero-padded; from firmware, so not fit for a terminal unescaped.
    pub oem_id: [u8; 6],
    /// OEM table id, space- or zero-padded; from firmware, so not fit for a terminal unescaped.
    pub oem_table_id: [u8; 8],
    /// OEM revision: an override from an initrd counts only if its own is higher.
    pub oem_revision: u32,
    /// Id of the tool that made the table.
    pub creator_id: [u8; 4],
    /// Revision of that tool.
    pub creator_revision: u32,
}

/// A table within the bytes that were given.
#[derive(Clone, Debug)]
pub(super) struct Whole<'a> {
    pub(super) header: Header,
    /// As many bytes as the header says.
    pub(super) bytes: &'a [u8],
    /// Bytes that follow it in what was given.
    pub(super) trailing: usize,
}

/// The table at the start of `data`, which has `signature` and a fixed part of `fixed` bytes.
pub(super) fn whole(
    data: &[u8],
    signature: [u8; 4],
    fixed: usize,
) -> Result<Whole<'_>, TableError> {
    let too_short = || TableError::TooShort { signature, length: data.len(), needed: fixed };
    let found = array_at(data, 0).ok_or_else(too_short)?;
    if found != signature {
        return Err(TableError::BadSignature { signature, found });
    }
    let length = u32_at(data, 4).filter(|_| data.len() >= fixed).ok_or_else(too_short)?;
    let beyond = || TableError::LengthBeyondData { length, available: data.len() };
    let size = usize::try_from(length).map_err(|_| beyond())?;
    if size < fixed {
        return Err(TableError::LengthTooSmall { length, needed: fixed });
    }
    let bytes = data.get(..size).ok_or_else(beyond)?;
    let header = header(bytes, length).ok_or_else(too_short)?;
    Ok(Whole { header, bytes, trailing: data.len().saturating_sub(size) })
}

fn header(table: &[u8], length: u32) -> Option<Header> {
    Some(Header {
        length,
        revision: u8_at(table, 8)?,
        checksum: u8_at(table, 9)?,
        checksum_ok: sum(table) == 0,
        oem_id: array_at(table, 10)?,
        oem_table_id: array_at(table, 16)?,
        oem_revision: u32_at(table, 24)?,
        creator_id: array_at(table, 28)?,
        creator_revision: u32_at(table, 32)?,
    })
}

/// What the bytes add up to: 0 in a table whose checksum is right.
#[must_use]
pub fn sum(table: &[u8]) -> u8 {
    table.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte))
}

/// The place of a block of any type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Where the block starts, in bytes from the table's start.
    pub offset: usize,
    /// Its type.
    pub kind: u16,
    /// Its length field in bytes.
    pub length: u16,
}

/// A block of a type whose fields are not decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherBlock {
    /// Where it starts, in bytes from the table's start.
    pub offset: usize,
    /// Its type.
    pub kind: u16,
    /// Its length field in bytes.
    pub length: u16,
    /// Its bytes, as many as lie within the table.
    pub bytes: Vec<u8>,
}

/// A block within its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    pub(super) header: BlockHeader,
    /// From the block's start to the table's end. Kernels read the fixed fields of a block whatever
    /// its length says.
    pub(super) rest: &'a [u8],
    /// The block's bytes, as many as lie within the table.
    pub(super) bytes: &'a [u8],
}

impl Block<'_> {
    /// The block, its fields not decoded.
    pub(super) fn other(&self) -> OtherBlock {
        let BlockHeader { offset, kind, length } = self.header;
        OtherBlock { offset, kind, length, bytes: self.bytes.to_vec() }
    }

    /// That the fixed fields of a block of this type, so many bytes, reach past the table's end.
    pub(super) fn fields_beyond(&self, needed: usize) -> Truncation {
        let BlockHeader { offset, kind, .. } = self.header;
        Truncation::FieldsBeyondEnd { offset, kind, needed, available: self.rest.len() }
    }

    /// That the block itself reaches past the table's end, where it does.
    pub(super) fn beyond_end(&self) -> Option<Truncation> {
        let BlockHeader { offset, kind, length } = self.header;
        let available = self.rest.len();
        (usize::from(length) > available).then_some(Truncation::BeyondEnd {
            offset,
            kind,
            length,
            available,
        })
    }
}

/// The blocks of a table in order, from its first at `offset` on; `place` reads type and length of
/// the bytes from a block's start. After an error there is no more.
pub(super) fn blocks(
    table: &[u8],
    mut offset: usize,
    place: fn(&[u8]) -> Option<(u16, u16)>,
) -> impl Iterator<Item = Result<Block<'_>, Truncation>> {
    let mut stopped = false;
    std::iter::from_fn(move || {
        let rest = table.get(offset..).filter(|rest| !rest.is_empty() && !stopped)?;
        let Some((kind, length)) = place(rest) else {
            stopped = true;
            return Some(Err(Truncation::HeaderCut { offset, available: rest.len() }));
        };
        let header = BlockHeader { offset, kind, length };
        // A block of no length is handed out: whoever walks on decides what it means.
        stopped = length == 0;
        offset = offset.saturating_add(usize::from(length));
        Some(Ok(Block { header, rest, bytes: rest.get(..usize::from(length)).unwrap_or(rest) }))
    })
}

// Little-endian reads that answer `None` past the end.

/// `N` bytes at `offset`.
pub(crate) fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

pub(crate) fn u8_at(bytes: &[u8], offset: usize) -> Option<u8> {
    bytes.get(offset).copied()
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}
