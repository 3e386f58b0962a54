//! Which device of a group a process wants.
//!
//! On the group path the kernel is told only the group, so this is found out from what else is known
//! of the process.

use crate::{
    command_line::{Hostdev, addresses},
    event::DeviceFunction,
    host::{Member, Snapshot},
    pci::Bdf,
};

/// How it is known which device a process wants, the weaker before the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestedFrom {
    /// It is the only device of the group.
    Group,
    /// The command line of the process names it.
    CommandLine,
    /// The claim is on a device.
    Claim,
    /// The device was bound to an iommufd.
    Bind,
    /// The process named it when it asked the group for the device.
    DeviceFd,
    /// It is the one that vfio-pci was to take.
    Probe,
}

impl RequestedFrom {
    /// As documents and reports call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Group => "the only device of the group",
            Self::CommandLine => "the command line of the process",
            Self::Claim => "the claim",
            Self::Bind => DeviceFunction::IommufdBind.name(),
            Self::DeviceFd => "VFIO_GROUP_GET_DEVICE_FD",
            Self::Probe => DeviceFunction::VfioPciProbe.name(),
        }
    }
}

impl std::fmt::Display for RequestedFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The address in the argument of `VFIO_GROUP_GET_DEVICE_FD`, after which a token may stand
/// (`vfio_pci_core_match`, `drivers/vfio/pci/vfio_pci_core.c`).
pub(super) fn device_address(name: &str) -> Option<Bdf> {
    name.split(' ').next()?.parse().ok()
}

/// The device that is wanted, and how that is known: the name in the request, else the first member
/// of the group that the command line hands to QEMU or names otherwise, else the only member that is
/// not a bridge.
pub(super) fn requested(
    named: Option<&str>,
    args: &[String],
    group: Option<u32>,
    host: &Snapshot,
) -> (Option<Bdf>, Option<RequestedFrom>) {
    if let Some(bdf) = named.and_then(device_address) {
        return (Some(bdf), Some(RequestedFrom::DeviceFd));
    }
    let members: Vec<Bdf> = host
        .groups
        .value()
        .into_iter()
        .flatten()
        .filter(|one| Some(one.id) == group)
        .filter_map(|one| one.members.value())
        .flatten()
        .filter_map(|member| match member {
            Member::Pci(bdf) => Some(*bdf),
            Member::Other(_) => None,
        })
        .collect();
    let handed = Hostdev::all(args).into_iter().map(|one| one.bdf);
    let mut addresses = handed.chain(args.iter().flat_map(|argument| addresses(argument)));
    if let Some(bdf) = addresses.find(|bdf| members.contains(bdf)) {
        return (Some(bdf), Some(RequestedFrom::CommandLine));
    }
    let is_bridge = |bdf: &Bdf| {
        let functions = host.functions.value().into_iter().flatten();
        functions.filter(|one| one.bdf == *bdf).any(|one| one.is_bridge() == Some(true))
    };
    let mut endpoints = members.iter().filter(|bdf| !is_bridge(bdf));
    match (endpoints.next(), endpoints.next()) {
        (Some(only), None) => (Some(*only), Some(RequestedFrom::Group)),
        _ => (None, None),
    }
}
