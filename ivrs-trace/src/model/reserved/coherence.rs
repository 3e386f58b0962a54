//! Whether what was read of a host holds together: its tables, the regions that the kernel shows, its
//! IOMMUs, and who is in which group.

use std::collections::{BTreeMap, BTreeSet};

use super::{intel, memory::AT_MOST, once::Shown};
use crate::{
    firmware::{EntryId, TableName},
    host::{Group, Member, PciFunction, Reading, RegionKind, ReservedRegion},
    model::{
        contradiction::Contradiction,
        known::{Known, Service, member_name},
    },
    pci::Bdf,
};

/// What `iommu_group_show_resv_regions` shows of the interrupt range that both x86 drivers reserve for
/// every PCI function (`amd_iommu_get_resv_regions`, `intel_iommu_get_resv_regions`).
const INTERRUPTS: u64 = 0xfee0_0000;
/// The range of `HyperTransport`, which AMD's driver reserves for all functions, or on newer chips for
/// none.
const HYPER_TRANSPORT: u64 = 0xfd_0000_0000;

/// What is asked for a function: by which entry, first and last address.
type Asked = (EntryId, u64, u64);

impl Known {
    /// What contradicts itself in what was read, [`AT_MOST`] of it.
    #[must_use]
    pub fn contradictions(&self) -> &[Contradiction] {
        self.contradictions.get_or_init(|| {
            let mut found: Vec<Contradiction> = [TableName::Ivrs, TableName::Dmar]
                .iter()
                .filter_map(|one| of_table(self, *one))
                .collect();
            found.extend(members(self));
            for group in self.groups() {
                // All of a large table times all groups would fill memory.
                if found.len() >= AT_MOST {
                    break;
                }
                found.extend(of_group(self, group));
            }
            found.truncate(AT_MOST);
            found
        })
    }

    /// Why the table that was read may not be what the kernel used, or not all of it: what it lacks, or
    /// asks, proves nothing then.
    pub(crate) fn doubt(&self, table: TableName) -> Option<String> {
        let told = self.contradictions().iter().find(|one| one.table() == Some(table));
        if let Some(told) = told {
            return Some(told.to_string());
        }
        if self.unjudged(table) > 0 {
            return Some(format!(
                "the {table} has more entries than can be held against all devices of this host"
            ));
        }
        let ends_early = match table {
            TableName::Ivrs => self.table().view()?.reads_beyond.is_some(),
            TableName::Dmar => {
                let dmar = self.dmar().dmar()?;
                // The kernel's ACPI code only warns, so this may be what it used.
                if !dmar.header.checksum_ok {
                    return Some("the checksum of the DMAR is wrong: it may be damaged".to_owned());
                }
                dmar.truncation.is_some() || dmar.rmrr.iter().any(|rmrr| rmrr.fault.is_some())
            }
        };
        ends_early.then(|| format!("the {table} ends within an entry: there may be more of it"))
    }

    /// The regions of a group, if all of them are known; else why they are not.
    pub(crate) fn whole_regions<'a>(
        &'a self,
        group: &'a Group,
    ) -> Result<&'a [ReservedRegion], String> {
        let regions = match &group.regions {
            Reading::Read(regions) => regions.as_slice(),
            Reading::Absent | Reading::Unreadable(_) => {
                return Err("the group's reserved_regions could not be read".to_owned());
            }
        };
        let id = group.id;
        if let Some(bad) = group.bad_region_lines.first() {
            let line = crate::escape::printable(&bad.line);
            return Err(format!("reserved_regions of group {id} is cut or damaged: \"{line}\""));
        }
        if let Some(region) = regions.iter().find(|one| matches!(one.kind, RegionKind::Other(_))) {
            let word = crate::escape::printable(&region.kind.to_string());
            return Err(format!(
                "reserved_regions of group {id} has a region of unknown type, {word}"
            ));
        }
        let has = |regions: &[ReservedRegion], start| {
            regions.iter().any(|one| one.start <= start && start <= one.end_inclusive)
        };
        let by = |service| self.functions_in(group).any(|one| self.service(one) == service);
        let amd = by(Service::Amd);
        let x86 = amd || by(Service::Intel);
        let lacks = |start| x86 && !has(regions, start);
        if lacks(INTERRUPTS) || amd && lacks(HYPER_TRANSPORT) && self.shown().hyper_transport {
            return Err(format!(
                "reserved_regions of group {id} lacks a line that every group has: it is cut"
            ));
        }
        Ok(regions)
    }

    /// The functions that are known to be in a group.
    pub(crate) fn functions_in<'a>(
        &'a self,
        group: &'a Group,
    ) -> impl Iterator<Item = &'a PciFunction> {
        let members = group.members.value().into_iter().flatten();
        members.filter_map(|member| match member {
            Member::Pci(bdf) => self.function(*bdf),
            Member::Other(_) => None,
        })
    }
}

