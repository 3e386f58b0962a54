//! The one concept behind every vendor's table: an entry asks that some devices reach some memory.

use std::{fmt, str::FromStr};

use super::{Ivmd, Rmrr, UnityEntry};

/// A table of the firmware's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableName {
    /// AMD's.
    Ivrs,
    /// Intel's.
    Dmar,
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ivrs => "IVRS",
            Self::Dmar => "DMAR",
        })
    }
}

/// A place in a table, which is nothing without its table: `IVRS offset 0x48`. JSON has the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which table.
    pub table: TableName,
    /// Bytes from its start.
    pub offset: usize,
}

impl Ivmd {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { table: TableName::Ivrs, offset: self.offset }
    }
}

impl Rmrr {
    /// Where it is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { table: TableName::Dmar, offset: self.offset }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} offset {:#x}", self.table, self.offset)
    }
}

impl serde::Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:#x}", self.offset))
    }
}

/// An entry of a table by which firmware asks for memory, by its number among the table's entries of
/// that kind, from 0. On a command line `ivmd:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EntryId {
    /// An IVMD block of the IVRS.
    Ivmd(usize),
    /// An RMRR structure of the DMAR.
    Rmrr(usize),
}

impl EntryId {
    /// The table that it is in.
    #[must_use]
    pub fn table(self) -> TableName {
        match self {
            Self::Ivmd(_) => TableName::Ivrs,
            Self::Rmrr(_) => TableName::Dmar,
        }
    }

    /// What such entries are called: `IVMD`.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Ivmd(_) => "IVMD",
            Self::Rmrr(_) => "RMRR",
        }
    }

    /// Its number.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Ivmd(index) | Self::Rmrr(index) => index,
        }
    }

    /// Its number, if it is an IVMD block.
    #[must_use]
    pub fn ivmd(self) -> Option<usize> {
        match self {
            Self::Ivmd(index) => Some(index),
            Self::Rmrr(_) => None,
        }
    }

    /// Its number, if it is an RMRR structure.
    #[must_use]
    pub fn rmrr(self) -> Option<usize> {
        match self {
            Self::Rmrr(index) => Some(index),
            Self::Ivmd(_) => None,
        }
    }
}

/// `IVMD 0`
impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.noun(), self.index())
    }
}

/// `ivmd:0` or `rmrr:0`.
impl FromStr for EntryId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("\"{}\" is no entry like ivmd:0 or rmrr:0", text.escape_default());
        let (kind, number) = text.split_once(':').ok_or_else(wrong)?;
        // `parse` would take a sign.
        let digits = Some(number).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let index = digits.and_then(|digits| digits.parse().ok()).ok_or_else(wrong)?;
        match kind.to_ascii_lowercase().as_str() {
            "ivmd" => Ok(Self::Ivmd(index)),
            "rmrr" => Ok(Self::Rmrr(index)),
            _ => Err(wrong()),
        }
    }
}

/// What every vendor's entry has: where it is, its bytes, and the memory that it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which it is.
    pub id: EntryId,
    /// Where it is.
    pub place: Place,
    /// Its bytes in the table.
    pub bytes: Vec<u8>,
    /// First address of the region that the kernel makes of it.
    pub start: u64,
    /// Last address, inclusive; one below `start` where the region has no length.
    pub end: u64,
}

impl Entry {
    /// An IVMD block and what the kernel makes of it.
    #[must_use]
    pub fn of_ivmd(block: &Ivmd, entry: &UnityEntry) -> Self {
        Self {
            id: EntryId::Ivmd(block.index),
            place: block.place(),
            bytes: block.bytes.to_vec(),
            start: entry.start,
            end: entry.end_inclusive(),
        }
    }
}

impl From<&Rmrr> for Entry {
    fn from(rmrr: &Rmrr) -> Self {
        Self {
            id: EntryId::Rmrr(rmrr.index),
            place: rmrr.place(),
            bytes: rmrr.bytes.clone(),
            start: rmrr.base,
            end: rmrr.limit,
        }
    }
}
