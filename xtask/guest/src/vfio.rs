//! VFIO's calls on its container and group files (`include/uapi/linux/vfio.h`, stable since 3.6).

use std::ffi::{CString, c_int, c_void};
use std::fs::File;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::ioctl::{self, Ioctl, IoctlOutput, Opcode, opcode};

/// The container node.
pub(crate) const CONTAINER: &str = "/dev/vfio/vfio";

/// `VFIO_TYPE` and `VFIO_BASE`: the calls are `_IO(';', 100 + n)`.
const fn code(n: u8) -> Opcode {
    opcode::none(b';', 100 + n)
}

const GET_API_VERSION: Opcode = code(0);
const SET_IOMMU: Opcode = code(2);
const GROUP_GET_STATUS: Opcode = code(3);
const GROUP_SET_CONTAINER: Opcode = code(4);
const GROUP_GET_DEVICE_FD: Opcode = code(6);

/// `VFIO_TYPE1v2_IOMMU`.
const TYPE1V2: usize = 3;

/// The node of a group.
pub(crate) fn group_path(group: &str) -> String {
    format!("/dev/vfio/{group}")
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

/// One call: its code, its argument as the kernel takes it, and its plain result.
struct Call {
    code: Opcode,
    argument: *mut c_void,
}

// SAFETY: the result is the ioctl's own return value; code and argument are passed on as they
// are, and every caller below says why they fit together.
unsafe impl Ioctl for Call {
    type Output = c_int;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.code
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.argument
    }

    unsafe fn output_from_ptr(out: IoctlOutput, _: *mut c_void) -> rustix::io::Result<c_int> {
        Ok(out)
    }
}

/// `VFIO_GET_API_VERSION`.
pub(crate) fn api_version(container: &File) -> Result<i32, Errno> {
    let call = Call { code: GET_API_VERSION, argument: ptr::null_mut() };
    // SAFETY: the call takes no argument.
    unsafe { ioctl::ioctl(container, call) }
}

/// `VFIO_SET_IOMMU` with `VFIO_TYPE1v2_IOMMU`.
pub(crate) fn set_iommu_type1v2(container: &File) -> Result<i32, Errno> {
    let call = Call { code: SET_IOMMU, argument: ptr::without_provenance_mut(TYPE1V2) };
    // SAFETY: the argument is a number, not a pointer.
    unsafe { ioctl::ioctl(container, call) }
}

/// `VFIO_GROUP_GET_STATUS`.
pub(crate) fn group_status(group: &File) -> Result<GroupStatus, Errno> {
    let argsz = u32::try_from(size_of::<GroupStatus>()).unwrap_or_default();
    let mut status = GroupStatus { argsz, flags: 0 };
    let call = Call { code: GROUP_GET_STATUS, argument: (&raw mut status).cast() };
    // SAFETY: the kernel reads and writes `argsz` bytes of the struct, which outlives the call.
    unsafe { ioctl::ioctl(group, call) }?;
    Ok(status)
}

/// `VFIO_GROUP_SET_CONTAINER`.
pub(crate) fn set_container(group: &File, container: &File) -> Result<i32, Errno> {
    let mut descriptor: c_int = container.as_raw_fd();
    let call = Call { code: GROUP_SET_CONTAINER, argument: (&raw mut descriptor).cast() };
    // SAFETY: the kernel reads one int, which outlives the call.
    unsafe { ioctl::ioctl(group, call) }
}

/// `VFIO_GROUP_GET_DEVICE_FD` for the function with this name (`DDDD:BB:DD.F`).
pub(crate) fn device(group: &File, name: &str) -> Result<OwnedFd, Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    let call = Call { code: GROUP_GET_DEVICE_FD, argument: name.as_ptr().cast_mut().cast() };
    // SAFETY: the kernel reads a string that ends with NUL and outlives the call.
    let descriptor = unsafe { ioctl::ioctl(group, call) }?;
    // SAFETY: a result that is not an error is a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The descriptor's number.
pub(crate) fn number(descriptor: &OwnedFd) -> i32 {
    descriptor.as_fd().as_raw_fd()
}

/// The name of an errno that VFIO's calls return; any other is told by its number.
pub(crate) fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::IO => "EIO",
        Errno::NXIO => "ENXIO",
        Errno::BADF => "EBADF",
        Errno::AGAIN => "EAGAIN",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::BUSY => "EBUSY",
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::MFILE => "EMFILE",
        Errno::NOTTY => "ENOTTY",
        Errno::NOSPC => "ENOSPC",
        Errno::NOSYS => "ENOSYS",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::TIMEDOUT => "ETIMEDOUT",
        _ => return format!("errno {}", errno.raw_os_error()),
    };
    name.to_owned()
}
