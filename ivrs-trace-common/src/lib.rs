//! Wire types between the BPF programs and user space.
//!
//! What this crate holds: the layout of every event in the ring buffer, the counters that a probe
//! keeps, and the list of kernel struct members whose offsets the programs need. What it does not:
//! any interpretation. Both sides compile this one file, so there is no second copy to keep in step.
//!
//! Every event starts with a [`Header`]; its [`Kind`] says which struct the whole record is. All
//! integers are in the byte order of the machine. Kinds and flags are integer newtypes, so that a
//! value this version does not know survives the trip.
#![no_std]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub mod offsets;

/// Bytes of a task's command name, NUL included (`TASK_COMM_LEN` in `include/linux/sched.h`).
pub const COMM_LEN: usize = 16;
/// Bytes kept of a device, driver or module name, NUL padded. Longer names are cut.
pub const NAME_LEN: usize = 32;
/// Bytes of a command line that one [`Args`] event carries.
pub const ARGS_CHUNK: usize = 512;
/// The most [`Args`] events that one attempt sends: 8 KiB of command line.
pub const ARGS_CHUNKS: u32 = 16;
/// The most reserved regions walked for one device.
pub const MAX_REGIONS: u32 = 64;
/// The most unity map entries walked for one PCI segment.
pub const MAX_UNITY: u32 = 128;
/// The most devices of a group that are looked at.
pub const MAX_MEMBERS: u32 = 64;
/// Bytes kept of a line of the kernel's log.
pub const MESSAGE_LEN: usize = 256;
/// [`DeviceId::sbdf`] of a device that is not a PCI function.
pub const NOT_PCI: u32 = u32::MAX;
/// [`DeviceId::group`] of a device whose group could not be read.
pub const NO_GROUP: i32 = -1;

/// Declares an integer newtype with named values.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident: $int:ty { $($(#[$vmeta:meta])* $value:ident = $number:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name(pub $int);

        impl $name {
            /// Every named value.
            pub const ALL: &[Self] = &[$(Self::$value),*];
            $($(#[$vmeta])* pub const $value: Self = Self($number);)*
        }
    };
}

/// Calls `$with!` with every probe: the name and number of its [`ProbeId`], and the kernel function
/// or tracepoint that it is on. The numbers have no gaps: they are the index into the map of
/// [`ProbeStats`].
macro_rules! for_each_probe {
    ($with:ident) => {
        $with! {
            AMD_RESV_REGIONS = 0, "amd_iommu_get_resv_regions";
            CORE_RESV_REGIONS = 1, "iommu_get_resv_regions";
            GROUP_CLAIM = 2, "iommu_group_claim_dma_owner";
            DEVICE_CLAIM = 3, "iommu_device_claim_dma_owner";
            SET_DOMAIN = 4, "__iommu_device_set_domain";
            GROUP_IOCTL = 5, "vfio_group_fops_unl_ioctl";
            CONTAINER_ATTACH = 6, "vfio_container_attach_group";
            TYPE1_ATTACH = 7, "vfio_iommu_type1_attach_group";
            MODULE_LOAD = 8, "module_load";
            DEV_WARN = 9, "_dev_warn";
            CONSOLE = 10, "console";
            DIRECT_MAPPINGS = 11, "iommu_create_device_direct_mappings";
            OWNER_CLAIMED = 12, "iommu_group_dma_owner_claimed";
            ISOLATED_MSI = 13, "iommu_group_has_isolated_msi";
            GROUP_ADD = 14, "add_device_to_group";
            GROUP_REMOVE = 15, "remove_device_from_group";
            GROUP_OPEN = 16, "vfio_group_fops_open";
            CONTAINER_IOCTL = 17, "vfio_fops_unl_ioctl";
            BIND_IOMMUFD = 18, "vfio_df_ioctl_bind_iommufd";
            ATTACH_IOMMUFD = 19, "vfio_df_ioctl_attach_pt";
            DEVICE_BIND = 20, "iommufd_device_bind";
            DEVICE_ATTACH = 21, "iommufd_device_attach";
            DRIVER_PROBE = 22, "vfio_pci_probe";
            DEVICE_OPEN = 23, "vfio_df_open";
            DRIVER_BIND = 24, "pci_device_probe";
            DRIVER_UNBIND = 25, "pci_device_remove";
        }
    };
}

