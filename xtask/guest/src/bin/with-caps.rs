//! `with-caps USER CAP,CAP… CMD…`: runs a command as the user with this number and with these
//! capabilities alone, which the command keeps. `none` is none of them.
//!
//! busybox has nothing for it: its `su` gives all capabilities up.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [user, names, program, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: with-caps USER CAP,CAP…|none CMD…");
        return ExitCode::from(2);
    };
    let error = match become_user(user, names) {
        Ok(()) => format!("{program}: {}", Command::new(program).args(rest).exec()),
        Err(error) => error,
    };
    eprintln!("with-caps: {error}");
    ExitCode::from(2)
}

fn become_user(user: &str, names: &str) -> Result<(), String> {
    let number: u32 = user.parse().map_err(|_| format!("{user} is not the number of a user"))?;
    let wanted: Vec<CapabilitySet> = names
        .split(',')
        .filter(|name| *name != "none")
        .map(|name| CapabilitySet::from_name(name).ok_or_else(|| format!("no capability {name}")))
        .collect::<Result<_, _>>()?;
    let all: CapabilitySet = wanted.iter().copied().collect();
    let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
    set_keep_capabilities(true)
        .and_then(|()| set_thread_groups(&[gid]))
        .and_then(|()| set_thread_res_gid(gid, gid, gid))
        .and_then(|()| set_thread_res_uid(uid, uid, uid))
        .and_then(|()| {
            let sets = CapabilitySets { effective: all, permitted: all, inheritable: all };
            set_capabilities(None, sets)
        })
        .and_then(|()| {
            wanted.iter().try_for_each(|one| configure_capability_in_ambient_set(*one, true))
        })
        .map_err(|error| format!("cannot become user {number}: {error}"))
}
