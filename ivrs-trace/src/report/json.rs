//! The JSON documents of `check`, `run`, `what-if` and `diff`, and the lines of `events`. Numbers of
//! firmware and memory are hex strings, but numbers in `events`; PCI addresses are `0000:01:00.0`.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::{
    command_line::Hostdev,
    errno::Errno,
    escape::printable,
    event::Event,
    facts::Lost,
    firmware::TableName,
    hex::Hex,
    model::{
        Attempt, Call, Cause, Change, DeviceVerdict, DriverChange, EntryCoverage, Evidence,
        Finding, Further, GroupVerdict, HostDriver, Model, NoIommu, Outcome, Owner, Process,
        Reason, Rejection, RequestedFrom, RequireDirect, RmrrCoverage, Verdict, Verdicts, Via,
        WhatIf, diff::Diff, what_if::DeviceEffect,
    },
    object::object,
    pci::{Bdf, Devid, Segment},
    report::cause::gap_text,
};

/// The document of `check`.
#[must_use]
pub fn check(model: &Model, verdicts: Verdicts) -> Check {
    Check::of(model, verdicts)
}

/// The document of `run`.
#[must_use]
pub fn run(model: &Model, lost: Lost, exit_status: Option<i32>) -> Run<'_> {
    Run::of(model, lost, exit_status)
}

/// The document of `what-if`.
#[must_use]
pub fn what_if(answer: &WhatIf) -> WhatIfDocument<'_> {
    WhatIfDocument::of(answer)
}

/// The document of `diff`.
#[must_use]
pub fn diff(diff: &Diff) -> DiffDocument<'_> {
    DiffDocument::of(diff)
}

/// Attempts, each made as it is written: all of them would take the memory of the model once more.
#[derive(Clone)]
pub struct Attempts<'a>(&'a Model);

impl Serialize for Attempts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(model) = self;
        let attempts = model.attempts().iter();
        serializer.collect_seq(attempts.map(|attempt| RunAttempt::of(model, attempt)))
    }
}

impl fmt::Debug for Attempts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.attempts()).finish()
    }
}

/// Why no IOMMU serves a function.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum NoIommuReason {
    /// It is an IOMMU itself.
    Iommu,
    /// It is a host bridge, to which many tables give none.
    HostBridge,
    /// No function of the host has a group: no IOMMU is at work.
    Inactive,
    /// No IOMMU of the table is for its segment.
    Segment,
    /// No device entry of the IVRS reaches its bus.
    Bus,
    /// Device entries of the IVRS reach its bus, but not the function.
    Devid,
    /// No DRHD of the DMAR names it or a bridge above it, and none is for the whole segment.
    Scopes,
    /// The table gives it an IOMMU, but Linux gave it no group.
    NotAttached,
    /// The table does not tell, or was not read.
    Untold,
}

object! {
    /// What `check --json` prints: which devices the kernel refuses for a 1:1 map, and why.
    Check schema "ivrs-trace/check/1" of (model: &Model, verdicts: Verdicts) {
        /// The kernel.
        kernel: Kernel = Kernel::of(model),
        /// A verdict a device.
        devices: Vec<Device> =
            verdicts.devices.into_iter().map(|device| Device::of(model, device)).collect(),
        /// A verdict a group.
        groups: Vec<GroupVerdict> = verdicts.groups,
        /// The reach of each IVMD block that Linux uses.
        entries: Vec<Entry> = verdicts.entries.into_iter().map(Entry::of).collect(),
        /// The reach of each RMRR, on a host with Intel's IOMMU.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rmrr: Vec<RmrrEntry> =
            verdicts.rmrrs.into_iter().map(|one| RmrrEntry::of(model, one)).collect(),
        /// The rest.
        findings: Vec<Finding> = verdicts.findings,
    }

    /// The kernel.
    Kernel of (model: &Model) {
        /// `uname -r`, if it could be read.
        release: Option<String> = model.host().kernel_release.value().map(|text| printable(text)),
        /// Whether it refuses devices with direct regions; null where that is not known.
        require_direct: Option<bool> = match model.require_direct() {
            RequireDirect::Present => Some(true),
            RequireDirect::Missing => Some(false),
            RequireDirect::Unknown => None,
        },
        /// The options of its command line that bear on the IOMMU and VFIO.
        options: Vec<String> = model.iommu_options(),
    }

