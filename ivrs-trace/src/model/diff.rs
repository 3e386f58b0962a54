//! What differs between two tables, or between two hosts with their tables.
//!
//! It says nothing of why. Blocks are recognised by what is in them, so a block that only moved is
//! told from one that went; two tables without a difference here are equal byte for byte. What is
//! printed came from firmware or sysfs and leaves here printable.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use super::diff_blocks::{Block, BlockChange, Field, Kind};
use super::{
    diff_blocks::{fields, pairs},
    known::Known,
    reserved::{CauseKind, diff as reserved_diff},
    verdict::DeviceVerdict,
    what_if::Judgement,
};
use crate::{
    escape::printable,
    facts::RequireDirect,
    firmware::TableName,
    host::{Group, Member, PciFunction, Reading, Snapshot},
    pci::Bdf,
};

/// How much of two models is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// The tables alone: one of the two is no more than that.
    Table,
    /// The hosts too.
    Host,
}

/// A group of devices.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupSide {
    /// Its number.
    pub id: u32,
    /// Its members by name.
    pub members: Vec<String>,
    /// Type of its default domain.
    pub domain_type: Option<String>,
    /// Its reserved regions as the kernel writes them.
    pub regions: Option<Vec<String>>,
}

/// A group that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GroupChange {
    /// What became of it; `moved` if it only has another number.
    pub change: Kind,
    /// The group in the first host.
    pub before: Option<GroupSide>,
    /// The group in the second host.
    pub after: Option<GroupSide>,
}

/// A device on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceSide {
    /// Vendor and device id, `10de:2d04`.
    pub id: Option<String>,
    /// Its group; null for none.
    pub group: Option<u32>,
    /// What is said of it.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// A device of which something else is said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceChange {
    /// The device.
    pub bdf: Bdf,
    /// What became of it; never `moved`.
    pub change: Kind,
    /// On the first host.
    pub before: Option<DeviceSide>,
    /// On the second host.
    pub after: Option<DeviceSide>,
}

impl DeviceChange {
    /// Whether the verdict itself is another.
    #[must_use]
    pub fn verdict_changed(&self) -> bool {
        matches!((&self.before, &self.after), (Some(old), Some(new))
            if old.judgement.verdict != new.judgement.verdict)
    }
}

/// All that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diff {
    /// What was compared.
    pub compared: Scope,
    /// Kernel, board and firmware.
    pub host: Vec<Field>,
    /// The table's header, and what the kernel makes of the table as a whole.
    pub table: Vec<Field>,
    /// The IVHD blocks.
    pub ivhd: Vec<BlockChange>,
    /// The IVMD blocks.
    pub ivmd: Vec<BlockChange>,
    /// The DRHD structures; absent where none differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drhd: Vec<BlockChange>,
    /// The RMRR structures; absent where none differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rmrr: Vec<BlockChange>,
    /// The blocks of other types.
    pub unknown: Vec<BlockChange>,
    /// The groups.
    pub groups: Vec<GroupChange>,
    /// The devices.
    pub devices: Vec<DeviceChange>,
    /// What could not be compared, a sentence each.
    pub notices: Vec<String>,
}

impl Diff {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.host.is_empty()
            && self.table.is_empty()
            && self.ivhd.is_empty()
            && self.ivmd.is_empty()
            && self.drhd.is_empty()
            && self.rmrr.is_empty()
            && self.unknown.is_empty()
            && self.groups.is_empty()
            && self.devices.is_empty()
    }
}

/// What differs in `b` from `a`.
#[must_use]
pub fn compare(a: &Known, b: &Known, scope: Scope) -> Diff {
    let mut diff = Diff {
        compared: scope,
        host: Vec::new(),
        table: Vec::new(),
        ivhd: Vec::new(),
        ivmd: Vec::new(),
        drhd: Vec::new(),
        rmrr: Vec::new(),
        unknown: Vec::new(),
        groups: Vec::new(),
        devices: Vec::new(),
        notices: Vec::new(),
    };
    let ivrs = reserved_diff::compare(a, b, TableName::Ivrs);
    let dmar = reserved_diff::compare(a, b, TableName::Dmar);
    [diff.ivhd, diff.ivmd, diff.unknown] = ivrs.sections;
    let [drhd, rmrr, others] = dmar.sections;
    (diff.drhd, diff.rmrr) = (drhd, rmrr);
    diff.unknown.extend(others);
    (diff.table, diff.notices) = (ivrs.fields, ivrs.notices);
    diff.table.extend(dmar.fields);
    diff.notices.extend(dmar.notices);
    if scope == Scope::Host {
        diff.host = fields(&host(a), &host(b));
        let sides = [("first", &a.host), ("second", &b.host)];
        diff.notices.extend(sides.iter().flat_map(|(side, host)| unreadable(side, host)));
        diff.groups = groups(a, b);
        diff.devices = devices(a, b);
    }
    diff
}

