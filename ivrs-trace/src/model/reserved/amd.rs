//! Which functions an IVMD block holds.

use super::{Cause, CauseKind, Coverage};
use crate::{
    codes::Code,
    event::RegionType,
    firmware::{
        EntryId, Fact, Finding, Ivmd, TableName, UnityEntry, UnityFact,
        amd::device_entry::{Content, SpecialKind},
    },
    host::PciFunction,
    model::{
        attempt::Rejection,
        bounds::CAUSES_OF_ONE,
        known::{Known, Service},
        listing::{Listed, Listing},
        no_iommu::{Covered, NAMED, NoIommu},
    },
    pci::{Bdf, Devid, Segment},
};

/// The causes behind a rejection: the entries of the kernel's own unity map that cover the device,
/// each brought back to its IVMD block.
pub(crate) fn of_rejection(model: &Known, rejection: &Rejection) -> Vec<Cause> {
    rejection
        .matches
        .iter()
        .map(|found| {
            let walked = Fact::Unity {
                event: found.event,
                segment: Segment(found.segment),
                ordinal: usize::try_from(found.ordinal).unwrap_or(usize::MAX),
                row: UnityFact {
                    first: Devid(found.devid_start),
                    last: Devid(found.devid_end),
                    start: found.start,
                    end: found.end.wrapping_sub(1),
                    prot: found.prot,
                },
            };
            let entry = model.table().view().and_then(|view| {
                view.entries.iter().find(|entry| {
                    entry.segment.0 == found.segment
                        && u32::try_from(entry.ordinal) == Ok(found.ordinal)
                })
            });
            match entry {
                Some(entry)
                    if entry.devid_start == Devid(found.devid_start)
                        && entry.devid_end == Devid(found.devid_end)
                        && entry.start == found.start
                        && entry.end_exclusive == found.end =>
                {
                    of_entry(model, entry, vec![walked])
                }
                _ => {
                    let end = found.end.wrapping_sub(1);
                    Cause::region(found.start, end, vec![walked, no_block(model)])
                }
            }
        })
        .collect()
}

/// The causes that hold for a device at any time: what the kernel lists for it, brought back to the
/// IVMD blocks; without a listing, what the table says.
pub(crate) fn of_device(model: &Known, name: &str, bdf: Option<Bdf>) -> Vec<Cause> {
    // One more than is told, so that what is left out is counted.
    let entries = bdf.into_iter().flat_map(|bdf| model.entries_of(bdf)).take(CAUSES_OF_ONE + 1);
    let entries: Vec<&UnityEntry> = entries.collect();
    let Some(listing) = model.listing(name) else {
        let of_amd = bdf.is_some_and(|bdf| model.is_amd(bdf));
        return entries
            .iter()
            .filter(|_| of_amd)
            .map(|entry| of_entry(model, entry, Vec::new()))
            .collect();
    };
    // For one device the n-th direct region is made from the n-th entry that covers it
    // (amd_iommu_get_resv_regions, all versions).
    listing
        .direct()
        .enumerate()
        .map(|(index, region)| {
            let listed = of_listing(listing, region, name);
            match entries.get(index) {
                Some(entry) if same(entry, region) => of_entry(model, entry, vec![listed]),
                _ => {
                    let end = region.end_inclusive();
                    Cause::region(region.start, end, vec![listed, no_block(model)])
                }
            }
        })
        .collect()
}

/// Whether the kernel's region is the one that the table leads to.
pub(crate) fn same(entry: &UnityEntry, region: &Listed) -> bool {
    entry.start == region.start && entry.length() == region.length
}

/// A region of a listing as evidence.
pub(super) fn of_listing(listing: &Listing, region: &Listed, name: &str) -> Fact {
    let kind = if region.kind == RegionType::DIRECT { "direct" } else { "direct-relaxable" };
    Fact::Listed {
        event: listing.event,
        start: region.start,
        end: region.end_inclusive(),
        of: Some((kind, name.to_owned())),
    }
}

/// An entry of the table as a cause.
pub(super) fn of_entry(model: &Known, entry: &UnityEntry, mut evidence: Vec<Fact>) -> Cause {
    let block = model.ivmd(entry.ivmd_index);
    evidence.extend(block.map(of_block));
    Cause {
        kind: match block {
            Some(block) if block.flags.exclusion() => CauseKind::ExclusionRange,
            _ => CauseKind::UnityMap,
        },
        entry: Some(EntryId::Ivmd(entry.ivmd_index)),
        scope: None,
        place: block.map(Ivmd::place),
        start: entry.start,
        end: entry.end_inclusive(),
        evidence,
    }
}

/// A block as evidence: its place, its number and its bytes.
pub(super) fn of_block(block: &Ivmd) -> Fact {
    Fact::Entry {
        id: EntryId::Ivmd(block.index),
        place: block.place(),
        bytes: block.bytes.to_vec(),
    }
}

