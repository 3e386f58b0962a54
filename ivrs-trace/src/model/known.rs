//! What is known of a host, from its files and from what its kernel was seen to do. How functions
//! are judged by it is in [`verdict`](super::verdict) and [`reserved`](super::reserved).

use std::{collections::BTreeSet, sync::OnceLock};

use super::{
    bounds,
    contradiction::Contradiction,
    listing::{Listing, Listings},
    options,
    reserved::{Across, Gap, Judged, Owner, RmrrCoverage, Shown},
    table::{DmarTable, IvrsTable},
    unity_map::{UnityMap, UnityMaps},
};
use crate::{
    event::{self, Body, DeviceFunction, Event, Phase},
    facts::{KernelFlag, RequireDirect},
    firmware::{Finding, Ivmd, Rmrr, TableName, UnityEntry},
    host::{Group, Member, PciFunction, Reading, Snapshot, Ways},
    pci::{Bdf, Devid, Segment},
};

/// Whose IOMMU serves a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Amd,
    Intel,
    Other,
    /// None does.
    Nobody,
    /// Nothing that was read tells.
    NotKnown,
}

impl Service {
    /// AMD's units are called ivhdN (`iommu_device_sysfs_add` in drivers/iommu/amd/init.c), Intel's
    /// dmarN (drivers/iommu/intel/dmar.c).
    fn of_unit(name: &str) -> Self {
        if name.starts_with("ivhd") {
            Self::Amd
        } else if name.starts_with("dmar") {
            Self::Intel
        } else {
            Self::Other
        }
    }

    /// Whose the IOMMUs of a host are, by their class or else by the links to them; no board mixes
    /// makers.
    fn of_host(host: &Snapshot) -> Self {
        let of_class = host.iommus.value().map_or(&[][..], Vec::as_slice);
        let of_links = host.functions.value().into_iter().flatten();
        let of_links = of_links.filter(|_| of_class.is_empty());
        let of_links = of_links.filter_map(|function| function.iommu.value());
        let mut units = of_class.iter().chain(of_links);
        let Some(first) = units.next().map(|unit| Self::of_unit(unit)) else {
            return Self::NotKnown;
        };
        if units.all(|unit| Self::of_unit(unit) == first) { first } else { Self::NotKnown }
    }
}

/// What is known of a host.
pub struct Known {
    pub(super) host: Snapshot,
    pub(super) table: IvrsTable,
    pub(super) dmar: DmarTable,
    pub(super) flag: KernelFlag,
    pub(super) listings: Listings,
    pub(super) unity: UnityMaps,
    /// See [`Self::contradictions`]: found when it is asked for, until the host is another.
    pub(super) contradictions: OnceLock<Vec<Contradiction>>,
    /// The likely owners that the IVRS names, in the order of their addresses.
    pub(super) named: OnceLock<Vec<Owner>>,
    /// Groups and members that were moved in memory for changes of groups.
    moved: usize,
    /// Changes of groups that were not followed any more.
    unfollowed: usize,
    pub(super) maker: Service,
    /// See [`Self::gap`].
    pub(super) gap: OnceLock<Option<Gap>>,
    ways: OnceLock<Ways>,
    pub(super) across: OnceLock<Across>,
    pub(super) rmrr_coverages: OnceLock<(Vec<RmrrCoverage>, usize)>,
    pub(super) judged: OnceLock<Judged>,
    shown: OnceLock<Shown>,
}

impl Known {
    /// A model of `host`, whose kernel has the flag or not.
    #[must_use]
    pub fn new(host: Snapshot, flag: impl Into<KernelFlag>) -> Self {
        let tables = (IvrsTable::of_ivrs(&host.ivrs), DmarTable::of_dmar(&host.dmar));
        Self::of_tables(host, tables, flag.into())
    }

    /// The same with these tables for its own.
    pub(super) fn of_tables(
        host: Snapshot,
        (table, dmar): (IvrsTable, DmarTable),
        flag: KernelFlag,
    ) -> Self {
        let mut known = Self {
            host: Snapshot::default(),
            table,
            dmar,
            flag,
            listings: Listings::default(),
            unity: UnityMaps::default(),
            contradictions: OnceLock::new(),
            named: OnceLock::new(),
            maker: Service::NotKnown,
            gap: OnceLock::new(),
            ways: OnceLock::new(),
            across: OnceLock::new(),
            rmrr_coverages: OnceLock::new(),
            judged: OnceLock::new(),
            shown: OnceLock::new(),
            moved: 0,
            unfollowed: 0,
        };
        known.set_host(host);
        known
    }

