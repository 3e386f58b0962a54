//! What events are made of: devices, functions, requests and types.

use std::{fmt, str::FromStr};

use ivrs_trace_common as wire;
use serde::Serialize;

use crate::pci::Bdf;

/// Entry to a function, or return from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// On entry.
    Enter,
    /// On return.
    Exit {
        /// What the function returned; a negative value is an errno.
        ret: i64,
    },
}

/// Declares a type whose values have a name: the one that JSON and text give them.
macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$value_meta:meta])* $value:ident = $name:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        pub enum $type {
            $($(#[$value_meta])* #[serde(rename = $name)] $value,)*
        }

        impl $type {
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }
        }

        impl FromStr for $type {
            type Err = ();

            fn from_str(name: &str) -> Result<Self, ()> {
                match name {
                    $($name => Ok(Self::$value),)*
                    _ => Err(()),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// A function of VFIO that a process calls on a file.
    VfioFunction {
        /// `open` of a group.
        GroupOpen = "vfio_group_fops_open",
        /// An ioctl on a group.
        GroupIoctl = "vfio_group_fops_unl_ioctl",
        /// `VFIO_SET_IOMMU` on a container.
        ContainerIoctl = "vfio_fops_unl_ioctl",
        /// `VFIO_DEVICE_BIND_IOMMUFD` on a device.
        BindIommufd = "vfio_df_ioctl_bind_iommufd",
        /// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` on a device.
        AttachIommufd = "vfio_df_ioctl_attach_pt",
    }
}

named! {
    /// A kernel function that works on one device.
    DeviceFunction {
        /// `iommufd_device_bind`
        IommufdBind = "iommufd_device_bind",
        /// `iommu_create_device_direct_mappings`: the place where `require_direct` is set.
        DirectMappings = "iommu_create_device_direct_mappings",
        /// `vfio_pci_probe`: vfio-pci binds the device.
        VfioPciProbe = "vfio_pci_probe",
        /// `pci_device_probe`: a driver was to bind the device.
        PciProbe = "pci_device_probe",
        /// `pci_device_remove`: a driver unbound the device.
        PciRemove = "pci_device_remove",
    }
}

named! {
    /// What happened to a group's device.
    Change {
        /// It came into the group.
        Added = "added",
        /// It left the group.
        Removed = "removed",
    }
}

named! {
    /// The function that listed reserved regions.
    RegionSource {
        /// `amd_iommu_get_resv_regions`
        Amd = "amd",
        /// `iommu_get_resv_regions`, for whatever driver.
        Core = "core",
    }
}

/// A device as the kernel names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Device {
    /// Address of its `struct device`: it distinguishes two devices, no more.
    #[serde(skip)]
    pub ptr: u64,
    /// `dev_name()`, printable.
    pub name: String,
    /// Its address, if it is a PCI function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bdf: Option<Bdf>,
    /// Its IOMMU group, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
}

/// `enum iommu_resv_type` (include/linux/iommu.h), by the names that sysfs gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RegionType(pub u32);

impl RegionType {
    /// Must be mapped 1:1 at all times; sets `require_direct`.
    pub const DIRECT: Self = Self(wire::RegionType::DIRECT.0);
    /// Mapped 1:1 until a driver binds the device; it blocks nothing.
    pub const DIRECT_RELAXABLE: Self = Self(wire::RegionType::DIRECT_RELAXABLE.0);
}

impl fmt::Display for RegionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match wire::RegionType(self.0) {
            wire::RegionType::DIRECT => f.write_str("direct"),
            wire::RegionType::DIRECT_RELAXABLE => f.write_str("direct-relaxable"),
            wire::RegionType::RESERVED => f.write_str("reserved"),
            wire::RegionType::MSI | wire::RegionType::SW_MSI => f.write_str("msi"),
            wire::RegionType(other) => write!(f, "type {other}"),
        }
    }
}

impl Serialize for RegionType {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Request number of an ioctl of VFIO (include/uapi/linux/vfio.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VfioRequest(pub u32);

macro_rules! requests {
    ($($request:ident = $number:literal $name:literal;)*) => {
        impl VfioRequest {
            $(#[doc = concat!("`", $name, "`")] pub const $request: Self = Self($number);)*
        }

        impl fmt::Display for VfioRequest {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    $(Self::$request => f.write_str($name),)*
                    Self(other) => write!(f, "ioctl {other:#x}"),
                }
            }
        }
    };
}

requests! {
    GET_STATUS = 0x3b67 "VFIO_GROUP_GET_STATUS";
    SET_CONTAINER = 0x3b68 "VFIO_GROUP_SET_CONTAINER";
    UNSET_CONTAINER = 0x3b69 "VFIO_GROUP_UNSET_CONTAINER";
    GET_DEVICE_FD = 0x3b6a "VFIO_GROUP_GET_DEVICE_FD";
    SET_IOMMU = 0x3b66 "VFIO_SET_IOMMU";
    BIND_IOMMUFD = 0x3b76 "VFIO_DEVICE_BIND_IOMMUFD";
    ATTACH_IOMMUFD = 0x3b77 "VFIO_DEVICE_ATTACH_IOMMUFD_PT";
}

impl Serialize for VfioRequest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
