//! What would be, if the firmware's table or the slot of a device were another.
//!
//! Changes are made to what was read, never to a machine: no table is built here, and none could be
//! installed from it. Both sides are judged from the table alone, because what the kernel lists
//! belongs to the table that it booted with. The IVHD blocks stay as they are, and with them the
//! devices that are behind an IOMMU.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use thiserror::Error;

use super::{DeviceVerdict, DmarTable, Known, RequireDirect, Table, Verdict, Verdicts, listing};
use crate::{
    firmware::{Ivmd, Ivrs, KernelView, UnityEntry},
    host::{Group, Member, Reading, RegionKind, ReservedRegion, Snapshot},
    pci::Bdf,
};

/// One thing that is otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum Change {
    /// The table does not have this IVMD block.
    Without {
        /// Index of the block.
        ivmd: usize,
    },
    /// The regions of this IVMD block are `direct-relaxable`: mapped until VFIO takes the device, and
    /// no reason to refuse it (`iommu_create_device_direct_mappings`, drivers/iommu/iommu.c, sets
    /// `require_direct` for `direct` regions only; from 6.6).
    Relax {
        /// Index of the block.
        ivmd: usize,
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
    /// The block that it changes.
    #[must_use]
    pub fn ivmd(self) -> Option<usize> {
        match self {
            Self::Without { ivmd } | Self::Relax { ivmd } | Self::Narrow { ivmd, .. } => Some(ivmd),
            Self::Move { .. } => None,
        }
    }
}

/// `without IVMD 0`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Without { ivmd } => write!(f, "without IVMD {ivmd}"),
            Self::Relax { ivmd } => write!(f, "with IVMD {ivmd} relaxed"),
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
    #[error("there is no IVRS table to judge from: {why}")]
    NoTable {
        /// Why not.
        why: String,
    },
    /// There are no devices to judge.
    #[error("there are no IOMMU groups to judge: {why}")]
    NoGroups {
        /// Why not.
        why: String,
    },
    /// The table has no such block.
    #[error("there is no ivmd:{ivmd}: {}", has(*.count))]
    NoSuchBlock {
        /// The index asked for.
        ivmd: usize,
        /// How many blocks the table has.
        count: usize,
    },
    /// Two changes of one block.
    #[error("ivmd:{ivmd} is changed twice; give one change a block")]
    BlockTwice {
        /// The block.
        ivmd: usize,
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

fn has(count: usize) -> String {
    match count {
        0 => "the table has no IVMD block".to_owned(),
        1 => "the table has one IVMD block, ivmd:0".to_owned(),
        count => format!("the table has ivmd:0 to ivmd:{}", count - 1),
    }
}

/// What is said of a device on one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Judgement {
    /// The answer.
    pub verdict: Verdict,
    /// The IVMD blocks that hold the device that stops it, in table order.
    pub ivmd: Vec<usize>,
    /// How many direct regions hold it that no IVMD block explains.
    pub unnamed: usize,
    /// The member of the group that stops it, where that is another one.
    pub blocked_by: Option<String>,
}

impl From<&DeviceVerdict> for Judgement {
    fn from(device: &DeviceVerdict) -> Self {
        let mut ivmd: Vec<usize> = device.ivmds().collect();
        ivmd.sort_unstable();
        ivmd.dedup();
        Self {
            verdict: device.verdict,
            ivmd,
            unnamed: device.causes.iter().filter(|cause| cause.ivmd().is_none()).count(),
            blocked_by: device.blocked_by.clone(),
        }
    }
}

/// What the changes do to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It was blocked and would be clear.
    BecomesClear,
    /// It was not blocked and would be.
    BecomesBlocked,
    /// It is blocked either way.
    StaysBlocked,
    /// It is clear either way.
    StaysClear,
    /// Evidence is missing on at least one side.
    Unknown,
}

