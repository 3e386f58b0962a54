//! The forms of a dump, and what a table found in one has.

use std::fmt;

/// Input of more bytes than this is refused. A log of many boots is smaller.
pub const INPUT_LIMIT: usize = 16 * 1024 * 1024;
/// No table may have more bytes than this; real ones have a few hundred.
pub const TABLE_LIMIT: usize = 1024 * 1024;

/// The first four bytes of an ACPI table.
pub(super) type Signature = [u8; 4];

/// What the input was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// The table's bytes as they are.
    Binary,
    /// `acpidump` or `acpixtract`: a line `IVRS @ 0x...`, then lines `0000: 49 56 ...`.
    Acpidump,
    /// The raw table data at the end of what `iasl -d` writes.
    Iasl,
    /// The fields that `iasl -d` lists, without the raw data.
    Fields,
    /// `xxd`, in groups of any size.
    Xxd,
    /// `hexdump -C`, also called `hd`.
    HexdumpC,
    /// `hexdump` with another format; 16-bit words unless told otherwise.
    Hexdump,
    /// `od` with offsets in octal, hex or decimal.
    Od,
    /// Hex digits without offsets: `xxd -p`, `xxd -i`, `od -A n`.
    PlainHex,
    /// A byte string or a list of decimal numbers, as programming languages write them.
    Literal,
    /// Base64 of the bytes.
    Base64,
    /// A kernel log written with `amd_iommu_dump`.
    KernelLog,
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "a binary table",
            Self::Acpidump => "acpidump text",
            Self::Iasl => "iasl's raw table data",
            Self::Fields => "iasl's fields",
            Self::Xxd => "xxd text",
            Self::HexdumpC => "hexdump -C text",
            Self::Hexdump => "hexdump text",
            Self::Od => "od text",
            Self::PlainHex => "plain hex digits",
            Self::Literal => "a string or list of a program",
            Self::Base64 => "base64",
            Self::KernelLog => "a kernel log",
        })
    }
}

/// A table found in the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDump {
    /// The form it had.
    pub form: Form,
    /// Its first and last line in the input, from 1; none for a binary.
    pub lines: Option<(usize, usize)>,
    /// The bytes: the signature first, at least as many as the header says, at most [`TABLE_LIMIT`]. Bytes
    /// after the table's end are kept.
    pub table: Vec<u8>,
    /// Whether the input had blocks alone: the table's header is filled in, and offsets count from it.
    pub headless: bool,
    /// What a reader of the result should know about the input, a sentence each.
    pub notes: Vec<String>,
}
