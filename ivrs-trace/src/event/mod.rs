//! Events as the programs sent them, decoded and owned.
//!
//! Decoding checks the length and the kind, and keeps what it does not know. It interprets nothing:
//! that is [`crate::model`]'s work. No I/O, no clock.

use field::Field as _;
use ivrs_trace_common::ProbeId;
use serde::Serialize;

mod command_lines;
mod decode;
mod field;
#[cfg(any(feature = "live", feature = "tui"))]
mod filter;
mod owners;
mod parts;
mod text;

pub(crate) use command_lines::CommandLines;
pub use decode::DecodeError;
pub use field::Value;
#[cfg(any(feature = "live", feature = "tui"))]
pub(crate) use filter::Follow;
#[cfg(any(feature = "live", feature = "tui"))]
pub use filter::{Filter, ParseFilterError};
pub(crate) use owners::OwnerIds;
pub use parts::{
    Change, Device, DeviceFunction, Phase, RegionSource, RegionType, VfioFunction, VfioRequest,
};

#[cfg(test)]
mod tests;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// `CLOCK_MONOTONIC` of the host, ns.
    pub time_ns: u64,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Command name of the thread, printable.
    pub comm: String,
    /// The CPU that it happened on.
    pub cpu: u32,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

macro_rules! meanings {
    ($($field:ident $text:literal;)*) => {
        macro_rules! meaning {
            $(($field) => { $text };)*
            ($other:ident) => { "" };
        }
    };
}

// What a field means in every kind that has it.
meanings! {
    device "The device.";
    driver "The driver that holds it; empty if none does.";
    ordinal "Position in the segment's list, from 0.";
    segment "PCI segment.";
    devid_start "First devid, inclusive.";
    devid_end "Last devid, inclusive.";
    start "First address.";
    end "End address, exclusive.";
    phase "Entry or return.";
    count "How many there were.";
    index "Position in the list, from 0.";
    incomplete "The kernel's list (regions, unity map, group) could not be read to its end.";
    unity_matches "How many of them cover the device: that many `unity_match` came just before.";
    group "The group, if it could be read.";
    group_owner "The owner that the group has, by the number of its first appearance; 0 if a host driver or nobody holds it.";
    owner_count "How many hold the group.";
    foreign_domain "The group is not on its default domain.";
    function "What was called.";
}

/// Declares [`Body`] from one list of kinds and fields, by the names that they have in JSON.
macro_rules! bodies {
    ($($(#[$meta:meta])* $variant:ident $kind:literal {
        $($(#[$field_meta:meta])* $field:ident: $type:ty,)*
    })*) => {
        /// What happened.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(tag = "kind")]
        pub enum Body {
            $($(#[$meta])* #[serde(rename = $kind)] $variant {
                $(#[doc = meaning!($field)] $(#[$field_meta])* $field: $type,)*
            },)*
        }

        impl Body {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $kind,)*
                }
            }

            /// The names of its fields, in order; of `file`, an address in the kernel, nobody is told.
            pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
                let all: &[&str] = match self {
                    $(Self::$variant { .. } => &[$(stringify!($field)),*],)*
                };
                all.iter().copied().filter(|name| *name != "file")
            }

            /// The field of this name, if the kind has it and it is known.
            #[must_use]
            pub fn field(&self, name: &str) -> Option<Value<'_>> {
                match self {
                    $(Self::$variant { $($field),* } => match name {
                        $(stringify!($field) => $field.value(),)*
                        _ => None,
                    },)*
                }
            }
        }
    };
}

