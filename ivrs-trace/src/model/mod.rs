//! From facts to verdicts, attempts and causes.
//!
//! A [`Model`] is made from a snapshot of the host and told every event in order; everything else
//! is asked of it. It does no I/O, knows no clock and no aya, so a live host and files of one are
//! judged by the same code.

mod attempt;
pub mod diff;
pub mod health;
mod host_findings;
mod kernel_flag;
mod listing;
mod options;
mod reserved;
mod verdict;
pub mod what_if;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;

pub use attempt::{
    Attempt, Call, DriverChange, DriverSource, Evidence, Further, HostDriver, MAX_ATTEMPTS,
    OpenFile, Outcome, Process, Reason, Rejection, RequestedFrom, Via,
};
pub use kernel_flag::{FlagSource, KernelFlag};
pub use listing::{Listed, Listing};
pub use reserved::{
    amd::{Cause, CauseKind, Coverage},
    amd_owners::{Owner, OwnerKind},
    amd_unity::{UnityMap, UnityRow},
    intel::{DmarTable, RmrrCoverage, RmrrMatch},
};
use serde::{Deserialize, Serialize};
pub use verdict::{
    DeviceVerdict, EntryCoverage, Finding, GroupVerdict, Severity, Verdict, Verdicts,
};
pub use what_if::{Change, ChangeError, WhatIf};

use crate::{
    event::{self, Body, DeviceFunction, Event, Phase},
    firmware::{
        Rmrr,
        acpi::TableError,
        amd::{
            ivrs::{Ivmd, Ivrs},
            kernel::{KernelView, UnityEntry},
        },
    },
    host::{Group, Member, PciFunction, Reading, Snapshot},
    pci::{Bdf, Devid, Segment},
};

/// Whether the kernel refuses devices for `dev_iommu.require_direct`: mainline since 6.6
/// (a48ce36e2786), backported by some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RequireDirect {
    /// The kernel has the member.
    Present,
    /// The kernel does not have it.
    Missing,
    /// Nothing shows it: there is no BTF to look into.
    Unknown,
}

/// The host's IVRS table.
#[derive(Clone, Debug)]
pub enum Table {
    /// It was read, and this is what the kernel makes of it.
    Read(Box<(Ivrs, KernelView)>),
    /// There is none: no AMD IOMMU, or it is switched off.
    Absent,
    /// There may be one, but it could not be read: path and reason.
    Unreadable(String),
    /// What is there is not an IVRS table.
    Malformed(TableError),
}

impl Table {
    fn of(reading: &Reading<crate::host::HexBytes>) -> Self {
        match reading {
            Reading::Absent => Self::Absent,
            Reading::Unreadable(why) => Self::Unreadable(why.clone()),
            Reading::Read(bytes) => match Ivrs::parse(&bytes.0) {
                Ok(ivrs) => {
                    let view = KernelView::new(&ivrs);
                    Self::Read(Box::new((ivrs, view)))
                }
                Err(error) => Self::Malformed(error),
            },
        }
    }

    /// The table, if there is a readable one.
    #[must_use]
    pub fn ivrs(&self) -> Option<&Ivrs> {
        match self {
            Self::Read(read) => Some(&read.0),
            _ => None,
        }
    }

    /// What the kernel makes of it.
    #[must_use]
    pub fn view(&self) -> Option<&KernelView> {
        match self {
            Self::Read(read) => Some(&read.1),
            _ => None,
        }
    }
}

/// What is known of a host.
pub struct Model {
    host: Snapshot,
    table: Table,
    dmar: DmarTable,
    flag: KernelFlag,
    listings: listing::Listings,
    unity: reserved::amd_unity::UnityMaps,
    attempts: attempt::Tracker,
}

