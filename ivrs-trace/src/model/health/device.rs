//! What stops one device: firmware, its group, and what it is in use for.

use std::collections::BTreeSet;

use super::{Line, State};
use crate::{
    escape::printable,
    host::{Conditions, Disk, Interface, Member, PciFunction, Reading},
    model::{Known, Verdict, Verdicts, WITHOUT_IOMMU_GROUP, attempt::manages_dma},
    pci::Bdf,
};

/// How deep devices lie on each other at most: a file system on LVM on RAID on partitions.
const DEPTH: usize = 16;
/// Mounted file systems that are named one by one at most.
const AT_MOST: usize = 8;

pub(super) fn lines(
    model: &Known,
    verdicts: &Verdicts,
    conditions: &Conditions,
    bdf: Bdf,
) -> Vec<Line> {
    let mut lines = Vec::new();
    lines.extend(firmware(verdicts, bdf));
    lines.extend(no_iommu(verdicts, bdf).or_else(|| group(model, bdf)));
    let mut used = in_use(model, conditions, bdf, bdf);
    // Who takes the device takes its group.
    for other in others(model, bdf) {
        used.extend(in_use(model, conditions, bdf, other));
    }
    if used.is_empty() {
        used.extend(not_seen(conditions));
    }
    if used.is_empty() {
        used.push(
            Line::new("device-use", State::Ok, "nothing was found that it is in use for").from(
                "no mounted file system, swap, interface with an address, or console is on it",
            ),
        );
    }
    lines.extend(used);
    lines
}

/// What was not read that would show a use.
fn not_seen(conditions: &Conditions) -> Option<Line> {
    fn why<T>(path: &str, reading: &Reading<T>) -> Option<String> {
        match reading {
            Reading::Read(_) => None,
            Reading::Absent => Some(format!("{path}: is not there")),
            Reading::Unreadable(why) => Some(why.clone()),
        }
    }
    let whys = [
        why("/sys/class/block", &conditions.disks),
        why("/proc/self/mountinfo", &conditions.mounts),
        why("/proc/swaps", &conditions.swaps),
        why("/sys/class/net", &conditions.interfaces),
    ];
    let line =
        Line::new("device-use", State::Unknown, "what it is in use for could not all be seen");
    let line = whys.into_iter().flatten().fold(line, Line::from);
    (!line.evidence.is_empty()).then_some(line)
}

fn firmware(verdicts: &Verdicts, bdf: Bdf) -> Option<Line> {
    let device = verdicts.devices.iter().find(|device| device.bdf == bdf)?;
    let code = "device-firmware";
    Some(match device.verdict {
        Verdict::Blocked => {
            let by = match &device.blocked_by {
                Some(other) => format!("firmware blocks it, by {other} in its group"),
                None => "firmware blocks it".to_owned(),
            };
            let line =
                device.causes.iter().take(4).fold(Line::new(code, State::No, by), |line, cause| {
                    let entry = match (cause.ivmd(), cause.rmrr()) {
                        (Some(index), _) => format!("IVMD {index} of the IVRS"),
                        (None, Some(index)) => format!("RMRR {index} of the DMAR"),
                        (None, None) => "a direct region".to_owned(),
                    };
                    line.from(format!("{entry}: {:#x} to {:#x}", cause.start, cause.end))
                });
            line.then(format!("`ivrs-trace check {bdf}` says why, and what may help"))
        }
        Verdict::Clear => Line::new(code, State::Ok, "firmware does not block it"),
        Verdict::Unknown => {
            let line = Line::new(code, State::Unknown, "whether firmware blocks it is not known");
            device.missing.iter().cloned().fold(line, Line::from)
        }
        // Told with its group.
        Verdict::NoIommu | Verdict::Platform => return None,
    })
}

/// The PCI functions of its group, itself and bridges left out.
pub(super) fn others(model: &Known, bdf: Bdf) -> Vec<Bdf> {
    let group = model.function(bdf).and_then(|function| function.group.value().copied());
    let members = group.and_then(|id| model.group(id)).and_then(|group| group.members.value());
    let function = |member: &Member| match member {
        Member::Pci(other) if *other != bdf => Some(*other),
        _ => None,
    };
    let functions = members.into_iter().flatten().filter_map(function);
    functions
        .filter(|other| model.function(*other).and_then(PciFunction::is_bridge) != Some(true))
        .collect()
}

/// A function that no IOMMU serves.
fn no_iommu(verdicts: &Verdicts, bdf: Bdf) -> Option<Line> {
    let device = verdicts.devices.iter().find(|device| device.bdf == bdf)?;
    let why = device.no_iommu.as_ref()?;
    let message = format!("no IOMMU serves it, so VFIO cannot claim it: {WITHOUT_IOMMU_GROUP}");
    let line = Line::new("device-group", State::No, message)
        .from(why.why(&[bdf]))
        .from(format!("/sys/bus/pci/devices/{bdf}/iommu_group is not there"));
    Some(why.may_help().into_iter().fold(line, Line::then))
}

