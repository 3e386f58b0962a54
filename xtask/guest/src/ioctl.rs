//! The one way in which this program calls the kernel on a file, and the names of what it answers.

use std::ffi::{c_int, c_void};
use std::ptr;

use rustix::io::Errno;
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, opcode};

/// `VFIO_TYPE` and `IOMMUFD_TYPE` are the same, and the calls are `_IO(';', number)`: their codes
/// say nothing about the size of the argument.
pub(crate) const fn code(number: u8) -> Opcode {
    opcode::none(b';', number)
}

/// One call: its code and its argument as the kernel takes it. Its result is the plain number.
pub(crate) struct Call {
    code: Opcode,
    argument: *mut c_void,
}

impl Call {
    /// A call without argument.
    pub(crate) fn bare(code: Opcode) -> Self {
        Self { code, argument: ptr::null_mut() }
    }

    /// A call whose argument is a number.
    pub(crate) fn number(code: Opcode, number: usize) -> Self {
        Self { code, argument: ptr::without_provenance_mut(number) }
    }

    /// A call whose argument points to bytes.
    pub(crate) fn bytes(code: Opcode, bytes: &mut [u8]) -> Self {
        Self { code, argument: bytes.as_mut_ptr().cast() }
    }

    /// A call whose argument points to a value.
    pub(crate) fn value<T>(code: Opcode, value: &mut T) -> Self {
        Self { code, argument: ptr::from_mut(value).cast() }
    }
}

// SAFETY: the result is the ioctl's own return value; code and argument are passed on as they
// are, and every caller says why they fit together.
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

/// The size of a struct, as the kernel wants it in the struct itself.
pub(crate) fn size_of<T>() -> u32 {
    u32::try_from(std::mem::size_of::<T>()).unwrap_or_default()
}

/// A page of memory that a device may be let into. It starts where a page starts.
#[repr(C, align(4096))]
pub(crate) struct Page([u8; Page::SIZE]);

impl Page {
    /// Its size in bytes.
    pub(crate) const SIZE: usize = 4096;

    pub(crate) fn new() -> Box<Self> {
        Box::new(Self([0; Self::SIZE]))
    }

    /// Where it lies in this process.
    pub(crate) fn address(&self) -> u64 {
        u64::try_from(ptr::from_ref(&self.0).addr()).unwrap_or_default()
    }

    /// [`Page::SIZE`] as the kernel takes it.
    pub(crate) fn size() -> u64 {
        u64::try_from(Self::SIZE).unwrap_or_default()
    }
}

/// The name of an errno that these calls return; any other is told by its number.
pub(crate) fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::PERM => "EPERM",
        Errno::NOENT => "ENOENT",
        Errno::INTR => "EINTR",
        Errno::IO => "EIO",
        Errno::NXIO => "ENXIO",
        Errno::TOOBIG => "E2BIG",
        Errno::BADF => "EBADF",
        Errno::AGAIN => "EAGAIN",
        Errno::NOMEM => "ENOMEM",
        Errno::ACCESS => "EACCES",
        Errno::FAULT => "EFAULT",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::NODEV => "ENODEV",
        Errno::INVAL => "EINVAL",
        Errno::MFILE => "EMFILE",
        Errno::NOTTY => "ENOTTY",
        Errno::NOSPC => "ENOSPC",
        Errno::NOSYS => "ENOSYS",
        Errno::OVERFLOW => "EOVERFLOW",
        Errno::BADFD => "EBADFD",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::ADDRINUSE => "EADDRINUSE",
        Errno::TIMEDOUT => "ETIMEDOUT",
        _ => return format!("errno {}", errno.raw_os_error()),
    };
    name.to_owned()
}