/// The regions of a group that are maps, direct or relaxable, by their first addresses: to each, how far
/// those reach that begin no later.
pub(in crate::model) struct Direct(Vec<(u64, u64)>);

impl Direct {
    pub(in crate::model) fn of(regions: &[ReservedRegion]) -> Self {
        let maps = regions.iter().filter(|region| {
            matches!(region.kind, RegionKind::Direct | RegionKind::DirectRelaxable)
        });
        let mut maps: Vec<_> =
            maps.map(|one| (one.start, one.end_inclusive.wrapping_add(1))).collect();
        maps.sort_unstable();
        let mut furthest = 0;
        for (_, end) in &mut maps {
            furthest = furthest.max(*end);
            *end = furthest;
        }
        Self(maps)
    }

    /// Whether these bytes are in a map, as the kernel shows it: merged with what touches it
    /// (`iommu_insert_resv_region`, drivers/iommu/iommu.c).
    pub(in crate::model) fn shows(&self, start: u64, end: u64) -> bool {
        let later = self.0.partition_point(|(first, _)| *first <= start);
        let before = later.checked_sub(1).and_then(|last| self.0.get(last));
        before.is_some_and(|(_, furthest)| *furthest >= end.wrapping_add(1))
    }
}

/// What the whole table contradicts: that the kernel has IOMMUs, and how many.
fn of_table(model: &Known, table: TableName) -> Option<Contradiction> {
    let host = model.host();
    let begin = match table {
        TableName::Ivrs => "ivhd",
        TableName::Dmar => "dmar",
    };
    let unit = host.units().find(|unit| unit.starts_with(begin))?.to_owned();
    let (fatal, described) = match table {
        TableName::Ivrs => {
            let (ivrs, view) = (model.table().ivrs()?, model.table().view()?);
            let fatal = view.fatal.first().map(ToString::to_string);
            (fatal, ivrs.ivhd.iter().filter(|ivhd| view.uses(ivhd)).count())
        }
        TableName::Dmar => {
            let dmar = model.dmar().dmar()?;
            (dmar.fatal().map(|fatal| fatal.to_string()), dmar.drhd.len())
        }
    };
    if let Some(why) = fatal {
        return Some(Contradiction::Refused { table, unit, why });
    }
    let shown = host.iommus.value().into_iter().flatten();
    let shown = shown.filter(|unit| unit.starts_with(begin)).count();
    // Of Intel's units the kernel leaves out those that no device is behind.
    let other = match table {
        TableName::Ivrs => shown > 0 && shown != described,
        TableName::Dmar => shown > described,
    };
    other.then_some(Contradiction::Units { table, described, shown })
}

/// Functions of which two files say that they are in different groups.
fn members(model: &Known) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<Bdf, u32> = BTreeMap::new();
    for group in model.groups() {
        for function in model.functions_in(group) {
            let bdf = function.bdf;
            if let Some(other) = seen.insert(bdf, group.id) {
                found.push(Contradiction::TwoGroups { bdf, groups: (other, group.id) });
            } else if group.lists_members() && group.by_link.contains(&bdf) {
                found.push(Contradiction::Member { bdf, group: group.id });
            }
        }
    }
    let twice: BTreeSet<Bdf> = found
        .iter()
        .filter_map(|one| match one {
            Contradiction::TwoGroups { bdf, .. } => Some(*bdf),
            _ => None,
        })
        .collect();
    found.retain(|one| !matches!(one, Contradiction::Member { bdf, .. } if twice.contains(bdf)));
    found
}

