//! A kernel that relaxes unity maps.
//!
//! AMD's driver reports every unity map entry as a `direct` region, in all versions from 6.1 to 7.3
//! (`amd_iommu_get_resv_regions`, drivers/iommu/amd/iommu.c). One that reports `direct-relaxable`
//! carries a change that was not taken. It is told from the regions, never from an option.

use std::collections::BTreeSet;

use super::amd::of_listing;
use crate::{
    codes::Code,
    event::RegionType,
    firmware::{Fact, Finding},
    host::{Group, Member, RegionKind},
    model::{
        known::{Known, member_name},
        verdict::{DeviceVerdict, Verdict},
    },
};

/// How many devices, and how many facts, are told one by one.
const AT_MOST: usize = 32;

/// What there is to say of a kernel that relaxes unity maps; nothing of any other.
pub(crate) fn finding(model: &Known, devices: &[DeviceVerdict]) -> Option<Finding> {
    let mut groups = BTreeSet::new();
    let mut evidence: Vec<Fact> = Vec::new();
    for group in model.groups() {
        let facts = relaxed(model, group);
        if !facts.is_empty() {
            groups.insert(group.id);
            evidence.extend(facts.into_iter().take(AT_MOST - evidence.len()));
        }
    }
    if groups.is_empty() {
        return None;
    }
    let clear = |device: &&DeviceVerdict| device.verdict == Verdict::Clear;
    let mut names: Vec<String> = devices
        .iter()
        .filter(|device| device.group.is_some_and(|group| groups.contains(&group)))
        .filter(clear)
        .map(|device| device.bdf.to_string())
        .collect();
    let count = names.len();
    names.truncate(AT_MOST);
    if count > names.len() {
        names.push(format!("and {} more", count - names.len()));
    }
    let frees = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let message = format!(
        "this kernel carries an out-of-tree relaxation of AMD's unity maps: it lists as \
         direct-relaxable what released kernels list as direct, and so hands out {frees}; firmware \
         may still use that memory by DMA, which is unsafe and hard to debug"
    );
    Some(Finding { evidence, ..Finding::new(Code::KernelRelaxes, message) })
}

/// The relaxable regions of the members that an AMD IOMMU serves, as evidence.
fn relaxed(model: &Known, group: &Group) -> Vec<Fact> {
    let members = group.members.value().into_iter().flatten();
    let amd = |member: &&Member| match member {
        Member::Pci(bdf) => model.is_amd(*bdf),
        Member::Other(_) => false,
    };
    let members: Vec<&Member> = members.filter(amd).collect();
    if members.is_empty() {
        return Vec::new();
    }
    let listings: Vec<_> = members
        .iter()
        .filter_map(|member| Some((member_name(member), model.listing(&member_name(member))?)))
        .collect();
    if listings.is_empty() {
        let regions = group.regions.value().into_iter().flatten();
        return regions
            .filter(|region| region.kind == RegionKind::DirectRelaxable)
            .map(|region| Fact::Shown {
                group: group.id,
                start: region.start,
                end: region.end_inclusive,
                kind: "direct-relaxable",
            })
            .collect();
    }
    let regions = listings.iter().flat_map(|(name, listing)| {
        listing.regions.iter().map(move |region| (name, listing, region))
    });
    regions
        .filter(|(_, _, region)| region.kind == RegionType::DIRECT_RELAXABLE)
        .map(|(name, listing, region)| of_listing(listing, region, name))
        .collect()
}