bodies! {
    /// The kernel listed a reserved region for a device.
    Region "region" {
        device: Device,
        /// Which function listed it.
        source: RegionSource,
        index: u32,
        start: u64,
        /// Bytes; may be 0.
        length: u64,
        /// `IOMMU_READ` 1, `IOMMU_WRITE` 2.
        prot: u32,
        /// What the region is.
        region_type: RegionType,
    }
    /// The list of a device's regions is complete.
    RegionsEnd "regions_end" {
        device: Device,
        /// Which function listed them.
        source: RegionSource,
        count: u32,
        /// `dev_iommu.require_direct`; absent where the kernel has no such flag.
        #[serde(skip_serializing_if = "Option::is_none")]
        require_direct: Option<bool>,
        incomplete: bool,
    }
    /// DMA ownership of a group or of a device is claimed.
    Claim "claim" {
        #[serde(flatten)]
        phase: Phase,
        /// Absent where the claim is on a group.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<Device>,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u32>,
        /// The owner that claims, by the number of its first appearance in the trace; 0 is nobody.
        owner: u64,
        group_owner: u64,
        owner_count: u32,
        foreign_domain: bool,
    }
    /// An entry of the kernel's unity map that covers the device of the `set_domain` that follows
    /// on the same thread.
    UnityMatch "unity_match" {
        device: Device,
        ordinal: u32,
        segment: u16,
        devid_start: u16,
        devid_end: u16,
        start: u64,
        end: u64,
        /// 1 read, 2 write.
        prot: u32,
    }
    /// The kernel was asked to put a device on a domain.
    SetDomain "set_domain" {
        device: Device,
        driver: String,
        /// `iommu_domain.type` of the new domain.
        domain_type: u32,
        /// `dev_iommu.require_direct`
        require_direct: bool,
        /// The new domain is a blocking one.
        blocking: bool,
        /// What the call returned.
        ret: i32,
        /// Entries of the unity map that were looked at; absent where there was no reason to.
        #[serde(skip_serializing_if = "Option::is_none")]
        unity_entries: Option<u32>,
        unity_matches: u32,
        incomplete: bool,
    }
    /// A call of a process on a VFIO file.
    VfioCall "vfio_call" {
        #[serde(flatten)]
        phase: Phase,
        function: VfioFunction,
        /// The request, on entry to an ioctl.
        #[serde(skip_serializing_if = "Option::is_none")]
        request: Option<VfioRequest>,
        /// Last part of the file's path, on entry, where it is known: `12` for `/dev/vfio/12`,
        /// `noiommu-0` for `/dev/vfio/noiommu-0`.
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        /// Address of the open file, on entry: it distinguishes two open files, no more.
        #[serde(skip)]
        file: u64,
        /// The device that the request names.
        #[serde(skip_serializing_if = "Option::is_none")]
        device_name: Option<String>,
    }
    /// A kernel function works on one device.
    DeviceCall "device_call" {
        #[serde(flatten)]
        phase: Phase,
        function: DeviceFunction,
        /// Absent where the function no longer has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        device: Option<Device>,
        driver: String,
        /// `dev_iommu.require_direct`; absent where the kernel has no such flag.
        #[serde(skip_serializing_if = "Option::is_none")]
        require_direct: Option<bool>,
    }
    /// VFIO did not open a device for a process, and did not ask iommufd before
    /// (`vfio_df_open`): seen on return.
    DeviceOpen "device_open" {
        /// What the function returned: an errno, negative.
        ret: i64,
    }
    /// `iommufd_device_attach`
    IommufdAttach "iommufd_attach" {
        #[serde(flatten)]
        phase: Phase,
    }
    /// Whether somebody holds a group was asked (`iommu_group_dma_owner_claimed`), which is how
    /// `VFIO_GROUP_GET_STATUS` learns whether a group is viable.
    OwnerClaimed "owner_claimed" {
        /// The answer.
        claimed: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u32>,
        group_owner: u64,
        owner_count: u32,
        foreign_domain: bool,
    }
    /// Whether the interrupts of a group's devices are isolated was asked
    /// (`iommu_group_has_isolated_msi`).
    IsolatedMsi "isolated_msi" {
        /// The answer.
        isolated: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u32>,
    }
    /// A device of a group that cannot be claimed; the return of the claim, or the
    /// `owner_claimed`, follows on the same thread.
    Member "member" {
        device: Device,
        driver: String,
        /// The driver manages DMA itself and leaves the group free, as VFIO's own do.
        manages_dma: bool,
        index: u32,
        incomplete: bool,
    }
    /// A line that the kernel logs.
    KernelMessage "kernel_message" {
        /// The line, printable, without its end.
        text: String,
        /// The line was longer.
        cut: bool,
    }
    /// The kernel warns that it refuses a device: inside `__iommu_device_set_domain`, before that
    /// returns.
    Warning "warning" {
        device: Device,
        driver: String,
        /// Entries of the unity map that were looked at; absent where there was no unity map.
        #[serde(skip_serializing_if = "Option::is_none")]
        unity_entries: Option<u32>,
        unity_matches: u32,
        incomplete: bool,
    }
    /// A device came into a group or left it.
    GroupChange "group_change" {
        /// Which of both.
        change: Change,
        /// Its group is the one that it came into or left.
        device: Device,
    }
    /// An entry of the kernel's unity map of a segment.
    UnityEntry "unity_entry" {
        ordinal: u32,
        segment: u16,
        devid_start: u16,
        devid_end: u16,
        start: u64,
        end: u64,
        /// 1 read, 2 write.
        prot: u32,
    }
    /// The unity map of a segment is complete.
    UnityEnd "unity_end" {
        segment: u16,
        /// `last_bdf` of the segment, where an IVMD block for all devices ends.
        last_devid: u16,
        count: u32,
        incomplete: bool,
    }
    /// `vfio_container_attach_group`
    ContainerAttach "container_attach" {
        #[serde(flatten)]
        phase: Phase,
    }
    /// `vfio_iommu_type1_attach_group`
    Type1Attach "type1_attach" {
        #[serde(flatten)]
        phase: Phase,
        /// Only on entry.
        #[serde(skip_serializing_if = "Option::is_none")]
        group: Option<u32>,
    }
    /// A piece of the command line of the process that claims.
    Args "args" {
        /// Where the piece starts, bytes.
        offset: u32,
        /// Length of the whole command line, bytes.
        total: u32,
        /// The piece; arguments end with NUL.
        #[serde(skip)]
        bytes: Vec<u8>,
        /// The piece, printable; arguments are separated by spaces.
        text: String,
    }
    /// A kernel module was loaded.
    ModuleLoad "module_load" {
        /// Its name.
        name: String,
    }
    /// An event of a kind that this version does not know.
    Unknown "unknown" {
        /// The kind, a number.
        code: u16,
        /// Bytes of the event.
        length: usize,
    }
}

