//! What must be told of a cell, from the kernel's calls, files and log and from the firmware that
//! was put in; never from the tool.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cells::{Boot, Case, Cell, Machine, Path, Run};
use super::guest::Seen;
use crate::oracle;

/// What the kernel writes when it refuses a device.
const REFUSAL: &str = ": Firmware has requested this device have a 1:1 IOMMU mapping";
/// What VFIO's container writes where interrupts are not remapped.
const NO_REMAPPING: &str = "No interrupt remapping support";

/// What is to be told of an attempt, by the names of the tool's document.
pub(super) type Facts = BTreeMap<&'static str, Value>;

/// What the kernel did in this cell; an error where that is not what the cell is meant to be.
pub(super) fn of(boot: &Boot, run: &Run, cell: Cell, seen: &Seen<'_>) -> Result<Facts, String> {
    let blocks = boot.blocks();
    let last = seen.last_call();
    let errno = last.rsplit_once("= -1 ").map(|(_, errno)| errno);
    let refused: Vec<&str> = seen
        .log
        .iter()
        .filter_map(|line| line.split_once(REFUSAL))
        .map(|(front, _)| front.rsplit(' ').next().unwrap())
        .collect();
    let covered = |bdf: &&str| blocks.iter().any(|block| block.covers(oracle::devid(bdf)));
    let required: Vec<&str> = seen.members.keys().copied().filter(covered).collect();
    // A port takes care of its own mappings: its driver does not hold the group.
    let host_drivers: Vec<Value> = seen
        .members
        .iter()
        .filter(|(_, driver)| !["", "vfio-pci", "pcieport"].contains(driver))
        .map(|(bdf, driver)| json!([bdf, driver]))
        .collect();

    let no_holder = seen.holder.is_none();
    let not_permitted = errno == Some("EPERM") || last.ends_with("not viable");
    let remapped = !matches!(boot.machine, Machine::NoRemapping | Machine::NoRemappingAllowed);
    let by_iommufd = matches!(cell.path, Path::Compat | Path::Cdev);
    let reason = if !refused.is_empty() {
        "firmware_direct_map"
    } else if seen.logged(NO_REMAPPING).is_some() {
        "msi_not_isolated"
    } else if !no_holder && errno.is_some() {
        "owned_by_another"
    } else if not_permitted && !host_drivers.is_empty() {
        "group_not_viable"
    } else if cell.case == Case::Vanish && seen.gone && errno == Some("ENODEV") {
        "device_vanished"
    } else if matches!(
        (cell.case, errno),
        (Case::Conflict, Some("EADDRINUSE")) | (Case::ConflictWith(..), Some("EINVAL"))
    ) {
        "reserved_region_conflict"
    } else if cell.case == Case::NoIommu && failed_probe(seen).is_some() {
        "no_iommu"
    } else if cell.case == Case::Noiommu && errno.is_none() && seen.status == 0 {
        "noiommu"
    } else if errno == Some("EPERM") && by_iommufd && !remapped {
        // iommufd says nothing of it in the log.
        "msi_not_isolated"
    } else if seen.status == 0 {
        "attached"
    } else {
        return Err(format!("no truth in {:?} and {:?}", seen.calls, seen.log));
    };
    check_firmware(boot, seen, reason, &refused)?;

    let outcome = match reason {
        "firmware_direct_map" => "rejected",
        "attached" | "noiommu" => "attached",
        _ => "failed",
    };
    let blocks_of = |bdf: &str| -> Vec<usize> {
        (0..blocks.len()).filter(|index| blocks[*index].covers(oracle::devid(bdf))).collect()
    };
    let rejections: Vec<Value> = refused.iter().map(|bdf| json!([bdf, blocks_of(bdf)])).collect();
    // These are found before the claim that firmware would stop.
    let hides = match reason {
        "group_not_viable" => true,
        "msi_not_isolated" => by_iommufd,
        _ => false,
    };
    let hidden: Vec<Value> = if hides && boot.refuses() && !required.is_empty() {
        vec![json!(["firmware_direct_map", required])]
    } else {
        Vec::new()
    };
    let not_viable = reason == "group_not_viable";
    let owner = seen.holder.filter(|_| reason == "owned_by_another");
    let mut facts = Facts::from([
        ("outcome", json!(outcome)),
        ("reason", if reason == "attached" { Value::Null } else { json!(reason) }),
        ("errno", json!(failed_probe(seen).or(errno))),
        ("requested", json!(cell.device)),
        // The group that VFIO makes for a device without IOMMU is none of an IOMMU.
        ("group", json!(seen.group.filter(|_| boot.machine != Machine::NoIommu))),
        ("rejections", json!(rejections)),
        ("host_drivers", json!(if not_viable { host_drivers } else { Vec::new() })),
        ("owned_by", json!(owner)),
        ("also", json!(hidden)),
        ("evidence", if reason == "attached" { Value::Null } else { json!(evidence(run, reason)) }),
    ]);
    // Whichever of several was refused, nothing says it but what was taken away.
    if facts["evidence"] == "inference" && required.len() > 1 {
        facts.insert("rejections", json!([]));
    }
    Ok(facts)
}

