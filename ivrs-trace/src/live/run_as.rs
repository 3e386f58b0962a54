//! Running a command as the user who called: the one for whom sudo, pkexec or doas made this process
//! root.

use std::{ffi::OsString, io, os::unix::fs::MetadataExt as _, path::PathBuf};

use anyhow::Context as _;
use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};
use tokio::process::Command;

use crate::{escape::printable, privilege::Caller};

/// What sudo (and run0), pkexec and doas leave behind; no more true of a process that is not root.
const MARKS: [&str; 6] =
    ["SUDO_USER", "SUDO_UID", "SUDO_GID", "SUDO_COMMAND", "PKEXEC_UID", "DOAS_USER"];

#[derive(Clone, Debug)]
pub(crate) struct RunAs {
    uid: Uid,
    gid: Gid,
    /// As the host's user database has it, if it has one.
    user: Option<User>,
}

impl RunAs {
    /// The user who called; `None` where that is who this process is.
    pub(crate) fn caller() -> Option<Self> {
        let Caller { uid, gid } = Caller::of_sudo()?;
        let uid = Uid::from_raw(uid);
        Some(Self { uid, gid: Gid::from_raw(gid), user: User::from_uid(uid).ok().flatten() })
    }

    pub(crate) fn name(&self) -> String {
        let named = self.user.as_ref().map(|user| printable(&user.name));
        named.unwrap_or_else(|| format!("user {}", self.uid))
    }

    /// Lets a command run as the user: with all its groups, and with an environment as its own
    /// session has it.
    pub(crate) fn run_as(&self, command: &mut Command) -> anyhow::Result<()> {
        let groups = match &self.user {
            Some(user) => groups_of(user)
                .with_context(|| format!("cannot list the groups of {}", self.name()))?,
            None => vec![self.gid],
        };
        for mark in MARKS {
            command.env_remove(mark);
        }
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        let (uid, gid) = (self.uid, self.gid);
        let become_user = move || -> io::Result<()> {
            setgroups(&groups)?;
            setresgid(gid, gid, gid)?;
            setresuid(uid, uid, uid)?;
            Ok(())
        };
        // SAFETY: between fork and exec only system calls are made; `groups` was allocated before.
        unsafe { command.pre_exec(become_user) };
        Ok(())
    }

    /// The variables that are the user's.
    fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = Vec::new();
        match &self.user {
            Some(user) => {
                variables.push(("HOME", user.dir.clone().into_os_string()));
                variables.push(("SHELL", user.shell.clone().into_os_string()));
                for name in ["USER", "LOGNAME"] {
                    variables.push((name, OsString::from(&user.name)));
                }
            }
            None => variables.push(("HOME", OsString::from("/"))),
        }
        // Where the sockets of the user's own services are; sudo takes it away.
        let runtime = PathBuf::from(format!("/run/user/{}", self.uid));
        let theirs = runtime.metadata().is_ok_and(|found| found.uid() == self.uid.as_raw());
        if theirs {
            variables.push(("XDG_RUNTIME_DIR", runtime.into_os_string()));
        }
        variables
    }
}

fn groups_of(user: &User) -> anyhow::Result<Vec<Gid>> {
    let name = std::ffi::CString::new(user.name.as_str())?;
    Ok(getgrouplist(&name, user.gid)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_is_the_users() {
        let user = User::from_uid(Uid::from_raw(0)).unwrap().unwrap();
        let caller = RunAs { uid: user.uid, gid: user.gid, user: Some(user.clone()) };
        let variables = caller.environment();
        let of = |name| variables.iter().find(|(one, _)| *one == name).map(|(_, value)| value);
        assert_eq!(of("HOME"), Some(&user.dir.into_os_string()));
        assert_eq!(of("USER"), of("LOGNAME"));
        assert_eq!(caller.name(), user.name);
        let unknown = RunAs { uid: Uid::from_raw(4_000_000), gid: Gid::from_raw(1), user: None };
        assert_eq!(unknown.environment(), [("HOME", OsString::from("/"))]);
        assert_eq!(unknown.name(), "user 4000000");
    }

    #[test]
    fn a_command_is_the_user_and_no_more() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let nobody = RunAs { uid: Uid::from_raw(65534), gid: Gid::from_raw(65533), user: None };
        let mut command = Command::new("sh");
        command.args(["-c", "id -u; id -g; id -G; echo $HOME ${SUDO_UID-none}"]);
        command.env("SUDO_UID", "65534");
        nobody.run_as(&mut command).unwrap();
        let output = command.into_std().output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text, "65534\n65533\n65533\n/ none\n");
    }
}