/// Functions without a known group that are named.
const MOST_LOST: usize = 4;

/// A function of the group whose driver does its own DMA makes the group not viable. So does a
/// bridge's, but for pcieport.
fn group(model: &Known, bdf: Bdf) -> Option<Line> {
    let code = "device-group";
    let group = &model.function(bdf)?.group;
    if let Reading::Unreadable(why) = group {
        let line = Line::new(code, State::Unknown, "which IOMMU group it is in is not known");
        return Some(line.from(why.clone()));
    }
    let Some(id) = model.function(bdf)?.group.value() else {
        return Some(Line::new(code, State::Unknown, "which IOMMU group it is in is not known"));
    };
    let found = model.group(*id)?;
    let members = match &found.members {
        Reading::Read(members) if found.lists_members() => members,
        Reading::Read(_) => {
            let line =
                Line::new(code, State::Unknown, format!("who is in its group {id} is not known"));
            return Some(line.from(format!("sys/kernel/iommu_groups/{id}/devices was not read")));
        }
        Reading::Absent => return None,
        Reading::Unreadable(why) => {
            let line =
                Line::new(code, State::Unknown, format!("who is in its group {id} is not known"));
            return Some(line.from(why.clone()));
        }
    };
    let path = format!("/sys/kernel/iommu_groups/{id}/devices");
    let (mut holders, mut unknown) = (Vec::new(), Vec::new());
    for member in members {
        match member {
            Member::Pci(other) if *other == bdf => {}
            Member::Pci(other) => match model.function(*other).map(|function| &function.driver) {
                Some(Reading::Read(driver)) if !manages_dma(driver) => {
                    holders.push(format!("{other} (driver {driver})"));
                }
                Some(Reading::Read(_) | Reading::Absent) => {}
                Some(Reading::Unreadable(_)) | None => unknown.push(other.to_string()),
            },
            Member::Other(name) => unknown.push(name.clone()),
        }
    }
    // A function whose group is lost may be of this one.
    let lost = model.functions().filter(|one| matches!(one.group, Reading::Unreadable(_)));
    let lost = lost.filter(|one| one.is_bridge() != Some(true)).take(MOST_LOST);
    unknown.extend(lost.map(|one| format!("{}, whose group is not known", one.bdf)));
    Some(if !holders.is_empty() {
        let line = Line::new(
            code,
            State::No,
            printable(&format!(
                "its group {id} is not viable while drivers of the host hold the rest of it: {}",
                holders.join(", ")
            )),
        );
        line.from(format!("{path} and the drivers of its functions")).then(
            "give these to the machine as well, or bind them to vfio-pci; unbind what is left",
        )
    } else if unknown.is_empty() {
        let count = members.len();
        let message = if count == 1 {
            format!("it is alone in its group {id}")
        } else {
            format!("no driver of the host holds another of the {count} devices in its group {id}")
        };
        Line::new(code, State::Ok, message).from(path)
    } else {
        let message = format!("who holds the rest of its group {id} is not known");
        Line::new(code, State::Unknown, message).from(format!("{path}: {}", unknown.join("; ")))
    })
}

/// What a function is in use for, told of a device in whose group it is.
fn in_use(model: &Known, conditions: &Conditions, bdf: Bdf, function: Bdf) -> Vec<Line> {
    let who = if bdf == function { "it".to_owned() } else { format!("{function} of its group") };
    let mut lines = Vec::new();
    lines.extend(storage(conditions, function, &who));
    lines.extend(network(conditions, function, &who));
    if conditions.boot_vga.contains(&function) {
        lines.push(
            Line::new(
                "device-console",
                State::Warning,
                format!("the firmware showed the boot on {who}: it may be the only display"),
            )
            .from(format!("/sys/bus/pci/devices/{function}/boot_vga: 1"))
            .then("see that the host can be reached without it, by ssh say"),
        );
    }
    let framebuffers = conditions.framebuffers.iter().filter(|(_, owner)| *owner == function);
    for (name, _) in framebuffers {
        let driver = model.function(function).and_then(|function| function.driver.value());
        let driver = driver.map_or("a driver", String::as_str);
        lines.push(
            Line::new(
                "device-console",
                State::Warning,
                printable(&format!("a console of the host is on {who}, through {driver}")),
            )
            .from(format!("/sys/class/graphics/{name}"))
            .then("stop what shows something there (the display manager) before it is taken away"),
        );
    }
    lines
}

