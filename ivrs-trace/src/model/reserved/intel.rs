//! Which functions of a host the RMRR structures of Intel's DMAR apply to, as the kernel finds them.
//!
//! The rules are those of drivers/iommu/intel: `dmar_insert_dev_scope` and `dmar_match_pci_path`
//! (dmar.c) lead from a device scope to a function, `intel_iommu_get_resv_regions` (iommu.c) from
//! there to everything below a bridge, and `device_rmrr_is_relaxable` tells for whom the region does
//! not matter. They mean the same from 6.1 to 7.3.

use super::{
    Cause, CauseKind, RmrrCoverage,
    amd::{kernel_differs, of_listing},
    once::Other,
};
use crate::{
    event::RegionType,
    firmware::{
        Entry, EntryId, Fact, Finding, Place, TableName,
        intel::dmar::{Drhd, Rmrr, Scope, ScopeKind, Step},
    },
    host::PciFunction,
    model::{
        bounds::{CAUSES_OF_ONE, REACH},
        known::{Known, Service},
        listing::Listed,
        no_iommu::{NAMED, NoIommu},
    },
    pci::{Bdf, Devid, Segment},
};

/// An RMRR that applies to a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RmrrMatch<'a> {
    /// The structure.
    pub rmrr: &'a Rmrr,
    /// The device scope by which it applies.
    pub scope: &'a Scope,
    /// The bridge that the scope names, where the function is below it.
    pub through: Option<Bdf>,
}

/// What a device scope says of a function.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    /// The bridges above it are not all known.
    Unknown,
}

/// Whether the scope leads to the last function of `way`, of which `whole` says whether it begins on
/// a root bus (`dmar_match_pci_path`). A path of one step may also start on the function's own bus:
/// the kernel forgives firmware that leaves the bridges out.
fn leads_to(scope: &Scope, way: &[Bdf], whole: bool) -> Fit {
    let Some((last, _)) = way.split_last() else { return Fit::No };
    match scope.path.as_slice() {
        [] => Fit::No,
        [step] => {
            if last.devid.bus() == scope.bus && is_step(*last, *step) {
                Fit::Yes
            } else {
                Fit::No
            }
        }
        path => {
            // From the function upwards, as far as is known.
            let known =
                path.iter().rev().zip(way.iter().rev()).all(|(step, bdf)| is_step(*bdf, *step));
            let start = way.first().is_some_and(|bdf| bdf.devid.bus() == scope.bus);
            if !known || way.len() > path.len() {
                Fit::No
            } else if whole {
                if way.len() == path.len() && start { Fit::Yes } else { Fit::No }
            } else {
                Fit::Unknown
            }
        }
    }
}

fn is_step(bdf: Bdf, step: Step) -> bool {
    bdf.devid.device() == step.device && bdf.devid.function() == step.function
}

/// Whether a function is of the kind that a scope names, by its class; else the kernel takes it for
/// an error and does not heed the scope (`dmar_insert_dev_scope`).
fn is_of_kind(scope: &Scope, function: &PciFunction) -> Option<bool> {
    let class = *function.class.value()?;
    let bridge = function.is_bridge()?;
    Some(match scope.kind {
        ScopeKind::Endpoint => !bridge,
        ScopeKind::Bridge => bridge || class >> 16 == 0x06,
        _ => false,
    })
}

/// See [`Known::rmrrs_of`].
pub(crate) fn of_function(model: &Known, bdf: Bdf) -> (Vec<RmrrMatch<'_>>, bool) {
    let served = model.is_intel(bdf);
    let Some(dmar) = model.dmar().dmar().filter(|dmar| served && dmar.fatal().is_none()) else {
        return (Vec::new(), false);
    };
    let way = Way::to(model, bdf);
    let mut matches = Vec::new();
    let mut unknown = false;
    for rmrr in dmar.rmrr.iter().take(model.judged().rmrr) {
        for scope in rmrr.scopes.iter().filter(|scope| scope.kind.names_a_function()) {
            match fit(model, rmrr.segment, scope, &way) {
                (Fit::Yes, through) => {
                    matches.push(RmrrMatch { rmrr, scope, through });
                    break;
                }
                (Fit::Unknown, _) => unknown = true,
                (Fit::No, _) => {}
            }
        }
    }
    (matches, unknown)
}

/// A function and the bridges above it, from the root bus down.
struct Way<'a> {
    bdfs: Vec<Bdf>,
    /// Whether the first is known to be on a root bus.
    whole: bool,
    functions: Vec<Option<&'a PciFunction>>,
    /// A bit for each pair of device and function number on it.
    steps: [u64; 4],
}

