//! A verdict a device: would the kernel refuse to hand it to VFIO for a 1:1 map?
//!
//! The kernel refuses a whole group as soon as one of its devices has `require_direct`
//! (`__iommu_take_dma_ownership`, drivers/iommu/iommu.c, from 6.6), so members are judged first
//! and devices by their group. Nothing but the 1:1 map is judged here.

use std::{
    borrow::Cow,
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use serde::Serialize;

use super::{
    bounds::{self, Room},
    host_findings,
    known::{Known, Service, member_name},
    no_iommu::{self, NoIommu},
    options,
    reserved::{Cause, Direct, EntryCoverage, RmrrCoverage},
};
use crate::{
    codes::Code,
    facts::RequireDirect,
    firmware::{Fact, Finding, TableName},
    host::{Group, Member, PciFunction, RegionKind, ReservedRegion},
    pci::Bdf,
};

/// The answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The kernel refuses it.
    Blocked,
    /// The kernel does not refuse it for a 1:1 map.
    Clear,
    /// Evidence is missing; a finding or the device's causes say which.
    Unknown,
    /// No IOMMU serves it, so VFIO cannot claim it whatever firmware asks for.
    NoIommu,
    /// It is an IOMMU or a host bridge that is in no group, and nothing to pass through.
    Platform,
}

/// What is said of one device.
#[derive(Clone, Debug)]
pub struct DeviceVerdict {
    /// The device.
    pub bdf: Bdf,
    /// Its group; none where no group lists it.
    pub group: Option<u32>,
    /// The driver that holds it, printable.
    pub driver: Option<String>,
    /// The IOMMU that serves it, printable.
    pub iommu: Option<String>,
    /// The answer.
    pub verdict: Verdict,
    /// The group member that stops it, by `dev_name()`, where that is another device.
    pub blocked_by: Option<String>,
    /// The causes that hold the device that stops it.
    pub causes: Vec<Cause>,
    /// What evidence is missing, where the verdict is unknown.
    pub missing: Option<String>,
    /// Why no IOMMU serves it, where none does.
    pub no_iommu: Option<NoIommu>,
}

impl DeviceVerdict {
    fn new(function: &PciFunction, group: Option<u32>, verdict: Verdict) -> Self {
        Self {
            bdf: function.bdf,
            group,
            driver: function.driver.value().map(|name| crate::escape::printable(name)),
            iommu: function.iommu.value().map(|name| crate::escape::printable(name)),
            verdict,
            blocked_by: None,
            causes: Vec::new(),
            missing: None,
            no_iommu: None,
        }
    }

    /// The IVMD blocks among its causes, by index, in the order of the causes.
    pub fn ivmds(&self) -> impl Iterator<Item = usize> {
        self.causes.iter().filter_map(Cause::ivmd)
    }
}

/// What is said of a group, which is handed out whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupVerdict {
    /// Its number.
    pub id: u32,
    /// The answer.
    pub verdict: Verdict,
    /// The members that are known to have direct regions, each of which is enough to stop it, by
    /// `dev_name()`. In the order in which the kernel tries them, where that is known.
    pub blocked_by: Vec<String>,
}

/// All that is said of a host.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// A verdict a PCI function, by address.
    pub devices: Vec<DeviceVerdict>,
    /// A verdict a group, in the order of their numbers.
    pub groups: Vec<GroupVerdict>,
    /// The reach of every IVMD block that the kernel heeds.
    pub entries: Vec<EntryCoverage>,
    /// The reach of every RMRR of a host with Intel's IOMMU.
    pub rmrrs: Vec<RmrrCoverage>,
    /// The rest.
    pub findings: Vec<Finding>,
}

impl Verdicts {
    /// The devices that an IOMMU serves, or may serve.
    pub fn served(&self) -> impl Iterator<Item = &DeviceVerdict> {
        self.devices.iter().filter(|device| device.no_iommu.is_none())
    }

    /// The devices that no IOMMU serves though others of the host have one, by the reason why none
    /// does; the platform's own are left out.
    #[must_use]
    pub fn unserved(&self) -> BTreeMap<&NoIommu, Vec<&DeviceVerdict>> {
        let mut reasons: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for device in self.devices.iter().filter(|one| one.verdict == Verdict::NoIommu) {
            if let Some(why) = device.no_iommu.as_ref().filter(|why| **why != NoIommu::Inactive) {
                reasons.entry(why).or_default().push(device);
            }
        }
        reasons
    }
}