impl Effect {
    fn of(before: Verdict, after: Verdict) -> Self {
        match (before, after) {
            (Verdict::Blocked, Verdict::Clear) => Self::BecomesClear,
            (Verdict::Blocked, Verdict::Blocked) => Self::StaysBlocked,
            (_, Verdict::Blocked) => Self::BecomesBlocked,
            (Verdict::Clear, Verdict::Clear) => Self::StaysClear,
            (_, Verdict::Unknown) | (Verdict::Unknown, _) => Self::Unknown,
        }
    }
}

/// A device before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceEffect {
    /// Where it would be.
    pub bdf: Bdf,
    /// Where it is, if that is elsewhere.
    pub moved_from: Option<Bdf>,
    /// Its group, on both sides.
    pub group: u32,
    /// The driver that holds it, printable.
    pub driver: Option<String>,
    /// What the changes do to it.
    pub effect: Effect,
    /// As it is.
    pub before: Judgement,
    /// As it would be.
    pub after: Judgement,
}

/// A host as it is and as it would be.
#[derive(Clone, Debug)]
pub struct WhatIf {
    /// What is otherwise.
    pub changes: Vec<Change>,
    /// Every PCI function that is in a group, by its new address.
    pub devices: Vec<DeviceEffect>,
    /// What a reader should know about the answer, a sentence each.
    pub notices: Vec<String>,
}

/// The host of `model` with the changes.
pub(super) fn what_if(model: &Known, changes: &[Change]) -> Result<WhatIf, ChangeError> {
    let (ivrs, view) = table(model)?;
    let moves = moves(model, changes)?;
    let entries = entries(ivrs, view, changes)?;
    if let Reading::Unreadable(why) = &model.host.groups {
        return Err(ChangeError::NoGroups { why: crate::escape::printable(why) });
    }
    if model.groups().next().is_none() {
        let why = "this host's IOMMU is absent or switched off".to_owned();
        return Err(ChangeError::NoGroups { why });
    }
    let before = variant(model, ivrs, view.clone(), &BTreeMap::new());
    let after = variant(model, ivrs, KernelView { entries, ..view.clone() }, &moves);
    let mut notices = table_notices(model, view);
    notices.extend(changes.iter().filter_map(|change| change_notice(model, ivrs, view, *change)));
    Ok(WhatIf {
        changes: changes.to_vec(),
        devices: compare(&before.verdicts(), &after.verdicts(), &moves),
        notices,
    })
}

fn table(model: &Known) -> Result<(&Ivrs, &KernelView), ChangeError> {
    let why = match &model.table {
        Table::Read(read) => return Ok((&read.0, &read.1)),
        Table::Absent if model.is_intel_host() => {
            "this host has Intel's IOMMU, and what its DMAR asks for is not thought otherwise here; \
             `ivrs-trace check` names the RMRR behind each verdict"
                .to_owned()
        }
        Table::Absent => "this host has none".to_owned(),
        Table::Unreadable(why) => format!("{why}; only root may read it"),
        Table::Malformed(error) => error.to_string(),
    };
    Err(ChangeError::NoTable { why: crate::escape::printable(&why) })
}