impl<'a> Way<'a> {
    fn to(model: &'a Known, bdf: Bdf) -> Self {
        let (bdfs, whole) = model.ways().to(bdf);
        let mut steps = [0; 4];
        for bdf in &bdfs {
            let number = bdf.devid.0 & 0xff;
            if let Some(word) = steps.get_mut(usize::from(number / 64)) {
                *word |= 1_u64 << (number % 64);
            }
        }
        Self {
            functions: bdfs.iter().map(|bdf| model.function(*bdf)).collect(),
            bdfs,
            whole,
            steps,
        }
    }

    /// Whether there is a function on it that the scope may name.
    fn may_have(&self, scope: &Scope) -> bool {
        let step = scope.path.last().and_then(|step| Devid::new(0, step.device, step.function));
        step.is_some_and(|Devid(number)| {
            let word = self.steps.get(usize::from(number / 64)).copied().unwrap_or_default();
            word >> (number % 64) & 1 == 1
        })
    }
}

/// Whether a scope applies to the last function of `way`, and the bridge through which it does.
fn fit(model: &Known, segment: Segment, scope: &Scope, way: &Way<'_>) -> (Fit, Option<Bdf>) {
    let Some(own) = way.bdfs.last().copied() else { return (Fit::No, None) };
    if own.segment != segment {
        return across_segments(model, scope, own);
    }
    let mut unknown = false;
    for length in (1..=way.bdfs.len()).rev().filter(|_| way.may_have(scope)) {
        let Some(upper) = way.bdfs.get(..length) else { continue };
        let Some(function) = way.functions.get(length - 1).copied().flatten() else { continue };
        // Of a virtual function the kernel looks at the bridges above it alone.
        if function.physical_function.value().is_some() {
            continue;
        }
        match (leads_to(scope, upper, way.whole), is_of_kind(scope, function)) {
            (Fit::Yes, Some(true)) => {
                let through = (function.bdf != own).then_some(function.bdf);
                return (Fit::Yes, through);
            }
            (Fit::Unknown, _) | (Fit::Yes, None) => unknown = true,
            (Fit::Yes | Fit::No, _) => {}
        }
    }
    // A bridge that is not known may be above.
    let above = !way.whole && scope.kind == ScopeKind::Bridge;
    (if unknown || above { Fit::Unknown } else { Fit::No }, None)
}

/// Whether a scope names a bridge of another segment with this function's bus below: the kernel
/// compares the numbers of buses alone (`is_downstream_to_pci_bridge`).
fn across_segments(model: &Known, scope: &Scope, own: Bdf) -> (Fit, Option<Bdf>) {
    let across = model.across.get_or_init(|| {
        let rmrrs = model.dmar().dmar().into_iter().flat_map(|dmar| &dmar.rmrr);
        let scopes = rmrrs.flat_map(|rmrr| rmrr.scopes.iter().map(|scope| (rmrr.segment, scope)));
        scopes.map(|(segment, scope)| (scope.offset, other(model, segment, scope))).collect()
    });
    match across.get(&scope.offset) {
        Some(Other::Below(bridge, Some((first, last)))) => {
            if (first..=last).contains(&&own.devid.bus()) {
                (Fit::Yes, Some(*bridge))
            } else {
                (Fit::No, None)
            }
        }
        Some(Other::Below(_, None) | Other::Unknown) => (Fit::Unknown, None),
        Some(Other::Nothing) | None => (Fit::No, None),
    }
}

fn other(model: &Known, segment: Segment, scope: &Scope) -> Other {
    let named = named(model, segment, scope).next();
    let of_kind = named.map(|function| (function.is_bridge(), is_of_kind(scope, function)));
    match (named, of_kind) {
        (Some(_), Some((Some(false), _) | (_, Some(false)))) => Other::Nothing,
        (Some(bridge), Some((Some(true), Some(true)))) => {
            Other::Below(bridge.bdf, model.ways().buses_below(bridge.bdf))
        }
        _ if scope.kind == ScopeKind::Bridge => Other::Unknown,
        _ => Other::Nothing,
    }
}

