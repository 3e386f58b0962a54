//! Functions in no IOMMU group: what that says of them, and why no IOMMU serves them.
//!
//! VFIO refuses them whatever firmware asks for: `vfio_group_find_or_alloc` (drivers/vfio/group.c,
//! from 6.2; vfio.c before) answers EINVAL where there is no group.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

use super::known::Known;
use crate::{
    firmware::TableName,
    host::{PciFunction, Reading},
    pci::{Bdf, Segment},
};

/// Ranges and scopes that are named one by one.
pub(super) const NAMED: usize = 16;
/// What follows for such a function.
pub(crate) const EFFECT: &str = "without an IOMMU group there is no /dev/vfio/N for a device, and \
                                 vfio-pci fails to bind it with EINVAL. No 1:1 map is involved.";

/// Why no IOMMU serves a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NoIommu {
    /// It is an IOMMU itself.
    Iommu,
    /// It is a host bridge, to which many tables give none.
    HostBridge,
    /// No function of the host has a group.
    Inactive,
    /// No IOMMU of the table is for its segment.
    Segment(TableName, Segment),
    /// No device entry of the IVRS reaches its bus.
    Bus(Covered),
    /// Device entries of the IVRS reach its bus, but not the function.
    Devid(Covered),
    /// No DRHD of the DMAR names it or a bridge above it, and none is for the whole segment.
    Scopes {
        /// Its segment.
        segment: Segment,
        /// What the DRHDs of the segment name instead.
        named: Vec<String>,
        /// How many scopes there are besides.
        more: usize,
    },
    /// The table gives it an IOMMU, but Linux gave it no group.
    NotAttached(TableName),
    /// The table does not tell, or was not read.
    Untold(Option<TableName>),
}

/// What the device entries of a segment of the IVRS reach.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Covered {
    /// First and last function of each range.
    pub ranges: Vec<(Bdf, Bdf)>,
    /// How many ranges there are besides.
    pub more: usize,
    /// The last bus that they reach below the function's, where they reach none above it.
    pub last_bus: Option<u8>,
}

impl NoIommu {
    /// Whether nobody passes such a function to a virtual machine, so that it is no news.
    #[must_use]
    pub fn is_platform(&self) -> bool {
        matches!(self, Self::Iommu | Self::HostBridge)
    }
}

/// In words. Nothing else phrases it.
impl NoIommu {
    /// Why, as sentences about functions that have the reason in common.
    #[must_use]
    pub fn why(&self, functions: &[Bdf]) -> String {
        match self {
            Self::Iommu => "It is an IOMMU itself.".to_owned(),
            Self::HostBridge => "It is a host bridge, and the table gives it no IOMMU.".to_owned(),
            Self::Inactive => {
                "This host has no IOMMU group: its IOMMU is absent or switched off.".to_owned()
            }
            Self::Segment(table, segment) => {
                format!("No IOMMU of the {table} is for PCI segment {segment}.")
            }
            Self::Bus(covered) => {
                let buses = buses(functions);
                format!("No device entry of the IVRS reaches {buses}. {covered}")
            }
            Self::Devid(covered) => {
                format!("No device entry of the IVRS reaches {}. {covered}", them(functions))
            }
            Self::Scopes { segment, named, more } => format!(
                "No DRHD of the DMAR names {} or a bridge above, and none is for all of segment \
                 {segment}. Its DRHDs name {}{}.",
                them(functions),
                if named.is_empty() { "no PCI function".to_owned() } else { named.join(", ") },
                and_more(*more)
            ),
            Self::NotAttached(table) => format!(
                "The {table} gives {} an IOMMU, but Linux made no group. The kernel's log may say \
                 why: `dmesg | grep -i iommu`.",
                them(functions)
            ),
            Self::Untold(Some(table)) => {
                format!("Linux made no group. The {table} does not tell why, or was not read.")
            }
            Self::Untold(None) => {
                "Linux made no group. The table that would tell why is not read here.".to_owned()
            }
        }
    }

    /// What may help.
    #[must_use]
    pub fn may_help(&self) -> Option<&'static str> {
        let lacks =
            matches!(self, Self::Segment(..) | Self::Bus(_) | Self::Devid(_) | Self::Scopes { .. });
        lacks.then_some(
            "another slot, if its bus is one that the table covers; a newer BIOS, since only the \
             board's vendor can add the IOMMU that the table lacks.",
        )
    }
}

impl fmt::Display for Covered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(first, last): &(Bdf, Bdf)| {
            if first == last {
                first.devid.to_string()
            } else {
                format!("{} to {}", first.devid, last.devid)
            }
        };
        let segment = self.ranges.first().map(|(first, _)| first.segment).unwrap_or_default();
        let ranges: Vec<String> = self.ranges.iter().map(range).collect();
        let (ranges, more) = (ranges.join(", "), and_more(self.more));
        write!(f, "The entries of segment {segment} cover {ranges}{more}")?;
        match self.last_bus {
            Some(last) => write!(f, "; bus {last:02x} is the last."),
            None => f.write_str("."),
        }
    }
}

fn and_more(more: usize) -> String {
    if more == 0 { String::new() } else { format!(" and {more} more") }
}

fn them(functions: &[Bdf]) -> String {
    match functions {
        [] => "it".to_owned(),
        [one] => one.to_string(),
        _ => "them".to_owned(),
    }
}

/// `bus 43`, `buses 40, 41, 43`.
fn buses(functions: &[Bdf]) -> String {
    let buses: BTreeSet<u8> = functions.iter().map(|bdf| bdf.devid.bus()).collect();
    let names: Vec<String> = buses.iter().map(|bus| format!("{bus:02x}")).collect();
    format!("bus{} {}", if names.len() == 1 { "" } else { "es" }, names.join(", "))
}

/// Why no IOMMU serves a function that no group lists; what evidence is missing, where that may be
/// for want of a copy.
pub(super) fn why(model: &Known, function: &PciFunction) -> Result<NoIommu, String> {
    if function.is_iommu() {
        return Ok(NoIommu::Iommu);
    }
    match (&function.group, &function.iommu) {
        (Reading::Read(id), _) => {
            return Err(format!("whether group {id} has it, which its iommu_group link names"));
        }
        (Reading::Unreadable(why), _) => return Err(why.clone()),
        (Reading::Absent, Reading::Read(unit)) => {
            return Err(format!("its IOMMU group: {unit} serves it, but no group lists it"));
        }
        (Reading::Absent, Reading::Absent | Reading::Unreadable(_)) => {}
    }
    if let Reading::Unreadable(why) = &model.host().groups {
        return Err(format!("which functions are in IOMMU groups ({why})"));
    }
    if let Some(group) = model.groups().find(|group| group.members.value().is_none()) {
        return Err(format!("whether it is in group {}, whose members are not known", group.id));
    }
    if model.groups().next().is_none() {
        return Ok(NoIommu::Inactive);
    }
    match (model.unserved(function), function.class.value()) {
        (NoIommu::Iommu, _) => Ok(NoIommu::Iommu),
        (_, Some(class)) if class >> 8 == 0x0600 => Ok(NoIommu::HostBridge),
        (why, Some(_)) => Ok(why),
        (_, None) => {
            Err("its class, which tells a device from an IOMMU and a host bridge".to_owned())
        }
    }
}