impl Model {
    /// A model of `host`, whose kernel has the flag or not.
    #[must_use]
    pub fn new(host: Snapshot, flag: impl Into<KernelFlag>) -> Self {
        let (table, dmar) = (Table::of(&host.ivrs), DmarTable::of(&host.dmar));
        Self {
            host,
            table,
            dmar,
            flag: flag.into(),
            listings: listing::Listings::default(),
            unity: reserved::amd_unity::UnityMaps::default(),
            attempts: attempt::Tracker::default(),
        }
    }

    /// Takes over which processes had files of `/dev/vfio` open when the trace began: a group that
    /// is found to be held later was perhaps theirs.
    pub fn opened_before(&mut self, files: Vec<OpenFile>) {
        let mut attempts = std::mem::take(&mut self.attempts);
        attempts.opened_before(files, |bdf| self.function(bdf)?.group.value().copied());
        self.attempts = attempts;
    }

    /// Takes the host as it is now: devices and groups may have come and gone, and drivers have
    /// changed. What the kernel has listed stays for the devices that are still there; attempts
    /// stay as they were judged.
    ///
    /// What could be read before but cannot any more, for want of rights that were given up, stays.
    pub fn rehost(&mut self, mut host: Snapshot) {
        host.keep_from(&self.host);
        if host.ivrs != self.host.ivrs {
            self.table = Table::of(&host.ivrs);
        }
        if host.dmar != self.host.dmar {
            self.dmar = DmarTable::of(&host.dmar);
        }
        self.host = host;
        let Self { host, listings, .. } = self;
        if let (Reading::Read(functions), Reading::Read(groups)) = (&host.functions, &host.groups) {
            let others =
                groups.iter().flat_map(|group| group.members.value().into_iter().flatten());
            let names: std::collections::BTreeSet<String> = functions
                .iter()
                .map(|function| function.bdf.to_string())
                .chain(others.map(member_name))
                .collect();
            listings.keep(|name| names.contains(name));
        }
    }

    /// Takes in one event. `number` is its place in the stream, from 0; events come in the order of
    /// the ring buffer.
    pub fn observe(&mut self, number: u64, event: &Event) {
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
        // Attempts are judged by everything else that is known.
        let mut attempts = std::mem::take(&mut self.attempts);
        attempts.observe(number, event, self);
        self.attempts = attempts;
    }

    /// A device came into a group or left it. What else there is to know of a new device comes with
    /// the next [`Self::rehost`].
    fn regroup(&mut self, change: event::Change, device: &event::Device) {
        let Some(id) = device.group else { return };
        let member = device.bdf.map_or_else(|| Member::Other(device.name.clone()), Member::Pci);
        let Reading::Read(groups) = &mut self.host.groups else { return };
        let place = groups.binary_search_by_key(&id, |group| group.id);
        match (change, place) {
            (event::Change::Added, place) => {
                let place = place.unwrap_or_else(|place| {
                    groups.insert(
                        place,
                        Group {
                            id,
                            domain_type: Reading::Absent,
                            regions: Reading::Absent,
                            bad_region_lines: Vec::new(),
                            members: Reading::Read(Vec::new()),
                        },
                    );
                    place
                });
                let group = groups.get_mut(place);
                if let Some(Group { members: Reading::Read(members), regions, .. }) = group
                    && !members.contains(&member)
                {
                    members.push(member);
                    members.sort();
                    // Those that were read are without its own.
                    *regions = Reading::Absent;
                }
            }
            (event::Change::Removed, Ok(place)) => {
                let group = groups.get_mut(place);
                if let Some(Group { members: Reading::Read(members), .. }) = group {
                    members.retain(|one| *one != member);
                    if members.is_empty() {
                        groups.remove(place);
                    }
                }
            }
            (event::Change::Removed, Err(_)) => {}
        }
        let group = match change {
            event::Change::Added => Reading::Read(id),
            event::Change::Removed => Reading::Absent,
        };
        if let Reading::Read(functions) = &mut self.host.functions
            && let Some(function) =
                functions.iter_mut().find(|function| Some(function.bdf) == device.bdf)
        {
            function.group = group;
        }
    }