fn storage(conditions: &Conditions, function: Bdf, who: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let Reading::Read(disks) = &conditions.disks else { return lines };
    let reached = |name: &str| reaches(disks, name, function, DEPTH);
    let mut places = Vec::new();
    let mut evidence = Vec::new();
    for mount in conditions.mounts.value().into_iter().flatten() {
        let disk = disks
            .iter()
            .find(|disk| disk.number.value() == Some(&mount.number))
            .or_else(|| by_path(disks, &mount.source));
        if let Some(disk) = disk.filter(|disk| reached(&disk.name)) {
            places.push(mount.place.as_str());
            evidence.push(format!(
                "/proc/self/mountinfo: {} on {} ({}); /sys/class/block/{} is reached through \
                 {function}",
                mount.source, mount.place, mount.kind, disk.name
            ));
        }
    }
    // Bind mounts and subvolumes can be very many.
    let more = places.len().saturating_sub(AT_MOST);
    let named = places.get(..places.len() - more).unwrap_or_default();
    if !named.is_empty() {
        let (system, them) = if places.len() == 1 {
            ("a mounted file system", "it")
        } else {
            ("mounted file systems", "them")
        };
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        let message = format!("{who} holds {system}: {}{more}", named.join(", "));
        let line = Line::new("device-storage", State::No, printable(&message));
        let line = evidence.into_iter().take(AT_MOST).fold(line, Line::from);
        lines.push(if places.contains(&"/") {
            line.then("the host runs from it: do not take it away")
        } else {
            line.then(format!("unmount {them} before the device is taken away"))
        });
    }
    for path in conditions.swaps.value().into_iter().flatten() {
        if let Some(disk) = by_path(disks, path).filter(|disk| reached(&disk.name)) {
            lines.push(
                Line::new("device-storage", State::No, format!("{who} holds swap"))
                    .from(format!("/proc/swaps: {path}"))
                    .from(format!("/sys/class/block/{} is reached through {function}", disk.name))
                    .then(printable(&format!("swapoff {path} before the device is taken away"))),
            );
        }
    }
    let zfs = conditions.mounts.value().into_iter().flatten().any(|mount| mount.kind == "zfs");
    let has_disk = disks.iter().any(|disk| disk.functions.contains(&function));
    if lines.is_empty() && zfs && has_disk {
        lines.push(
            Line::new(
                "device-storage",
                State::Unknown,
                format!("{who} has a disk, and ZFS does not show on which disks its pools are"),
            )
            .from("/proc/self/mountinfo: zfs")
            .then("zpool status -P"),
        );
    }
    lines
}

/// The disk that a path names.
fn by_path<'a>(disks: &'a [Disk], path: &str) -> Option<&'a Disk> {
    let name = path.strip_prefix("/dev/")?;
    let mapped = name.strip_prefix("mapper/");
    disks
        .iter()
        .find(|disk| disk.name == name || mapped.is_some() && disk.mapped.as_deref() == mapped)
}

/// Whether a block device, or one that it lies on, is reached through a function.
fn reaches(disks: &[Disk], name: &str, function: Bdf, depth: usize) -> bool {
    let Some(disk) = disks.iter().find(|disk| disk.name == name) else { return false };
    disk.functions.contains(&function)
        || depth > 0 && disk.below.iter().any(|below| reaches(disks, below, function, depth - 1))
}

fn network(conditions: &Conditions, function: Bdf, who: &str) -> Vec<Line> {
    let Some(interfaces) = conditions.interfaces.value() else { return Vec::new() };
    let own = interfaces.iter().filter(|interface| interface.function == Some(function));
    let mut lines = Vec::new();
    for interface in own {
        let above = above(interfaces, &interface.name);
        let find = |wanted: fn(&Interface) -> bool| {
            interfaces.iter().find(|one| above.contains(one.name.as_str()) && wanted(one))
        };
        let name = &interface.name;
        let through = |user: &Interface| {
            if user.name == *name { name.clone() } else { format!("{name} under {}", user.name) }
        };
        if let Some(user) = find(|one| one.default_route) {
            let message = format!("the default route leads through {who} ({})", through(user));
            lines.push(
                Line::new("device-network", State::No, printable(&message))
                    .from(format!("/proc/net/route or ipv6_route: default, {}", user.name))
                    .from(format!("/sys/class/net/{name} is {function}"))
                    .then("the network of the host goes with it: give the host another way first"),
            );
        } else if let Some(user) = find(|one| one.addressed) {
            let message =
                format!("{who} is a network interface with an address ({})", through(user));
            lines.push(
                Line::new("device-network", State::Warning, printable(&message))
                    .from(format!("/proc/net/route or ipv6_route: routes of {}", user.name))
                    .from(format!("/sys/class/net/{name} is {function}"))
                    .then("see that nothing on the host needs it, your ssh say"),
            );
        }
    }
    lines
}

/// An interface and those that lie on it.
fn above<'a>(interfaces: &'a [Interface], name: &'a str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::from([name]);
    loop {
        let before = found.len();
        let on_it = |one: &&Interface| one.below.iter().any(|below| found.contains(below.as_str()));
        let more: Vec<&str> =
            interfaces.iter().filter(on_it).map(|one| one.name.as_str()).collect();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}
