//! A verdict a device: would the kernel refuse to hand it to VFIO for a 1:1 map?
//!
//! The kernel refuses a whole group as soon as one of its devices has `require_direct`
//! (`__iommu_take_dma_ownership`, drivers/iommu/iommu.c, from 6.6), so members are judged first
//! and devices by their group. Nothing but the 1:1 map is judged here.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Cause, Coverage, Model, RequireDirect, Table, cause, is_amd, member_name};
use crate::{
    firmware::kernel_view::is_effective,
    host::{Group, Member, PciFunction, Reading, RegionKind},
    pci::Bdf,
};

/// The three answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The kernel refuses it.
    Blocked,
    /// The kernel does not refuse it for a 1:1 map.
    Clear,
    /// Evidence is missing; a finding or the device's causes say which.
    Unknown,
}

/// What is said of one device.
#[derive(Clone, Debug)]
pub struct DeviceVerdict {
    /// The device.
    pub bdf: Bdf,
    /// Its group.
    pub group: u32,
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
}

/// The reach of an IVMD block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryCoverage {
    /// Index of the block.
    pub ivmd: usize,
    /// What it covers.
    pub coverage: Coverage,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Note,
    /// The answer is less sure than it looks, or will change.
    Warning,
    /// No answer is possible.
    Error,
}

/// Anything worth telling that is not a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A name that stays.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
}

/// All that is said of a host.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// A verdict a PCI function that is in a group, by address.
    pub devices: Vec<DeviceVerdict>,
    /// The reach of every IVMD block that the kernel heeds.
    pub entries: Vec<EntryCoverage>,
    /// The rest.
    pub findings: Vec<Finding>,
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

pub(super) fn all(model: &Model) -> Verdicts {
    let mut findings = host_findings(model);
    let mut devices = Vec::new();
    for group in model.groups() {
        let (members, order_known) = ordered_members(model, group);
        let holds: Vec<(&Member, Hold)> = members
            .iter()
            .map(|member| (*member, hold(model, group, member, &mut findings)))
            .collect();
        for function in members.iter().filter_map(|member| match member {
            Member::Pci(bdf) => model.function(*bdf),
            Member::Other(_) => None,
        }) {
            devices.push(judge(model, group, function, &holds, order_known));
        }
    }
    devices.sort_by_key(|device| device.bdf);
    let held = devices.iter().filter(|device| !device.causes.is_empty()).count();
    if model.require_direct() == RequireDirect::Missing && held > 0 {
        findings.push(Finding {
            code: "refused-from-6.6",
            severity: Severity::Warning,
            message: format!(
                "{held} devices are in groups with direct regions; this kernel hands them out all \
                 the same, but kernels from 6.6 on refuse them"
            ),
        });
    }
    let entries = model
        .table()
        .ivrs()
        .into_iter()
        .flat_map(|ivrs| &ivrs.ivmd)
        .filter(|block| is_effective(block))
        .filter_map(|block| {
            let coverage = model.coverage(block.index)?;
            Some(EntryCoverage { ivmd: block.index, coverage })
        })
        .collect();
    Verdicts { devices, entries, findings }
}

/// The members in the order in which the kernel tries them, which is the order in which it first
/// listed their regions, and whether that order is known; else by address.
fn ordered_members<'a>(model: &Model, group: &'a Group) -> (Vec<&'a Member>, bool) {
    let mut members: Vec<&Member> = group.members.value().into_iter().flatten().collect();
    let first = |member: &Member| model.listing(&member_name(member)).map(|listing| listing.first);
    let known = members.iter().all(|member| first(member).is_some());
    if known {
        members.sort_by_key(|member| first(member));
    }
    (members, known)
}