/// Why no IVMD block is named.
fn no_block(model: &Known) -> Fact {
    model.table().no_entry(TableName::Ivrs)
}

/// The functions behind an AMD IOMMU that an entry covers.
pub(super) fn covered<'a>(
    model: &'a Known,
    entry: &UnityEntry,
) -> impl Iterator<Item = &'a PciFunction> {
    let functions = model.functions_from(entry.segment, entry.devid_start, entry.devid_end);
    functions.iter().filter(|one| model.service(one) == Service::Amd)
}

pub(crate) fn coverage(model: &Known, ivmd: usize) -> Option<Coverage> {
    let entry = model.entry(ivmd)?;
    let of_devices = model.functions().filter(|one| model.service(one) == Service::Amd).count();
    let mut coverage = Coverage { of_devices, gap: model.gap().cloned(), ..Coverage::default() };
    for function in covered(model, entry) {
        coverage.devices.push(function.bdf);
        coverage.groups.extend(function.group.value());
    }
    Some(coverage)
}

/// Why the IVRS gives a function no IOMMU; `None` where it does not tell.
pub(super) fn unserved(model: &Known, bdf: Bdf) -> Option<NoIommu> {
    let view = model.table().view().filter(|view| view.initialises())?;
    let units = model.table().ivrs().into_iter().flat_map(|ivrs| &ivrs.ivhd);
    if units.into_iter().any(|ivhd| Bdf::new(ivhd.segment, ivhd.devid) == bdf) {
        return Some(NoIommu::Iommu);
    }
    let ranges = view.served.ranges(bdf.segment);
    if ranges.is_empty() {
        return Some(NoIommu::Segment(TableName::Ivrs, bdf.segment));
    }
    if view.served.contains(bdf) {
        return Some(NoIommu::NotAttached(TableName::Ivrs));
    }
    let at = |devid| Bdf::new(bdf.segment, devid);
    let (bus, last) = (bdf.devid.bus(), ranges.last().map(|(_, last)| last.bus()));
    let covered = Covered {
        ranges: ranges.iter().take(NAMED).map(|(first, last)| (at(*first), at(*last))).collect(),
        more: ranges.len().saturating_sub(NAMED),
        last_bus: last.filter(|last| *last < bus),
    };
    let reaches = ranges.iter().any(|(first, last)| (first.bus()..=last.bus()).contains(&bus));
    Some(if reaches { NoIommu::Devid(covered) } else { NoIommu::Bus(covered) })
}

/// Where the kernel lists other direct regions for a device than the table leads to.
pub(super) fn difference(model: &Known, name: &str, bdf: Bdf) -> Option<Finding> {
    model.table().view()?;
    let listing = model.listing(name).filter(|_| model.is_amd(bdf))?;
    let entries: Vec<_> = model.entries_of(bdf).take(CAUSES_OF_ONE + 1).collect();
    let listed: Vec<_> = listing.mapped().collect();
    let equal = entries.len() == listed.len()
        && entries.iter().zip(&listed).all(|(entry, region)| same(entry, region));
    if equal {
        return None;
    }
    let blocks = entries.iter().filter_map(|entry| model.ivmd(entry.ivmd_index)).map(of_block);
    Some(kernel_differs(TableName::Ivrs, bdf, listing, &listed, entries.len(), blocks))
}

/// That the kernel lists other direct regions for a device than so many `entries` of the table.
pub(super) fn kernel_differs(
    table: TableName,
    bdf: Bdf,
    listing: &Listing,
    listed: &[&Listed],
    count: usize,
    entries: impl Iterator<Item = Fact>,
) -> Finding {
    let noun = match table {
        TableName::Ivrs => "direct regions",
        TableName::Dmar => "mapped regions",
    };
    let message = format!(
        "the kernel lists {} {noun} for {bdf}, the {table} table leads to {count}: the table in use \
         is another one, or the kernel is patched; the verdict follows the kernel",
        listed.len()
    );
    let shown = listed.iter().map(|region| Fact::Listed {
        event: listing.event,
        start: region.start,
        end: region.end_inclusive(),
        of: None,
    });
    let evidence = shown.chain(entries).collect();
    Finding { evidence, ..Finding::new(Code::KernelDiffers, message) }
}

pub(super) fn io_apics(model: &Known) -> Vec<(u8, Devid)> {
    let (Some(ivrs), Some(view)) = (model.table().ivrs(), model.table().view()) else {
        return Vec::new();
    };
    let used = ivrs.ivhd.iter().filter(|ivhd| view.uses(ivhd));
    used.flat_map(|ivhd| ivhd.entries(ivrs))
        .filter_map(|entry| match entry.content {
            Content::Special { handle, devid, kind: SpecialKind::IoApic, .. } => {
                Some((handle, devid))
            }
            _ => None,
        })
        .collect()
}