/// Calls `$with!` with every kind of event: the name and number of its [`Kind`], the struct that it
/// is, and, where it is about one function, whether on entry, on return or when a tracepoint is hit,
/// and of which probe's.
#[macro_export]
macro_rules! for_each_kind {
    ($with:ident) => {
        $with! {
            REGION = 1: Region;
            REGIONS_END = 2: RegionsEnd;
            GROUP_CLAIM_ENTER = 3: Claim Enter GROUP_CLAIM;
            GROUP_CLAIM_EXIT = 4: Claim Exit GROUP_CLAIM;
            DEVICE_CLAIM_ENTER = 5: Claim Enter DEVICE_CLAIM;
            DEVICE_CLAIM_EXIT = 6: Claim Exit DEVICE_CLAIM;
            UNITY_MATCH = 7: UnityMatch;
            SET_DOMAIN = 8: SetDomain Exit SET_DOMAIN;
            GROUP_IOCTL_ENTER = 9: VfioCall Enter GROUP_IOCTL;
            GROUP_IOCTL_EXIT = 10: VfioCall Exit GROUP_IOCTL;
            CONTAINER_ATTACH_ENTER = 11: Attach Enter CONTAINER_ATTACH;
            CONTAINER_ATTACH_EXIT = 12: Attach Exit CONTAINER_ATTACH;
            TYPE1_ATTACH_ENTER = 13: Attach Enter TYPE1_ATTACH;
            TYPE1_ATTACH_EXIT = 14: Attach Exit TYPE1_ATTACH;
            ARGS = 15: Args;
            MODULE_LOAD = 16: ModuleLoad Hit MODULE_LOAD;
            GROUP_OPEN_ENTER = 17: VfioCall Enter GROUP_OPEN;
            GROUP_OPEN_EXIT = 18: VfioCall Exit GROUP_OPEN;
            /// With `VFIO_SET_IOMMU` only.
            CONTAINER_IOCTL_ENTER = 19: VfioCall Enter CONTAINER_IOCTL;
            CONTAINER_IOCTL_EXIT = 20: VfioCall Exit CONTAINER_IOCTL;
            BIND_IOMMUFD_ENTER = 21: VfioCall Enter BIND_IOMMUFD;
            BIND_IOMMUFD_EXIT = 22: VfioCall Exit BIND_IOMMUFD;
            ATTACH_IOMMUFD_ENTER = 23: VfioCall Enter ATTACH_IOMMUFD;
            ATTACH_IOMMUFD_EXIT = 24: VfioCall Exit ATTACH_IOMMUFD;
            DEVICE_BIND_ENTER = 25: DeviceCall Enter DEVICE_BIND;
            DEVICE_BIND_EXIT = 26: DeviceCall Exit DEVICE_BIND;
            DEVICE_ATTACH_ENTER = 27: Attach Enter DEVICE_ATTACH;
            DEVICE_ATTACH_EXIT = 28: Attach Exit DEVICE_ATTACH;
            OWNER_CLAIMED = 29: Claim Exit OWNER_CLAIMED;
            ISOLATED_MSI = 30: Attach Exit ISOLATED_MSI;
            MEMBER = 31: Member;
            MESSAGE = 32: Message Hit CONSOLE;
            WARNING = 33: Warning Enter DEV_WARN;
            DIRECT_MAPPINGS = 34: DeviceCall Exit DIRECT_MAPPINGS;
            GROUP_ADD = 35: DeviceCall Hit GROUP_ADD;
            GROUP_REMOVE = 36: DeviceCall Hit GROUP_REMOVE;
            /// Without a device: an entry of a segment's unity map.
            UNITY_ENTRY = 37: UnityMatch;
            UNITY_END = 38: UnityEnd;
            DRIVER_PROBE = 39: DeviceCall Exit DRIVER_PROBE;
            /// With an error, and iommufd was not asked. Sent only while [`ProbeId::DEVICE_BIND`] is
            /// attached, which would have seen that.
            DEVICE_OPEN = 40: Attach Exit DEVICE_OPEN;
            /// The driver is the one that was to bind the device.
            DRIVER_BIND = 41: DeviceCall Exit DRIVER_BIND;
            /// The driver is the one that unbinds the device.
            DRIVER_UNBIND = 42: DeviceCall Exit DRIVER_UNBIND;
        }
    };
}

macro_rules! declare_probes {
    ($($name:ident = $number:literal, $symbol:literal;)*) => {
        named! {
            /// The probe that sent an event.
            ProbeId: u16 {
                $(#[doc = concat!("`", $symbol, "`")] $name = $number,)*
            }
        }

        impl ProbeId {
            /// The kernel function or tracepoint that it is on; empty for a number without a name.
            #[must_use]
            pub const fn symbol(self) -> &'static str {
                match self {
                    $(Self::$name => $symbol,)*
                    _ => "",
                }
            }
        }

        /// How many [`ProbeId`]s there are.
        pub const PROBES: u32 = 0 $(+ { let ProbeId(_) = ProbeId::$name; 1 })*;
    };
}
for_each_probe!(declare_probes);

