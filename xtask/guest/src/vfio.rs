//! VFIO's calls on its container, group and device files (`include/uapi/linux/vfio.h`; those on
//! device nodes since 6.6, all others since 3.6).

use std::ffi::{CString, c_int};
use std::fs::File;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;

use crate::ioctl::{Page, call, call_with, size_of};

pub(crate) const CONTAINER: &str = "/dev/vfio/vfio";

/// `VFIO_BASE`.
const BASE: u8 = 100;

/// The node of a group, or of one that VFIO made for a function without IOMMU.
pub(crate) fn group_path(group: &str, noiommu: bool) -> String {
    format!("/dev/vfio/{}{group}", if noiommu { "noiommu-" } else { "" })
}

/// `struct vfio_group_status`, and `struct vfio_device_detach_iommufd_pt` as of 6.6; later kernels
/// take this size too.
#[repr(C)]
struct Flags {
    argsz: u32,
    flags: u32,
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

/// `VFIO_GET_API_VERSION`.
pub(crate) fn api_version(container: &File) -> Result<i32, Errno> {
    // SAFETY: the call takes no argument.
    unsafe { call(container, BASE, 0) }
}

/// `VFIO_SET_IOMMU` with `VFIO_TYPE1v2_IOMMU` or `VFIO_NOIOMMU_IOMMU`.
pub(crate) fn set_iommu(container: &File, noiommu: bool) -> Result<i32, Errno> {
    // SAFETY: the call takes a number.
    unsafe { call(container, BASE + 2, if noiommu { 8 } else { 3 }) }
}

/// `VFIO_GROUP_GET_STATUS`: whether no function of the group has a host driver
/// (`VFIO_GROUP_FLAGS_VIABLE`).
pub(crate) fn is_viable(group: &File) -> Result<bool, Errno> {
    let mut status = Flags { argsz: size_of::<Flags>(), flags: 0 };
    // SAFETY: the kernel reads and writes `argsz` bytes of the struct.
    unsafe { call_with(group, BASE + 3, &mut status) }?;
    Ok(status.flags & 1 != 0)
}

/// `VFIO_GROUP_SET_CONTAINER`.
pub(crate) fn set_container(group: &File, container: &File) -> Result<i32, Errno> {
    let mut descriptor: c_int = container.as_raw_fd();
    // SAFETY: the kernel reads one int.
    unsafe { call_with(group, BASE + 4, &mut descriptor) }
}

/// `VFIO_GROUP_GET_DEVICE_FD` for the function with this name (`DDDD:BB:DD.F`).
pub(crate) fn device(group: &File, name: &str) -> Result<OwnedFd, Errno> {
    let mut name = CString::new(name).map_err(|_| Errno::INVAL)?.into_bytes_with_nul();
    // SAFETY: the kernel reads a string that ends with NUL.
    let descriptor = unsafe { call_with(group, BASE + 6, name.as_mut_slice()) }?;
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
        size: Page::SIZE,
    };
    // SAFETY: the kernel reads `argsz` bytes of the struct. Devices may write into the page from then
    // on; its content is never read.
    unsafe { call_with(container, BASE + 13, &mut map) }
}

/// `VFIO_DEVICE_BIND_IOMMUFD`; returns the device's number in the iommufd.
pub(crate) fn bind_iommufd(device: &File, iommufd: &File) -> Result<u32, Errno> {
    let (argsz, iommufd) = (size_of::<BindIommufd>(), iommufd.as_raw_fd());
    let mut bind = BindIommufd { argsz, flags: 0, iommufd, out_devid: 0 };
    // SAFETY: the kernel reads and writes `argsz` bytes of the struct.
    unsafe { call_with(device, BASE + 18, &mut bind) }?;
    Ok(bind.out_devid)
}

/// `VFIO_DEVICE_ATTACH_IOMMUFD_PT` with an address space of the iommufd that the device is bound to.
pub(crate) fn attach_iommufd_pt(device: &File, address_space: u32) -> Result<i32, Errno> {
    let argsz = size_of::<AttachIommufdPt>();
    let mut attach = AttachIommufdPt { argsz, flags: 0, pt_id: address_space };
    // SAFETY: the kernel reads and writes `argsz` bytes of the struct.
    unsafe { call_with(device, BASE + 19, &mut attach) }
}

/// `VFIO_DEVICE_DETACH_IOMMUFD_PT`.
pub(crate) fn detach_iommufd_pt(device: &File) -> Result<i32, Errno> {
    let mut detach = Flags { argsz: size_of::<Flags>(), flags: 0 };
    // SAFETY: the kernel reads `argsz` bytes of the struct.
    unsafe { call_with(device, BASE + 20, &mut detach) }
}
