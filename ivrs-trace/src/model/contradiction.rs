//! Where what was read of a host contradicts itself: one of the files is damaged, or another host's,
//! and what rests on it proves nothing.

use std::fmt;

use crate::{
    firmware::{EntryId, TableName},
    pci::Bdf,
};

/// Two things that were read, of which one cannot be true. Addresses are inclusive at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "fields are named after what they are, variants say the rest")]
pub enum Contradiction {
    /// The kernel has an IOMMU that it would not have with the table, and why not.
    Refused { table: TableName, unit: String, why: String },
    /// The kernel has another number of IOMMUs than the table describes.
    Units { table: TableName, described: usize, shown: usize },
    /// A group's `reserved_regions`, read whole, lacks what an entry asks for a member.
    NotShown { entry: EntryId, bdf: Bdf, group: u32, start: u64, end: u64 },
    /// A group has a direct region that the table does not ask for.
    NotAsked { table: TableName, group: u32, start: u64, end: u64 },
    /// A function's link leads to a group whose `devices` lists others, but not the function.
    Member { bdf: Bdf, group: u32 },
    /// Two groups list the function.
    TwoGroups { bdf: Bdf, groups: (u32, u32) },
}

impl Contradiction {
    /// The table that cannot be the one that the kernel used, unless another file is wrong.
    pub(super) fn table(&self) -> Option<TableName> {
        match self {
            Self::Refused { table, .. }
            | Self::Units { table, .. }
            | Self::NotAsked { table, .. } => Some(*table),
            Self::NotShown { entry, .. } => Some(entry.table()),
            Self::Member { .. } | Self::TwoGroups { .. } => None,
        }
    }

    /// The function whose group is not certain.
    pub(super) fn function(&self) -> Option<Bdf> {
        match self {
            Self::Member { bdf, .. } | Self::TwoGroups { bdf, .. } => Some(*bdf),
            _ => None,
        }
    }
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { table, unit, why } => {
                let unit = crate::escape::printable(unit);
                write!(
                    f,
                    "the {table} is not what the kernel used, since the host has {unit}, but: {why}"
                )
            }
            Self::Units { table, described, shown } => write!(
                f,
                "the {table} describes {described} IOMMUs, but /sys/class/iommu has {shown}"
            ),
            Self::NotShown { entry, bdf, group, start, end } => write!(
                f,
                "{} of the {} asks for {start:#x} to {end:#x} for {bdf}, but reserved_regions of group {group} \
                 does not have it",
                entry,
                entry.table()
            ),
            Self::NotAsked { table, group, start, end } => write!(
                f,
                "reserved_regions of group {group} has the direct region {start:#x} to {end:#x}, \
                 but no entry of the {table} asks for it"
            ),
            Self::Member { bdf, group } => write!(
                f,
                "the link iommu_group of {bdf} leads to group {group}, whose devices does not list it"
            ),
            Self::TwoGroups { bdf, groups: (one, other) } => {
                write!(f, "groups {one} and {other} both list {bdf}")
            }
        }
    }
}
