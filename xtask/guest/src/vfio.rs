//! VFIO's calls on its container, group and device files (`include/uapi/linux/vfio.h`; those on
//! device nodes since 6.6, all others since 3.6).

use std::ffi::{CString, c_int};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::ioctl::{self, Opcode};

use crate::ioctl::{Call, Page, code, size_of};

/// The container node.
pub(crate) const CONTAINER: &str = "/dev/vfio/vfio";

/// `VFIO_BASE`.
const BASE: u8 = 100;

const GET_API_VERSION: Opcode = code(BASE);
const SET_IOMMU: Opcode = code(BASE + 2);
const GROUP_GET_STATUS: Opcode = code(BASE + 3);
const GROUP_SET_CONTAINER: Opcode = code(BASE + 4);
const GROUP_GET_DEVICE_FD: Opcode = code(BASE + 6);
const IOMMU_MAP_DMA: Opcode = code(BASE + 13);
const DEVICE_BIND_IOMMUFD: Opcode = code(BASE + 18);
const DEVICE_ATTACH_IOMMUFD_PT: Opcode = code(BASE + 19);
const DEVICE_DETACH_IOMMUFD_PT: Opcode = code(BASE + 20);

/// What `VFIO_SET_IOMMU` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    /// `VFIO_TYPE1v2_IOMMU`.
    Type1v2,
    /// `VFIO_NOIOMMU_IOMMU`.
    NoIommu,
}

/// The node of a group, or of one that VFIO made for a function without IOMMU.
pub(crate) fn group_path(group: &str, backend: Backend) -> String {
    match backend {
        Backend::Type1v2 => format!("/dev/vfio/{group}"),
        Backend::NoIommu => format!("/dev/vfio/noiommu-{group}"),
    }
}

/// `struct vfio_group_status`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupStatus {
    argsz: u32,
    flags: u32,
}

impl GroupStatus {
    /// Whether no function of the group has a host driver (`VFIO_GROUP_FLAGS_VIABLE`).
    pub(crate) fn viable(self) -> bool {
        self.flags & 1 != 0
    }
}

/// `struct vfio_iommu_type1_dma_map`.
#[repr(C)]
struct DmaMap {
    argsz: u32,
    flags: u32,
    vaddr: u64,
    iova: u64,
    size: u64,
}

/// `VFIO_DMA_MAP_FLAG_READ` and `VFIO_DMA_MAP_FLAG_WRITE`.
const READ_WRITE: u32 = 0b11;

/// `struct vfio_device_bind_iommufd`.
#[repr(C)]
struct BindIommufd {
    argsz: u32,
    flags: u32,
    iommufd: i32,
    out_devid: u32,
}

/// `struct vfio_device_attach_iommufd_pt` as of 6.6; later kernels take this size too.
#[repr(C)]
struct AttachIommufdPt {
    argsz: u32,
    flags: u32,
    pt_id: u32,
}

/// `struct vfio_device_detach_iommufd_pt` as of 6.6; later kernels take this size too.
#[repr(C)]
struct DetachIommufdPt {
    argsz: u32,
    flags: u32,
}

/// `VFIO_GET_API_VERSION`.
pub(crate) fn api_version(container: &File) -> Result<i32, Errno> {
    // SAFETY: the call takes no argument.
    unsafe { ioctl::ioctl(container, Call::bare(GET_API_VERSION)) }
}

/// `VFIO_SET_IOMMU`.
pub(crate) fn set_iommu(container: &File, backend: Backend) -> Result<i32, Errno> {
    let number = match backend {
        Backend::Type1v2 => 3,
        Backend::NoIommu => 8,
    };
    // SAFETY: the call takes a number.
    unsafe { ioctl::ioctl(container, Call::number(SET_IOMMU, number)) }
}