/// What holds one member of a group.
enum Hold {
    /// The member itself has direct regions.
    Direct(Vec<Cause>),
    /// Some member of its group has, and which one does not show.
    Somewhere(Vec<Cause>),
    Free,
    Unknown(String),
}

/// A group, and what is said of it as a whole, once for all its members.
struct Judged<'a> {
    model: &'a Known,
    group: &'a Group,
    whole: OnceCell<Result<&'a [ReservedRegion], String>>,
    shown: OnceCell<Direct>,
    asked_for: OnceCell<bool>,
}

impl<'a> Judged<'a> {
    fn new(model: &'a Known, group: &'a Group) -> Self {
        let (whole, shown, asked_for) = Default::default();
        Self { model, group, whole, shown, asked_for }
    }

    fn regions(&self) -> &'a [ReservedRegion] {
        self.group.regions.value().map_or(&[][..], Vec::as_slice)
    }

    /// See [`Known::whole_regions`].
    fn whole(&self) -> &Result<&'a [ReservedRegion], String> {
        self.whole.get_or_init(|| self.model.whole_regions(self.group))
    }

    fn shows(&self, cause: &Cause) -> bool {
        self.shown.get_or_init(|| Direct::of(self.regions())).shows(cause.start, cause.end)
    }

    /// See [`Known::is_asked_for`].
    fn is_asked_for(&self) -> bool {
        let shown = || Direct::of(self.regions());
        *self.asked_for.get_or_init(|| self.model.is_asked_for(self.group, &shown()))
    }
}

impl Hold {
    fn blocks(&self) -> bool {
        matches!(self, Self::Direct(_) | Self::Somewhere(_))
    }
}

pub(super) fn all(model: &Known) -> Verdicts {
    let mut findings = host_findings::of_host(model);
    let mut devices = Vec::new();
    let mut groups = Vec::new();
    let mut room = Room::default();
    for group in model.groups() {
        let (members, order_known) = ordered_members(model, group);
        let mut of_group = Room::default();
        let judged = Judged::new(model, group);
        let holds: Vec<(&Member, Hold)> = members
            .iter()
            .map(|member| {
                let mut hold = hold(&judged, member, &mut findings);
                if let Hold::Direct(causes) | Hold::Somewhere(causes) = &mut hold {
                    of_group.fit(causes);
                }
                (*member, hold)
            })
            .collect();
        room.cut += of_group.cut;
        // Each member with direct regions is enough to block all, and the kernel stops at the first.
        let first = holds.iter().find(|(_, hold)| hold.blocks());
        let missing = holds.iter().find_map(missing);
        for (member, own) in &holds {
            let Member::Pci(bdf) = member else { continue };
            let function = model.function(*bdf).map_or_else(
                // It came while the trace ran, and its files were not read since.
                || Cow::Owned(PciFunction::named(*bdf, "only an event names the function")),
                Cow::Borrowed,
            );
            // Where its order is not known, a device's own are what is certain of it.
            let own = Some((*member, own)).filter(|(_, own)| !order_known && own.blocks());
            let first = own.or(first.map(|(member, hold)| (*member, hold)));
            let mut device = judge(model, group, &function, first, missing.as_deref());
            room.fit(&mut device.causes);
            devices.push(device);
        }
        groups.push(judge_group(model, group, &holds));
    }
    let grouped: BTreeSet<Bdf> = devices.iter().map(|device| device.bdf).collect();
    let others = model.functions().filter(|function| !grouped.contains(&function.bdf));
    devices.extend(others.map(|function| without_group(model, function)));
    devices.sort_by_key(|device| device.bdf);
    contradicted(model, &mut devices);
    let held = devices.iter().filter(|device| !device.causes.is_empty()).count();
    if model.refuses() == RequireDirect::Missing && held > 0 {
        let message = format!(
            "{held} devices are in groups with direct regions; this kernel hands them out all the \
             same, but kernels from 6.6 on refuse them"
        );
        findings.push(Finding::new(Code::RefusedFrom66, message));
    }
    let told = model.contradictions().iter();
    findings.extend(told.map(|one| Finding::new(Code::Contradiction, one.to_string())));
    findings.extend(model.entry_findings(&devices));
    let cut = "devices are held by more entries than are named of one device or of all";
    findings.extend(bounds::untold(room.cut, cut));
    findings.extend(model.untold());
    let (entries, rmrrs, left_out) = model.coverages();
    let left = "entries of the tables are not listed with the devices that they hold";
    findings.extend(bounds::untold(left_out, left));
    Verdicts { devices, groups, entries, rmrrs, findings }
}