    /// A driver has taken a device, or let go of it.
    fn bound(&mut self, device: &event::Device, driver: Option<&str>) {
        if let Reading::Read(functions) = &mut self.host.functions
            && let Some(function) =
                functions.iter_mut().find(|function| Some(function.bdf) == device.bdf)
        {
            function.driver = match driver.filter(|driver| !driver.is_empty()) {
                Some(driver) => Reading::Read(driver.to_owned()),
                None => Reading::Absent,
            };
        }
    }

    /// Says that no more events come: what is still open then is closed as unknown.
    pub fn finish(&mut self) {
        self.attempts.finish();
    }

    /// What there is to say of the host as a whole, before any device is judged.
    #[must_use]
    pub fn host_findings(&self) -> Vec<Finding> {
        host_findings::of_host(self)
    }

    /// The host as it was read.
    #[must_use]
    pub fn host(&self) -> &Snapshot {
        &self.host
    }

    /// The host's IVRS table.
    #[must_use]
    pub fn table(&self) -> &Table {
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
        if self.is_intel_host() { RequireDirect::Present } else { self.flag.answer }
    }

    /// What [`Self::refuses`] rests on, a fact a line: only what was read.
    #[must_use]
    pub fn refuses_by(&self) -> Vec<String> {
        kernel_flag::evidence(self)
    }

    /// Whether Intel's IOMMUs serve the host: their units are called dmarN (`alloc_iommu`,
    /// drivers/iommu/intel/dmar.c).
    #[must_use]
    pub fn is_intel_host(&self) -> bool {
        self.host.has_unit("dmar")
    }

    /// The RMRR structures that apply to a function, and whether more may that cannot be told for
    /// want of the bridges above it. None where no Intel IOMMU serves it.
    #[must_use]
    pub fn rmrrs_of(&self, bdf: Bdf) -> (Vec<RmrrMatch<'_>>, bool) {
        reserved::intel::of_function(self, bdf)
    }

    /// Whether the kernel lets VFIO take the RMRRs of a function away; `None` where its class could
    /// not be read.
    #[must_use]
    pub fn is_relaxable(&self, bdf: Bdf) -> Option<bool> {
        reserved::intel::is_relaxable(self.function(bdf)?)
    }

