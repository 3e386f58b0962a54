//! iommufd's own calls (`include/uapi/linux/iommufd.h`, since 6.2).

use std::fs::File;

use rustix::io::Errno;

use crate::ioctl::{Page, call_with, size_of};

/// The node. Every opening of it is an iommufd of its own.
pub(crate) const NODE: &str = "/dev/iommu";

const IOAS_ALLOC: u8 = 0x81;
const IOAS_MAP: u8 = 0x85;

/// `struct iommu_ioas_alloc`.
#[repr(C)]
struct IoasAlloc {
    size: u32,
    flags: u32,
    out_ioas_id: u32,
}

/// `struct iommu_ioas_map`.
#[repr(C)]
struct IoasMap {
    size: u32,
    flags: u32,
    ioas_id: u32,
    reserved: u32,
    user_va: u64,
    length: u64,
    iova: u64,
}

/// `IOMMU_IOAS_MAP_FIXED_IOVA`, `IOMMU_IOAS_MAP_WRITEABLE` and `IOMMU_IOAS_MAP_READABLE`.
const FIXED_READ_WRITE: u32 = 0b111;

/// `IOMMU_IOAS_ALLOC`: makes an address space and returns its number.
pub(crate) fn allocate(iommufd: &File) -> Result<u32, Errno> {
    let mut made = IoasAlloc { size: size_of::<IoasAlloc>(), flags: 0, out_ioas_id: 0 };
    // SAFETY: the kernel reads and writes `size` bytes of the struct.
    unsafe { call_with(iommufd, IOAS_ALLOC, &mut made) }?;
    Ok(made.out_ioas_id)
}

/// `IOMMU_IOAS_MAP`: lets an address space's devices into `page` at the address `iova`.
///
/// The page must be kept until the iommufd is closed.
pub(crate) fn map(
    iommufd: &File,
    address_space: u32,
    page: &Page,
    iova: u64,
) -> Result<i32, Errno> {
    let mut map = IoasMap {
        size: size_of::<IoasMap>(),
        flags: FIXED_READ_WRITE,
        ioas_id: address_space,
        reserved: 0,
        user_va: page.address(),
        length: Page::SIZE,
        iova,
    };
    // SAFETY: the kernel reads and writes `size` bytes of the struct.
    // Devices may write into the page from then on; its content is never read.
    unsafe { call_with(iommufd, IOAS_MAP, &mut map) }
}