/// Where in a function a probe is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// On entry.
    Enter,
    /// On return.
    Exit,
    /// At a tracepoint.
    Hit,
}

macro_rules! declare_kinds {
    ($($(#[$meta:meta])* $name:ident = $number:literal: $event:ident $($moment:ident $probe:ident)?;)*) => {
        named! {
            /// What an event is.
            Kind: u16 {
                $(
                    #[doc = concat!("[`", stringify!($event), "`]" $(, ": ", stringify!($moment), " of [`ProbeId::", stringify!($probe), "`]")?)]
                    $(#[$meta])*
                    $name = $number,
                )*
            }
        }

        impl Kind {
            /// The function that it is about, by its probe, and where in that it is sent; `None` for
            /// a kind that is about no single function, and for a number without a name.
            #[must_use]
            pub const fn place(self) -> Option<(ProbeId, Moment)> {
                match self {
                    $($(Self::$name => Some((ProbeId::$probe, Moment::$moment)),)?)*
                    _ => None,
                }
            }
        }
    };
}
for_each_kind!(declare_kinds);

/// Declares structs of the wire: the size of each, and of each field the offset, in bytes. They are the
/// contract of the ring buffer and of recordings: a change must be meant.
macro_rules! layouts {
    ($($(#[$meta:meta])* $name:ident: $size:literal {
        $($(#[$field_meta:meta])* $offset:literal $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            $($(#[$field_meta])* #[doc = concat!("At byte ", $offset, ".")] pub $field: $type,)*
        }

        const _: () = {
            assert!(size_of::<$name>() == $size);
            $(assert!(core::mem::offset_of!($name, $field) == $offset);)*
        };
    )*};
}

/// The same of events, which all begin with a [`Header`].
macro_rules! events {
    ($($(#[$meta:meta])* $name:ident: $size:literal { $($fields:tt)* })*) => {
        layouts! { $($(#[$meta])* $name: $size { 0 header: Header, $($fields)* })* }
    };
}

layouts! {
    /// What one probe counted on one CPU. Counters only grow.
    #[derive(Default)]
    ProbeStats: 32 {
        /// Times that the probe fired.
        0 hits: u64,
        /// Events that found the ring buffer full.
        8 ring_lost: u64,
        /// Reads of kernel memory that failed, or that needed an offset the kernel does not have.
        16 read_failed: u64,
        /// Lists cut because they were longer than [`MAX_REGIONS`], [`MAX_UNITY`] or [`MAX_MEMBERS`].
        24 truncated: u64,
    }

    /// The start of every event.
    Header: 40 {
        /// `CLOCK_MONOTONIC`, ns (`bpf_ktime_get_ns`).
        0 time_ns: u64,
        /// Process id (thread group).
        8 pid: u32,
        /// Thread id. Everything between a claim's entry and its exit runs in one thread.
        12 tid: u32,
        /// What the whole record is.
        16 kind: Kind,
        /// The probe that sent it.
        18 probe: ProbeId,
        /// The CPU that it ran on.
        20 cpu: u32,
        /// Command name of the thread, NUL padded.
        24 comm: [u8; COMM_LEN],
    }

    /// A kernel `struct device`.
    DeviceId: 48 {
        /// Address of the `struct device`; distinguishes two devices, no more.
        0 ptr: u64,
        /// PCI segment in the upper 16 bits, devid in the lower; or [`NOT_PCI`].
        8 sbdf: u32,
        /// Id of its IOMMU group, or [`NO_GROUP`].
        12 group: i32,
        /// `dev_name()`, NUL padded.
        16 name: [u8; NAME_LEN],
    }
}

// Texts are padded with NUL. `driver` is the name of the driver that holds the device, empty if none;
// `ret` what the function returned, 0 on entry; `end` is exclusive, `devid_end` inclusive; `entries` counts
// the unity map entries of the device's segment that were walked, `matches` the [`UnityMatch`] events just
// before; `pad` is zero. Texts begin at a multiple of eight bytes: they are cleared by words.
events! {
    /// One reserved region that the kernel reported for a device. The regions of one device come one
    /// after the other on one thread, and a [`RegionsEnd`] closes them.
    Region: 120 {
        /// The device it was reported for.
        40 device: DeviceId,
        88 start: u64,
        /// Bytes; may be 0.
        96 length: u64,
        /// `IOMMU_READ` 1, `IOMMU_WRITE` 2 and others (include/linux/iommu.h).
        104 prot: u32,
        /// `enum iommu_resv_type` (include/linux/iommu.h): see [`RegionType`].
        108 kind: RegionType,
        /// Position in the returned list, from 0.
        112 index: u32,
        116 pad: u32,
    }

    /// Closes the regions of one device.
    RegionsEnd: 96 {
        40 device: DeviceId,
        /// Regions walked.
        88 count: u32,
        /// [`WALK_CUT`], [`WALK_BROKEN`], [`REGIONS_REQUIRE_DIRECT`], [`REGIONS_FLAG_KNOWN`].
        92 flags: u32,
    }

    /// A DMA ownership claim on a group or on a device, on entry or on return; or the question
    /// whether a group is claimed ([`Kind::OWNER_CLAIMED`]).
    Claim: 120 {
        /// The device, for a device claim; else all zero with the group filled in.
        40 device: DeviceId,
        /// The owner that asks (`void *owner`).
        88 owner: u64,
        /// `iommu_group.owner` as it stands: 0 if a host driver or nobody holds the group.
        96 group_owner: u64,
        /// `iommu_group.owner_cnt` as it stands.
        104 owner_count: u32,
        /// [`CLAIM_FOREIGN_DOMAIN`] and further bits.
        108 flags: u32,
        /// Of [`Kind::OWNER_CLAIMED`] 1 if somebody holds the group.
        112 ret: i32,
        116 pad: u32,
    }

    /// A unity map entry of the kernel that covers the device of the [`SetDomain`] that follows on the
    /// same thread (`struct unity_map_entry`, `drivers/iommu/amd/amd_iommu_types.h`).
    UnityMatch: 120 {
        40 device: DeviceId,
        88 start: u64,
        96 end: u64,
        /// Position in the segment's list, from 0: the order of the effective IVMD blocks.
        104 ordinal: u32,
        /// 1 read, 2 write; higher bits as the kernel keeps them.
        108 prot: u32,
        112 devid_start: u16,
        114 devid_end: u16,
        /// PCI segment of the list.
        116 segment: u16,
        118 pad: u16,
    }

    /// A device was to be put on a domain (`__iommu_device_set_domain`, drivers/iommu/iommu.c), seen
    /// on return.
    SetDomain: 144 {
        40 device: DeviceId,
        88 driver: [u8; NAME_LEN],
        /// `iommu_domain.type` of the new domain.
        120 domain_type: u32,
        /// [`SET_REQUIRE_DIRECT`] and further bits.
        124 flags: u32,
        128 ret: i32,
        132 entries: u32,
        136 matches: u32,
        140 pad: u32,
    }

    /// A call of a process on a VFIO file, on entry or on return.
    VfioCall: 128 {
        /// Address of the `struct file`, or of the `struct vfio_device_file` where the function has
        /// only that, on entry; else 0. It distinguishes two files, no more.
        40 file: u64,
        48 ret: i64,
        /// The request number, on entry; else 0.
        56 cmd: u32,
        60 pad: u32,
        /// Last part of the path of the file, NUL padded, on entry: `12` or `noiommu-0` for a group.
        /// Empty where the function has no `struct file`.
        64 path: [u8; NAME_LEN],
        /// The device that the request names, where that is `VFIO_GROUP_GET_DEVICE_FD`, on entry.
        96 name: [u8; NAME_LEN],
    }

    /// A kernel function that works on one device, on entry or on return.
    DeviceCall: 128 {
        /// The device; all zero on the return of a function whose arguments are gone by then.
        40 device: DeviceId,
        88 driver: [u8; NAME_LEN],
        /// Of a function that returns a pointer, an error or 0.
        120 ret: i32,
        /// [`DEVICE_REQUIRE_DIRECT`], [`DEVICE_FLAG_KNOWN`].
        124 flags: u32,
    }

    /// A device of a group that cannot be claimed. Those of one group come one after the other on one
    /// thread, just before the return of the claim, or the [`Kind::OWNER_CLAIMED`], that they explain.
    Member: 128 {
        40 device: DeviceId,
        88 driver: [u8; NAME_LEN],
        /// Position in the group's list, from 0.
        120 index: u32,
        /// [`MEMBER_MANAGES_DMA`], [`WALK_CUT`], [`WALK_BROKEN`].
        124 flags: u32,
    }

    /// A line that the kernel logs, about what this tool explains.
    Message: 304 {
        /// Bytes of the whole line; at most [`MESSAGE_LEN`] of them are kept.
        40 length: u32,
        44 pad: u32,
        /// The line, NUL padded.
        48 text: [u8; MESSAGE_LEN],
    }

    /// The kernel warns that it refuses a device (`_dev_warn` with the text that begins "Firmware has
    /// requested"): inside `__iommu_device_set_domain`, before it returns. [`UnityMatch`] events for the
    /// device come just before.
    Warning: 136 {
        40 device: DeviceId,
        88 driver: [u8; NAME_LEN],
        120 entries: u32,
        124 matches: u32,
        /// [`SET_REQUIRE_DIRECT`], [`SET_UNITY_WALKED`], [`SET_UNITY_CUT`], [`SET_UNITY_BROKEN`].
        128 flags: u32,
        132 pad: u32,
    }

    /// Closes the [`Kind::UNITY_ENTRY`] events of one segment.
    UnityEnd: 56 {
        /// Entries walked.
        40 count: u32,
        /// [`WALK_CUT`], [`WALK_BROKEN`].
        44 flags: u32,
        /// PCI segment of the list.
        48 segment: u16,
        /// `last_bdf` of the segment: the devid at which an IVMD block of type 0x20 ends.
        50 last_devid: u16,
        52 pad: u32,
    }

    /// A function of which only the group or nothing is known, on entry or on return.
    Attach: 48 {
        /// Group id where an argument names it; else [`NO_GROUP`].
        40 group: i32,
        /// A `bool` is 0 or 1.
        44 ret: i32,
    }

    /// A piece of the command line of the process that claims, as the process itself holds it.
    Args: 560 {
        /// Where the piece starts in the command line, bytes.
        40 offset: u32,
        /// Length of the whole command line, bytes.
        44 total: u32,
        /// The piece; arguments end with NUL. Bytes past `total` are zero.
        48 data: [u8; ARGS_CHUNK],
    }

    /// A kernel module was loaded.
    ModuleLoad: 72 {
        40 name: [u8; NAME_LEN],
    }
}

named! {
    /// `enum iommu_resv_type` (include/linux/iommu.h, the same from 6.1 to 7.3).
    RegionType: u32 {
        /// Must be mapped 1:1 at all times.
        DIRECT = 0,
        /// Mapped 1:1 by the host, but may be given up.
        DIRECT_RELAXABLE = 1,
        /// Not to be mapped.
        RESERVED = 2,
        /// Interrupt window of the hardware.
        MSI = 3,
        /// Interrupt window of software's choosing.
        SW_MSI = 4,
    }
}

/// The list was longer than the bound.
pub const WALK_CUT: u32 = 1;
/// A read failed in the middle of the list.
pub const WALK_BROKEN: u32 = 2;
/// `dev_iommu.require_direct` was set when the regions were reported.
pub const REGIONS_REQUIRE_DIRECT: u32 = 4;
/// `dev_iommu.require_direct` exists in this kernel and was read.
pub const REGIONS_FLAG_KNOWN: u32 = 8;

/// The group is not on its default domain (`group->domain != group->default_domain`).
pub const CLAIM_FOREIGN_DOMAIN: u32 = 1;

/// `dev->iommu->require_direct` is set.
pub const SET_REQUIRE_DIRECT: u32 = 1;
/// The new domain is a blocking one: of type `IOMMU_DOMAIN_BLOCKED` or the group's blocking domain.
pub const SET_BLOCKING: u32 = 2;
/// The device's IOMMU is an AMD one, and its unity map was walked.
pub const SET_UNITY_WALKED: u32 = 4;
/// The unity map was longer than the bound.
pub const SET_UNITY_CUT: u32 = 8;
/// A read failed in the middle of the unity map.
pub const SET_UNITY_BROKEN: u32 = 16;
/// What the kernel refuses on: both must be set.
pub const SET_REFUSED: u32 = SET_REQUIRE_DIRECT | SET_BLOCKING;

/// `dev_iommu.require_direct` is set.
pub const DEVICE_REQUIRE_DIRECT: u32 = 1;
/// `dev_iommu.require_direct` exists in this kernel and was read.
pub const DEVICE_FLAG_KNOWN: u32 = 2;

/// The driver manages DMA itself (`driver_managed_dma`), as VFIO's own do, and so leaves the group
/// free to be claimed.
pub const MEMBER_MANAGES_DMA: u32 = 16;

/// The largest event, bytes.
pub const MAX_EVENT: usize = size_of::<Args>();