    /// A verdict.
    Device of (model: &Model, device: DeviceVerdict) {
        /// The device.
        bdf: Bdf = device.bdf,
        /// Its segment.
        segment: Segment = device.bdf.segment,
        /// Its devid.
        devid: Devid = device.bdf.devid,
        /// The devid that the IVRS says its requests carry, where that is another.
        alias: Option<Devid> = model.alias(device.bdf),
        /// Its group; null for none.
        group: Option<u32> = device.group,
        /// Its driver.
        driver: Option<String> = device.driver,
        /// The IOMMU that serves it.
        iommu: Option<String> = device.iommu,
        /// The answer.
        verdict: Verdict = device.verdict,
        /// What holds the device that stops it.
        causes: Vec<Cause> = device.causes,
        /// The group member that stops it, where that is another device.
        blocked_by: Option<String> = device.blocked_by,
        /// The evidence that is missing, where the verdict is unknown.
        #[serde(skip_serializing_if = "Option::is_none")]
        missing: Option<String> = device.missing,
        /// Why no IOMMU serves it, where none does.
        #[serde(skip_serializing_if = "Option::is_none")]
        no_iommu: Option<NoIommuDocument> =
            device.no_iommu.map(|why| NoIommuDocument::of(device.bdf, why)),
    }

    /// Why no IOMMU serves a function.
    NoIommuDocument of (bdf: Bdf, why: NoIommu) using {
        let text = why.why(&[bdf]);
        let (reason, table) = match &why {
            NoIommu::Iommu => (NoIommuReason::Iommu, None),
            NoIommu::HostBridge => (NoIommuReason::HostBridge, None),
            NoIommu::Inactive => (NoIommuReason::Inactive, None),
            NoIommu::Segment(table, _) => (NoIommuReason::Segment, Some(*table)),
            NoIommu::Bus(_) => (NoIommuReason::Bus, Some(TableName::Ivrs)),
            NoIommu::Devid(_) => (NoIommuReason::Devid, Some(TableName::Ivrs)),
            NoIommu::Scopes { .. } => (NoIommuReason::Scopes, Some(TableName::Dmar)),
            NoIommu::NotAttached(table) => (NoIommuReason::NotAttached, Some(*table)),
            NoIommu::Untold(table) => (NoIommuReason::Untold, *table),
        };
        let (covered, named, more) = match why {
            NoIommu::Bus(covered) | NoIommu::Devid(covered) => {
                (covered.ranges, Vec::new(), covered.more)
            }
            NoIommu::Scopes { named, more, .. } => (Vec::new(), named, more),
            _ => (Vec::new(), Vec::new(), 0),
        };
    } {
        /// The reason.
        reason: NoIommuReason = reason,
        /// The table that says so: `IVRS` or `DMAR`.
        table: Option<String> = table.map(|table| table.to_string()),
        /// What the device entries of its segment reach instead: first and last function of each
        /// range.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        covered: Vec<(Bdf, Bdf)> = covered,
        /// What the DRHDs of its segment name instead: what each scope names, then bus and path.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        scopes: Vec<String> = named,
        /// How many ranges or scopes there are besides.
        more: usize = more,
        /// The same in words.
        text: String = text,
    }

    /// The reach of an IVMD block.
    Entry of (entry: EntryCoverage) using {
        let caught = entry.caught().collect();
        let not_known = entry.coverage.gap.as_ref().map(gap_text);
    } {
        /// Index of the block.
        ivmd: usize = entry.ivmd,
        /// The devices that it covers.
        devices: Vec<Bdf> = entry.coverage.devices,
        /// Their groups.
        groups: Vec<u32> = entry.coverage.groups.into_iter().collect(),
        /// For whom the block is likely meant; empty where the table names nobody.
        owners: Vec<Owner> = entry.owners,
        /// The devices that are probably covered by accident: others are the likely owners.
        caught: Vec<Bdf> = caught,
        /// Why there may be more devices; absent where all are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_known: Option<String> = not_known,
    }

    /// The reach of an RMRR.
    RmrrEntry of (model: &Model, one: RmrrCoverage) using {
        let structure = model.rmrr(one.rmrr);
        let not_known = one.gap.as_ref().map(gap_text);
    } {
        /// Index of the RMRR structure.
        rmrr: usize = one.rmrr,
        /// Its offset in the DMAR.
        offset: Option<Hex<usize>> = structure.map(|rmrr| Hex(rmrr.offset)),
        /// Its device scopes: what each names, then bus and path.
        scopes: Vec<String> = structure
            .into_iter()
            .flat_map(|rmrr| rmrr.scopes.iter().map(ToString::to_string))
            .collect(),
        /// The devices that it applies to and that are refused for it.
        devices: Vec<Bdf> = one.devices,
        /// Those that it applies to and that are not: USB controllers and display devices.
        relaxable: Vec<Bdf> = one.relaxable,
        /// The groups of `devices`.
        groups: Vec<u32> = one.groups.into_iter().collect(),
        /// Why there may be more devices; absent where all are known.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_known: Option<String> = not_known,
    }