/// The kernel against the firmware: both must be as the kernel's rules have it.
fn check_firmware(
    boot: &Boot,
    seen: &Seen<'_>,
    reason: &str,
    refused: &[&str],
) -> Result<(), String> {
    if !["firmware_direct_map", "attached"].contains(&reason) {
        return Ok(());
    }
    let members: Vec<&str> = seen.members.keys().copied().collect();
    let blocker = blocker(boot, &members);
    let named: Vec<&str> = blocker.iter().map(|(bdf, _)| *bdf).collect();
    if refused == named && (seen.status == 1) == blocker.is_some() {
        Ok(())
    } else {
        Err(format!("the firmware stops {named:?}, and the kernel {refused:?}: {:?}", seen.calls))
    }
}

/// Whether the firmware stops a group with these members on this kernel: the member that does, and
/// the numbers of the blocks.
pub(super) fn blocker<'a>(boot: &Boot, members: &[&'a str]) -> Option<(&'a str, Vec<usize>)> {
    oracle::blocker(&boot.blocks(), members).filter(|_| boot.refuses())
}

/// What the kernel does not show the tool in this cell, so that it may be left open; another value
/// than the true one is wrong all the same.
pub(super) fn not_shown(
    run: &Run,
    cell: Cell,
    seen: &Seen<'_>,
    facts: &Facts,
) -> &'static [&'static str] {
    let reason = facts["reason"].as_str().unwrap_or_default();
    let stopped = cell.path == Path::Status && reason == "group_not_viable";
    let owned = reason == "owned_by_another";
    match seen.last_call() {
        // VFIO turns the process away before any function that names a device is called.
        "VFIO_DEVICE_BIND_IOMMUFD = -1 EBUSY" => &["requested", "group", "owned_by"],
        // The same, and there are others who get this errno there.
        "VFIO_DEVICE_BIND_IOMMUFD = -1 EINVAL" if owned => &["requested", "group", "owned_by"],
        // Which process had it before the trace began shows only in files, where it does.
        _ if owned && run.held.is_some() => &["requested", "owned_by"],
        // The command line, which names the device, is read when the group is claimed.
        _ if stopped || owned || reason == "device_vanished" => &["requested"],
        _ if run.leave_out.contains(&"iommu_group_claim_dma_owner") => &["requested"],
        _ => &[],
    }
}

/// The errno with which vfio-pci did not take a device, from the kernel's log.
fn failed_probe(seen: &Seen<'_>) -> Option<&'static str> {
    let line = seen
        .log
        .iter()
        .find(|line| line.contains("probe") && line.contains("failed with error"))?;
    match line.rsplit(' ').next().unwrap().trim() {
        "-22" => Some("EINVAL"),
        other => panic!("vfio-pci's probe failed with {other}"),
    }
}

/// On what a reason must be said to rest, with what the tool was left.
fn evidence(run: &Run, reason: &str) -> &'static str {
    let without = |what| run.leave_out.contains(&what);
    if reason != "firmware_direct_map" || !without("__iommu_device_set_domain") {
        "call"
    } else if !without("_dev_warn") {
        "warning"
    } else if !without("console") {
        "log"
    } else {
        "inference"
    }
}