/// The functions to which a scope leads, in order.
fn named<'a>(
    model: &'a Known,
    segment: Segment,
    scope: &'a Scope,
) -> impl Iterator<Item = &'a PciFunction> {
    let buses = match scope.path.as_slice() {
        [_] => scope.bus..=scope.bus,
        _ => 0..=u8::MAX,
    };
    let last = scope.path.last().into_iter();
    let devids = last
        .flat_map(move |step| buses.clone().map(|bus| Devid::new(bus, step.device, step.function)));
    let functions = devids.filter_map(move |devid| model.function(Bdf::new(segment, devid?)));
    functions.filter(|function| {
        let (way, whole) = model.ways().to(function.bdf);
        leads_to(scope, &way, whole) == Fit::Yes
    })
}

/// Whether the kernel lets VFIO take the map away (`device_rmrr_is_relaxable`,
/// drivers/iommu/intel/iommu.c, since 5.3): USB controllers, and display devices.
pub(crate) fn is_relaxable(function: &PciFunction) -> Option<bool> {
    function.class.value().map(|class| class >> 8 == 0x0c03 || class >> 16 == 0x03)
}

/// The RMRRs for which the kernel refuses a function; `None` where that cannot be told: no Intel
/// IOMMU serves it, the table could not be read, or its class or the bridges above it.
pub(crate) fn direct(model: &Known, bdf: Bdf) -> Option<Vec<RmrrMatch<'_>>> {
    let function = model.function(bdf).filter(|_| model.is_intel(bdf))?;
    model.dmar().dmar()?;
    let (matches, unknown) = of_function(model, bdf);
    match is_relaxable(function) {
        Some(true) => Some(Vec::new()),
        _ if unknown => None,
        None if !matches.is_empty() => None,
        _ => Some(matches),
    }
}

/// What holds a function that an Intel IOMMU serves: the direct regions that the kernel listed,
/// brought back to the RMRRs; without a list, what the table says.
pub(crate) fn causes(model: &Known, function: &PciFunction) -> Vec<Cause> {
    let matches = of_function(model, function.bdf).0;
    let Some(listing) = model.listing(&function.bdf.to_string()) else {
        let direct = direct(model, function.bdf).unwrap_or_default();
        // One more than is told, so that what is left out is counted.
        let told = direct.iter().take(CAUSES_OF_ONE + 1);
        return told.map(|found| of_match(found, Vec::new())).collect();
    };
    let listed = listing.direct().map(|region| {
        let fact = of_listing(listing, region, &function.bdf.to_string());
        if let Some(found) = matches.iter().find(|found| same(found.rmrr, region)) {
            of_match(found, vec![fact])
        } else {
            let facts = vec![fact, no_rmrr(model)];
            Cause::region(region.start, region.end_inclusive(), facts)
        }
    });
    listed.collect()
}

/// Whether the kernel's region is the one that the RMRR leads to.
fn same(rmrr: &Rmrr, region: &Listed) -> bool {
    rmrr.base == region.start && rmrr.memory_length() == region.length
}

fn of_match(found: &RmrrMatch<'_>, mut evidence: Vec<Fact>) -> Cause {
    let RmrrMatch { rmrr, scope, through } = *found;
    let scope_place = Place { table: TableName::Dmar, offset: scope.offset };
    let scope = scope.to_string();
    evidence.push(of_structure(rmrr));
    evidence.push(Fact::Scope { place: scope_place, scope: scope.clone(), bridge: through });
    Cause {
        kind: CauseKind::Rmrr,
        entry: Some(EntryId::Rmrr(rmrr.index)),
        scope: Some(scope),
        place: Some(rmrr.place()),
        start: rmrr.base,
        end: rmrr.limit,
        evidence,
    }
}

/// An RMRR as evidence: its place, its number and its bytes.
pub(super) fn of_structure(rmrr: &Rmrr) -> Fact {
    Entry::from(rmrr).into()
}

/// Why the DMAR gives a function no IOMMU; `None` where it does not tell (`device_lookup_iommu`,
/// drivers/iommu/intel/iommu.c, which asks for a virtual function by its physical one).
pub(super) fn unserved(model: &Known, function: &PciFunction) -> Option<NoIommu> {
    let dmar = model.dmar().dmar().filter(|dmar| dmar.fatal().is_none())?;
    let bdf = function.physical_function.value().copied().unwrap_or(function.bdf);
    let units = || dmar.drhd.iter().filter(|drhd| drhd.segment == bdf.segment);
    if units().next().is_none() {
        return Some(NoIommu::Segment(TableName::Dmar, bdf.segment));
    }
    let way = Way::to(model, bdf);
    let scopes = || units().flat_map(|drhd| &drhd.scopes).filter(|one| one.kind.names_a_function());
    let mut fits = scopes().map(|scope| fit(model, bdf.segment, scope, &way).0);
    let included = units().any(Drhd::include_all);
    if !included && !model.judged().drhd {
        return None;
    }
    if included || fits.clone().any(|fit| fit == Fit::Yes) {
        return Some(NoIommu::NotAttached(TableName::Dmar));
    }
    if fits.any(|fit| fit == Fit::Unknown) {
        return None;
    }
    let named: Vec<String> = scopes().take(NAMED).map(ToString::to_string).collect();
    let more = scopes().count() - named.len();
    Some(NoIommu::Scopes { segment: bdf.segment, named, more })
}