    /// What `run --json` prints: the attempts to take a device while the command ran.
    Run<'a> schema "ivrs-trace/run/1" of (model: &'a Model, lost: Lost, exit_status: Option<i32>) {
        /// The attempts, in the order in which they began.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<RunAttempt>"))]
        attempts: Attempts<'a> = Attempts(model),
        /// Attempts that came before those and were dropped, because there were too many.
        attempts_dropped: u64 = model.attempts_dropped(),
        /// What did not arrive.
        lost: Lost = lost,
        /// Exit status of the command; 128 and the signal's number if a signal ended it. Null for a
        /// recording without a command, or of which the end is missing.
        exit_status: Option<i32> = exit_status,
    }

    /// An attempt.
    RunAttempt of (model: &Model, attempt: &Attempt) {
        /// The process.
        process: Process = attempt.process.clone(),
        /// When it began, `CLOCK_MONOTONIC`, ns.
        time_ns: u64 = attempt.time_ns,
        /// The interface that it used.
        via: Via = attempt.via,
        /// The call that the process made.
        call: String = attempt.call.clone(),
        /// The device that was asked for.
        requested: Option<Bdf> = attempt.requested,
        /// How that is known.
        requested_from: Option<&'static str> = attempt.requested_from.map(RequestedFrom::name),
        /// The device as it was handed to QEMU, where its command line names the one that was asked
        /// for.
        hostdev: Option<Hostdev> = attempt.hostdev.clone(),
        /// The group.
        group: Option<u32> = attempt.group,
        /// How the devices of the group came to their drivers before: who unbound them from a driver
        /// of the host, and when they were bound to vfio-pci.
        driver_changes: Vec<DriverChange> = attempt.driver_changes.clone(),
        /// The error that the call ended with, by name.
        errno: Option<Errno> = attempt.errno,
        /// How it ended.
        outcome: Outcome = attempt.outcome,
        /// The devices that the kernel refused.
        rejections: Vec<RunRejection> =
            attempt.rejections.iter().map(|one| RunRejection::of(model, one)).collect(),
        /// Why it failed. `noiommu` also stands with a success.
        reason: Option<Reason> = attempt.reason,
        /// On what the reason rests; null where there is none, or none is known.
        evidence: Option<Evidence> = attempt.evidence,
        /// What was seen that gives the reason, one fact a line.
        facts: Vec<String> = attempt.facts.clone(),
        /// The drivers of the host that keep the group from being taken: `group_not_viable`.
        host_drivers: Vec<HostDriver> = attempt.host_drivers.clone(),
        /// The process that has the group, if that was seen: `owned_by_another`.
        owned_by: Option<Process> = attempt.owned_by.clone(),
        /// Further reasons that would stop it, and that this one hides.
        also: Vec<Further> = attempt.also.clone(),
        /// The calls that were seen, in the order in which they returned.
        calls: Vec<Call> = attempt.calls.clone(),
        /// How QEMU words this failure on its standard error, after its own name and argument. More
        /// than one text where its versions differ; an ellipsis stands for a number that differs from
        /// run to run. Empty where the process is no QEMU or nothing failed.
        qemu_prints: Vec<String> = attempt.qemu_prints(),
    }

    /// A refused device.
    RunRejection of (model: &Model, rejection: &Rejection) {
        /// The device, by address, or by name if it is no PCI function.
        bdf: String = rejection.device.name.clone(),
        /// Its driver.
        driver: Option<String> = Some(rejection.driver.clone()).filter(|name| !name.is_empty()),
        /// On what the refusal is known.
        evidence: Evidence = rejection.evidence,
        /// What holds it.
        causes: Vec<Cause> = model.causes(rejection),
    }

    /// What `what-if --json` prints: the verdicts of a host if its firmware or a slot were otherwise.
    /// Both sides are judged from the table alone, as by a kernel that refuses.
    WhatIfDocument<'a> schema "ivrs-trace/what-if/1" of (answer: &'a WhatIf) {
        /// What is otherwise.
        changes: &'a [Change] = &answer.changes,
        /// Every device that is in a group, before and after.
        devices: &'a [DeviceEffect] = &answer.devices,
        /// What a reader should know about the answer.
        notices: &'a [String] = &answer.notices,
    }

    /// What `diff --json` prints: how two tables or hosts differ.
    DiffDocument<'a> schema "ivrs-trace/diff/1" of (diff: &'a Diff) {
        /// Whether nothing differs.
        equal: bool = diff.is_empty(),
        /// All that differs.
        #[serde(flatten)]
        diff: &'a Diff = diff,
    }

    /// A line of what `events --json` prints.
    EventLine<'a> of (number: u64, event: &'a Event) {
        /// The event's number in this run, in the order of arrival.
        number: u64 = number,
        /// The event.
        #[serde(flatten)]
        event: &'a Event = event,
    }
}
