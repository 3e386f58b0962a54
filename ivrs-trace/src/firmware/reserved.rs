//! The one concept behind every vendor's table: an entry asks that some devices reach some memory.

use std::fmt;

use super::{Ivmd, Rmrr};

/// A table of the firmware's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
