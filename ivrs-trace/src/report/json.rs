//! The JSON documents of `check`, `run`, `what-if` and `diff`, and the lines of `events`. Numbers of
//! firmware and memory are hex strings, but numbers in `events`; PCI addresses are `0000:01:00.0`.

use serde::Serialize;

use crate::{
    command_line::Hostdev,
    errno::Errno,
    event::Event,
    facts::Lost,
    model::{
        Attempt, Call, Cause, Change, DriverChange, Evidence, Finding, Further, GroupVerdict,
        HostDriver, Model, Outcome, Owner, Process, Reason, RequestedFrom, RequireDirect,
        RmrrCoverage, Verdict, Verdicts, Via, WhatIf, diff::Diff, what_if::DeviceEffect,
    },
    pci::{Bdf, Devid, Segment},
};

/// What `check --json` prints: which devices the kernel refuses for a 1:1 map, and why.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/check/1")))]
    pub schema: &'static str,
    /// The kernel.
    pub kernel: Kernel,
    /// A verdict a device.
    pub devices: Vec<Device>,
    /// A verdict a group.
    pub groups: Vec<GroupVerdict>,
    /// The reach of each IVMD block that the kernel heeds.
    pub entries: Vec<Entry>,
    /// The reach of each RMRR, on a host with Intel's IOMMU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rmrr: Vec<RmrrEntry>,
    /// The rest.
    pub findings: Vec<Finding>,
}

/// The kernel.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Kernel {
    /// `uname -r`, if it could be read.
    pub release: Option<String>,
    /// Whether it refuses devices with direct regions; null where that is not known.
    pub require_direct: Option<bool>,
    /// The options of its command line that bear on the IOMMU and VFIO.
    pub options: Vec<String>,
}

/// A verdict.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Device {
    /// The device.
    pub bdf: Bdf,
    /// Its segment.
    pub segment: Segment,
    /// Its devid.
    pub devid: Devid,
    /// The devid that the IVRS says its requests carry, where that is another.
    pub alias: Option<Devid>,
    /// Its group.
    pub group: u32,
    /// The driver that holds it.
    pub driver: Option<String>,
    /// The IOMMU that serves it.
    pub iommu: Option<String>,
    /// The answer.
    pub verdict: Verdict,
    /// What holds the device that stops it.
    pub causes: Vec<Cause>,
    /// The group member that stops it, where that is another device.
    pub blocked_by: Option<String>,
    /// The evidence that is missing, where the verdict is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// The reach of an IVMD block.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Entry {
    /// Index of the block.
    pub ivmd: usize,
    /// The devices that it covers.
    pub devices: Vec<Bdf>,
    /// Their groups.
    pub groups: Vec<u32>,
    /// For whom the block is likely meant; empty where the table names nobody.
    pub owners: Vec<Owner>,
    /// The devices that are merely covered where others are the likely owners.
    pub caught: Vec<Bdf>,
}

/// The reach of an RMRR.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RmrrEntry {
    /// Index of the RMRR structure.
    pub rmrr: usize,
    /// Its offset in the DMAR.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Hex>"))]
    pub offset: Option<String>,
    /// Its device scopes: what each names, then bus and path.
    pub scopes: Vec<String>,
    /// The devices that it applies to and that are refused for it.
    pub devices: Vec<Bdf>,
    /// Those that it applies to and that are not: USB controllers and display devices.
    pub relaxable: Vec<Bdf>,
    /// The groups of `devices`.
    pub groups: Vec<u32>,
}

/// What `run --json` prints: the attempts to take a device while the command ran.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Run {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/run/1")))]
    pub schema: &'static str,
    /// The attempts, in the order in which they began.
    pub attempts: Vec<RunAttempt>,
    /// Attempts that came before those and were dropped, because there were too many.
    pub attempts_dropped: u64,
    /// What did not arrive.
    pub lost: Lost,
    /// Exit status of the command; 128 and the signal's number if a signal ended it. Null for a
    /// recording without a command, or of which the end is missing.
    pub exit_status: Option<i32>,
}

/// An attempt.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunAttempt {
    /// The process.
    pub process: Process,
    /// When it began, `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// By which way.
    pub via: Via,
    /// The call that the process made.
    pub call: String,
    /// The device that was asked for.
    pub requested: Option<Bdf>,
    /// How that is known.
    pub requested_from: Option<&'static str>,
    /// The device as it was handed to QEMU, where its command line names the one that was asked for.
    pub hostdev: Option<Hostdev>,
    /// The group.
    pub group: Option<u32>,
    /// How the devices of the group came to their drivers before, as far as that was seen: who took
    /// them from a driver of the host and when vfio-pci got them.
    pub driver_changes: Vec<DriverChange>,
    /// The error that the call ended with, by name.
    pub errno: Option<Errno>,
    /// What came of it.
    pub outcome: Outcome,
    /// The devices that the kernel refused.
    pub rejections: Vec<RunRejection>,
    /// Why it failed. `noiommu` also stands with a success.
    pub reason: Option<Reason>,
    /// On what the reason rests; null where there is none, or none is known.
    pub evidence: Option<Evidence>,
    /// What was seen that gives the reason, one fact a line.
    pub facts: Vec<String>,
    /// The drivers of the host that keep the group from being taken: `group_not_viable`.
    pub host_drivers: Vec<HostDriver>,
    /// The process that has the group, if that was seen: `owned_by_another`.
    pub owned_by: Option<Process>,
    /// Further reasons that would stop it, and that this one hides.
    pub also: Vec<Further>,
    /// The calls that were seen, in the order in which they returned.
    pub calls: Vec<Call>,
    /// How QEMU words this failure on its standard error, after its own name and argument. More than
    /// one text where its versions differ; an ellipsis stands for a number that differs from run to
    /// run. Empty where the process is no QEMU or nothing failed.
    pub qemu_prints: Vec<String>,
}

