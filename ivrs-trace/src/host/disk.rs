//! Opening what lies below a root: nothing that is opened here lies outside, whoever moves folders and
//! links about meanwhile, and nothing but a regular file is read.

use std::{
    fs::{self, FileType},
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Entries of a directory that are read at most.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// The disk below a root. Paths are those without links, so any link that is met on the way was put
/// there since.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// The root and its path, where the kernel can keep a path below it (`openat2`, Linux 5.6). Else
    /// only the last name of a path is kept from being a link.
    #[cfg(feature = "live")]
    root: Option<(rustix::fd::OwnedFd, PathBuf)>,
}

#[cfg_attr(
    not(feature = "live"),
    expect(clippy::unused_self, reason = "without rustix no folder is kept open")
)]
impl Disk {
    #[cfg_attr(not(feature = "live"), expect(unused_variables, reason = "see `root`"))]
    pub(super) fn below(root: &Path) -> Self {
        #[cfg(feature = "live")]
        {
            use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            // A filter of system calls may refuse it too.
            let opened = openat2(CWD, root, flags, Mode::empty(), ResolveFlags::empty());
            Self { root: opened.ok().map(|opened| (opened, root.to_owned())) }
        }
        #[cfg(not(feature = "live"))]
        Self::default()
    }

    /// The file at `path`, which was of this `kind`; `None` where it has more than `limit` bytes.
    pub(super) fn read(
        &self,
        path: &Path,
        kind: FileType,
        limit: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        // A pipe would block for ever, a device may do anything.
        let regular = |kind: FileType| {
            let other = || io::Error::other("is not a regular file");
            kind.is_file().then_some(()).ok_or_else(other)
        };
        regular(kind)?;
        let file = self.open(path)?;
        // Somebody may put another thing there meanwhile.
        regular(file.metadata()?.file_type())?;
        let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::with_capacity(limit.min(4096) + 64);
        file.take(one_more).read_to_end(&mut bytes)?;
        Ok((bytes.len() <= limit).then_some(bytes))
    }

    fn open(&self, path: &Path) -> io::Result<fs::File> {
        #[cfg(feature = "live")]
        {
            use rustix::fs::OFlags;
            use std::os::unix::fs::OpenOptionsExt as _;
            let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
            if let Some(file) = self.open_below(path, flags | OFlags::RDONLY) {
                return Ok(file?.into());
            }
            let flags = flags.bits().cast_signed();
            fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
        }
        #[cfg(not(feature = "live"))]
        fs::File::open(path)
    }

    /// Opens what is below the root by a path without links; `None` where that is not to be had.
    #[cfg(feature = "live")]
    fn open_below(
        &self,
        path: &Path,
        flags: rustix::fs::OFlags,
    ) -> Option<io::Result<rustix::fd::OwnedFd>> {
        use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
        let (root, at) = self.root.as_ref()?;
        let below = match path.strip_prefix(at).ok()? {
            below if below.as_os_str().is_empty() => Path::new("."),
            below => below,
        };
        let inside =
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let opened = openat2(root, below, flags | OFlags::CLOEXEC, Mode::empty(), inside);
        Some(opened.map_err(io::Error::from))
    }

    /// The names in a directory; `None` where there are more than [`MAX_ENTRIES`].
    pub(super) fn names(&self, path: &Path) -> io::Result<Option<Vec<String>>> {
        let mut names = Vec::new();
        #[cfg(feature = "live")]
        {
            use rustix::fs::{Dir, OFlags};
            if let Some(folder) = self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY) {
                for entry in Dir::new(folder?)? {
                    let entry = entry?;
                    let name = entry.file_name();
                    if [c".", c".."].contains(&name) {
                        continue;
                    }
                    if names.len() == MAX_ENTRIES {
                        return Ok(None);
                    }
                    names.push(name.to_string_lossy().into_owned());
                }
                return Ok(Some(names));
            }
        }
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            if names.len() == MAX_ENTRIES {
                return Ok(None);
            }
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
        Ok(Some(names))
    }

    /// What the link at `path` says.
    pub(super) fn target(&self, path: &Path) -> io::Result<PathBuf> {
        #[cfg(feature = "live")]
        {
            use rustix::{fs::OFlags, io::Errno};
            use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};
            if let Some(link) = self.open_below(path, OFlags::PATH | OFlags::NOFOLLOW) {
                let target = rustix::fs::readlinkat(link?, "", Vec::new()).map_err(|error| {
                    // Of what is no link the kernel says so in another way than of its path.
                    if error == Errno::NOENT { Errno::INVAL } else { error }
                })?;
                return Ok(OsString::from_vec(target.into_bytes()).into());
            }
        }
        fs::read_link(path)
    }
}