/// `VFIO_GROUP_GET_STATUS`.
pub(crate) fn group_status(group: &File) -> Result<GroupStatus, Errno> {
    let mut status = GroupStatus { argsz: size_of::<GroupStatus>(), flags: 0 };
    // SAFETY: the kernel reads and writes `argsz` bytes of the struct, which outlives the call.
    unsafe { ioctl::ioctl(group, Call::value(GROUP_GET_STATUS, &mut status)) }?;
    Ok(status)
}

/// `VFIO_GROUP_SET_CONTAINER`.
pub(crate) fn set_container(group: &File, container: &File) -> Result<i32, Errno> {
    let mut descriptor: c_int = container.as_raw_fd();
    // SAFETY: the kernel reads one int, which outlives the call.
    unsafe { ioctl::ioctl(group, Call::value(GROUP_SET_CONTAINER, &mut descriptor)) }
}

/// `VFIO_GROUP_GET_DEVICE_FD` for the function with this name (`DDDD:BB:DD.F`).
pub(crate) fn device(group: &File, name: &str) -> Result<OwnedFd, Errno> {
    let mut name = CString::new(name).map_err(|_| Errno::INVAL)?.into_bytes_with_nul();
    // SAFETY: the kernel reads a string that ends with NUL and outlives the call.
    let descriptor = unsafe { ioctl::ioctl(group, Call::bytes(GROUP_GET_DEVICE_FD, &mut name)) }?;
    // SAFETY: a result that is not an error is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// `VFIO_IOMMU_MAP_DMA`: lets the container's devices into `page` at the address `iova`.
///
/// The page must be kept until the container is closed.
pub(crate) fn map_dma(container: &File, page: &Page, iova: u64) -> Result<i32, Errno> {
    let mut map = DmaMap {
        argsz: size_of::<DmaMap>(),
        flags: READ_WRITE,
        vaddr: page.address(),
        iova,
        size: Page::size(),
    };
    // SAFETY: the kernel reads `argsz` bytes of the struct, which outlives the call. Devices may
    // write into the page from then on; its content is never read.
    unsafe { ioctl::ioctl(container, Call::value(IOMMU_MAP_DMA, &mut map)) }
}

/// `VFIO_DEVICE_BIND_IOMMUFD`; returns the device's number in the iommufd.
pub(crate) fn bind_iommufd(device: &File, iommufd: &File) -> Result<u32, Errno> {
    let mut bind = BindIommufd {
        argsz: size_of::<BindIommufd>(),
        flags: 0,
        iommufd: iommufd.as_raw_fd(),
        out_devid: 0,
    };
    // SAFETY: the kernel reads and writes `argsz` bytes of the struct, which outlives the call.
    unsafe { ioctl::ioctl(device, Call::value(DEVICE_BIND_IOMMUFD, &mut bind)) }?;
    Ok(bind.out_devid)
}

/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` with an address space of the iommufd that the device is bound to.
pub(crate) fn attach_iommufd_pt(device: &File, address_space: u32) -> Result<i32, Errno> {
    let argsz = size_of::<AttachIommufdPt>();
    let mut attach = AttachIommufdPt { argsz, flags: 0, pt_id: address_space };
    // SAFETY: the kernel reads and writes `argsz` bytes of the struct, which outlives the call.
    unsafe { ioctl::ioctl(device, Call::value(DEVICE_ATTACH_IOMMUFD_PT, &mut attach)) }
}

/// `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
pub(crate) fn detach_iommufd_pt(device: &File) -> Result<i32, Errno> {
    let mut detach = DetachIommufdPt { argsz: size_of::<DetachIommufdPt>(), flags: 0 };
    // SAFETY: the kernel reads `argsz` bytes of the struct, which outlives the call.
    unsafe { ioctl::ioctl(device, Call::value(DEVICE_DETACH_IOMMUFD_PT, &mut detach)) }
}

/// The descriptor's number.
pub(crate) fn number(descriptor: &OwnedFd) -> i32 {
    descriptor.as_fd().as_raw_fd()
}