    /// Functions and groups are looked up by address and number: whoever made the snapshot, they
    /// are in that order.
    fn set_host(&mut self, mut host: Snapshot) {
        if let Reading::Read(functions) = &mut host.functions {
            functions.sort_by_key(|function| function.bdf);
        }
        if let Reading::Read(groups) = &mut host.groups {
            groups.sort_by_key(|group| group.id);
        }
        self.maker = Service::of_host(&host);
        self.host = host;
        self.renewed();
        if self.host.copied && self.groups().next().is_some() {
            let lost =
                |one: &&PciFunction| one.group == Reading::Absent && self.lacks_its_group(one);
            let lost: BTreeSet<Bdf> = self.functions().filter(lost).map(|one| one.bdf).collect();
            self.host.lose_groups(&lost);
            self.renewed();
        }
    }

    /// Forgets what was found out of the host before.
    fn renewed(&mut self) {
        self.named = OnceLock::new();
        self.ways = OnceLock::new();
        self.across = OnceLock::new();
        self.judged = OnceLock::new();
        self.regrouped();
    }

    /// Forgets what rests on who is in which group, and on their regions.
    fn regrouped(&mut self) {
        self.gap.take();
        self.contradictions.take();
        self.shown.take();
        self.rmrr_coverages.take();
    }

    /// Takes the host as it is now: devices and groups may have come and gone, and drivers have
    /// changed. What the kernel has listed stays for the devices that are still there.
    ///
    /// What could be read before but cannot any more, for want of rights that were given up, stays.
    pub fn rehost(&mut self, mut host: Snapshot) {
        host.keep_from(&self.host);
        if host.ivrs != self.host.ivrs {
            self.table = IvrsTable::of_ivrs(&host.ivrs);
        }
        if host.dmar != self.host.dmar {
            self.dmar = DmarTable::of_dmar(&host.dmar);
        }
        self.set_host(host);
        let Self { host, listings, .. } = self;
        if let (Reading::Read(functions), Reading::Read(groups)) = (&host.functions, &host.groups) {
            let others =
                groups.iter().flat_map(|group| group.members.value().into_iter().flatten());
            let names: BTreeSet<String> = functions
                .iter()
                .map(|function| function.bdf.to_string())
                .chain(others.map(member_name))
                .collect();
            listings.keep(|name| names.contains(name));
        }
    }

    /// Takes over what an event shows of the host.
    pub(super) fn observe(&mut self, number: u64, event: &Event) {
        match &event.body {
            Body::UnityEntry { .. } | Body::UnityEnd { .. } => self.unity.observe(number, event),
            Body::GroupChange { change, device } => {
                self.listings.observe(number, event);
                self.regroup(*change, device);
            }
            Body::DeviceCall {
                phase: Phase::Exit { ret: 0 },
                function,
                device: Some(device),
                driver,
                ..
            } => {
                self.listings.observe(number, event);
                match function {
                    DeviceFunction::VfioPciProbe => self.bound(device, Some("vfio-pci")),
                    DeviceFunction::PciProbe => self.bound(device, Some(driver)),
                    DeviceFunction::PciRemove => self.bound(device, None),
                    _ => {}
                }
            }
            Body::Region { .. } | Body::RegionsEnd { .. } | Body::DeviceCall { .. } => {
                self.listings.observe(number, event);
            }
            _ => {}
        }
    }

