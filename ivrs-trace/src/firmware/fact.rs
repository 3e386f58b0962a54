//! Evidence: what a finding or a cause rests on, a fact each, as values. They are put into words
//! where they are printed, here and nowhere else.

use std::fmt;

use serde::{Serialize, Serializer};

use super::reserved::{EntryId, Place, TableName};
use crate::{
    escape::printable,
    fmt::hex_bytes,
    pci::{Bdf, Devid, Segment},
};

/// One thing that was read. Addresses are inclusive at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named after what they are, variants say the rest")]
pub enum Fact {
    /// An entry of a table.
    Entry { id: EntryId, place: Place, bytes: Vec<u8> },
    /// Bytes of the table that the finding is about; whether there are more of them.
    Bytes { offset: usize, bytes: Vec<u8>, more: bool },
    /// A field of that table.
    Field { offset: usize, name: &'static str, value: u64 },
    /// What all bytes of that table add up to, where that is not 0.
    Sum(u8),
    /// Bit 1 of the `IVinfo` field, which is set.
    DmaRemap { ivinfo: u32 },
    /// IVMD blocks that are exclusion ranges.
    ExclusionRanges(Vec<usize>),
    /// A device scope by which an RMRR applies: to the device, or to a bridge above it.
    Scope { place: Place, scope: String, bridge: Option<Bdf> },
    /// A region that the kernel listed, its type, and for which device.
    Listed { event: u64, start: u64, end: u64, of: Option<(&'static str, String)> },
    /// A line of a group's `reserved_regions`.
    Shown { group: u32, start: u64, end: u64, kind: &'static str },
    /// An entry of the kernel's unity map.
    Unity { event: u64, segment: Segment, ordinal: usize, row: UnityFact },
    /// Where a segment of the kernel's unity map ends.
    UnityLast { event: u64, segment: Segment, last: Devid },
    /// How many entries a segment of the kernel's unity map has.
    UnityCount { event: u64, segment: Segment, count: usize },
    /// No entry of the table leads to the region.
    NoEntry(TableName),
    /// The host's copy of the table was not there.
    TableAbsent(TableName),
    /// The table could not be read, and why.
    TableUnreadable(TableName, String),
    /// The table is not one, and why.
    TableMalformed(TableName, String),
    /// A line of a memory map.
    Memory { map: &'static str, start: u64, end: u64, name: String },
    /// A file of the host that could not be placed, and why.
    Skipped { path: String, why: String },
    /// A line of a file of the host, or of the kernel's log.
    Line { file: String, text: String },
}

/// An entry of the kernel's unity map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnityFact {
    /// First devid.
    pub first: Devid,
    /// Last devid, inclusive.
    pub last: Devid,
    /// First address.
    pub start: u64,
    /// Last address, inclusive.
    pub end: u64,
    /// Bit 0 read, bit 1 write.
    pub prot: u32,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { id, place, bytes } => write!(f, "{place}: {id}, {}", hex_bytes(bytes)),
            Self::Bytes { offset, bytes, more } => {
                let more = if *more { " .." } else { "" };
                write!(f, "offset {offset:#x}: {}{more}", hex_bytes(bytes))
            }
            Self::Field { offset, name, value } => {
                write!(f, "offset {offset:#x}: {name} {value:#x}")
            }
            Self::Sum(sum) => write!(f, "all bytes add up to {sum:#04x}, not to 0"),
            Self::DmaRemap { ivinfo } => {
                write!(f, "offset 0x24: IVinfo {ivinfo:#010x}, bit 1 set")
            }
            Self::ExclusionRanges(blocks) => {
                let blocks: Vec<String> =
                    blocks.iter().map(|index| format!("ivmd:{index}")).collect();
                write!(f, "exclusion ranges: {}", blocks.join(", "))
            }
            Self::Scope { place, scope, bridge: None } => {
                write!(f, "{place}: device scope {scope} is the device")
            }
            Self::Scope { place, scope, bridge: Some(bridge) } => write!(
                f,
                "{place}: device scope {scope} is the bridge {bridge}, which the device is below"
            ),
            Self::Listed { event, start, end, of } => {
                write!(f, "event {event}: the kernel lists {start:#x} to {end:#x}")?;
                match of {
                    Some((kind, device)) => write!(f, " as {kind} for {}", printable(device)),
                    None => Ok(()),
                }
            }
            Self::Shown { group, start, end, kind } => write!(
                f,
                "/sys/kernel/iommu_groups/{group}/reserved_regions: {start:#018x} {end:#018x} {kind}"
            ),
            Self::Unity { event, segment, ordinal, row } => write!(
                f,
                "event {event}: the kernel's unity map, segment {segment}, entry {ordinal}: devid \
                 {:#06x} to {:#06x}, {:#x} to {:#x}, prot {:#x}",
                row.first.0, row.last.0, row.start, row.end, row.prot
            ),
            Self::UnityLast { event, segment, last } => {
                write!(
                    f,
                    "event {event}: the kernel's unity map, segment {segment}, ends at {last}"
                )
            }
            Self::UnityCount { event, segment, count } => write!(
                f,
                "event {event}: the kernel's unity map, segment {segment}, has {count} entries"
            ),
            Self::NoEntry(table) => {
                let noun = if *table == TableName::Ivrs { "IVMD block" } else { "RMRR" };
                write!(f, "no {noun} of the {table} leads to this region")
            }
            Self::TableAbsent(table) => {
                write!(f, "the host has no {table} table that could be read")
            }
            Self::TableUnreadable(table, why) => {
                write!(f, "the {table} table cannot be read: {}", printable(why))
            }
            Self::TableMalformed(table, why) => write!(f, "the {table} table is malformed: {why}"),
            Self::Memory { map, start, end, name } => {
                write!(f, "{map}: {start:#x} to {end:#x}, {}", printable(name))
            }
            Self::Line { file, text } => write!(f, "{}: {}", printable(file), printable(text)),
            Self::Skipped { path, why } => write!(f, "{}: {}", printable(path), printable(why)),
        }
    }
}

impl Serialize for Fact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Fact {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Fact".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}
