//! Which device of a group a process wants.
//!
//! On the group path the kernel is told only the group, so this is found out from what else is known
//! of the process.

use crate::{
    command_line::{Hostdev, addresses},
    host::{Member, Snapshot},
    pci::Bdf,
};

/// How a device is known that the process named in the request for it.
pub(super) const FROM_DEVICE_FD: &str = "VFIO_GROUP_GET_DEVICE_FD";

/// How it is known where the claim is on a device.
pub(super) const FROM_CLAIM: &str = "the claim";
const FROM_COMMAND_LINE: &str = "the command line of the process";
const FROM_GROUP: &str = "the only device of the group";

/// How sure a way is to know the device; 0 where there is none.
pub(super) fn rank(from: Option<&str>) -> u8 {
    match from {
        None => 0,
        Some(FROM_GROUP) => 1,
        Some(FROM_COMMAND_LINE) => 2,
        Some(_) => 3,
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
) -> (Option<Bdf>, Option<&'static str>) {
    if let Some(bdf) = named.and_then(device_address) {
        return (Some(bdf), Some(FROM_DEVICE_FD));
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
        return (Some(bdf), Some(FROM_COMMAND_LINE));
    }
    let is_bridge = |bdf: &Bdf| {
        let functions = host.functions.value().into_iter().flatten();
        functions.filter(|one| one.bdf == *bdf).any(|one| one.is_bridge() == Some(true))
    };
    let mut endpoints = members.iter().filter(|bdf| !is_bridge(bdf));
    match (endpoints.next(), endpoints.next()) {
        (Some(only), None) => (Some(*only), Some(FROM_GROUP)),
        _ => (None, None),
    }
}