    /// A device came into a group or left it. What else there is to know of a new device comes with
    /// the next [`Self::rehost`].
    fn regroup(&mut self, change: event::Change, device: &event::Device) {
        let Some(id) = device.group else { return };
        self.regrouped();
        if self.moved > bounds::MOVED {
            self.unfollowed += 1;
            return;
        }
        let member = device.bdf.map_or_else(|| Member::Other(device.name.clone()), Member::Pci);
        let Reading::Read(groups) = &mut self.host.groups else { return };
        let place = groups.binary_search_by_key(&id, |group| group.id);
        match (change, place) {
            (event::Change::Added, place) => {
                let place = place.unwrap_or_else(|place| {
                    self.moved += groups.len() - place;
                    groups.insert(
                        place,
                        Group {
                            id,
                            domain_type: Reading::Absent,
                            regions: Reading::Absent,
                            members: Reading::Read(Vec::new()),
                            ..Group::default()
                        },
                    );
                    place
                });
                let group = groups.get_mut(place);
                if let Some(Group { members: Reading::Read(members), regions, .. }) = group
                    && let Err(place) = members.binary_search(&member)
                {
                    self.moved += members.len() - place;
                    members.insert(place, member);
                    // Those that were read are without its own.
                    *regions = Reading::Absent;
                }
            }
            (event::Change::Removed, Ok(place)) => {
                let group = groups.get_mut(place);
                if let Some(Group { members: Reading::Read(members), .. }) = group {
                    if let Ok(place) = members.binary_search(&member) {
                        members.remove(place);
                        self.moved += members.len() - place;
                    }
                    if members.is_empty() {
                        groups.remove(place);
                        self.moved += groups.len() - place;
                    }
                }
            }
            (event::Change::Removed, Err(_)) => {}
        }
        let group = match change {
            event::Change::Added => Reading::Read(id),
            event::Change::Removed => Reading::Absent,
        };
        if let Some(function) = self.function_mut(device.bdf) {
            function.group = group;
        }
    }

    fn function_mut(&mut self, bdf: Option<Bdf>) -> Option<&mut PciFunction> {
        let (Reading::Read(functions), Some(bdf)) = (&mut self.host.functions, bdf) else {
            return None;
        };
        let place = functions.binary_search_by_key(&bdf, |function| function.bdf).ok()?;
        functions.get_mut(place)
    }

    /// What was too much to be followed.
    pub(super) fn untold(&self) -> impl Iterator<Item = Finding> {
        let groups = "changes of groups were not followed, so the groups may be others by now";
        let lists = "lists of reserved regions were not kept";
        let entries = "entries of the tables were not held against the devices";
        let unjudged = self.unjudged(TableName::Ivrs) + self.unjudged(TableName::Dmar);
        let lists_dropped = self.listings.dropped();
        let counts = [(self.unfollowed, groups), (lists_dropped, lists), (unjudged, entries)];
        counts.into_iter().filter_map(|(count, what)| bounds::untold(count, what))
    }

    /// A driver has taken a device, or let go of it.
    fn bound(&mut self, device: &event::Device, driver: Option<&str>) {
        if let Some(function) = self.function_mut(device.bdf) {
            function.driver = match driver.filter(|driver| !driver.is_empty()) {
                Some(driver) => Reading::Read(driver.to_owned()),
                None => Reading::Absent,
            };
        }
    }

    /// The host as it was read.
    #[must_use]
    pub fn host(&self) -> &Snapshot {
        &self.host
    }

    /// The host's IVRS table.
    #[must_use]
    pub fn table(&self) -> &IvrsTable {
        &self.table
    }

    /// The host's DMAR table.
    #[must_use]
    pub fn dmar(&self) -> &DmarTable {
        &self.dmar
    }

    /// Whether the kernel has the flag by which it refuses any vendor's devices.
    #[must_use]
    pub fn require_direct(&self) -> RequireDirect {
        self.flag.answer
    }

    /// Whether the kernel refuses devices with direct regions.
    ///
    /// On Intel it does with the flag or without: from 3.17 on Intel's driver refused by itself, with
    /// EPERM when a device was put on its new domain (`device_is_rmrr_locked` in
    /// `intel_iommu_attach_device`, drivers/iommu/intel/iommu.c), until the flag took that over in 6.6
    /// (d3aedf94f480).
    #[must_use]
    pub fn refuses(&self) -> RequireDirect {
        match self.flag.answer {
            _ if self.is_intel_host() => RequireDirect::Present,
            // It may be Intel's.
            RequireDirect::Missing
                if self.maker == Service::NotKnown && self.groups().next().is_some() =>
            {
                RequireDirect::Unknown
            }
            answer => answer,
        }
    }

    /// Whether Intel's IOMMUs serve the host.
    #[must_use]
    pub fn is_intel_host(&self) -> bool {
        self.maker == Service::Intel
    }

    /// Whose the IOMMUs of the host are.
    pub(crate) fn maker(&self) -> Service {
        self.maker
    }

