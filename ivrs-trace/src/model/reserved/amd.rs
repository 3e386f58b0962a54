//! The firmware entry behind a device that the kernel will not block.

use std::collections::BTreeSet;

use serde::Serialize;

use super::intel;
use crate::{
    event::RegionType,
    firmware::amd::{ivrs::Ivmd, kernel::UnityEntry},
    model::{Listed, Model, Rejection, is_amd, is_intel},
    pci::{Bdf, Devid},
};

/// What holds a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum CauseKind {
    /// An IVMD block that asks for a unity map.
    UnityMap,
    /// An IVMD block that asks for an exclusion range, which Linux turns into a unity map.
    ExclusionRange,
    /// A direct region whose IVMD block or RMRR is not known.
    DirectRegion,
    /// An RMRR structure of Intel's DMAR.
    Rmrr,
}

/// One reason why a device cannot leave its 1:1 map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cause {
    /// What it is.
    pub kind: CauseKind,
    /// Index of the IVMD block, counted from 0 in table order.
    pub ivmd: Option<usize>,
    /// Index of the RMRR structure, counted from 0 in table order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rmrr: Option<usize>,
    /// The device scope of the RMRR by which it applies: what it names, then bus and path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Its offset in the table, bytes.
    #[serde(serialize_with = "hex_offset")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::hex::Hex<u64>>"))]
    pub offset: Option<usize>,
    /// First address of the region.
    #[serde(serialize_with = "hex")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::hex::Hex<u64>"))]
    pub start: u64,
    /// Last address, inclusive; one below `start` where the region has no length.
    #[serde(serialize_with = "hex")]
    #[cfg_attr(feature = "schema", schemars(with = "crate::hex::Hex<u64>"))]
    pub end: u64,
    /// What this rests on, one fact a line.
    pub evidence: Vec<String>,
}

/// The devices of this host that an IVMD block covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// PCI functions behind an AMD IOMMU, in order.
    pub devices: Vec<Bdf>,
    /// Their groups, each of which is blocked whole.
    pub groups: BTreeSet<u32>,
    /// All PCI functions behind an AMD IOMMU, for comparison.
    pub of_devices: usize,
}

// serde hands the field over by reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn hex<S: serde::Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:#x}"))
}

#[expect(clippy::ref_option, reason = "the signature is serde's")]
fn hex_offset<S: serde::Serializer>(
    value: &Option<usize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(&format_args!("{value:#x}")),
        None => serializer.serialize_none(),
    }
}

/// The causes behind a rejection: the entries of the kernel's own unity map, each brought back to
/// its IVMD block; or what the kernel listed for the device, where it has no such map.
pub(crate) fn of_rejection(model: &Model, rejection: &Rejection) -> Vec<Cause> {
    if rejection.matches.is_empty() {
        return of_device(model, &rejection.device.name, rejection.device.bdf);
    }
    rejection
        .matches
        .iter()
        .map(|found| {
            let walked = format!(
                "event {}: the kernel's unity map, segment {:04x}, entry {}: devid {:#06x} to \
                 {:#06x}, {:#x} to {:#x}, prot {:#x}",
                found.event,
                found.segment,
                found.ordinal,
                found.devid_start,
                found.devid_end,
                found.start,
                found.end.wrapping_sub(1),
                found.prot,
            );
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
                _ => Cause {
                    kind: CauseKind::DirectRegion,
                    ivmd: None,
                    rmrr: None,
                    scope: None,
                    offset: None,
                    start: found.start,
                    end: found.end.wrapping_sub(1),
                    evidence: vec![walked, no_block(model)],
                },
            }
        })
        .collect()
}

/// The causes that hold for a device at any time: what the kernel lists for it, brought back to the
/// IVMD blocks; without a listing, what the table says.
pub(crate) fn of_device(model: &Model, name: &str, bdf: Option<Bdf>) -> Vec<Cause> {
    if let Some(function) = bdf.and_then(|bdf| model.function(bdf)).filter(|one| is_intel(one)) {
        return intel::causes(model, function);
    }
    let entries: Vec<&UnityEntry> = match (bdf, model.table().view()) {
        (Some(bdf), Some(view)) => view.regions_of(bdf).collect(),
        _ => Vec::new(),
    };
    let Some(listing) = model.listing(name) else {
        let of_amd = bdf.and_then(|bdf| model.function(bdf)).is_some_and(is_amd);
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
            let listed = format!(
                "event {}: the kernel lists {:#x} to {:#x} as {} for {name}",
                listing.event,
                region.start,
                region.end_inclusive(),
                RegionType::DIRECT,
            );
            match entries.get(index) {
                Some(entry) if same(entry, region) => of_entry(model, entry, vec![listed]),
                _ => Cause {
                    kind: CauseKind::DirectRegion,
                    ivmd: None,
                    rmrr: None,
                    scope: None,
                    offset: None,
                    start: region.start,
                    end: region.end_inclusive(),
                    evidence: vec![listed, no_block(model)],
                },
            }
        })
        .collect()
}

/// Whether the kernel's region is the one that the table leads to.
pub(crate) fn same(entry: &UnityEntry, region: &Listed) -> bool {
    entry.start == region.start && entry.length() == region.length
}

/// An entry of the table as a cause.
pub(crate) fn of_entry(model: &Model, entry: &UnityEntry, mut evidence: Vec<String>) -> Cause {
    let block = model.ivmd(entry.ivmd_index);
    if let Some(block) = block {
        evidence.push(of_block(block));
    }
    Cause {
        kind: match block {
            Some(block) if block.flags.exclusion() => CauseKind::ExclusionRange,
            _ => CauseKind::UnityMap,
        },
        ivmd: Some(entry.ivmd_index),
        rmrr: None,
        scope: None,
        offset: block.map(|block| block.offset),
        start: entry.start,
        end: entry.end_inclusive(),
        evidence,
    }
}

/// A block as evidence: its place, its number and its bytes.
pub(crate) fn of_block(block: &Ivmd) -> String {
    let bytes = crate::report::hex_bytes(&block.bytes);
    format!("{}: IVMD {}, {bytes}", block.place(), block.index)
}

/// Why no IVMD block is named.
fn no_block(model: &Model) -> String {
    use crate::model::Table;
    match model.table() {
        Table::Read(_) => "no IVMD block of the IVRS leads to this region".to_owned(),
        Table::Absent => "the host has no IVRS table that could be read".to_owned(),
        Table::Unreadable(why) => {
            format!("the IVRS table cannot be read: {}", crate::escape::printable(why))
        }
        Table::Malformed(error) => format!("the IVRS table is malformed: {error}"),
    }
}

pub(crate) fn coverage(model: &Model, ivmd: usize) -> Option<Coverage> {
    let entry = model.entry(ivmd)?;
    let mut coverage = Coverage::default();
    for function in model.functions().filter(|function| is_amd(function)) {
        coverage.of_devices += 1;
        if entry.matches(function.bdf) {
            coverage.devices.push(function.bdf);
            coverage.groups.extend(function.group.value());
        }
    }
    Some(coverage)
}
