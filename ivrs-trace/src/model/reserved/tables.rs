//! The tables of a host with entries otherwise than firmware has them, for `what-if`.

use std::collections::BTreeMap;

use crate::{
    firmware::{Dmar, EntryId, Ivmd, Ivrs, KernelView, TableName, UnityEntry},
    model::{
        change::{Change, ChangeError},
        known::Known,
        table::{DmarTable, IvrsTable, Table},
    },
    pci::Bdf,
};

/// The table that describes a host's IOMMU.
pub(crate) enum Tables {
    Ivrs(Ivrs, KernelView),
    Dmar(Dmar),
}

impl Known {
    /// The table that describes this host's IOMMU.
    pub(crate) fn tables(&self) -> Result<Tables, ChangeError> {
        let table = self.table_name();
        let why = match table {
            TableName::Ivrs => match self.table() {
                Table::Read(read) => return Ok(Tables::Ivrs(read.0.clone(), read.1.clone())),
                other => why_not(self, other),
            },
            TableName::Dmar => match self.dmar() {
                Table::Read(dmar) => return Ok(Tables::Dmar((**dmar).clone())),
                other => why_not(self, other),
            },
        };
        Err(ChangeError::NoTable { table, why: crate::escape::printable(&why) })
    }
}

fn why_not<T>(model: &Known, table: &Table<T>) -> String {
    match table {
        Table::Unreadable(why) if model.host().copied => why.clone(),
        Table::Unreadable(why) => format!("{why}; only root may read it"),
        Table::Malformed(error) => error.to_string(),
        Table::Read(_) | Table::Absent => "this host has none".to_owned(),
    }
}

impl Tables {
    pub(crate) fn name(&self) -> TableName {
        match self {
            Self::Ivrs(..) => TableName::Ivrs,
            Self::Dmar(_) => TableName::Dmar,
        }
    }

    /// How many entries ask for memory.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Ivrs(ivrs, _) => ivrs.ivmd.len(),
            Self::Dmar(dmar) => dmar.rmrr.len(),
        }
    }

    /// Why Linux has no working IOMMU from the table.
    pub(crate) fn fatal(&self) -> Vec<String> {
        match self {
            Self::Ivrs(_, view) => view.fatal.iter().map(ToString::to_string).collect(),
            Self::Dmar(dmar) => dmar.fatal().iter().map(ToString::to_string).collect(),
        }
    }

    /// With these changes. A relaxed entry makes a region too, but none that could block, so it
    /// counts as none here.
    pub(crate) fn changed(&self, changes: &BTreeMap<EntryId, Change>) -> Result<Self, ChangeError> {
        match self {
            Self::Ivrs(ivrs, view) => {
                for change in changes.values() {
                    if let Change::Narrow { ivmd, first, last } = *change
                        && let Some(block) = ivrs.ivmd.get(ivmd)
                    {
                        check_part(view, block, first, last)?;
                    }
                }
                let apply = |entry: &UnityEntry| match changes.get(&EntryId::Ivmd(entry.ivmd_index))
                {
                    Some(Change::Without { .. } | Change::Relax { .. }) => None,
                    Some(Change::Narrow { first, last, .. }) => Some(UnityEntry {
                        devid_start: first.devid,
                        devid_end: last.devid,
                        ..*entry
                    }),
                    Some(Change::Move { .. }) | None => Some(*entry),
                };
                let entries = view.entries.iter().filter_map(apply).collect();
                Ok(Self::Ivrs(ivrs.clone(), KernelView { entries, ..view.clone() }))
            }
            Self::Dmar(dmar) => {
                let mut dmar = dmar.clone();
                for rmrr in &mut dmar.rmrr {
                    // It keeps its number, and is for nobody.
                    if changes.contains_key(&EntryId::Rmrr(rmrr.index)) {
                        rmrr.scopes.clear();
                    }
                }
                Ok(Self::Dmar(dmar))
            }
        }
    }

    /// As the host's tables: the other one is not there.
    pub(crate) fn into_tables(self) -> (IvrsTable, DmarTable) {
        match self {
            Self::Ivrs(ivrs, view) => (Table::Read(Box::new((ivrs, view))), Table::Absent),
            Self::Dmar(dmar) => (Table::Absent, Table::Read(Box::new(dmar))),
        }
    }

    /// Where a change does less than it looks.
    pub(crate) fn change_notice(&self, model: &Known, change: Change) -> Option<String> {
        let (ivrs, view) = match (self, change) {
            (Self::Ivrs(ivrs, view), _) => (ivrs, view),
            (Self::Dmar(_), Change::Move { from, to }) => {
                return Some(format!(
                    "{from} keeps its group at {to} here; which bridges are above that slot is not \
                     known, so an RMRR that names a bridge may apply there too."
                ));
            }
            (Self::Dmar(_), _) => {
                let index = change.entry()?.rmrr()?;
                let reach = model.rmrr_coverage(index)?;
                let none =
                    reach.gap.is_none() && reach.devices.is_empty() && reach.relaxable.is_empty();
                return none.then(|| format!("RMRR {index} applies to no device of this host."));
            }
        };
        if let Change::Move { from, to } = change {
            return Some(if model.is_amd(from) {
                format!(
                    "{from} keeps its group at {to} here; on a real board the slot and the bridges \
                     above it decide which devices share a group, and the bus numbers."
                )
            } else {
                format!(
                    "No AMD IOMMU serves {from}, so no block of the table applies to it anywhere."
                )
            });
        }
        let block = ivrs.ivmd.get(change.entry()?.ivmd()?)?;
        let Some(coverage) = model.coverage(block.index) else {
            return Some(format!(
                "Linux ignores IVMD {}: its flags ({:#04x}) ask for neither a unity map nor an \
                 exclusion range.",
                block.index, block.flags.0
            ));
        };
        (coverage.gap.is_none() && coverage.devices.is_empty() && view.initialises())
            .then(|| format!("IVMD {} covers no device of this host.", block.index))
    }
}

fn check_part(view: &KernelView, block: &Ivmd, first: Bdf, last: Bdf) -> Result<(), ChangeError> {
    let (start, end) = view.devids_of(block);
    let (start, end) = (Bdf::new(block.segment, start), Bdf::new(block.segment, end));
    // Addresses are ordered by segment first, so a range of another segment is no part either.
    if start <= first && first <= last && last <= end {
        return Ok(());
    }
    Err(ChangeError::NotAPart { ivmd: block.index, first, last, start, end })
}