/// A refused device.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RunRejection {
    /// The device, by address, or by name if it is no PCI function.
    pub bdf: String,
    /// The driver that holds it.
    pub driver: Option<String>,
    /// On what the refusal is known.
    pub evidence: Evidence,
    /// What holds it.
    pub causes: Vec<Cause>,
}

/// What `what-if --json` prints: the verdicts of a host if its firmware or a slot were otherwise.
/// Both sides are judged from the table alone, as by a kernel that refuses.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhatIfDocument<'a> {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/what-if/1")))]
    pub schema: &'static str,
    /// What is otherwise.
    pub changes: &'a [Change],
    /// Every device that is in a group, before and after.
    pub devices: &'a [DeviceEffect],
    /// What a reader should know about the answer.
    pub notices: &'a [String],
}

/// What `diff --json` prints: how two tables or hosts differ.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DiffDocument<'a> {
    /// Name and version of this layout.
    #[cfg_attr(feature = "schema", schemars(extend("const" = "ivrs-trace/diff/1")))]
    pub schema: &'static str,
    /// Whether nothing differs.
    pub equal: bool,
    /// All that differs.
    #[serde(flatten)]
    pub diff: &'a Diff,
}

/// A line of what `events --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventLine<'a> {
    /// The event's number in this run, in the order of arrival.
    pub number: u64,
    /// The event.
    #[serde(flatten)]
    pub event: &'a Event,
}

/// The document of `check`.
#[must_use]
pub fn check(model: &Model, verdicts: Verdicts) -> Check {
    let release = model.host().kernel_release.value();
    Check {
        schema: "ivrs-trace/check/1",
        kernel: Kernel {
            release: release.map(|text| crate::escape::printable(text)),
            require_direct: match model.require_direct() {
                RequireDirect::Present => Some(true),
                RequireDirect::Missing => Some(false),
                RequireDirect::Unknown => None,
            },
            options: model.iommu_options(),
        },
        devices: verdicts
            .devices
            .into_iter()
            .map(|device| Device {
                bdf: device.bdf,
                segment: device.bdf.segment,
                devid: device.bdf.devid,
                alias: model.alias(device.bdf),
                group: device.group,
                driver: device.driver,
                iommu: device.iommu,
                verdict: device.verdict,
                causes: device.causes,
                blocked_by: device.blocked_by,
                missing: device.missing,
            })
            .collect(),
        groups: verdicts.groups,
        entries: verdicts
            .entries
            .into_iter()
            .map(|entry| Entry {
                ivmd: entry.ivmd,
                caught: entry.caught().collect(),
                owners: entry.owners,
                devices: entry.coverage.devices,
                groups: entry.coverage.groups.into_iter().collect(),
            })
            .collect(),
        rmrr: verdicts.rmrrs.into_iter().map(|one| rmrr(model, one)).collect(),
        findings: verdicts.findings,
    }
}

fn rmrr(model: &Model, one: RmrrCoverage) -> RmrrEntry {
    let structure = model.rmrr(one.rmrr);
    RmrrEntry {
        rmrr: one.rmrr,
        offset: structure.map(|rmrr| format!("{:#x}", rmrr.offset)),
        scopes: structure
            .into_iter()
            .flat_map(|rmrr| rmrr.scopes.iter().map(ToString::to_string))
            .collect(),
        devices: one.devices,
        relaxable: one.relaxable,
        groups: one.groups.into_iter().collect(),
    }
}

/// The document of `run`.
#[must_use]
pub fn run(model: &Model, lost: Lost, exit_status: Option<i32>) -> Run {
    Run {
        schema: "ivrs-trace/run/1",
        attempts: model.attempts().iter().map(|attempt| of_attempt(model, attempt)).collect(),
        attempts_dropped: model.attempts_dropped(),
        lost,
        exit_status,
    }
}

fn of_attempt(model: &Model, attempt: &Attempt) -> RunAttempt {
    RunAttempt {
        process: attempt.process.clone(),
        time_ns: attempt.time_ns,
        via: attempt.via,
        call: attempt.call.clone(),
        requested: attempt.requested,
        requested_from: attempt.requested_from.map(RequestedFrom::name),
        hostdev: attempt.hostdev.clone(),
        group: attempt.group,
        driver_changes: attempt.driver_changes.clone(),
        errno: attempt.errno,
        outcome: attempt.outcome,
        rejections: attempt
            .rejections
            .iter()
            .map(|rejection| RunRejection {
                bdf: rejection.device.name.clone(),
                driver: (!rejection.driver.is_empty()).then(|| rejection.driver.clone()),
                evidence: rejection.evidence,
                causes: model.causes(rejection),
            })
            .collect(),
        reason: attempt.reason,
        evidence: attempt.evidence,
        facts: attempt.facts.clone(),
        host_drivers: attempt.host_drivers.clone(),
        owned_by: attempt.owned_by.clone(),
        also: attempt.also.clone(),
        calls: attempt.calls.clone(),
        qemu_prints: attempt.qemu_prints(),
    }
}

/// The document of `what-if`.
#[must_use]
pub fn what_if(answer: &WhatIf) -> WhatIfDocument<'_> {
    WhatIfDocument {
        schema: "ivrs-trace/what-if/1",
        changes: &answer.changes,
        devices: &answer.devices,
        notices: &answer.notices,
    }
}

/// The document of `diff`.
#[must_use]
pub fn diff(diff: &Diff) -> DiffDocument<'_> {
    DiffDocument { schema: "ivrs-trace/diff/1", equal: diff.is_empty(), diff }
}
