//! Error numbers by their names.

use std::fmt;

use serde::{Serialize, Serializer};

/// Number, name, and what the GNU C library's `strerror` says in English; nothing for those that the
/// kernel keeps to itself.
const KNOWN: [(u32, &str, &str); 25] = [
    (1, "EPERM", "Operation not permitted"),
    (2, "ENOENT", "No such file or directory"),
    (4, "EINTR", "Interrupted system call"),
    (5, "EIO", "Input/output error"),
    (6, "ENXIO", "No such device or address"),
    (9, "EBADF", "Bad file descriptor"),
    (11, "EAGAIN", "Resource temporarily unavailable"),
    (12, "ENOMEM", "Cannot allocate memory"),
    (13, "EACCES", "Permission denied"),
    (14, "EFAULT", "Bad address"),
    (16, "EBUSY", "Device or resource busy"),
    (17, "EEXIST", "File exists"),
    (19, "ENODEV", "No such device"),
    (22, "EINVAL", "Invalid argument"),
    (24, "EMFILE", "Too many open files"),
    (25, "ENOTTY", "Inappropriate ioctl for device"),
    (28, "ENOSPC", "No space left on device"),
    (34, "ERANGE", "Numerical result out of range"),
    (38, "ENOSYS", "Function not implemented"),
    (77, "EBADFD", "File descriptor in bad state"),
    (95, "EOPNOTSUPP", "Operation not supported"),
    (98, "EADDRINUSE", "Address already in use"),
    (110, "ETIMEDOUT", "Connection timed out"),
    (512, "ERESTARTSYS", ""),
    (517, "EPROBE_DEFER", ""),
];

/// An error number, positive, as Linux defines it for x86
/// (include/uapi/asm-generic/errno-base.h, errno.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub u32);

impl Errno {
    pub(crate) const EINVAL: Self = Self(22);
    pub(crate) const EPERM: Self = Self(1);
    pub(crate) const EBUSY: Self = Self(16);
    pub(crate) const ENODEV: Self = Self(19);
    pub(crate) const EADDRINUSE: Self = Self(98);

    /// The text of `strerror`, for the errors that VFIO and iommufd return.
    pub(crate) fn message(self) -> Option<&'static str> {
        self.known().map(|(_, message)| message).filter(|message| !message.is_empty())
    }

    fn known(self) -> Option<(&'static str, &'static str)> {
        let known = KNOWN.iter().find(|(number, ..)| *number == self.0);
        known.map(|(_, name, message)| (*name, *message))
    }
}

/// The name, or `errno N` for one without a name here.
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some((name, _)) => f.write_str(name),
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
        }
    }

    #[test]
    fn names() {
        assert_eq!(Errno::EINVAL.to_string(), "EINVAL");
        assert_eq!(Errno(4000).to_string(), "errno 4000");
    }
}
