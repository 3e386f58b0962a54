//! Error numbers by their names.

use std::fmt;

use serde::{Serialize, Serializer};

/// An error number, positive, as Linux defines it for x86
/// (include/uapi/asm-generic/errno-base.h, errno.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub(crate) u32);

impl Errno {
    pub(crate) const EINVAL: Self = Self(22);
    pub(crate) const EPERM: Self = Self(1);
    pub(crate) const EBUSY: Self = Self(16);
    pub(crate) const ENODEV: Self = Self(19);
    pub(crate) const EADDRINUSE: Self = Self(98);

    /// What the GNU C library's `strerror` says in English, for the errors that VFIO and iommufd
    /// return.
    pub(crate) fn message(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "Operation not permitted",
            2 => "No such file or directory",
            4 => "Interrupted system call",
            5 => "Input/output error",
            6 => "No such device or address",
            9 => "Bad file descriptor",
            11 => "Resource temporarily unavailable",
            12 => "Cannot allocate memory",
            13 => "Permission denied",
            14 => "Bad address",
            16 => "Device or resource busy",
            17 => "File exists",
            19 => "No such device",
            22 => "Invalid argument",
            24 => "Too many open files",
            25 => "Inappropriate ioctl for device",
            28 => "No space left on device",
            34 => "Numerical result out of range",
            38 => "Function not implemented",
            95 => "Operation not supported",
            98 => "Address already in use",
            110 => "Connection timed out",
            _ => return None,
        })
    }

    fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "EPERM",
            2 => "ENOENT",
            4 => "EINTR",
            5 => "EIO",
            6 => "ENXIO",
            9 => "EBADF",
            11 => "EAGAIN",
            12 => "ENOMEM",
            13 => "EACCES",
            14 => "EFAULT",
            16 => "EBUSY",
            17 => "EEXIST",
            19 => "ENODEV",
            22 => "EINVAL",
            24 => "EMFILE",
            25 => "ENOTTY",
            28 => "ENOSPC",
            34 => "ERANGE",
            38 => "ENOSYS",
            77 => "EBADFD",
            95 => "EOPNOTSUPP",
            98 => "EADDRINUSE",
            110 => "ETIMEDOUT",
            512 => "ERESTARTSYS",
            517 => "EPROBE_DEFER",
            _ => return None,
        })
    }
}

/// The name, or `errno N` for one without a name here.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl Serialize for Errno {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The error in the return value of a kernel function: -4095 to -1 (`MAX_ERRNO`,
/// include/linux/err.h).
pub(crate) fn of_return(ret: i64) -> Option<Errno> {
    (-4095..0).contains(&ret).then(|| u32::try_from(-ret).map(Errno).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_error_returns_are_errors() {
        assert_eq!(of_return(-22), Some(Errno::EINVAL));
        assert_eq!(of_return(-4095), Some(Errno(4095)));
        assert_eq!(of_return(0), None);
        assert_eq!(of_return(7), None);
        assert_eq!(of_return(-4096), None);
        assert_eq!(of_return(i64::MIN), None);
    }

    #[test]
    fn messages_are_those_of_the_system() {
        for number in 1..120 {
            let Some(message) = Errno(number).message() else { continue };
            let error = std::io::Error::from_raw_os_error(i32::try_from(number).unwrap());
            assert_eq!(error.to_string(), format!("{message} (os error {number})"));
            assert!(Errno(number).name().is_some(), "{message}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(Errno::EINVAL.to_string(), "EINVAL");
        assert_eq!(Errno(4000).to_string(), "errno 4000");
    }
}