fn unreadable(side: &str, host: &Snapshot) -> Vec<String> {
    let parts = [
        ("IOMMU groups", failure(&host.groups)),
        ("PCI functions", failure(&host.functions)),
        ("kernel release", failure(&host.kernel_release)),
    ];
    let told = parts.iter().filter_map(|(what, why)| Some((what, (*why)?)));
    told.map(|(what, why)| format!("The {what} of the {side}: {}.", printable(why))).collect()
}

fn failure<T>(reading: &Reading<T>) -> Option<&str> {
    match reading {
        Reading::Unreadable(why) => Some(why),
        Reading::Read(_) | Reading::Absent => None,
    }
}

fn text(reading: &Reading<String>) -> Option<String> {
    reading.value().map(|text| printable(text))
}

fn host(model: &Known) -> Vec<(&'static str, Option<String>)> {
    let (host, dmi) = (&model.host, &model.host.dmi);
    let refuses = match model.require_direct() {
        RequireDirect::Present => Some("true".to_owned()),
        RequireDirect::Missing => Some("false".to_owned()),
        RequireDirect::Unknown => None,
    };
    let iommus = host.iommus.value().map(|names| printable(&names.join(", ")));
    vec![
        ("bios_version", text(&dmi.bios_version)),
        ("bios_date", text(&dmi.bios_date)),
        ("kernel_release", text(&host.kernel_release)),
        ("require_direct", refuses),
        ("command_line", text(&host.command_line)),
        ("sys_vendor", text(&dmi.sys_vendor)),
        ("product_name", text(&dmi.product_name)),
        ("board_vendor", text(&dmi.board_vendor)),
        ("board_name", text(&dmi.board_name)),
        ("iommus", iommus),
    ]
}

fn group_side(group: &Group) -> GroupSide {
    let name = |member: &Member| match member {
        Member::Pci(bdf) => bdf.to_string(),
        Member::Other(name) => printable(name),
    };
    let regions = group.regions.value().map(|regions| {
        let line = |region: &crate::host::ReservedRegion| {
            let kind = printable(&region.kind.to_string());
            format!("{:#x} {:#x} {kind}", region.start, region.end_inclusive)
        };
        regions.iter().map(line).collect()
    });
    GroupSide {
        id: group.id,
        members: group.members.value().into_iter().flatten().map(name).collect(),
        domain_type: text(&group.domain_type),
        regions,
    }
}

fn groups(a: &Known, b: &Known) -> Vec<GroupChange> {
    let sides = |model: &Known| model.groups().map(group_side).collect::<Vec<_>>();
    let (before, after) = (sides(a), sides(b));
    let pairs =
        pairs(&before, &after, &[&|group| group.members.join(" "), &|group| group.id.to_string()]);
    let mut changes: Vec<GroupChange> = pairs
        .into_iter()
        .filter(|(old, new)| old != new)
        .map(|(old, new)| {
            let content =
                |side: Option<&GroupSide>| side.map(|side| GroupSide { id: 0, ..side.clone() });
            GroupChange {
                change: Kind::of(old.is_some(), new.is_some(), content(old) == content(new)),
                before: old.cloned(),
                after: new.cloned(),
            }
        })
        .collect();
    changes.sort_by_key(|change| {
        let place = change.after.as_ref().or(change.before.as_ref());
        (place.map(|group| group.id), change.change)
    });
    changes
}

fn devices(a: &Known, b: &Known) -> Vec<DeviceChange> {
    let verdicts = |model: &Known| -> BTreeMap<Bdf, DeviceVerdict> {
        model.verdicts().devices.into_iter().map(|device| (device.bdf, device)).collect()
    };
    let (before, after) = (verdicts(a), verdicts(b));
    let all: BTreeSet<Bdf> = before.keys().chain(after.keys()).copied().collect();
    all.into_iter()
        .filter_map(|bdf| {
            let (old, new) = (before.get(&bdf), after.get(&bdf));
            let (one, other) = (side(a, old), side(b, new));
            let key = |side: &Option<DeviceSide>, device: Option<&DeviceVerdict>| {
                let side = side.clone()?;
                Some((side.id, side.judgement.verdict, side.judgement.blocked_by, causes(device?)))
            };
            (key(&one, old) != key(&other, new)).then(|| DeviceChange {
                bdf,
                change: Kind::of(old.is_some(), new.is_some(), false),
                before: one,
                after: other,
            })
        })
        .collect()
}

/// What holds a device, whichever block it comes from.
fn causes(device: &DeviceVerdict) -> BTreeSet<(CauseKind, u64, u64)> {
    device.causes.iter().map(|cause| (cause.kind, cause.start, cause.end)).collect()
}

fn side(model: &Known, device: Option<&DeviceVerdict>) -> Option<DeviceSide> {
    let device = device?;
    let id = |function: &PciFunction| {
        let (vendor, device) = (function.vendor.value()?, function.device.value()?);
        Some(format!("{vendor:04x}:{device:04x}"))
    };
    Some(DeviceSide {
        id: model.function(device.bdf).and_then(id),
        group: device.group,
        judgement: Judgement::from(device),
    })
}

#[cfg(test)]
mod tests;
