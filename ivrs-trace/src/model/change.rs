//! A change of a host's table or slots that is thought through, and why one cannot be.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::{
    firmware::{EntryId, TableName},
    pci::Bdf,
};

/// One thing that is otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The table does not have this entry.
    Without {
        /// The entry.
        #[serde(flatten)]
        entry: EntryId,
    },
    /// The regions of this entry are `direct-relaxable`: mapped until VFIO claims the device, and no
    /// reason to refuse it (`iommu_create_device_direct_mappings`, drivers/iommu/iommu.c, sets
    /// `require_direct` for `direct` regions only; from 6.6).
    Relax {
        /// The entry.
        #[serde(flatten)]
        entry: EntryId,
    },
    /// This IVMD block applies to a part of its devices only.
    Narrow {
        /// Index of the block.
        ivmd: usize,
        /// First device.
        first: Bdf,
        /// Last device, inclusive.
        last: Bdf,
    },
    /// A PCI function is at another address.
    Move {
        /// Where it is.
        from: Bdf,
        /// Where it would be.
        to: Bdf,
    },
}

impl Change {
    /// The entry that it changes.
    #[must_use]
    pub fn entry(self) -> Option<EntryId> {
        match self {
            Self::Without { entry } | Self::Relax { entry } => Some(entry),
            Self::Narrow { ivmd, .. } => Some(EntryId::Ivmd(ivmd)),
            Self::Move { .. } => None,
        }
    }
}

/// `without IVMD 0`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Without { entry } => write!(f, "without {entry}"),
            Self::Relax { entry } => write!(f, "with {entry} relaxed"),
            Self::Narrow { ivmd, first, last } if first == last => {
                write!(f, "with IVMD {ivmd} for {first} alone")
            }
            Self::Narrow { ivmd, first, last } => {
                write!(f, "with IVMD {ivmd} for {first} to {last} alone")
            }
            Self::Move { from, to } => write!(f, "with {from} at {to}"),
        }
    }
}

/// Why a change cannot be thought through.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// There is no table to change.
    #[error("there is no {table} table to judge from: {why}")]
    NoTable {
        /// The table that describes the host's IOMMU.
        table: TableName,
        /// Why not.
        why: String,
    },
    /// There are no devices to judge.
    #[error("the IOMMU groups cannot be judged: {why}")]
    NoGroups {
        /// Why not.
        why: String,
    },
    /// The table has no such entry.
    #[error("there is no {}: {}", typed(*.entry), has(*.entry, *.table, *.count))]
    NoSuchEntry {
        /// The entry asked for.
        entry: EntryId,
        /// The table that describes the host's IOMMU.
        table: TableName,
        /// How many entries that table has.
        count: usize,
    },
    /// Two changes of one entry.
    #[error("{} is changed twice; give one change an entry", typed(*.entry))]
    EntryTwice {
        /// The entry.
        entry: EntryId,
    },
    /// The new range is not a part of the block's range.
    #[error(
        "{first} to {last} is not a part of what ivmd:{ivmd} applies to, which is {start} to {end}"
    )]
    NotAPart {
        /// The block.
        ivmd: usize,
        /// First device of the new range.
        first: Bdf,
        /// Last device of the new range, inclusive.
        last: Bdf,
        /// First device of the block's range.
        start: Bdf,
        /// Last device of the block's range, inclusive.
        end: Bdf,
    },
    /// There is nothing to move.
    #[error("there is no PCI function {bdf} on this host to move")]
    NoFunction {
        /// The address.
        bdf: Bdf,
    },
    /// One function at two addresses.
    #[error("{bdf} is moved twice")]
    MovedTwice {
        /// The function.
        bdf: Bdf,
    },
    /// Two functions at one address.
    #[error("{from} cannot be moved to {to}: another PCI function is there")]
    Occupied {
        /// The function.
        from: Bdf,
        /// The address.
        to: Bdf,
    },
}

/// As it is written on a command line: `ivmd:0`.
fn typed(entry: EntryId) -> String {
    format!("{}:{}", entry.noun().to_ascii_lowercase(), entry.index())
}

/// What there is instead of `entry`.
fn has(entry: EntryId, table: TableName, count: usize) -> String {
    let of = |index| match table {
        TableName::Ivrs => EntryId::Ivmd(index),
        TableName::Dmar => EntryId::Rmrr(index),
    };
    let what = match table {
        TableName::Ivrs => "IVMD block",
        TableName::Dmar => "RMRR structure",
    };
    let subject = if entry.table() == table {
        "the table".to_owned()
    } else {
        format!("the table of this host's IOMMU is the {table}, which")
    };
    match count {
        0 => format!("{subject} has no {what}"),
        1 => format!("{subject} has one {what}, {}", typed(of(0))),
        count => format!("{subject} has {} to {}", typed(of(0)), typed(of(count - 1))),
    }
}
