//! Asking about functions and entries, whosever table they are in.

use super::{
    Cause, Coverage, EntryCoverage, Gap, Owner, RmrrCoverage, RmrrMatch, amd, amd_findings,
    amd_owners, amd_relaxation, amd_unity, coherence::Direct, intel, intel_findings,
};
use crate::{
    firmware::{Entry, EntryId, Fact, Finding, TableName},
    host::{Group, PciFunction, Reading},
    model::{
        attempt::Rejection,
        bounds,
        known::{Known, Service},
        no_iommu::NoIommu,
        verdict::DeviceVerdict,
    },
    pci::{Bdf, Devid},
};

/// Regions of the members of a group that are kept before equal ones are made one.
const MANY: usize = 4096;

impl Known {
    /// The causes behind a rejection.
    #[must_use]
    pub fn causes(&self, rejection: &Rejection) -> Vec<Cause> {
        if rejection.matches.is_empty() {
            return self.causes_of(&rejection.device.name, rejection.device.bdf);
        }
        amd::of_rejection(self, rejection)
    }

    /// The cause that an IVMD block is for the devices that it covers; `None` if the kernel ignores
    /// the block.
    #[must_use]
    pub fn cause_of(&self, ivmd: usize) -> Option<Cause> {
        self.entry(ivmd).map(|entry| amd::of_entry(self, entry, Vec::new()))
    }

    /// Which devices of this host an IVMD block covers; `None` if the kernel ignores the block.
    #[must_use]
    pub fn coverage(&self, ivmd: usize) -> Option<Coverage> {
        amd::coverage(self, ivmd)
    }

    /// For whom an IVMD block is likely meant; empty where the table names nobody.
    #[must_use]
    pub fn owners(&self, ivmd: usize) -> Vec<Owner> {
        amd_owners::of_entry(self, ivmd)
    }

    /// The IO-APICs that the IVRS names, as the kernel reads it: their IDs and where they are.
    pub(crate) fn io_apics(&self) -> Vec<(u8, Devid)> {
        amd::io_apics(self)
    }

    /// The RMRR structures that apply to a function, and whether more may that cannot be told for
    /// want of the bridges above it. None where no Intel IOMMU serves it.
    #[must_use]
    pub fn rmrrs_of(&self, bdf: Bdf) -> (Vec<RmrrMatch<'_>>, bool) {
        intel::of_function(self, bdf)
    }

    /// Whether the kernel lets VFIO take the RMRRs of a function away; `None` where its class could
    /// not be read.
    #[must_use]
    pub fn is_relaxable(&self, bdf: Bdf) -> Option<bool> {
        intel::is_relaxable(self.function(bdf)?)
    }

    /// Which devices of this host an RMRR applies to.
    #[must_use]
    pub fn rmrr_coverage(&self, index: usize) -> Option<&RmrrCoverage> {
        self.rmrr_coverages().0.get(index)
    }

    /// See [`intel::coverage`].
    pub(crate) fn rmrr_coverages(&self) -> &(Vec<RmrrCoverage>, usize) {
        self.rmrr_coverages.get_or_init(|| intel::coverage(self))
    }

    /// Whether firmware is known to ask for no 1:1 map of this function itself, whatever its group.
    #[must_use]
    pub fn is_free(&self, bdf: Bdf) -> bool {
        match (self.listing(&bdf.to_string()), self.table.view()) {
            (Some(listing), _) => {
                listing.require_direct != Some(true) && listing.direct().next().is_none()
            }
            (None, _) if self.is_intel(bdf) => {
                self.doubt(TableName::Dmar).is_none()
                    && intel::direct(self, bdf).is_some_and(|direct| direct.is_empty())
            }
            (None, Some(_)) => {
                self.is_amd(bdf)
                    && self.entries_of(bdf).next().is_none()
                    && self.doubt(TableName::Ivrs).is_none()
            }
            (None, None) => false,
        }
    }

    /// Whether a table is known to ask, for a member of a group, for one of the regions that it shows.
    pub(in crate::model) fn is_asked_for(&self, group: &Group, shown: &Direct) -> bool {
        self.asked_for(group).0.iter().any(|(start, end)| shown.shows(*start, *end))
    }

    /// The direct regions that the table asks for members of a group, each once: first and last
    /// address. And whether that is all: of a function whose bridges are not known it is not.
    pub(crate) fn asked_for(&self, group: &Group) -> (Vec<(u64, u64)>, bool) {
        let mut regions = Vec::new();
        let mut all = [TableName::Ivrs, TableName::Dmar].iter().all(|one| self.unjudged(*one) == 0);
        let mut kept = MANY;
        for function in self.functions_in(group) {
            match self.service(function) {
                Service::Amd => {
                    let entries = self.entries_of(function.bdf);
                    regions.extend(entries.map(|entry| (entry.start, entry.end_inclusive())));
                }
                Service::Intel => {
                    let direct = intel::direct(self, function.bdf);
                    all &= direct.is_some();
                    let direct = direct.into_iter().flatten();
                    regions.extend(direct.map(|found| (found.rmrr.base, found.rmrr.limit)));
                }
                Service::NotKnown => all = false,
                Service::Other | Service::Nobody => {}
            }
            // Members of a group share most of them.
            if regions.len() > kept {
                regions.sort_unstable();
                regions.dedup();
                kept = MANY.max(2 * regions.len());
            }
        }
        regions.sort_unstable();
        regions.dedup();
        (regions, all)
    }

    /// The causes that hold for a device at any time: what the kernel lists for it, brought back to
    /// the entries of the table; without a listing, what the table says.
    pub(crate) fn causes_of(&self, name: &str, bdf: Option<Bdf>) -> Vec<Cause> {
        match bdf.and_then(|bdf| self.function(bdf)).filter(|one| self.is_intel(one.bdf)) {
            Some(function) => intel::causes(self, function),
            None => amd::of_device(self, name, bdf),
        }
    }

