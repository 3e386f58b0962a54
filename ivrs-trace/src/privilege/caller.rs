//! The user who called `sudo` or its like, and making files as that user would.

use std::io;

use nix::unistd::User;
use rustix::{
    process::{Gid, Uid, getegid, geteuid, getgroups},
    thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Caller {
    /// Who called `sudo` or its like, if that is how this process has become root. What they leave in
    /// the environment is believed of a root alone, who can be anybody anyway.
    pub(crate) fn of_sudo() -> Option<Self> {
        let id = |name| std::env::var(name).ok()?.parse().ok().filter(|id| *id != u32::MAX);
        let sudo = || Some(Self { uid: id("SUDO_UID")?, gid: id("SUDO_GID")? });
        // These name the user alone.
        let known = |user: User| Self { uid: user.uid.as_raw(), gid: user.gid.as_raw() };
        let pkexec = || User::from_uid(id("PKEXEC_UID")?.into()).ok().flatten().map(known);
        let doas = || User::from_name(&std::env::var("DOAS_USER").ok()?).ok().flatten().map(known);
        let is_root = geteuid().is_root();
        let caller = is_root.then(|| sudo().or_else(pkexec).or_else(doas)).flatten();
        caller.filter(|caller| caller.uid != 0)
    }

    /// Does something as the caller, in this thread.
    pub(crate) fn acting<T>(self, act: impl FnOnce() -> T) -> io::Result<T> {
        let before = Before { uid: geteuid(), gid: getegid(), groups: getgroups()?, armed: true };
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&[gid])?;
        set_thread_res_gid(None, Some(gid), None)?;
        set_thread_res_uid(None, Some(uid), None)?;
        let result = act();
        before.restore()?;
        Ok(result)
    }

    /// Becomes the caller for ever, in this thread. Capabilities go with that unless the thread was
    /// told to keep them.
    pub(super) fn become_it(self) -> rustix::io::Result<()> {
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        // A thread that began while another acted as the caller may not do this, and need not.
        if getgroups()? != [gid] {
            set_thread_groups(&[gid])?;
        }
        set_thread_res_gid(Some(gid), Some(gid), Some(gid))?;
        set_thread_res_uid(Some(uid), Some(uid), Some(uid))
    }
}

/// What a thread was, which it becomes again however the act ends.
struct Before {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    armed: bool,
}

impl Before {
    fn restore(mut self) -> rustix::io::Result<()> {
        self.armed = false;
        self.again()
    }

    /// The user first: the rest takes its capabilities, which the kernel gives back with it.
    fn again(&self) -> rustix::io::Result<()> {
        set_thread_res_uid(None, Some(self.uid), None)?;
        set_thread_res_gid(None, Some(self.gid), None)?;
        set_thread_groups(&self.groups)
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        if self.armed {
            // A thread that stays the caller can do less, not more.
            let _: rustix::io::Result<()> = self.again();
        }
    }
}

/// Makes a file. Under `sudo` it is made as the caller: it is theirs, it lies where they may write,
/// and no link is followed that the kernel would not let them follow. Where they may not write but
/// root may, root makes it. Says whose it is, if it is the caller's.
pub(crate) fn made_by_caller<T, E: IsDenied>(
    mut how: impl FnMut() -> Result<T, E>,
) -> Result<(T, Option<Caller>), E> {
    if let Some(caller) = Caller::of_sudo() {
        match caller.acting(&mut how) {
            Ok(Ok(made)) => return Ok((made, Some(caller))),
            Ok(Err(error)) if !error.is_denied() => return Err(error),
            Ok(Err(_)) | Err(_) => {}
        }
    }
    how().map(|made| (made, None))
}

/// An error that may be that of a missing right.
pub(crate) trait IsDenied {
    fn is_denied(&self) -> bool;
}

impl IsDenied for io::Error {
    fn is_denied(&self) -> bool {
        self.kind() == io::ErrorKind::PermissionDenied
    }
}

impl IsDenied for crate::recording::CreateError {
    fn is_denied(&self) -> bool {
        matches!(self, Self::Io { error, .. } if error.is_denied())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt as _};

    use super::*;

    #[test]
    fn a_file_made_as_somebody_else_is_theirs_and_the_thread_is_itself_again() {
        if !geteuid().is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let nobody = Caller { uid: 65534, gid: 65534 };
        let path = folder.path().join("file");
        let denied = nobody.acting(|| fs::write(&path, "")).unwrap().unwrap_err();
        assert!(denied.is_denied(), "{denied}");
        std::os::unix::fs::chown(folder.path(), Some(65534), None).unwrap();
        nobody.acting(|| fs::write(&path, "")).unwrap().unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid()), (65534, 65534));
        assert!(geteuid().is_root());
        fs::write(folder.path().join("root"), "").unwrap();
    }
}