/// A function that two files put into different groups is not clear in either, and has one verdict.
fn contradicted(model: &Known, devices: &mut Vec<DeviceVerdict>) {
    for one in model.contradictions() {
        let Some(bdf) = one.function() else { continue };
        let of_it = || devices.iter().filter(|device| device.bdf == bdf);
        let blocked = of_it().all(|device| device.verdict == Verdict::Blocked);
        for device in devices.iter_mut().filter(|device| device.bdf == bdf && !blocked) {
            device.verdict = Verdict::Unknown;
            device.blocked_by = None;
            device.no_iommu = None;
            device.missing = Some(one.to_string());
        }
    }
    devices.dedup_by_key(|device| device.bdf);
}

fn judge_group(model: &Known, group: &Group, holds: &[(&Member, Hold)]) -> GroupVerdict {
    let id = group.id;
    let any = |wanted: fn(&Hold) -> bool| holds.iter().any(|(_, hold)| wanted(hold));
    let held = any(Hold::blocks) || holds.is_empty() && has_direct(group);
    let verdict = match model.refuses() {
        RequireDirect::Missing => Verdict::Clear,
        RequireDirect::Present if held => Verdict::Blocked,
        RequireDirect::Unknown if held => Verdict::Unknown,
        // No group of the kernel is empty.
        _ if holds.is_empty() || any(|hold| matches!(hold, Hold::Unknown(_))) => Verdict::Unknown,
        _ => Verdict::Clear,
    };
    let direct = holds.iter().filter(|(_, hold)| matches!(hold, Hold::Direct(_)));
    let blocked_by = match verdict {
        Verdict::Blocked => {
            direct.map(|(member, _)| crate::escape::printable(&member_name(member))).collect()
        }
        _ => Vec::new(),
    };
    GroupVerdict { id, verdict, blocked_by }
}

/// A member of a group that is known to need a 1:1 map, so that the kernel refuses the group.
pub(super) struct Required {
    /// `dev_name()`, printable.
    pub(super) name: String,
    /// Its address, if it is a PCI function.
    pub(super) bdf: Option<Bdf>,
    /// The driver that holds it, printable; empty if none does or that is not known.
    pub(super) driver: String,
}

/// The members of a group that are known to need a 1:1 map, in the order in which the kernel tries
/// them, where that is known. Empty for a kernel that refuses nothing.
pub(super) fn required(model: &Known, group: Option<u32>) -> Vec<Required> {
    if model.refuses() != RequireDirect::Present {
        return Vec::new();
    }
    let Some(group) = group.and_then(|id| model.group(id)) else { return Vec::new() };
    let judged = Judged::new(model, group);
    ordered_members(model, group)
        .0
        .into_iter()
        .filter(|member| matches!(hold(&judged, member, &mut Vec::new()), Hold::Direct(_)))
        .map(|member| {
            let bdf = match member {
                Member::Pci(bdf) => Some(*bdf),
                Member::Other(_) => None,
            };
            let driver = bdf.and_then(|bdf| model.function(bdf)?.driver.value());
            Required {
                name: crate::escape::printable(&member_name(member)),
                bdf,
                driver: driver.map_or_else(String::new, |name| crate::escape::printable(name)),
            }
        })
        .collect()
}

/// Whether no member of a group needs a 1:1 map, all of them known.
pub(super) fn is_clear(model: &Known, group: Option<u32>) -> bool {
    let Some(group) = group.and_then(|id| model.group(id)) else { return false };
    let judged = Judged::new(model, group);
    let free = |member| matches!(hold(&judged, member, &mut Vec::new()), Hold::Free);
    group.members.value().is_some_and(|members| members.iter().all(free))
}

/// The members in the order in which the kernel tries them, which is the order in which it first
/// listed their regions, and whether that order is known; else by address.
fn ordered_members<'a>(model: &Known, group: &'a Group) -> (Vec<&'a Member>, bool) {
    let mut members: Vec<&Member> = group.members.value().into_iter().flatten().collect();
    let first = |member: &Member| model.listing(&member_name(member)).map(|listing| listing.first);
    let known = members.iter().all(|member| first(member).is_some());
    if known {
        members.sort_by_key(|member| first(member));
    }
    (members, known)
}

/// What is missing to tell of a member.
fn missing((member, hold): &(&Member, Hold)) -> Option<String> {
    match hold {
        Hold::Unknown(why) => {
            Some(crate::escape::printable(&format!("{}: {why}", member_name(member))))
        }
        Hold::Direct(_) | Hold::Somewhere(_) | Hold::Free => None,
    }
}