/// What a group's regions and a table contradict in each other. What the kernel lists device by device
/// is held against the table elsewhere.
fn of_group(model: &Known, group: &Group) -> Vec<Contradiction> {
    let Ok(regions) = model.whole_regions(group) else { return Vec::new() };
    let members = group.members.value().map_or(&[][..], Vec::as_slice);
    if members.iter().all(|member| model.listing(&member_name(member)).is_some()) {
        return Vec::new();
    }
    let shown = Direct::of(regions);
    let direct: Vec<&ReservedRegion> =
        regions.iter().filter(|region| region.kind == RegionKind::Direct).collect();
    // Where what is asked for begins and ends that the group shows.
    let (mut starts, mut ends): (BTreeMap<u64, bool>, BTreeMap<u64, bool>) =
        direct.iter().map(|one| ((one.start, false), (one.end_inclusive, false))).unzip();
    let mut found = Vec::new();
    let mut table = None;
    let mut all = group.lists_members();
    for member in members {
        let Member::Pci(bdf) = member else {
            all = false;
            continue;
        };
        let Some((name, of_function, complete)) = asked_for(model, *bdf) else {
            all = false;
            continue;
        };
        table = Some(name);
        all &= complete;
        for (entry, start, end) in of_function {
            if found.len() < AT_MOST && !shown.shows(start, end) {
                found.push(Contradiction::NotShown {
                    entry,
                    bdf: *bdf,
                    group: group.id,
                    start,
                    end,
                });
            }
            starts.entry(start).and_modify(|asked| *asked = true);
            ends.entry(end).and_modify(|asked| *asked = true);
        }
    }
    let Some(table) = table else { return Vec::new() };
    let asked = |of: &BTreeMap<u64, bool>, at| of.get(&at).is_some_and(|asked| *asked);
    let unasked = direct.iter().filter(|region| {
        all && !(asked(&starts, region.start) && asked(&ends, region.end_inclusive))
    });
    found.extend(unasked.take(AT_MOST).map(|region| {
        let (start, end) = (region.start, region.end_inclusive);
        Contradiction::NotAsked { table, group: group.id, start, end }
    }));
    found
}

/// What a sound table asks for a function, and whether that is all; `None` where no table tells.
fn asked_for(model: &Known, bdf: Bdf) -> Option<(TableName, Vec<Asked>, bool)> {
    let function = model.function(bdf)?;
    let service = model.service(function);
    if service == Service::Amd {
        let view = model.table().view().filter(|view| view.initialises())?;
        let entry = |entry: &crate::firmware::UnityEntry| {
            (EntryId::Ivmd(entry.ivmd_index), entry.start, entry.end_inclusive())
        };
        let whole = view.reads_beyond.is_none() && model.unjudged(TableName::Ivrs) == 0;
        return Some((TableName::Ivrs, model.entries_of(bdf).map(entry).collect(), whole));
    }
    let served = service == Service::Intel;
    let dmar = model.dmar().dmar().filter(|dmar| served && dmar.fatal().is_none())?;
    let (matches, unknown) = intel::of_function(model, bdf);
    let whole = !unknown && dmar.truncation.is_none() && model.unjudged(TableName::Dmar) == 0;
    let entry = |found: &super::RmrrMatch<'_>| {
        (EntryId::Rmrr(found.rmrr.index), found.rmrr.base, found.rmrr.limit)
    };
    Some((TableName::Dmar, matches.iter().map(entry).collect(), whole))
}

impl Shown {
    pub(in crate::model) fn of(model: &Known) -> Self {
        let mut shown = Self::default();
        for group in model.groups() {
            for region in group.regions.value().into_iter().flatten() {
                shown.hyper_transport |=
                    region.start <= HYPER_TRANSPORT && HYPER_TRANSPORT <= region.end_inclusive;
                if region.kind == RegionKind::Direct {
                    shown.direct.get_or_insert(group.id);
                }
            }
        }
        shown
    }
}
