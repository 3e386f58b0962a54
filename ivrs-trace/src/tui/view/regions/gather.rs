//! The reserved regions of a host, each once: what the kernel listed for single devices, and what
//! sysfs shows of groups.
//!
//! Sysfs merges the regions of all members of a group and sorts them
//! (`iommu_insert_resv_region`, drivers/iommu/iommu.c), so the lists of single devices are preferred
//! to it. Where the two do not agree, both are there and the difference is told.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    escape::printable,
    firmware::{EntryId, Rmrr, UnityEntry},
    host::{Group, Member, RegionKind, ReservedRegion},
    model::{Model, Service, member_name},
    pci::Bdf,
};

/// Differences that are told of one region.
const CONFLICTS: usize = 8;

/// A region, and to whom it applies.
#[derive(Clone, Debug)]
pub(super) struct Region {
    /// First byte.
    pub(super) start: u64,
    /// Last byte; one below `start` where the region has no length.
    pub(super) end: u64,
    pub(super) kind: RegionKind,
    pub(super) groups: BTreeSet<u32>,
    /// The devices that are known to have it.
    pub(super) devices: BTreeSet<Member>,
    /// Members of groups that have it, of which it does not show whether it is theirs.
    pub(super) perhaps: BTreeSet<Member>,
    /// The firmware's entries that lead to it.
    pub(super) entries: BTreeSet<EntryId>,
    /// Number of an event with which the kernel listed it.
    pub(super) listed: Option<u64>,
    /// The `reserved_regions` of a group show it.
    pub(super) shown: bool,
    /// What does not agree, a sentence each.
    pub(super) conflicts: Vec<String>,
}

/// Start, end and kind.
pub(super) type Key = (u64, u64, String);

impl Region {
    pub(super) fn key(&self) -> Key {
        (self.start, self.end, self.kind.to_string())
    }

    /// Bytes; 0 also for all 2^64 of them.
    pub(super) fn length(&self) -> u64 {
        self.end.wrapping_sub(self.start).wrapping_add(1)
    }

    fn conflict(&mut self, text: String) {
        if self.conflicts.len() < CONFLICTS && !self.conflicts.contains(&text) {
            self.conflicts.push(text);
        }
    }
}

/// The regions by address.
pub(super) fn gather(model: &Model) -> Vec<Region> {
    let functions = model.host().functions.value().into_iter().flatten();
    let amd: BTreeSet<Bdf> =
        functions.filter(|one| model.service(one) == Service::Amd).map(|one| one.bdf).collect();
    let mut regions = BTreeMap::new();
    for group in model.host().groups.value().into_iter().flatten() {
        of_group(&mut regions, model, &amd, group);
    }
    regions.into_values().collect()
}

fn row<'a>(
    regions: &'a mut BTreeMap<Key, Region>,
    (start, end, kind): (u64, u64, &RegionKind),
    group: u32,
) -> &'a mut Region {
    let region = regions.entry((start, end, kind.to_string())).or_insert_with(|| Region {
        start,
        end,
        kind: kind.clone(),
        groups: BTreeSet::new(),
        devices: BTreeSet::new(),
        perhaps: BTreeSet::new(),
        entries: BTreeSet::new(),
        listed: None,
        shown: false,
        conflicts: Vec::new(),
    });
    region.groups.insert(group);
    region
}

fn is_direct(kind: &RegionKind) -> bool {
    matches!(kind, RegionKind::Direct | RegionKind::DirectRelaxable)
}

/// The regions that the table leads to for a device, by first and last address.
fn of_table(
    model: &Model,
    amd: &BTreeSet<Bdf>,
    bdf: Bdf,
) -> Vec<((u64, u64), EntryId, RegionKind)> {
    if amd.contains(&bdf) {
        let entries = model.table().view().into_iter().flat_map(|view| view.regions_of(bdf));
        let region = |one: &UnityEntry| {
            let range = (one.start, one.end_inclusive());
            (range, EntryId::Ivmd(one.ivmd_index), RegionKind::Direct)
        };
        return entries.map(region).collect();
    }
    if !model.is_intel_host() {
        return Vec::new();
    }
    let kind = match model.is_relaxable(bdf) {
        Some(true) => RegionKind::DirectRelaxable,
        _ => RegionKind::Direct,
    };
    let matches = model.rmrrs_of(bdf).0.into_iter().map(|found| found.rmrr);
    let region = |one: &Rmrr| ((one.base, one.limit), EntryId::Rmrr(one.index), kind.clone());
    matches.map(region).collect()
}

/// An entry of the table, the member that it leads to a region for, and the region's kind.
type Led<'a> = (EntryId, &'a Member, RegionKind);

/// A group while its regions are gathered.
struct Gathered<'a> {
    group: &'a Group,
    members: &'a [Member],
    /// Its `reserved_regions`, if they were read.
    in_sysfs: Option<&'a [ReservedRegion]>,
    shown: Spans,
    /// What the kernel listed for its members.
    listed: Spans,
    /// The members without a list.
    unlisted: Vec<&'a Member>,
    /// What the table leads to for those, by first and last address.
    by_table: BTreeMap<(u64, u64), Vec<Led<'a>>>,
}