    /// Whether the tables that were read say which direct regions a function has.
    pub(crate) fn table_decides(&self, bdf: Bdf) -> bool {
        if self.is_intel(bdf) {
            intel::direct(self, bdf).is_some()
        } else {
            self.table().view().is_some() && self.is_amd(bdf)
        }
    }

    /// Why it is not known of every function which entries apply to it; `None` where it is.
    #[must_use]
    pub fn gap(&self) -> Option<&Gap> {
        self.gap.get_or_init(|| self.find_gap()).as_ref()
    }

    fn find_gap(&self) -> Option<Gap> {
        match &self.host().functions {
            Reading::Read(_) => {}
            Reading::Absent => {
                return Some(Gap::Functions("sys/bus/pci/devices: is not there".to_owned()));
            }
            Reading::Unreadable(why) => return Some(Gap::Functions(why.clone())),
        }
        if let Some(why) = &self.host().no_bus {
            return Some(Gap::Functions(why.clone()));
        }
        if let Some(one) = self.functions().find(|one| self.service(one) == Service::NotKnown) {
            return Some(Gap::Service(one.bdf));
        }
        let open = |one: &&PciFunction| intel::of_function(self, one.bdf).1;
        self.functions().find(open).map(|one| Gap::Way(one.bdf))
    }

    /// Why no IOMMU serves a function, by the tables that were read.
    pub(crate) fn unserved(&self, function: &PciFunction) -> NoIommu {
        let units = self.host().iommus.value().map_or(&[][..], Vec::as_slice);
        let other = |unit: &String| !unit.starts_with("ivhd") && !unit.starts_with("dmar");
        if !units.is_empty() && units.iter().all(other) {
            return NoIommu::Untold(None);
        }
        let name = self.table_name();
        // A table that another file contradicts may be another host's.
        if self.contradictions().iter().any(|one| one.table() == Some(name)) {
            return NoIommu::Untold(Some(name));
        }
        let by_table = match name {
            TableName::Ivrs if self.table().ivrs().is_some() => amd::unserved(self, function.bdf),
            _ => intel::unserved(self, function),
        };
        by_table.unwrap_or(NoIommu::Untold(Some(name)))
    }

    /// Whether a function that shows no group must have one: the table gives it an IOMMU, and the kernel
    /// makes the group with that.
    pub(in crate::model) fn lacks_its_group(&self, function: &PciFunction) -> bool {
        !function.is_iommu()
            && function.class.value().is_some_and(|class| class >> 8 != 0x0600)
            && matches!(self.unserved(function), NoIommu::NotAttached(_))
    }

    /// The table that describes this host's IOMMU, so far as it can be told.
    #[must_use]
    pub fn table_name(&self) -> TableName {
        if self.is_intel_host() { TableName::Dmar } else { TableName::Ivrs }
    }

    /// Where the kernel lists other direct regions for a device than the table leads to.
    pub(crate) fn difference(&self, name: &str, bdf: Bdf) -> Option<Finding> {
        if self.is_intel(bdf) {
            intel::difference(self, name, bdf)
        } else {
            amd::difference(self, name, bdf)
        }
    }

    /// What there is to say of the tables as a whole.
    pub(crate) fn table_findings(&self) -> Vec<Finding> {
        let mut findings: Vec<Finding> = intel_findings::of_table(self).into_iter().collect();
        findings.extend(amd_findings::of_table(self));
        findings
    }

    /// What there is to say of the tables' entries on this host, and of what the kernel made of them.
    pub(crate) fn entry_findings(&self, devices: &[DeviceVerdict]) -> Vec<Finding> {
        let mut findings: Vec<Finding> =
            amd_relaxation::finding(self, devices).into_iter().collect();
        findings.extend(amd_unity::findings(self));
        findings.extend(intel_findings::of_entries(self));
        findings.extend(amd_findings::of_entries(self));
        findings
    }

    /// The reach of the IVMD blocks that the kernel uses, and of the RMRRs of a host with Intel's
    /// IOMMU; how many are left out because their lists would be too long.
    pub(crate) fn coverages(&self) -> (Vec<EntryCoverage>, Vec<RmrrCoverage>, usize) {
        let (mut entries, mut left) = (Vec::new(), bounds::REACH);
        let (rmrrs, mut left_out) = self.rmrr_coverages().clone();
        for block in self.table().ivrs().into_iter().flat_map(|ivrs| &ivrs.ivmd) {
            let Some(entry) = self.entry(block.index) else { continue };
            let reach = 1 + amd::covered(self, entry).count();
            if reach > left {
                left_out += 1;
                continue;
            }
            left -= reach;
            let Some(coverage) = self.coverage(block.index) else { continue };
            let owners = self.owners(block.index);
            entries.push(EntryCoverage { ivmd: block.index, coverage, owners });
        }
        (entries, rmrrs, left_out)
    }

    /// An entry of the tables that were read, if the kernel uses it.
    #[must_use]
    pub fn firmware_entry(&self, id: EntryId) -> Option<Entry> {
        match id {
            EntryId::Ivmd(index) => Some(Entry::of_ivmd(self.ivmd(index)?, self.entry(index)?)),
            EntryId::Rmrr(index) => self.rmrr(index).map(Entry::from),
        }
    }
}

/// An entry as evidence: its place, its number and its bytes.
impl From<Entry> for Fact {
    fn from(Entry { id, place, bytes, .. }: Entry) -> Self {
        Self::Entry { id, place, bytes }
    }
}
