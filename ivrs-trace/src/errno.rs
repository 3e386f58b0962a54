//! Error numbers by their names.

use std::fmt;

use serde::{Serialize, Serializer};

/// An error number, positive, as Linux defines it for x86
/// (include/uapi/asm-generic/errno-base.h, errno.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub u32);

impl Errno {
    /// "Invalid argument"
    pub const EINVAL: Self = Self(22);
    /// "Operation not permitted"
    pub const EPERM: Self = Self(1);
    /// "Device or resource busy"
    pub const EBUSY: Self = Self(16);
    /// "No such device"
    pub const ENODEV: Self = Self(19);
    /// "Address already in use"
    pub const EADDRINUSE: Self = Self(98);

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
#[must_use]
pub fn of_return(ret: i64) -> Option<Errno> {
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
    fn names() {
        assert_eq!(Errno::EINVAL.to_string(), "EINVAL");
        assert_eq!(Errno(4000).to_string(), "errno 4000");
    }
}
