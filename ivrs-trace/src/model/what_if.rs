//! What would be, if the firmware's table or the slot of a device were another.
//!
//! Changes are made to what was read, never to a machine: no table is built here, and none could be
//! installed from it. Both sides are judged from the table alone, because what the kernel lists
//! belongs to the table that it booted with. The IVHD blocks stay as they are, and with them the
//! devices that are behind an IOMMU.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use super::change::{Change, ChangeError};
use super::{
    known::Known,
    reserved::Tables,
    verdict::{DeviceVerdict, Verdict, Verdicts},
};
use crate::{
    facts::RequireDirect,
    firmware::EntryId,
    host::{Group, Member, Reading, RegionKind, ReservedRegion, Snapshot},
    pci::Bdf,
};

/// What is said of a device on one side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Judgement {
    /// The answer.
    pub verdict: Verdict,
    /// The IVMD blocks that hold the device that stops it, in table order.
    pub ivmd: Vec<usize>,
    /// The RMRR structures that hold it, in table order; absent where there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rmrr: Vec<usize>,
    /// How many direct regions hold it that no entry explains.
    pub unnamed: usize,
    /// The member of the group that stops it, where that is another one.
    pub blocked_by: Option<String>,
}

impl From<&DeviceVerdict> for Judgement {
    fn from(device: &DeviceVerdict) -> Self {
        let entries: BTreeSet<EntryId> =
            device.causes.iter().filter_map(|cause| cause.entry).collect();
        Self {
            verdict: device.verdict,
            ivmd: entries.iter().filter_map(|entry| entry.ivmd()).collect(),
            rmrr: entries.iter().filter_map(|entry| entry.rmrr()).collect(),
            unnamed: device.causes.iter().filter(|cause| cause.entry.is_none()).count(),
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
            _ => Self::Unknown,
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
    /// Its group, on both sides; null where no group lists it.
    pub group: Option<u32>,
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
    /// Every PCI function that an IOMMU serves, by its new address.
    pub devices: Vec<DeviceEffect>,
    /// What a reader should know about the answer, a sentence each.
    pub notices: Vec<String>,
}

/// The host of `model` with the changes.
fn what_if(model: &Known, changes: &[Change]) -> Result<WhatIf, ChangeError> {
    let tables = model.tables()?;
    let moves = moves(model, changes)?;
    let otherwise = tables.changed(&by_entry(&tables, changes)?)?;
    if let Reading::Unreadable(why) = &model.host.groups {
        return Err(ChangeError::NoGroups { why: crate::escape::printable(why) });
    }
    if model.groups().next().is_none() {
        let why = "this host's IOMMU is absent or switched off".to_owned();
        return Err(ChangeError::NoGroups { why });
    }
    let mut notices = table_notices(model, &tables);
    notices.extend(changes.iter().filter_map(|change| tables.change_notice(model, *change)));
    let before = variant(model, tables, &BTreeMap::new());
    let after = variant(model, otherwise, &moves);
    Ok(WhatIf {
        changes: changes.to_vec(),
        devices: compare(&before.verdicts(), &after.verdicts(), &moves),
        notices,
    })
}

/// The changes of entries, each of which is in the table and has one change.
fn by_entry(tables: &Tables, changes: &[Change]) -> Result<BTreeMap<EntryId, Change>, ChangeError> {
    let mut of_entry = BTreeMap::new();
    for change in changes {
        let Some(entry) = change.entry() else { continue };
        let (table, count) = (tables.name(), tables.count());
        if entry.table() != table || entry.index() >= count {
            return Err(ChangeError::NoSuchEntry { entry, table, count });
        }
        if of_entry.insert(entry, *change).is_some() {
            return Err(ChangeError::EntryTwice { entry });
        }
    }
    Ok(of_entry)
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

/// The host with the functions at their new addresses and the regions that `tables` lead to, for a
/// kernel that refuses.
fn variant(model: &Known, tables: Tables, moves: &BTreeMap<Bdf, Bdf>) -> Known {
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
            if moves.contains_key(&function.bdf) {
                function.parent =
                    Reading::Unreadable("the bridge above the other slot is not known".to_owned());
            }
            relocate(&mut function.bdf);
        }
    }
    let mut variant = Known::of_tables(host, tables.into_tables(), RequireDirect::Present.into());
    let regions: Vec<_> = variant
        .groups()
        .map(|group| (table_regions(&variant, group), variant.asked_for(group).1))
        .collect();
    if let Reading::Read(groups) = &mut variant.host.groups {
        for (group, (of_table, all)) in groups.iter_mut().zip(regions) {
            if !all {
                let why = "which entries apply at the other slot is not known";
                group.regions = Reading::Unreadable(why.to_owned());
            } else if let Reading::Read(regions) = &mut group.regions {
                regions.extend(of_table);
            }
        }
    }
    variant
}

/// The regions of a group that are not there because of the table: those stay whatever it says.
fn unexplained(model: &Known, group: &Group) -> Vec<ReservedRegion> {
    let of_table = table_regions(model, group);
    let explained = |region: &ReservedRegion| {
        let later = of_table.partition_point(|one| one.start <= region.end_inclusive);
        let overlaps =
            |one: &ReservedRegion| one.start == region.start || region.start <= one.end_inclusive;
        of_table.get(..later).is_some_and(|before| before.last().is_some_and(overlaps))
            || of_table.binary_search_by_key(&region.start, |one| one.start).is_ok()
    };
    let regions = group.regions.value().into_iter().flatten();
    regions
        .filter(|region| region.kind != RegionKind::Direct || !explained(region))
        .cloned()
        .collect()
}

/// The direct regions that the table leads to for the members of a group, in order, as the kernel shows
/// them: what touches is one (`iommu_insert_resv_region`, drivers/iommu/iommu.c).
fn table_regions(model: &Known, group: &Group) -> Vec<ReservedRegion> {
    let mut merged: Vec<ReservedRegion> = Vec::new();
    for (start, end_inclusive) in model.asked_for(group).0 {
        match merged.last_mut() {
            Some(last) if start <= last.end_inclusive.saturating_add(1) => {
                last.end_inclusive = last.end_inclusive.max(end_inclusive);
            }
            _ => merged.push(ReservedRegion { start, end_inclusive, kind: RegionKind::Direct }),
        }
    }
    merged
}

fn compare(before: &Verdicts, after: &Verdicts, moves: &BTreeMap<Bdf, Bdf>) -> Vec<DeviceEffect> {
    let after: BTreeMap<Bdf, &DeviceVerdict> =
        after.devices.iter().map(|device| (device.bdf, device)).collect();
    let mut devices: Vec<DeviceEffect> = before
        .devices
        .iter()
        .filter(|old| old.no_iommu.is_none())
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
fn table_notices(model: &Known, tables: &Tables) -> Vec<String> {
    let mut notices: Vec<String> = tables
        .fatal()
        .into_iter()
        .map(|fatal| format!("The table leads to no region: {fatal}."))
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

#[cfg(test)]
pub(super) mod tests;