fn of_group(
    regions: &mut BTreeMap<Key, Region>,
    model: &Model,
    amd: &BTreeSet<Bdf>,
    group: &Group,
) {
    let in_sysfs = group.regions.value().map(Vec::as_slice);
    let mut shown = Spans::default();
    for region in in_sysfs.into_iter().flatten() {
        shown.add(&region.kind, region.start, region.end_inclusive);
    }
    shown.merge();
    let members = group.members.value().map_or(&[][..], Vec::as_slice);
    let (listed, unlisted, by_table) = (Spans::default(), Vec::new(), BTreeMap::new());
    let mut gathered = Gathered { group, members, in_sysfs, shown, listed, unlisted, by_table };
    for member in members {
        gathered.of_member(regions, model, amd, member);
    }
    gathered.listed.merge();
    gathered.of_sysfs(regions);
    // Where nothing was read, the table alone says it.
    for ((start, end), entries) in gathered.by_table.iter().filter(|_| in_sysfs.is_none()) {
        for (entry, member, kind) in entries {
            let region = row(regions, (*start, *end, kind), group.id);
            region.entries.insert(*entry);
            region.devices.insert((*member).clone());
        }
    }
}

impl<'a> Gathered<'a> {
    /// What the kernel listed for a member.
    fn of_member(
        &mut self,
        regions: &mut BTreeMap<Key, Region>,
        model: &Model,
        amd: &BTreeSet<Bdf>,
        member: &'a Member,
    ) {
        let by_range = match member {
            Member::Pci(bdf) => of_table(model, amd, *bdf),
            Member::Other(_) => Vec::new(),
        };
        let name = member_name(member);
        let Some(listing) = model.listing(&name) else {
            self.unlisted.push(member);
            for (range, entry, kind) in by_range {
                self.by_table.entry(range).or_default().push((entry, member, kind));
            }
            return;
        };
        let mut entries: BTreeMap<(u64, u64), Vec<EntryId>> = BTreeMap::new();
        for (range, entry, _) in by_range {
            entries.entry(range).or_default().push(entry);
        }
        // The kernel cuts the file at a page.
        let whole = self.in_sysfs.is_some() && self.group.bad_region_lines.is_empty();
        for one in &listing.regions {
            let (start, end) = (one.start, one.end_inclusive());
            let kind = RegionKind::from(one.kind.to_string());
            self.listed.add(&kind, start, end);
            let region = row(regions, (start, end, &kind), self.group.id);
            region.devices.insert(member.clone());
            region.listed = region.listed.max(Some(listing.event));
            if is_direct(&kind) {
                region.entries.extend(entries.get(&(start, end)).into_iter().flatten());
            }
            if self.shown.hold(&kind, start, end) {
                region.shown = true;
            } else if whole {
                region.conflict(format!(
                    "the kernel listed it for {} (event {}), but the reserved_regions of group {} \
                     do not show it",
                    printable(&name),
                    listing.event,
                    self.group.id
                ));
            }
        }
    }

    /// What sysfs shows and no member has in its list.
    fn of_sysfs(&self, regions: &mut BTreeMap<Key, Region>) {
        for one in self.in_sysfs.into_iter().flatten() {
            let (start, end) = (one.start, one.end_inclusive);
            if self.listed.hold(&one.kind, start, end) {
                continue;
            }
            let region = row(regions, (start, end, &one.kind), self.group.id);
            region.shown = true;
            // A merged region has those of the table within it.
            let mut named = false;
            let within = self.by_table.range((start, 0)..=(start.max(end), u64::MAX));
            for (_, blocks) in within.filter(|((_, last), _)| is_direct(&one.kind) && *last <= end)
            {
                for (entry, member, _) in blocks {
                    named = true;
                    region.entries.insert(*entry);
                    region.devices.insert((*member).clone());
                }
            }
            match (self.unlisted.as_slice(), self.members) {
                _ if named => {}
                ([], []) => {}
                ([], members) => {
                    region.perhaps.extend(members.iter().cloned());
                    region.conflict(format!(
                        "the reserved_regions of group {} show it, but the kernel listed it for \
                         none of its devices",
                        self.group.id
                    ));
                }
                ([one], _) => {
                    region.devices.insert((*one).clone());
                }
                (some, _) => region.perhaps.extend(some.iter().map(|one| (*one).clone())),
            }
        }
    }
}

/// Addresses by kind of region, to be asked whether they hold a range.
#[derive(Default)]
struct Spans {
    /// First and last address; once merged, in order and apart from each other.
    by_kind: BTreeMap<String, Vec<(u64, u64)>>,
}

impl Spans {
    fn add(&mut self, kind: &RegionKind, start: u64, end: u64) {
        self.by_kind.entry(kind.to_string()).or_default().push((start, end.max(start)));
    }

    fn merge(&mut self) {
        for spans in self.by_kind.values_mut() {
            spans.sort_unstable();
            spans.dedup_by(|next, kept| {
                let joins = next.0 <= kept.1.saturating_add(1);
                if joins {
                    kept.1 = kept.1.max(next.1);
                }
                joins
            });
        }
    }

    fn hold(&self, kind: &RegionKind, start: u64, end: u64) -> bool {
        let spans = self.by_kind.get(&kind.to_string()).map_or(&[][..], Vec::as_slice);
        let behind = spans.partition_point(|(first, _)| *first <= start);
        let last = behind.checked_sub(1).and_then(|at| spans.get(at));
        last.is_some_and(|(_, last)| end.max(start) <= *last)
    }
}
