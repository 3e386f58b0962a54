//! An attempt and its parts, as values.

use serde::Serialize;

use super::{
    refusal::{Evidence, Rejection},
    requested::RequestedFrom,
};
use crate::{command_line::Hostdev, errno::Errno, event::Event, pci::Bdf};

/// A try of a process to take a group or a device.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The process.
    pub process: Process,
    /// When it began: `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// By which way.
    pub via: Via,
    /// The call that the process made, as far as it was seen: an ioctl's name or the claim's.
    pub call: String,
    /// The device that was asked for, where that is known.
    pub requested: Option<Bdf>,
    /// How it is known.
    pub requested_from: Option<RequestedFrom>,
    /// The device as the command line of a QEMU has it, where that names the one that was asked for.
    pub hostdev: Option<Hostdev>,
    /// The group.
    pub group: Option<u32>,
    /// How the devices of the group came to their drivers before, as far as that was seen.
    pub driver_changes: Vec<DriverChange>,
    /// The error that the call ended with.
    pub errno: Option<Errno>,
    /// What came of it.
    pub outcome: Outcome,
    /// The devices that the kernel refused, in order.
    pub rejections: Vec<Rejection>,
    /// Why it failed.
    pub reason: Option<Reason>,
    /// On what the reason rests; absent where it is not known.
    pub evidence: Option<Evidence>,
    /// What was seen that gives the reason, one fact a line.
    pub facts: Vec<String>,
    /// The drivers of the host that keep the group from being taken.
    pub host_drivers: Vec<HostDriver>,
    /// The process that has the group, where another one does and that was seen.
    pub owned_by: Option<Process>,
    /// Further reasons, which this one hides.
    pub also: Vec<Further>,
    /// The calls that were seen, in the order in which they returned.
    pub calls: Vec<Call>,
    /// A device of the group was taken out of it before it was over.
    pub(super) removed: Option<(u64, String)>,
    /// The group is of VFIO's mode without an IOMMU.
    pub(super) noiommu: bool,
    /// The process has learnt that the group is not viable, and has not gone on.
    pub(super) stopped: bool,
    /// The process is a QEMU.
    pub(super) qemu: bool,
}

impl Attempt {
    /// How many parts it has that take memory.
    pub(super) fn parts(&self) -> usize {
        let matches: usize = self.rejections.iter().map(|one| 1 + one.matches.len()).sum();
        let lists = self.calls.len() + self.facts.len() + self.driver_changes.len();
        1 + matches + lists + self.host_drivers.len() + self.also.len()
    }
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Command name, printable.
    pub comm: String,
    /// Name of the virtual machine, where its command line gives one as QEMU's does, printable.
    pub vm: Option<String>,
    /// Number of the virtual machine, where its command line gives one as Proxmox's does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<String>,
}

impl Process {
    /// The process of an event.
    pub(super) fn of(event: &Event) -> Self {
        Self { pid: event.pid, comm: event.comm.clone(), vm: None, vm_id: None }
    }
}

/// The way by which a device is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Via {
    /// A VFIO group in a container.
    #[serde(rename = "vfio-group")]
    VfioGroup,
    /// A VFIO group with iommufd as its container.
    #[serde(rename = "iommufd-compat")]
    IommufdCompat,
    /// iommufd, by the device's own file.
    #[serde(rename = "iommufd")]
    Iommufd,
    /// vfio-pci as the device's driver, before anybody can take it.
    #[serde(rename = "vfio-pci")]
    VfioPci,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The kernel refused a device for its 1:1 map.
    Rejected,
    /// It failed for another reason.
    Failed,
    /// The kernel gave the process the ownership; what followed was not seen.
    Claimed,
    /// The device was taken.
    Attached,
    /// Its end was not seen.
    Unknown,
}

/// A call that was seen to return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Call {
    /// The function or request.
    pub name: String,
    /// What it returned.
    pub ret: i64,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Firmware asks for a 1:1 map of a device in the group.
    FirmwareDirectMap,
    /// A function of the group is bound to a host driver.
    GroupNotViable,
    /// Another user has the group.
    OwnedByAnother,
    /// The group is not on its default domain.
    BusyDomain,
    /// The interrupts of the group's devices are not isolated: there is no interrupt remapping.
    MsiNotIsolated,
    /// A reserved region of the device collides with what is to be mapped.
    ReservedRegionConflict,
    /// The device has no IOMMU group.
    #[serde(rename = "no_iommu")]
    DeviceWithoutIommu,
    /// The group is of VFIO's mode without an IOMMU. It also stands with a success.
    #[serde(rename = "noiommu")]
    NoIommuMode,
    /// The device went away.
    DeviceVanished,
    /// The IOMMU cannot keep the device's DMA coherent with the caches.
    NoCoherency,
    /// Not told apart from what was seen.
    Unknown,
}

/// A reason that would stop the process as well, once the one that did is out of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Further {
    /// The reason.
    pub reason: Reason,
    /// The devices of the group that give rise to it, by address, or by name if they are no PCI
    /// functions; empty where they do not show.
    pub devices: Vec<String>,
}

/// A function of a group that a driver of the host holds, which keeps the group from being taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostDriver {
    /// The function, by address, or by name if it is no PCI function.
    pub bdf: String,
    /// Its driver, printable.
    pub driver: String,
    /// How that is known.
    pub from: DriverSource,
}

/// How it is known which driver holds a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DriverSource {
    /// The kernel's group, as it was when the group was asked for.
    Kernel,
    /// The host's files, as they were when they were last read.
    Files,
}

/// A driver took a device, or let go of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DriverChange {
    /// Number of the event.
    pub event: u64,
    /// When: `CLOCK_MONOTONIC`, ns.
    pub time_ns: u64,
    /// The process that asked for it.
    pub process: Process,
    /// What the process was started as, without its folder, where that is known: its thread may be
    /// called otherwise.
    pub program: Option<String>,
    /// The device.
    pub bdf: Bdf,
    /// The driver.
    pub driver: String,
    /// The driver took the device; else it let go of it.
    pub bound: bool,
}