    /// The attempts so far, in the order in which they began.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        self.attempts.all()
    }

    /// How many attempts were dropped, the oldest first: no more than [`MAX_ATTEMPTS`] and some are
    /// kept.
    #[must_use]
    pub fn attempts_dropped(&self) -> u64 {
        self.attempts.dropped()
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

    /// The causes behind a rejection.
    #[must_use]
    pub fn causes(&self, rejection: &Rejection) -> Vec<Cause> {
        reserved::amd::of_rejection(self, rejection)
    }

    /// The cause that an IVMD block is for the devices that it covers; `None` if the kernel ignores
    /// the block.
    #[must_use]
    pub fn cause_of(&self, ivmd: usize) -> Option<Cause> {
        self.entry(ivmd).map(|entry| reserved::amd::of_entry(self, entry, Vec::new()))
    }

    /// A verdict for every function that is in a group.
    #[must_use]
    pub fn verdicts(&self) -> Verdicts {
        verdict::all(self)
    }

    /// What would be said of this host's devices, if the table or their slots were others.
    ///
    /// # Errors
    /// Where a change names a block or a function that there is not, contradicts another one, or
    /// where there is no table or no group to judge.
    pub fn what_if(&self, changes: &[Change]) -> Result<WhatIf, ChangeError> {
        what_if::what_if(self, changes)
    }

    /// Which devices of this host an IVMD block covers; `None` if the kernel ignores the block.
    #[must_use]
    pub fn coverage(&self, ivmd: usize) -> Option<Coverage> {
        reserved::amd::coverage(self, ivmd)
    }

    /// The devid that the IVRS says the requests of this function carry, where that is another.
    #[must_use]
    pub fn alias(&self, bdf: Bdf) -> Option<Devid> {
        self.table.view()?.alias_of(bdf).filter(|_| self.is_amd(bdf))
    }

    /// For whom an IVMD block is likely meant; empty where the table names nobody.
    #[must_use]
    pub fn owners(&self, ivmd: usize) -> Vec<Owner> {
        reserved::amd_owners::of_entry(self, ivmd)
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

    /// Which devices of this host an RMRR applies to.
    #[must_use]
    pub fn rmrr_coverage(&self, index: usize) -> Option<RmrrCoverage> {
        reserved::intel::coverage(self).into_iter().find(|one| one.rmrr == index)
    }

    /// The unity map entry that the kernel makes of an IVMD block.
    #[must_use]
    pub fn entry(&self, ivmd: usize) -> Option<&UnityEntry> {
        self.table.view()?.entry_of(ivmd)
    }

    /// The PCI function at this address.
    #[must_use]
    pub fn function(&self, bdf: Bdf) -> Option<&PciFunction> {
        self.functions().find(|function| function.bdf == bdf)
    }

    /// Whether an AMD IOMMU serves the function at this address.
    #[must_use]
    pub fn is_amd(&self, bdf: Bdf) -> bool {
        self.function(bdf).is_some_and(is_amd)
    }

    /// Whether firmware is known to ask for no 1:1 map of this function itself, whatever its group.
    #[must_use]
    pub fn is_free(&self, bdf: Bdf) -> bool {
        match (self.listing(&bdf.to_string()), self.table.view()) {
            (Some(listing), _) => {
                listing.require_direct != Some(true) && listing.direct().next().is_none()
            }
            (None, _) if self.function(bdf).is_some_and(is_intel) => {
                reserved::intel::direct(self, bdf).is_some_and(|direct| direct.is_empty())
            }
            (None, Some(view)) => self.is_amd(bdf) && view.regions_of(bdf).next().is_none(),
            (None, None) => false,
        }
    }

    fn functions(&self) -> impl Iterator<Item = &PciFunction> {
        self.host.functions.value().into_iter().flatten()
    }

    fn groups(&self) -> impl Iterator<Item = &Group> {
        self.host.groups.value().into_iter().flatten()
    }

    /// The entries of the table that cover members of a group, member by member.
    fn entries_of(&self, group: &Group) -> impl Iterator<Item = &UnityEntry> {
        let members = group.members.value().into_iter().flatten();
        members
            .filter_map(|member| match member {
                Member::Pci(bdf) => self.function(*bdf),
                Member::Other(_) => None,
            })
            .filter(|function| is_amd(function))
            .flat_map(|function| {
                self.table.view().into_iter().flat_map(|view| view.regions_of(function.bdf))
            })
    }

    /// Whether a table is known to ask for direct regions of a member of a group.
    fn is_asked_for(&self, group: &Group) -> bool {
        let direct = |member: &Member| match member {
            Member::Pci(bdf) => {
                reserved::intel::direct(self, *bdf).is_some_and(|direct| !direct.is_empty())
            }
            Member::Other(_) => false,
        };
        self.entries_of(group).next().is_some()
            || group.members.value().into_iter().flatten().any(direct)
    }

    /// The group with this number.
    #[must_use]
    pub fn group(&self, id: u32) -> Option<&Group> {
        self.groups().find(|group| group.id == id)
    }
}

/// Whether an AMD IOMMU serves the function: its units are called ivhdN (`iommu_device_sysfs_add` in
/// drivers/iommu/amd/init.c).
pub(crate) fn is_amd(function: &PciFunction) -> bool {
    function.iommu.value().is_some_and(|unit| unit.starts_with("ivhd"))
}

/// Whether an Intel IOMMU serves the function.
fn is_intel(function: &PciFunction) -> bool {
    function.iommu.value().is_some_and(|unit| unit.starts_with("dmar"))
}

/// A member's name as the kernel's events give it.
pub(crate) fn member_name(member: &Member) -> String {
    match member {
        Member::Pci(bdf) => bdf.to_string(),
        Member::Other(name) => name.clone(),
    }
}