impl Body {
    /// The device that it is about.
    #[must_use]
    pub fn device(&self) -> Option<&Device> {
        match self.field("device")? {
            Value::Device(device) => Some(device),
            _ => None,
        }
    }

    /// The kernel function that it is a call of.
    pub(crate) fn function(&self) -> Option<&'static str> {
        let probe = match self {
            Self::VfioCall { function, .. } => return Some(function.name()),
            Self::DeviceCall { function, .. } => return Some(function.name()),
            Self::Claim { device: Some(_), .. } => ProbeId::DEVICE_CLAIM,
            Self::Claim { .. } => ProbeId::GROUP_CLAIM,
            Self::SetDomain { .. } => ProbeId::SET_DOMAIN,
            Self::ContainerAttach { .. } => ProbeId::CONTAINER_ATTACH,
            Self::Type1Attach { .. } => ProbeId::TYPE1_ATTACH,
            Self::IommufdAttach { .. } => ProbeId::DEVICE_ATTACH,
            Self::DeviceOpen { .. } => ProbeId::DEVICE_OPEN,
            Self::OwnerClaimed { .. } => ProbeId::OWNER_CLAIMED,
            Self::IsolatedMsi { .. } => ProbeId::ISOLATED_MSI,
            _ => return None,
        };
        Some(probe.symbol())
    }

    /// What the function returned, of an event on its return.
    #[must_use]
    pub fn ret(&self) -> Option<i64> {
        match self.field("ret").or_else(|| self.field("phase"))? {
            Value::Return(ret) | Value::Phase(Phase::Exit { ret }) => Some(ret),
            _ => None,
        }
    }

    /// Whether it has this flag, and it is set.
    pub(crate) fn is(&self, flag: &str) -> bool {
        matches!(self.field(flag), Some(Value::Flag(true)))
    }
}