fn judge(
    model: &Model,
    group: &Group,
    function: &PciFunction,
    holds: &[(&Member, Hold)],
    order_known: bool,
) -> DeviceVerdict {
    let blocking = |(member, hold): &'_ (&'_ Member, Hold)| match hold {
        Hold::Direct(causes) => Some((Some((*member).clone()), causes.clone())),
        Hold::Somewhere(causes) => Some((None, causes.clone())),
        Hold::Free | Hold::Unknown(_) => None,
    };
    // Each member with direct regions is enough to block all. The kernel stops at the first; where
    // its order is not known, a device's own are what is certain of it.
    let own = holds.iter().find(|(member, _)| !order_known && is_function(member, function));
    let first = own.and_then(blocking).or_else(|| holds.iter().find_map(blocking));
    let missing = holds.iter().find_map(|(member, hold)| match hold {
        Hold::Unknown(why) => {
            Some(crate::escape::printable(&format!("{}: {why}", member_name(member))))
        }
        Hold::Direct(_) | Hold::Somewhere(_) | Hold::Free => None,
    });
    let mut device = DeviceVerdict {
        bdf: function.bdf,
        group: group.id,
        driver: function.driver.value().map(|name| crate::escape::printable(name)),
        iommu: function.iommu.value().map(|name| crate::escape::printable(name)),
        verdict: Verdict::Clear,
        blocked_by: None,
        causes: Vec::new(),
        missing: None,
    };
    match (first, missing) {
        (Some((member, causes)), _) => {
            device.causes = causes;
            match model.require_direct() {
                RequireDirect::Present => {
                    device.verdict = Verdict::Blocked;
                    device.blocked_by = member
                        .filter(|member| !is_function(member, function))
                        .map(|member| crate::escape::printable(&member_name(&member)));
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
        (None, Some(why)) if model.require_direct() != RequireDirect::Missing => {
            device.verdict = Verdict::Unknown;
            device.missing = Some(why);
        }
        (None, _) => {}
    }
    device
}

fn is_function(member: &Member, function: &PciFunction) -> bool {
    *member == Member::Pci(function.bdf)
}

/// What holds a member: the kernel's own listing if there is one, else the table held against the
/// group's regions in sysfs, else the regions alone.
fn hold(model: &Model, group: &Group, member: &Member, findings: &mut Vec<Finding>) -> Hold {
    let name = member_name(member);
    let bdf = match member {
        Member::Pci(bdf) => Some(*bdf),
        Member::Other(_) => None,
    };
    let causes = cause::of_device(model, &name, bdf);
    if let Some(listing) = model.listing(&name) {
        let direct = listing.direct().count();
        if let Some(difference) = difference(model, &name, bdf) {
            push_once(findings, difference);
        }
        return match listing.require_direct {
            // The kernel's own flag decides; it never clears it (6.6 to 7.3).
            Some(true) => Hold::Direct(causes),
            Some(false) if direct > 0 => {
                push_once(
                    findings,
                    Finding {
                        code: "flag-cleared",
                        severity: Severity::Warning,
                        message: format!(
                            "{} has {direct} direct regions but require_direct is not set: \
                             something has changed this kernel",
                            crate::escape::printable(&name)
                        ),
                    },
                );
                Hold::Free
            }
            None if direct > 0 => Hold::Direct(causes),
            Some(false) | None => Hold::Free,
        };
    }
    without_listing(model, group, bdf, causes)
}

fn without_listing(model: &Model, group: &Group, bdf: Option<Bdf>, causes: Vec<Cause>) -> Hold {
    let shown = match &group.regions {
        Reading::Read(regions) if group.bad_region_lines.is_empty() => {
            Some(regions.iter().any(|region| region.kind == RegionKind::Direct))
        }
        _ => None,
    };
    let from_table = bdf.is_some()
        && model.table().view().is_some()
        && bdf.and_then(|bdf| model.function(bdf)).is_some_and(is_amd);
    match shown {
        // No member of the group has a direct region: that needs no table.
        Some(false) if causes.is_empty() => Hold::Free,
        Some(false) => Hold::Unknown(
            "the IVRS table asks for direct regions that the kernel does not show in the group's \
             reserved_regions"
                .to_owned(),
        ),
        Some(true) if from_table && !causes.is_empty() => Hold::Direct(causes),
        Some(true) => {
            // Somebody in the group has a direct region.
            if group.members.value().is_some_and(|members| members.len() == 1) {
                Hold::Direct(region_causes(group))
            } else if explained_by_others(model, group) {
                Hold::Free
            } else {
                Hold::Somewhere(region_causes(group))
            }
        }
        None if from_table && causes.is_empty() => Hold::Free,
        None if from_table => Hold::Direct(causes),
        None => Hold::Unknown(
            "neither the group's reserved_regions nor the IVRS table could be read".to_owned(),
        ),
    }
}

/// Whether some member of the group has direct regions by the table.
fn explained_by_others(model: &Model, group: &Group) -> bool {
    let members = group.members.value().into_iter().flatten();
    members
        .filter_map(|member| match member {
            Member::Pci(bdf) => model.function(*bdf),
            Member::Other(_) => None,
        })
        .filter(|function| is_amd(function))
        .any(|function| {
            model.table().view().is_some_and(|view| view.regions_of(function.bdf).next().is_some())
        })
}

/// The direct regions of a group as causes without a block. Which member they belong to does not
/// show, and need not: one is enough to block all.
fn region_causes(group: &Group) -> Vec<Cause> {
    let regions = group.regions.value().into_iter().flatten();
    regions
        .filter(|region| region.kind == RegionKind::Direct)
        .map(|region| Cause {
            kind: super::CauseKind::DirectRegion,
            ivmd: None,
            offset: None,
            start: region.start,
            end: region.end_inclusive,
            evidence: vec![format!(
                "/sys/kernel/iommu_groups/{}/reserved_regions: {:#018x} {:#018x} {}",
                group.id, region.start, region.end_inclusive, region.kind
            )],
        })
        .collect()
}

/// Where the kernel lists other direct regions for a device than the table leads to.
fn difference(model: &Model, name: &str, bdf: Option<Bdf>) -> Option<Finding> {
    let view = model.table().view()?;
    let bdf = bdf?;
    model.function(bdf).filter(|function| is_amd(function))?;
    let listing = model.listing(name)?;
    let entries: Vec<_> = view.regions_of(bdf).collect();
    let listed: Vec<_> = listing.direct().collect();
    let equal = entries.len() == listed.len()
        && entries.iter().zip(&listed).all(|(entry, region)| cause::same(entry, region));
    (!equal).then(|| Finding {
        code: "kernel-differs",
        severity: Severity::Warning,
        message: format!(
            "the kernel lists {} direct regions for {bdf}, the IVRS table leads to {}: the table \
             in use is another one, or the kernel is patched; the verdict follows the kernel",
            listed.len(),
            entries.len()
        ),
    })
}

fn push_once(findings: &mut Vec<Finding>, finding: Finding) {
    if !findings.contains(&finding) {
        findings.push(finding);
    }
}

/// What there is to say of the host as a whole.
pub(super) fn host_findings(model: &Model) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut push = |code, severity, message| findings.push(Finding { code, severity, message });
    let host = model.host();
    let units: BTreeSet<&str> =
        host.iommus.value().into_iter().flatten().map(String::as_str).collect();
    let no_groups = model.groups().next().is_none();
    if let Reading::Unreadable(why) = &host.groups {
        push("groups-unreadable", Severity::Error, format!("IOMMU groups: {why}"));
    } else if no_groups {
        push(
            "no-iommu-groups",
            Severity::Error,
            "this host has no IOMMU groups: its IOMMU is absent or switched off (firmware set-up, \
             or the kernel command line), so VFIO can take no device and nothing can be judged"
                .to_owned(),
        );
    } else if units.is_empty() {
        push(
            "no-iommu-shown",
            Severity::Warning,
            "/sys/class/iommu shows no IOMMU, though there are groups: entries of the IVRS cannot \
             be named, as it does not show which devices an AMD IOMMU serves"
                .to_owned(),
        );
    } else if !units.iter().any(|unit| unit.starts_with("ivhd")) {
        let names: Vec<String> = units.iter().map(|name| crate::escape::printable(name)).collect();
        push(
            "not-amd",
            Severity::Warning,
            format!(
                "the IOMMU of this host is not AMD's ({}): direct regions come from another table \
                 than the IVRS (DMAR on Intel, IORT on ARM), and no entry can be named",
                names.join(", ")
            ),
        );
    }
    let amd = units.iter().any(|unit| unit.starts_with("ivhd"));
    match model.table() {
        Table::Absent if amd => push(
            "ivrs-absent",
            Severity::Warning,
            "there is no /sys/firmware/acpi/tables/IVRS: direct regions can be told, but not the \
             firmware entries behind them"
                .to_owned(),
        ),
        Table::Unreadable(why) => push(
            "ivrs-unreadable",
            Severity::Warning,
            format!(
                "{}, so the firmware entries behind direct regions cannot be named; only root may \
                 read the IVRS table, so try with sudo",
                crate::escape::printable(why)
            ),
        ),
        Table::Malformed(error) => push(
            "ivrs-malformed",
            Severity::Warning,
            format!("/sys/firmware/acpi/tables/IVRS cannot be decoded: {error}"),
        ),
        Table::Read(read) => {
            // Only where the kernel gave the IOMMU up is this the likely reason.
            for fatal in read.1.fatal.iter().filter(|_| !amd) {
                push("ivrs-refused", Severity::Warning, format!("the IVRS table: {fatal}"));
            }
            for entry in read.1.entries.iter().filter(|entry| !amd && entry.fails_iommu()) {
                push(
                    "ivmd-without-access",
                    Severity::Warning,
                    format!(
                        "IVMD {} of the IVRS asks for a unity map without read and write: the \
                         kernel cannot make one, and gives up the whole IOMMU",
                        entry.ivmd_index
                    ),
                );
            }
        }
        Table::Absent => {}
    }
    if model.require_direct() == RequireDirect::Unknown && !no_groups {
        push(
            "no-btf",
            Severity::Warning,
            "this kernel has no BTF (/sys/kernel/btf/vmlinux), where it would show whether it \
             refuses devices with direct regions"
                .to_owned(),
        );
    }
    findings
}