/// The verdict of a function by the member that stops its group, and what is missing of others.
fn judge(
    model: &Known,
    group: &Group,
    function: &PciFunction,
    first: Option<(&Member, &Hold)>,
    missing: Option<&str>,
) -> DeviceVerdict {
    let first = first.and_then(|(member, hold)| match hold {
        Hold::Direct(causes) => Some((Some(member), causes)),
        Hold::Somewhere(causes) => Some((None, causes)),
        Hold::Free | Hold::Unknown(_) => None,
    });
    let mut device = DeviceVerdict::new(function, Some(group.id), Verdict::Clear);
    match (first, missing) {
        (Some((member, causes)), _) => {
            device.causes.clone_from(causes);
            match model.refuses() {
                RequireDirect::Present => {
                    device.verdict = Verdict::Blocked;
                    device.blocked_by = member
                        .filter(|member| !is_function(member, function))
                        .map(|member| crate::escape::printable(&member_name(member)));
                }
                RequireDirect::Missing => {}
                RequireDirect::Unknown => {
                    device.verdict = Verdict::Unknown;
                    device.missing = Some(
                        "whether this kernel refuses devices with direct regions (it has no BTF \
                         that would tell; mainline does from 6.6 on)"
                            .to_owned(),
                    );
                }
            }
        }
        (None, Some(why)) if model.refuses() != RequireDirect::Missing => {
            device.verdict = Verdict::Unknown;
            device.missing = Some(why.to_owned());
        }
        (None, _) => {}
    }
    device
}

/// A function that no group lists.
fn without_group(model: &Known, function: &PciFunction) -> DeviceVerdict {
    let group = function.group.value().copied();
    match no_iommu::why(model, function) {
        Ok(why) => {
            let verdict = if why.is_platform() { Verdict::Platform } else { Verdict::NoIommu };
            let no_iommu = Some(why);
            DeviceVerdict { no_iommu, ..DeviceVerdict::new(function, group, verdict) }
        }
        Err(why) => {
            let missing = Some(crate::escape::printable(&why));
            DeviceVerdict { missing, ..DeviceVerdict::new(function, group, Verdict::Unknown) }
        }
    }
}

fn is_function(member: &Member, function: &PciFunction) -> bool {
    *member == Member::Pci(function.bdf)
}

/// What holds a member: the kernel's own listing if there is one, else the table held against the
/// group's regions in sysfs, else the regions alone.
fn hold(judged: &Judged<'_>, member: &Member, findings: &mut Vec<Finding>) -> Hold {
    let model = judged.model;
    let name = member_name(member);
    let bdf = match member {
        Member::Pci(bdf) => Some(*bdf),
        Member::Other(_) => None,
    };
    let causes = model.causes_of(&name, bdf);
    if let Some(listing) = model.listing(&name) {
        let direct = listing.direct().count();
        if let Some(difference) = bdf.and_then(|bdf| model.difference(&name, bdf)) {
            push_once(findings, difference);
        }
        return match listing.require_direct {
            // The kernel's own flag decides; it never clears it (6.6 to 7.3).
            Some(true) => Hold::Direct(causes),
            Some(false) if direct > 0 => {
                push_once(
                    findings,
                    Finding::new(
                        Code::FlagCleared,
                        format!(
                            "{} has {direct} direct regions but require_direct is not set: \
                             something has changed this kernel",
                            crate::escape::printable(&name)
                        ),
                    ),
                );
                Hold::Free
            }
            None if direct > 0 => Hold::Direct(causes),
            Some(false) | None => Hold::Free,
        };
    }
    without_listing(judged, bdf, causes)
}