    /// Whose IOMMU serves a function: by its own link or, where that was not copied, because it is in a
    /// group and all IOMMUs of the host are of one maker. Only what an IOMMU serves gets a group
    /// (`iommu_init_device`, drivers/iommu/iommu.c).
    pub(crate) fn service(&self, function: &PciFunction) -> Service {
        match &function.iommu {
            Reading::Read(unit) => Service::of_unit(unit),
            Reading::Absent => Service::Nobody,
            Reading::Unreadable(_) if function.group.value().is_some() => self.maker,
            Reading::Unreadable(_) => Service::NotKnown,
        }
    }

    /// The kernel's own unity map of a segment, if it was walked whole.
    #[must_use]
    pub fn unity_map(&self, segment: Segment) -> Option<&UnityMap> {
        self.unity.get(segment)
    }

    /// What the kernel last listed for the device of this name (`dev_name()`).
    #[must_use]
    pub fn listing(&self, name: &str) -> Option<&Listing> {
        self.listings.get(name)
    }

    /// The devid that the IVRS says the requests of this function carry, where that is another.
    #[must_use]
    pub fn alias(&self, bdf: Bdf) -> Option<Devid> {
        self.table.view()?.alias_of(bdf).filter(|_| self.is_amd(bdf))
    }

    /// The options of the kernel command line that bear on the IOMMU and VFIO, printable.
    #[must_use]
    pub fn iommu_options(&self) -> Vec<String> {
        options::of(&self.host).map(crate::escape::printable).collect()
    }

    /// The IVMD block with this index.
    #[must_use]
    pub fn ivmd(&self, index: usize) -> Option<&Ivmd> {
        self.table.ivrs()?.ivmd.get(index)
    }

    /// The RMRR structure with this index.
    #[must_use]
    pub fn rmrr(&self, index: usize) -> Option<&Rmrr> {
        self.dmar.dmar()?.rmrr.get(index)
    }

    /// The unity map entry that the kernel makes of an IVMD block.
    #[must_use]
    pub fn entry(&self, ivmd: usize) -> Option<&UnityEntry> {
        self.table.view()?.entry_of(ivmd)
    }

    /// The PCI function at this address.
    #[must_use]
    pub fn function(&self, bdf: Bdf) -> Option<&PciFunction> {
        let functions = self.host.functions.value()?;
        let place = functions.binary_search_by_key(&bdf, |function| function.bdf).ok()?;
        functions.get(place)
    }

    /// The functions of a segment from one devid to another, both included.
    pub(super) fn functions_from(
        &self,
        segment: Segment,
        first: Devid,
        last: Devid,
    ) -> &[PciFunction] {
        let functions = self.host.functions.value().map_or(&[][..], Vec::as_slice);
        let (first, last) = (Bdf::new(segment, first), Bdf::new(segment, last));
        let begin = functions.partition_point(|function| function.bdf < first);
        let end = functions.partition_point(|function| function.bdf <= last);
        functions.get(begin..end).unwrap_or_default()
    }

    /// Whether an AMD IOMMU serves the function at this address.
    #[must_use]
    pub fn is_amd(&self, bdf: Bdf) -> bool {
        self.function(bdf).is_some_and(|one| self.service(one) == Service::Amd)
    }

    /// Whether an Intel IOMMU serves the function at this address.
    pub(crate) fn is_intel(&self, bdf: Bdf) -> bool {
        self.function(bdf).is_some_and(|one| self.service(one) == Service::Intel)
    }

    /// Where the functions are below bridges.
    pub(super) fn ways(&self) -> &Ways {
        let functions = self.host.functions.value().map_or(&[][..], Vec::as_slice);
        self.ways.get_or_init(|| Ways::of(functions))
    }

    pub(super) fn shown(&self) -> Shown {
        *self.shown.get_or_init(|| Shown::of(self))
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = &PciFunction> {
        self.host.functions.value().into_iter().flatten()
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.host.groups.value().into_iter().flatten()
    }

    /// The group with this number.
    #[must_use]
    pub fn group(&self, id: u32) -> Option<&Group> {
        let groups = self.host.groups.value()?;
        groups.get(groups.binary_search_by_key(&id, |group| group.id).ok()?)
    }
}

/// A member's name as the kernel's events give it.
pub(crate) fn member_name(member: &Member) -> String {
    match member {
        Member::Pci(bdf) => bdf.to_string(),
        Member::Other(name) => name.clone(),
    }
}
