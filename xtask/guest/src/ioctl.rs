//! The one way in which this program calls the kernel on a file.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::ptr;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// Makes the call `_IO(';', number)` on a file and returns the plain result. `VFIO_TYPE` and
/// `IOMMUFD_TYPE` are the same, and their codes say nothing about the size of the argument.
///
/// # Safety
///
/// The call must take a number, or nothing.
pub(crate) unsafe fn call(file: &File, number: u8, argument: usize) -> rustix::io::Result<c_int> {
    let argument = ptr::without_provenance_mut(argument);
    // SAFETY: as the caller promises.
    unsafe { ioctl(file, Call { code: opcode::none(b';', number), argument }) }
}

/// The same with an argument that points to a value.
///
/// # Safety
///
/// The kernel must read and write no more than the value.
pub(crate) unsafe fn call_with<T: ?Sized>(
    file: &File,
    number: u8,
    value: &mut T,
) -> rustix::io::Result<c_int> {
    let argument = ptr::from_mut(value).cast();
    // SAFETY: as the caller promises; the value outlives the call.
    unsafe { ioctl(file, Call { code: opcode::none(b';', number), argument }) }
}

struct Call {
    code: Opcode,
    argument: *mut c_void,
}

// SAFETY: the result is the ioctl's own return value; code and argument are passed on unchanged, and
// every caller says why they fit together.
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
pub(crate) struct Page([u8; 4096]);

impl Page {
    pub(crate) const SIZE: u64 = 4096;

    pub(crate) fn new() -> Box<Self> {
        Box::new(Self([0; 4096]))
    }

    pub(crate) fn address(&self) -> u64 {
        u64::try_from(ptr::from_ref(&self.0).addr()).unwrap_or_default()
    }
}