/// The unity map entries that the kernel would make. A relaxed block makes one too, but none that
/// could block, so it counts as none here.
fn entries(
    ivrs: &Ivrs,
    view: &KernelView,
    changes: &[Change],
) -> Result<Vec<UnityEntry>, ChangeError> {
    let mut of_block: BTreeMap<usize, Change> = BTreeMap::new();
    for change in changes {
        let Some(ivmd) = change.ivmd() else { continue };
        let count = ivrs.ivmd.len();
        let block = ivrs.ivmd.get(ivmd).ok_or(ChangeError::NoSuchBlock { ivmd, count })?;
        if let Change::Narrow { first, last, .. } = *change {
            check_part(view, block, first, last)?;
        }
        if of_block.insert(ivmd, *change).is_some() {
            return Err(ChangeError::BlockTwice { ivmd });
        }
    }
    let apply = |entry: &UnityEntry| match of_block.get(&entry.ivmd_index) {
        Some(Change::Without { .. } | Change::Relax { .. }) => None,
        Some(Change::Narrow { first, last, .. }) => {
            Some(UnityEntry { devid_start: first.devid, devid_end: last.devid, ..*entry })
        }
        Some(Change::Move { .. }) | None => Some(*entry),
    };
    Ok(view.entries.iter().filter_map(apply).collect())
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

/// New addresses by old ones.
fn moves(model: &Known, changes: &[Change]) -> Result<BTreeMap<Bdf, Bdf>, ChangeError> {
    let mut moves = BTreeMap::new();
    for change in changes {
        let Change::Move { from, to } = *change else { continue };
        if model.function(from).is_none() {
            return Err(ChangeError::NoFunction { bdf: from });
        }
        if moves.insert(from, to).is_some() {
            return Err(ChangeError::MovedTwice { bdf: from });
        }
    }
    for (from, to) in &moves {
        let stays = model.function(*to).is_some() && !moves.contains_key(to);
        let shared = moves.iter().any(|(other, target)| other != from && target == to);
        if stays || shared {
            return Err(ChangeError::Occupied { from: *from, to: *to });
        }
    }
    Ok(moves)
}

/// The host with the functions at their new addresses and the regions that `view` leads to, for a
/// kernel that refuses.
fn variant(model: &Known, ivrs: &Ivrs, view: KernelView, moves: &BTreeMap<Bdf, Bdf>) -> Known {
    let relocate = |bdf: &mut Bdf| *bdf = moves.get(bdf).copied().unwrap_or(*bdf);
    let mut host: Snapshot = model.host.clone();
    if let Reading::Read(groups) = &mut host.groups {
        for group in groups {
            let unexplained = unexplained(model, group);
            if let Reading::Read(members) = &mut group.members {
                for member in &mut *members {
                    if let Member::Pci(bdf) = member {
                        relocate(bdf);
                    }
                }
                members.sort();
            }
            if let Reading::Read(regions) = &mut group.regions {
                *regions = unexplained;
            }
        }
    }
    if let Reading::Read(functions) = &mut host.functions {
        for function in &mut *functions {
            relocate(&mut function.bdf);
        }
        functions.sort_by_key(|function| function.bdf);
    }
    let mut variant = Known {
        host,
        table: Table::Read(Box::new((ivrs.clone(), view))),
        dmar: DmarTable::Absent,
        flag: RequireDirect::Present.into(),
        listings: listing::Listings::default(),
        unity: super::unity_map::UnityMaps::default(),
    };
    let regions: Vec<Vec<ReservedRegion>> =
        variant.groups().map(|group| table_regions(&variant, group)).collect();
    if let Reading::Read(groups) = &mut variant.host.groups {
        for (group, of_table) in groups.iter_mut().zip(regions) {
            if let Reading::Read(regions) = &mut group.regions {
                regions.extend(of_table);
            }
        }
    }
    variant
}

/// The regions of a group that are not there because of the table: those stay whatever it says.
fn unexplained(model: &Known, group: &Group) -> Vec<ReservedRegion> {
    let of_table = table_regions(model, group);
    // The kernel shows overlapping regions of a group merged.
    let explained = |region: &ReservedRegion| {
        of_table.iter().any(|one| {
            one.start == region.start
                || (one.start <= region.end_inclusive && region.start <= one.end_inclusive)
        })
    };
    let regions = group.regions.value().into_iter().flatten();
    regions
        .filter(|region| region.kind != RegionKind::Direct || !explained(region))
        .cloned()
        .collect()
}

/// The direct regions that the table leads to for the members of a group.
fn table_regions(model: &Known, group: &Group) -> Vec<ReservedRegion> {
    model
        .entries_of(group)
        .map(|entry| ReservedRegion {
            start: entry.start,
            end_inclusive: entry.end_inclusive(),
            kind: RegionKind::Direct,
        })
        .collect()
}

fn compare(before: &Verdicts, after: &Verdicts, moves: &BTreeMap<Bdf, Bdf>) -> Vec<DeviceEffect> {
    let after: BTreeMap<Bdf, &DeviceVerdict> =
        after.devices.iter().map(|device| (device.bdf, device)).collect();
    let mut devices: Vec<DeviceEffect> = before
        .devices
        .iter()
        .filter_map(|old| {
            let bdf = moves.get(&old.bdf).copied().unwrap_or(old.bdf);
            let new = *after.get(&bdf)?;
            Some(DeviceEffect {
                bdf,
                moved_from: (bdf != old.bdf).then_some(old.bdf),
                group: old.group,
                driver: old.driver.clone(),
                effect: Effect::of(old.verdict, new.verdict),
                before: Judgement::from(old),
                after: Judgement::from(new),
            })
        })
        .collect();
    devices.sort_by_key(|device| device.bdf);
    devices
}

/// Where the host is not one that follows its table.
fn table_notices(model: &Known, view: &KernelView) -> Vec<String> {
    let mut notices: Vec<String> = view
        .fatal
        .iter()
        .map(|fatal| format!("No region comes of the table as it is: {fatal}."))
        .collect();
    match model.refuses() {
        RequireDirect::Present => {}
        RequireDirect::Missing => notices.push(
            "This kernel refuses no device for a 1:1 map; what is said here holds for kernels that \
             do, which mainline is from 6.6 on."
                .to_owned(),
        ),
        RequireDirect::Unknown => notices.push(
            "Whether this kernel refuses devices for a 1:1 map is not known; what is said here \
             holds for kernels that do, which mainline is from 6.6 on."
                .to_owned(),
        ),
    }
    let relaxed: Vec<String> = model
        .groups()
        .filter(|group| !table_regions(model, group).is_empty())
        .filter(|group| {
            group.bad_region_lines.is_empty()
                && group.regions.value().is_some_and(|regions| {
                    regions.iter().all(|region| region.kind != RegionKind::Direct)
                })
        })
        .map(|group| group.id.to_string())
        .collect();
    if !relaxed.is_empty() {
        notices.push(format!(
            "The kernel shows no direct region for group {}, though the table asks for one: it does \
             not follow the table. What is said here holds for a kernel that does.",
            relaxed.join(", ")
        ));
    }
    notices
}

/// Where a change does less than it looks.
fn change_notice(model: &Known, ivrs: &Ivrs, view: &KernelView, change: Change) -> Option<String> {
    if let Change::Move { from, to } = change {
        return Some(if model.is_amd(from) {
            format!(
                "{from} keeps its group at {to} here; on a real board the slot and the bridges \
                 above it decide which devices share a group, and the bus numbers."
            )
        } else {
            format!("No AMD IOMMU serves {from}, so no block of the table applies to it anywhere.")
        });
    }
    let block = ivrs.ivmd.get(change.ivmd()?)?;
    let Some(coverage) = model.coverage(block.index) else {
        return Some(format!(
            "The kernel ignores IVMD {} as it is: its flags ({:#04x}) ask for neither a unity map \
             nor an exclusion range.",
            block.index, block.flags.0
        ));
    };
    (coverage.devices.is_empty() && view.initialises())
        .then(|| format!("IVMD {} covers no device of this host as it is.", block.index))
}

#[cfg(test)]
pub(super) mod tests;

impl Known {
    /// What would be said of this host's devices, if the table or their slots were others.
    ///
    /// # Errors
    /// Where a change names a block or a function that there is not, contradicts another one, or
    /// where there is no table or no group to judge.
    pub fn what_if(&self, changes: &[Change]) -> Result<WhatIf, ChangeError> {
        what_if(self, changes)
    }
}