fn without_listing(judged: &Judged<'_>, bdf: Option<Bdf>, causes: Vec<Cause>) -> Hold {
    let (model, group) = (judged.model, judged.group);
    let function = bdf.and_then(|bdf| model.function(bdf));
    let intel = function.is_some_and(|one| model.service(one) == Service::Intel);
    let table = if intel { TableName::Dmar } else { TableName::Ivrs };
    let decides = bdf.is_some_and(|bdf| model.table_decides(bdf));
    if has_direct(group) {
        // A direct region that is seen blocks, whatever else is lost. An entry is named only for one.
        let shown: Vec<Cause> = causes.into_iter().filter(|one| judged.shows(one)).collect();
        return if decides && !shown.is_empty() {
            Hold::Direct(shown)
        } else if group.lists_members() && group.members.value().is_some_and(|all| all.len() == 1) {
            Hold::Direct(region_causes(group))
        } else if judged.is_asked_for()
            && (decides || !intel)
            && function.is_none_or(|one| model.service(one) != Service::NotKnown)
            && model.doubt(table).is_none()
        {
            Hold::Free
        } else {
            Hold::Somewhere(region_causes(group))
        };
    }
    let why = match judged.whole() {
        // No member of the group has a direct region: that needs no table.
        Ok(_) if causes.is_empty() => return Hold::Free,
        // A kernel that relaxes what it is asked for relaxes it for all.
        Ok(_) if relaxed(judged, &causes) => {
            return match model.shown().direct {
                None => Hold::Free,
                Some(other) => Hold::Unknown(format!(
                    "reserved_regions of group {} has as direct-relaxable what the {table} asks \
                     for, but that of group {other} has direct regions",
                    group.id
                )),
            };
        }
        Ok(_) => {
            return Hold::Unknown(format!(
                "the {table} table asks for direct regions that the kernel does not show in the \
                 group's reserved_regions"
            ));
        }
        Err(why) => why.clone(),
    };
    if !decides {
        return Hold::Unknown(if group.regions.value().is_some() {
            why
        } else {
            without_evidence(model, function)
        });
    }
    if let Some(doubt) = model.doubt(table) {
        return Hold::Unknown(format!("{doubt}; {why}"));
    }
    if causes.is_empty() && group.regions.value().is_some() {
        // What is lost of them may be what the table, that of another boot perhaps, does not have.
        Hold::Unknown(why)
    } else if causes.is_empty() {
        Hold::Free
    } else if !intel && options::relaxes_unity(model.host()) {
        Hold::Unknown(
            "whether this kernel follows amd_iommu=relax_unity, as the group's reserved_regions \
             could not be read"
                .to_owned(),
        )
    } else {
        Hold::Direct(causes)
    }
}

fn has_direct(group: &Group) -> bool {
    let mut regions = group.regions.value().into_iter().flatten();
    regions.any(|region| region.kind == RegionKind::Direct)
}

/// What would tell of a member, and could not be read.
fn without_evidence(model: &Known, function: Option<&PciFunction>) -> String {
    let no_regions = "the group's reserved_regions could not be read";
    if model.host().has_unit("smmu") {
        return format!(
            "{no_regions} (on ARM, the table behind them is the IORT, which is not read here)"
        );
    }
    let Some(function) = function else {
        return format!("{no_regions}, and no table names what is no PCI function as Linux does");
    };
    match model.service(function) {
        Service::Intel if model.dmar().dmar().is_some() => format!(
            "{no_regions}, nor all that leads from the DMAR's device scopes to functions (classes, \
             and the bridges above)"
        ),
        Service::Intel => no_table("DMAR"),
        Service::Amd => no_table("IVRS"),
        Service::Other | Service::Nobody => no_regions.to_owned(),
        Service::NotKnown => {
            format!("{no_regions}, and nothing that was read shows whose IOMMU serves it")
        }
    }
}

fn no_table(name: &str) -> String {
    format!("neither the group's reserved_regions nor the {name} table could be read")
}

/// Whether the kernel shows as relaxable what the table asks for: such regions block nobody
/// (`iommu_create_device_direct_mappings` sets `require_direct` for the type `direct` alone).
fn relaxed(judged: &Judged<'_>, causes: &[Cause]) -> bool {
    // Of more than that, some are not looked at.
    causes.len() <= bounds::CAUSES_OF_ONE && causes.iter().all(|cause| judged.shows(cause))
}

/// The direct regions of a group as causes without a block. Which member they belong to does not
/// show, and need not: one is enough to block all.
fn region_causes(group: &Group) -> Vec<Cause> {
    let regions = group.regions.value().into_iter().flatten();
    regions
        .filter(|region| region.kind == RegionKind::Direct)
        .map(|region| {
            let shown = Fact::Shown {
                group: group.id,
                start: region.start,
                end: region.end_inclusive,
                kind: "direct",
            };
            Cause::region(region.start, region.end_inclusive, vec![shown])
        })
        .collect()
}

fn push_once(findings: &mut Vec<Finding>, finding: Finding) {
    if !findings.contains(&finding) {
        findings.push(finding);
    }
}

impl Known {
    /// A verdict for every function.
    #[must_use]
    pub fn verdicts(&self) -> Verdicts {
        all(self)
    }
}