/// Why no RMRR is named.
fn no_rmrr(model: &Known) -> Fact {
    model.dmar().no_entry(TableName::Dmar)
}

/// Where the kernel lists other regions for a function than the table leads to. The region for ISA
/// bridges (`CONFIG_INTEL_IOMMU_FLOPPY_WA`: the first 16 MiB, relaxable) is the kernel's own.
pub(crate) fn difference(model: &Known, name: &str, bdf: Bdf) -> Option<Finding> {
    let (matches, unknown) = of_function(model, bdf);
    model.dmar().dmar().filter(|_| !unknown)?;
    let listing = model.listing(name)?;
    let isa = |region: &&Listed| {
        region.kind == RegionType::DIRECT_RELAXABLE
            && (region.start, region.length) == (0, 1 << 24)
            && model.function(bdf).and_then(|one| one.class.value()).map(|class| class >> 8)
                == Some(0x0601)
    };
    let listed: Vec<&Listed> = listing.mapped().filter(|region| !isa(region)).collect();
    let in_kernel = |found: &RmrrMatch<'_>| listed.iter().any(|region| same(found.rmrr, region));
    let in_table = |region: &&Listed| matches.iter().any(|found| same(found.rmrr, region));
    if matches.iter().all(in_kernel) && listed.iter().all(in_table) {
        return None;
    }
    let rmrrs = matches.iter().map(|found| of_structure(found.rmrr));
    Some(kernel_differs(TableName::Dmar, bdf, listing, &listed, matches.len(), rmrrs))
}

/// The reach of the RMRRs of a host with Intel's IOMMU whose lists have room, in order; and how many
/// are left out.
pub(crate) fn coverage(model: &Known) -> (Vec<RmrrCoverage>, usize) {
    let Some(dmar) = model.dmar().dmar().filter(|_| model.is_intel_host()) else {
        return (Vec::new(), 0);
    };
    let matched = || {
        let served = model.functions().filter(|one| model.service(one) == Service::Intel);
        served.map(|function| (function, of_function(model, function.bdf).0))
    };
    let (mut reach, mut of_devices) = (vec![1_usize; dmar.rmrr.len()], 0);
    for (_, matches) in matched() {
        of_devices += 1;
        for found in matches {
            if let Some(count) = reach.get_mut(found.rmrr.index) {
                *count += 1;
            }
        }
    }
    let (mut left, gap) = (REACH, model.gap());
    let none = |(rmrr, reach): (&Rmrr, &usize)| {
        left = left.checked_sub(*reach)?;
        let gap = gap.cloned();
        Some(RmrrCoverage { rmrr: rmrr.index, of_devices, gap, ..RmrrCoverage::default() })
    };
    let mut all: Vec<RmrrCoverage> = dmar.rmrr.iter().zip(&reach).map_while(none).collect();
    for (function, matches) in matched() {
        for found in matches {
            let Some(one) = all.get_mut(found.rmrr.index) else { continue };
            if is_relaxable(function) == Some(true) {
                one.relaxable.push(function.bdf);
            } else {
                one.devices.push(function.bdf);
                one.groups.extend(function.group.value());
            }
        }
    }
    let left_out = dmar.rmrr.len() - all.len();
    (all, left_out)
}

/// The scopes that name a function of another kind, with the function: the kernel gives the IOMMU up
/// for one at boot.
pub(crate) fn mismatches(model: &Known) -> impl Iterator<Item = (&Rmrr, &Scope, Bdf)> {
    let rmrrs = model.dmar().dmar().into_iter().flat_map(|dmar| &dmar.rmrr);
    let scopes = rmrrs.flat_map(|rmrr| rmrr.scopes.iter().map(move |one| (rmrr, one)));
    scopes.filter(|(_, scope)| scope.kind.names_a_function()).flat_map(|(rmrr, scope)| {
        named(model, rmrr.segment, scope)
            .filter(|function| is_of_kind(scope, function) == Some(false))
            .map(move |function| (rmrr, scope, function.bdf))
    })
}

#[cfg(test)]
mod tests;
